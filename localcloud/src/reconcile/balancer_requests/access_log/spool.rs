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

pub struct Spool {
    directory: PathBuf,
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
        Self { directory: directory.to_owned() }
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
            let path = match self.files(balancer)?.into_iter().find(|(known, ..)| *known == end) {
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
