//! Points in time, to the millisecond, as AWS writes them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::wire::value::TIMESTAMP;

/// A point in time, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since the epoch fit")]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1000.0).round() as i64)
    }

    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch are below 2^53")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    #[must_use]
    pub fn plus_secs(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// The begin of the period that it lies in: a multiple of the period's length since the epoch.
    #[must_use]
    pub fn floor_to(self, period_secs: u32) -> Self {
        let period_millis = i64::from(period_secs.max(1)) * 1000;
        Self(self.0.div_euclid(period_millis).saturating_mul(period_millis))
    }

    /// Seconds that have gone by since; negative for a time to come.
    #[must_use]
    pub fn age_secs(self, now: Self) -> f64 {
        now.seconds() - self.seconds()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(time: jiff::Timestamp) -> Self {
        Self(time.as_millisecond())
    }
}

impl std::fmt::Display for Timestamp {
    /// `2026-11-24T03:04:05.678Z`
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(formatter, "{time:.3}"),
            Err(_) => write!(formatter, "{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TIMESTAMP, &self.seconds())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a time such as 2026-11-24T03:04:05Z")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Timestamp, D::Error> {
                deserializer.deserialize_any(self)
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timestamp, E> {
                Ok(Timestamp::from_seconds(seconds))
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(seconds * 1000))
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
                i64::try_from(seconds).map_err(E::custom).and_then(|seconds| self.visit_i64(seconds))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                // A time without a zone is UTC, as old clients write it.
                let parsed = text.parse::<jiff::Timestamp>().or_else(|_| format!("{text}Z").parse::<jiff::Timestamp>());
                parsed
                    .map(|time| Timestamp(time.as_millisecond()))
                    .map_err(|_| E::custom(format!("`{text}` is not a time such as 2026-11-24T03:04:05Z")))
            }
        }
        deserializer.deserialize_newtype_struct(TIMESTAMP, Visitor)
    }
}
