//! HAProxy: load balancers, and every door between host and namespace. One process (master and workers) in the host's
//! own namespace; what lies in the cloud's is reached by the `namespace` keyword. It outlives the daemon, and is
//! reloaded by its master: listeners pass from worker to worker, old workers end with their last connection.

/// The configuration as text, from a plan. Pure.
mod config;
/// The master's socket: what runs, and what it says.
mod control;
/// The file of ended requests.
mod journal;
/// Which ports the plan needs, and who has them.
mod ports;
/// What is written of each request.
mod requests;
/// Health that survives a reload.
mod server_state;
/// `show stat` as back ends' health.
mod status;

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Mutex as StdMutex,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::sync::Mutex;

use self::{
    config::{Kept, Rendered},
    control::Control,
    journal::Journal,
    ports::Refused,
};
use super::{BackendStatus, DriverError, EndedRequests, ProxyDriver, ProxyPlan, Result};
use crate::{
    host::{
        command::Command,
        file,
        process::{self, PidFile, ProcessId},
    },
    paths::Paths,
};

const PROGRAM: &str = "haproxy";
/// A reload takes some 100 ms; a busy machine many times that.
const RELOAD_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Where the proxy finds the worlds that it joins.
#[derive(Debug, Clone)]
pub struct HaproxySettings {
    pub paths: Paths,
    /// The cloud's network namespace, as under `/run/netns`. Without one, back ends are reached from the host, and
    /// there are no doors for instances.
    pub namespace: Option<String>,
    /// The instances' way to the API and S3, inside the namespace.
    pub gateway: Ipv4Addr,
    /// Port of the API and S3, on loopback and on the gateway.
    pub port: u16,
    pub api_socket: PathBuf,
    pub s3_socket: PathBuf,
    pub imds_socket: PathBuf,
}

pub struct Haproxy {
    settings: HaproxySettings,
    control: Control,
    /// One change at a time, and what of the last configuration the next may have unchanged.
    change: Mutex<Kept>,
    /// What the file of server states holds, so that it is written when health changes only.
    saved: StdMutex<Option<String>>,
    /// Public ports that could not be had, and were told of.
    told: StdMutex<BTreeSet<Refused>>,
}

