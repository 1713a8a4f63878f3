//! The stack's private bucket: pictures, configuration, the app's binary.

use async_trait::async_trait;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier, PublicAccessBlockConfiguration,
};

use crate::cloud::Cloud;
use crate::cloud::retry::{Class, CloudError, found, gone};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey, Retention,
};
use crate::resources::bucket_object::MARKER_KEY;
use crate::resources::keys;

/// The bucket.
pub struct Bucket;

/// Closes the bucket to the public and then writes its marker: where that stands, both are done.
pub(crate) async fn mark(cloud: &Cloud) -> CloudResult<()> {
    // AWS blocks public access by itself since 2023, but not in accounts that switched it off; Walrus has
    // no such call. https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    let put = cloud.s3.put_public_access_block().bucket(cloud.bucket()).public_access_block_configuration(block);
    if let Err(error) = put.send().await.map_err(CloudError::from) {
        let may_pass = error.answer_lost() || matches!(error.class(), Class::RefusedForNow | Class::Missing);
        if error.class() == Class::Denied || may_pass && error.class() != Class::Unsupported {
            return Err(error);
        }
        tracing::debug!(%error, "the cloud takes no public access block");
    }
    let marker = serde_json::json!({ "stack": cloud.stack, "stack_id": cloud.stack_id }).to_string();
    cloud.s3.put_object().bucket(cloud.bucket()).key(MARKER_KEY).body(marker.into_bytes().into()).send().await?;
    Ok(())
}

/// The keys under which the stack's configuration stands; none where there is no bucket.
pub(crate) async fn configuration(cloud: &Cloud) -> CloudResult<Option<Vec<String>>> {
    let ask = async {
        let list = cloud.s3.list_objects_v2().bucket(cloud.bucket()).prefix("config/").send().await;
        let listing = found(list.map_err(CloudError::from))?;
        let keys = |listing: ListObjectsV2Output| {
            listing.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect()
        };
        Ok(listing.map(keys))
    };
    cloud.once("configuration", ask).await
}

#[async_trait]
impl Resource for Bucket {
    fn key(&self) -> ResourceKey {
        keys::bucket()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default()
    }

    fn retention(&self) -> Retention {
        Retention::Data
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        Ok(configuration(cloud).await?.map(|_| Observed::ready(cloud.bucket())))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let name = cloud.bucket();
        let place = cloud.endpoints.s3_location.as_deref().map(|region| {
            CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build()
        });
        let answer = cloud.s3.create_bucket().bucket(&name).set_create_bucket_configuration(place).send().await;
        if let Err(error) = answer.map_err(CloudError::from)
            && error.code() != "BucketAlreadyOwnedByYou"
        {
            return Err(error);
        }
        // The marker comes before every other object: a bucket that holds something is found again by it.
        mark(cloud).await
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    /// Empties it first, of its marker last: until then it is found again. What comes in meanwhile is caught by
    /// the next attempt.
    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        let name = &observed.id;
        loop {
            let listing = found(cloud.s3.list_objects_v2().bucket(name).send().await.map_err(CloudError::from))?;
            let Some(listing) = listing else { return Ok(()) };
            let mut doomed = Vec::new();
            let all: Vec<&str> = listing.contents().iter().filter_map(|object| object.key()).collect();
            for key in all.iter().copied().filter(|key| all.len() == 1 || *key != MARKER_KEY) {
                let object = ObjectIdentifier::builder().key(key).build();
                doomed.push(object.map_err(|error| CloudError::other(error.to_string()))?);
            }
            if doomed.is_empty() {
                break;
            }
            let delete = Delete::builder().set_objects(Some(doomed)).quiet(true).build();
            let delete = delete.map_err(|error| CloudError::other(error.to_string()))?;
            let answer = cloud.s3.delete_objects().bucket(name).delete(delete).send().await?;
            if let Some(error) = answer.errors().first() {
                return Err(CloudError::other(format!(
                    "{} stays: {}",
                    error.key().unwrap_or_default(),
                    error.message().unwrap_or_default()
                )));
            }
        }
        let uploads = cloud.s3.list_multipart_uploads().bucket(name).send().await;
        for upload in uploads.iter().flat_map(|answer| answer.uploads()) {
            let abort = cloud.s3.abort_multipart_upload().bucket(name).set_key(upload.key().map(str::to_owned));
            gone(abort.set_upload_id(upload.upload_id().map(str::to_owned)).send().await.map_err(CloudError::from))?;
        }
        gone(cloud.s3.delete_bucket().bucket(name).send().await.map_err(CloudError::from))
    }
}
