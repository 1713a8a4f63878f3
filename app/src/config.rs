//! The server's settings, read once from the environment. Every refusal names the variable.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;
use sha2::{Digest as _, Sha256};
use sqlx::mysql::MySqlConnectOptions;

use crate::photo::hex;

/// A variable that is missing or cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}\nhint: {hint}")]
pub struct ConfigError {
    variable: &'static str,
    problem: String,
    hint: &'static str,
}

/// Where the database's URL comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseSource {
    /// It never changes.
    Url(String),
    /// It stands in a JSON object with a key `url`, which may appear later and may change.
    Object { bucket: String, key: String },
}

#[derive(Debug, Clone)]
pub struct ObjectStoreConfig {
    pub bucket: String,
    pub region: String,
    /// The base URL as this server reaches it; none means AWS's own.
    pub endpoint: Option<String>,
    /// The base URL as browsers reach it.
    pub public_endpoint: Option<String>,
    pub force_path_style: bool,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Config {
    pub listen_address: SocketAddr,
    pub database: DatabaseSource,
    pub database_connections: u32,
    pub object_store: ObjectStoreConfig,
    /// Uploads that may be in hand at once; each may hold a file of 25 MB, and half a megabyte of memory.
    pub upload_slots: usize,
    /// How long to go on accepting after SIGTERM, so that a load balancer can notice.
    pub drain: Duration,
    /// How long requests may take to end after that.
    pub shutdown_limit: Duration,
    pub sweep_interval: Duration,
    /// How long a replaced picture's bytes stay: as long as a page may show their URL.
    pub sweep_grace: Duration,
    /// How long a deletion may be taken back; the bytes stay so long.
    pub undo_grace: Duration,
    /// How long an upload may take from its first byte in S3 to its row.
    pub upload_intent: Duration,
    /// Who answers, sent along with every answer, so that one server of many can be told from the others.
    pub served_by: Option<HeaderValue>,
    /// Where that one stands, for people.
    pub served_in: Option<String>,
    /// Whether small versions are made; without, pictures are kept undecoded and the index shows them whole.
    pub thumbnails: bool,
    /// The SHA-256, in hexadecimal digits, of what clients have to send to change anything.
    pub write_token: Option<String>,
    /// How many changes may come from one address.
    pub writes_per_minute: Option<u32>,
    pub log_format: LogFormat,
}

impl Config {
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// An empty variable counts as absent: a line `S3_ENDPOINT=` in an environment file means "none".
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let variables = Variables { lookup: &|name| lookup(name).filter(|value| !value.trim().is_empty()) };
        let region =
            variables.text("AWS_REGION").or_else(|| variables.text("AWS_DEFAULT_REGION")).ok_or_else(|| {
                missing("AWS_REGION", "name the region of the bucket, for example AWS_REGION=eu-central-1")
            })?;
        Ok(Self {
            listen_address: variables.parsed(
                "LISTEN_ADDRESS",
                "0.0.0.0:80",
                "give address and port, for example 0.0.0.0:80",
            )?,
            database: database_source(&variables)?,
            database_connections: variables.number("DATABASE_CONNECTIONS", 5, 1, 1000)? as u32,
            object_store: ObjectStoreConfig {
                bucket: variables.required("S3_BUCKET", "name the bucket that keeps the pictures")?,
                region,
                endpoint: variables.base_url("S3_ENDPOINT")?,
                public_endpoint: variables.base_url("S3_PUBLIC_ENDPOINT")?,
                force_path_style: variables.parsed("S3_FORCE_PATH_STYLE", "false", "say true or false")?,
            },
            upload_slots: variables.number("UPLOAD_SLOTS", 64, 1, 10_000)? as usize,
            drain: variables.seconds("DRAIN_SECONDS", 10, 0)?,
            shutdown_limit: variables.seconds("SHUTDOWN_SECONDS", 90, 1)?,
            sweep_interval: variables.seconds("SWEEP_INTERVAL_SECONDS", 30, 1)?,
            sweep_grace: variables.seconds("SWEEP_GRACE_SECONDS", 3660, 0)?,
            undo_grace: variables.seconds("UNDO_SECONDS", 300, 0)?,
            upload_intent: variables.seconds("UPLOAD_INTENT_SECONDS", 3600, 1)?,
            served_by: variables.header("SERVED_BY")?,
            served_in: variables.text("SERVED_IN").map(|zone| zone.trim().into()),
            thumbnails: variables.parsed("THUMBNAILS", "true", "say true or false")?,
            write_token: write_token(&variables)?,
            writes_per_minute: match variables.number("WRITES_PER_MINUTE", 0, 0, 1_000_000)? {
                0 => None,
                limit => Some(limit as u32),
            },
            log_format: variables.parsed("LOG_FORMAT", "text", "say text or json")?,
        })
    }
}

