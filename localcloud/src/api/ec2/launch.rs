//! Launching: the one place where instance records are born, for RunInstances and for Auto Scaling alike. It gives out
//! addresses. It must not know how a request was worded, nor how an instance comes to run.

use std::{
    collections::{BTreeSet, HashSet},
    net::Ipv4Addr,
    sync::Arc,
};

use super::{block_devices, identifiers, images};
use crate::{
    api::error::ApiError,
    model::{
        id,
        identity::InstanceProfile,
        image::{Image, ImageState},
        instance::{Instance, InstanceAttributes, InstanceState},
        instance_type,
        key_pair::KeyPair,
        launch_template::LaunchData,
        security_group::SecurityGroup,
        site::Site,
        tag::Tags,
        time::Timestamp,
    },
    store::Transaction,
};

/// What an instance is if nobody says otherwise.
pub const DEFAULT_INSTANCE_TYPE: &str = "m1.small";
/// The first host number of a zone that is given out; in the first zone, those below are the gateway's and in reserve.
const FIRST_HOST: u16 = 10;
/// Host numbers that are looked at together.
const BLOCK: u16 = 256;
/// User-data before base64 (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html>).
pub const USER_DATA_LIMIT_BYTES: usize = 16 * 1024;

/// By which a repeated request is told from a new one, and from another one with the same token
/// (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientToken {
    pub token: String,
    /// Digest of the request's other parameters.
    pub digest: String,
}

/// Writes `count` pending instances. `tags` come on top of those that `data` has for instances. A token that was used
/// before yields the instances of then.
///
/// # Errors
/// In EC2's words, when `data` names something that is not there, or no room is left.
pub fn launch(
    tx: &mut Transaction<'_>,
    site: &Site,
    data: &LaunchData,
    count: u32,
    tags: &Tags,
    client_token: Option<&ClientToken>,
) -> Result<Vec<Instance>, ApiError> {
    if let Some(client_token) = client_token
        && let Some(earlier) = launched_by(tx, client_token)?
    {
        return Ok(earlier);
    }
    let image = image_of(tx, data)?;
    let instance_type = type_of(data)?;
    let security_group_ids = groups_of(tx, data)?;
    if let Some(name) = &data.key_name
        && tx.get::<KeyPair>(name).is_none()
    {
        return Err(identifiers::not_found("InvalidKeyPair", "key pair", name));
    }
    if let Some(name) = &data.instance_profile
        && tx.get::<InstanceProfile>(name).is_none()
    {
        return Err(ApiError::invalid_parameter_value(format!(
            "Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        )));
    }
    if data.user_data.as_ref().is_some_and(|bytes| bytes.len() > USER_DATA_LIMIT_BYTES) {
        return Err(ApiError::invalid_parameter_value("User data is limited to 16384 bytes"));
    }
    if count as usize > room(tx, site) {
        return Err(ApiError::new(
            "InstanceLimitExceeded",
            format!(
                "You have requested more instances ({count}) than fit beside those there are: this cloud runs {} at most (`localcloud serve --instance-limit`)",
                site.instance_limit
            ),
        ));
    }

    let devices = block_devices::merge(tx, &image.block_devices, &data.block_devices)?;
    let volume_tags = data.tag_specifications.get("volume").cloned().unwrap_or_default();
    let mut instance_tags = data.tag_specifications.get("instance").cloned().unwrap_or_default();
    instance_tags.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone())));
    let zone = data.zone.as_ref().unwrap_or(&site.home.name);
    let hosts = free_hosts(tx, site, zone, count as usize)?;
    let reservation_id = id::new("r");
    let now = Timestamp::now();
    let mut instances = Vec::with_capacity(hosts.len());
    for (launch_index, host) in (0..count).zip(hosts) {
        let [third, fourth] = host.to_be_bytes();
        let instance = Instance {
            id: id::new("i"),
            reservation_id: reservation_id.clone(),
            launch_index,
            image_id: image.id.clone(),
            instance_type: instance_type.to_owned(),
            state: InstanceState::Pending,
            launched: now,
            zone: zone.clone(),
            private_ip: site.address(host),
            public_ip: Ipv4Addr::new(site.public_subnet.0, site.public_subnet.1, third, fourth),
            // Locally administered; the rest is the address, so that it is as unique.
            mac_address: format!("02:00:{:02x}:{:02x}:{third:02x}:{fourth:02x}", site.subnet.0, site.subnet.1),
            key_name: data.key_name.clone(),
            security_group_ids: security_group_ids.clone(),
            instance_profile: data.instance_profile.clone(),
            user_data: data.user_data.clone(),
            client_token: client_token.map(|client_token| client_token.token.clone()),
            request_digest: client_token.map(|client_token| client_token.digest.clone()),
            metadata_tokens_required: data.metadata_tokens_required,
            shutdown_terminates: data.shutdown_terminates,
            state_changed: now,
            state_reason: None,
            reboot_requested: false,
            monitoring: data.monitoring,
            attributes: InstanceAttributes {
                image_root: Some(image.root.clone()),
                disable_api_termination: data.disable_api_termination,
                disable_api_stop: data.disable_api_stop,
                source_dest_check_off: false,
                ebs_optimized: data.ebs_optimized,
                profile_association: data.instance_profile.is_some().then(|| (id::new("iip-assoc"), now)),
            },
            tags: instance_tags.clone(),
            trouble: None,
        };
        block_devices::create(tx, &instance, &devices, &volume_tags);
        tx.put(instance.clone());
        instances.push(instance);
    }
    Ok(instances)
}

