//! Access keys of the VMs' users, for clouds without instance profiles. A VM can come by one in no other way than by
//! its user-data, which everybody may read who may describe it; so the key may no more than its kind of VM must.
//! The cloud tells a secret once: it is kept in the private bucket beside the database password. A web VM's key is
//! made anew when it is old; the database VM's when there is a new VM, as user-data cannot follow.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_iam::types::AccessKeyMetadata;
use serde::{Deserialize, Serialize};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::{database_instance, keys};

/// https://docs.aws.amazon.com/IAM/latest/UserGuide/id-credentials-access-keys-update.html
const OLD_AFTER: Duration = Duration::from_secs(90 * 24 * 3600);

/// A key and its secret, which does not print.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// Its id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The key as this run knows it, shared with what renders it into user-data.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<Option<KeyPair>>>);

impl Known {
    /// The key, once it was found or made.
    pub fn get(&self) -> Option<KeyPair> {
        self.0.lock().ok()?.clone()
    }

    fn set(&self, pair: KeyPair) {
        if let Ok(mut known) = self.0.lock() {
            *known = Some(pair);
        }
    }
}

/// How a VM comes by its credentials.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// By its instance profile.
    #[default]
    Profile,
    /// By an access key in its user-data.
    Key(Known),
}

impl Access {
    /// What has to be there before a launch.
    pub fn need(&self, vm: &'static str) -> ResourceKey {
        match self {
            Self::Profile => keys::instance_profile(vm),
            Self::Key(_) => keys::access_key(vm),
        }
    }

    /// The profile to launch with.
    pub fn profile(&self, known: &Outputs, vm: &'static str) -> CloudResult<Option<String>> {
        match self {
            Self::Profile => known.require(&keys::instance_profile(vm)).map(|name| Some(name.to_owned())),
            Self::Key(_) => Ok(None),
        }
    }

    /// The key to put into user-data.
    pub fn key(&self) -> Option<KeyPair> {
        match self {
            Self::Profile => None,
            Self::Key(known) => known.get(),
        }
    }
}

/// The current key of a user.
pub struct AccessKey {
    /// `web` or `database`.
    pub name: &'static str,
    /// Where it is told to others.
    pub known: Known,
}

fn object_key(name: &str) -> String {
    format!("config/access-key-{name}.json")
}

async fn kept(cloud: &Cloud, name: &str) -> CloudResult<Option<KeyPair>> {
    let get = cloud.s3.get_object().bucket(cloud.bucket()).key(object_key(name)).send().await;
    let Some(object) = found(get.map_err(CloudError::from))? else { return Ok(None) };
    let body = object.body.collect().await.map_err(|error| CloudError::Transport(error.to_string()))?;
    Ok(serde_json::from_slice(&body.into_bytes()).ok())
}

/// The user's keys as IAM has them.
async fn issued(cloud: &Cloud, name: &str) -> CloudResult<Vec<AccessKeyMetadata>> {
    let ask = async {
        let list = cloud.iam.list_access_keys().user_name(cloud.regional_name(name)).send().await;
        let answer = found(list.map_err(CloudError::from))?;
        Ok(answer.map(|answer| answer.access_key_metadata().to_vec()).unwrap_or_default())
    };
    cloud.once(if name == "web" { "keys of web" } else { "keys of database" }, ask).await
}

async fn forget(cloud: &Cloud, name: &str, id: &str) -> CloudResult<()> {
    let delete = cloud.iam.delete_access_key().user_name(cloud.regional_name(name)).access_key_id(id);
    gone(delete.send().await.map_err(CloudError::from))
}

fn is_old(key: &AccessKeyMetadata) -> bool {
    let created = key.create_date().and_then(|date| SystemTime::try_from(*date).ok());
    created.is_some_and(|created| created.elapsed().is_ok_and(|age| age > OLD_AFTER))
}

