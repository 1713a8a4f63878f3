//! Renders the user-data of the two kinds of VM from the embedded files of `cloud-init/`. Anyone who may describe an
//! instance can read it, so no secret stands in it but, on clouds without instance profiles, the VM's own access key.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use crate::cloud::retry::CloudError;
use crate::resource::CloudResult;
use crate::resources::access_key::KeyPair;
use crate::resources::own_database::AUTHORITY_KEY;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/cloud_init.rs"));
}

/// EC2's limit, counted before base64.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html
pub const LIMIT_BYTES: usize = 16 * 1024;

/// What both kinds of VM are told.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The stack's name.
    pub stack: String,
    /// The region, for signatures.
    pub region: String,
    /// S3 as VMs reach it, no slash at the end.
    pub s3_endpoint: String,
    /// S3 as browsers reach it, or empty.
    pub s3_public_endpoint: String,
    /// Whether buckets stand in the path.
    pub s3_path_style: bool,
    /// The stack's bucket.
    pub bucket: String,
    /// The VM's own key, where it has no instance profile.
    pub access_key: Option<KeyPair>,
}

/// What the database VM is told besides.
#[derive(Clone, Debug, Default)]
pub struct DatabaseFacts {
    /// What both are told.
    pub facts: Facts,
    /// The data volume.
    pub volume_id: String,
    /// Where it is attached.
    pub device: String,
}

/// What the web VMs are told besides.
#[derive(Clone, Debug, Default)]
pub struct WebFacts {
    /// What both are told.
    pub facts: Facts,
    /// The app's object.
    pub bundle_key: String,
    /// Its hash.
    pub bundle_sha256: String,
    /// The hash of the database's authority, where it has one of its own.
    pub database_authority_sha256: Option<String>,
    /// Who may change pictures.
    pub writers: Writers,
}

/// Who may change pictures, and how often: everybody, as often as they like, unless this says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writers {
    /// The hash of what they have to send.
    pub token_sha256: Option<String>,
    /// How many changes may come from one address.
    pub writes_per_minute: Option<u32>,
}

fn template_value(key: &KeyPair) -> Value {
    Value::from_pairs([
        ("access_key_id", key.access_key_id.as_str()),
        ("secret_access_key", key.secret_access_key.as_str()),
    ])
}

type Variables = Vec<(&'static str, Value)>;

impl Facts {
    /// The same, with a key.
    #[must_use]
    pub fn with_key(mut self, access_key: Option<KeyPair>) -> Self {
        self.access_key = access_key;
        self
    }

    fn variables(&self) -> Variables {
        vec![
            ("stack", Value::from(&self.stack)),
            ("region", Value::from(&self.region)),
            ("s3_endpoint", Value::from(&self.s3_endpoint)),
            ("s3_public_endpoint", Value::from(&self.s3_public_endpoint)),
            ("s3_path_style", Value::from(self.s3_path_style)),
            ("bucket", Value::from(&self.bucket)),
            ("access_key", self.access_key.as_ref().map_or_else(|| Value::from(()), template_value)),
        ]
    }
}

/// The user-data of the database VM.
pub fn database(facts: &DatabaseFacts) -> CloudResult<String> {
    let mut variables = facts.facts.variables();
    variables.push(("volume_id", Value::from(&facts.volume_id)));
    variables.push(("device", Value::from(&facts.device)));
    render("database", embedded::DATABASE, variables)
}

/// The user-data of a web VM.
pub fn web(facts: &WebFacts) -> CloudResult<String> {
    let mut variables = facts.facts.variables();
    variables.push(("bundle_key", Value::from(&facts.bundle_key)));
    variables.push(("bundle_sha256", Value::from(&facts.bundle_sha256)));
    variables.push(("database_authority_key", Value::from(AUTHORITY_KEY)));
    variables
        .push(("database_authority_sha256", Value::from(facts.database_authority_sha256.as_deref().unwrap_or(""))));
    variables.push(("write_token_sha256", Value::from(facts.writers.token_sha256.as_deref().unwrap_or(""))));
    variables.push(("writes_per_minute", Value::from(facts.writers.writes_per_minute.unwrap_or(0))));
    render("web", embedded::WEB, variables)
}

/// The two kinds of VM.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum VmKind {
    Database,
    Web,
}

