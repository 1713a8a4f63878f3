//! Clients that we did not write: boto3, with its own signatures and parsers, and ssh-keygen.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{io::AsyncWriteExt as _, process::Command};

use super::cloud::{Cloud, text};

const SCRIPT: &str = include_str!("boto3.py");

/// The Python that has boto3: named by `LOCALCLOUD_TEST_PYTHON`, or of a virtual environment in the target directory.
pub(crate) fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let named = std::env::var_os("LOCALCLOUD_TEST_PYTHON").map(PathBuf::from);
    let found = ["venv", "moto-venv"].map(|name| target.join(name).join("bin/python"));
    let has_boto3 = |python: &PathBuf| {
        let asked = std::process::Command::new(python).args(["-c", "import boto3"]).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    named.into_iter().chain(found).find(has_boto3)
}

#[tokio::test]
async fn boto3_lives_a_whole_life_through_the_front() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with boto3; `python3 -m venv target/venv && target/venv/bin/pip install boto3`");
        return;
    };
    let mut cloud = Cloud::start();
    let (url, access_key, secret_key) = cloud.serve().await;
    let mut child = Command::new(python)
        .arg("-")
        .env_clear()
        .env("EC2_URL", url)
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", secret_key)
        .env("AWS_DEFAULT_REGION", "localcloud")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(SCRIPT.as_bytes()).await.expect("the script is read");
    drop(stdin);
    let output = child.wait_with_output().await.expect("ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done");
}

#[tokio::test]
async fn ssh_keygen_reads_both_kinds_of_private_keys_and_finds_their_public_halves() {
    let cloud = Cloud::found();
    let dir = tempfile::tempdir().expect("a directory");
    for (kind, begins) in
        [("ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----"), ("rsa", "-----BEGIN RSA PRIVATE KEY-----")]
    {
        let made = cloud.ok("CreateKeyPair", &[("KeyName", kind), ("KeyType", kind)]);
        let private = text(&made, "keyMaterial");
        assert!(private.starts_with(begins), "{kind}");
        let described = cloud.ok("DescribeKeyPairs", &[("KeyName.1", kind), ("IncludePublicKey", "true")]);
        let public = text(&described, "keySet.0.publicKey");
        let file = dir.path().join(kind);
        std::fs::write(&file, &private).expect("written");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("private");
        let Ok(output) = Command::new("ssh-keygen").arg("-y").arg("-f").arg(&file).output().await else {
            eprintln!("skipped: no ssh-keygen");
            return;
        };
        assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        let read = String::from_utf8_lossy(&output.stdout).into_owned();
        let key = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(key(read.trim()), key(&public), "{kind}");
        if kind == "rsa" {
            assert_fingerprint(&file, &private, &text(&made, "keyFingerprint")).await;
        }
    }
}

/// AWS's own recipe for the fingerprint of a pair that it made:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html>
async fn assert_fingerprint(file: &Path, private: &str, fingerprint: &str) {
    let recipe = format!("openssl pkcs8 -in {} -nocrypt -topk8 -outform DER | openssl sha1 -c", file.display());
    let Ok(output) = Command::new("sh").arg("-c").arg(recipe).output().await else { return };
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && printed.contains('=') {
        assert!(printed.trim().ends_with(fingerprint), "{printed} {fingerprint} {}", private.len());
    }
}