fn missing(variable: &'static str, hint: &'static str) -> ConfigError {
    ConfigError { variable, problem: "is not set".into(), hint }
}

/// The token itself, or its hash where others may read the environment.
fn write_token(variables: &Variables<'_>) -> Result<Option<String>, ConfigError> {
    let bad = |problem: &str, hint| ConfigError { variable: "WRITE_TOKEN_SHA256", problem: problem.into(), hint };
    match (variables.text("WRITE_TOKEN"), variables.text("WRITE_TOKEN_SHA256")) {
        (Some(_), Some(_)) => Err(bad("is set together with WRITE_TOKEN", "set one of the two")),
        (Some(token), None) => Ok(Some(hex(&Sha256::digest(token.trim())))),
        (None, Some(hash)) => {
            let hash = hash.trim().to_ascii_lowercase();
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad("is no SHA-256", "give 64 hexadecimal digits: printf %s TOKEN | sha256sum"));
            }
            Ok(Some(hash))
        }
        (None, None) => Ok(None),
    }
}

fn database_source(variables: &Variables<'_>) -> Result<DatabaseSource, ConfigError> {
    const HINT: &str = "set DATABASE_URL=mysql://USER:PASSWORD@HOST:3306/DATABASE, or DATABASE_CONFIG=s3://BUCKET/config/database.json";
    match (variables.text("DATABASE_URL"), variables.text("DATABASE_CONFIG")) {
        (Some(_), Some(_)) => Err(ConfigError {
            variable: "DATABASE_URL",
            problem: "is set together with DATABASE_CONFIG".into(),
            hint: "set one of the two",
        }),
        (None, None) => Err(missing("DATABASE_URL", HINT)),
        (Some(url), None) => match check_database_url(&url) {
            Ok(()) => Ok(DatabaseSource::Url(url)),
            Err(problem) => Err(ConfigError { variable: "DATABASE_URL", problem, hint: HINT }),
        },
        (None, Some(location)) => match location.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(DatabaseSource::Object { bucket: bucket.into(), key: key.into() })
            }
            _ => Err(ConfigError {
                variable: "DATABASE_CONFIG",
                problem: format!("`{location}` is no s3://BUCKET/KEY"),
                hint: HINT,
            }),
        },
    }
}

/// Whether this is a MySQL URL with a database in it. The answer never repeats the URL: it holds a password.
pub(crate) fn check_database_url(url: &str) -> Result<(), String> {
    if !(url.starts_with("mysql://") || url.starts_with("mariadb://")) {
        return Err("does not start with mysql://".into());
    }
    match MySqlConnectOptions::from_str(url) {
        Err(_) => Err("is no valid URL".into()),
        Ok(options) if options.get_database().is_none_or(str::is_empty) => {
            Err("names no database after the last slash".into())
        }
        Ok(_) => Ok(()),
    }
}

struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    fn text(&self, name: &'static str) -> Option<String> {
        (self.lookup)(name)
    }

    fn required(&self, name: &'static str, hint: &'static str) -> Result<String, ConfigError> {
        self.text(name).ok_or_else(|| missing(name, hint))
    }

    fn parsed<T: FromStr>(&self, name: &'static str, default: &str, hint: &'static str) -> Result<T, ConfigError> {
        let value = self.text(name).unwrap_or_else(|| default.into());
        value.trim().parse().map_err(|_| ConfigError {
            variable: name,
            problem: format!("`{value}` cannot be understood"),
            hint,
        })
    }

    fn number(&self, name: &'static str, default: u64, least: u64, most: u64) -> Result<u64, ConfigError> {
        let value: u64 = self.parsed(name, &default.to_string(), "give a whole number")?;
        if !(least..=most).contains(&value) {
            return Err(ConfigError {
                variable: name,
                problem: format!("{value} is not within {least} to {most}"),
                hint: "give a number within",
            });
        }
        Ok(value)
    }

    fn seconds(&self, name: &'static str, default: u64, least: u64) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(self.number(name, default, least, 604_800)?))
    }

    fn header(&self, name: &'static str) -> Result<Option<HeaderValue>, ConfigError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        HeaderValue::from_str(value.trim()).map(Some).map_err(|_| ConfigError {
            variable: name,
            problem: "cannot stand in a header".into(),
            hint: "use plain letters, digits and punctuation",
        })
    }

    fn base_url(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        const HINT: &str = "give a base URL, for example http://10.77.0.1:8773";
        let Some(value) = self.text(name) else { return Ok(None) };
        match reqwest::Url::parse(value.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
                let mut base = value.trim().trim_end_matches('/').to_string();
                // The SDK glues the bucket onto a path that does not end in a slash.
                if url.path() != "/" {
                    base.push('/');
                }
                Ok(Some(base))
            }
            _ => Err(ConfigError { variable: name, problem: format!("`{value}` is no http URL"), hint: HINT }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut variables =
            vec![("DATABASE_URL", "mysql://euca:x@127.0.0.1:3306/eucapp"), ("S3_BUCKET", "b"), ("AWS_REGION", "r")];
        variables.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        variables.extend_from_slice(changes);
        Config::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_string())
        })
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = with(&[]).unwrap();
        assert_eq!(config.listen_address.to_string(), "0.0.0.0:80");
        assert_eq!(config.drain.as_secs(), 10);
        assert_eq!(config.database_connections, 5);
        assert!(!config.object_store.force_path_style);
    }

    #[test]
    fn every_refusal_names_its_variable() {
        for (name, value) in [
            ("LISTEN_ADDRESS", "eighty"),
            ("DATABASE_URL", "postgres://x/y"),
            ("DATABASE_URL", "mysql://host"),
            ("DATABASE_URL", ""),
            ("S3_BUCKET", " "),
            ("AWS_REGION", ""),
            ("S3_ENDPOINT", "10.77.0.1"),
            ("S3_PUBLIC_ENDPOINT", "ftp://x"),
            ("S3_FORCE_PATH_STYLE", "yes please"),
            ("DRAIN_SECONDS", "-1"),
            ("DATABASE_CONNECTIONS", "0"),
            ("SERVED_BY", "two\nlines"),
            ("UNDO_SECONDS", "soon"),
            ("LOG_FORMAT", "xml"),
            ("THUMBNAILS", "small"),
            ("WRITES_PER_MINUTE", "-1"),
            ("WRITE_TOKEN_SHA256", "open-sesame"),
        ] {
            let error = with(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{name}={value}: {error}");
            assert!(error.contains("hint: "), "{error}");
        }
        assert!(with(&[("DATABASE_CONFIG", "s3://b/k")]).unwrap_err().to_string().contains("DATABASE_CONFIG"));
        assert!(
            with(&[("DATABASE_URL", ""), ("DATABASE_CONFIG", "b/k")])
                .unwrap_err()
                .to_string()
                .starts_with("DATABASE_CONFIG")
        );
    }

    #[test]
    fn a_refused_database_url_is_not_repeated() {
        assert!(!with(&[("DATABASE_URL", "mysqll://euca:secret@h/d")]).unwrap_err().to_string().contains("secret"));
    }

    #[test]
    fn endpoints_with_a_path_end_in_a_slash() {
        let config =
            with(&[("S3_ENDPOINT", "http://10.77.0.1:8773/"), ("S3_PUBLIC_ENDPOINT", "http://h/services/Walrus")])
                .unwrap();
        assert_eq!(config.object_store.endpoint.as_deref(), Some("http://10.77.0.1:8773"));
        assert_eq!(config.object_store.public_endpoint.as_deref(), Some("http://h/services/Walrus/"));
    }
}
