//! What instances have used, by the kernel's own counters: no process is started for it, and however many instances there
//! are, the interfaces are read at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::machine::{Machine, port_name};
use crate::{
    drivers::{Transfer, Usage},
    host::{
        cgroup::{Cgroup, DiskUse},
        netns,
    },
    paths::Paths,
};

/// What those of the instances that run have used.
pub(super) fn of(paths: &Paths, ids: &BTreeSet<String>) -> BTreeMap<String, Usage> {
    if ids.is_empty() {
        return BTreeMap::new();
    }
    let read = || fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let interfaces = netns::within(&paths.unique_name(), read).unwrap_or_else(|error| {
        tracing::debug!("{error}");
        String::new()
    });
    let ports = ports(&interfaces);
    let running = ids.iter().map(|id| (id, Machine::new(paths, id))).filter(|(_, machine)| machine.cgroup.exists());
    running.map(|(id, machine)| (id.clone(), of_one(&machine.cgroup, ports.get(port_name(id).as_str())))).collect()
}

fn of_one(cgroup: &Cgroup, port: Option<&Port>) -> Usage {
    let (read, written) = match cgroup.disk() {
        DiskUse::Counted(disk) => (
            Some(Transfer { bytes: disk.read_bytes, count: disk.reads }),
            Some(Transfer { bytes: disk.written_bytes, count: disk.writes }),
        ),
        DiskUse::ReadsOnly(disk) => (Some(Transfer { bytes: disk.read_bytes, count: disk.reads }), None),
        DiskUse::NotCounted => (None, None),
    };
    Usage {
        cpu_nanos: cgroup.cpu_nanos(),
        // What the bridge's end of the interface takes in is what the instance has sent.
        received: port.map(|port| port.sent),
        sent: port.map(|port| port.received),
        read,
        written,
    }
}

/// One interface of the cloud's namespace.
#[derive(Debug, PartialEq, Eq)]
struct Port {
    received: Transfer,
    sent: Transfer,
}

/// Interfaces by name, from `/proc/net/dev`.
fn ports(text: &str) -> BTreeMap<&str, Port> {
    let parse = |line| -> Option<(&str, Port)> {
        let (name, counters) = str::split_once(line, ':')?;
        let counters: Vec<u64> = counters.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
        // Eight fields of what was received, eight of what was sent; bytes and packets come first.
        let [received_bytes, received, _, _, _, _, _, _, sent_bytes, sent, ..] = counters[..] else { return None };
        let received = Transfer { bytes: received_bytes, count: received };
        Some((name.trim(), Port { received, sent: Transfer { bytes: sent_bytes, count: sent } }))
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_by_name() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs\n    \
                    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n\
                    vm456789abcdef0: 2048 12 0 0 0 0 0 0 4096 24 0 0 0 0 0 0\n";
        let ports = ports(text);
        assert_eq!(ports.len(), 2);
        let port = &ports["vm456789abcdef0"];
        assert_eq!(port.received, Transfer { bytes: 2048, count: 12 });
        assert_eq!(port.sent, Transfer { bytes: 4096, count: 24 });
    }
}
