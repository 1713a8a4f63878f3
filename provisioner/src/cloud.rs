//! The cloud as the resources see it: one client per API, what it can do, and the names and tags that make
//! a thing ours. Which cloud it is can be told from nothing in here.

use crate::cloud::calls::Calls;
use crate::cloud::capabilities::Capabilities;
use crate::cloud::clients::{Clients, Endpoints};
use crate::cloud::glance::Glance;
use crate::cloud::retry::{Class, CloudError, found};
use crate::resource::{CloudResult, ResourceKey};

/// What comes in the place of an answer.
pub mod answers;
/// The calls that were made.
pub mod calls;
/// What a cloud can do, found by asking it.
pub mod capabilities;
/// Calls without the client token that the SDK gives them.
pub mod client_token;
/// SDK clients for an AWS region or for a cloud described by an eucarc.
pub mod clients;
/// Reads the configuration of euca2ools.
pub mod euca2ools;
/// Reads eucarc files without executing them.
pub mod eucarc;
/// One look by many.
pub mod glance;
/// Looks for everything that carries the stack's tag.
pub mod leftovers;
/// Starting and stopping the local cloud, which is all that is known about it.
pub mod local;
/// What the account may have.
pub mod quotas;
/// What an error means.
pub mod retry;
/// Where in the cloud the stack goes: network, zone, image.
pub mod site;

/// The tag that says whose a thing is.
pub const STACK_TAG: &str = "imagecrud:stack";
/// The tag that says which resource of the stack a thing is.
pub const RESOURCE_TAG: &str = "imagecrud:resource";

const STACK_ID_LENGTH: usize = 10;

/// A connection to the cloud on behalf of one stack.
#[derive(Clone)]
pub struct Cloud {
    /// EC2: instances, volumes, groups, templates.
    pub ec2: aws_sdk_ec2::Client,
    /// Elastic Load Balancing (classic).
    pub elb: aws_sdk_elasticloadbalancing::Client,
    /// Auto Scaling.
    pub autoscaling: aws_sdk_autoscaling::Client,
    /// CloudWatch.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// S3 or Walrus.
    pub s3: aws_sdk_s3::Client,
    /// HTTP as a browser would.
    pub http: reqwest::Client,
    /// Addresses and region.
    pub endpoints: Endpoints,
    /// The stack's name, also the value of its tag.
    pub stack: String,
    /// The stack's random id.
    pub stack_id: String,
    /// What this cloud can do.
    pub capabilities: Capabilities,
    /// The calls that were made.
    pub calls: Calls,
    glance: Option<Glance>,
}

impl Cloud {
    /// Binds clients to a stack.
    pub fn new(clients: Clients, stack: &str, stack_id: &str, capabilities: Capabilities) -> Self {
        let Clients { ec2, elb, autoscaling, cloudwatch, iam, s3, http, endpoints, calls } = clients;
        Self {
            ec2,
            elb,
            autoscaling,
            cloudwatch,
            iam,
            s3,
            http,
            endpoints,
            stack: stack.to_owned(),
            stack_id: stack_id.to_owned(),
            capabilities,
            calls,
            glance: None,
        }
    }

