//! The capacity that a policy asks for, from a group as it stands. Pure.

use crate::{
    api::error::ApiError,
    model::{
        auto_scaling::{
            AutoScalingGroup, ScalingPolicy,
            policy::{StepAdjustment, TargetTracking},
        },
        time::Timestamp,
    },
};

/// A group as a policy sees it.
pub(super) struct Scene {
    desired: i64,
    bounds: (i64, i64),
    /// Members in service whose warm-up is over: those that the metric tells of.
    warm: i64,
    /// Members that are on their way in or still warming up, and those that are to be launched.
    warming: i64,
    leaving: i64,
}

/// How far a metric is from where it should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breach {
    pub(super) value: f64,
    pub(super) threshold: f64,
}

impl Scene {
    pub(super) fn of(group: &AutoScalingGroup, warmup_secs: u32, now: Timestamp) -> Self {
        let desired = i64::from(group.desired_capacity);
        let warm = count(group.capacity().filter(|member| member.is_warm(warmup_secs, now)));
        Self {
            desired,
            bounds: (group.min_size.into(), group.max_size.into()),
            warm,
            warming: (desired - warm).max(0),
            leaving: count(group.members.iter().filter(|member| member.lifecycle.is_terminating())),
        }
    }

    /// What a simple policy asks for.
    pub(super) fn adjusted(&self, policy: &ScalingPolicy) -> u32 {
        self.bounded(changed(policy, self.desired, policy.scaling_adjustment.into()))
    }

    /// What a step policy asks for. What is warming up counts as part of what is added, what is leaving as part of what
    /// is taken away, so that the same breach, told again, changes nothing
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-simple-step.html#as-step-scaling-warmup>).
    pub(super) fn stepped(&self, policy: &ScalingPolicy, breach: Breach) -> Result<u32, ApiError> {
        let step = policy.steps.iter().find(|step| admits(step, breach)).ok_or_else(|| {
            ApiError::validation(format!(
                "There is no step adjustment of policy {} for the metric value {} with breach threshold {}",
                policy.name, breach.value, breach.threshold
            ))
        })?;
        let adjustment = i64::from(step.adjustment);
        if policy.adjustment_type == "ExactCapacity" {
            return Ok(self.bounded(adjustment));
        }
        let wanted = match adjustment.signum() {
            1 => changed(policy, self.desired - self.warming, adjustment).max(self.desired),
            // While instances warm up nothing is taken away.
            -1 if self.warming == 0 => changed(policy, self.desired + self.leaving, adjustment).min(self.desired),
            _ => self.desired,
        };
        Ok(self.bounded(wanted))
    }

    /// What a target tracking policy asks for: out in proportion, in by a tenth at most, and by one at least
    /// (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-scaling-target-tracking.html>).
    pub(super) fn tracked(&self, tracking: &TargetTracking, breach: Breach) -> u32 {
        // A metric that is n times its target needs n times the capacity that it was measured over.
        let proportional = share(self.warm, breach.value / tracking.target);
        let wanted = if breach.value > tracking.target {
            proportional.max(self.desired)
        } else if tracking.scale_in_disabled || self.warming > 0 || self.leaving > 0 {
            self.desired
        } else {
            let gradual = self.desired - (self.desired / 10).max(1);
            proportional.max(gradual).min(self.desired)
        };
        self.bounded(wanted)
    }

