//! Network namespaces by name, as `ip netns` keeps them under `/run/netns`.

use std::{fs::File, os::fd::AsFd as _, path::PathBuf};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{HostError, Result, command::Command};

const DIRECTORY: &str = "/run/netns";

#[must_use]
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(name)
}

/// Whether the name leads to a namespace. A file left over from before a reboot of the machine does not.
pub async fn exists(name: &str) -> bool {
    path(name).exists() && Command::new("true").in_netns(name).succeeds().await
}

/// Makes the namespace if it is not there.
pub async fn ensure(name: &str) -> Result<()> {
    if exists(name).await {
        return Ok(());
    }
    let _ = std::fs::remove_file(path(name));
    Command::new("ip").args(["netns", "add", name]).run().await.map(drop)
}

/// Removes the name; the namespace itself goes when nobody is in it any more. Already gone is success.
pub async fn delete(name: &str) -> Result<()> {
    if !path(name).exists() {
        return Ok(());
    }
    match Command::new("ip").args(["netns", "delete", name]).run().await {
        Ok(_) => Ok(()),
        // A left-over file that is no mount: `ip` cannot unmount it.
        Err(error) => std::fs::remove_file(path(name)).map_err(|_| error),
    }
}

/// Runs the body inside the namespace, in a thread that ends with it: no other thread is moved. It waits for the thread.
pub fn within<T: Send>(name: &str, body: impl FnOnce() -> T + Send) -> Result<T> {
    let doing = || format!("entering the network namespace {name}");
    let namespace = File::open(path(name)).map_err(|error| HostError::new(doing(), error))?;
    let entered = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok::<T, rustix::io::Errno>(body())
        });
        thread.join()
    });
    match entered {
        Ok(outcome) => outcome.map_err(|error| HostError::new(doing(), error)),
        Err(_) => Err(HostError::new(doing(), "the thread has panicked")),
    }
}

/// Names with the given beginning.
#[must_use]
pub fn list(prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Several `ip` commands in one process, inside the namespace. Stops at the first that fails.
pub async fn ip_batch(name: &str, commands: &[String]) -> Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    Command::new("ip").args(["-n", name, "-batch", "-"]).input(commands.join("\n")).run().await.map(drop)
}
