//! Every key of imagecrud.toml, and what it may be. From this one list come the checks of a file, each mistake with its
//! line, and the schema for editors.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Failure;

/// A key and what it may be.
pub struct Setting {
    /// `section.name`.
    pub key: &'static str,
    kind: Kind,
    about: &'static str,
}

/// What a key may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Part of bucket and load balancer names, which set the rules.
    StackName,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A file.
    Path,
    /// Whatever is not empty.
    Text,
    /// A name or id of the cloud.
    Name,
    /// Several of them.
    Names,
    /// A whole number, from and to.
    Whole(u32, u32),
    /// A period that CloudWatch's alarms may have.
    Period,
    /// An address range.
    Range,
    /// An amount of money.
    Amount,
    /// Amounts of money by name.
    Amounts,
}

const fn setting(key: &'static str, kind: Kind, about: &'static str) -> Setting {
    Setting { key, kind, about }
}

const CLOUDS: &[&str] = &["local", "aws", "eucalyptus"];
const METRICS: &[&str] = &["cpu", "requests", "latency"];

/// Every key. The sample has each of them; a test holds the two, `Config` and the schema together.
pub const SETTINGS: &[Setting] = &[
    setting("stack", Kind::StackName, "The stack's name; several may stand side by side in one cloud"),
    setting("cloud.kind", Kind::OneOf(CLOUDS), "Which cloud"),
    setting("cloud.credentials", Kind::Path, "The eucarc of a Eucalyptus cloud; read, never executed"),
    setting("cloud.region", Kind::Name, "The region; by default that of the AWS profile or of the eucarc"),
    setting("cloud.profile", Kind::Name, "The AWS profile"),
    setting("cloud.zone", Kind::Name, "The zone of the data volume and the database VM"),
    setting("cloud.image", Kind::Name, "The image of all VMs: Debian 12 with cloud-init"),
    setting("database.instance_type", Kind::Name, "The database VM's type"),
    setting(
        "database.url",
        Kind::Text,
        "A MySQL of your own in the database VM's place: mysql://USER:PASSWORD@HOST/DATABASE",
    ),
    setting("database.authority", Kind::Path, "The certificate authority of that MySQL, as PEM"),
    setting("database.volume_gib", Kind::Whole(1, 65_536), "The size of the volume that holds every row"),
    setting("web.instance_type", Kind::Name, "The web VMs' type"),
    setting("web.min", Kind::Whole(0, 1000), "Fewest web VMs"),
    setting("web.max", Kind::Whole(1, 1000), "Most web VMs"),
    setting("web.desired", Kind::Whole(0, 1000), "How many web VMs to begin with"),
    setting("web.bundle", Kind::Path, "The app's binary"),
    setting(
        "web.health_limit_secs",
        Kind::Whole(1, 86_400),
        "How long a web VM of a new version may take to get healthy",
    ),
    setting("web.write_token_file", Kind::Path, "A file with the token that whoever changes pictures has to send"),
    setting(
        "web.writes_per_minute",
        Kind::Whole(1, 1_000_000),
        "How many changes of pictures may come from one address",
    ),
    setting("listener.port", Kind::Whole(1, 65_535), "The load balancer's port"),
    setting("listener.certificate", Kind::Text, "The ARN of a server certificate: HTTPS on the load balancer"),
    setting("listener.host", Kind::Text, "The name that the certificate is for"),
    setting("network.vpc", Kind::Name, "A VPC other than the default one"),
    setting("network.subnets", Kind::Names, "Its subnets to use, at most one per zone"),
    setting("network.ssh_from", Kind::Range, "From where ssh to the VMs is let in; by default from nowhere"),
    setting("network.ssh_user", Kind::Name, "The image's user for ssh; by default admin on AWS, debian elsewhere"),
    setting("scaling.by", Kind::OneOf(METRICS), "What the group grows and shrinks by"),
    setting(
        "scaling.requests_high",
        Kind::Whole(1, 1_000_000),
        "Add a web VM above so many requests per second and VM",
    ),
    setting("scaling.requests_low", Kind::Whole(0, 1_000_000), "Take a web VM away below so many"),
    setting("scaling.latency_high_ms", Kind::Whole(1, 3_600_000), "Add a web VM when answers take longer on average"),
    setting("scaling.latency_low_ms", Kind::Whole(0, 3_600_000), "Take a web VM away when they are quicker"),
    setting("scaling.cpu_high_percent", Kind::Whole(1, 100), "Add a web VM above this CPU use"),
    setting("scaling.cpu_low_percent", Kind::Whole(0, 100), "Take a web VM away below this CPU use"),
    setting("scaling.period_secs", Kind::Period, "Over how many seconds the alarms average"),
    setting("prices.currency", Kind::Name, "What the prices are in"),
    setting("prices.instance_hour", Kind::Amounts, "An hour of a VM, by instance type"),
    setting("prices.volume_gib_month", Kind::Amount, "A month of a GiB of the data volume"),
    setting("prices.load_balancer_hour", Kind::Amount, "An hour of the load balancer"),
];

