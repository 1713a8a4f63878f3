//! The database VM. A terminated one does not count: `up` then launches another, and the volume goes on.

use std::sync::OnceLock;

use async_trait::async_trait;
use aws_sdk_ec2::types::{
    HttpTokensState, IamInstanceProfileSpecification, Instance, InstanceAttributeName, InstanceMetadataOptionsRequest,
    InstanceStateName, InstanceType, ResourceType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey, Value,
};
use crate::resources::access_key::Access;
use crate::resources::keys;
use crate::state::sha256_hex;
use crate::user_data::{self, DatabaseFacts, Facts};

/// The database VM.
pub struct DatabaseInstance {
    /// Its type.
    pub instance_type: String,
    /// Its image; another one later does not replace the VM.
    pub image_id: String,
    /// The zone, that of the volume.
    pub zone: String,
    /// A subnet there.
    pub subnet_id: String,
    /// What its user-data says.
    pub facts: Facts,
    /// Whether its metadata is told to token holders only.
    pub metadata_tokens: bool,
    /// How it comes by its credentials.
    pub access: Access,
    /// Where the volume is attached.
    pub device: &'static str,
    /// The instance that this run waits for.
    pub launched: OnceLock<String>,
}

/// The stack's live database VM as EC2 shows it.
pub(crate) async fn current(cloud: &Cloud) -> CloudResult<Option<Instance>> {
    let ask = async {
        let filters = cloud.ec2_filters(&keys::database_instance());
        let answer = cloud.ec2.describe_instances().set_filters(Some(filters)).send().await.map_err(CloudError::from);
        let Some(answer) = found(answer)? else { return Ok(None) };
        let alive = answer.reservations().iter().flat_map(|r| r.instances()).filter(|instance| is_alive(instance));
        Ok(alive.min_by_key(|instance| instance.launch_time().map(|time| time.as_nanos())).cloned())
    };
    cloud.once("database instance", ask).await
}

pub(crate) fn state_of(instance: &Instance) -> &str {
    instance.state().and_then(|state| state.name()).map_or("", InstanceStateName::as_str)
}

pub(crate) fn is_alive(instance: &Instance) -> bool {
    !matches!(state_of(instance), "terminated" | "shutting-down")
}

/// Why waiting for something of an instance is in vain: it is gone, or off. With the last words of its console.
pub(crate) async fn death(cloud: &Cloud, id: &str) -> CloudResult<Option<String>> {
    let answer = found(cloud.ec2.describe_instances().instance_ids(id).send().await.map_err(CloudError::from))?;
    let instance = answer.as_ref().and_then(|a| a.reservations().first()).and_then(|r| r.instances().first());
    let Some(instance) = instance else { return Ok(None) }; // not visible yet
    if matches!(state_of(instance), "pending" | "running") {
        return Ok(None);
    }
    let reason = instance.state_reason().and_then(|reason| reason.message()).unwrap_or("no reason given");
    let detail = format!("{id} is {}: {reason}", state_of(instance));
    Ok(Some(match super::console_tail(cloud, id).await {
        Some(console) => format!("{detail}\n{console}"),
        None => detail,
    }))
}

/// A VM that a run launched and could not tag any more, where launches take no tags: without any, in the stack's own
/// security group, and with the very user-data, which names the stack's bucket and volume.
async fn untagged(cloud: &Cloud, group_id: &str, user_data: &str) -> CloudResult<Option<String>> {
    if cloud.capabilities.tags_at_launch {
        return Ok(None);
    }
    let answer = cloud.ec2.describe_instances().send().await?;
    let instances = answer.reservations().iter().flat_map(|r| r.instances());
    let untagged: Vec<&Instance> = instances
        .filter(|instance| is_alive(instance) && instance.tags().is_empty())
        .filter(|instance| instance.security_groups().iter().any(|group| group.group_id() == Some(group_id)))
        .collect();
    for instance in untagged {
        let id = instance.instance_id().unwrap_or_default();
        let ask = cloud.ec2.describe_instance_attribute().instance_id(id).attribute(InstanceAttributeName::UserData);
        let attribute = ask.send().await?;
        if attribute.user_data().and_then(|data| data.value()) == Some(user_data) {
            return Ok(Some(id.to_owned()));
        }
    }
    Ok(None)
}

impl DatabaseInstance {
    fn user_data(&self, volume_id: &str) -> CloudResult<String> {
        user_data::database(&DatabaseFacts {
            facts: self.facts.clone().with_key(self.access.key()),
            volume_id: volume_id.to_owned(),
            device: self.device.to_owned(),
        })
    }
}

