//! What a cloud can do. Asked, never guessed from its name: each probe is a call that changes nothing.

use aws_config::retry::RetryConfig;
use aws_sdk_ec2::types::{
    HttpTokensState, InstanceMetadataOptionsRequest, ResourceType, Tag, TagSpecification, VolumeType,
};
use serde::{Deserialize, Serialize};

use crate::cloud::client_token::WithoutClientToken;
use crate::cloud::clients::Clients;
use crate::cloud::retry::{Class, CloudError};
use crate::cloud::{RESOURCE_TAG, STACK_TAG};
use crate::error::Failure;

/// The answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Launch templates; launch configurations otherwise.
    pub launch_templates: bool,
    /// Tags as part of a launch and of a volume's creation; CreateTags right after it otherwise.
    pub tags_at_launch: bool,
    /// Tags as part of every other creation too; AWS had those years later, and Eucalyptus never.
    pub tags_at_creation: bool,
    /// Credentials for instances through their profile.
    pub instance_profiles: bool,
    /// Metadata services that can be told to answer to a token only (IMDSv2).
    pub metadata_tokens: bool,
    /// Volumes of the type gp3 that are encrypted.
    pub encrypted_volumes: bool,
    /// Client tokens of volumes, by which one that is asked for twice is made once.
    pub volume_tokens: bool,
    /// Attributes of load balancers, of which connection draining is one.
    pub connection_draining: bool,
    /// A default VPC.
    pub default_vpc: bool,
}

impl Capabilities {
    /// Rows for a table: name, whether, what is done without it.
    pub fn rows(&self) -> Vec<(&'static str, bool, &'static str)> {
        vec![
            ("launch templates", self.launch_templates, "launch configurations are used"),
            ("tags at launch", self.tags_at_launch, "tags are set right after the launch or the volume's creation"),
            ("tags at creation", self.tags_at_creation, "tags are set right after each create"),
            (
                "instance profiles",
                self.instance_profiles,
                "the VMs get access keys, in their user-data, of users that may use the bucket only",
            ),
            ("metadata tokens", self.metadata_tokens, "the VMs' metadata answers without a token too (IMDSv1)"),
            (
                "encrypted gp3 volumes",
                self.encrypted_volumes,
                "the data volume is of the cloud's own type, as it keeps it",
            ),
            (
                "client tokens of volumes",
                self.volume_tokens,
                "CreateVolume is sent once, and what came of it is looked for where its answer is lost",
            ),
            ("connection draining", self.connection_draining, "an instance going away may cut a request"),
            ("default VPC", self.default_vpc, "name one: network.vpc and network.subnets"),
        ]
    }
}

/// Asks the cloud on behalf of a stack, all questions at once.
pub async fn probe(clients: &Clients, stack: &str) -> Result<Capabilities, Failure> {
    let doing = "asking the cloud what it can do";
    let (templates, tags, volumes, profiles, tokens, draining, vpc) = tokio::join!(
        launch_templates(clients),
        tags_at_creation(clients, stack),
        volumes(clients, stack),
        instance_profiles(clients),
        metadata_tokens(clients, stack),
        connection_draining(clients),
        default_vpc(clients),
    );
    let failed = |error: CloudError| Failure::cloud(doing, &error);
    let Volumes { tags: tags_at_launch, encrypted: encrypted_volumes, tokens: volume_tokens } =
        volumes.map_err(failed)?;
    Ok(Capabilities {
        launch_templates: templates.map_err(failed)?,
        tags_at_launch,
        tags_at_creation: tags.map_err(failed)?,
        instance_profiles: profiles.map_err(failed)?,
        metadata_tokens: tokens.map_err(failed)?,
        encrypted_volumes,
        volume_tokens,
        connection_draining: draining.map_err(failed)?,
        default_vpc: vpc.map_err(failed)?,
    })
}

/// An action that answers anything but "I do not know this action" is there.
fn known<T>(result: Result<T, CloudError>) -> Result<bool, CloudError> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if says_nothing(&error) => Err(error),
        Err(error) => match error.class() {
            Class::Unsupported => Ok(false),
            Class::Denied => Err(error),
            // A front that knows no such action may answer with a bare HTTP status.
            _ => Ok(!error.code().starts_with("HTTP ")),
        },
    }
}

async fn launch_templates(clients: &Clients) -> Result<bool, CloudError> {
    known(clients.ec2.describe_launch_templates().max_results(5).send().await.map_err(CloudError::from))
}

/// A create that cannot succeed: its refusal tells whether a parameter of it was understood. Who may not create is
/// told nothing, and what AWS has is taken to be there.
fn understood(error: &CloudError, parameter: &str) -> bool {
    match error.class() {
        Class::Denied => true,
        _ => !error.to_string().to_ascii_lowercase().contains(parameter),
    }
}

/// An answer that is none: what was asked is still not known.
fn says_nothing(error: &CloudError) -> bool {
    let unreadable = matches!(error, CloudError::Api { status, .. } if *status < 300);
    matches!(error, CloudError::Transport(_)) || unreadable || error.class() == Class::RefusedForNow
}

const TAGS: &str = "tagspecification";

/// The tag of everything else in the stack, as permissions may ask for it, and as the last look of a teardown would
/// find what a cloud made of a probe.
fn tags(stack: &str, kind: ResourceType) -> TagSpecification {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let tags = TagSpecification::builder().resource_type(kind);
    tags.tags(tag(STACK_TAG, stack)).tags(tag(RESOURCE_TAG, "probe/none")).build()
}

