//! Instance profiles: how a VM comes by its role's credentials.

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey};
use crate::resources::keys;

/// A profile holding the role of the same name.
pub struct InstanceProfile {
    /// `web` or `database`.
    pub name: &'static str,
}

impl InstanceProfile {
    async fn add_role(&self, cloud: &Cloud, profile: &str, role: &str) -> CloudResult<()> {
        let add = cloud.iam.add_role_to_instance_profile().instance_profile_name(profile).role_name(role);
        match add.send().await.map_err(CloudError::from) {
            Ok(_) => Ok(()),
            // It holds one role at most: LimitExceeded says that it has it already.
            Err(error) if matches!(error.code(), "LimitExceeded" | "EntityAlreadyExists") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Resource for InstanceProfile {
    fn key(&self) -> ResourceKey {
        keys::instance_profile(self.name)
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::role(self.name)]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        Desired::default().with_value("role", known.id(&keys::role(self.name)))
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let name = cloud.regional_name(self.name);
        let answer = cloud.iam.get_instance_profile().instance_profile_name(&name).send().await;
        let Some(answer) = found(answer.map_err(CloudError::from))? else { return Ok(None) };
        let Some(profile) = answer.instance_profile() else { return Ok(None) };
        let role = profile.roles().first().map_or("none", |role| role.role_name());
        Ok(Some(Observed::ready(name).with("role", role)))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let name = cloud.regional_name(self.name);
        let answer = cloud.iam.create_instance_profile().instance_profile_name(&name).send().await;
        if let Err(error) = answer.map_err(CloudError::from)
            && error.code() != "EntityAlreadyExists"
        {
            return Err(error);
        }
        self.add_role(cloud, &name, known.require(&keys::role(self.name))?).await
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, observed: &Observed, changes: &Changes) -> CloudResult<()> {
        if let Some((from, _)) = changes.0.get("role").filter(|(from, _)| from != "none") {
            let remove = cloud.iam.remove_role_from_instance_profile();
            let remove = remove.instance_profile_name(&observed.id).role_name(from);
            gone(remove.send().await.map_err(CloudError::from))?;
        }
        self.add_role(cloud, &observed.id, known.require(&keys::role(self.name))?).await
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        let role = observed.attributes.get("role");
        if role != "none" {
            let remove = cloud.iam.remove_role_from_instance_profile();
            let remove = remove.instance_profile_name(&observed.id).role_name(role);
            gone(remove.send().await.map_err(CloudError::from))?;
        }
        let delete = cloud.iam.delete_instance_profile().instance_profile_name(&observed.id);
        gone(delete.send().await.map_err(CloudError::from))
    }
}
