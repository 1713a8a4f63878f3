//! Control groups of version 1, hybrid and 2: one group of one name in every hierarchy that matters. A group holds a
//! machine to its processors and memory, and tells what runs in it, which no pid file can tell as dependably.
//!
//! `NAME/launcher` holds whoever starts the machine, `NAME/machine` the machine itself: version 2 lets processes live
//! in leaves only.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{HostError, Result, mount};

/// What a group has used.
mod counters;

pub use self::counters::{Disk, DiskUse};

const POLL: Duration = Duration::from_millis(5);
const PERIOD_MICROSECONDS: u64 = 100_000;
/// Hierarchies of version 1 that are joined; systemd in the machine needs the one called `name=systemd`.
const LEGACY: &[&str] = &["name=systemd", "cpu", "cpuacct", "memory", "pids", "blkio"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    /// Empty for version 2.
    controllers: Vec<String>,
}

impl Hierarchy {
    fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// What a machine may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub vcpus: u32,
    pub memory_mib: u64,
}

/// One group, in every hierarchy. It need not exist.
#[derive(Debug, Clone)]
pub struct Cgroup {
    parent: String,
    name: String,
    hierarchies: Vec<Hierarchy>,
}

impl Cgroup {
    /// The group `PARENT/NAME`, where the parent is a group of our own at the top.
    #[must_use]
    pub fn new(parent: &str, name: &str) -> Self {
        Self { parent: parent.to_owned(), name: name.to_owned(), hierarchies: mounted() }
    }

    /// Makes the group with its two leaves, and sets its limits.
    pub fn create(&self, limits: Limits) -> Result<()> {
        if self.tracking().is_none() {
            return Err(HostError::new(format!("creating the control group {}", self.name), "no hierarchy is mounted")
                .hint("mount -t cgroup2 none /sys/fs/cgroup"));
        }
        let mut limited = Vec::new();
        for hierarchy in &self.hierarchies {
            let parent = hierarchy.root.join(&self.parent);
            let group = parent.join(&self.name);
            for leaf in ["launcher", "machine"] {
                let path = group.join(leaf);
                fs::create_dir_all(&path)
                    .map_err(|error| HostError::new(format!("creating the control group {}", path.display()), error))?;
            }
            if hierarchy.is_unified() {
                enable_controllers(&hierarchy.root);
                enable_controllers(&parent);
            }
            self.limit(hierarchy, limits, &mut limited);
        }
        // A host that cannot limit is no reason not to run.
        for controller in ["cpu", "memory"].into_iter().filter(|controller| !limited.contains(controller)) {
            tracing::warn!(
                "{} runs without a limit of its {controller}: no such controller in the host's cgroups",
                self.name
            );
        }
        Ok(())
    }

    /// Sets in this hierarchy what it can limit, and notes it in `limited`.
    fn limit(&self, hierarchy: &Hierarchy, limits: Limits, limited: &mut Vec<&'static str>) {
        let group = hierarchy.root.join(&self.parent).join(&self.name);
        let quota = u64::from(limits.vcpus) * PERIOD_MICROSECONDS;
        let memory = limits.memory_mib << 20;
        let settings = if hierarchy.is_unified() {
            vec![
                ("cpu", "cpu.max", format!("{quota} {PERIOD_MICROSECONDS}")),
                ("memory", "memory.max", memory.to_string()),
            ]
        } else {
            vec![
                ("cpu", "cpu.cfs_period_us", PERIOD_MICROSECONDS.to_string()),
                ("cpu", "cpu.cfs_quota_us", quota.to_string()),
                ("memory", "memory.limit_in_bytes", memory.to_string()),
            ]
        };
        for (controller, file, value) in settings {
            let path = group.join(file);
            // A group has the files of those controllers that it has.
            if !path.exists() {
                continue;
            }
            match fs::write(&path, value) {
                Ok(()) => limited.push(controller),
                Err(error) => tracing::warn!("{} cannot be set: {error}", path.display()),
            }
        }
    }

    /// The files into which a process writes `0` to join the leaf.
    #[must_use]
    pub fn join_files(&self, leaf: &str) -> Vec<PathBuf> {
        self.groups().map(|group| group.join(leaf).join("cgroup.procs")).collect()
    }

