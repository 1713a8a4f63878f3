//! The key pair for ssh. The cloud makes it; its private half is kept in the state directory.

use std::io::Write;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, KeyType, ResourceType};

use crate::cloud::Cloud;
use crate::cloud::retry::{Class, CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::database_instance::is_alive;
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
        let directory = self.private_key.parent().unwrap_or(Path::new("."));
        // Readable by nobody else from the beginning, and there as a whole or not at all.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(fail)?;
        // ssh takes no key whose last line does not end.
        writeln!(file, "{}", material.trim_end()).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
        file.persist(&self.private_key).map_err(|error| fail(error.error))?;
        Ok(())
    }
}

/// Whether an instance was launched with a key: then whoever has its private half may need it.
async fn is_in_use(cloud: &Cloud, name: &str) -> CloudResult<bool> {
    let filter = Filter::builder().name("key-name").values(name).build();
    let answer = cloud.ec2.describe_instances().filters(filter).send().await.map_err(CloudError::from);
    let answer = found(answer)?;
    Ok(answer.iter().flat_map(|answer| answer.reservations()).flat_map(|r| r.instances()).any(is_alive))
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
        Desired::default().with("private_key", "on this machine")
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
        let observed = Observed::ready(&name).detail(detail);
        // Of a run whose answer was lost: nobody has the private half.
        if !self.private_key.exists() && !is_in_use(cloud, &name).await? {
            return Ok(Some(observed.with("private_key", "lost")));
        }
        Ok(Some(observed))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let tags = cloud.tag_specification(ResourceType::KeyPair, &self.key());
        let create = |kind: Option<KeyType>| {
            let create = cloud.ec2.create_key_pair().key_name(cloud.name("ssh")).set_key_type(kind);
            create.set_tag_specifications(tags.clone().map(|tags| vec![tags])).send()
        };
        // Made in no time, where an RSA pair takes a cloud so long that every launch waits for it.
        let mut answer = create(Some(KeyType::Ed25519)).await.map_err(CloudError::from);
        if let Err(error) = &answer
            && (error.class() == Class::Unsupported || error.to_string().to_ascii_lowercase().contains("keytype"))
        {
            answer = create(None).await.map_err(CloudError::from); // AWS has others than RSA since 2021 only
        }
        match answer {
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

    /// One whose private half is lost is made anew.
    async fn update(&self, cloud: &Cloud, known: &Outputs, observed: &Observed, _: &Changes) -> CloudResult<()> {
        gone(cloud.ec2.delete_key_pair().key_name(&observed.id).send().await.map_err(CloudError::from))?;
        let token = ClientToken(String::new()); // it takes none
        self.create(cloud, known, &token).await
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.ec2.delete_key_pair().key_name(&observed.id).send().await.map_err(CloudError::from))?;
        std::fs::remove_file(&self.private_key).ok(); // useless from now on
        Ok(())
    }
}
