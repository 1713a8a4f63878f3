//! Starting and stopping the local cloud: the program beside our own, its state directory, its eucarc.
//! That is all we know of it; from there on it is a cloud like any other.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::cloud::clients::http_client;
use crate::cloud::eucarc::Eucarc;
use crate::environment;
use crate::error::Failure;
use crate::files;
use crate::report::Reporter;

const HINT: &str = "see --local-state-dir: it is the state directory of the local cloud, which writes that file";

/// Where its eucarc lies.
pub fn eucarc_path(state_dir: &Path) -> PathBuf {
    state_dir.join("eucarc")
}

/// Whether this process is root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A program of ours: beside this executable, else on PATH.
pub fn sibling(name: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join(name)));
    if let Some(path) = beside.filter(|path| path.is_file()) {
        return Some(path);
    }
    let path = environment::raw("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Its credentials, if it runs.
pub async fn running(state_dir: &Path) -> Result<Option<Eucarc>, Failure> {
    let path = eucarc_path(state_dir);
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let failure = Failure::new(format!("reading {}", path.display()), files::words(&error));
            return Err(needs_root(failure.hint(HINT)));
        }
    }
    let eucarc =
        Eucarc::read(&path).map_err(|failure| needs_root(Failure { hint: Some(HINT.to_owned()), ..failure }))?;
    let Some(url) = eucarc.first(&["EC2_URL"]) else { return Ok(None) };
    // Any answer of a cloud will do, also "forbidden"; another program on its port, or its proxy alone, is none.
    let answers =
        http_client()?.get(url).send().await.is_ok_and(|answer| {
            answer.headers().contains_key("x-amzn-requestid") && !answer.status().is_server_error()
        });
    Ok(answers.then_some(eucarc))
}

fn needs_root(mut failure: Failure) -> Failure {
    if !is_root() {
        failure.hint =
            Some("the local cloud belongs to root: use sudo, or choose another cloud with --cloud".to_owned());
    }
    failure
}

/// Starts it unless it runs, and returns its credentials.
pub async fn ensure_running(state_dir: &Path, report: &Reporter) -> Result<Eucarc, Failure> {
    if let Some(eucarc) = running(state_dir).await? {
        return Ok(eucarc);
    }
    let doing = "starting the local cloud";
    if !is_root() {
        return Err(Failure::new(doing, "it needs root, for its containers, network namespace and loop devices")
            .hint("use sudo, or choose another cloud: --cloud aws, --cloud eucalyptus --credentials EUCARC"));
    }
    let step = report.step("local-cloud", "starting");
    let started = run(state_dir, &["serve", "--detach"]).await;
    if let Err(failure) = started {
        step.failed();
        return Err(failure);
    }
    match running(state_dir).await? {
        Some(eucarc) => {
            step.done("started");
            Ok(eucarc)
        }
        None => {
            step.failed();
            Err(Failure::new(doing, "it says that it runs, but its API does not answer")
                .hint("`localcloud status` tells more"))
        }
    }
}

/// Stops it if it holds nothing any more; it says itself what it did.
pub async fn stop_if_empty(state_dir: &Path) -> Result<(), Failure> {
    run(state_dir, &["stop", "--if-empty"]).await
}

/// Runs the program. All it says is progress to us, so its stdout goes to our stderr as well.
async fn run(state_dir: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let doing = format!("running localcloud {}", arguments.join(" "));
    let Some(program) = sibling("localcloud") else {
        return Err(Failure::new(doing, "the program is neither beside imagecrud-deploy nor on PATH")
            .hint("`make build` puts all three programs into bin/"));
    };
    let status = tokio::process::Command::new(&program)
        .args(arguments)
        .arg("--state-dir")
        .arg(state_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .stderr(Stdio::inherit())
        .status()
        .await
        .map_err(|error| Failure::new(&doing, error))?;
    if !status.success() {
        return Err(Failure::new(&doing, format!("it ended with {status}"))
            .hint("its own words stand above; `localcloud status` tells more"));
    }
    Ok(())
}
