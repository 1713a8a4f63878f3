//! Keeps a guest's file system still while its volume is copied. A helper process holds it: should the daemon die, the
//! helper reads the end of its input, and thaws.

use std::{os::fd::OwnedFd, path::Path, process::Stdio, time::Duration};

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    drivers::Frozen,
    host::{HostError, Result, process::find_program},
};

/// How long the guest's file system may take to write what it still has in memory.
const LIMIT: Duration = Duration::from_secs(60);

/// `$1` tells of a helper that was killed, and left the file system frozen; one that the guest has frozen itself stays
/// so. The directory is the third descriptor: a path could lead elsewhere by now.
const HELPER: &str = r#"
trap "" PIPE
exec 3<&2 2>&1
if [ -e "$1" ]; then fsfreeze --unfreeze /proc/self/fd/3; fi
: >"$1" || exit 1
if said=$(fsfreeze --freeze /proc/self/fd/3 2>&1); then
    echo frozen
    read -r _
    fsfreeze --unfreeze /proc/self/fd/3
    rm -f "$1"
else
    rm -f "$1"
    case $said in *busy*) echo frozen ;; *) echo "$said" ;; esac
fi
"#;

/// Freezes the file system of this directory. `marker` is a file's name of its own.
pub(super) async fn freeze(directory: OwnedFd, marker: &Path) -> Result<Frozen> {
    let doing = || "freezing the guest's file system";
    let failed = |error: &dyn std::fmt::Display| HostError::new(doing(), error);
    let not_installed = |name: &str| HostError::new(format!("`{name}`"), "is not installed");
    find_program("fsfreeze").ok_or_else(|| not_installed("fsfreeze").hint("apt-get install util-linux"))?;
    let shell = find_program("sh").ok_or_else(|| not_installed("sh"))?;
    let mut command = tokio::process::Command::new(shell);
    command.args(["-c", HELPER, "freezer"]).arg(marker).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::from(directory));
    let mut helper = command.spawn().map_err(|error| failed(&error))?;
    let Some(output) = helper.stdout.take() else { return Err(failed(&"the helper has no output")) };
    let mut line = String::new();
    let read = tokio::time::timeout(LIMIT, BufReader::new(output).read_line(&mut line)).await;
    match read {
        // With the helper its input is dropped, and that thaws.
        Ok(Ok(_)) if line.trim() == "frozen" => Ok(Box::new(helper)),
        Ok(Ok(_)) => Err(failed(&line.trim())),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(failed(&format!("not done after {} s", LIMIT.as_secs()))),
    }
}
