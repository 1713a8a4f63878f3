//! What a group has used since it was made: processor time, and what it has read from and written to disks.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::Cgroup;

/// Major device number of loop devices.
const LOOP: &str = "7";

/// What processes of a group have moved between memory and disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    pub read_bytes: u64,
    pub reads: u64,
    pub written_bytes: u64,
    pub writes: u64,
}

/// What of it a host counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskUse {
    Counted(Disk),
    /// Version 1 knows who reads, but not who has written what is flushed later.
    ReadsOnly(Disk),
    NotCounted,
}

impl Cgroup {
    /// Processor time of all that has run in it. `None` where the host does not count it.
    #[must_use]
    pub fn cpu_nanos(&self) -> Option<u64> {
        if let Some(group) = self.legacy("cpuacct") {
            return fs::read_to_string(group.join("cpuacct.usage")).ok()?.trim().parse().ok();
        }
        let text = fs::read_to_string(self.unified()?.join("cpu.stat")).ok()?;
        let microseconds = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        microseconds.trim().parse::<u64>().ok()?.checked_mul(1000)
    }

    /// What was read and written. What goes to loop devices is not in it: those are volumes, which count for themselves.
    #[must_use]
    pub fn disk(&self) -> DiskUse {
        if let Some(group) = self.legacy("blkio") {
            let read = |file: &str| fs::read_to_string(group.join(file)).unwrap_or_default();
            return of_version_1(
                &read("blkio.throttle.io_service_bytes_recursive"),
                &read("blkio.throttle.io_serviced_recursive"),
            )
            .map_or(DiskUse::NotCounted, DiskUse::ReadsOnly);
        }
        let text = self.unified().and_then(|group| fs::read_to_string(group.join("io.stat")).ok());
        text.map_or(DiskUse::NotCounted, |text| DiskUse::Counted(of_version_2(&text)))
    }

    fn legacy(&self, controller: &str) -> Option<PathBuf> {
        let mut hierarchies = self.hierarchies.iter();
        let hierarchy = hierarchies.find(|hierarchy| hierarchy.controllers.iter().any(|one| one == controller))?;
        Some(hierarchy.root.join(&self.parent).join(&self.name))
    }

    fn unified(&self) -> Option<PathBuf> {
        let hierarchy = self.hierarchies.iter().find(|hierarchy| hierarchy.is_unified())?;
        Some(hierarchy.root.join(&self.parent).join(&self.name))
    }
}

/// `None` if no disk is named: some kernels (6.10 and later) count only where a limit was set, and show a total of zero
/// else.
fn of_version_1(bytes: &str, operations: &str) -> Option<Disk> {
    // `254:0 Read 4096`
    let sums = |text: &str| -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [device, kind, value] = fields[..] else { continue };
            if device.split_once(':').is_some_and(|(major, _)| major != LOOP) {
                *sums.entry(kind.to_owned()).or_default() += value.parse::<u64>().unwrap_or(0);
            }
        }
        sums
    };
    let (bytes, operations) = (sums(bytes), sums(operations));
    let of = |sums: &BTreeMap<String, u64>, kind: &str| sums.get(kind).copied().unwrap_or(0);
    (!operations.is_empty()).then(|| Disk {
        read_bytes: of(&bytes, "Read"),
        reads: of(&operations, "Read"),
        written_bytes: of(&bytes, "Write"),
        writes: of(&operations, "Write"),
    })
}

fn of_version_2(text: &str) -> Disk {
    // `254:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`
    let mut disk = Disk::default();
    for line in text.lines() {
        let Some((device, counters)) = line.split_once(' ') else { continue };
        if device.split_once(':').is_none_or(|(major, _)| major == LOOP) {
            continue;
        }
        for (name, value) in counters.split(' ').filter_map(|counter| counter.split_once('=')) {
            let value = value.trim().parse::<u64>().unwrap_or(0);
            match name {
                "rbytes" => disk.read_bytes += value,
                "wbytes" => disk.written_bytes += value,
                "rios" => disk.reads += value,
                "wios" => disk.writes += value,
                _ => {}
            }
        }
    }
    disk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_counts_all_disks_but_volumes() {
        let text = "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n\
                    7:0 rbytes=512 wbytes=512 rios=1 wios=1 dbytes=0 dios=0\n\
                    8:0 rbytes=4 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n";
        let expected = Disk { read_bytes: 4100, reads: 2, written_bytes: 8192, writes: 2 };
        assert_eq!(of_version_2(text), expected);
    }

    #[test]
    fn version_1_counts_where_it_names_a_disk_and_tells_nothing_else() {
        let bytes = "254:0 Read 4096\n254:0 Write 10\n254:0 Total 4106\n7:0 Read 1\nTotal 4107\n";
        let operations = "254:0 Read 2\n254:0 Write 1\n254:0 Total 3\n7:0 Read 1\nTotal 4\n";
        let disk = of_version_1(bytes, operations).expect("counted");
        assert_eq!((disk.read_bytes, disk.reads), (4096, 2));
        assert_eq!(of_version_1("Total 0\n", "Total 0\n"), None);
    }
}