/// How many characters the names of most clouds may have.
const LONGEST_NAME: usize = 63;
/// Which letters end in a stack's name.
const STACK_NAME: &str = "^[a-z][a-z0-9-]{1,18}[a-z0-9]$";

impl Kind {
    /// What is allowed, for people.
    pub fn allowed(self) -> String {
        match self {
            Self::StackName => "3 to 20 lowercase letters, digits and dashes, beginning with a letter".to_owned(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Path => "the path of a file, in quotes".to_owned(),
            Self::Text => "a text in quotes".to_owned(),
            Self::Name => format!("1 to {LONGEST_NAME} characters without blanks, in quotes"),
            Self::Names => format!("a list in brackets, each of 1 to {LONGEST_NAME} characters without blanks"),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Period => "10, 20 or 30, or a multiple of 60 up to 43200".to_owned(),
            Self::Range => "written as 192.0.2.0/24, or 192.0.2.7/32 for one address".to_owned(),
            Self::Amount => "a number that is not negative".to_owned(),
            Self::Amounts => "numbers that are not negative, by name: { \"t3.micro\" = 0.01 }".to_owned(),
        }
    }

    /// What is wrong with a text, if anything.
    pub fn trouble(self, text: &str) -> Option<String> {
        let name = || (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let good = match self {
            Self::StackName => is_stack_name(text),
            Self::OneOf(words) => words.contains(&text),
            Self::Path | Self::Text => !text.is_empty(),
            Self::Name => name(),
            Self::Range => return range_trouble(text),
            Self::Names | Self::Whole(..) | Self::Period | Self::Amount | Self::Amounts => {
                return Some(format!("`{text}` is a text"));
            }
        };
        let length = text.chars().count();
        let what = if length > LONGEST_NAME {
            format!("a text of {length} characters is too long")
        } else {
            format!("`{text}` is not possible")
        };
        (!good).then_some(what)
    }

    fn trouble_with(self, value: &DeValue<'_>) -> Option<String> {
        let number = |value: &DeValue<'_>| match value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n as f64),
            DeValue::Float(number) => number.as_str().replace('_', "").parse::<f64>().ok(),
            _ => None,
        };
        match (self, value) {
            (_, DeValue::String(text)) => self.trouble(text),
            (Self::Whole(least, most), DeValue::Integer(_)) => {
                let n = number(value).unwrap_or(f64::INFINITY);
                (!(f64::from(least)..=f64::from(most)).contains(&n)).then(|| format!("{n} is out of range"))
            }
            (Self::Period, DeValue::Integer(_)) => {
                let n = number(value).unwrap_or(f64::INFINITY);
                let good = [10.0, 20.0, 30.0].contains(&n) || n > 0.0 && n <= 43_200.0 && n % 60.0 == 0.0;
                (!good).then(|| format!("{n} is no period that alarms may have"))
            }
            (Self::Amount, DeValue::Integer(_) | DeValue::Float(_)) => {
                let bad = number(value).is_none_or(|n| !n.is_finite() || n < 0.0);
                bad.then(|| "it is no amount".to_owned())
            }
            (Self::Names, DeValue::Array(list)) => list.iter().find_map(|item| match item.get_ref() {
                DeValue::String(text) => Self::Name.trouble(text),
                other => Some(format!("its list has a {}", word(other))),
            }),
            (Self::Amounts, DeValue::Table(table)) => table.iter().find_map(|(name, value)| {
                let trouble = Self::Amount.trouble_with(value.get_ref())?;
                Some(format!("{}: {trouble}", name.get_ref()))
            }),
            (_, other) => Some(format!("it is a {}", word(other))),
        }
    }

    fn schema(self) -> Json {
        match self {
            Self::StackName => json!({ "type": "string", "pattern": STACK_NAME }),
            Self::OneOf(words) => json!({ "type": "string", "enum": words }),
            Self::Path | Self::Text => json!({ "type": "string", "minLength": 1 }),
            Self::Name => json!({ "type": "string", "pattern": format!("^[!-~]{{1,{LONGEST_NAME}}}$") }),
            Self::Names => json!({ "type": "array", "items": Self::Name.schema() }),
            Self::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Self::Period => json!({
                "type": "integer", "minimum": 10, "maximum": 43_200,
                "anyOf": [{ "enum": [10, 20, 30] }, { "multipleOf": 60 }],
            }),
            Self::Range => json!({ "type": "string", "pattern": "^([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2}$" }),
            Self::Amount => json!({ "type": "number", "minimum": 0 }),
            Self::Amounts => json!({ "type": "object", "additionalProperties": Self::Amount.schema() }),
        }
    }
}

fn word(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "whole number",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "list",
        DeValue::Table(_) => "section",
    }
}

