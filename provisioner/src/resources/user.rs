//! IAM users in the place of roles, for clouds without instance profiles: one a kind of VM, which may what the role
//! would. Told apart from others' by their path, as such clouds give users no tags.

use async_trait::async_trait;
use serde_json::Value as Json;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::keys;
use crate::resources::policy;
use crate::resources::role::Role;

/// A user with its one inline policy.
pub struct User {
    /// `web` or `database`.
    pub name: &'static str,
    /// What it allows.
    pub policy: Json,
}

impl From<Role> for User {
    fn from(Role { name, policy }: Role) -> Self {
        Self { name, policy }
    }
}

fn path(cloud: &Cloud) -> String {
    format!("/imagecrud/{}/", cloud.stack)
}

impl User {
    async fn put_policy(&self, cloud: &Cloud, user: &str) -> CloudResult<()> {
        let put = cloud.iam.put_user_policy().user_name(user).policy_name(policy::NAME);
        put.policy_document(self.policy.to_string()).send().await?;
        Ok(())
    }
}

#[async_trait]
impl Resource for User {
    fn key(&self) -> ResourceKey {
        keys::user(self.name)
    }

    fn needs(&self) -> Vec<ResourceKey> {
        Vec::new()
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default().with("policy", policy::digest(&self.policy))
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let name = cloud.regional_name(self.name);
        let policy = cloud.iam.get_user_policy().user_name(&name).policy_name(policy::NAME).send().await;
        let policy = found(policy.map_err(CloudError::from))?;
        let digest = policy::digest_found(policy.as_ref().map(|policy| policy.policy_document()));
        let observed = Observed::ready(&name).with("policy", &digest);
        // As of a role: what names the stack's bucket is the stack's.
        if digest == policy::digest(&self.policy) {
            return Ok(Some(observed));
        }
        let answer = cloud.iam.get_user().user_name(&name).send().await.map_err(CloudError::from);
        let Some(answer) = found(answer)? else { return Ok(None) };
        let theirs = answer.user().map(|user| user.path()).filter(|theirs| *theirs != path(cloud));
        if theirs.is_some() {
            return Err(CloudError::with_hint(
                format!("the user {name} is there already and is not this stack's"),
                "choose another name with --stack, or remove it",
            ));
        }
        Ok(Some(observed))
    }

    async fn create(&self, cloud: &Cloud, _known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let name = cloud.regional_name(self.name);
        let create = cloud.iam.create_user().user_name(&name).path(path(cloud));
        if let Err(error) = create.send().await.map_err(CloudError::from)
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
        let user = &observed.id;
        let keys = found(cloud.iam.list_access_keys().user_name(user).send().await.map_err(CloudError::from))?;
        for id in keys.iter().flat_map(|answer| answer.access_key_metadata()).filter_map(|key| key.access_key_id()) {
            let delete = cloud.iam.delete_access_key().user_name(user).access_key_id(id);
            gone(delete.send().await.map_err(CloudError::from))?;
        }
        let policy = cloud.iam.delete_user_policy().user_name(user).policy_name(policy::NAME);
        gone(policy.send().await.map_err(CloudError::from))?;
        gone(cloud.iam.delete_user().user_name(user).send().await.map_err(CloudError::from))
    }
}
