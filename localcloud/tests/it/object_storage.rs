//! S3 as a process, behind HAProxy as in the cloud, by boto3 and by what lies on disk.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use localcloud::{
    behaviour::Behaviour,
    daemon::watchman::{Troubles, Watchman},
    drivers::{
        ProxyDriver as _, ProxyPlan,
        haproxy::{Haproxy, HaproxySettings},
    },
    host::{file, process::PidFile},
    object_storage::{self, S3Credential, S3Credentials, Usage},
    paths::Paths,
    policy::Identity,
};
use rustix::process::Signal;

/// Under a directory that is the test's own in every run: what a killed predecessor left is ended first.
pub(crate) struct World {
    pub(crate) directory: PathBuf,
    pub(crate) paths: Paths,
    pub(crate) port: u16,
    proxy: Haproxy,
}

fn credential(access_key: &str, secret_key: &str, token: Option<&str>, expires: Option<i64>) -> S3Credential {
    S3Credential {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        session_token: token.map(str::to_owned),
        expires_at_epoch_secs: expires,
        identity: Identity {
            arn: "arn:aws:iam::000000000001:root".to_owned(),
            account_id: "000000000001".to_owned(),
            ..Identity::default()
        },
    }
}

impl World {
    pub(crate) async fn new(test: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("object-storage-{test}"));
        let paths = Paths::new(&directory);
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let proxy = Haproxy::new(HaproxySettings {
            paths: paths.clone(),
            namespace: None,
            gateway: Ipv4Addr::new(10, 77, 0, 1),
            port,
            api_socket: paths.socket("api"),
            s3_socket: paths.socket("s3"),
            imds_socket: paths.socket("imds"),
        });
        proxy.stop().await.unwrap();
        object_storage::stop(&paths).await.unwrap();
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let world = Self { directory, paths, port, proxy };
        world.write_keys(vec![
            credential("AKIAOPERATOR", "operator/secret+key", None, None),
            credential("ASIATEMPORARY", "temporary", Some("token/with+=signs"), Some(4_000_000_000)),
            credential("ASIAEXPIRED", "expired", Some("expired"), Some(1)),
        ]);
        world.start().await;
        world.proxy.apply(&ProxyPlan::default()).await.unwrap();
        world
    }

    fn write_keys(&self, credentials: Vec<S3Credential>) {
        let text = serde_json::to_string(&S3Credentials { credentials }).unwrap();
        file::replace(&self.paths.s3_credentials(), &text).unwrap();
    }

    async fn start(&self) {
        self.start_like(Behaviour::Everything).await;
    }

    pub(crate) async fn start_like(&self, behaviour: Behaviour) {
        let program = Path::new(env!("CARGO_BIN_EXE_localcloud"));
        object_storage::ensure_running(&self.paths, program, behaviour).await.unwrap();
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(self.paths.pid_file(object_storage::PROGRAM)).unwrap()
    }

    /// Runs the AWS command line tool against this S3.
    fn aws(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(python()?.with_file_name("aws"))
            .args(["--endpoint-url", &format!("http://127.0.0.1:{}/services/objectstorage/", self.port)])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", "AKIAOPERATOR")
            .env("AWS_SECRET_ACCESS_KEY", "operator/secret+key")
            .env("AWS_DEFAULT_REGION", "localcloud")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Everything below the root: hidden files too.
    fn files(&self) -> Vec<String> {
        let root = self.paths.s3_root();
        let mut names: Vec<String> = std::fs::read_dir(&root)
            .unwrap()
            .flatten()
            .flat_map(|entry| match entry.path().read_dir() {
                Ok(inside) => inside.flatten().map(|entry| entry.path()).chain([entry.path()]).collect(),
                Err(_) => vec![entry.path()],
            })
            .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    }

    pub(crate) async fn end(self) {
        self.proxy.stop().await.unwrap();
        object_storage::stop(&self.paths).await.unwrap();
        let _ = std::fs::remove_dir_all(self.paths.run_dir());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Python with boto3 and awscli, as `make test` provides it below the target directory.
pub(crate) fn python() -> Result<PathBuf, String> {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("venv").join("bin/python");
    if python.exists() {
        Ok(python)
    } else {
        Err(format!("skipped: {} is missing: make a virtual environment there with boto3 and awscli", python.display()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_finds_s3_as_it_expects_it_and_nothing_is_left_behind() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return eprintln!("{reason}"),
    };
    let world = World::new("boto3").await;
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/object_storage.py"))
        .arg(format!("http://127.0.0.1:{}", world.port))
        .args(["AKIAOPERATOR", "operator/secret+key", "ASIATEMPORARY", "temporary", "token/with+=signs"])
        .output()
        .unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("ok\n"), "{said}\n{wrong}");
    assert_eq!(world.files(), Vec::<String>::new(), "what is deleted is gone from disk as well");
    assert_eq!(object_storage::usage(&world.paths).unwrap(), Usage::default());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_and_uploads_survive_a_killed_process_and_half_written_ones_do_not() {
    if let Err(reason) = python() {
        return eprintln!("{reason}");
    }
    let world = World::new("killed").await;
    let local = world.directory.join("file");
    std::fs::write(&local, "kept").unwrap();
    world.aws(&["s3", "mb", "s3://bucket"]).unwrap();
    world.aws(&["s3", "cp", local.to_str().unwrap(), "s3://bucket/a/b c", "--content-type", "text/x"]).unwrap();
    std::fs::write(&local, "replaced").unwrap();
    world.aws(&["s3", "cp", local.to_str().unwrap(), "s3://bucket/a/b c", "--content-type", "text/y"]).unwrap();
    let upload = world
        .aws(&[
            "s3api",
            "create-multipart-upload",
            "--bucket",
            "bucket",
            "--key",
            "up",
            "--query",
            "UploadId",
            "--output",
            "text",
        ])
        .unwrap();
    let upload = upload.trim();
    let part =
        ["s3api", "upload-part", "--bucket", "bucket", "--key", "up", "--upload-id", upload, "--part-number", "1"];
    world.aws(&[part.as_slice(), &["--body", local.to_str().unwrap()]].concat()).unwrap();
    assert_eq!(object_storage::usage(&world.paths).unwrap(), Usage { buckets: 1, objects: 1, bytes: 8 });

    let pid = world.pid();
    let process = PidFile::new(world.paths.pid_file(object_storage::PROGRAM)).process().unwrap();
    process.signal(Signal::KILL);
    assert!(process.wait(Duration::from_secs(10)).await);
    // What a process leaves that was killed while it wrote: bytes without metadata, and metadata without bytes.
    let root = world.paths.s3_root();
    std::fs::write(root.join("bucket/00000000000000ff-00000000"), "half").unwrap();
    std::fs::write(root.join(".bucket-YnVja2V0.object-eA.metadata.json"), "{}").unwrap();
    std::fs::write(root.join(".upload_id-00000000-0000-4000-8000-000000000000.part-1"), "x").unwrap();
    std::fs::write(root.join(".tmp.7.internal.part"), "x").unwrap();
    world.start().await;
    assert_ne!(world.pid(), pid);

    let into = world.directory.join("into");
    world.aws(&["s3", "cp", "s3://bucket/a/b c", into.to_str().unwrap()]).unwrap();
    assert_eq!(std::fs::read_to_string(&into).unwrap(), "replaced");
    let head = world
        .aws(&[
            "s3api",
            "head-object",
            "--bucket",
            "bucket",
            "--key",
            "a/b c",
            "--query",
            "ContentType",
            "--output",
            "text",
        ])
        .unwrap();
    assert_eq!(head.trim(), "text/y");
    let files = world.files();
    assert!(
        !files.iter().any(|file| file.contains("00ff-")
            || file.contains("eA.")
            || file.contains("8000-")
            || file.contains(".tmp")),
        "{files:?}"
    );
    let parts = world
        .aws(&[
            "s3api",
            "list-parts",
            "--bucket",
            "bucket",
            "--key",
            "up",
            "--upload-id",
            upload,
            "--query",
            "Parts[0].ETag",
            "--output",
            "text",
        ])
        .unwrap();
    let parts = format!("Parts=[{{PartNumber=1,ETag={}}}]", parts.trim());
    let complete = [
        "s3api",
        "complete-multipart-upload",
        "--bucket",
        "bucket",
        "--key",
        "up",
        "--upload-id",
        upload,
        "--multipart-upload",
        &parts,
    ];
    world.aws(&complete).unwrap();
    world.aws(&["s3", "rb", "s3://bucket", "--force"]).unwrap();
    assert_eq!(world.files(), Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_known_at_once_and_the_process_is_adopted() {
    if let Err(reason) = python() {
        return eprintln!("{reason}");
    }
    let world = World::new("keys").await;
    let pid = world.pid();
    world.aws(&["s3", "ls"]).unwrap();
    world.write_keys(vec![credential("AKIAOTHER", "other", None, None)]);
    let refusal = world.aws(&["s3", "ls"]).unwrap_err();
    assert!(refusal.contains("InvalidAccessKeyId"), "{refusal}");
    world.write_keys(vec![credential("AKIAOPERATOR", "operator/secret+key", None, None)]);
    world.aws(&["s3", "ls"]).unwrap();
    world.start().await;
    assert_eq!(world.pid(), pid, "started twice is started once");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_like_aws_refuses_acls_and_a_running_s3_is_told_so() {
    if let Err(reason) = python() {
        return eprintln!("{reason}");
    }
    let world = World::new("acls").await;
    let local = world.directory.join("file");
    std::fs::write(&local, "bytes").unwrap();
    let local = local.to_str().unwrap();
    world.aws(&["s3", "mb", "s3://bucket"]).unwrap();
    let put = ["s3api", "put-object", "--bucket", "bucket", "--key", "a", "--body", local];
    let public = [put.as_slice(), &["--acl", "public-read"]].concat();
    let before = world.pid();
    world.start().await;
    assert_eq!(world.pid(), before, "it goes on");
    world.start_like(Behaviour::Aws).await;
    assert_ne!(world.pid(), before);
    let refused = world.aws(&public).unwrap_err();
    assert!(refused.contains("AccessControlListNotSupported"), "{refused}");
    world.aws(&[put.as_slice(), &["--acl", "bucket-owner-full-control"]].concat()).unwrap();
    world.aws(&put).unwrap();
    let refused = world.aws(&["s3api", "put-bucket-acl", "--bucket", "bucket", "--acl", "private"]).unwrap_err();
    assert!(refused.contains("AccessControlListNotSupported"), "{refused}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_s3_is_started_again_within_seconds_and_told_of() {
    let world = World::new("watched").await;
    let troubles = Troubles::default();
    let watchman = Watchman {
        paths: world.paths.clone(),
        own_exe: env!("CARGO_BIN_EXE_localcloud").into(),
        behaviour: Behaviour::Everything,
        troubles: troubles.clone(),
    };
    let watching = tokio::spawn(watchman.watch());
    let (pid_file, socket) = (PidFile::new(world.paths.pid_file(object_storage::PROGRAM)), world.paths.socket("s3"));
    let said = |words: &'static str| {
        let troubles = troubles.clone();
        async move {
            let deadline = std::time::Instant::now() + Duration::from_secs(15);
            while !troubles.list().iter().any(|trouble| trouble.contains(words)) {
                assert!(std::time::Instant::now() < deadline, "`{words}` is not said: {:?}", troubles.list());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let killed = pid_file.process().unwrap();
    // Its first look must have seen it alive.
    tokio::time::timeout(Duration::from_secs(5), async {
        while !troubles.has_looked() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    killed.signal(Signal::KILL);
    said("runs again since").await;
    assert_ne!(pid_file.process(), Some(killed));
    assert!(tokio::net::UnixStream::connect(&socket).await.is_ok());
    let told = troubles.list().into_iter().find(|trouble| trouble.contains("S3")).unwrap();
    assert!(told.contains(&format!("process {}) had ended unasked", killed.pid)), "{told}");
    watching.abort();
    world.end().await;
}
