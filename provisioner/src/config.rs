//! The settings: imagecrud.toml, over which flags and environment go. A key that does not exist is refused
//! with the nearest one that does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::Failure;
use crate::resources::own_database::OwnDatabase;
use crate::resources::rollout::HEALTH_LIMIT;
use crate::state::ScaleBounds;

/// Which way credentials and addresses are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CloudKind {
    /// The cloud that comes along, started where needed
    #[default]
    Local,
    /// Amazon, by the usual profile and environment
    Aws,
    /// Any cloud described by an eucarc
    Eucalyptus,
}

impl CloudKind {
    /// Its word in flags and files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Aws => "aws",
            Self::Eucalyptus => "eucalyptus",
        }
    }
}

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The stack's name.
    pub stack: Option<String>,
    /// `[cloud]`
    pub cloud: CloudConfig,
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[web]`
    pub web: WebConfig,
    /// `[listener]`
    pub listener: ListenerConfig,
    /// `[network]`
    pub network: NetworkConfig,
    /// `[scaling]`
    pub scaling: ScalingConfig,
}

/// Which cloud, and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CloudConfig {
    /// local, aws or eucalyptus.
    pub kind: CloudKind,
    /// The eucarc of a Eucalyptus cloud.
    pub credentials: Option<PathBuf>,
    /// The region.
    pub region: Option<String>,
    /// The AWS profile.
    pub profile: Option<String>,
    /// The zone of volume and database.
    pub zone: Option<String>,
    /// The image to boot.
    pub image: Option<String>,
}

/// The database VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DatabaseConfig {
    /// Its instance type.
    pub instance_type: Option<String>,
    /// The size of its volume.
    pub volume_gib: Option<u32>,
    /// A MySQL of the user's own instead of the VM.
    pub url: Option<String>,
    /// The certificate in PEM that signed that of the MySQL.
    pub authority: Option<PathBuf>,
}

/// The web VMs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WebConfig {
    /// Their instance type.
    pub instance_type: Option<String>,
    /// Fewest.
    pub min: Option<u32>,
    /// Most.
    pub max: Option<u32>,
    /// To begin with.
    pub desired: Option<u32>,
    /// The app's binary.
    pub bundle: Option<PathBuf>,
    /// How long a web VM of a new version may take to get healthy.
    pub health_limit_secs: Option<u32>,
}

/// The load balancer's listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ListenerConfig {
    /// Its port.
    pub port: Option<u16>,
    /// The ARN of a server certificate, for HTTPS.
    pub certificate: Option<String>,
    /// The host name in that certificate, which leads to the load balancer.
    pub host: Option<String>,
}

/// The network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NetworkConfig {
    /// A VPC other than the default one.
    pub vpc: Option<String>,
    /// Its subnets to use, at most one per zone.
    pub subnets: Vec<String>,
    /// From where ssh is let in; from nowhere by default.
    pub ssh_from: Option<String>,
}

/// What the group grows and shrinks by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScalingMetric {
    /// The CPU use of its instances.
    #[default]
    Cpu,
    /// Requests per second and instance.
    Requests,
    /// How long answers take.
    Latency,
}

/// When the group grows and shrinks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ScalingConfig {
    /// By what.
    pub by: ScalingMetric,
    /// Add an instance above so many requests per second and instance.
    pub requests_high: Option<u32>,
    /// Take one away below so many.
    pub requests_low: Option<u32>,
    /// Add an instance when answers take longer on average.
    pub latency_high_ms: Option<u32>,
    /// Take one away when they are quicker.
    pub latency_low_ms: Option<u32>,
    /// Add an instance above this CPU use.
    pub cpu_high_percent: Option<u32>,
    /// Take one away below this.
    pub cpu_low_percent: Option<u32>,
    /// Over how many seconds the alarms average; they ring after two such periods.
    pub period_secs: Option<u32>,
}

/// Every key of the file. The sample has each of them, and a test holds the two together.
pub const KEYS: &[&str] = &[
    "stack",
    "cloud.kind",
    "cloud.credentials",
    "cloud.region",
    "cloud.profile",
    "cloud.zone",
    "cloud.image",
    "database.instance_type",
    "database.volume_gib",
    "database.url",
    "database.authority",
    "web.instance_type",
    "web.min",
    "web.max",
    "web.desired",
    "web.bundle",
    "web.health_limit_secs",
    "listener.port",
    "listener.certificate",
    "listener.host",
    "network.vpc",
    "network.subnets",
    "network.ssh_from",
    "scaling.by",
    "scaling.requests_high",
    "scaling.requests_low",
    "scaling.latency_high_ms",
    "scaling.latency_low_ms",
    "scaling.cpu_high_percent",
    "scaling.cpu_low_percent",
    "scaling.period_secs",
];

impl Config {
    /// Reads a file. One that was not asked for by name may be missing.
    pub fn read(path: &Path, asked_for: bool) -> Result<Self, Failure> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => Ok(Self::default()),
            Err(error) => Err(Failure::usage(format!("reading {}: {error}", path.display()))),
        }
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, name: &str) -> Result<Self, Failure> {
        let bad = |error: &dyn std::fmt::Display| {
            Failure::usage(format!("{name}: {}", error.to_string().trim_end()))
                .hint("sample/imagecrud.toml shows every key with its meaning")
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| bad(&error))?;
        if let Some(key) = unknown_key(&table, "") {
            return Err(Failure::usage(format!("{name}: unknown key `{key}`"))
                .hint(format!("did you mean `{}`?", nearest_key(&key))));
        }
        let config: Self = toml::from_str(text).map_err(|error| bad(&error))?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot be.
    pub fn check(&self) -> Result<(), Failure> {
        check_stack_name(self.stack())?;
        let bounds = self.bounds();
        check_bounds(bounds)?;
        if self.volume_gib() == 0 {
            return Err(Failure::usage("database.volume_gib must be at least 1"));
        }
        for (metric, low_key, high_key) in [
            (ScalingMetric::Cpu, "cpu_low_percent", "cpu_high_percent"),
            (ScalingMetric::Requests, "requests_low", "requests_high"),
            (ScalingMetric::Latency, "latency_low_ms", "latency_high_ms"),
        ] {
            let (low, high) = self.thresholds(metric);
            if low >= high {
                return Err(Failure::usage(format!(
                    "scaling.{low_key} ({low}) must be below scaling.{high_key} ({high})"
                )));
            }
        }
        if let Some(certificate) = &self.listener.certificate
            && !certificate.starts_with("arn:")
        {
            return Err(Failure::usage(format!("listener.certificate: `{certificate}` is no ARN"))
                .hint("`aws iam list-server-certificates` and `aws acm list-certificates` print them"));
        }
        if self.listener.host.is_some() && self.listener.certificate.is_none() {
            return Err(Failure::usage("listener.host is of no use without listener.certificate"));
        }
        let period = self.period_secs();
        if !(matches!(period, 10 | 20 | 30) || period > 0 && period.is_multiple_of(60)) {
            return Err(Failure::usage(format!("scaling.period_secs ({period}) is no period that alarms may have"))
                .hint("10, 20 or 30, or a multiple of 60"));
        }
        if self.web.health_limit_secs == Some(0) {
            return Err(Failure::usage("web.health_limit_secs must be at least 1"));
        }
        if let Some(range) = &self.network.ssh_from
            && !is_cidr(range)
        {
            return Err(Failure::usage(format!("network.ssh_from: `{range}` is not an address range"))
                .hint("write it as 192.0.2.0/24, or 192.0.2.7/32 for one address"));
        }
        Ok(())
    }

    /// The stack's name.
    pub fn stack(&self) -> &str {
        self.stack.as_deref().unwrap_or("imagecrud")
    }

    /// The bounds of the group as configured.
    pub fn bounds(&self) -> ScaleBounds {
        let min = self.web.min.unwrap_or(2);
        let max = self.web.max.unwrap_or(min.max(6));
        ScaleBounds { min, max, desired: self.web.desired.unwrap_or(min) }
    }

    /// The MySQL of the user's own, if there is one.
    pub fn own_database(&self) -> Result<Option<OwnDatabase>, Failure> {
        let Some(url) = &self.database.url else { return Ok(None) };
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("reading database.authority {}: {error}", path.display())))
        };
        let authority = self.database.authority.as_ref().map(read).transpose()?;
        OwnDatabase::new(url, authority).map(Some)
    }

    /// How long a web VM of a new version may take to get healthy.
    pub fn health_limit(&self) -> Duration {
        self.web.health_limit_secs.map_or(HEALTH_LIMIT, |secs| Duration::from_secs(secs.into()))
    }

    /// The volume's size.
    pub fn volume_gib(&self) -> u32 {
        self.database.volume_gib.unwrap_or(10)
    }

    /// The listener's port: 80 or 443, or above 8000 where the balancer listens on this very machine.
    pub fn port(&self) -> u16 {
        let secure = self.listener.certificate.is_some();
        self.listener.port.unwrap_or(match self.cloud.kind {
            CloudKind::Local if secure => 8443,
            CloudKind::Local => 8080,
            CloudKind::Aws | CloudKind::Eucalyptus if secure => 443,
            CloudKind::Aws | CloudKind::Eucalyptus => 80,
        })
    }

    /// The instance type of the database VM.
    pub fn database_instance_type(&self) -> &str {
        self.database.instance_type.as_deref().unwrap_or(self.default_instance_type())
    }

    /// The instance type of the web VMs.
    pub fn web_instance_type(&self) -> &str {
        self.web.instance_type.as_deref().unwrap_or(self.default_instance_type())
    }

    fn default_instance_type(&self) -> &'static str {
        match self.cloud.kind {
            CloudKind::Aws => "t3.micro",
            CloudKind::Local | CloudKind::Eucalyptus => "m1.small",
        }
    }

    /// Below the first the group shrinks, above the second it grows.
    pub fn thresholds(&self, metric: ScalingMetric) -> (u32, u32) {
        let scaling = &self.scaling;
        let (low, high) = match metric {
            ScalingMetric::Cpu => (scaling.cpu_low_percent, scaling.cpu_high_percent),
            ScalingMetric::Requests => (scaling.requests_low, scaling.requests_high),
            ScalingMetric::Latency => (scaling.latency_low_ms, scaling.latency_high_ms),
        };
        let (default_low, default_high) = match metric {
            ScalingMetric::Cpu => (25, 70),
            ScalingMetric::Requests => (10, 50),
            ScalingMetric::Latency => (100, 500),
        };
        (low.unwrap_or(default_low), high.unwrap_or(default_high))
    }

    /// The alarms' period.
    pub fn period_secs(&self) -> u32 {
        self.scaling.period_secs.unwrap_or(60)
    }
}

/// Refuses bounds that contradict each other.
pub fn check_bounds(bounds: ScaleBounds) -> Result<(), Failure> {
    let ScaleBounds { min, max, desired } = bounds;
    if min > max {
        return Err(Failure::usage(format!("min ({min}) is above max ({max})")));
    }
    if max == 0 {
        return Err(Failure::usage("max must be at least 1").hint("`imagecrud-deploy teardown` takes everything away"));
    }
    if !(min..=max).contains(&desired) {
        return Err(Failure::usage(format!("desired ({desired}) is outside min..max ({min}..{max})"))
            .hint("move the bounds with --min and --max, or choose a number between them"));
    }
    Ok(())
}

/// The stack's name becomes part of bucket and load balancer names, which set the rules.
fn check_stack_name(name: &str) -> Result<(), Failure> {
    let good = (3..=20).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-');
    if good {
        return Ok(());
    }
    Err(Failure::usage(format!("`{name}` cannot be a stack's name"))
        .hint("3 to 20 lowercase letters, digits and dashes, beginning with a letter"))
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        address.parse::<std::net::Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 32)
    })
}

fn unknown_key(table: &toml::Table, prefix: &str) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let key = format!("{prefix}{name}");
        if KEYS.contains(&key.as_str()) {
            return None;
        }
        match value {
            toml::Value::Table(inner) if KEYS.iter().any(|known| known.starts_with(&format!("{key}."))) => {
                unknown_key(inner, &format!("{key}."))
            }
            _ => Some(key),
        }
    })
}

/// The key that a misspelt one most likely means.
fn nearest_key(wrong: &str) -> &'static str {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let section = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
    KEYS.iter()
        .copied()
        .min_by_key(|key| {
            let by_name = 1 + distance(&last(wrong), &last(key));
            let by_section = 1 + distance(wrong, &section(key));
            distance(wrong, key).min(by_name).min(by_section)
        })
        .unwrap_or("stack")
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let cost = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../sample/imagecrud.toml");

    #[test]
    fn the_sample_parses_and_has_every_key_with_its_default() {
        let sample = Config::parse(SAMPLE, "sample").unwrap();
        let default = Config::default();
        assert_eq!(sample.stack(), default.stack());
        assert_eq!(sample.bounds(), default.bounds());
        assert_eq!(sample.volume_gib(), default.volume_gib());
        assert_eq!(sample.scaling.by, default.scaling.by);
        for metric in [ScalingMetric::Cpu, ScalingMetric::Requests, ScalingMetric::Latency] {
            assert_eq!(sample.thresholds(metric), default.thresholds(metric));
        }
        assert_eq!(sample.period_secs(), default.period_secs());
        // Commented-out keys count: uncommenting all of them must parse too.
        let all: String =
            SAMPLE.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
        Config::parse(&all, "sample with every key").unwrap();
        let table: toml::Table = all.parse().unwrap();
        for key in KEYS {
            let found =
                key.split('.').try_fold(toml::Value::Table(table.clone()), |value, part| value.get(part).cloned());
            assert!(found.is_some(), "sample/imagecrud.toml lacks {key}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        for (text, wrong, right) in [
            ("[web]\nmni = 1", "web.mni", "web.min"),
            ("volume_gib = 1", "volume_gib", "database.volume_gib"),
            ("[listner]\nport = 1", "listner", "listener.port"),
            ("[web]\nmaximum = 4", "web.maximum", "web.max"),
        ] {
            let failure = Config::parse(text, "imagecrud.toml").unwrap_err();
            assert_eq!(failure.exit, crate::error::Exit::Usage);
            let text = failure.to_string();
            assert!(text.contains(&format!("unknown key `{wrong}`")) && text.contains(&format!("`{right}`")), "{text}");
        }
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for text in [
            "[web]\nmin = 3\nmax = 2",
            "[web]\ndesired = 9",
            "[network]\nssh_from = \"everywhere\"",
            "stack = \"Has Blanks\"",
            "[web]\nmin = \"two\"",
            "[cloud]\nkind = \"azure\"",
            "[scaling]\ncpu_low_percent = 90",
            "[scaling]\nperiod_secs = 45",
            "[scaling]\nby = \"feeling\"",
            "[scaling]\nlatency_low_ms = 700",
            "[listener]\ncertificate = \"mine\"",
            "[listener]\nhost = \"gallery.example.com\"",
            "not toml",
        ] {
            let failure = Config::parse(text, "imagecrud.toml").unwrap_err();
            assert_eq!(failure.exit, crate::error::Exit::Usage, "{text}");
        }
    }
}
