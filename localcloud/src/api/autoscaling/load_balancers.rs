//! Which balancers a group's members are registered with.

use serde::{Deserialize, Serialize};

use super::{create_group::check_load_balancers, find, find_changeable};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        auto_scaling::{AutoScalingGroup, Lifecycle},
        load_balancer::LoadBalancer,
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachLoadBalancers {
    pub auto_scaling_group_name: String,
    pub load_balancer_names: Vec<String>,
}

impl Operation for AttachLoadBalancers {
    const ACTION: &'static str = "AttachLoadBalancers";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        check_load_balancers(tx, &self.load_balancer_names)?;
        let now = Timestamp::now();
        for name in self.load_balancer_names {
            if group.load_balancer_names.contains(&name) {
                continue;
            }
            tx.update::<LoadBalancer>(&name, |balancer| {
                for member in group.members.iter().filter(|member| member.lifecycle == Lifecycle::InService) {
                    balancer.register(&member.instance_id, now);
                }
            });
            group.load_balancer_names.push(name);
        }
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachLoadBalancers {
    pub auto_scaling_group_name: String,
    pub load_balancer_names: Vec<String>,
}

impl Operation for DetachLoadBalancers {
    const ACTION: &'static str = "DetachLoadBalancers";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = find_changeable(tx, &self.auto_scaling_group_name)?;
        let now = Timestamp::now();
        for name in &self.load_balancer_names {
            if !group.load_balancer_names.contains(name) {
                return Err(ApiError::validation(format!(
                    "Trying to remove Load Balancers that are not part of the group: {name}"
                )));
            }
            tx.update::<LoadBalancer>(name, |balancer| {
                for member in &group.members {
                    balancer.deregister(&member.instance_id, now);
                }
            });
        }
        group.load_balancer_names.retain(|name| !self.load_balancer_names.contains(name));
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeLoadBalancers {
    auto_scaling_group_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeLoadBalancersOutput {
    load_balancers: Vec<LoadBalancerState>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoadBalancerState {
    load_balancer_name: String,
    state: &'static str,
}

impl Operation for DescribeLoadBalancers {
    const ACTION: &'static str = "DescribeLoadBalancers";
    type Output = DescribeLoadBalancersOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let group = find(tx, &self.auto_scaling_group_name)?;
        let names = group.load_balancer_names.iter();
        let load_balancers = names
            .map(|name| LoadBalancerState { load_balancer_name: name.clone(), state: state_of(tx, &group, name) })
            .collect();
        Ok(DescribeLoadBalancersOutput { load_balancers })
    }
}

/// `Adding` until all members are registered, `InService` when one is healthy
/// (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_LoadBalancerState.html>).
pub fn state_of(tx: &mut Transaction<'_>, group: &AutoScalingGroup, balancer_name: &str) -> &'static str {
    let balancer = tx.get::<LoadBalancer>(balancer_name);
    let backend = |id: &str| balancer.as_ref().and_then(|balancer| balancer.backends.get(id));
    let all_registered = group.capacity().all(|member| backend(&member.instance_id).is_some());
    let one_healthy =
        group.capacity().any(|member| backend(&member.instance_id).is_some_and(|known| known.healthy == Some(true)));
    match (all_registered, one_healthy) {
        (false, _) => "Adding",
        (true, false) => "Added",
        (true, true) => "InService",
    }
}