#[async_trait]
impl Resource for DatabaseInstance {
    fn key(&self) -> ResourceKey {
        keys::database_instance()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![
            keys::volume(),
            keys::key_pair(),
            keys::security_group("database"),
            self.access.need("database"),
            keys::database_password(),
        ]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        let user_data = match (known.id(&keys::volume()), known.id(&self.access.need("database"))) {
            (Value::Known(id), Value::Known(_)) => {
                let text = self.user_data(&id).unwrap_or_else(|error| error.to_string());
                Value::Known(sha256_hex(text.as_bytes()))
            }
            (Value::Known(_), later) | (later, _) => later,
        };
        // Image, user-data and subnet are what it was launched with; find() does not tell them, so a newer
        // image does not refuse a plan.
        Desired::default()
            .with("instance_type", &self.instance_type)
            .with("zone", &self.zone)
            .with("power", "on")
            .with("image_id", &self.image_id)
            .with("subnet_id", &self.subnet_id)
            .with_value("user_data", user_data)
            .with_value("security_group", known.id(&keys::security_group("database")))
    }

    fn immutable(&self) -> &'static [&'static str] {
        &["instance_type", "zone"]
    }

    fn refusal_hint(&self) -> &'static str {
        "terminate the database VM and run `up` again: a new one takes the volume over with all its rows; \
         or take the old value back into imagecrud.toml"
    }

    fn patience(&self) -> Patience {
        Patience::secs(300, "the instance to run", "`imagecrud-deploy status` shows its state")
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        Ok(current(cloud).await?.map(|instance| {
            let state = state_of(&instance);
            let (phase, power) = match state {
                "pending" => (Phase::Pending, "on"),
                "running" => (Phase::Ready, "on"),
                _ => (Phase::Failed, "off"),
            };
            let zone = instance.placement().and_then(|placement| placement.availability_zone());
            Observed::ready(instance.instance_id().unwrap_or_default())
                .phase(phase)
                .with("instance_type", instance.instance_type().map_or("", InstanceType::as_str))
                .with("zone", zone.unwrap_or_default())
                .with("power", power)
                .detail(format!("{state} {}", instance.private_ip_address().unwrap_or_default()).trim().to_owned())
        }))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, token: &ClientToken) -> CloudResult<()> {
        let user_data = STANDARD.encode(self.user_data(known.require(&keys::volume())?)?);
        let group_id = known.require(&keys::security_group("database"))?;
        if let Some(id) = untagged(cloud, group_id, &user_data).await? {
            self.launched.set(id.clone()).ok();
            return cloud.tag_afterwards(&id, &self.key()).await;
        }
        let profile = self.access.profile(known, "database")?;
        let profile = profile.map(|name| IamInstanceProfileSpecification::builder().name(name).build());
        let tokens = InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required).build();
        let answer = cloud
            .ec2
            .run_instances()
            .image_id(&self.image_id)
            .instance_type(InstanceType::from(self.instance_type.as_str()))
            .min_count(1)
            .max_count(1)
            .key_name(known.require(&keys::key_pair())?)
            .subnet_id(&self.subnet_id)
            .security_group_ids(group_id)
            .set_iam_instance_profile(profile)
            .set_metadata_options(self.metadata_tokens.then_some(tokens))
            .user_data(user_data)
            .client_token(&token.0)
            .set_tag_specifications(cloud.tag_specification(ResourceType::Instance, &self.key()).map(|tags| vec![tags]))
            .send()
            .await?;
        let Some(instance) = answer.instances().first() else {
            return Err(CloudError::other("the cloud launched nothing"));
        };
        let id = instance.instance_id().unwrap_or_default();
        if !is_alive(instance) {
            return Err(CloudError::TokenSpent(id.to_owned()));
        }
        self.launched.set(id.to_owned()).ok();
        cloud.tag_afterwards(id, &self.key()).await
    }

    async fn update(&self, cloud: &Cloud, _: &Outputs, observed: &Observed, changes: &Changes) -> CloudResult<()> {
        if changes.to("power").is_some() {
            cloud.ec2.start_instances().instance_ids(&observed.id).send().await?;
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.ec2.terminate_instances().instance_ids(&observed.id).send().await.map_err(CloudError::from))
    }

    /// One that went away while we waited for it will not come back.
    async fn poll(&self, cloud: &Cloud, _known: &Outputs) -> CloudResult<Option<Observed>> {
        if let Some(observed) = self.find(cloud).await?
            && observed.phase != Phase::Failed
        {
            self.launched.set(observed.id.clone()).ok();
            return Ok(Some(observed));
        }
        let Some(id) = self.launched.get() else { return Ok(None) };
        Ok(death(cloud, id).await?.map(|why| Observed::ready(id).phase(Phase::Failed).detail(why)))
    }

    async fn explain(&self, cloud: &Cloud) -> Option<String> {
        let instance = current(cloud).await.ok()??;
        super::console_tail(cloud, instance.instance_id()?).await
    }
}