    fn bounded(&self, wanted: i64) -> u32 {
        u32::try_from(wanted.max(self.bounds.0).min(self.bounds.1)).unwrap_or_default()
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> i64 {
    i64::try_from(items.count()).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "groups are small")]
fn share(capacity: i64, ratio: f64) -> i64 {
    // What is a hair above a whole number is one.
    (capacity as f64 * ratio - 1e-9).ceil() as i64
}

/// Above the threshold the lower bound is part of a step, below it the upper one
/// (<https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StepAdjustment.html>).
fn admits(step: &StepAdjustment, breach: Breach) -> bool {
    let difference = breach.value - breach.threshold;
    let (lower, upper) = (step.lower.unwrap_or(f64::NEG_INFINITY), step.upper.unwrap_or(f64::INFINITY));
    if difference > 0.0 {
        lower <= difference && difference < upper
    } else if difference < 0.0 {
        lower < difference && difference <= upper
    } else {
        // At the threshold itself, either side may be meant.
        lower <= difference && difference <= upper
    }
}

/// A capacity after an adjustment of the policy's type.
fn changed(policy: &ScalingPolicy, capacity: i64, adjustment: i64) -> i64 {
    match policy.adjustment_type.as_str() {
        "ExactCapacity" => adjustment,
        "PercentChangeInCapacity" => capacity + percentage(capacity, adjustment, policy.min_adjustment_magnitude),
        _ => capacity + adjustment,
    }
}

/// Rounded towards zero, but never to zero.
fn percentage(current: i64, percent: i64, magnitude: Option<u32>) -> i64 {
    if percent == 0 {
        return 0;
    }
    let least = i64::from(magnitude.unwrap_or(1).max(1));
    let change = current * percent / 100;
    change.abs().max(least) * percent.signum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::auto_scaling::policy::TrackedMetric;

    fn scene(desired: i64, warm: i64) -> Scene {
        Scene { desired, bounds: (0, 100), warm, warming: desired - warm, leaving: 0 }
    }

    fn policy(adjustment_type: &str, steps: &[(Option<f64>, Option<f64>, i32)]) -> ScalingPolicy {
        let step = |&(lower, upper, adjustment)| StepAdjustment { lower, upper, adjustment };
        ScalingPolicy {
            group_name: "web".into(),
            name: "p".into(),
            arn: "arn".into(),
            policy_type: "StepScaling".into(),
            adjustment_type: adjustment_type.into(),
            scaling_adjustment: 0,
            min_adjustment_magnitude: None,
            cooldown_secs: None,
            enabled: true,
            steps: steps.iter().map(step).collect(),
            metric_aggregation: None,
            warmup_secs: None,
            tracking: None,
        }
    }

    fn breach(value: f64, threshold: f64) -> Breach {
        Breach { value, threshold }
    }

    fn tracking(scale_in_disabled: bool) -> TargetTracking {
        TargetTracking {
            metric: TrackedMetric::Predefined("ASGAverageCPUUtilization".into()),
            target: 50.0,
            scale_in_disabled,
            alarm_high: "high".into(),
            alarm_low: None,
        }
    }

    #[test]
    fn percentages_round_towards_zero_but_never_to_it() {
        // The user guide's own figures.
        assert_eq!(percentage(100, 12, None), 12);
        assert_eq!(percentage(10, 127, None), 12);
        assert_eq!(percentage(4, 10, None), 1);
        assert_eq!(percentage(10, -58, None), -5);
        assert_eq!(percentage(4, -10, None), -1);
        assert_eq!(percentage(4, 25, Some(2)), 2);
    }

    #[test]
    fn the_user_guides_example_of_steps_and_warm_up_holds() {
        // Threshold 60: from 60 to 70 ten per cent more, above that thirty.
        let out = policy("PercentChangeInCapacity", &[(Some(0.0), Some(10.0), 10), (Some(10.0), None, 30)]);
        assert_eq!(scene(10, 10).stepped(&out, breach(60.0, 60.0)).ok(), Some(11));
        // The eleventh is warming up: the same step adds nothing, the higher one two more.
        assert_eq!(scene(11, 10).stepped(&out, breach(62.0, 60.0)).ok(), Some(11));
        assert_eq!(scene(11, 10).stepped(&out, breach(70.0, 60.0)).ok(), Some(13));
        assert!(scene(10, 10).stepped(&out, breach(59.0, 60.0)).is_err(), "no step is below the threshold");
    }

    #[test]
    fn a_step_in_waits_for_warm_up_and_counts_who_is_leaving() {
        let falling = policy("ChangeInCapacity", &[(None, Some(-10.0), -2), (Some(-10.0), Some(0.0), -1)]);
        assert_eq!(scene(5, 5).stepped(&falling, breach(40.0, 40.0)).ok(), Some(4));
        assert_eq!(scene(5, 5).stepped(&falling, breach(30.0, 40.0)).ok(), Some(3));
        assert_eq!(scene(5, 5).stepped(&falling, breach(31.0, 40.0)).ok(), Some(4));
        assert_eq!(scene(5, 4).stepped(&falling, breach(20.0, 40.0)).ok(), Some(5));
        let leaving = Scene { leaving: 1, ..scene(4, 4) };
        assert_eq!(leaving.stepped(&falling, breach(35.0, 40.0)).ok(), Some(4));
        assert_eq!(leaving.stepped(&falling, breach(20.0, 40.0)).ok(), Some(3));
    }

    #[test]
    fn an_exact_step_sets_the_capacity_within_bounds() {
        let exact = policy("ExactCapacity", &[(Some(0.0), None, 7)]);
        assert_eq!(scene(2, 2).stepped(&exact, breach(80.0, 50.0)).ok(), Some(7));
        let narrow = Scene { bounds: (1, 4), ..scene(2, 2) };
        assert_eq!(narrow.stepped(&exact, breach(80.0, 50.0)).ok(), Some(4));
    }

    #[test]
    fn tracking_scales_out_in_proportion_and_in_gradually() {
        let follow = |scene: Scene, value| scene.tracked(&tracking(false), breach(value, 50.0));
        assert_eq!(follow(scene(4, 4), 75.0), 6);
        assert_eq!(follow(scene(4, 4), 51.0), 5);
        assert_eq!(follow(scene(4, 4), 200.0), 16);
        // Two are on their way already, and what is measured is the load of the other four.
        assert_eq!(follow(scene(6, 4), 75.0), 6);
        assert_eq!(follow(scene(6, 4), 100.0), 8);
        assert_eq!(follow(scene(4, 4), 5.0), 3);
        assert_eq!(follow(scene(40, 40), 5.0), 36);
        assert_eq!(follow(scene(4, 4), 44.0), 4, "three could not bear it");
        assert_eq!(follow(scene(4, 3), 5.0), 4, "one is warming up");
        assert_eq!(scene(4, 4).tracked(&tracking(true), breach(5.0, 50.0)), 4);
    }
}
