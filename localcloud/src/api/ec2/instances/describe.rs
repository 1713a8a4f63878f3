//! DescribeInstances.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        dry_run,
        filters::{self, Column, Filter},
        identifiers, pagination,
    },
    item::{InstanceItem, Reservation, Surroundings},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{instance::Instance, tag::Tags},
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstances {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservations {
    reservation_set: Vec<Reservation>,
    next_token: Option<String>,
}

/// An instance beside its description: filters look at both.
pub(super) struct Seen {
    pub(super) instance: Arc<Instance>,
    pub(super) item: InstanceItem,
}

macro_rules! columns {
    ($($name:literal),* $(,)?) => { &[$(($name, |seen| seen.item.values($name)),)*] };
}

const COLUMNS: &[Column<Seen>] = columns![
    "architecture",
    "availability-zone",
    "block-device-mapping.device-name",
    "block-device-mapping.status",
    "block-device-mapping.volume-id",
    "client-token",
    "dns-name",
    "group-id",
    "group-name",
    "hypervisor",
    "iam-instance-profile.arn",
    "image-id",
    "instance-id",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "instance.group-id",
    "instance.group-name",
    "ip-address",
    "key-name",
    "launch-index",
    "launch-time",
    "metadata-options.http-tokens",
    "monitoring-state",
    "private-dns-name",
    "private-ip-address",
    "reason",
    "root-device-name",
    "root-device-type",
    "state-reason-code",
    "state-reason-message",
    "subnet-id",
    "tenancy",
    "virtualization-type",
    "vpc-id",
];

const OF_RESERVATIONS: &[Column<Seen>] = &[("reservation-id", |seen| vec![seen.instance.reservation_id.clone()])];

/// The instances of these ids, or all, that pass the filters.
pub(super) fn select(
    tx: &mut Transaction<'_>,
    surroundings: &Surroundings<'_>,
    ids: &[String],
    filters: &[Filter],
) -> Result<Vec<Seen>, ApiError> {
    let instances = if ids.is_empty() { tx.list::<Instance>() } else { identifiers::instances(tx, ids)? };
    let seen = instances
        .iter()
        .map(|instance| Seen { instance: Arc::clone(instance), item: InstanceItem::new(surroundings, instance) });
    let owner = &surroundings.site.account_id;
    let (of_owner, rest): (Vec<Filter>, Vec<Filter>) =
        filters.iter().cloned().partition(|filter| filter.name == "owner-id");
    let (of_reservation, rest): (Vec<Filter>, Vec<Filter>) =
        rest.into_iter().partition(|filter| filter.name == "reservation-id");
    if of_owner.iter().any(|filter| !filter.values.contains(owner)) {
        return Ok(Vec::new());
    }
    let tags: Option<fn(&Seen) -> &Tags> = Some(|seen| &seen.instance.tags);
    let kept = filters::retain(&of_reservation, OF_RESERVATIONS, tags, seen.collect())?;
    filters::retain(&rest, COLUMNS, tags, kept)
}

/// In the order of their launch.
pub(super) fn order(seen: &Seen) -> String {
    let instance = &seen.instance;
    format!(
        "{:016}/{}/{:05}/{}",
        instance.launched.millis(),
        instance.reservation_id,
        instance.launch_index,
        instance.id
    )
}

impl Operation for DescribeInstances {
    const ACTION: &'static str = "DescribeInstances";
    type Output = Reservations;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Reservations, ApiError> {
        dry_run::check(self.dry_run)?;
        if self.max_results.is_some() && !self.instance_ids.is_empty() {
            return Err(ApiError::new(
                "InvalidParameterCombination",
                "The parameter instancesSet cannot be used with the parameter maxResults",
            ));
        }
        let surroundings = Surroundings::load(tx, caller.site);
        let seen = select(tx, &surroundings, &self.instance_ids, &self.filters)?;
        let (seen, next_token) = pagination::page(seen, order, self.max_results, self.next_token.as_deref())?;
        let mut reservation_set: Vec<Reservation> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for Seen { instance, item } in seen {
            let place = *places.entry(instance.reservation_id.clone()).or_insert(reservation_set.len());
            if place == reservation_set.len() {
                reservation_set.push(Reservation::of(&surroundings, &instance.reservation_id));
            }
            reservation_set[place].instances_set.push(item);
        }
        Ok(Reservations { reservation_set, next_token })
    }
}
