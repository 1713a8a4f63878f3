//! What a cloud can do. Asked, never guessed from its name: each probe is a call that changes nothing.

use crate::cloud::clients::Clients;
use crate::cloud::retry::{Class, CloudError};
use crate::error::Failure;

/// The answers, cached for the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Launch templates; launch configurations otherwise.
    pub launch_templates: bool,
    /// Tags as part of a create; CreateTags right after it otherwise.
    pub tags_at_creation: bool,
    /// Credentials for instances through their profile.
    pub instance_profiles: bool,
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
            ("tags at creation", self.tags_at_creation, "tags are set right after each create"),
            ("instance profiles", self.instance_profiles, "`up` refuses: the VMs would have no credentials"),
            ("connection draining", self.connection_draining, "an instance going away may cut a request"),
            ("default VPC", self.default_vpc, "name one: network.vpc and network.subnets"),
        ]
    }
}

/// Asks the cloud, all questions at once.
pub async fn probe(clients: &Clients) -> Result<Capabilities, Failure> {
    let doing = "asking the cloud what it can do";
    let (templates, tags, profiles, draining, vpc) = tokio::join!(
        launch_templates(clients),
        tags_at_creation(clients),
        instance_profiles(clients),
        connection_draining(clients),
        default_vpc(clients),
    );
    let answer = |result: Result<bool, CloudError>| result.map_err(|error| Failure::cloud(doing, &error));
    Ok(Capabilities {
        launch_templates: answer(templates)?,
        tags_at_creation: answer(tags)?,
        instance_profiles: answer(profiles)?,
        connection_draining: answer(draining)?,
        default_vpc: answer(vpc)?,
    })
}

/// An action that answers anything but "I do not know this action" is there.
fn known<T>(result: Result<T, CloudError>) -> Result<bool, CloudError> {
    match result {
        Ok(_) => Ok(true),
        Err(error @ CloudError::Transport(_)) => Err(error),
        Err(error) => match error.class() {
            Class::Unsupported => Ok(false),
            Class::Denied | Class::RefusedForNow => Err(error),
            // A front that knows no such action may answer with a bare HTTP status.
            _ => Ok(!error.code().starts_with("HTTP ")),
        },
    }
}

async fn launch_templates(clients: &Clients) -> Result<bool, CloudError> {
    known(clients.ec2.describe_launch_templates().max_results(5).send().await.map_err(CloudError::from))
}

/// Creates a volume in a zone that cannot exist: the refusal tells whether the tags were understood.
async fn tags_at_creation(clients: &Clients) -> Result<bool, CloudError> {
    use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Volume)
        .tags(Tag::builder().key("imagecrud:probe").value("never created").build())
        .build();
    let answer = clients
        .ec2
        .create_volume()
        .availability_zone("imagecrud-probe-no-such-zone")
        .size(1)
        .tag_specifications(tags)
        .send()
        .await;
    match answer {
        Ok(volume) => {
            // A cloud that does not look at the zone: take the volume away again.
            if let Some(id) = volume.volume_id() {
                clients.ec2.delete_volume().volume_id(id).send().await?;
            }
            Ok(!volume.tags().is_empty())
        }
        Err(error) => {
            let error = CloudError::from(error);
            let says_nothing = matches!(error.class(), Class::Denied | Class::RefusedForNow);
            if says_nothing || matches!(error, CloudError::Transport(_)) {
                return Err(error);
            }
            Ok(error.class() != Class::Unsupported && !error.to_string().contains("TagSpecification"))
        }
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
            .config_override(
                aws_sdk_elasticloadbalancing::config::Builder::new()
                    .retry_config(aws_config::retry::RetryConfig::disabled()),
            )
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
