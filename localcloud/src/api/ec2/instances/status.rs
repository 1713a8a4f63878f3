//! DescribeInstanceStatus and GetConsoleOutput: what is seen of instances from outside.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        dry_run, filters,
        filters::{Column, Filter},
        identifiers, pagination,
    },
    describe::{Seen, order, select},
    item::{StateItem, Surroundings},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        instance::{Instance, InstanceState},
        time::Timestamp,
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceStatus.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeInstanceStatus {
    #[serde(default, rename = "InstanceId")]
    instance_ids: Vec<String>,
    #[serde(default)]
    include_all_instances: bool,
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
pub struct Statuses {
    instance_status_set: Vec<StatusItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusItem {
    instance_id: String,
    availability_zone: String,
    events_set: Vec<String>,
    instance_state: StateItem,
    system_status: Summary,
    instance_status: Summary,
}

#[derive(Debug, Serialize)]
struct Summary {
    status: &'static str,
    details: Vec<Detail>,
}

#[derive(Debug, Serialize)]
struct Detail {
    name: &'static str,
    status: &'static str,
}

/// What the status checks of a running instance have found. It is told by DescribeInstanceStatus, and by metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// The machine that it runs on; this cloud answers, so that its machine is well.
    pub system_passed: bool,
    /// The instance itself: it fails while something that was to be done with it does not succeed.
    pub instance_passed: bool,
}

impl Checks {
    /// `None` for an instance that is not checked: it does not run.
    #[must_use]
    pub fn of(instance: &Instance) -> Option<Self> {
        (instance.state == InstanceState::Running)
            .then(|| Self { system_passed: true, instance_passed: instance.trouble.is_none() })
    }
}

impl Summary {
    fn of(instance: &Instance, passed: impl Fn(Checks) -> bool) -> Self {
        let (status, detail) = match (instance.state, Checks::of(instance)) {
            (_, Some(checks)) if passed(checks) => ("ok", "passed"),
            (_, Some(_)) => ("impaired", "failed"),
            (InstanceState::Pending, None) => ("initializing", "initializing"),
            _ => return Self { status: "not-applicable", details: Vec::new() },
        };
        Self { status, details: vec![Detail { name: "reachability", status: detail }] }
    }

    fn of_instance(instance: &Instance) -> Self {
        Self::of(instance, |checks| checks.instance_passed)
    }

    fn of_system(instance: &Instance) -> Self {
        Self::of(instance, |checks| checks.system_passed)
    }

    fn reachability(&self) -> Vec<String> {
        self.details.iter().map(|detail| detail.status.to_owned()).collect()
    }
}

const COLUMNS: &[Column<Seen>] = &[
    ("availability-zone", |seen| seen.item.values("availability-zone")),
    ("instance-state-name", |seen| seen.item.values("instance-state-name")),
    ("instance-state-code", |seen| seen.item.values("instance-state-code")),
    ("event.code", |_| Vec::new()),
    ("event.description", |_| Vec::new()),
    ("event.instance-event-id", |_| Vec::new()),
    ("event.not-after", |_| Vec::new()),
    ("event.not-before", |_| Vec::new()),
    ("event.not-before-deadline", |_| Vec::new()),
    ("instance-status.reachability", |seen| Summary::of_instance(&seen.instance).reachability()),
    ("instance-status.status", |seen| vec![Summary::of_instance(&seen.instance).status.to_owned()]),
    ("system-status.reachability", |seen| Summary::of_system(&seen.instance).reachability()),
    ("system-status.status", |seen| vec![Summary::of_system(&seen.instance).status.to_owned()]),
];

impl Operation for DescribeInstanceStatus {
    const ACTION: &'static str = "DescribeInstanceStatus";
    type Output = Statuses;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Statuses, ApiError> {
        dry_run::check(self.dry_run)?;
        if self.max_results.is_some() && !self.instance_ids.is_empty() {
            return Err(pagination::ids_with_max_results("instancesSet"));
        }
        let surroundings = Surroundings::load(tx, caller.site);
        let mut seen = select(tx, &surroundings, &self.instance_ids, &[])?;
        if !self.include_all_instances {
            seen.retain(|seen| seen.instance.state == InstanceState::Running);
        }
        let seen = filters::retain(&self.filters, COLUMNS, None, seen)?;
        let (seen, next_token) = pagination::page(seen, order, self.max_results, self.next_token.as_deref())?;
        let item = |seen: Seen| StatusItem {
            availability_zone: seen.instance.zone.clone(),
            events_set: Vec::new(),
            instance_state: seen.instance.state.into(),
            system_status: Summary::of_system(&seen.instance),
            instance_status: Summary::of_instance(&seen.instance),
            instance_id: seen.instance.id.clone(),
        };
        Ok(Statuses { instance_status_set: seen.into_iter().map(item).collect(), next_token })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetConsoleOutput {
    instance_id: String,
    /// The newest output is always what is given.
    #[serde(default, rename = "Latest")]
    _latest: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleOutput {
    instance_id: String,
    timestamp: Timestamp,
    output: String,
}

impl Operation for GetConsoleOutput {
    const ACTION: &'static str = "GetConsoleOutput";
    type Output = ConsoleOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<ConsoleOutput, ApiError> {
        let instance = identifiers::instance(tx, &self.instance_id)?;
        dry_run::check(self.dry_run)?;
        let output = STANDARD.encode(caller.observer.console_output(&instance.id));
        Ok(ConsoleOutput { instance_id: instance.id.clone(), timestamp: Timestamp::now(), output })
    }
}