impl Haproxy {
    #[must_use]
    pub fn new(settings: HaproxySettings) -> Self {
        let control = Control::new(settings.paths.socket("haproxy-master"));
        Self {
            settings,
            control,
            change: Mutex::default(),
            saved: StdMutex::new(None),
            told: StdMutex::new(BTreeSet::new()),
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.settings.paths.pid_file(PROGRAM)
    }

    fn config_file(&self) -> PathBuf {
        self.settings.paths.generated("haproxy.cfg")
    }

    fn state_file(&self) -> PathBuf {
        self.settings.paths.generated("haproxy-servers.state")
    }

    fn journal(&self) -> Journal {
        Journal::new(
            self.settings.paths.log("haproxy-requests"),
            self.settings.paths.generated("haproxy-requests.mark"),
        )
    }

    fn master(&self) -> Option<ProcessId> {
        PidFile::new(self.pid_file()).process()
    }

    /// Leaves the configuration beside the current one and has HAProxy judge it.
    async fn write_candidate(&self, rendered: &Rendered) -> Result<PathBuf> {
        let doing = |error: std::io::Error| DriverError::new("writing the load balancers' certificates", error);
        if !rendered.files.is_empty() {
            file::private_directory(&self.settings.paths.certificates()).map_err(doing)?;
        }
        for (path, content) in &rendered.files {
            // Called by its content: what is there is right.
            if !path.exists() {
                file::replace_secret(path, content.0.as_bytes()).map_err(doing)?;
            }
        }
        let candidate = self.config_file().with_extension("next");
        file::replace(&candidate, &rendered.text).map_err(|error| {
            DriverError::new(format!("writing HAProxy's configuration {}", candidate.display()), error)
        })?;
        Command::new(PROGRAM)
            .args(["-c", "-q", "-f"])
            .arg(&candidate)
            .run()
            .await
            .map_err(|error| DriverError::new("checking HAProxy's configuration", error))?;
        Ok(candidate)
    }

    /// Notes what is known of the servers' health, so that the next worker begins with it.
    fn save_states(&self, states: &str) -> Result<()> {
        let mut saved = self.saved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if saved.as_deref() == Some(states) {
            return Ok(());
        }
        file::replace(&self.state_file(), states)
            .map_err(|error| DriverError::new("writing the servers' states for HAProxy", error))?;
        *saved = Some(states.to_owned());
        Ok(())
    }

    /// Removes certificates and keys that the configuration in force does not name. Workers have read theirs.
    fn forget_certificates(&self, rendered: &Rendered) {
        let Ok(entries) = fs::read_dir(self.settings.paths.certificates()) else { return };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !rendered.files.contains_key(path)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("removing {}: {error}", path.display());
            }
        }
    }

    async fn start(&self, rendered: &Rendered) -> Result<()> {
        let doing = "starting HAProxy";
        let run_dir = self.settings.paths.run_dir();
        fs::create_dir_all(&run_dir)
            .map_err(|error| DriverError::new(format!("creating {}", run_dir.display()), error))?;
        let known = fs::read_to_string(self.state_file()).unwrap_or_default();
        self.save_states(&server_state::carry_over(&known, &rendered.servers))?;
        let candidate = self.write_candidate(rendered).await?;
        fs::rename(&candidate, self.config_file()).map_err(|error| DriverError::new(doing, error))?;
        let log = self.settings.paths.log(PROGRAM);
        let master = format!("{},mode,600,level,admin", self.settings.paths.socket("haproxy-master").display());
        let command = Command::new(PROGRAM).args(["-W", "-S", &master, "-f"]).arg(self.config_file());
        let journal = self.journal();
        journal.prepare().map_err(|error| DriverError::new(doing, error))?;
        let process = process::spawn_with_output(command, journal.path(), &log, &self.pid_file())
            .await
            .map_err(|error| DriverError::new(doing, error))?;
        let deadline = Instant::now() + RELOAD_LIMIT;
        while self.control.running_digest().await.as_deref() != Some(&rendered.digest) {
            if !process.is_alive() || Instant::now() >= deadline {
                return Err(DriverError::new(doing, complaint(&log)).hint(format!("see {}", log.display())));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn reload(&self, master: ProcessId, rendered: &Rendered) -> Result<()> {
        let doing = "reloading HAProxy";
        // Health as it is this moment. A worker that cannot be asked leaves what was saved last.
        let known = match self.control.ask_worker("show servers state").await {
            Ok(dump) => dump,
            Err(_) => fs::read_to_string(self.state_file()).unwrap_or_default(),
        };
        self.save_states(&server_state::carry_over(&known, &rendered.servers))?;
        let candidate = self.write_candidate(rendered).await?;
        let config_file = self.config_file();
        let previous = config_file.with_extension("previous");
        let failed = |error: std::io::Error| DriverError::new(doing, error);
        let _ = fs::copy(&config_file, &previous);
        fs::rename(&candidate, &config_file).map_err(failed)?;
        let failures = self.control.processes().await.map(|processes| processes.failed_reloads).unwrap_or(0);
        master.signal(Signal::USR2);
        let deadline = Instant::now() + RELOAD_LIMIT;
        loop {
            if self.control.running_digest().await.as_deref() == Some(&rendered.digest) {
                return Ok(());
            }
            let refused = self.control.processes().await.is_ok_and(|processes| processes.failed_reloads > failures);
            if refused || !master.is_alive() || Instant::now() >= deadline {
                // The old workers serve on; should the master be started anew, then with what worked.
                let _ = fs::rename(&previous, &config_file);
                let log = self.settings.paths.log(PROGRAM);
                return Err(DriverError::new(doing, complaint(&log)).hint(format!("see {}", log.display())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ports that others have: balancers' are an error, instances' public ones are told of once.
    fn report(&self, refused: &BTreeSet<Refused>) -> Result<()> {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.retain(|known| refused.contains(known));
        let mut errors = Vec::new();
        for refusal in refused {
            if refusal.is_public {
                if told.insert(refusal.clone()) {
                    tracing::warn!("{}; it cannot be reached there", refusal.sentence());
                }
            } else {
                errors.push(refusal.sentence());
            }
        }
        if errors.is_empty() {
            return Ok(());
        }
        let hint = format!(
            "find the program with `ss -ltnp`, then stop it or use another port{}",
            if refused.iter().any(|refusal| refusal.is_door) { " (--port)" } else { "" }
        );
        Err(DriverError::new("opening ports of the load balancers", errors.join("; ")).hint(hint))
    }
}

#[async_trait]
impl ProxyDriver for Haproxy {
    async fn apply(&self, plan: &ProxyPlan) -> Result<()> {
        let mut kept = self.change.lock().await;
        let master = self.master();
        let held = match master {
            Some(_) => self.control.frontends().await.unwrap_or_default(),
            None => BTreeSet::new(),
        };
        let refused = ports::refused(&self.settings, plan, &held);
        let rendered = config::render(&self.settings, plan, &self.state_file(), &refused, &mut kept);
        match master {
            None => self.start(&rendered).await?,
            Some(_) if self.control.running_digest().await.as_deref() == Some(&rendered.digest) => {}
            Some(master) => match self.reload(master, &rendered).await {
                // It was on its way out.
                Err(_) if !master.is_alive() => self.start(&rendered).await?,
                outcome => outcome?,
            },
        }
        self.forget_certificates(&rendered);
        self.report(&refused)
    }

    async fn status(&self) -> Result<Vec<BackendStatus>> {
        let doing = "asking HAProxy for its servers' health";
        if self.master().is_none() {
            return Ok(Vec::new());
        }
        let current = self.control.ask_worker(status::COMMAND).await.map_err(|error| DriverError::new(doing, error))?;
        let mut statuses = status::parse(&current).map_err(|error| DriverError::new(doing, error))?;
        // Connections that a worker of before the last reload still carries count as well: draining waits for them.
        let processes = self.control.processes().await.unwrap_or_default();
        for pid in processes.old_workers {
            if let Ok(text) = self.control.ask(&format!("@!{pid} {}", status::COMMAND)).await
                && let Ok(old) = status::parse(&text)
            {
                status::add_sessions(&mut statuses, &old);
            }
        }
        // Kept for the case that HAProxy itself dies: its successor then begins with what was known.
        if let Ok(_one_at_a_time) = self.change.try_lock()
            && let Ok(dump) = self.control.ask_worker("show servers state").await
        {
            self.save_states(&server_state::normalised(&dump))?;
        }
        Ok(statuses)
    }

    async fn ended_requests(&self) -> Result<EndedRequests> {
        let journal = self.journal();
        let read = tokio::task::spawn_blocking(move || journal.read()).await.unwrap_or_else(|error| Err(error.into()));
        read.map_err(|error| DriverError::new("reading the load balancers' requests", error))
    }

    async fn forget_requests(&self, position: u64) -> Result<()> {
        self.journal()
            .forget(position)
            .map_err(|error| DriverError::new("noting how many of the load balancers' requests are known", error))
    }

    async fn stop(&self) -> Result<()> {
        let _one_at_a_time = self.change.lock().await;
        let workers = self.control.processes().await.map(|processes| processes.all_workers()).unwrap_or_default();
        PidFile::new(self.pid_file()).stop(STOP_LIMIT).await;
        // A master that was killed outright may leave workers behind.
        for worker in workers {
            worker.stop(STOP_LIMIT).await;
        }
        for socket in [self.settings.paths.socket("haproxy-master"), self.settings.paths.socket(config::ADMIN_SOCKET)] {
            let _ = fs::remove_file(socket);
        }
        let _ = fs::remove_file(self.state_file());
        *self.saved.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        Ok(())
    }
}

/// What HAProxy said last about why it would not.
fn complaint(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let alerts: Vec<&str> = text.lines().rev().filter(|line| line.starts_with("[ALERT]")).take(3).collect();
    if alerts.is_empty() {
        return "it did not come up in time".to_owned();
    }
    alerts
        .into_iter()
        .rev()
        .map(|line| line.split_once(" : ").map_or(line, |(_, words)| words.trim()))
        .collect::<Vec<_>>()
        .join("; ")
}