    /// A name in the stack, for what is told apart by name alone: `imagecrud-web`.
    pub fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.stack)
    }

    /// As `name`, but for IAM, whose names are shared by all regions of an account.
    pub fn regional_name(&self, name: &str) -> String {
        format!("{}-{}-{name}", self.stack, self.endpoints.region)
    }

    /// The stack's bucket.
    pub fn bucket(&self) -> String {
        bucket_name(&self.stack, &self.stack_id)
    }

    /// The tags of a resource, for creates that take tags.
    pub fn tag_specification(
        &self,
        kind: aws_sdk_ec2::types::ResourceType,
        key: &ResourceKey,
    ) -> Option<aws_sdk_ec2::types::TagSpecification> {
        use aws_sdk_ec2::types::ResourceType;
        self.takes_tags(matches!(kind, ResourceType::Instance | ResourceType::Volume)).then(|| {
            aws_sdk_ec2::types::TagSpecification::builder()
                .resource_type(kind)
                .set_tags(Some(self.ec2_tags(key)))
                .build()
        })
    }

    /// The tags of a resource for EC2, with a `Name` for people's consoles.
    pub fn ec2_tags(&self, key: &ResourceKey) -> Vec<aws_sdk_ec2::types::Tag> {
        [(STACK_TAG, self.stack.clone()), (RESOURCE_TAG, key.to_string()), ("Name", self.name(key.name()))]
            .into_iter()
            .map(|(name, value)| aws_sdk_ec2::types::Tag::builder().key(name).value(value).build())
            .collect()
    }

    /// Whether a create takes tags: launches and volumes took them first.
    fn takes_tags(&self, at_launch: bool) -> bool {
        if at_launch { self.capabilities.tags_at_launch } else { self.capabilities.tags_at_creation }
    }

    /// Tags something right after its creation where the cloud takes no tags at creation.
    pub async fn tag_afterwards(&self, id: &str, key: &ResourceKey) -> CloudResult<()> {
        if !self.takes_tags(id.starts_with("i-") || id.starts_with("vol-")) {
            self.ec2.create_tags().resources(id).set_tags(Some(self.ec2_tags(key))).send().await?;
        }
        Ok(())
    }

    /// The filters that find a resource by its tags.
    pub fn ec2_filters(&self, key: &ResourceKey) -> Vec<aws_sdk_ec2::types::Filter> {
        [(STACK_TAG, self.stack.as_str()), (RESOURCE_TAG, key.as_str())]
            .into_iter()
            .map(|(name, value)| {
                aws_sdk_ec2::types::Filter::builder().name(format!("tag:{name}")).values(value).build()
            })
            .collect()
    }

    /// The filter that finds all that is the stack's.
    pub fn stack_filter(&self) -> aws_sdk_ec2::types::Filter {
        aws_sdk_ec2::types::Filter::builder().name(format!("tag:{STACK_TAG}")).values(&self.stack).build()
    }

    /// Refuses what has our name and another stack's tag. Without any tags (an API that has none) the name decides.
    pub fn check_ours<'t>(&self, what: &str, tags: impl IntoIterator<Item = (&'t str, &'t str)>) -> CloudResult<()> {
        let mut some = false;
        for (name, value) in tags {
            if name == STACK_TAG {
                return if value == self.stack {
                    Ok(())
                } else {
                    Err(CloudError::with_hint(
                        format!("{what} belongs to the stack {value}"),
                        "choose another name with --stack",
                    ))
                };
            }
            some = true;
        }
        if some {
            return Err(CloudError::with_hint(
                format!("{what} is there already and is not this stack's"),
                "choose another name with --stack, or remove it",
            ));
        }
        Ok(())
    }
}

/// The name of a stack's bucket.
pub fn bucket_name(stack: &str, stack_id: &str) -> String {
    format!("{stack}-{stack_id}")
}

/// A new id for a stack.
pub fn new_stack_id() -> String {
    crate::state::random_text(STACK_ID_LENGTH, b"0123456789abcdef")
}

fn is_stack_id(text: &str) -> bool {
    text.len() == STACK_ID_LENGTH && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Finds the id of a stack again by the marker in its bucket, when there is no state file. A bucket of its own
/// that is still, or again, empty does as well: its making or its removal was cut off.
pub async fn recover_stack_id(s3: &aws_sdk_s3::Client, stack: &str) -> CloudResult<Option<String>> {
    let prefix = format!("{stack}-");
    let listing = s3.list_buckets().send().await?;
    let mut empty = None;
    for bucket in listing.buckets() {
        let Some(stack_id) = bucket.name().and_then(|name| name.strip_prefix(&prefix)) else { continue };
        if !is_stack_id(stack_id) {
            continue;
        }
        let name = bucket_name(stack, stack_id);
        let marker = s3.get_object().bucket(&name).key(crate::resources::bucket_object::MARKER_KEY).send().await;
        let marker = match marker.map_err(CloudError::from) {
            Ok(marker) => marker,
            Err(error) if error.class() == Class::Missing => {
                let objects = s3.list_objects_v2().bucket(&name).max_keys(1).send().await;
                let objects = found(objects.map_err(CloudError::from))?;
                if objects.is_some_and(|objects| objects.contents().is_empty()) {
                    empty.get_or_insert_with(|| stack_id.to_owned());
                }
                continue;
            }
            Err(error) if error.class() == Class::Denied => continue, // someone else's
            // Whether it is ours is not known: going on would make a second one.
            Err(error) => return Err(error),
        };
        let body = marker.body.collect().await.map_err(|error| CloudError::Transport(error.to_string()))?;
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&body.into_bytes()) else { continue };
        if json["stack"] == stack && json["stack_id"] == stack_id {
            return Ok(Some(stack_id.to_owned()));
        }
    }
    Ok(empty)
}
