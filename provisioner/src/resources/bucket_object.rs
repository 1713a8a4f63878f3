//! Small objects the provisioner keeps in the bucket: the marker by which the bucket is found again, and
//! the database password. Both are written once and never changed.

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey, Retention,
};
use crate::resources::{bucket, keys};

/// Tells whose bucket it is.
pub const MARKER_KEY: &str = "config/stack.json";
/// The password of the MySQL user.
pub const PASSWORD_KEY: &str = "config/database-password";

const PASSWORD_ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// What an object holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The stack's name and id.
    StackMarker,
    /// A random password, made when it is first written.
    DatabasePassword,
}

/// One object.
pub struct BucketObject(pub Content);

impl BucketObject {
    fn object_key(&self) -> &'static str {
        match self.0 {
            Content::StackMarker => MARKER_KEY,
            Content::DatabasePassword => PASSWORD_KEY,
        }
    }
}

#[async_trait]
impl Resource for BucketObject {
    fn key(&self) -> ResourceKey {
        match self.0 {
            Content::StackMarker => keys::stack_marker(),
            Content::DatabasePassword => keys::database_password(),
        }
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::bucket()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default()
    }

    fn retention(&self) -> Retention {
        Retention::Data
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let keys = bucket::configuration(cloud).await?.unwrap_or_default();
        Ok(keys.iter().any(|key| key == self.object_key()).then(|| Observed::ready(self.object_key())))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        // A password that a lost answer left behind must not be rewritten: a VM may have read it already.
        let head = cloud.s3.head_object().bucket(cloud.bucket()).key(self.object_key()).send().await;
        if found(head.map_err(CloudError::from))?.is_some() {
            return Ok(());
        }
        if self.0 == Content::StackMarker {
            return bucket::mark(cloud).await;
        }
        let password = crate::state::random_text(32, PASSWORD_ALPHABET).into_bytes();
        cloud.s3.put_object().bucket(cloud.bucket()).key(self.object_key()).body(password.into()).send().await?;
        Ok(())
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, _observed: &Observed) -> CloudResult<()> {
        let delete = cloud.s3.delete_object().bucket(cloud.bucket()).key(self.object_key());
        gone(delete.send().await.map_err(CloudError::from))
    }

    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::bucket())
    }
}
