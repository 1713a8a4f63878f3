//! Ends everything that a cloud runs on this machine, with or without a daemon: instances, proxy, S3, network, loop
//! devices. Records, disks, volumes and objects stay.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};

use super::{DaemonLock, real_drivers};
use crate::{config::Config, host::process::ProcessId, object_storage, paths::Paths};

/// How long a daemon may take to end after SIGTERM.
const DAEMON_END: Duration = Duration::from_secs(20);

/// Stops the daemon, then everything else. What is already gone is skipped; what resists is named.
///
/// # Errors
/// When something could not be ended; the rest has been ended all the same.
pub async fn stop_everything(config: &Config, progress: &dyn Fn(&str)) -> Result<()> {
    let paths = Paths::new(&config.state_dir);
    stop_daemon(&paths, progress).await?;
    // From here on nothing brings back what is stopped.
    let _lock = DaemonLock::take(&paths)?;
    let drivers = real_drivers(config, &paths);
    let mut resisting = Vec::new();
    let instances = drivers.instances.list().await?;
    if !instances.is_empty() {
        progress(&format!("stopping {} instances", instances.len()));
    }
    let stops = instances.iter().map(|id| drivers.instances.stop(id));
    resisting.extend(join_all(stops).await.into_iter().filter_map(Result::err));
    for volume in drivers.volumes.list().await? {
        resisting.extend(drivers.volumes.close(&volume).await.err());
    }
    progress("stopping the proxy, S3 and the network");
    resisting.extend(drivers.proxy.stop().await.err());
    let s3 = object_storage::stop(&paths).await;
    resisting.extend(drivers.network.stop().await.err());
    match std::fs::remove_dir_all(paths.run_dir()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", paths.run_dir().display()));
        }
        _ => {}
    }
    s3.context("stopping S3")?;
    if resisting.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = resisting.iter().map(ToString::to_string).collect();
    bail!("{} things could not be stopped:\n  {}", list.len(), list.join("\n  "))
}

async fn stop_daemon(paths: &Paths, progress: &dyn Fn(&str)) -> Result<()> {
    let Some(holder) = DaemonLock::holder(paths) else { return Ok(()) };
    progress(&format!("stopping the daemon (process {holder})"));
    let pid = i32::try_from(holder).ok().and_then(Pid::from_raw).context("the lock names no process")?;
    let process = ProcessId::of(pid.as_raw_nonzero().get());
    match kill_process(pid, Signal::TERM) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error).with_context(|| format!("ending the daemon (process {holder})")),
    }
    let deadline = tokio::time::Instant::now() + DAEMON_END;
    // The lock is let go of a moment before the process has ended.
    while DaemonLock::holder(paths).is_some() || process.is_some_and(ProcessId::is_alive) {
        if tokio::time::Instant::now() > deadline {
            bail!("the daemon (process {holder}) has not ended within {} s of SIGTERM", DAEMON_END.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
