//! The settings: imagecrud.toml, over which flags and environment go. A key that does not exist is refused
//! with the nearest one that does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::scaling::ScalingConfig;
use crate::config::settings::{Lines, Mistake};
use crate::error::Failure;
use crate::files;
use crate::resources::own_database::OwnDatabase;
use crate::resources::rollout::HEALTH_LIMIT;
use crate::state::{ScaleBounds, sha256_hex};

/// When the group grows and shrinks.
pub mod scaling;
/// Every key and what it may be.
pub mod settings;

/// Characters of a token whose hash others may read.
const SHORTEST_TOKEN: usize = 16;

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
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
    /// `[prices]`
    pub prices: PricesConfig,
}

/// Which cloud, and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
#[serde(default, deny_unknown_fields)]
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
#[serde(default, deny_unknown_fields)]
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
    /// Whoever changes pictures has to send what this file holds.
    pub write_token_file: Option<PathBuf>,
    /// How many changes may come from one address.
    pub writes_per_minute: Option<u32>,
}

/// The load balancer's listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// A VPC other than the default one.
    pub vpc: Option<String>,
    /// Its subnets to use, at most one per zone.
    pub subnets: Vec<String>,
    /// From where ssh is let in; from nowhere by default.
    pub ssh_from: Option<String>,
    /// The image's user for ssh.
    pub ssh_user: Option<String>,
}

/// What things cost, by the user's own table: none is known otherwise.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PricesConfig {
    /// What the prices are in.
    pub currency: Option<String>,
    /// An hour of a VM, by instance type.
    pub instance_hour: BTreeMap<String, f64>,
    /// A month of a GiB of the data volume.
    pub volume_gib_month: Option<f64>,
    /// An hour of the load balancer.
    pub load_balancer_hour: Option<f64>,
}

impl Config {
    /// Reads a file. One that was not asked for by name may be missing.
    pub fn read(path: &Path, asked_for: bool) -> Result<(Self, Lines), Failure> {
        match files::text(path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(why) if why.is_missing && !asked_for => Ok(Default::default()),
            Err(why) => Err(Failure::usage(format!("reading {}: {why}", path.display()))
                .hint("see --config; sample/imagecrud.toml is one to begin with")),
        }
    }

    /// Reads the text of a file. What contradicts each other is for `check` to find, once flags have gone over it.
    pub fn parse(text: &str, name: &str) -> Result<(Self, Lines), Failure> {
        let (lines, mistakes) = settings::inspect(text, name);
        if mistakes.is_empty() {
            let config = toml::from_str(text);
            return config.map(|config| (config, lines)).map_err(|error| Failure::usage(format!("{name}: {error}")));
        }
        // What can be read of it may hold more mistakes: all are told at once.
        let readable: Option<Self> = toml::from_str(text).ok();
        let mut more = readable.map(|config| config.contradictions(&lines, false)).unwrap_or_default();
        more.retain(|mistake| mistakes.iter().all(|other| other.line != mistake.line));
        Err(lines.failure([mistakes, more].concat()).err().unwrap_or_else(|| Failure::usage(name)))
    }

    /// Refuses settings that contradict each other. A cloud that a flag chose may leave the settings of another unused.
    pub fn check(&self, lines: &Lines, cloud_by_flag: bool) -> Result<(), Failure> {
        lines.failure(self.contradictions(lines, cloud_by_flag))
    }

