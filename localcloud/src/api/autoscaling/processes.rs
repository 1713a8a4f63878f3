//! Processes of a group that can be held: the reconciler looks at what is suspended before each step.

use serde::{Deserialize, Serialize};

use super::{find_changeable, membership::spoken};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::time::Timestamp,
    store::Transaction,
};

/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-suspend-resume-processes.html>
const PROCESSES: &[&str] = &[
    "AZRebalance",
    "AddToLoadBalancer",
    "AlarmNotification",
    "HealthCheck",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
    "Terminate",
];

fn chosen(processes: Vec<String>) -> Result<Vec<String>, ApiError> {
    if let Some(unknown) = processes.iter().find(|process| !PROCESSES.iter().any(|name| name == process)) {
        return Err(ApiError::validation(format!("Invalid scaling process: {unknown}")));
    }
    Ok(if processes.is_empty() { PROCESSES.iter().map(|&name| name.to_owned()).collect() } else { processes })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SuspendProcesses {
    auto_scaling_group_name: String,
    #[serde(default)]
    scaling_processes: Vec<String>,
}

impl Operation for SuspendProcesses {
    const ACTION: &'static str = "SuspendProcesses";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let reason = format!("User suspended at {}", spoken(Timestamp::now()));
        for process in chosen(self.scaling_processes)? {
            group.suspended.entry(process).or_insert_with(|| reason.clone());
        }
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ResumeProcesses {
    auto_scaling_group_name: String,
    #[serde(default)]
    scaling_processes: Vec<String>,
}

impl Operation for ResumeProcesses {
    const ACTION: &'static str = "ResumeProcesses";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        for process in chosen(self.scaling_processes)? {
            group.suspended.remove(&process);
        }
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeScalingProcessTypes {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeScalingProcessTypesOutput {
    processes: Vec<ProcessType>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessType {
    process_name: &'static str,
}

impl Operation for DescribeScalingProcessTypes {
    const ACTION: &'static str = "DescribeScalingProcessTypes";
    type Output = DescribeScalingProcessTypesOutput;

    fn run(self, _tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let processes = PROCESSES.iter().map(|&process_name| ProcessType { process_name }).collect();
        Ok(DescribeScalingProcessTypesOutput { processes })
    }
}
