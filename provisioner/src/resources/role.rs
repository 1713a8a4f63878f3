//! IAM roles: what each kind of VM may do, and nothing beyond.

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use crate::cloud::retry::{CloudError, found, gone};
use crate::cloud::{Cloud, RESOURCE_TAG, STACK_TAG};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::keys;
use crate::resources::own_database::AUTHORITY_KEY;
use crate::resources::policy;

/// A role with its one inline policy.
pub struct Role {
    /// `web` or `database`.
    pub name: &'static str,
    /// What it allows.
    pub policy: Json,
}

impl Role {
    /// The web VMs: the bundle and the database's address to read, pictures and thumbnails to keep.
    pub fn web(bucket: &str) -> Self {
        let arn = format!("arn:aws:s3:::{bucket}");
        let policy = json!({ "Version": "2012-10-17", "Statement": [
            // With it a missing object is 404; without it, 403.
            { "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn] },
            { "Effect": "Allow", "Action": ["s3:GetObject"],
              "Resource": [format!("{arn}/bundle/*"), format!("{arn}/config/database.json"),
                           format!("{arn}/{AUTHORITY_KEY}")] },
            { "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
              "Resource": [format!("{arn}/p/*"), format!("{arn}/t/*")] },
        ]});
        Self { name: "web", policy }
    }

    /// The database VM: its password to read, its address to publish.
    pub fn database(bucket: &str) -> Self {
        let arn = format!("arn:aws:s3:::{bucket}");
        let policy = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": ["s3:GetObject"],
              "Resource": [format!("{arn}/config/database-password"), format!("{arn}/config/database.json")] },
            { "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [format!("{arn}/config/database.json")] },
        ]});
        Self { name: "database", policy }
    }
}

/// Who may take the role: EC2 instances.
fn trust() -> Json {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" },
    ]})
}

#[async_trait]
impl Resource for Role {
    fn key(&self) -> ResourceKey {
        keys::role(self.name)
    }

    fn needs(&self) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default().with("policy", policy::digest(&self.policy))
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let name = cloud.regional_name(self.name);
        let policy = cloud.iam.get_role_policy().role_name(&name).policy_name(policy::NAME).send().await;
        let policy = found(policy.map_err(CloudError::from))?;
        let digest = policy::digest_found(policy.as_ref().map(|policy| policy.policy_document()));
        let observed = Observed::ready(&name).with("policy", &digest);
        // It names the stack's bucket, whose random name no other stack has: whose role it is need not be asked.
        if digest == policy::digest(&self.policy) {
            return Ok(Some(observed));
        }
        let answer = cloud.iam.get_role().role_name(&name).send().await.map_err(CloudError::from);
        let Some(answer) = found(answer)? else { return Ok(None) };
        let tags = answer.role().map(|role| role.tags()).unwrap_or_default();
        cloud.check_ours(&format!("the role {name}"), tags.iter().map(|tag| (tag.key(), tag.value())))?;
        Ok(Some(observed))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let name = cloud.regional_name(self.name);
        let tag = |key: &str, value: &str| aws_sdk_iam::types::Tag::builder().key(key).value(value).build();
        let request = cloud.iam.create_role().role_name(&name).assume_role_policy_document(trust().to_string());
        let mut request = request;
        for (key, value) in [(STACK_TAG, cloud.stack.as_str()), (RESOURCE_TAG, self.key().as_str())] {
            request = request.tags(tag(key, value).map_err(|error| CloudError::other(error.to_string()))?);
        }
        if let Err(error) = request.send().await.map_err(CloudError::from)
            && error.code() != "EntityAlreadyExists"
        {
            return Err(error);
        }
        self.put_policy(cloud, &name).await
    }

    async fn update(&self, cloud: &Cloud, _: &Outputs, observed: &Observed, _: &Changes) -> CloudResult<()> {
        self.put_policy(cloud, &observed.id).await
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        let name = &observed.id;
        let policies = found(cloud.iam.list_role_policies().role_name(name).send().await.map_err(CloudError::from))?;
        for policy in policies.iter().flat_map(|answer| answer.policy_names()) {
            let delete = cloud.iam.delete_role_policy().role_name(name).policy_name(policy);
            gone(delete.send().await.map_err(CloudError::from))?;
        }
        gone(cloud.iam.delete_role().role_name(name).send().await.map_err(CloudError::from))
    }
}

impl Role {
    async fn put_policy(&self, cloud: &Cloud, role: &str) -> CloudResult<()> {
        let put = cloud.iam.put_role_policy().role_name(role).policy_name(policy::NAME);
        put.policy_document(self.policy.to_string()).send().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_may_not_touch_pictures_and_the_web_may_not_read_the_password() {
        let database = Role::database("b").policy.to_string();
        let web = Role::web("b").policy.to_string();
        assert!(!database.contains("/p/") && !database.contains("bundle"));
        assert!(!web.contains("database-password"));
    }
}
