//! Looks after what the cloud stands on: the programs that run beside the daemon, room on the disk, what containers need of
//! the kernel. S3 is started again from here; HAProxy and dnsmasq by their reconcilers. `localcloud status` tells of it all.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    behaviour::Behaviour,
    host::{
        self, inotify,
        process::{PidFile, ProcessId},
    },
    model::time::Timestamp,
    object_storage,
    paths::Paths,
};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What is over is told of for a while: who asks for the status wants to know of last night, too.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// A VM's first boot writes some hundred MiB at most.
const LITTLE_ROOM_MIB: u64 = 512;

/// What goes wrong beside the records. Clones share one.
#[derive(Clone, Default)]
pub struct Troubles(Arc<Seen>);

#[derive(Default)]
struct Seen {
    troubles: Mutex<BTreeMap<&'static str, Trouble>>,
    looked: AtomicBool,
}

struct Trouble {
    text: String,
    over_since: Option<Instant>,
}

impl Troubles {
    /// A sentence each.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        self.lock().values().map(|trouble| trouble.text.clone()).collect()
    }

    /// Whether the watchman has been round once.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.0.looked.load(Ordering::Relaxed)
    }

    fn note(&self, about: &'static str, text: String) {
        let known = self.lock().insert(about, Trouble { text: text.clone(), over_since: None });
        if known.is_none_or(|known| known.over_since.is_some()) {
            tracing::warn!("{text}");
        }
    }

    fn forget(&self, about: &str) {
        self.lock().remove(about);
    }

    /// It is over; that it was is told for a while.
    fn end(&self, about: &'static str, text: impl FnOnce(&str) -> String) {
        if let Some(trouble) = self.lock().get_mut(about).filter(|trouble| trouble.over_since.is_none()) {
            trouble.text = text(&trouble.text);
            trouble.over_since = Some(Instant::now());
            tracing::info!("{}", trouble.text);
        }
    }

    fn forget_old(&self) {
        self.lock().retain(|_, trouble| trouble.over_since.is_none_or(|since| since.elapsed() < TOLD_FOR));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Trouble>> {
        self.0.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Programs of their own, by their pid files, and what they are.
const PROGRAMS: &[(&str, &str)] =
    &[("haproxy", "load balancers and API"), ("dnsmasq", "DHCP and DNS"), (object_storage::PROGRAM, "S3")];

/// For an address that passes to another machine; that is no trouble.
const RESTARTED_AT_TIMES: &str = "dnsmasq";

pub struct Watchman {
    pub paths: Paths,
    /// By which S3 is started.
    pub own_exe: PathBuf,
    pub behaviour: Behaviour,
    pub troubles: Troubles,
}

impl Watchman {
    /// Looks on until it is dropped.
    pub async fn watch(self) {
        let mut seen: BTreeMap<&str, (ProcessId, u32)> = BTreeMap::new();
        loop {
            for (program, purpose) in PROGRAMS {
                self.look_after(program, purpose, &mut seen).await;
            }
            self.look_at_disk();
            self.look_at_inotify(inotify::ensure);
            self.troubles.forget_old();
            self.troubles.0.looked.store(true, Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look_after(
        &self,
        program: &'static str,
        purpose: &str,
        seen: &mut BTreeMap<&'static str, (ProcessId, u32)>,
    ) {
        if let Some(process) = PidFile::new(self.paths.pid_file(program)).process() {
            let before = seen.insert(program, (process, 0));
            // Somebody was quicker than this look.
            if let Some((before, 0)) = before
                && before != process
                && program != RESTARTED_AT_TIMES
            {
                self.troubles.note(program, self.ended(program, purpose, before));
            }
            self.troubles.end(program, |text| {
                let was = text.replace(" has ended", " had ended").replace("it is being started", "it was started");
                format!("{was}; it runs again since {}", Timestamp::now())
            });
            return;
        }
        // What never ran is still on its way.
        let Some((process, looks)) = seen.get_mut(program) else { return };
        *looks += 1;
        if *looks == 1 && program == RESTARTED_AT_TIMES {
            return;
        }
        self.troubles.note(program, self.ended(program, purpose, *process));
        if program == object_storage::PROGRAM
            && let Err(error) = object_storage::ensure_running(&self.paths, &self.own_exe, self.behaviour).await
        {
            tracing::warn!("{error}");
        }
    }

    fn ended(&self, program: &str, purpose: &str, process: ProcessId) -> String {
        format!(
            "{program} ({purpose}, process {}) has ended unasked; it is being started again (hint: see {})",
            process.pid,
            self.paths.log(program).display()
        )
    }

    fn look_at_disk(&self) {
        const ABOUT: &str = "disk";
        let Ok(disk) = rustix::fs::statvfs(self.paths.root()) else { return };
        let free_mib = disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024);
        if free_mib < LITTLE_ROOM_MIB {
            let root = self.paths.root().display();
            self.troubles.note(
                ABOUT,
                format!("only {free_mib} MiB are free where {root} lies: changes will be refused when it is full (hint: delete what is not needed, or start the cloud with another --state-dir)"),
            );
        } else {
            self.troubles.forget(ABOUT);
        }
    }

    /// Instances share root's inotify instances; an init that gets none boots into nothing.
    fn look_at_inotify(&self, ensure: impl Fn(usize) -> host::Result<()>) {
        const ABOUT: &str = "inotify";
        match ensure(inotify::OF_A_GUEST) {
            Ok(()) => self.troubles.forget(ABOUT),
            Err(error) => self.troubles.note(ABOUT, format!("no instance can boot: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_want_of_inotify_instances_is_told_as_long_as_it_lasts() {
        let troubles = Troubles::default();
        let watchman = Watchman {
            paths: Paths::new(Path::new("/nonexistent")),
            own_exe: PathBuf::new(),
            behaviour: Behaviour::default(),
            troubles: troubles.clone(),
        };
        watchman.look_at_inotify(|count| Err(inotify::shortage(Path::new("/nonexistent"), count)));
        let [told] = &troubles.list()[..] else { panic!("{:?}", troubles.list()) };
        assert!(told.starts_with("no instance can boot: 6 inotify instances are needed"), "{told}");
        assert!(told.contains("hint: sysctl -w fs.inotify.max_user_instances="), "{told}");
        watchman.look_at_inotify(|_| Ok(()));
        assert!(troubles.list().is_empty());
    }
}
