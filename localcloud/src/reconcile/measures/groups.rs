//! Sizes of groups, as AWS/AutoScaling has them
//! (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-metrics.html>): those that were enabled.

use std::sync::Arc;

use super::{Interval, number};
use crate::{
    metrics::{Metric, Sample},
    model::auto_scaling::{AutoScalingGroup, Lifecycle},
};

const NAMESPACE: &str = "AWS/AutoScaling";

/// Samples of what each group has enabled.
#[must_use]
pub fn samples(groups: &[Arc<AutoScalingGroup>], interval: Interval) -> Vec<Sample> {
    let mut samples = Vec::new();
    for group in groups.iter().filter(|group| !group.enabled_metrics.is_empty()) {
        let sizes = Sizes::of(group);
        samples.extend(group.enabled_metrics.iter().filter_map(|name| {
            let metric = Metric::new(NAMESPACE, name, &[("AutoScalingGroupName", &group.name)]);
            Some(Sample::of(metric, interval.begin, "None", number(sizes.get(group, name)?)))
        }));
    }
    samples
}

/// How many members are in which phase.
#[derive(Debug, Default)]
struct Sizes {
    pending: u64,
    in_service: u64,
    standby: u64,
    terminating: u64,
    total: u64,
}

impl Sizes {
    fn of(group: &AutoScalingGroup) -> Self {
        let mut sizes = Self::default();
        for member in &group.members {
            sizes.total += 1;
            let phase = match member.lifecycle {
                lifecycle if lifecycle.is_pending() => &mut sizes.pending,
                Lifecycle::EnteringStandby | Lifecycle::Standby => &mut sizes.standby,
                Lifecycle::InService => &mut sizes.in_service,
                _ => &mut sizes.terminating,
            };
            *phase += 1;
        }
        sizes
    }

    /// The metric of this name. Members have no weights here, so that the capacity is their number.
    fn get(&self, group: &AutoScalingGroup, name: &str) -> Option<u64> {
        Some(match name {
            "GroupMinSize" => group.min_size.into(),
            "GroupMaxSize" => group.max_size.into(),
            "GroupDesiredCapacity" => group.desired_capacity.into(),
            "GroupInServiceInstances" | "GroupInServiceCapacity" => self.in_service,
            "GroupPendingInstances" | "GroupPendingCapacity" => self.pending,
            "GroupStandbyInstances" | "GroupStandbyCapacity" => self.standby,
            "GroupTerminatingInstances" | "GroupTerminatingCapacity" => self.terminating,
            "GroupTotalInstances" | "GroupTotalCapacity" => self.total,
            _ => return None,
        })
    }
}