/// User-data with made-up facts, as cloud-init's own checker may see it.
pub fn sample(kind: VmKind) -> CloudResult<String> {
    let facts = sample_facts();
    match kind {
        VmKind::Database => {
            database(&DatabaseFacts { facts, volume_id: "vol-12345678".into(), device: "/dev/vdf".into() })
        }
        VmKind::Web => {
            let bundle_sha256 = "0".repeat(64);
            web(&WebFacts {
                facts,
                bundle_key: format!("bundle/{bundle_sha256}/imagecrud"),
                database_authority_sha256: Some(bundle_sha256.clone()),
                writers: Writers { token_sha256: Some(bundle_sha256.clone()), writes_per_minute: Some(1_000_000) },
                bundle_sha256,
            })
        }
    }
}

fn sample_facts() -> Facts {
    Facts {
        stack: "imagecrud".into(),
        region: "localcloud".into(),
        s3_endpoint: "http://10.77.0.1:8773".into(),
        s3_public_endpoint: "http://s3.localhost:8773".into(),
        s3_path_style: true,
        bucket: "imagecrud-0123456789".into(),
        // The longer of the two: what is within the limit with a key is so without.
        access_key: Some(KeyPair { access_key_id: "A".repeat(20), secret_access_key: "s".repeat(40) }),
    }
}

fn render(kind: &str, files: &[(&str, &str)], mut variables: Variables) -> CloudResult<String> {
    let fail =
        |error: minijinja::Error| CloudError::other(format!("rendering cloud-init/{kind}/user-data.yaml: {error:#}"));
    let Some((_, template)) = files.iter().find(|(name, _)| *name == "user-data.yaml") else {
        return Err(CloudError::other(format!("this build has no cloud-init/{kind}/user-data.yaml")));
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // By its name the template would have every value made JSON; it says itself where it wants that.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let others = files.iter().filter(|(name, _)| *name != "user-data.yaml");
    variables.push(("files", Value::from_pairs(others.map(|(name, text)| (*name, *text)))));
    let context = Value::from_pairs(variables);
    let mut text = environment.render_named_str("user-data.yaml", template, context).map_err(fail)?;
    text.truncate(text.trim_end().len());
    text.push('\n');
    if text.len() > LIMIT_BYTES {
        return Err(CloudError::other(format!(
            "the user-data of the {kind} VM has {} bytes; clouds take at most {LIMIT_BYTES}",
            text.len()
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_render_within_the_limit() {
        let database = sample(VmKind::Database).unwrap();
        let web = sample(VmKind::Web).unwrap();
        for text in [&database, &web] {
            assert!(text.starts_with("#cloud-config"), "{text}");
            assert!(text.contains("imagecrud-0123456789") && !text.contains("{{"), "{text}");
        }
        assert!(database.contains("vol-12345678"));
        assert!(web.contains(&"0".repeat(64)));
    }

    #[test]
    fn only_a_vm_without_a_profile_has_a_secret_and_only_root_may_read_it_there() {
        let secret = "s".repeat(40);
        let with = sample(VmKind::Web).unwrap();
        assert!(with.contains(&secret) && with.contains("permissions: \"0600\""), "{with}");
        let facts = sample_facts().with_key(None);
        let web = web(&WebFacts { facts: facts.clone(), ..WebFacts::default() }).unwrap();
        let database = database(&DatabaseFacts { facts, ..DatabaseFacts::default() }).unwrap();
        for text in [web, database] {
            assert!(!text.contains(&secret) && !text.contains("permissions: \"0600\""), "{text}");
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_and_too_much_is_refused() {
        let error = render("x", &[("user-data.yaml", "{{ nothing }}")], sample_facts().variables()).unwrap_err();
        assert!(error.to_string().contains("cloud-init/x/user-data.yaml"), "{error}");
        let long = "x".repeat(LIMIT_BYTES);
        let error = render("x", &[("user-data.yaml", "{{ files['a'] }}!"), ("a", &long)], sample_facts().variables())
            .unwrap_err();
        assert!(error.to_string().contains("16386 bytes"), "{error}");
    }

    #[test]
    fn a_script_becomes_one_json_string() {
        let script = "#!/bin/sh\necho \"it's\" <here> && true\n";
        let template = "content: {{ files['a.sh'] | tojson }}";
        let text = render("x", &[("user-data.yaml", template), ("a.sh", script)], sample_facts().variables()).unwrap();
        let json = text.strip_prefix("content: ").unwrap().trim_end();
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), script);
    }
}
