//! An instance in an answer, with what it takes from other records: names of groups, attached volumes, profile.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use serde::Serialize;

use super::{
    super::{
        interfaces::InterfaceItem,
        tag_specifications::{TagItem, tag_set},
    },
    parameters::ROOT_DEVICE,
};
use crate::{
    model::{
        address::Address,
        identity::InstanceProfile,
        image::Image,
        instance::{Instance, InstanceState},
        security_group::SecurityGroup,
        site::Site,
        time::Timestamp,
        volume::{AttachmentState, Volume},
    },
    store::Transaction,
};

/// The records that an instance's description takes from.
pub struct Surroundings<'site> {
    pub site: &'site Site,
    groups: BTreeMap<String, Arc<SecurityGroup>>,
    profiles: BTreeMap<String, Arc<InstanceProfile>>,
    images: BTreeMap<String, Arc<Image>>,
    /// By the instance that they are attached to.
    volumes: BTreeMap<String, Vec<Arc<Volume>>>,
    addresses: Vec<Arc<Address>>,
}

impl<'site> Surroundings<'site> {
    /// Of all instances.
    pub fn load(tx: &mut Transaction<'_>, site: &'site Site) -> Self {
        let volumes = tx.list::<Volume>();
        Self::with(tx, site, volumes)
    }

    /// Of these alone.
    pub fn of(tx: &mut Transaction<'_>, site: &'site Site, instances: &[&Instance]) -> Self {
        let volumes = instances.iter().flat_map(|instance| tx.find::<Volume>(Volume::BY_INSTANCE, &instance.id));
        let volumes = volumes.collect();
        Self::with(tx, site, volumes)
    }

    fn with(tx: &mut Transaction<'_>, site: &'site Site, of: Vec<Arc<Volume>>) -> Self {
        let mut volumes: BTreeMap<String, Vec<Arc<Volume>>> = BTreeMap::new();
        for volume in of {
            if let Some(attachment) = &volume.attachment {
                volumes.entry(attachment.instance_id.clone()).or_default().push(volume);
            }
        }
        Self {
            site,
            groups: tx.list::<SecurityGroup>().into_iter().map(|group| (group.id.clone(), group)).collect(),
            profiles: tx.list::<InstanceProfile>().into_iter().map(|profile| (profile.name.clone(), profile)).collect(),
            images: tx.list::<Image>().into_iter().map(|image| (image.id.clone(), image)).collect(),
            volumes,
            addresses: tx.list::<Address>(),
        }
    }

    /// The groups of these ids.
    pub(in super::super) fn groups(&self, ids: &[String]) -> Vec<GroupItem> {
        ids.iter()
            .filter_map(|id| self.groups.get(id))
            .map(|group| GroupItem { group_id: group.id.clone(), group_name: group.name.clone() })
            .collect()
    }

    /// An instance's one interface.
    pub(in super::super) fn interface_of(&self, instance: &Instance) -> InterfaceItem {
        let holds = |address: &&Arc<Address>| {
            address.association.as_ref().is_some_and(|association| association.instance_id == instance.id)
        };
        let elastic = self.addresses.iter().find(holds).filter(|_| instance.state.is_alive());
        let groups = self.groups(&instance.security_group_ids);
        InterfaceItem::of_instance(self.site, instance, groups, elastic.map(|address| &**address))
    }

    fn devices_of(&self, instance: &Instance) -> Vec<DeviceItem> {
        let attached = self.volumes.get(&instance.id).into_iter().flatten().filter_map(|volume| {
            let attachment = volume.attachment.as_ref()?;
            Some(DeviceItem {
                device_name: attachment.device.clone(),
                ebs: DeviceVolume {
                    volume_id: volume.id.clone(),
                    status: attachment_state(attachment.state),
                    attach_time: attachment.since,
                    delete_on_termination: attachment.delete_on_termination,
                },
            })
        });
        let mut devices: Vec<DeviceItem> = attached.collect();
        devices.sort_by(|one, other| one.device_name.cmp(&other.device_name));
        devices
    }