/// How many more instances may be launched.
pub fn room(tx: &mut Transaction<'_>, site: &Site) -> usize {
    let present = tx.count::<Instance>(Instance::BY_PRESENCE, Instance::PRESENT);
    (site.instance_limit as usize).saturating_sub(present)
}

fn launched_by(tx: &mut Transaction<'_>, client_token: &ClientToken) -> Result<Option<Vec<Instance>>, ApiError> {
    let mut earlier: Vec<Instance> = tx
        .find::<Instance>(Instance::BY_CLIENT_TOKEN, &client_token.token)
        .iter()
        .map(|instance| Instance::clone(instance))
        .collect();
    earlier.sort_by_key(|instance| instance.launch_index);
    match earlier.first() {
        None => Ok(None),
        Some(first) if first.request_digest.as_ref() == Some(&client_token.digest) => Ok(Some(earlier)),
        Some(_) => Err(ApiError::new(
            "IdempotentParameterMismatch",
            "The request uses the same client token as a previous, but non-identical request.",
        )),
    }
}

fn image_of(tx: &mut Transaction<'_>, data: &LaunchData) -> Result<Arc<Image>, ApiError> {
    let Some(image_id) = &data.image_id else { return Err(ApiError::missing_parameter("ImageId")) };
    let image = identifiers::image(tx, image_id)?;
    match image.state {
        ImageState::Available => Ok(image),
        ImageState::Pending | ImageState::Failed => Err(ApiError::new(
            "InvalidAMIID.Unavailable",
            format!("The image ID '{image_id}' is not available: it is {}", images::state_name(image.state)),
        )),
    }
}

fn type_of(data: &LaunchData) -> Result<&str, ApiError> {
    let name = data.instance_type.as_deref().unwrap_or(DEFAULT_INSTANCE_TYPE);
    match instance_type::find(name) {
        Some(_) => Ok(name),
        None => Err(ApiError::invalid_parameter_value(format!("Invalid value '{name}' for InstanceType."))),
    }
}

