//! The key pair for ssh. The cloud makes it; its private half is kept in the state directory.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_sdk_ec2::types::ResourceType;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::keys;

/// The key pair.
pub struct KeyPair {
    /// Where the private key is kept.
    pub private_key: PathBuf,
}

impl KeyPair {
    fn save(&self, material: &str) -> CloudResult<()> {
        let fail = |error: std::io::Error| {
            CloudError::other(format!("keeping the private key in {}: {error}", self.private_key.display()))
        };
        std::fs::remove_file(&self.private_key).ok(); // an older one may be read-only
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.private_key)
            .map_err(fail)?;
        file.write_all(material.as_bytes()).map_err(fail)
    }
}

#[async_trait]
impl Resource for KeyPair {
    fn key(&self) -> ResourceKey {
        keys::key_pair()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default()
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let name = cloud.name("ssh");
        let answer = cloud.ec2.describe_key_pairs().key_names(&name).send().await.map_err(CloudError::from);
        let Some(answer) = found(answer)? else { return Ok(None) };
        let Some(pair) = answer.key_pairs().first() else { return Ok(None) };
        let tags = pair.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)));
        cloud.check_ours(&format!("the key pair {name}"), tags)?;
        let detail = if self.private_key.exists() {
            self.private_key.display().to_string()
        } else {
            "its private key is not on this machine".to_owned()
        };
        Ok(Some(Observed::ready(name).detail(detail)))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let tags = cloud.tag_specification(ResourceType::KeyPair, &self.key());
        let create =
            cloud.ec2.create_key_pair().key_name(cloud.name("ssh")).set_tag_specifications(tags.map(|t| vec![t]));
        match create.send().await.map_err(CloudError::from) {
            Ok(pair) => self.save(pair.key_material().unwrap_or_default()),
            // Made by a run whose answer was lost, and with it the private key: make it anew.
            Err(error) if error.code() == "InvalidKeyPair.Duplicate" => {
                let delete = cloud.ec2.delete_key_pair().key_name(cloud.name("ssh"));
                gone(delete.send().await.map_err(CloudError::from))?;
                Err(CloudError::NotYet("one without its private key is being replaced".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.ec2.delete_key_pair().key_name(&observed.id).send().await.map_err(CloudError::from))?;
        std::fs::remove_file(&self.private_key).ok(); // useless from now on
        Ok(())
    }
}