    pub(super) fn profile_of(&self, instance: &Instance) -> Option<ProfileItem> {
        let profile = self.profiles.get(instance.instance_profile.as_ref()?)?;
        let arn = format!("arn:aws:iam::{}:instance-profile{}{}", self.site.account_id, profile.path, profile.name);
        Some(ProfileItem { arn, id: profile.id.clone() })
    }
}

pub(in super::super) fn attachment_state(state: AttachmentState) -> &'static str {
    match state {
        AttachmentState::Attaching => "attaching",
        AttachmentState::Attached => "attached",
        AttachmentState::Detaching => "detaching",
    }
}

/// The name that an instance of this address has itself, without a domain.
#[must_use]
pub fn hostname(private_ip: Ipv4Addr) -> String {
    let [a, b, c, d] = private_ip.octets();
    format!("ip-{a}-{b}-{c}-{d}")
}

/// Its name on the instances' network, whose resolver knows it.
#[must_use]
pub fn private_dns_name(private_ip: Ipv4Addr) -> String {
    format!("{}.ec2.internal", hostname(private_ip))
}

/// What was launched by one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    pub reservation_id: String,
    owner_id: String,
    /// Of EC2-Classic; empty within a VPC.
    group_set: Vec<GroupItem>,
    pub instances_set: Vec<InstanceItem>,
}

impl Reservation {
    /// Of instances that were launched together.
    pub fn new(surroundings: &Surroundings<'_>, instances: &[&Instance]) -> Self {
        let id = instances.first().map(|instance| instance.reservation_id.as_str()).unwrap_or_default();
        let instances_set = instances.iter().map(|instance| InstanceItem::new(surroundings, instance)).collect();
        Self { instances_set, ..Self::of(surroundings, id) }
    }

