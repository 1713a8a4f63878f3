//! What a web VM is launched with, whether the cloud keeps it as a template or as a configuration. Two specs
//! with the same digest launch the same VM: that is how a new version is told from the old one. A version that
//! was rolled back is not brought again by what declares the very same one.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::plan::Sightings;
use crate::resource::{Attributes, CloudResult, Desired, Outputs, Resource, ResourceKey, Value};
use crate::resources::access_key::Access;
use crate::resources::bundle::LocalBinary;
use crate::resources::keys;
use crate::state::sha256_hex;
use crate::user_data::{self, Facts, WebFacts, Writers};

/// The attributes that make a version.
const PARTS: [&str; 7] =
    ["image_id", "instance_type", "key_name", "security_group", "instance_profile", "metadata_tokens", "user_data"];

/// Among the desired attributes where something else is declared than is wanted. No cloud tells it, so it is
/// never compared.
const HELD_BACK: &str = "held_back";

/// What to say where the declared version is held back.
pub fn held_back(resources: &[Box<dyn Resource>], sightings: &Sightings) -> Option<&'static str> {
    let mut known = Outputs::default();
    for (key, observed) in sightings {
        if let Some(observed) = observed {
            known.insert(key.clone(), observed.clone());
        }
    }
    resources.iter().any(|resource| resource.desired(&known).0.contains_key(HELD_BACK)).then_some(
        "what this binary and these settings make was rolled back: the version in service stays\n\
         (`imagecrud-deploy versions` lists them, `imagecrud-deploy rollback VERSION` brings one again)",
    )
}

/// The spec.
#[derive(Clone, Debug, Default)]
pub struct LaunchSpec {
    /// The image.
    pub image_id: String,
    /// The instance type.
    pub instance_type: String,
    /// What the user-data says.
    pub facts: Facts,
    /// The app's binary.
    pub binary: LocalBinary,
    /// Whether its metadata is told to token holders only.
    pub metadata_tokens: bool,
    /// How it comes by its credentials.
    pub access: Access,
    /// The hash of the authority that signed the certificate of the user's own database.
    pub database_authority_sha256: Option<String>,
    /// Who may change pictures.
    pub writers: Writers,
    /// Filled in by the look at the cloud, for all copies of this spec.
    pub held: Arc<Mutex<Option<Held>>>,
}

/// Versions that were rolled back, and the one that stays instead of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Their digests.
    pub rolled_back: Vec<String>,
    /// What is in service.
    pub instead: Attributes,
}

impl LaunchSpec {
    /// What a launch needs to be there.
    pub fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::bundle(), keys::key_pair(), keys::security_group("web"), self.access.need("web")]
    }

    /// The rendered user-data, in base64.
    pub fn user_data(&self) -> CloudResult<String> {
        let text = user_data::web(&WebFacts {
            facts: self.facts.clone().with_key(self.access.key()),
            bundle_key: self.binary.object_key(),
            bundle_sha256: self.binary.sha256.clone(),
            database_authority_sha256: self.database_authority_sha256.clone(),
            writers: self.writers.clone(),
        })?;
        Ok(STANDARD.encode(text))
    }

    /// Notes what the cloud told of versions that were rolled back.
    pub(crate) fn hold(&self, held: Option<Held>) {
        if let Ok(mut place) = self.held.lock() {
            *place = held;
        }
    }

    /// The attributes of a version: what is declared, unless that was rolled back.
    pub fn desired(&self, known: &Outputs) -> Desired {
        let declared = self.declared(known);
        let Ok(held) = self.held.lock() else { return declared };
        match (&*held, digest_of(&declared)) {
            (Some(held), Value::Known(digest))
                if held.rolled_back.contains(&digest) && held.instead.get("digest") != digest =>
            {
                let parts = PARTS.iter().map(|part| (*part, Value::Known(held.instead.get(part).to_owned())));
                Desired(parts.collect()).with(HELD_BACK, "yes")
            }
            _ => declared,
        }
    }

    fn declared(&self, known: &Outputs) -> Desired {
        let user_data = || digest_of_user_data(&self.user_data().unwrap_or_else(|error| error.to_string()));
        let need = known.id(&self.access.need("web"));
        let (profile, user_data) = match (&self.access, need) {
            (Access::Profile, profile) => (profile, Value::Known(user_data())),
            (Access::Key(_), Value::Known(_)) => (Value::Known(String::new()), Value::Known(user_data())),
            (Access::Key(_), later) => (Value::Known(String::new()), later),
        };
        Desired::default()
            .with("image_id", &self.image_id)
            .with("instance_type", &self.instance_type)
            .with_value("key_name", known.id(&keys::key_pair()))
            .with_value("security_group", known.id(&keys::security_group("web")))
            .with_value("instance_profile", profile)
            .with("metadata_tokens", metadata_tokens(self.metadata_tokens))
            .with_value("user_data", user_data)
    }

    /// The digest of the version, once everything in it is known.
    pub fn digest(&self, known: &Outputs) -> Value {
        digest_of(&self.desired(known))
    }
}

