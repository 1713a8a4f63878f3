//! Bad input: a sentence, a hint, an exit code, and nothing touched.

use std::process::Command;

use crate::moto::{Moto, Ran, free_port};

fn run(directory: &std::path::Path, arguments: &[&str]) -> Ran {
    let output =
        Command::new(env!("CARGO_BIN_EXE_imagecrud-deploy")).current_dir(directory).args(arguments).output().unwrap();
    Ran::from(output)
}

#[test]
fn wrong_calls_and_settings_exit_2_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bad.toml"), "[web]\nmni = 3\n").unwrap();
    let ran = run(directory.path(), &["status", "--config", "bad.toml"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("unknown key `web.mni`") && ran.err.contains("hint: did you mean `web.min`?"),
        "{}",
        ran.err
    );
    assert_eq!(run(directory.path(), &["status", "--config", "none.toml"]).code, 2);
    assert_eq!(run(directory.path(), &["status", "--cloud", "eucalyptus"]).code, 2);
    assert_eq!(run(directory.path(), &["scale"]).code, 2);
    assert_eq!(run(directory.path(), &["status", "--stack", "Not A Name"]).code, 2);
}

#[test]
fn a_local_cloud_that_does_not_run_is_not_ready_and_has_nothing_to_tear_down() {
    let directory = tempfile::tempdir().unwrap();
    let local = ["--local-state-dir", "nowhere"];
    let status = run(directory.path(), &[&["status"], &local[..]].concat());
    assert_eq!(status.code, 3);
    assert!(status.err.contains("`imagecrud-deploy up` starts it"), "{}", status.err);
    let json = run(directory.path(), &[&["status", "--json"], &local[..]].concat());
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["ready"], false);
    let torn = run(directory.path(), &[&["teardown", "--yes"], &local[..]].concat());
    assert_eq!((torn.code, torn.out.as_str()), (0, "0 left\n"), "{}", torn.err);
}

#[test]
fn a_cloud_that_does_not_answer_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let names = ["EC2", "S3", "AWS_ELB", "AWS_AUTO_SCALING", "AWS_CLOUDWATCH", "AWS_IAM"];
    let mut eucarc: String = names.iter().map(|n| format!("{n}_URL=http://127.0.0.1:{port}\n")).collect();
    eucarc.push_str("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n");
    std::fs::write(directory.path().join("eucarc"), eucarc).unwrap();
    let ran = run(directory.path(), &["status", "--credentials", "eucarc"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no answer") && ran.err.contains("hint:"), "{}", ran.err);
}

#[tokio::test]
async fn unknown_zones_and_images_are_refused_with_what_exists_and_nothing_is_made() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    let zone = moto.run(&["up", "--zone", "atlantis-1"]).await;
    assert_eq!(zone.code, 2, "{}", zone.err);
    assert!(zone.err.contains("atlantis-1") && zone.err.contains("us-east-1a"), "{}", zone.err);
    let image = moto.run(&["up", "--image", "ami-00000000"]).await;
    assert_eq!(image.code, 2, "{}", image.err);
    assert!(image.err.contains("the image ami-00000000 is unknown"), "{}", image.err);
    let bundle = moto.run(&["up", "--bundle", "nowhere"]).await;
    assert_eq!(bundle.code, 2);
    assert!(bundle.err.contains("nowhere") && bundle.err.contains("make build"), "{}", bundle.err);
    assert_eq!(moto.listing().await, before);
}

#[tokio::test]
async fn what_cannot_change_in_place_is_refused_before_anything_is_touched() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    let standing = moto.listing().await;
    let path = moto.directory.path().join("imagecrud.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{settings}\n[database]\nvolume_gib = 20\n")).unwrap();
    let refused = moto.run(&["up"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("size_gib is 10 and cannot become 20"), "{}", refused.err);
    assert!(refused.err.contains("hint:"), "{}", refused.err);
    assert_eq!(moto.listing().await, standing);
}

#[tokio::test]
async fn a_taken_port_is_said_before_anything_is_made() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let path = moto.directory.path().join("imagecrud.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let settings: Vec<String> = settings
        .lines()
        .map(|line| if line.starts_with("port") { format!("port = {port}") } else { line.to_owned() })
        .collect();
    std::fs::write(&path, settings.join("\n")).unwrap();
    let ran = moto.run(&["up"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(&format!("port {port} of this machine is taken")), "{}", ran.err);
    assert_eq!(moto.listing().await, before);
}

#[tokio::test]
async fn doctor_prints_what_the_cloud_can_do() {
    let moto = Moto::start().await;
    let short = moto.run(&["doctor"]).await;
    assert_eq!(short.code, 3, "{}{}", short.out, short.err);
    assert!(short.out.contains("0 of 5 instances, 8 more needed"), "{}", short.out);
    let path = moto.directory.path().join("imagecrud.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, settings.replace("[web]\n", "[web]\nmax = 3\n")).unwrap();
    let ran = moto.run(&["doctor"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    for line in ["CAPABILITY", "launch templates", "default VPC", "zone, network, image", "quotas", "user-data"] {
        assert!(ran.out.contains(line), "{}", ran.out);
    }
}
