//! CloudWatch alarms on the CPU use of the group, each running a policy.

use async_trait::async_trait;
use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, Statistic};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey, Value};
use crate::resources::keys;

/// How many periods in a row it takes.
const PERIODS: i32 = 2;

/// An alarm.
pub struct ScalingAlarm {
    /// `cpu-high` or `cpu-low`.
    pub name: &'static str,
    /// Whether it rings above the threshold, or below.
    pub above: bool,
    /// The threshold.
    pub percent: u32,
    /// The length of a period.
    pub period_secs: i32,
    /// The policy it runs.
    pub policy: &'static str,
}

impl ScalingAlarm {
    fn operator(&self) -> ComparisonOperator {
        if self.above { ComparisonOperator::GreaterThanThreshold } else { ComparisonOperator::LessThanThreshold }
    }

    fn action(&self, known: &Outputs) -> Value {
        known.attribute(&keys::scaling_policy(self.policy), "arn")
    }

    async fn put(&self, cloud: &Cloud, known: &Outputs) -> CloudResult<()> {
        let Value::Known(action) = self.action(known) else {
            return Err(CloudError::other(format!("the policy {} is not there yet", self.policy)));
        };
        let group = Dimension::builder().name("AutoScalingGroupName").value(cloud.name("web")).build();
        cloud
            .cloudwatch
            .put_metric_alarm()
            .alarm_name(cloud.name(self.name))
            .alarm_description(format!("{} of the stack {}", self.policy, cloud.stack))
            .namespace("AWS/EC2")
            .metric_name("CPUUtilization")
            .statistic(Statistic::Average)
            .dimensions(group)
            .comparison_operator(self.operator())
            .threshold(f64::from(self.percent))
            .period(self.period_secs)
            .evaluation_periods(PERIODS)
            .alarm_actions(action)
            .send()
            .await?;
        Ok(())
    }
}

fn rule(metric: &str, operator: &str, threshold: f64, period_secs: i32, periods: i32) -> String {
    format!("{metric} {operator} {threshold} for {periods}x{period_secs}s")
}

#[async_trait]
impl Resource for ScalingAlarm {
    fn key(&self) -> ResourceKey {
        ResourceKey::new("scaling-alarm", self.name)
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::scaling_policy(self.policy)]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        let rule = rule("CPUUtilization", self.operator().as_str(), f64::from(self.percent), self.period_secs, PERIODS);
        Desired::default().with("rule", rule).with_value("action", self.action(known))
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let request = cloud.cloudwatch.describe_alarms().alarm_names(cloud.name(self.name));
        let Some(answer) = found(request.send().await.map_err(CloudError::from))? else { return Ok(None) };
        Ok(answer.metric_alarms().first().map(|alarm| {
            let rule = rule(
                alarm.metric_name().unwrap_or_default(),
                alarm.comparison_operator().map_or("", ComparisonOperator::as_str),
                alarm.threshold().unwrap_or_default(),
                alarm.period().unwrap_or_default(),
                alarm.evaluation_periods().unwrap_or_default(),
            );
            Observed::ready(alarm.alarm_name().unwrap_or_default())
                .with("rule", &rule)
                .with("action", alarm.alarm_actions().join(", "))
                .detail(
                    format!("{} {}", alarm.state_value().map_or("", |state| state.as_str()), rule).trim().to_owned(),
                )
        }))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _: &ClientToken) -> CloudResult<()> {
        self.put(cloud, known).await
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        self.put(cloud, known).await
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.cloudwatch.delete_alarms().alarm_names(&observed.id).send().await.map_err(CloudError::from))
    }
}