/// How a version says whether it wants tokens.
pub fn metadata_tokens(required: bool) -> &'static str {
    if required { "required" } else { "optional" }
}

fn digest_of(desired: &Desired) -> Value {
    let mut attributes = Attributes::default();
    for (name, value) in &desired.0 {
        match value {
            Value::Known(text) => attributes = attributes.with(name, text),
            later @ Value::AfterCreate(_) => return later.clone(),
        }
    }
    Value::Known(digest(&attributes))
}

/// A short digest of user-data as the cloud keeps it, in base64.
pub fn digest_of_user_data(base64: &str) -> String {
    let bytes = STANDARD.decode(base64).unwrap_or_else(|_| base64.as_bytes().to_vec());
    sha256_hex(&bytes)[..12].to_owned()
}

/// The digest of a version as found.
pub fn digest(attributes: &Attributes) -> String {
    let text: String = PARTS.iter().map(|part| format!("{part}={}\n", attributes.get(part))).collect();
    sha256_hex(text.as_bytes())[..12].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Observed;

    #[test]
    fn a_version_is_known_by_its_content_and_only_once_all_of_it_is_there() {
        let spec = LaunchSpec { image_id: "ami-1".into(), instance_type: "t3.micro".into(), ..Default::default() };
        let mut known = Outputs::default();
        assert!(matches!(spec.digest(&known), Value::AfterCreate(_)));
        for need in spec.needs() {
            known.insert(need.clone(), Observed::ready(need.name()));
        }
        let Value::Known(digest) = spec.digest(&known) else { panic!("not known") };
        let newer = LaunchSpec { binary: LocalBinary { sha256: "f".into(), ..Default::default() }, ..spec.clone() };
        assert_ne!(newer.digest(&known), Value::Known(digest.clone()));
        let mut found = Attributes::default();
        for (name, value) in spec.desired(&known).0 {
            found = found.with(name, value);
        }
        assert_eq!(super::digest(&found), digest);
    }

    #[test]
    fn what_was_rolled_back_is_not_declared_again_but_anything_newer_is() {
        let spec = LaunchSpec { image_id: "ami-1".into(), ..Default::default() };
        let mut known = Outputs::default();
        for need in spec.needs() {
            known.insert(need.clone(), Observed::ready(need.name()));
        }
        let Value::Known(rolled_back) = spec.digest(&known) else { panic!("not known") };
        let instead = PARTS.iter().fold(Attributes::default(), |a, part| a.with(part, "former"));
        let former = Value::Known(super::digest(&instead));
        let held = Arc::new(Mutex::new(Some(Held { rolled_back: vec![rolled_back], instead })));
        let same = LaunchSpec { held: held.clone(), ..spec.clone() };
        assert_eq!(same.digest(&known), former);
        let newer = LaunchSpec { image_id: "ami-2".into(), held, ..spec };
        assert_ne!(newer.digest(&known), former);
    }
}
