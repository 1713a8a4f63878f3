//! A connection to a VM, by the system's own ssh: with the private half of the stack's key pair, and host keys in a file of
//! the stack's own. There a host is its instance's id, as an address comes back with another machine behind it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::cloud::Cloud;
use crate::converge::Pause;
use crate::error::Failure;
use crate::files;
use crate::report::{Reporter, seconds};
use crate::state::{known_hosts_path, private_key_path};
use crate::vms::Vm;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a refusal may be that of a VM which still boots.
const REFUSAL_LIMIT: Duration = Duration::from_secs(20);
/// The connection ends so soon after this process was killed.
const IDLE_SECS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(10).expect("ten is not zero");
/// The path of a socket has at most 108 bytes, of which ssh wants some 50 below the directory.
const LONGEST_DIRECTORY: usize = 50;

/// What it takes to reach the VMs of a stack.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The cloud.
    pub cloud: &'a Cloud,
    /// Where keys are kept.
    pub state_dir: &'a Path,
    /// The image's user.
    pub user: &'a str,
    /// Where progress goes.
    pub report: &'a Reporter,
}

/// A connection. Ends with `close`, or when it is dropped.
pub struct Remote {
    session: Session,
    _directory: TempDir,
}

impl Access<'_> {
    /// Connects to a VM.
    pub async fn connect(&self, vm: &Vm) -> Result<Remote, Failure> {
        let doing = format!("connecting to {}", vm.id);
        let not_admitted = |what: String, hint: &str| Failure::new(&doing, what).hint(hint);
        let failed = |error: std::io::Error| Failure::new(&doing, error);
        let stack = &self.cloud.stack;
        let key = private_key_path(self.state_dir, stack);
        let bring = "bring it from where the stack was made, or name that place: --state-dir";
        match files::text(&key) {
            Ok(text) if text.contains("PRIVATE KEY") => {}
            Ok(_) => return Err(not_admitted(format!("{} holds no private key", key.display()), bring)),
            Err(why) if why.is_missing => {
                return Err(not_admitted(format!("the private key {} is not on this machine", key.display()), bring));
            }
            Err(why) => return Err(not_admitted(format!("the private key {}: {why}", key.display()), bring)),
        }
        let Some(address) = &vm.address else {
            return Err(not_admitted(format!("it is {} and has no address", vm.state), "`imagecrud-deploy status`"));
        };
        if !vm.admits_ssh(self.cloud).await? {
            return Err(not_admitted(
                "its security group lets no ssh in".to_owned(),
                "set network.ssh_from in imagecrud.toml to the range you come from (on the local cloud \
                 \"0.0.0.0/0\": only this machine reaches it), then run `imagecrud-deploy up`",
            ));
        }
        let known_hosts = std::path::absolute(known_hosts_path(self.state_dir, stack)).map_err(failed)?;
        let directory = temporary_directory().map_err(failed)?;
        let config = directory.path().join("config");
        std::fs::write(&config, configuration(&vm.id, &known_hosts)).map_err(failed)?;
        let known = fingerprint(&known_hosts, &vm.id).is_some();
        let mut builder = SessionBuilder::default();
        builder
            .user(self.user.to_owned())
            .keyfile(std::path::absolute(&key).map_err(failed)?)
            .known_hosts_check(KnownHosts::Add)
            .config_file(&config)
            .control_directory(directory.path())
            .control_persist(ControlPersist::IdleFor(IDLE_SECS))
            .connect_timeout(CONNECT_TIMEOUT)
            .server_alive_interval(Duration::from_secs(15));
        let began = Instant::now();
        let mut pause = Pause::default();
        let mut said = false;
        let session = loop {
            match builder.connect(address).await {
                Ok(session) => break session,
                Err(error) if is_refused(&error) && began.elapsed() < REFUSAL_LIMIT => {
                    if !std::mem::replace(&mut said, true) {
                        let limit = seconds(REFUSAL_LIMIT);
                        self.report.say(format!(" • {}: waiting up to {limit} for ssh to answer", vm.id));
                    }
                    tokio::time::sleep(pause.lengthen()).await;
                }
                Err(error) => return Err(self.explained(vm, &doing, &error)),
            }
        };
        if !known {
            self.confirm(vm, &known_hosts).await?;
        }
        Ok(Remote { session, _directory: directory })
    }

    /// A host key that is seen for the first time has to be the one of which the console tells: only the VM and its cloud
    /// write there. Where the console tells of none, it is trusted from now on.
    async fn confirm(&self, vm: &Vm, known_hosts: &Path) -> Result<(), Failure> {
        let Some(seen) = fingerprint(known_hosts, &vm.id) else { return Ok(()) };
        let console = vm.console(self.cloud).await.unwrap_or_default();
        if console.contains(&seen) {
            self.report.detail(format!(" = the host key of {} is the one on its console: {seen}", vm.id));
            return Ok(());
        }
        if !tells_host_keys(&console) {
            let id = &vm.id;
            self.report.say(format!("the console of {id} tells no host key: trusting {seen}, seen for the first time"));
            return Ok(());
        }
        forget_host(known_hosts, &vm.id);
        Err(Failure::new(format!("connecting to {}", vm.id), format!("its host key {seen} is not on its console"))
            .hint("another machine may answer at its address: compare with `imagecrud-deploy logs VM --console`"))
    }

    fn explained(&self, vm: &Vm, doing: &str, error: &openssh::Error) -> Failure {
        let mut what = error.to_string();
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            what = format!("{what}: {source}");
            cause = source;
        }
        if what.contains("IDENTIFICATION HAS CHANGED") {
            what = "its host key is another than the one that is kept".to_owned();
        }
        let hint = match error {
            openssh::Error::Connect(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                "install ssh (Debian: openssh-client)".to_owned()
            }
            _ if what.contains("Host key verification failed") || what.starts_with("its host key") => {
                let file = known_hosts_path(self.state_dir, &self.cloud.stack);
                format!("if the VM was set up anew, remove the line of {} from {}", vm.id, file.display())
            }
            _ if what.contains("Permission denied") => {
                format!("does the image have the user {}? another one is named by network.ssh_user", self.user)
            }
            _ => {
                "a VM that still boots does not answer yet: `imagecrud-deploy logs VM --console` shows how far it is; \
                  on the local cloud nothing but network.ssh_from = \"0.0.0.0/0\" opens the way"
                    .to_owned()
            }
        };
        Failure::new(doing, what).hint(hint)
    }
}