    /// Without instances yet.
    pub fn of(surroundings: &Surroundings<'_>, id: &str) -> Self {
        Self {
            reservation_id: id.to_owned(),
            owner_id: surroundings.site.account_id.clone(),
            group_set: Vec::new(),
            instances_set: Vec::new(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceItem {
    pub instance_id: String,
    image_id: String,
    pub instance_state: StateItem,
    private_dns_name: String,
    dns_name: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<String>,
    ami_launch_index: u32,
    product_codes: Vec<String>,
    instance_type: String,
    launch_time: Timestamp,
    placement: PlacementItem,
    monitoring: MonitoringItem,
    subnet_id: Option<String>,
    vpc_id: Option<String>,
    private_ip_address: Option<Ipv4Addr>,
    ip_address: Option<Ipv4Addr>,
    source_dest_check: bool,
    pub group_set: Vec<GroupItem>,
    state_reason: Option<ReasonItem>,
    architecture: String,
    root_device_type: &'static str,
    root_device_name: &'static str,
    pub block_device_mapping: Vec<DeviceItem>,
    virtualization_type: &'static str,
    client_token: String,
    tag_set: Vec<TagItem>,
    hypervisor: &'static str,
    network_interface_set: Vec<InterfaceItem>,
    iam_instance_profile: Option<ProfileItem>,
    ebs_optimized: bool,
    metadata_options: MetadataOptionsItem,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StateItem {
    pub code: u16,
    pub name: &'static str,
}

impl From<InstanceState> for StateItem {
    fn from(state: InstanceState) -> Self {
        let (code, name) = state.wire();
        Self { code, name }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupItem {
    pub group_id: String,
    pub group_name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceItem {
    pub device_name: String,
    pub ebs: DeviceVolume,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceVolume {
    pub volume_id: String,
    pub status: &'static str,
    attach_time: Timestamp,
    delete_on_termination: bool,
}

#[derive(Debug, Serialize)]
pub struct ReasonItem {
    code: String,
    message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlacementItem {
    availability_zone: String,
    group_name: String,
    tenancy: &'static str,
}

#[derive(Debug, Serialize)]
struct MonitoringItem {
    state: &'static str,
}

#[derive(Debug, Serialize)]
pub struct ProfileItem {
    pub arn: String,
    id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataOptionsItem {
    state: &'static str,
    http_tokens: &'static str,
    /// Answers of the metadata service are not limited in their hops.
    http_put_response_hop_limit: u32,
    http_endpoint: &'static str,
    http_protocol_ipv6: &'static str,
    instance_metadata_tags: &'static str,
}

impl MetadataOptionsItem {
    pub(super) fn new(instance: &Instance) -> Self {
        Self {
            state: "applied",
            http_tokens: if instance.metadata_tokens_required { "required" } else { "optional" },
            http_put_response_hop_limit: 64,
            http_endpoint: "enabled",
            http_protocol_ipv6: "disabled",
            instance_metadata_tags: "disabled",
        }
    }
}

impl InstanceItem {
    pub fn new(surroundings: &Surroundings<'_>, instance: &Instance) -> Self {
        let site = surroundings.site;
        // A terminated instance has given its addresses back.
        let there = instance.state != InstanceState::Terminated;
        Self {
            instance_id: instance.id.clone(),
            image_id: instance.image_id.clone(),
            instance_state: instance.state.into(),
            private_dns_name: if there { private_dns_name(instance.private_ip) } else { String::new() },
            // The address itself, as no resolver knows a name for it.
            dns_name: if there { instance.public_ip.to_string() } else { String::new() },
            reason: transition_reason(instance),
            key_name: instance.key_name.clone(),
            ami_launch_index: instance.launch_index,
            product_codes: Vec::new(),
            instance_type: instance.instance_type.clone(),
            launch_time: instance.launched,
            placement: PlacementItem {
                availability_zone: instance.zone.clone(),
                group_name: String::new(),
                tenancy: "default",
            },
            monitoring: MonitoringItem { state: if instance.monitoring { "enabled" } else { "disabled" } },
            subnet_id: there.then(|| site.subnet_in(&instance.zone).to_owned()),
            vpc_id: there.then(|| site.vpc_id.clone()),
            private_ip_address: there.then_some(instance.private_ip),
            ip_address: there.then_some(instance.public_ip),
            source_dest_check: !instance.attributes.source_dest_check_off,
            group_set: if there { surroundings.groups(&instance.security_group_ids) } else { Vec::new() },
            state_reason: state_reason(instance),
            architecture: surroundings
                .images
                .get(&instance.image_id)
                .map_or_else(|| std::env::consts::ARCH.to_owned(), |image| image.architecture.clone()),
            root_device_type: "ebs",
            root_device_name: ROOT_DEVICE,
            block_device_mapping: surroundings.devices_of(instance),
            virtualization_type: "hvm",
            client_token: instance.client_token.clone().unwrap_or_default(),
            tag_set: tag_set(&instance.tags),
            hypervisor: "xen",
            network_interface_set: if there { vec![surroundings.interface_of(instance)] } else { Vec::new() },
            iam_instance_profile: surroundings.profile_of(instance),
            ebs_optimized: instance.attributes.ebs_optimized,
            metadata_options: MetadataOptionsItem::new(instance),
        }
    }

    /// What the filter of this name looks at.
    pub(super) fn values(&self, filter: &str) -> Vec<String> {
        let optional = |value: &Option<String>| value.iter().cloned().collect();
        let address = |value: Option<Ipv4Addr>| value.iter().map(ToString::to_string).collect();
        match filter {
            "architecture" => vec![self.architecture.clone()],
            "availability-zone" => vec![self.placement.availability_zone.clone()],
            "block-device-mapping.device-name" => {
                self.block_device_mapping.iter().map(|device| device.device_name.clone()).collect()
            }
            "block-device-mapping.status" => {
                self.block_device_mapping.iter().map(|device| device.ebs.status.to_owned()).collect()
            }
            "block-device-mapping.volume-id" => {
                self.block_device_mapping.iter().map(|device| device.ebs.volume_id.clone()).collect()
            }
            "client-token" => vec![self.client_token.clone()],
            "dns-name" => vec![self.dns_name.clone()],
            "hypervisor" => vec![self.hypervisor.to_owned()],
            "iam-instance-profile.arn" => self.iam_instance_profile.iter().map(|profile| profile.arn.clone()).collect(),
            "image-id" => vec![self.image_id.clone()],
            "instance-id" => vec![self.instance_id.clone()],
            "instance-state-code" => vec![self.instance_state.code.to_string()],
            "instance-state-name" => vec![self.instance_state.name.to_owned()],
            "instance-type" => vec![self.instance_type.clone()],
            "group-id" | "instance.group-id" => self.group_set.iter().map(|group| group.group_id.clone()).collect(),
            "group-name" | "instance.group-name" => {
                self.group_set.iter().map(|group| group.group_name.clone()).collect()
            }
            "ip-address" => address(self.ip_address),
            "key-name" => optional(&self.key_name),
            "launch-index" => vec![self.ami_launch_index.to_string()],
            "launch-time" => vec![self.launch_time.to_string()],
            "metadata-options.http-tokens" => vec![self.metadata_options.http_tokens.to_owned()],
            "monitoring-state" => vec![self.monitoring.state.to_owned()],
            "private-dns-name" => vec![self.private_dns_name.clone()],
            "private-ip-address" => address(self.private_ip_address),
            "reason" => vec![self.reason.clone()],
            "root-device-name" => vec![self.root_device_name.to_owned()],
            "root-device-type" => vec![self.root_device_type.to_owned()],
            "state-reason-code" => self.state_reason.iter().map(|reason| reason.code.clone()).collect(),
            "state-reason-message" => self.state_reason.iter().map(|reason| reason.message.clone()).collect(),
            "subnet-id" => optional(&self.subnet_id),
            "tenancy" => vec![self.placement.tenancy.to_owned()],
            "virtualization-type" => vec![self.virtualization_type.to_owned()],
            "vpc-id" => optional(&self.vpc_id),
            "block-device-mapping.attach-time" => {
                self.block_device_mapping.iter().map(|device| device.ebs.attach_time.to_string()).collect()
            }
            "block-device-mapping.delete-on-termination" => {
                self.block_device_mapping.iter().map(|device| device.ebs.delete_on_termination.to_string()).collect()
            }
            "ebs-optimized" => vec![self.ebs_optimized.to_string()],
            "ena-support" => vec!["true".to_owned()],
            "hibernation-options.configured" => vec!["false".to_owned()],
            "iam-instance-profile.id" => self.iam_instance_profile.iter().map(|profile| profile.id.clone()).collect(),
            "metadata-options.http-endpoint" => vec![self.metadata_options.http_endpoint.to_owned()],
            "metadata-options.http-protocol-ipv4" => vec!["enabled".to_owned()],
            "metadata-options.http-protocol-ipv6" => vec![self.metadata_options.http_protocol_ipv6.to_owned()],
            "metadata-options.http-put-response-hop-limit" => {
                vec![self.metadata_options.http_put_response_hop_limit.to_string()]
            }
            "metadata-options.instance-metadata-tags" => vec![self.metadata_options.instance_metadata_tags.to_owned()],
            "platform-details" => vec!["Linux/UNIX".to_owned()],
            "source-dest-check" => vec![self.source_dest_check.to_string()],
            "usage-operation" => vec!["RunInstances".to_owned()],
            // Of what an instance does not have here, such as a kernel of its own, the list is empty.
            other => match other.strip_prefix("network-interface.") {
                Some(of_interface) => {
                    self.network_interface_set.iter().flat_map(|interface| interface.values(of_interface)).collect()
                }
                None => Vec::new(),
            },
        }
    }
}

/// Why it is in its state; for one that is not yet up, what keeps it from coming up.
fn state_reason(instance: &Instance) -> Option<ReasonItem> {
    match (&instance.state_reason, instance.state) {
        (Some((code, message)), _) => Some(ReasonItem { code: code.clone(), message: message.clone() }),
        (None, InstanceState::Pending) => Some(ReasonItem {
            code: "pending".to_owned(),
            message: instance.trouble.clone().unwrap_or_else(|| "pending".to_owned()),
        }),
        (None, _) => None,
    }
}

/// `User initiated (2026-11-24 03:04:05 GMT)`, as AWS writes it.
fn transition_reason(instance: &Instance) -> String {
    match &instance.state_reason {
        Some((code, _)) if code == "Client.UserInitiatedShutdown" => {
            let time = instance.state_changed.to_string();
            let seconds = time.split('.').next().unwrap_or(&time).replace('T', " ");
            format!("User initiated ({seconds} GMT)")
        }
        Some((_, message)) => message.clone(),
        None => String::new(),
    }
}
