//! Policies are made, and replaced. A policy has the parameters of its type and no others.

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    ADJUSTMENT_TYPES, AlarmName, alarms_of,
    target_tracking::{self, TargetTrackingConfiguration},
};
use crate::{
    api::{
        autoscaling::{create_group::check_name, find_changeable},
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        auto_scaling::{ScalingPolicy, policy},
        id,
    },
    store::Transaction,
};

const SIMPLE: &str = "SimpleScaling";
const STEP: &str = "StepScaling";
const TARGET_TRACKING: &str = "TargetTrackingScaling";
const AGGREGATIONS: &[&str] = &["Average", "Minimum", "Maximum"];
/// <https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-quotas.html>
const MOST_STEPS: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutScalingPolicy {
    auto_scaling_group_name: String,
    policy_name: String,
    policy_type: Option<String>,
    adjustment_type: Option<String>,
    scaling_adjustment: Option<i32>,
    min_adjustment_step: Option<u32>,
    min_adjustment_magnitude: Option<u32>,
    cooldown: Option<u32>,
    enabled: Option<bool>,
    metric_aggregation_type: Option<String>,
    #[serde(default)]
    step_adjustments: Vec<StepAdjustment>,
    estimated_instance_warmup: Option<u32>,
    target_tracking_configuration: Option<TargetTrackingConfiguration>,
    predictive_scaling_configuration: Option<IgnoredAny>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct StepAdjustment {
    metric_interval_lower_bound: Option<f64>,
    metric_interval_upper_bound: Option<f64>,
    scaling_adjustment: i32,
}

impl StepAdjustment {
    pub fn of(step: &policy::StepAdjustment) -> Self {
        Self {
            metric_interval_lower_bound: step.lower,
            metric_interval_upper_bound: step.upper,
            scaling_adjustment: step.adjustment,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutScalingPolicyOutput {
    #[serde(rename = "PolicyARN")]
    arn: String,
    alarms: Vec<AlarmName>,
}

impl Operation for PutScalingPolicy {
    const ACTION: &'static str = "PutScalingPolicy";
    type Output = PutScalingPolicyOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        find_changeable(tx, &self.auto_scaling_group_name)?;
        check_name("PolicyName", &self.policy_name)?;
        self.check_parameters()?;
        let key = ScalingPolicy::key_of(&self.auto_scaling_group_name, &self.policy_name);
        let existing = tx.get::<ScalingPolicy>(&key);
        let arn = existing.as_ref().map_or_else(|| self.new_arn(caller), |existing| existing.arn.clone());
        let former = existing.as_ref().and_then(|existing| existing.tracking.as_ref());
        let tracking = match &self.target_tracking_configuration {
            Some(configuration) => {
                let group_name = &self.auto_scaling_group_name;
                Some(target_tracking::put(tx, caller, group_name, &arn, configuration, former)?)
            }
            None => {
                if let Some(former) = former {
                    target_tracking::delete_alarms(tx, former);
                }
                None
            }
        };
        let alarms = alarms_of(tx, &arn, caller);
        let mut steps: Vec<policy::StepAdjustment> = self.steps().collect();
        sort_steps(&mut steps);
        tx.put(ScalingPolicy {
            group_name: self.auto_scaling_group_name,
            name: self.policy_name,
            arn: arn.clone(),
            policy_type: self.policy_type.unwrap_or_else(|| SIMPLE.to_owned()),
            adjustment_type: self.adjustment_type.unwrap_or_default(),
            scaling_adjustment: self.scaling_adjustment.unwrap_or_default(),
            min_adjustment_magnitude: self.min_adjustment_magnitude.or(self.min_adjustment_step),
            cooldown_secs: self.cooldown,
            enabled: self.enabled.unwrap_or(true),
            steps,
            metric_aggregation: self.metric_aggregation_type,
            warmup_secs: self.estimated_instance_warmup,
            tracking,
        });
        Ok(PutScalingPolicyOutput { arn, alarms })
    }
}

impl PutScalingPolicy {
    fn new_arn(&self, caller: &Caller<'_>) -> String {
        format!(
            "arn:aws:autoscaling:{}:{}:scalingPolicy:{}:autoScalingGroupName/{}:policyName/{}",
            caller.region,
            caller.account_id,
            id::uuid(),
            self.auto_scaling_group_name,
            self.policy_name
        )
    }

    fn steps(&self) -> impl Iterator<Item = policy::StepAdjustment> {
        self.step_adjustments.iter().map(|step| policy::StepAdjustment {
            lower: step.metric_interval_lower_bound,
            upper: step.metric_interval_upper_bound,
            adjustment: step.scaling_adjustment,
        })
    }

    /// Which parameters which type has: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html>.
    fn check_parameters(&self) -> Result<(), ApiError> {
        let policy_type = self.policy_type.as_deref().unwrap_or(SIMPLE);
        if policy_type == "PredictiveScaling" || self.predictive_scaling_configuration.is_some() {
            return Err(ApiError::unsupported(
                "PredictiveScalingConfiguration: predictive scaling is not supported by this cloud; use TargetTrackingScaling, StepScaling or SimpleScaling.",
            ));
        }
        let (simple, step, tracking) = (policy_type == SIMPLE, policy_type == STEP, policy_type == TARGET_TRACKING);
        if !(simple || step || tracking) {
            return Err(ApiError::validation(format!(
                "PolicyType '{policy_type}' is not one of {SIMPLE}, {STEP}, {TARGET_TRACKING}, PredictiveScaling"
            )));
        }
        let given = [
            ("AdjustmentType", self.adjustment_type.is_some(), simple || step),
            ("ScalingAdjustment", self.scaling_adjustment.is_some(), simple),
            ("Cooldown", self.cooldown.is_some(), simple),
            ("MinAdjustmentStep", self.min_adjustment_step.is_some(), simple),
            ("MinAdjustmentMagnitude", self.min_adjustment_magnitude.is_some(), simple || step),
            ("StepAdjustments", !self.step_adjustments.is_empty(), step),
            ("MetricAggregationType", self.metric_aggregation_type.is_some(), step),
            ("EstimatedInstanceWarmup", self.estimated_instance_warmup.is_some(), step || tracking),
            ("TargetTrackingConfiguration", self.target_tracking_configuration.is_some(), tracking),
        ];
        if let Some((name, ..)) = given.iter().find(|(_, given, fits)| *given && !fits) {
            return Err(ApiError::validation(format!("{name} is not supported for policy type: {policy_type}")));
        }
        let needed = match policy_type {
            SIMPLE => ["AdjustmentType", "ScalingAdjustment"].as_slice(),
            STEP => &["AdjustmentType", "StepAdjustments"],
            _ => &["TargetTrackingConfiguration"],
        };
        if let Some((name, ..)) = given.iter().find(|(name, given, _)| !given && needed.contains(name)) {
            return Err(ApiError::validation(format!("You must specify {name} for policy type: {policy_type}")));
        }
        self.check_adjustments()
    }

    fn check_adjustments(&self) -> Result<(), ApiError> {
        let Some(adjustment_type) = self.adjustment_type.as_deref() else { return Ok(()) };
        if !ADJUSTMENT_TYPES.contains(&adjustment_type) {
            return Err(ApiError::validation(format!(
                "AdjustmentType '{adjustment_type}' is not one of {}",
                ADJUSTMENT_TYPES.join(", ")
            )));
        }
        let mut adjustments = self.scaling_adjustment.into_iter().chain(self.steps().map(|step| step.adjustment));
        if adjustment_type == "ExactCapacity" && adjustments.any(|adjustment| adjustment < 0) {
            return Err(ApiError::validation("ScalingAdjustment must not be negative for ExactCapacity"));
        }
        let magnitude = self.min_adjustment_magnitude.or(self.min_adjustment_step);
        if magnitude.is_some() && adjustment_type != "PercentChangeInCapacity" {
            return Err(ApiError::validation("MinAdjustmentMagnitude is valid for PercentChangeInCapacity only"));
        }
        if let Some(aggregation) = self.metric_aggregation_type.as_deref()
            && !AGGREGATIONS.contains(&aggregation)
        {
            return Err(ApiError::validation(format!(
                "MetricAggregationType '{aggregation}' is not one of {}",
                AGGREGATIONS.join(", ")
            )));
        }
        check_steps(self.steps().collect())
    }
}

fn sort_steps(steps: &mut [policy::StepAdjustment]) {
    let lower = |step: &policy::StepAdjustment| step.lower.unwrap_or(f64::NEG_INFINITY);
    steps.sort_by(|a, b| lower(a).total_cmp(&lower(b)));
}

/// The rules for steps: <https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_StepAdjustment.html>.
fn check_steps(mut steps: Vec<policy::StepAdjustment>) -> Result<(), ApiError> {
    let refuse = |message: &str| Err(ApiError::validation(message));
    if steps.len() > MOST_STEPS {
        return refuse("A policy may have 20 step adjustments at most");
    }
    if steps.iter().any(|step| step.lower.is_none() && step.upper.is_none()) {
        return refuse("At least one of the MetricIntervalLowerBound or MetricIntervalUpperBound must be specified");
    }
    if steps.iter().any(|step| step.lower.zip(step.upper).is_some_and(|(lower, upper)| lower >= upper)) {
        return refuse("MetricIntervalLowerBound must be less than the MetricIntervalUpperBound");
    }
    sort_steps(&mut steps);
    for (step, next) in steps.iter().zip(steps.iter().skip(1)) {
        match (step.upper, next.lower) {
            (Some(upper), Some(lower)) if upper > lower => {
                return refuse("StepAdjustment intervals can't overlap");
            }
            (Some(upper), Some(lower)) if upper < lower => {
                return refuse("StepAdjustment intervals can't have gaps between them");
            }
            (None, _) => return refuse("At most one StepAdjustment may have an unspecified upper bound"),
            (_, None) => return refuse("At most one StepAdjustment may have an unspecified lower bound"),
            _ => {}
        }
    }
    if steps.first().and_then(|step| step.lower).is_some_and(|lower| lower < 0.0) {
        return refuse(
            "There must be a StepAdjustment with an unspecified lower bound when one StepAdjustment has a negative lower bound",
        );
    }
    if steps.last().and_then(|step| step.upper).is_some_and(|upper| upper > 0.0) {
        return refuse(
            "There must be a StepAdjustment with an unspecified upper bound when one StepAdjustment has a positive upper bound",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bounds: &[(Option<f64>, Option<f64>)]) -> Result<(), String> {
        let step = |&(lower, upper)| policy::StepAdjustment { lower, upper, adjustment: 1 };
        check_steps(bounds.iter().map(step).collect()).map_err(|error| error.message)
    }

    #[test]
    fn steps_cover_their_side_of_the_threshold_without_gap_and_overlap() {
        assert!(check(&[(Some(10.0), None), (Some(0.0), Some(10.0))]).is_ok());
        assert!(check(&[(None, Some(-10.0)), (Some(-10.0), Some(0.0))]).is_ok());
        assert!(check(&[(Some(0.0), Some(10.0))]).is_err(), "nothing above 10");
        assert!(check(&[(Some(-10.0), Some(0.0))]).is_err(), "nothing below -10");
        assert!(check(&[(Some(0.0), Some(10.0)), (Some(20.0), None)]).is_err(), "a gap");
        assert!(check(&[(Some(0.0), Some(10.0)), (Some(5.0), None)]).is_err(), "an overlap");
        assert!(check(&[(Some(0.0), None), (Some(5.0), None)]).is_err(), "two without end");
        assert!(check(&[(None, None)]).is_err(), "no bound at all");
        assert!(check(&[(Some(5.0), Some(5.0)), (Some(5.0), None)]).is_err(), "an empty one");
    }
}