impl Remote {
    /// The session, to run commands by.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// A shell on this terminal. Returns its exit code.
    pub async fn shell(&self) -> Result<u8, Failure> {
        let mut command = tokio::process::Command::new("ssh");
        // The library runs commands without a terminal; its connection serves the program as well.
        command.arg("-S").arg(self.session.control_socket()).args(["-o", "BatchMode=yes", "-p", "9", "-q", "-t", "vm"]);
        let status = command.stdin(Stdio::inherit()).status().await;
        let status = status.map_err(|error| Failure::new("running ssh", error))?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// Ends the connection.
    pub async fn close(self) {
        self.session.close().await.ok();
    }
}

/// Nothing listens there: a VM that boots, or a port that has only just been opened.
fn is_refused(error: &openssh::Error) -> bool {
    matches!(error, openssh::Error::Connect(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn temporary_directory() -> std::io::Result<TempDir> {
    let mut base = std::env::temp_dir();
    if base.as_os_str().len() > LONGEST_DIRECTORY {
        base = PathBuf::from("/tmp");
    }
    tempfile::Builder::new().prefix("imagecrud-").tempdir_in(base)
}

/// Ours first, as ssh takes the first value it meets; then the user's, for a jump host or the like.
fn configuration(host: &str, known_hosts: &Path) -> String {
    let known_hosts = known_hosts.display().to_string().replace('%', "%%");
    format!(
        "HostKeyAlias {host}\nUserKnownHostsFile \"{known_hosts}\"\nHashKnownHosts no\nUpdateHostKeys no\n\
         CheckHostIP no\nInclude ~/.ssh/config\nInclude /etc/ssh/ssh_config\n"
    )
}

fn is_of(line: &str, host: &str) -> bool {
    line.split_whitespace().next().is_some_and(|names| names.split(',').any(|name| name == host))
}

/// The fingerprint of the host key that is kept for a host.
fn fingerprint(known_hosts: &Path, host: &str) -> Option<String> {
    let text = std::fs::read_to_string(known_hosts).ok()?;
    let line = text.lines().find(|line| is_of(line, host))?;
    fingerprint_of(line.split_whitespace().nth(2)?)
}

fn fingerprint_of(key: &str) -> Option<String> {
    let digest = Sha256::digest(STANDARD.decode(key).ok()?);
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(digest)))
}

/// Drops what is kept of a host.
fn forget_host(known_hosts: &Path, host: &str) {
    let Ok(text) = std::fs::read_to_string(known_hosts) else { return };
    let others: String = text.lines().filter(|line| !is_of(line, host)).map(|line| format!("{line}\n")).collect();
    std::fs::write(known_hosts, others).ok();
}

/// cloud-init tells the host keys' fingerprints in one of two ways: as ssh-keygen does while it makes them, or in a block.
fn tells_host_keys(console: &str) -> bool {
    console.contains("The key fingerprint is:") || console.contains("BEGIN SSH HOST KEY FINGERPRINTS")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJV8UCDJyILO0MBmy2wiVMxzEmOSmVFljzEtJ3lPGCKc";

    #[test]
    fn host_keys_are_kept_by_instance_and_forgotten_one_by_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known hosts");
        std::fs::write(&file, format!("i-1 ssh-ed25519 {KEY}\ni-2 ssh-ed25519 {KEY}\n")).unwrap();
        let kept = fingerprint(&file, "i-1").unwrap();
        assert!(kept.starts_with("SHA256:") && kept.len() == 7 + 43, "{kept}");
        forget_host(&file, "i-1");
        assert_eq!(fingerprint(&file, "i-1"), None);
        assert_eq!(fingerprint(&file, "i-2"), Some(kept));
    }

    #[test]
    fn our_options_come_before_the_users() {
        let text = configuration("i-1", Path::new("/a b/100%/known_hosts"));
        assert!(
            text.contains("\"/a b/100%%/known_hosts\"") && text.find("HostKeyAlias") < text.find("Include"),
            "{text}"
        );
    }
}