fn is_stack_name(name: &str) -> bool {
    (3..=20).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// A range whose last bits are set is another one to the cloud, and would look changed for ever.
fn range_trouble(text: &str) -> Option<String> {
    let parts = text.split_once('/').and_then(|(address, bits)| {
        let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 32)?;
        Some((address.parse::<Ipv4Addr>().ok()?, bits))
    });
    let Some((address, bits)) = parts else { return Some(format!("`{text}` is not an address range")) };
    let first = Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0));
    (first != address).then(|| format!("`{text}` is not an address range: of {bits} bits that is {first}/{bits}"))
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands, where it stands in a file.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What is allowed.
    pub allowed: String,
}

/// Where the keys of a file stand. Empty where there is no file.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// The file's name.
    pub name: String,
    of_keys: BTreeMap<String, usize>,
}

impl Lines {
    /// A mistake between keys, told at the line of the first of them that stands in the file.
    pub fn mistake(&self, keys: &[&str], what: String, allowed: &str) -> Mistake {
        let line = keys.iter().find_map(|key| self.of_keys.get(*key).copied());
        Mistake { line, what, allowed: allowed.to_owned() }
    }

    /// All mistakes as one failure.
    pub fn failure(&self, mut mistakes: Vec<Mistake>) -> Result<(), Failure> {
        mistakes.sort_by_key(|mistake| mistake.line);
        let place = |mistake: &Mistake| match mistake.line {
            Some(line) => format!("{}:{line}: {}", self.name, mistake.what),
            None => mistake.what.clone(),
        };
        match mistakes.as_slice() {
            [] => Ok(()),
            [only] => Err(Failure::usage(place(only)).hint(&only.allowed)),
            several => {
                let lines: Vec<String> = several.iter().map(|m| format!("  {} ({})", place(m), m.allowed)).collect();
                Err(Failure::usage(format!("{} mistakes in the settings\n{}", several.len(), lines.join("\n")))
                    .hint("sample/imagecrud.toml has every key, with what it means"))
            }
        }
    }
}

/// Looks through a file: where its keys stand, and every mistake that one key by itself can be.
pub fn inspect(text: &str, name: &str) -> (Lines, Vec<Mistake>) {
    let mut lines = Lines { name: name.to_owned(), of_keys: BTreeMap::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> = errors
        .iter()
        .map(|error| Mistake {
            line: Some(line_of(text, error.span().map_or(0, |span| span.start))),
            what: format!("it is not TOML: {}", error.message().replace('\n', ", ")),
            allowed: "sample/imagecrud.toml shows how it is written".to_owned(),
        })
        .collect();
    if mistakes.is_empty() {
        walk(text, table.get_ref(), "", &mut lines.of_keys, &mut mistakes);
    }
    (lines, mistakes)
}

fn walk(
    text: &str,
    table: &DeTable<'_>,
    prefix: &str,
    lines: &mut BTreeMap<String, usize>,
    mistakes: &mut Vec<Mistake>,
) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let line = Some(line_of(text, name.span().start));
        let within = format!("{key}.");
        let is_section = SETTINGS.iter().any(|setting| setting.key.starts_with(&within));
        let found = SETTINGS.iter().find(|setting| setting.key == key);
        let mistake = match (found, Spanned::get_ref(value)) {
            (Some(setting), value) => {
                lines.extend(line.map(|line| (key.clone(), line)));
                setting.kind.trouble_with(value).map(|what| (format!("{key}: {what}"), setting.kind.allowed()))
            }
            (None, DeValue::Table(inner)) if is_section => {
                walk(text, inner, &within, lines, mistakes);
                None
            }
            (None, other) if is_section => {
                Some((format!("{key}: it is a {}", word(other)), format!("a section: [{key}], and its keys below it")))
            }
            (None, _) => Some((format!("unknown key `{key}`"), nearest(&key))),
        };
        mistakes.extend(mistake.map(|(what, allowed)| Mistake { line, what, allowed }));
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The key that a misspelt one most likely means, as a hint.
fn nearest(wrong: &str) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let section = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
    let far = |key: &str| {
        let by_name = 1 + distance(&last(wrong), &last(key));
        let by_section = 1 + distance(wrong, &section(key));
        distance(wrong, key).min(by_name).min(by_section)
    };
    let keys = SETTINGS.iter().map(|setting| (far(setting.key), setting.key));
    match keys.min_by_key(|(far, _)| *far) {
        Some((far, key)) if far <= 1 + wrong.len() / 2 => format!("did you mean `{key}`?"),
        _ => "sample/imagecrud.toml has every key, with what it means".to_owned(),
    }
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

/// The JSON schema of the file, for editors.
pub fn schema() -> Json {
    let mut sections = serde_json::Map::new();
    for setting in SETTINGS {
        let mut schema = setting.kind.schema();
        schema["description"] = json!(format!("{} ({})", setting.about, setting.kind.allowed()));
        match setting.key.split_once('.') {
            None => {
                sections.insert(setting.key.to_owned(), schema);
            }
            Some((section, name)) => {
                let section = sections
                    .entry(section)
                    .or_insert_with(|| json!({ "type": "object", "additionalProperties": false, "properties": {} }));
                section["properties"][name] = schema;
            }
        }
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Settings of imagecrud-deploy (imagecrud.toml)",
        "type": "object",
        "additionalProperties": false,
        "properties": sections,
    })
}
