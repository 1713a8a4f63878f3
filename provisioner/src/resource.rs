//! The central abstraction: one thing in the cloud that the stack owns.
//!
//! Planning, waiting, status, teardown and resuming are written once, over a list of these. Each
//! resource knows how to find itself by its tags (or a name that we chose), what it should look like,
//! and which single calls bring it there. It must not wait, retry, print or know who walks over it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;

/// What every call to the cloud answers.
pub type CloudResult<T> = Result<T, CloudError>;

/// Stable name of a resource inside its stack, `kind/name`; also the value of the tag `imagecrud:resource`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey(String);

impl ResourceKey {
    /// A key of a kind (an AWS noun) and a name inside the stack.
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{kind}/{name}"))
    }

    /// Reads `kind/name` back, as it stands in a tag.
    pub fn parse(text: &str) -> Option<Self> {
        text.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty())?;
        Some(Self(text.to_owned()))
    }

    /// The AWS noun, e.g. `volume`.
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(kind, _)| kind)
    }

    /// The name inside the stack, e.g. `mysql-data`.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an attribute should be: known now, or known once another resource is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A value in its normal form.
    Known(String),
    /// Known after that resource is created.
    AfterCreate(ResourceKey),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(text) => f.write_str(text),
            Self::AfterCreate(key) => write!(f, "(known after {key})"),
        }
    }
}

/// The attributes a resource is held to. What is left out is never compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired(pub BTreeMap<&'static str, Value>);

impl Desired {
    /// Adds a value known now.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.insert(name, Value::Known(value.to_string()));
        self
    }

    /// Adds a value that may depend on another resource.
    #[must_use]
    pub fn with_value(mut self, name: &'static str, value: Value) -> Self {
        self.0.insert(name, value);
        self
    }

    /// A digest of everything known, for client tokens.
    pub fn digest(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            text.push_str(&format!("{name}={value}\n"));
        }
        crate::state::sha256_hex(text.as_bytes())
    }
}

/// The attributes found in the cloud, in normal form (defaults filled in, lists sorted).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub BTreeMap<&'static str, String>);

impl Attributes {
    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.insert(name, value.to_string());
        self
    }

    /// Reads an attribute; empty where the cloud did not tell it.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// How far along a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There, not usable yet.
    Pending,
    /// Usable.
    Ready,
    /// Will not become usable by waiting.
    Failed,
    /// On its way out.
    Deleting,
}

impl Phase {
    /// The word shown in tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }
}

/// A resource as the cloud shows it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The cloud's id, or the name where names are ids.
    pub id: String,
    /// How far along it is.
    pub phase: Phase,
    /// What it looks like.
    pub attributes: Attributes,
    /// One line for people: a state reason, a count.
    pub detail: String,
}

impl Observed {
    /// A resource that is ready and has nothing more to say.
    pub fn ready(id: impl Into<String>) -> Self {
        Self { id: id.into(), phase: Phase::Ready, attributes: Attributes::default(), detail: String::new() }
    }

    /// Sets the phase.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.0.insert(name, value.to_string());
        self
    }

    /// Sets the line for people.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// What is known of the resources that are there already.
#[derive(Clone, Debug, Default)]
pub struct Outputs(BTreeMap<ResourceKey, Observed>);

impl Outputs {
    /// Notes a resource that is there.
    pub fn insert(&mut self, key: ResourceKey, observed: Observed) {
        self.0.insert(key, observed);
    }

    /// The id of a resource, or a promise of it.
    pub fn id(&self, key: &ResourceKey) -> Value {
        self.0.get(key).map_or_else(|| Value::AfterCreate(key.clone()), |o| Value::Known(o.id.clone()))
    }

    /// An attribute of a resource, or a promise of it.
    pub fn attribute(&self, key: &ResourceKey, name: &str) -> Value {
        self.0
            .get(key)
            .map_or_else(|| Value::AfterCreate(key.clone()), |o| Value::Known(o.attributes.get(name).to_owned()))
    }