fn groups_of(tx: &mut Transaction<'_>, data: &LaunchData) -> Result<Vec<String>, ApiError> {
    let groups = tx.list::<SecurityGroup>();
    if data.security_group_ids.is_empty() {
        let default = groups.iter().find(|group| group.name == "default");
        return match default {
            Some(group) => Ok(vec![group.id.clone()]),
            None => Err(identifiers::not_found("InvalidGroup", "security group", "default")),
        };
    }
    let mut ids: Vec<String> = Vec::new();
    for id in &data.security_group_ids {
        identifiers::check_form("InvalidGroupId", id, &["sg-"])?;
        if !groups.iter().any(|group| group.id == *id) {
            return Err(identifiers::not_found("InvalidGroup", "security group", id));
        }
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    Ok(ids)
}

/// Host numbers that nobody holds. Those of remembered, terminated instances come last: what still remembers such an
/// address, a connection or a log, is then not misled.
fn free_hosts(tx: &mut Transaction<'_>, site: &Site, zone: &str, count: usize) -> Result<Vec<u16>, ApiError> {
    let (start, length) = site.hosts_in(zone);
    let (first, last) = (start / BLOCK, (start + (length - 1)) / BLOCK);
    let mut fresh: Vec<u16> = Vec::with_capacity(count);
    for block in first..=last {
        if fresh.len() >= count {
            break;
        }
        // Most blocks are full, or empty, and nobody in them is looked at.
        let name = Instance::address_block(site.address(block * BLOCK));
        let hosts = (block * BLOCK).max(start + FIRST_HOST)..=(block * BLOCK + (BLOCK - 1));
        if tx.count::<Instance>(Instance::BY_ADDRESS_BLOCK, &name) >= hosts.len() {
            continue;
        }
        let neighbours = tx.find::<Instance>(Instance::BY_ADDRESS_BLOCK, &name);
        let taken: HashSet<u16> = neighbours.iter().map(|instance| host(instance.private_ip)).collect();
        fresh.extend(hosts.filter(|host| !taken.contains(host)));
    }
    fresh.truncate(count);
    if fresh.len() < count {
        fresh.extend(abandoned_hosts(tx, zone, &fresh, count - fresh.len()));
    }
    if fresh.len() < count {
        return Err(ApiError::new("InsufficientFreeAddressesInSubnet", "The subnet has no free addresses left"));
    }
    Ok(fresh)
}

/// Host numbers of terminated instances of the zone, which nobody else holds by now.
fn abandoned_hosts(tx: &mut Transaction<'_>, zone: &str, fresh: &[u16], count: usize) -> Vec<u16> {
    let mut remembered = tx.find::<Instance>(Instance::BY_PRESENCE, Instance::REMEMBERED);
    remembered.retain(|instance| instance.zone == zone);
    let present = tx.find::<Instance>(Instance::BY_PRESENCE, Instance::PRESENT);
    let held: HashSet<u16> = present.iter().map(|instance| host(instance.private_ip)).collect();
    let hosts: BTreeSet<u16> = remembered.iter().map(|instance| host(instance.private_ip)).collect();
    hosts.into_iter().filter(|host| !held.contains(host) && !fresh.contains(host)).take(count).collect()
}

fn host(address: Ipv4Addr) -> u16 {
    let [_, _, third, fourth] = address.octets();
    u16::from_be_bytes([third, fourth])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::ec2::birth::{found, tests::image},
        store::Store,
    };

    struct Cloud {
        store: Store,
        site: Site,
        data: LaunchData,
        _dir: tempfile::TempDir,
    }

    fn cloud() -> Cloud {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("records")).expect("opens");
        let site = Site::new((10, 77), (127, 77), 8773);
        let image = image(dir.path(), "debian");
        let image_id = store.transact(|tx| Ok::<_, ApiError>(found(tx, &site, &image))).expect("founded");
        Cloud { store, site, data: LaunchData { image_id: Some(image_id), ..LaunchData::default() }, _dir: dir }
    }

    impl Cloud {
        fn launch(&self, count: u32, client_token: Option<&ClientToken>) -> Result<Vec<Instance>, ApiError> {
            self.store.transact(|tx| launch(tx, &self.site, &self.data, count, &Tags::new(), client_token))
        }
    }

    #[test]
    fn addresses_are_given_from_ten_upward_and_never_twice() {
        let cloud = cloud();
        let mut addresses: Vec<Ipv4Addr> = Vec::new();
        for _ in 0..3 {
            addresses.extend(cloud.launch(2, None).expect("launches").iter().map(|instance| instance.private_ip));
        }
        let expected: Vec<Ipv4Addr> = (10..16).map(|last| Ipv4Addr::new(10, 77, 0, last)).collect();
        assert_eq!(addresses, expected);
    }

    #[test]
    fn a_freed_address_is_given_again_only_when_its_holder_is_forgotten() {
        let cloud = cloud();
        let first = cloud.launch(1, None).expect("launches").remove(0);
        let freed = |state: Option<InstanceState>| {
            cloud
                .store
                .transact(|tx| {
                    match state {
                        Some(state) => drop(tx.update::<Instance>(&first.id, |instance| instance.state = state)),
                        None => tx.delete::<Instance>(&first.id),
                    }
                    Ok::<_, ApiError>(())
                })
                .expect("commits");
        };
        freed(Some(InstanceState::Terminated));
        assert_eq!(cloud.launch(1, None).expect("launches")[0].private_ip, Ipv4Addr::new(10, 77, 0, 11));
        freed(None);
        assert_eq!(cloud.launch(1, None).expect("launches")[0].private_ip, Ipv4Addr::new(10, 77, 0, 10));
    }

    #[test]
    fn public_address_and_mac_follow_the_private_address() {
        let instance = cloud().launch(1, None).expect("launches").remove(0);
        assert_eq!(instance.public_ip, Ipv4Addr::new(127, 77, 0, 10));
        assert_eq!(instance.mac_address, "02:00:0a:4d:00:0a");
    }

    #[test]
    fn a_repeated_token_yields_the_same_instances_and_a_misused_one_is_refused() {
        let cloud = cloud();
        let token = ClientToken { token: "t".into(), digest: "a".into() };
        let first = cloud.launch(2, Some(&token)).expect("launches");
        assert_eq!(cloud.launch(2, Some(&token)).expect("repeats"), first);
        let misused = ClientToken { digest: "b".into(), ..token };
        assert_eq!(cloud.launch(2, Some(&misused)).expect_err("refused").code, "IdempotentParameterMismatch");
    }

    #[test]
    fn what_is_not_there_is_named_in_the_refusal() {
        let mut cloud = cloud();
        cloud.data.key_name = Some("nobody".into());
        assert_eq!(cloud.launch(1, None).expect_err("refused").code, "InvalidKeyPair.NotFound");
        cloud.data.key_name = None;
        cloud.data.security_group_ids = vec!["sg-00000000000000000".into()];
        assert_eq!(cloud.launch(1, None).expect_err("refused").code, "InvalidGroup.NotFound");
        cloud.data.security_group_ids.clear();
        cloud.data.instance_type = Some("x9.huge".into());
        assert_eq!(cloud.launch(1, None).expect_err("refused").code, "InvalidParameterValue");
    }

    #[test]
    fn more_instances_than_the_limit_are_refused() {
        let cloud = cloud();
        cloud.launch(cloud.site.instance_limit, None).expect("launches");
        assert_eq!(cloud.launch(1, None).expect_err("refused").code, "InstanceLimitExceeded");
    }
}