    fn contradictions(&self, lines: &Lines, cloud_by_flag: bool) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if let Some((what, allowed)) = contradiction(self.bounds()) {
            mistakes.push(lines.mistake(&["web.min", "web.max", "web.desired"], format!("web: {what}"), allowed));
        }
        mistakes.extend(self.scaling.contradictions(lines));
        if let Some(certificate) = &self.listener.certificate
            && !certificate.starts_with("arn:")
        {
            let allowed = "`aws iam list-server-certificates` and `aws acm list-certificates` print them";
            let what = format!("listener.certificate: `{certificate}` is no ARN");
            mistakes.push(lines.mistake(&["listener.certificate"], what, allowed));
        }
        if self.listener.host.is_some() && self.listener.certificate.is_none() {
            let what = "listener.host is of no use without listener.certificate".to_owned();
            mistakes.push(lines.mistake(&["listener.host"], what, "a certificate, or no host"));
        }
        let kind = self.cloud.kind;
        if self.cloud.credentials.is_some() && kind != CloudKind::Eucalyptus && !cloud_by_flag {
            let what = format!("cloud.credentials is of no use where cloud.kind is {}", kind.word());
            mistakes.push(lines.mistake(&["cloud.credentials"], what, "kind = \"eucalyptus\", or no credentials"));
        }
        if self.cloud.profile.is_some() && kind != CloudKind::Aws && !cloud_by_flag {
            let what = format!("cloud.profile is of no use where cloud.kind is {}", kind.word());
            mistakes.push(lines.mistake(&["cloud.profile"], what, "kind = \"aws\", or no profile"));
        }
        if self.prices.currency.is_none() && self.prices != PricesConfig::default() {
            let keys = ["prices.instance_hour", "prices.volume_gib_month", "prices.load_balancer_hour"];
            mistakes.push(lines.mistake(&keys, "prices.currency is missing".to_owned(), "currency = \"EUR\""));
        }
        mistakes
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
            files::text(path).map_err(|why| {
                Failure::usage(format!("reading database.authority {}: {why}", path.display()))
                    .hint("it is the certificate, in PEM, of who signed that of your MySQL")
            })
        };
        let authority = self.database.authority.as_ref().map(read).transpose()?;
        OwnDatabase::new(url, authority).map(Some)
    }

    /// The SHA-256 of what clients have to send to change pictures, if they have to. Web VMs are told no more than that,
    /// as whoever may describe them can read it.
    pub fn write_token_sha256(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.web.write_token_file else { return Ok(None) };
        let hint = "it holds one line that is hard to guess, for example of `openssl rand -hex 20`";
        let failed =
            |why: &str| Failure::usage(format!("reading web.write_token_file {}: {why}", path.display())).hint(hint);
        let text = files::text(path).map_err(|why| failed(&why.to_string()))?;
        let token = text.trim();
        if token.chars().count() < SHORTEST_TOKEN {
            return Err(failed(&format!("a token has {SHORTEST_TOKEN} characters at least")));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(failed("a token is one word of ASCII"));
        }
        Ok(Some(sha256_hex(token.as_bytes())))
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

    /// The image's user for ssh. https://wiki.debian.org/Cloud/AmazonEC2Image
    pub fn ssh_user(&self) -> &str {
        self.network.ssh_user.as_deref().unwrap_or(match self.cloud.kind {
            CloudKind::Aws => "admin",
            CloudKind::Local | CloudKind::Eucalyptus => "debian",
        })
    }
}

/// Refuses bounds that contradict each other.
pub fn check_bounds(bounds: ScaleBounds) -> Result<(), Failure> {
    match contradiction(bounds) {
        Some((what, hint)) => Err(Failure::usage(what).hint(hint)),
        None => Ok(()),
    }
}