    /// The id of a resource that must be there, as its `needs` say.
    pub fn require(&self, key: &ResourceKey) -> CloudResult<&str> {
        self.0
            .get(key)
            .map(|observed| observed.id.as_str())
            .ok_or_else(|| CloudError::other(format!("{key} is not there yet")))
    }
}

/// The differences that an update is to remove: name to (found, wanted).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(pub BTreeMap<&'static str, (String, String)>);

impl Changes {
    /// The wanted value of an attribute, where it is to change.
    pub fn to(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(_, to)| to.as_str())
    }
}

/// Makes a create that is sent twice happen once. See `state.rs` for what it is derived from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken(pub String);

/// Whether `teardown` may delete a resource without `--delete-data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Goes with every teardown.
    Delete,
    /// The user's data, or what makes sense only beside it.
    Data,
}

/// What a wait says while it lasts and when it has lasted too long.
#[derive(Clone, Debug)]
pub struct Patience {
    /// The longest we wait.
    pub limit: Duration,
    /// What we wait for: "the instance to run".
    pub what: &'static str,
    /// What the user can look at when it did not happen.
    pub hint: &'static str,
}

impl Patience {
    /// A wait of so many seconds.
    pub const fn secs(limit_secs: u64, what: &'static str, hint: &'static str) -> Self {
        Self { limit: Duration::from_secs(limit_secs), what, hint }
    }
}

/// One thing in the cloud that the stack owns.
#[async_trait]
pub trait Resource: Send + Sync {
    /// Stable name inside the stack, e.g. `volume/mysql-data`; written to the tag `imagecrud:resource`.
    fn key(&self) -> ResourceKey;

    /// What must be ready before this is created, and outlives it on teardown.
    fn needs(&self) -> Vec<ResourceKey>;

    /// Attributes we hold it to. What is left out here, or what `find` cannot tell, is never compared.
    fn desired(&self, known: &Outputs) -> Desired;

    /// Looks for it. Not there is `None`; so is what will never come back (a terminated instance).
    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>>;

    /// Creates it, with one effect even if called twice with the same token.
    async fn create(&self, cloud: &Cloud, known: &Outputs, token: &ClientToken) -> CloudResult<()>;

    /// Removes the differences.
    async fn update(&self, cloud: &Cloud, known: &Outputs, observed: &Observed, changes: &Changes) -> CloudResult<()>;

    /// Deletes it. Already gone is success.
    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()>;

    /// Attributes that cannot change in place; a difference there refuses the plan.
    fn immutable(&self) -> &'static [&'static str] {
        &[]
    }

    /// Why an immutable attribute is refused, and what to do.
    fn refusal_hint(&self) -> &'static str {
        "take the old value back into imagecrud.toml, or tear the stack down and bring it up again"
    }

    /// Whether `teardown` may delete it without `--delete-data`.
    fn retention(&self) -> Retention {
        Retention::Delete
    }

    /// The resource whose deletion takes this one with it, so that teardown need not delete it by itself.
    fn goes_with(&self) -> Option<ResourceKey> {
        None
    }

    /// Whether nothing is created: then to create it is to wait for it.
    fn is_awaited(&self) -> bool {
        false
    }

    /// How long it may take to become ready, and what to say about it.
    fn patience(&self) -> Patience {
        Patience::secs(60, "it to appear", "run `imagecrud-deploy up` again: it goes on from here")
    }

    /// One look while waiting. As `find`, but may tell from what is known that waiting is in vain.
    async fn poll(&self, cloud: &Cloud, _known: &Outputs) -> CloudResult<Option<Observed>> {
        self.find(cloud).await
    }

    /// What stands in the way, for the message of a wait that failed: console output, a blocker's id.
    async fn explain(&self, _cloud: &Cloud) -> Option<String> {
        None
    }
}
