//! The master's socket. The current worker answers to `@1`, one of before a reload to `@!PID`. Around a reload the
//! master starts itself anew, so that a question may find nobody; whoever asks, asks again.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::host::process::ProcessId;

const LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Control {
    socket: PathBuf,
}

/// What `show proc` lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Processes {
    pub(super) workers: Vec<i32>,
    pub(super) old_workers: Vec<i32>,
    /// Reloads that failed in a row.
    pub(super) failed_reloads: u32,
}

impl Processes {
    pub(super) fn all_workers(&self) -> Vec<ProcessId> {
        self.workers.iter().chain(&self.old_workers).filter_map(|pid| ProcessId::of(*pid)).collect()
    }
}

impl Control {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    pub(super) async fn ask(&self, question: &str) -> std::io::Result<String> {
        let conversation = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(format!("{question}\n").as_bytes()).await?;
            // The master keeps the connection until the asker has ended its side.
            stream.shutdown().await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        tokio::time::timeout(LIMIT, conversation)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "HAProxy does not answer")))
    }

    pub(super) async fn ask_worker(&self, question: &str) -> std::io::Result<String> {
        self.ask(&format!("@1 {question}")).await
    }

    /// The digest of the configuration that the current worker runs; it stands in its description.
    pub(super) async fn running_digest(&self) -> Option<String> {
        let info = self.ask_worker("show info").await.ok()?;
        info.lines().find_map(|line| line.strip_prefix("description: ")).map(|digest| digest.trim().to_owned())
    }

    /// Names of the front ends that the current worker has open.
    pub(super) async fn frontends(&self) -> std::io::Result<BTreeSet<String>> {
        let table = self.ask_worker("show stat -1 1 -1").await?;
        Ok(table
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(',').next())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect())
    }

    pub(super) async fn processes(&self) -> std::io::Result<Processes> {
        self.ask("show proc").await.map(|text| parse_processes(&text))
    }
}

fn parse_processes(text: &str) -> Processes {
    let mut processes = Processes::default();
    let mut section = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            section = title.trim();
            continue;
        }
        let mut fields = line.split_whitespace();
        let (Some(Ok(pid)), Some(kind)) = (fields.next().map(str::parse::<i32>), fields.next()) else { continue };
        match (kind, section) {
            ("worker", "old workers") => processes.old_workers.push(pid),
            ("worker", _) => processes.workers.push(pid),
            ("master", _) => {
                processes.failed_reloads = line
                    .split_once("[failed: ")
                    .and_then(|(_, rest)| rest.split_once(']'))
                    .and_then(|(count, _)| count.parse().ok())
                    .unwrap_or(0);
            }
            _ => {}
        }
    }
    processes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_before_and_after_a_reload_are_told_apart() {
        let text = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
                    1586            master          2 [failed: 1]   0d00h00m39s     2.6.12\n\
                    # workers\n2568            worker          0               0d00h00m02s     2.6.12\n\
                    # old workers\n1589            worker          1               0d00h00m39s     2.6.12\n# programs\n";
        let expected = Processes { workers: vec![2568], old_workers: vec![1589], failed_reloads: 1 };
        assert_eq!(parse_processes(text), expected);
    }
}
