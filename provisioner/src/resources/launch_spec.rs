//! What a web VM is launched with, whether the cloud keeps it as a template or as a configuration. Two specs
//! with the same digest launch the same VM: that is how a new version is told from the old one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::resource::{Attributes, CloudResult, Desired, Outputs, ResourceKey, Value};
use crate::resources::access_key::Access;
use crate::resources::bundle::LocalBinary;
use crate::resources::keys;
use crate::state::sha256_hex;
use crate::user_data::{self, Facts, WebFacts};

/// The attributes that make a version.
const PARTS: [&str; 7] =
    ["image_id", "instance_type", "key_name", "security_group", "instance_profile", "metadata_tokens", "user_data"];

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
        })?;
        Ok(STANDARD.encode(text))
    }

    /// The attributes of a version.
    pub fn desired(&self, known: &Outputs) -> Desired {
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
        let mut attributes = Attributes::default();
        for (name, value) in self.desired(known).0 {
            match value {
                Value::Known(text) => attributes = attributes.with(name, text),
                later @ Value::AfterCreate(_) => return later,
            }
        }
        Value::Known(digest(&attributes))
    }
}

/// How a version says whether it wants tokens.
pub fn metadata_tokens(required: bool) -> &'static str {
    if required { "required" } else { "optional" }
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
}
