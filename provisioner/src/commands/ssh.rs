//! `ssh`: a command on a VM, or a shell.

use std::io::IsTerminal;

use openssh::Error;

use crate::cli::SshOptions;
use crate::commands::Session;
use crate::error::{Exit, Failure};
use crate::remote::{Access, Remote};
use crate::vms;

/// Runs it; the answer is the command's own exit code.
pub async fn run(session: Session, options: SshOptions) -> Result<u8, Failure> {
    let clients = session.running_clients("connecting").await?;
    let (cloud, _) = session.connect(clients).await?;
    let vms = vms::find(&cloud, &options.vm).await?;
    // Where one has just been launched, an older one is the better choice.
    let Some(vm) = vms.iter().find(|vm| vm.state == "running").or(vms.first()) else {
        return Err(Failure::new("connecting", "there is no VM"));
    };
    if vms.len() > 1 {
        session.report.say(format!("{} of {} VMs", vm.id, vms.len()));
    }
    let access = Access {
        cloud: &cloud,
        state_dir: &session.global.state_dir,
        user: session.config.ssh_user(),
        report: &session.report,
    };
    let remote = access.connect(vm).await?;
    let code = tokio::select! {
        code = work(&remote, &options.command) => code,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted as u8),
    };
    remote.close().await;
    code
}

async fn work(remote: &Remote, command: &[String]) -> Result<u8, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        if std::io::stdin().is_terminal() {
            return remote.shell().await;
        }
        return code(remote.session().raw_command("sh").status().await);
    };
    // As ssh does it: the words are joined, and the shell over there reads them.
    code(remote.session().raw_command(program).raw_args(arguments).status().await)
}

fn code(status: Result<std::process::ExitStatus, Error>) -> Result<u8, Failure> {
    match status {
        Ok(status) => Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)),
        // The shell over there has said so already.
        Err(Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(127),
        Err(error) => Err(Failure::new("running the command", error)),
    }
}
