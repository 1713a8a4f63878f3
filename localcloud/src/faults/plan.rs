//! A plan of faults, as a file has it:
//!
//! ```toml
//! [[fault]]
//! action = "ec2.RunInstances"  # or RunInstances, ec2.*, Describe*, *; S3 is s3; groups' launches are
//!                              # autoscaling.RunInstances
//! effect = "drop-after"
//! nth = 2                      # which of the calls that fit; all of them without it
//! ```

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::hidden_objects;
use crate::{api, behaviour::matches, object_storage};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    #[serde(default, rename = "fault")]
    pub faults: Vec<Rule>,
}

/// Which calls are struck, and by what.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `Action` or `service.Action`, each `*` for any text.
    pub action: String,
    pub effect: Effect,
    /// Only the n-th call that fits, counted from 1.
    pub nth: Option<u64>,
    /// Every so manieth.
    pub every: Option<u64>,
    /// The first so many.
    pub first: Option<u64>,
    /// From this one on.
    pub from: Option<u64>,
    /// Each with this probability; which ones, the seed tells.
    pub probability: Option<f64>,
    pub seed: Option<u64>,
    /// No longer than this after the first call that fits.
    pub for_seconds: Option<f64>,
    /// How long a `delay` is.
    pub milliseconds: Option<u64>,
    /// How long `hide` hides.
    pub seconds: Option<f64>,
    /// From how many calls that would have seen it `hide` hides.
    pub calls: Option<u64>,
}

/// What becomes of a call that is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Refused: too many requests.
    Throttle,
    /// Refused with status 500.
    InternalError,
    /// Refused with status 503.
    Unavailable,
    /// Not carried out, and the connection is closed.
    DropBefore,
    /// Carried out, and the connection is closed without an answer.
    DropAfter,
    /// Carried out later.
    Delay,
    /// What it creates is not to be seen for a while.
    Hide,
    /// Refused for want of machines.
    InsufficientCapacity,
    /// Refused as something depends on what is to be deleted.
    DependencyViolation,
    /// Refused as if the session token had expired.
    ExpiredToken,
}

/// Why a plan is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The text is no plan.
    #[error("{0}")]
    Wrong(String),
    /// S3 could not be told of it.
    #[error("{0}")]
    Untold(String),
}

impl PlanError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::Wrong(format!("the plan of faults {} cannot be read: {error}", path.display()))
    }

    pub(super) fn untold(path: &Path, error: &std::io::Error) -> Self {
        Self::Untold(format!("S3 cannot be told of the faults in {}: {error}", path.display()))
    }

    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Wrong(why) => Self::Wrong(format!("{}: {why}", path.display())),
            untold @ Self::Untold(_) => untold,
        }
    }
}

/// By which a plan names S3.
pub const S3: &str = "s3";

/// Groups launch by no call of anybody's.
const GROUP_LAUNCH: (&str, &str) = ("autoscaling", "RunInstances");

impl Plan {
    /// # Errors
    /// Where it is no TOML, a key is unknown, or a rule could never strike.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let plan: Self =
            toml::from_str(text).map_err(|error| PlanError::Wrong(error.to_string().trim_end().to_owned()))?;
        let services = api::services();
        let names: Vec<(&str, &str)> = services
            .iter()
            .flat_map(|service| service.actions().map(|action| (service.signing_name, action)))
            .chain([GROUP_LAUNCH])
            .chain(object_storage::OPERATIONS.iter().map(|operation| (S3, *operation)))
            .collect();
        for (index, rule) in plan.faults.iter().enumerate() {
            rule.check(&names).map_err(|why| {
                PlanError::Wrong(format!("fault {} ({} of {}): {why}", index + 1, rule.effect.name(), rule.action))
            })?;
        }
        Ok(plan)
    }
}

impl Effect {
    /// Whether there is such a thing with this action. S3 sells no machines, and nothing there depends on anything but a
    /// bucket's end on its being empty.
    fn is_of(self, service: &str, action: &str) -> bool {
        service != S3
            || match self {
                Self::InsufficientCapacity => false,
                Self::DependencyViolation => action == "DeleteBucket",
                Self::Hide => hidden_objects::CREATING.contains(&action),
                _ => true,
            }
    }

    fn name(self) -> String {
        serde_json::to_string(&self).unwrap_or_default().trim_matches('"').to_owned()
    }
}

impl Rule {
    #[must_use]
    pub fn is_of(&self, service: &str, action: &str) -> bool {
        self.names(service, action) && self.effect.is_of(service, action)
    }

    fn names(&self, service: &str, action: &str) -> bool {
        match self.action.split_once('.') {
            Some((wanted, rest)) => matches(wanted, service) && matches(rest, action),
            None => matches(&self.action, action),
        }
    }

    /// Whether the n-th call that fits is struck.
    #[must_use]
    pub fn selects(&self, n: u64) -> bool {
        self.nth.is_none_or(|nth| n == nth)
            && self.every.is_none_or(|every| n.is_multiple_of(every))
            && self.first.is_none_or(|first| n <= first)
            && self.from.is_none_or(|from| n >= from)
            && self.probability.is_none_or(|probability| chance(self.seed.unwrap_or(0), n) < probability)
    }

    fn check(&self, names: &[(&str, &str)]) -> Result<(), String> {
        let named: Vec<_> = names.iter().filter(|(service, action)| self.names(service, action)).collect();
        if named.is_empty() {
            return Err("no action has this name\n\nhint: `localcloud actions` lists them; write ec2.RunInstances, RunInstances, ec2.* or Describe*".to_owned());
        }
        if !named.iter().any(|(service, action)| self.effect.is_of(service, action)) {
            return Err("this operation of S3 knows nothing of the kind\n\nhint: in S3 hide is for what creates buckets and objects, dependency-violation for DeleteBucket, insufficient-capacity for nothing".to_owned());
        }
        for (key, value) in [("nth", self.nth), ("every", self.every), ("first", self.first), ("from", self.from)] {
            if value == Some(0) {
                return Err(format!("{key} counts from 1"));
            }
        }
        if self.probability.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err("probability must be between 0 and 1".to_owned());
        }
        if self.seed.is_some() && self.probability.is_none() {
            return Err("seed has no meaning without probability".to_owned());
        }
        for (key, value) in [("for_seconds", self.for_seconds), ("seconds", self.seconds)] {
            if value.is_some_and(|value| !(0.0..=86_400.0).contains(&value)) {
                return Err(format!("{key} must be between 0 and 86400"));
            }
        }
        match self.effect {
            Effect::Delay if self.milliseconds.is_none() => return Err("it needs milliseconds".to_owned()),
            Effect::Delay if self.milliseconds.is_some_and(|value| value > 600_000) => {
                return Err("milliseconds must be at most 600000".to_owned());
            }
            Effect::Hide if self.seconds.is_none() && self.calls.is_none() => {
                return Err("it needs seconds or calls, for it to end".to_owned());
            }
            _ => {}
        }
        if self.effect != Effect::Delay && self.milliseconds.is_some() {
            return Err("milliseconds belongs to the effect delay".to_owned());
        }
        if self.effect != Effect::Hide && (self.seconds.is_some() || self.calls.is_some()) {
            return Err("seconds and calls belong to the effect hide; for_seconds ends a fault".to_owned());
        }
        Ok(())
    }
}

/// A number in 0..1 that looks random and is always the same for the same seed and call (SplitMix64).
fn chance(seed: u64, n: u64) -> f64 {
    let mut bits = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let fraction = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}