fn contradiction(bounds: ScaleBounds) -> Option<(String, &'static str)> {
    let ScaleBounds { min, max, desired } = bounds;
    if min > max {
        return Some((format!("min ({min}) is above max ({max})"), "min at most max"));
    }
    if max == 0 {
        let hint = "`imagecrud-deploy teardown` takes everything away";
        return Some(("max must be at least 1".to_owned(), hint));
    }
    if !(min..=max).contains(&desired) {
        let hint = "move the bounds with --min and --max, or choose a number between them";
        return Some((format!("desired ({desired}) is outside min..max ({min}..{max})"), hint));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scaling::ScalingMetric;

    const SAMPLE: &str = include_str!("../../sample/imagecrud.toml");
    const SCHEMA: &str = include_str!("../../sample/imagecrud.schema.json");

    fn parsed(text: &str) -> Result<Config, Failure> {
        let (config, lines) = Config::parse(text, "imagecrud.toml")?;
        config.check(&lines, false).map(|()| config)
    }

    /// The sample with every key that has no default filled in.
    fn whole_sample() -> String {
        let lines = SAMPLE.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line));
        lines
            .map(|line| if line.starts_with("kind = ") { "kind = \"eucalyptus\"" } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_sample_parses_and_has_every_key_with_its_default() {
        let sample = parsed(SAMPLE).unwrap();
        assert_eq!(sample.stack(), Config::default().stack());
        let default = Config::default();
        assert_eq!(sample.bounds(), default.bounds());
        assert_eq!(sample.volume_gib(), default.volume_gib());
        assert_eq!(sample.scaling.by, default.scaling.by);
        for metric in [ScalingMetric::Cpu, ScalingMetric::Requests, ScalingMetric::Latency] {
            assert_eq!(sample.scaling.thresholds(metric), default.scaling.thresholds(metric));
        }
        assert_eq!(sample.scaling.period_secs(), default.scaling.period_secs());
        // Uncommenting the others must parse too; only the AWS profile contradicts the rest.
        let (whole, lines) = Config::parse(&whole_sample(), "sample").unwrap();
        let failure = whole.check(&lines, false).unwrap_err().to_string();
        assert!(failure.contains("cloud.profile is of no use") && !failure.contains("mistakes"), "{failure}");
        let table: toml::Table = whole_sample().parse().unwrap();
        for setting in settings::SETTINGS {
            let mut parts = setting.key.split('.');
            let found = parts.try_fold(toml::Value::Table(table.clone()), |value, part| value.get(part).cloned());
            assert!(found.is_some(), "sample/imagecrud.toml lacks {}", setting.key);
        }
    }

    #[test]
    fn the_schema_beside_the_sample_is_that_of_the_settings() {
        let kept: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(kept, settings::schema(), "`imagecrud-deploy config-schema > sample/imagecrud.schema.json`");
        assert!(SAMPLE.starts_with("#:schema"), "editors find the schema by the sample's first line");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_right_one() {
        for (text, line, wrong, right) in [
            ("[web]\nmni = 1", 2, "web.mni", "web.min"),
            ("volume_gib = 1", 1, "volume_gib", "database.volume_gib"),
            ("\n\n[listner]\nport = 1", 3, "listner", "listener.port"),
            ("[web]\n# most\n\nmaximum = 4", 4, "web.maximum", "web.max"),
        ] {
            let failure = parsed(text).unwrap_err();
            assert_eq!(failure.exit, crate::error::Exit::Usage);
            let text = failure.to_string();
            assert!(text.starts_with(&format!("imagecrud.toml:{line}: unknown key `{wrong}`")), "{text}");
            assert!(text.contains(&format!("`{right}`")), "{text}");
        }
        assert!(!parsed("[xyzzy]").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn values_that_cannot_be_are_refused_with_their_line_and_what_is_allowed() {
        let long = format!("[cloud]\nregion = \"{}\"", "x".repeat(64));
        for (text, line, words) in [
            ("[web]\nmin = 3\nmax = 2", 2, "min (3) is above max (2)"),
            ("\n[web]\ndesired = 9", 3, "desired (9) is outside min..max (2..6)"),
            ("[web]\nmax = 0", 2, "a whole number from 1 to 1000"),
            ("[network]\nssh_from = \"everywhere\"", 2, "192.0.2.0/24"),
            ("[network]\nssh_from = \"10.0.0.0/33\"", 2, "is not an address range"),
            ("[network]\nssh_from = \"192.0.2.7/24\"", 2, "of 24 bits that is 192.0.2.0/24"),
            ("stack = \"Has Blanks\"", 1, "3 to 20 lowercase letters"),
            ("[web]\nmin = \"two\"", 2, "web.min: `two` is a text\n\nhint: a whole number"),
            ("[web]\nmin = -1", 2, "-1 is out of range"),
            ("[listener]\nport = 65536", 2, "from 1 to 65535"),
            ("[listener]\nport = 80.5", 2, "it is a number"),
            ("[cloud]\nkind = \"azure\"", 2, "one of local, aws, eucalyptus"),
            ("[cloud]\nprofile = \"work\"", 2, "kind = \"aws\""),
            ("[cloud]\ncredentials = \"eucarc\"", 2, "kind = \"eucalyptus\""),
            (long.as_str(), 2, "64 characters is too long"),
            ("[network]\nsubnets = \"subnet-1\"", 2, "a list in brackets"),
            ("[network]\nsubnets = [1]", 2, "its list has a whole number"),
            ("[scaling]\ncpu_low_percent = 90", 2, "must be below"),
            ("[scaling]\nperiod_secs = 45", 2, "multiple of 60"),
            ("[prices]\nvolume_gib_month = 0.1", 2, "currency"),
            ("[prices]\ncurrency = \"EUR\"\ninstance_hour = { \"t3.micro\" = -1 }", 3, "t3.micro"),
            ("web = 3", 1, "a section: [web]"),
            ("stack = \"one\"\nstack = \"two\"", 2, "duplicate key"),
            ("[web]\nmin = ", 2, "it is not TOML"),
        ] {
            let failure = parsed(text).unwrap_err();
            assert_eq!(failure.exit, crate::error::Exit::Usage, "{text}");
            let said = failure.to_string();
            assert!(said.starts_with(&format!("imagecrud.toml:{line}: ")) && said.contains(words), "{text}\n{said}");
        }
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        for text in [
            "[scaling]\nlatency_low_ms = 700",
            "[listener]\ncertificate = \"mine\"",
            "[listener]\nhost = \"gallery.example.com\"",
        ] {
            let failure = parsed(text).unwrap_err();
            assert_eq!(failure.exit, crate::error::Exit::Usage, "{text}");
        }
    }

    #[test]
    fn all_mistakes_are_named_at_once_in_their_order() {
        let failure = parsed("[web]\nmni = 1\n[listener]\nport = 0\n[scaling]\ncpu_low_percent = 90\n").unwrap_err();
        let said = failure.to_string();
        assert!(said.starts_with("2 mistakes in the settings\n  imagecrud.toml:2: unknown key"), "{said}");
        let failure = parsed("[web]\nmin = 7\n[scaling]\ncpu_low_percent = 90\n[listener]\nport = 0\n").unwrap_err();
        let said = failure.to_string();
        let place = |what: &str| said.find(what).unwrap_or_else(|| panic!("{what} in {said}"));
        assert!(place(":4: scaling.cpu_low") < place(":6: listener.port"), "{said}");
    }

    #[test]
    fn a_cloud_that_a_flag_chose_leaves_the_settings_of_another_unused() {
        let (mut config, lines) = Config::parse("[cloud]\nprofile = \"work\"\nkind = \"aws\"", "f").unwrap();
        config.cloud.kind = CloudKind::Local;
        config.check(&lines, true).unwrap();
    }
}
