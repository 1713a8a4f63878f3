//! `localcloud status`: what runs, and what is in trouble.

use anyhow::{Context as _, Result};

use super::Exit;
use crate::{config::Config, daemon::status::Status, paths::Paths, wire::asking};

/// Asks the daemon.
///
/// # Errors
/// When none answers.
pub async fn ask(paths: &Paths) -> Result<Status> {
    let request = hyper::Request::get("/status").header("host", "localcloud").body(Vec::new())?;
    let answer = asking::ask(&paths.socket("admin"), request).await.context("no daemon answers")?.into_body();
    serde_json::from_slice(&answer).with_context(|| String::from_utf8_lossy(&answer).into_owned())
}

/// # Errors
/// Never for want of a daemon: that is exit 3.
#[expect(clippy::print_stdout, reason = "the status is the command's data")]
pub async fn run(config: &Config, json: bool) -> Result<Exit> {
    let paths = Paths::new(&config.state_dir);
    let Ok(status) = ask(&paths).await else {
        if json {
            println!("{}", serde_json::json!({ "running": false }));
        } else {
            println!("no local cloud runs on {}", paths.root().display());
        }
        return Ok(Exit::NotReady);
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(Exit::Done);
    }
    println!("serving    {} (process {})", status.endpoint, status.process);
    println!("state      {}", paths.root().display());
    let counts = [
        ("instances", status.instances),
        ("volumes", status.volumes),
        ("snapshots", status.snapshots),
        ("balancers", status.load_balancers),
        ("groups", status.auto_scaling_groups),
        ("buckets", status.buckets),
    ];
    for (name, count) in counts {
        println!("{name:<10} {count}");
    }
    for trouble in &status.troubles {
        println!("trouble    {trouble}");
    }
    Ok(Exit::Done)
}