/// Creates a group in a VPC that cannot exist.
async fn tags_at_creation(clients: &Clients, stack: &str) -> Result<bool, CloudError> {
    let name = format!("{stack}-probe");
    let create = clients.ec2.create_security_group().group_name(&name).description(&name).vpc_id("vpc-00000000");
    match create.tag_specifications(tags(stack, ResourceType::SecurityGroup)).send().await.map_err(CloudError::from) {
        Ok(group) => {
            // A cloud that does not look at the VPC: take the group away again.
            let Some(id) = group.group_id() else { return Ok(false) };
            let shown = clients.ec2.describe_security_groups().group_ids(id).send().await;
            clients.ec2.delete_security_group().group_id(id).send().await?;
            Ok(shown?.security_groups().iter().any(|group| !group.tags().is_empty()))
        }
        Err(error) if says_nothing(&error) => Err(error),
        Err(error) => Ok(understood(&error, TAGS)),
    }
}

/// What CreateVolume takes.
struct Volumes {
    tags: bool,
    encrypted: bool,
    tokens: bool,
}

/// Creates an encrypted volume in a zone that cannot exist. What is refused is left out, and the rest is asked again: one
/// cloud names all that it does not know, another the first of it.
async fn volumes(clients: &Clients, stack: &str) -> Result<Volumes, CloudError> {
    let create = |takes_tags: bool, takes_tokens: bool| {
        let create = clients.ec2.create_volume().availability_zone("imagecrud-probe-no-such-zone").size(1);
        let tags = takes_tags.then(|| vec![tags(stack, ResourceType::Volume)]);
        let create = create.encrypted(true).volume_type(VolumeType::Gp3).set_tag_specifications(tags).customize();
        // The SDK gives every CreateVolume a token.
        if takes_tokens { create } else { create.interceptor(WithoutClientToken) }
    };
    let (mut takes_tags, mut takes_tokens) = (true, true);
    let answer = loop {
        let answer = create(takes_tags, takes_tokens).send().await.map_err(CloudError::from);
        let Err(error) = &answer else { break answer };
        let (no_tags, no_tokens) =
            (takes_tags && !understood(error, TAGS), takes_tokens && !understood(error, "clienttoken"));
        if !no_tags && !no_tokens {
            break answer;
        }
        (takes_tags, takes_tokens) = (takes_tags && !no_tags, takes_tokens && !no_tokens);
    };
    match answer {
        Ok(volume) => {
            // A cloud that does not look at the zone: take the volume away again.
            if let Some(id) = volume.volume_id() {
                clients.ec2.delete_volume().volume_id(id).send().await?;
            }
            let tags = takes_tags && !volume.tags().is_empty();
            Ok(Volumes { tags, encrypted: volume.encrypted() == Some(true), tokens: takes_tokens })
        }
        Err(error) if says_nothing(&error) => Err(error),
        Err(error) => Ok(Volumes { tags: takes_tags, encrypted: understood(&error, "encrypt"), tokens: takes_tokens }),
    }
}

/// Launches an image that cannot exist.
async fn metadata_tokens(clients: &Clients, stack: &str) -> Result<bool, CloudError> {
    let launch = || {
        let required = InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required).build();
        let launch = clients.ec2.run_instances().image_id("ami-00000000").min_count(1).max_count(1);
        launch.metadata_options(required).dry_run(true)
    };
    let tagged = launch().tag_specifications(tags(stack, ResourceType::Instance)).send().await;
    let answer = match tagged.map_err(CloudError::from) {
        Err(error) if !understood(&error, TAGS) => launch().send().await.map_err(CloudError::from),
        answer => answer,
    };
    match answer {
        Ok(launched) => {
            // A cloud that knows no dry run.
            for id in launched.instances().iter().filter_map(|instance| instance.instance_id()) {
                clients.ec2.terminate_instances().instance_ids(id).send().await?;
            }
            Ok(launched.instances().iter().all(|instance| instance.metadata_options().is_some()))
        }
        Err(error) if says_nothing(&error) => Err(error),
        Err(error) => Ok(understood(&error, "metadataoptions")),
    }
}

/// Whether launch configurations may be created; asked where there is nothing better.
pub async fn launch_configurations(clients: &Clients) -> Result<bool, CloudError> {
    let create = clients.autoscaling.create_launch_configuration().launch_configuration_name("imagecrud-probe");
    match create.image_id("ami-00000000").instance_type("imagecrud.none").send().await.map_err(CloudError::from) {
        Ok(_) => {
            let delete = clients.autoscaling.delete_launch_configuration().launch_configuration_name("imagecrud-probe");
            delete.send().await?;
            Ok(true)
        }
        Err(error) if says_nothing(&error) => Err(error),
        Err(error) => Ok(error.class() != Class::Unsupported),
    }
}

async fn instance_profiles(clients: &Clients) -> Result<bool, CloudError> {
    known(clients.iam.list_instance_profiles().max_items(1).send().await.map_err(CloudError::from))
}

async fn connection_draining(clients: &Clients) -> Result<bool, CloudError> {
    let name = "imagecrud-probe-no-such-name";
    known(
        clients
            .elb
            .describe_load_balancer_attributes()
            .load_balancer_name(name)
            .customize()
            // A cloud without the action may fail with a 500, which is an answer to this question.
            .config_override(aws_sdk_elasticloadbalancing::config::Builder::new().retry_config(RetryConfig::disabled()))
            .send()
            .await
            .map_err(CloudError::from),
    )
}

async fn default_vpc(clients: &Clients) -> Result<bool, CloudError> {
    let filter = aws_sdk_ec2::types::Filter::builder().name("isDefault").values("true").build();
    match clients.ec2.describe_vpcs().filters(filter).send().await.map_err(CloudError::from) {
        Ok(answer) => Ok(!answer.vpcs().is_empty()),
        Err(error) if error.class() == Class::Unsupported => Ok(false),
        Err(error) => Err(error),
    }
}
