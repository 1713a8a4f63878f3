//! Running a command to its end: output captured, time limited, failure told with the last of its stderr.
//! Processes that stay are in `process`.

use std::{ffi::OsString, process::Stdio, time::Duration};

use tokio::io::AsyncWriteExt as _;

use super::{HostError, Result, process::find_program};

const DEFAULT_LIMIT: Duration = Duration::from_secs(30);
/// Of a failed command's stderr: enough to show the reason, short enough for one line of a report.
const STDERR_TAIL: usize = 600;

/// A command and how long it may take.
#[derive(Debug, Clone)]
pub struct Command {
    program: String,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    input: Option<Vec<u8>>,
    limit: Duration,
}

impl Command {
    #[must_use]
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            input: None,
            limit: DEFAULT_LIMIT,
        }
    }

    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    #[must_use]
    pub fn args<I, A>(mut self, arguments: I) -> Self
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// What the command reads on its stdin; nothing otherwise.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same command, run inside the network namespace. Unlike `ip netns exec` this leaves `/sys` as it is.
    #[must_use]
    pub fn in_netns(mut self, namespace: &str) -> Self {
        let mut arguments: Vec<OsString> =
            vec![format!("--net={}", super::netns::path(namespace).display()).into(), "--".into()];
        arguments.push(std::mem::replace(&mut self.program, "nsenter".to_owned()).into());
        arguments.append(&mut self.arguments);
        self.arguments = arguments;
        self
    }

    /// Runs it and returns its stdout. An exit status other than 0 is an error.
    pub async fn run(self) -> Result<String> {
        let said = self.to_string();
        let mut command = self.prepare()?;
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| HostError::new(format!("starting {said}"), error))?;
        let stdin = child.stdin.take();
        let input = self.input;
        let conversation = async {
            let feed = async {
                if let (Some(mut stdin), Some(input)) = (stdin, input) {
                    // A command that does not read to the end says so by its exit status.
                    let _ = stdin.write_all(&input).await;
                }
            };
            tokio::join!(feed, child.wait_with_output()).1
        };
        let output = tokio::time::timeout(self.limit, conversation)
            .await
            .map_err(|_| HostError::new(&said, format!("not finished after {} s", self.limit.as_secs())))?
            .map_err(|error| HostError::new(&said, error))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let reason = tail(&stderr);
            Err(HostError::new(said, if reason.is_empty() { output.status.to_string() } else { reason }))
        }
    }

    /// Whether it exits with 0. For questions such as "is there a table of this name".
    pub async fn succeeds(self) -> bool {
        self.run().await.is_ok()
    }

    /// The command with program, arguments and environment, for `process`.
    pub(super) fn prepare(&self) -> Result<tokio::process::Command> {
        let path = find_program(&self.program).ok_or_else(|| not_installed(&self.program))?;
        let mut command = tokio::process::Command::new(path);
        command.args(&self.arguments).env("LC_ALL", "C.UTF-8");
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        Ok(command)
    }

    /// The same command as the child of another, such as `setsid`.
    pub(super) fn wrapped_by(self, outer: &str) -> Result<Self> {
        let path = find_program(&self.program).ok_or_else(|| not_installed(&self.program))?;
        let mut arguments = vec![path.into_os_string()];
        arguments.extend(self.arguments);
        Ok(Self { program: outer.to_owned(), arguments, ..self })
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "`{}", self.program)?;
        for argument in &self.arguments {
            let argument = argument.to_string_lossy();
            // A script as an argument is no part of a sentence.
            write!(formatter, " {}", if argument.contains('\n') { "…" } else { &argument })?;
        }
        formatter.write_str("`")
    }
}

fn not_installed(program: &str) -> HostError {
    let package = match program {
        "ip" => "iproute2",
        "nft" => "nftables",
        "dnsmasq" => "dnsmasq-base",
        "systemd-nspawn" => "systemd-container",
        "losetup" => "mount",
        "nsenter" | "setsid" => "util-linux",
        "sysctl" => "procps",
        other => other,
    };
    HostError::new(format!("`{program}`"), "is not installed").hint(format!("apt-get install {package}"))
}

/// The last lines of a text, on one line.
fn tail(text: &str) -> String {
    let trimmed = text.trim();
    let start = trimmed.len().saturating_sub(STDERR_TAIL);
    let start = (start..=trimmed.len()).find(|&at| trimmed.is_char_boundary(at)).unwrap_or(trimmed.len());
    trimmed[start..].lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_carries_the_commands_own_words() {
        let error = Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]).run().await.unwrap_err();
        assert!(error.to_string().ends_with(": no such thing"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named_with_its_package() {
        let error = Command::new("no-such-program-anywhere").run().await.unwrap_err();
        assert!(error.to_string().contains("is not installed"), "{error}");
        assert_eq!(error.hint.as_deref(), Some("apt-get install no-such-program-anywhere"));
    }

    #[tokio::test]
    async fn a_command_that_hangs_ends_at_its_limit() {
        let error = Command::new("sleep").arg("60").limit(Duration::from_millis(50)).run().await.unwrap_err();
        assert!(error.to_string().contains("not finished"), "{error}");
    }

    #[tokio::test]
    async fn input_larger_than_a_pipe_arrives_whole() {
        let input = vec![b'x'; 300_000];
        let output = Command::new("cat").input(input.clone()).run().await.unwrap();
        assert_eq!(output.len(), input.len());
    }
}
