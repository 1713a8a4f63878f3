//! `logs`: cloud-init's output and the journal of the units that matter, by ssh; where that is not let in, the console.

use futures::future::try_join_all;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::cli::LogsOptions;
use crate::cloud::Cloud;
use crate::commands::Session;
use crate::error::{Exit, Failure};
use crate::remote::{Access, Remote};
use crate::vms::{self, Vm};

const CLOUD_INIT: &str = "/var/log/cloud-init-output.log";
/// How often a console is asked for more.
const CONSOLE_PERIOD: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs it.
pub async fn run(session: Session, options: LogsOptions) -> Result<Exit, Failure> {
    let clients = session.running_clients("reading logs").await?;
    let (cloud, _) = session.connect(clients).await?;
    let vms = vms::find(&cloud, &options.vm).await?;
    let logs = Logs { session: &session, cloud: &cloud, options: &options, several: vms.len() > 1 };
    if !options.follow {
        for vm in &vms {
            logs.of(vm).await?;
        }
        return Ok(Exit::Done);
    }
    // Lines come as they are written, from all at once.
    tokio::select! {
        ended = try_join_all(vms.iter().map(|vm| logs.of(vm))) => ended.map(|_| Exit::Done),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

struct Logs<'a> {
    session: &'a Session,
    cloud: &'a Cloud,
    options: &'a LogsOptions,
    several: bool,
}

impl Logs<'_> {
    async fn of(&self, vm: &Vm) -> Result<(), Failure> {
        if self.options.console {
            return self.console(vm).await;
        }
        let access = Access {
            cloud: self.cloud,
            state_dir: &self.session.global.state_dir,
            user: self.session.config.ssh_user(),
            report: &self.session.report,
        };
        match access.connect(vm).await {
            Ok(remote) => {
                let result = self.journal(vm, &remote).await;
                remote.close().await;
                result
            }
            Err(failure) => {
                self.session.report.say(format!("{failure}\n\nshowing the console of {} instead", vm.id));
                self.console(vm).await
            }
        }
    }

    async fn journal(&self, vm: &Vm, remote: &Remote) -> Result<(), Failure> {
        let lines = self.options.lines.to_string();
        self.heading(vm, CLOUD_INIT);
        self.print(vm, remote, "tail", &["-n", lines.as_str(), CLOUD_INIT]).await?;
        self.heading(vm, &vm.role.units().join(" "));
        let mut arguments = vec!["--no-pager", "--output=short-iso", "-n", lines.as_str()];
        arguments.extend(vm.role.units().iter().flat_map(|unit| ["-u", *unit]));
        if self.options.follow {
            arguments.push("--follow");
        }
        self.print(vm, remote, "journalctl", &arguments).await
    }

    async fn print(&self, vm: &Vm, remote: &Remote, program: &str, arguments: &[&str]) -> Result<(), Failure> {
        let doing = format!("running {program} on {}", vm.id);
        let fail = |error: openssh::Error| Failure::new(&doing, error);
        let mut command = remote.session().command(program);
        let command = command.args(arguments).stdin(openssh::Stdio::null()).stdout(openssh::Stdio::piped());
        let mut child = command.spawn().await.map_err(fail)?;
        if let Some(stdout) = child.stdout().take() {
            self.copy(vm, stdout).await.map_err(|error| Failure::new(&doing, error))?;
        }
        let status = child.wait().await.map_err(fail)?;
        if status.success() { Ok(()) } else { Err(Failure::new(&doing, format!("it ended with {status}"))) }
    }

    /// Whole lines, as those of other VMs come between.
    async fn copy(&self, vm: &Vm, from: impl AsyncRead + Unpin) -> std::io::Result<()> {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).await? > 0 {
            self.line(vm, String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            line.clear();
        }
        Ok(())
    }

    async fn console(&self, vm: &Vm) -> Result<(), Failure> {
        self.heading(vm, "console");
        let text = vm.console(self.cloud).await?;
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(usize::try_from(self.options.lines).unwrap_or(usize::MAX));
        for line in &lines[first..] {
            self.line(vm, line);
        }
        if self.options.follow { self.follow_console(vm, text).await } else { Ok(()) }
    }

    async fn follow_console(&self, vm: &Vm, mut told: String) -> Result<(), Failure> {
        loop {
            self.session.interrupt.sleep(CONSOLE_PERIOD).await?;
            let text = vm.console(self.cloud).await?;
            let more = more_of(&told, &text);
            let whole = more.rfind('\n').map_or(0, |end| end + 1);
            for line in more[..whole].lines() {
                self.line(vm, line);
            }
            let rest = more.len() - whole;
            told = text[..text.len() - rest].to_owned();
        }
    }

    fn heading(&self, vm: &Vm, of: &str) {
        self.session.report.data(format!("==> {} {of} <==", vm.id));
    }

    fn line(&self, vm: &Vm, line: &str) {
        if self.several && self.options.follow {
            self.session.report.data(format!("{} | {line}", vm.id));
        } else {
            self.session.report.data(line);
        }
    }
}

/// What a console says since it was read. Clouds keep its end only, so that its begin moves on.
fn more_of<'t>(told: &str, text: &'t str) -> &'t str {
    if let Some(more) = text.strip_prefix(told) {
        return more;
    }
    let last = told.lines().next_back().unwrap_or_default();
    match text.rfind(last) {
        Some(at) if !last.is_empty() => &text[at + last.len()..],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_console_says_anew_is_told() {
        assert_eq!(more_of("one\n", "one\ntwo\n"), "two\n");
        assert_eq!(more_of("one\ntwo\n", "two\nthree\n"), "\nthree\n");
        assert_eq!(more_of("one\n", "two\n"), "two\n");
        assert_eq!(more_of("", "one\n"), "one\n");
    }
}
