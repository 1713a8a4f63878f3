//! Checks of the identifiers that requests name, in EC2's words
//! (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>).

use std::{collections::HashSet, sync::Arc};

use crate::{
    api::error::ApiError,
    model::{
        address::Address,
        image::Image,
        instance::Instance,
        security_group::SecurityGroup,
        snapshot::{Snapshot, SnapshotState},
        volume::Volume,
    },
    store::Transaction,
};

/// Refuses what cannot be an id of this kind, with `{code}.Malformed`. Ids have 8 or 17 hexadecimal digits.
pub(super) fn check_form(code: &str, id: &str, prefixes: &[&str]) -> Result<(), ApiError> {
    let digits = prefixes.iter().find_map(|prefix| id.strip_prefix(prefix));
    match digits {
        Some(digits) if matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(()),
        _ => {
            let form = prefixes.first().map(|prefix| format!(" (expecting \"{prefix}...\")")).unwrap_or_default();
            Err(ApiError::new(format!("{code}.Malformed"), format!("Invalid id: \"{id}\"{form}")))
        }
    }
}

/// `{code}.NotFound`.
pub(super) fn not_found(code: &str, what: &str, name: &str) -> ApiError {
    ApiError::new(format!("{code}.NotFound"), format!("The {what} '{name}' does not exist"))
}

/// The instance of this id, terminated ones included.
pub(super) fn instance(tx: &mut Transaction<'_>, id: &str) -> Result<Arc<Instance>, ApiError> {
    check_form("InvalidInstanceID", id, &["i-"])?;
    tx.get::<Instance>(id).ok_or_else(|| not_found("InvalidInstanceID", "instance ID", id))
}

/// The instances of these ids, each once, or none of them.
pub(super) fn instances(tx: &mut Transaction<'_>, ids: &[String]) -> Result<Vec<Arc<Instance>>, ApiError> {
    let mut found: Vec<Arc<Instance>> = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    let mut known: HashSet<&str> = HashSet::new();
    for id in ids {
        check_form("InvalidInstanceID", id, &["i-"])?;
        match tx.get::<Instance>(id) {
            Some(instance) if known.insert(id) => found.push(instance),
            Some(_) => {}
            None => missing.push(id),
        }
    }
    match missing.as_slice() {
        [] => Ok(found),
        [id] => Err(not_found("InvalidInstanceID", "instance ID", id)),
        ids => Err(ApiError::new(
            "InvalidInstanceID.NotFound",
            format!("The instance IDs '{}' do not exist", ids.join(", ")),
        )),
    }
}

/// The volume of this id.
pub(super) fn volume(tx: &mut Transaction<'_>, id: &str) -> Result<Arc<Volume>, ApiError> {
    check_form("InvalidVolumeID", id, &["vol-"])?;
    tx.get::<Volume>(id).ok_or_else(|| not_found("InvalidVolume", "volume", id))
}

/// The snapshot of this id, unless it is being deleted.
pub(super) fn snapshot(tx: &mut Transaction<'_>, id: &str) -> Result<Arc<Snapshot>, ApiError> {
    check_form("InvalidSnapshotID", id, &["snap-"])?;
    let found = tx.get::<Snapshot>(id).filter(|snapshot| snapshot.state != SnapshotState::Deleting);
    found.ok_or_else(|| not_found("InvalidSnapshot", "snapshot", id))
}

/// Refuses when one of these images does not exist.
pub(super) fn images(tx: &mut Transaction<'_>, ids: &[String]) -> Result<(), ApiError> {
    let mut missing = Vec::new();
    for id in ids {
        match image(tx, id) {
            Ok(_) => {}
            Err(error) if error.code == "InvalidAMIID.NotFound" => missing.push(id.as_str()),
            Err(error) => return Err(error),
        }
    }
    let words = match missing.len() {
        0 => return Ok(()),
        1 => format!("The image id '[{}]' does not exist", missing[0]),
        _ => format!("The image ids '[{}]' do not exist", missing.join(", ")),
    };
    Err(ApiError::new("InvalidAMIID.NotFound", words))
}

/// The image of this id, whatever its state.
pub(super) fn image(tx: &mut Transaction<'_>, id: &str) -> Result<Arc<Image>, ApiError> {
    check_form("InvalidAMIID", id, &["ami-", "emi-"])?;
    tx.get::<Image>(id)
        .ok_or_else(|| ApiError::new("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist")))
}

/// The elastic address of this allocation.
pub(super) fn address(tx: &mut Transaction<'_>, allocation_id: &str) -> Result<Arc<Address>, ApiError> {
    check_form("InvalidAllocationID", allocation_id, &["eipalloc-"])?;
    tx.get::<Address>(allocation_id).ok_or_else(|| not_found("InvalidAllocationID", "allocation ID", allocation_id))
}

/// The group named by id or by name.
pub(super) fn security_group(
    tx: &mut Transaction<'_>,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<Arc<SecurityGroup>, ApiError> {
    match (id, name) {
        (Some(id), _) => {
            check_form("InvalidGroupId", id, &["sg-"])?;
            tx.get::<SecurityGroup>(id).ok_or_else(|| not_found("InvalidGroup", "security group", id))
        }
        (None, Some(name)) => {
            let groups = tx.list::<SecurityGroup>();
            groups
                .into_iter()
                .find(|group| group.name == name)
                .ok_or_else(|| not_found("InvalidGroup", "security group", name))
        }
        (None, None) => Err(ApiError::missing_parameter("GroupId")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_lengths_pass_and_others_are_malformed() {
        for id in ["i-12345678", "i-0123456789abcdef0"] {
            assert!(check_form("InvalidInstanceID", id, &["i-"]).is_ok(), "{id}");
        }
        for id in ["i-", "i-123", "vol-12345678", "i-0123456789abcdefg", ""] {
            assert_eq!(check_form("InvalidInstanceID", id, &["i-"]).expect_err(id).code, "InvalidInstanceID.Malformed");
        }
    }
}