impl AccessKey {
    /// Makes a key and keeps it. The former one stays while web VMs run with it; of a database VM there is none then.
    /// Others are of runs that were cut off before they kept theirs.
    async fn issue(&self, cloud: &Cloud, former: Option<&str>) -> CloudResult<()> {
        let former = former.filter(|_| self.name == "web");
        for key in issued(cloud, self.name).await? {
            if let Some(id) = key.access_key_id().filter(|id| Some(*id) != former) {
                forget(cloud, self.name, id).await?;
            }
        }
        let create = cloud.iam.create_access_key().user_name(cloud.regional_name(self.name)).send().await?;
        let Some(key) = create.access_key() else { return Err(CloudError::other("the cloud told no key")) };
        let pair = KeyPair {
            access_key_id: key.access_key_id().to_owned(),
            secret_access_key: key.secret_access_key().to_owned(),
        };
        let body = serde_json::to_vec(&pair).map_err(|error| CloudError::other(error.to_string()))?;
        cloud.s3.put_object().bucket(cloud.bucket()).key(object_key(self.name)).body(body.into()).send().await?;
        self.known.set(pair);
        Ok(())
    }
}

#[async_trait]
impl Resource for AccessKey {
    fn key(&self) -> ResourceKey {
        keys::access_key(self.name)
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::user(self.name), keys::bucket()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default().with("age", "young")
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let (kept, issued) = tokio::join!(kept(cloud, self.name), issued(cloud, self.name));
        let (Some(pair), issued) = (kept?, issued?) else { return Ok(None) };
        let Some(key) = issued.iter().find(|key| key.access_key_id() == Some(&pair.access_key_id)) else {
            return Ok(None);
        };
        let in_use = self.name == "database" && database_instance::current(cloud).await?.is_some();
        let age = if is_old(key) && !in_use { "old" } else { "young" };
        let id = pair.access_key_id.clone();
        self.known.set(pair);
        Ok(Some(Observed::ready(id).with("age", age)))
    }

    /// Where the secret was lost, VMs may still run with the key: the oldest, as strays of cut-off runs are younger.
    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let issued = issued(cloud, self.name).await?;
        let oldest = issued.iter().min_by_key(|key| key.create_date().map(|date| date.as_nanos()));
        self.issue(cloud, oldest.and_then(|key| key.access_key_id())).await
    }

    async fn update(&self, cloud: &Cloud, _: &Outputs, observed: &Observed, _: &Changes) -> CloudResult<()> {
        self.issue(cloud, Some(&observed.id)).await
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        forget(cloud, self.name, &observed.id).await?;
        let delete = cloud.s3.delete_object().bucket(cloud.bucket()).key(object_key(self.name));
        gone(delete.send().await.map_err(CloudError::from))
    }
}

/// No web VM runs with a former key once the rollout is done: then that key goes.
pub struct FormerAccessKeys;

#[async_trait]
impl Resource for FormerAccessKeys {
    fn key(&self) -> ResourceKey {
        keys::access_key("web-former")
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::access_key("web"), keys::rollout()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default().with("former", 0)
    }

    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::user("web"))
    }

    fn is_awaited(&self) -> bool {
        true
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        Ok(match issued(cloud, "web").await?.len() {
            0 => None,
            keys => Some(Observed::ready(cloud.regional_name("web")).with("former", keys - 1)),
        })
    }

    async fn create(&self, _: &Cloud, _: &Outputs, _: &ClientToken) -> CloudResult<()> {
        Ok(())
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        let current = known.require(&keys::access_key("web"))?;
        for key in issued(cloud, "web").await? {
            if let Some(id) = key.access_key_id().filter(|id| *id != current) {
                forget(cloud, "web", id).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, _: &Cloud, _: &Observed) -> CloudResult<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let pair = KeyPair { access_key_id: "AKI".into(), secret_access_key: "hidden".into() };
        let known = Known::default();
        known.set(pair.clone());
        let printed = format!("{pair:?} {:?}", Access::Key(known));
        assert!(printed.contains("AKI") && !printed.contains("hidden"), "{printed}");
    }

    #[test]
    fn a_key_is_old_after_ninety_days() {
        let created = |days: u64| {
            let date = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            is_old(&AccessKeyMetadata::builder().create_date(date.into()).build())
        };
        assert!(created(91) && !created(89));
    }
}
