//! What an alarm does in a state: the actions that its ARNs name.

use crate::{
    api::{
        autoscaling::execute_policy::{Signal, execute_for_alarm},
        ec2::instances::lifecycle,
        error::ApiError,
    },
    model::{
        alarm::{Alarm, instance_action, service_of},
        time::Timestamp,
    },
    store::Transaction,
};

/// Whether it is carried out again and again while the state lasts, as only scaling policies are
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html>).
#[must_use]
pub fn is_repeated(action: &str) -> bool {
    service_of(action) == "autoscaling"
}

/// # Errors
/// Why it cannot be carried out. Such a transaction must be dropped.
pub fn carry_out(
    tx: &mut Transaction<'_>,
    alarm: &Alarm,
    action: &str,
    metric_value: Option<f64>,
    now: Timestamp,
) -> Result<(), ApiError> {
    if let Some(verb) = instance_action(action) {
        let instance = alarm.dimensions.iter().find(|(name, _)| name == "InstanceId").map(|(_, id)| id.as_str());
        let instance = instance.ok_or_else(|| {
            ApiError::validation("The alarm's metric has no dimension InstanceId, which names the instance")
        })?;
        return lifecycle::for_alarm(tx, &verb, instance);
    }
    match service_of(action) {
        "autoscaling" => {
            let signal =
                Signal { alarm_name: &alarm.name, state: &alarm.state, metric_value, threshold: alarm.threshold };
            execute_for_alarm(tx, action, &signal, now)
        }
        other => Err(ApiError::unsupported(format!("This cloud has no service {other}"))),
    }
}
