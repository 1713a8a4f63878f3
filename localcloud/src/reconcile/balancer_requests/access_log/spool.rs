//! Access logs on disk, until it is time: `BALANCER/END_RANDOM.log` holds the lines of the interval that ends then, and
//! `BALANCER/destination.json` says where they go. So a restart loses nothing, and an upload that is repeated replaces
//! itself, as the random part of the object's name is the file's.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::line;
use crate::{
    drivers::BalancerRequest,
    host::file,
    model::{id, load_balancer::LoadBalancer, time::Timestamp},
};

const DESTINATION: &str = "destination.json";
/// An object of a busy interval has about so much; AWS too delivers several for one then.
const LARGEST_BYTES: u64 = 64 * 1024 * 1024;

pub struct Spool {
    directory: PathBuf,
    largest_bytes: u64,
}

/// Where a balancer's logs go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub bucket: String,
    pub prefix: Option<String>,
    /// The balancer's own address, which is part of the objects' names.
    pub address: String,
    pub interval_secs: u32,
}

impl Destination {
    /// `None` for a balancer that keeps no logs.
    #[must_use]
    pub fn of(balancer: &LoadBalancer) -> Option<Self> {
        let log = &balancer.access_log;
        Some(Self {
            bucket: log.bucket.clone().filter(|_| log.enabled)?,
            prefix: log.prefix.clone(),
            address: balancer.address.to_string(),
            interval_secs: log.emit_interval_mins * 60,
        })
    }
}

/// A file of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    pub balancer: String,
    pub path: PathBuf,
    /// When its interval ends.
    pub end: Timestamp,
    pub random: String,
    pub destination: Destination,
}

impl Spool {
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), largest_bytes: LARGEST_BYTES }
    }

    /// Adds the requests of balancers that keep logs.
    pub fn write(&self, requests: &[BalancerRequest], logged: &BTreeMap<&str, &LoadBalancer>) -> io::Result<()> {
        let mut texts: BTreeMap<(&str, Timestamp), String> = BTreeMap::new();
        for request in requests {
            let Some(destination) =
                logged.get(request.balancer.as_str()).and_then(|balancer| Destination::of(balancer))
            else {
                continue;
            };
            let ended = Timestamp::from_seconds(request.end_micros as f64 / 1e6);
            let end = ended.floor_to(destination.interval_secs).plus_secs(destination.interval_secs.into());
            let text = texts.entry((&request.balancer, end)).or_default();
            text.push_str(&line(request));
            text.push('\n');
        }
        for ((balancer, end), text) in texts {
            let directory = self.directory.join(balancer);
            file::private_directory(&directory)?;
            if let Some(destination) = logged.get(balancer).and_then(|balancer| Destination::of(balancer)) {
                file::replace(&directory.join(DESTINATION), &serde_json::to_string(&destination)?)?;
            }
            let is_open = |path: &Path| fs::metadata(path).is_ok_and(|file| file.len() < self.largest_bytes);
            let open = self.files(balancer)?.into_iter().find(|(known, _, path)| *known == end && is_open(path));
            let path = match open {
                Some((_, _, path)) => path,
                None => directory.join(format!("{}_{}.log", end.millis(), id::base32(8).to_ascii_lowercase())),
            };
            let mut file = fs::File::options().create(true).append(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// Everything that waits.
    pub fn list(&self) -> io::Result<Vec<Spooled>> {
        let mut spooled = Vec::new();
        for balancer in names(&self.directory)? {
            let destination = fs::read(self.directory.join(&balancer).join(DESTINATION));
            let destination = match destination.map(|text| serde_json::from_slice::<Destination>(&text)) {
                Ok(Ok(destination)) => destination,
                Ok(Err(error)) => return Err(error.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            spooled.extend(self.files(&balancer)?.into_iter().map(|(end, random, path)| Spooled {
                balancer: balancer.clone(),
                path,
                end,
                random,
                destination: destination.clone(),
            }));
        }
        Ok(spooled)
    }

    /// Removes what is left of a balancer whose lines are all delivered.
    pub fn forget(&self, balancer: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.directory.join(balancer)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn files(&self, balancer: &str) -> io::Result<Vec<(Timestamp, String, PathBuf)>> {
        let directory = self.directory.join(balancer);
        let parse = |name: &str| {
            let (end, random) = name.strip_suffix(".log")?.split_once('_')?;
            let end: f64 = end.parse().ok()?;
            Some((Timestamp::from_seconds(end / 1000.0), random.to_owned(), directory.join(name)))
        };
        Ok(names(&directory)?.iter().filter_map(|name| parse(name)).collect())
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load_balancer::AccessLog;

    fn balancer() -> LoadBalancer {
        let record = serde_json::json!({
            "name": "web", "dns_name": "web-1.elb.localhost", "created": 0.0, "address": "10.77.255.1",
            "scheme": "internal", "zones": [], "subnets": [], "security_group_ids": [], "listeners": [],
            "health_check": {
                "target": "TCP:80", "interval_secs": 5, "timeout_secs": 2, "unhealthy_threshold": 2,
                "healthy_threshold": 2
            },
            "backends": {}, "connection_draining": { "enabled": false, "timeout_secs": 300 },
            "idle_timeout_secs": 60, "cross_zone": false
        });
        let balancer: LoadBalancer = serde_json::from_value(record).expect("a record of before there were logs");
        let log = AccessLog { enabled: true, bucket: Some("b".into()), emit_interval_mins: 5, ..AccessLog::default() };
        LoadBalancer { access_log: log, ..balancer }
    }

    #[test]
    fn an_interval_has_one_file_until_that_is_large_enough() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::new(directory.path());
        let balancer = balancer();
        let logged = BTreeMap::from([("web", &balancer)]);
        let request = |end_secs: i64| BalancerRequest {
            balancer: "web".into(),
            end_micros: end_secs * 1_000_000,
            ..BalancerRequest::default()
        };
        let other = BalancerRequest { balancer: "unlogged".into(), ..request(1) };
        spool.write(&[request(1), request(299), request(300), other], &logged).expect("written");
        spool.write(&[request(2)], &logged).expect("written");
        let ends =
            |spool: &Spool| spool.list().expect("listed").iter().map(|file| file.end.seconds()).collect::<Vec<_>>();
        assert_eq!(ends(&spool), [300.0, 600.0]);
        let first = &spool.list().expect("listed")[0];
        assert_eq!(fs::read_to_string(&first.path).expect("read").lines().count(), 3);
        assert_eq!((first.destination.bucket.as_str(), first.destination.interval_secs), ("b", 300));
        spool.largest_bytes = 10;
        spool.write(&[request(3)], &logged).expect("written");
        assert_eq!(ends(&spool), [300.0, 300.0, 600.0]);
    }
}