    /// Every process in the group, from the hierarchy that no process leaves.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        if let Some(hierarchy) = self.tracking() {
            collect(&hierarchy.root.join(&self.parent).join(&self.name), &mut found);
        }
        found
    }

    /// Whether anything runs in it.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        // A process that is dead but not yet reaped stands in the list and is nothing that runs.
        self.processes().into_iter().any(|pid| super::process::ProcessId::of(pid).is_some())
    }

    /// Kills every process in the group and waits until they are gone.
    pub async fn kill(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.is_populated() {
            self.kill_once();
            if Instant::now() >= deadline {
                return Err(HostError::new(
                    format!("killing all processes of {}", self.name),
                    format!("still alive after {} s: {:?}", limit.as_secs(), self.processes()),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn kill_once(&self) {
        let whole = self.tracking().filter(|hierarchy| hierarchy.is_unified()).map(|hierarchy| {
            // Since Linux 5.14; kills what forks meanwhile, too.
            fs::write(hierarchy.root.join(&self.parent).join(&self.name).join("cgroup.kill"), "1")
        });
        if !matches!(whole, Some(Ok(()))) {
            for pid in self.processes().into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Removes the group, which must be empty of processes, and its parent when this was the last one in it.
    pub async fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let stubborn: Vec<PathBuf> = self.groups().filter(|group| !remove_tree(group)).collect();
            if stubborn.is_empty() {
                break;
            }
            if Instant::now() >= deadline {
                return Err(HostError::new(
                    format!("removing the control group {}", self.name),
                    format!("busy: {stubborn:?}"),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        for hierarchy in &self.hierarchies {
            let _ = fs::remove_dir(hierarchy.root.join(&self.parent));
        }
        Ok(())
    }

    /// Whether a directory of the group is left in any hierarchy.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.groups().any(|group| group.exists())
    }

    fn groups(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.hierarchies.iter().map(|hierarchy| hierarchy.root.join(&self.parent).join(&self.name))
    }

    fn tracking(&self) -> Option<&Hierarchy> {
        let named = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|one| one == "name=systemd");
        let unified = self.hierarchies.iter().find(|hierarchy| hierarchy.is_unified());
        unified.or_else(|| self.hierarchies.iter().find(named)).or_else(|| self.hierarchies.first())
    }
}

/// The hierarchies of this machine. They are looked up until some are found: they stay while a machine runs, and the list
/// of mounts is long where many instances are.
fn mounted() -> Vec<Hierarchy> {
    static FOUND: OnceLock<Vec<Hierarchy>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return found.clone();
    }
    let found = hierarchies(&mount::list("self"));
    if !found.is_empty() {
        let _ = FOUND.set(found.clone());
    }
    found
}

fn hierarchies(mounts: &[mount::Mount]) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.target.starts_with("/sys/fs/cgroup")) {
        let controllers: Vec<String> = match mount.file_system.as_str() {
            "cgroup2" => Vec::new(),
            "cgroup" => {
                let options = mount.options.split(',').filter(|option| LEGACY.contains(option));
                let controllers: Vec<String> = options.map(str::to_owned).collect();
                if controllers.is_empty() {
                    continue;
                }
                controllers
            }
            _ => continue,
        };
        if !found.iter().any(|hierarchy| hierarchy.controllers == controllers) {
            found.push(Hierarchy { root: mount.target.clone(), controllers });
        }
    }
    found
}

/// In version 2 a group has the controllers that its parent hands down. Where the parent cannot (it holds processes
/// itself, as inside some containers), the limits are missing, and `create` says so.
fn enable_controllers(group: &Path) {
    let available = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace().filter(|one| ["cpu", "memory", "pids", "io"].contains(one)) {
        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn collect(group: &Path, found: &mut Vec<i32>) {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in children(group) {
        collect(&child, found);
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Whether it is gone.
fn remove_tree(group: &Path) -> bool {
    for child in children(group) {
        remove_tree(&child);
    }
    match fs::remove_dir(group) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount_of(target: &str, file_system: &str, options: &str) -> mount::Mount {
        mount::Mount {
            device: "0:1".to_owned(),
            target: PathBuf::from(target),
            file_system: file_system.to_owned(),
            source: "none".to_owned(),
            options: options.to_owned(),
        }
    }

    #[test]
    fn a_hybrid_host_is_tracked_by_its_unified_hierarchy() {
        let mounts = [
            mount_of("/sys/fs/cgroup", "tmpfs", "rw"),
            mount_of("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
            mount_of("/sys/fs/cgroup/blkio", "cgroup", "rw,blkio"),
            mount_of("/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd"),
            mount_of("/sys/fs/cgroup/unified", "cgroup2", "rw"),
        ];
        let group = Cgroup { parent: "p".to_owned(), name: "n".to_owned(), hierarchies: hierarchies(&mounts) };
        assert_eq!(group.hierarchies.len(), 4);
        assert_eq!(group.tracking().unwrap().root, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_host_of_version_1_is_tracked_by_the_named_hierarchy() {
        let mounts = [
            mount_of("/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
            mount_of("/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd"),
        ];
        let group = Cgroup { parent: "p".to_owned(), name: "n".to_owned(), hierarchies: hierarchies(&mounts) };
        assert_eq!(group.tracking().unwrap().root, Path::new("/sys/fs/cgroup/systemd"));
    }
}
