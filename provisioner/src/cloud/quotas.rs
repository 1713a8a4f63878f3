//! How much of what the stack needs the account may have. What a cloud does not tell stands in nobody's way.

use aws_config::retry::RetryConfig;
use aws_sdk_ec2::types::{AccountAttributeName, Filter};

use crate::cloud::retry::CloudError;
use crate::cloud::{Cloud, STACK_TAG};
use crate::resource::CloudResult;

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Of what.
    pub what: &'static str,
    /// How many there are, the stack's own included.
    pub used: usize,
    /// How many there may be.
    pub limit: usize,
    /// How many more the stack needs.
    pub needed: usize,
}

impl Quota {
    /// Whether the stack fits.
    pub fn is_enough(&self) -> bool {
        self.used + self.needed <= self.limit
    }
}

impl std::fmt::Display for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} {}", self.used, self.limit, self.what)?;
        if self.needed > 0 { write!(f, ", {} more needed", self.needed) } else { Ok(()) }
    }
}

/// Every limit that the cloud tells, for a stack of at most so many instances.
pub async fn list(cloud: &Cloud, instances: usize) -> CloudResult<Vec<Quota>> {
    let (instances, balancers, groups) =
        tokio::join!(of_instances(cloud, instances), of_balancers(cloud), of_groups(cloud));
    Ok([instances?, balancers?, groups?].into_iter().flatten().collect())
}

/// A cloud without the action may say so in any way, also by a 500.
fn told<T>(answer: Result<T, CloudError>) -> CloudResult<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error @ CloudError::Transport(_)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Instances that live: the stack's own, or everybody's.
async fn live(cloud: &Cloud, own: Option<Filter>) -> CloudResult<usize> {
    let states = Filter::builder().name("instance-state-name").values("pending").values("running").build();
    let filters = std::iter::once(states).chain(own).collect();
    let mut pages = cloud.ec2.describe_instances().set_filters(Some(filters)).into_paginator().send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += page?.reservations().iter().map(|reservation| reservation.instances().len()).sum::<usize>();
    }
    Ok(count)
}

async fn of_instances(cloud: &Cloud, most: usize) -> CloudResult<Option<Quota>> {
    // What AWS answers has no longer a meaning: it counts virtual CPUs.
    // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAccountAttributes.html
    if cloud.endpoints.ec2.is_empty() {
        return Ok(None);
    }
    let ask = cloud.ec2.describe_account_attributes().attribute_names(AccountAttributeName::from("max-instances"));
    let Some(answer) = told(ask.send().await.map_err(CloudError::from))? else { return Ok(None) };
    let values = answer.account_attributes().iter().flat_map(|attribute| attribute.attribute_values());
    let limit = values.filter_map(|value| value.attribute_value()).find_map(|value| value.parse().ok());
    let Some(limit) = limit else { return Ok(None) };
    let own = Filter::builder().name(format!("tag:{STACK_TAG}")).values(&cloud.stack).build();
    let (used, own) = tokio::join!(live(cloud, None), live(cloud, Some(own)));
    let (used, own) = (used?, own?);
    Ok(Some(Quota { what: "instances", used, limit, needed: most.saturating_sub(own) }))
}

async fn of_balancers(cloud: &Cloud) -> CloudResult<Option<Quota>> {
    let once = aws_sdk_elasticloadbalancing::config::Builder::new().retry_config(RetryConfig::disabled());
    let answer = cloud.elb.describe_account_limits().customize().config_override(once).send().await;
    let Some(answer) = told(answer.map_err(CloudError::from))? else { return Ok(None) };
    let limit = answer.limits().iter().find(|limit| limit.name() == Some("classic-load-balancers"));
    let Some(limit) = limit.and_then(|limit| limit.max()?.parse().ok()) else { return Ok(None) };
    let mut names = Vec::new();
    let mut pages = cloud.elb.describe_load_balancers().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page?;
        names
            .extend(page.load_balancer_descriptions().iter().filter_map(|b| b.load_balancer_name().map(str::to_owned)));
    }
    let needed = usize::from(!names.contains(&cloud.stack));
    Ok(Some(Quota { what: "classic load balancers", used: names.len(), limit, needed }))
}

async fn of_groups(cloud: &Cloud) -> CloudResult<Option<Quota>> {
    let once = aws_sdk_autoscaling::config::Builder::new().retry_config(RetryConfig::disabled());
    let answer = cloud.autoscaling.describe_account_limits().customize().config_override(once).send().await;
    let Some(answer) = told(answer.map_err(CloudError::from))? else { return Ok(None) };
    let count = |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok());
    let limit = count(answer.max_number_of_auto_scaling_groups());
    let used = count(answer.number_of_auto_scaling_groups());
    let (Some(limit), Some(used)) = (limit, used) else { return Ok(None) };
    let there = crate::resources::auto_scaling_group::current(cloud).await?.is_some();
    Ok(Some(Quota { what: "Auto Scaling groups", used, limit, needed: usize::from(!there) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_fits_up_to_the_limit() {
        let quota = |needed| Quota { what: "instances", used: 3, limit: 8, needed };
        assert!(quota(5).is_enough() && !quota(6).is_enough());
        assert_eq!(quota(5).to_string(), "3 of 8 instances, 5 more needed");
        assert_eq!(quota(0).to_string(), "3 of 8 instances");
    }
}
