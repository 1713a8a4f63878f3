//! Faults on purpose of S3, in its own process behind HAProxy, as a tester asks for them at the daemon's socket.

use std::{path::Path, process::Command};

use axum::http::{Request, StatusCode};
use localcloud::{
    behaviour::Behaviour,
    daemon::instrument,
    faults::Faults,
    object_storage::{self, counted},
    wire::asking,
};
use tokio::net::UnixListener;

use crate::object_storage::{World, python};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_meets_the_faults_of_s3_as_the_daemon_is_told_them() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return eprintln!("{reason}"),
    };
    let world = World::new("faults").await;
    let faults = Faults::default();
    faults.tell(&world.paths.s3_faults()).unwrap();
    let admin = world.paths.socket("admin");
    // A killed predecessor's.
    let _ = std::fs::remove_file(&admin);
    let listener = UnixListener::bind(&admin).unwrap();
    let router = instrument::router(faults, &world.paths.socket(counted::SOCKET));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/object_faults.py");
    let mut command = Command::new(python);
    command.arg(script).arg(format!("http://127.0.0.1:{}", world.port));
    command.args(["AKIAOPERATOR", "operator/secret+key"]).arg(&admin);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("ok\n"), "{said}\n{wrong}");
    serving.abort();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_heeds_the_followed_file_at_its_next_call_also_when_it_was_started_anew() {
    let world = World::new("followed-faults").await;
    let file = world.directory.join("faults.toml");
    std::fs::write(&file, "# none").unwrap();
    let daemon = Faults::follow(&file).unwrap();
    daemon.tell(&world.paths.s3_faults()).unwrap();
    let status = async || {
        let request = Request::get("/bucket").header("host", "localhost").body(Vec::new()).unwrap();
        asking::ask(&world.paths.socket("s3"), request).await.unwrap().status()
    };
    assert_eq!(status().await, StatusCode::NOT_FOUND);
    std::fs::write(&file, "[[fault]]\naction = 's3.*'\neffect = 'throttle'\nfrom = 2").unwrap();
    assert_eq!(status().await, StatusCode::NOT_FOUND, "the first is spared");
    assert_eq!(daemon.meet("ec2", "CreateTags", "r").failure, None, "the daemon has read the file, too");
    assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE, "S3 goes on counting");
    object_storage::stop(&world.paths).await.unwrap();
    world.start_like(Behaviour::Everything).await;
    assert_eq!(status().await, StatusCode::NOT_FOUND, "it counts anew");
    assert_eq!(status().await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(counted::calls(&world.paths.socket(counted::SOCKET), 0).await.unwrap().unwrap().total, 2);
    daemon.clear().unwrap();
    assert_eq!(status().await, StatusCode::NOT_FOUND);
    object_storage::stop(&world.paths).await.unwrap();
    assert_eq!(counted::calls(&world.paths.socket(counted::SOCKET), 0).await.unwrap(), None, "it does not run");
    world.end().await;
}
