//! CloudWatch alarms on what the group scales by, each running a policy.

use async_trait::async_trait;
use aws_sdk_cloudwatch::operation::put_metric_alarm::builders::PutMetricAlarmFluentBuilder;
use aws_sdk_cloudwatch::types::{
    ComparisonOperator, Dimension, Metric, MetricAlarm, MetricDataQuery, MetricStat, Statistic,
};
use futures::future::try_join_all;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found, gone};
use crate::config::scaling::ScalingMetric;
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Resource, ResourceKey, Value};
use crate::resources::keys;

const METRICS: [ScalingMetric; 3] = [ScalingMetric::Cpu, ScalingMetric::Requests, ScalingMetric::Latency];
/// How many periods in a row it takes.
const PERIODS: i32 = 2;

/// An alarm.
pub struct ScalingAlarm {
    /// What it looks at.
    pub metric: ScalingMetric,
    /// Whether it rings above the threshold, or below.
    pub above: bool,
    /// The threshold, in the metric's unit.
    pub threshold: u32,
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

    fn name(&self) -> &'static str {
        name(self.metric, self.above)
    }

    /// As CloudWatch compares: latency in seconds there.
    fn threshold(&self) -> f64 {
        match self.metric {
            ScalingMetric::Cpu | ScalingMetric::Requests => f64::from(self.threshold),
            ScalingMetric::Latency => f64::from(self.threshold) / 1000.0,
        }
    }

    /// Requests per second and instance in service.
    fn expression(&self) -> String {
        format!("requests / servers / {}", self.period_secs)
    }

    fn rule(&self) -> String {
        let what = match self.metric {
            ScalingMetric::Cpu => "CPUUtilization".to_owned(),
            ScalingMetric::Requests => self.expression(),
            ScalingMetric::Latency => "Latency".to_owned(),
        };
        rule(&what, self.operator().as_str(), self.threshold(), self.period_secs, PERIODS)
    }

    fn on_metric(&self, cloud: &Cloud, put: PutMetricAlarmFluentBuilder) -> PutMetricAlarmFluentBuilder {
        // Without a request a balancer reports neither: that is no load.
        let idle = if self.above { "notBreaching" } else { "breaching" };
        let balancer = || Dimension::builder().name("LoadBalancerName").value(&cloud.stack).build();
        match self.metric {
            ScalingMetric::Cpu => {
                let group = Dimension::builder().name("AutoScalingGroupName").value(cloud.name("web")).build();
                let put = put.namespace("AWS/EC2").metric_name("CPUUtilization").dimensions(group);
                put.statistic(Statistic::Average).period(self.period_secs)
            }
            ScalingMetric::Latency => {
                let put = put.namespace("AWS/ELB").metric_name("Latency").dimensions(balancer());
                put.statistic(Statistic::Average).period(self.period_secs).treat_missing_data(idle)
            }
            ScalingMetric::Requests => {
                let query = |id: &str, metric: &str, statistic: &str| {
                    let metric = Metric::builder().namespace("AWS/ELB").metric_name(metric).dimensions(balancer());
                    let stat = MetricStat::builder().metric(metric.build()).period(self.period_secs).stat(statistic);
                    MetricDataQuery::builder().id(id).metric_stat(stat.build()).return_data(false).build()
                };
                let expression = MetricDataQuery::builder().id("load").expression(self.expression()).return_data(true);
                put.metrics(query("requests", "RequestCount", "Sum"))
                    .metrics(query("servers", "HealthyHostCount", "Average"))
                    .metrics(expression.build())
                    .treat_missing_data(idle)
            }
        }
    }

    async fn put(&self, cloud: &Cloud, known: &Outputs) -> CloudResult<()> {
        let Value::Known(action) = self.action(known) else {
            return Err(CloudError::other(format!("the policy {} is not there yet", self.policy)));
        };
        let put = cloud
            .cloudwatch
            .put_metric_alarm()
            .alarm_name(cloud.name(self.name()))
            .alarm_description(format!("{} of the stack {}", self.policy, cloud.stack))
            .comparison_operator(self.operator())
            .threshold(self.threshold())
            .evaluation_periods(PERIODS)
            .alarm_actions(action);
        self.on_metric(cloud, put).send().await?;
        Ok(())
    }
}

/// The alarm of a metric.
fn name(metric: ScalingMetric, above: bool) -> &'static str {
    match (metric, above) {
        (ScalingMetric::Cpu, true) => "cpu-high",
        (ScalingMetric::Cpu, false) => "cpu-low",
        (ScalingMetric::Requests, true) => "requests-high",
        (ScalingMetric::Requests, false) => "requests-low",
        (ScalingMetric::Latency, true) => "latency-high",
        (ScalingMetric::Latency, false) => "latency-low",
    }
}

/// The names of all alarms that a stack may have.
pub(crate) fn names(cloud: &Cloud) -> Vec<String> {
    let all = METRICS.iter().flat_map(|metric| [true, false].map(|above| cloud.name(name(*metric, above))));
    all.collect()
}

/// Those of them that are there.
async fn all(cloud: &Cloud) -> CloudResult<Vec<MetricAlarm>> {
    let ask = async {
        let request = cloud.cloudwatch.describe_alarms().set_alarm_names(Some(names(cloud)));
        let answer = found(request.send().await.map_err(CloudError::from))?;
        Ok(answer.map(|answer| answer.metric_alarms().to_vec()).unwrap_or_default())
    };
    cloud.once("alarms", ask).await
}

fn rule(what: &str, operator: &str, threshold: f64, period_secs: i32, periods: i32) -> String {
    format!("{what} {operator} {threshold} for {periods}x{period_secs}s")
}

fn rule_of(alarm: &MetricAlarm) -> String {
    let expression = alarm.metrics().iter().find_map(|query| query.expression());
    let period_secs = alarm.metrics().iter().find_map(|query| query.metric_stat()?.period());
    rule(
        alarm.metric_name().or(expression).unwrap_or_default(),
        alarm.comparison_operator().map_or("", ComparisonOperator::as_str),
        alarm.threshold().unwrap_or_default(),
        alarm.period().or(period_secs).unwrap_or_default(),
        alarm.evaluation_periods().unwrap_or_default(),
    )
}

#[async_trait]
impl Resource for ScalingAlarm {
    fn key(&self) -> ResourceKey {
        ResourceKey::new("scaling-alarm", self.name())
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::scaling_policy(self.policy)]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        Desired::default().with("rule", self.rule()).with_value("action", self.action(known))
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let name = cloud.name(self.name());
        Ok(all(cloud).await?.iter().find(|alarm| alarm.alarm_name() == Some(&name)).map(|alarm| {
            let rule = rule_of(alarm);
            Observed::ready(alarm.alarm_name().unwrap_or_default())
                .with("rule", &rule)
                .with("action", alarm.alarm_actions().join(", "))
                .detail(
                    format!("{} {}", alarm.state_value().map_or("", |state| state.as_str()), rule).trim().to_owned(),
                )
        }))
    }

    /// Those on what the group was scaled by before go, or both would.
    async fn create(&self, cloud: &Cloud, known: &Outputs, _: &ClientToken) -> CloudResult<()> {
        let former = METRICS.iter().filter(|metric| **metric != self.metric).map(|former| async move {
            let delete = cloud.cloudwatch.delete_alarms().alarm_names(cloud.name(name(*former, self.above)));
            gone(delete.send().await.map_err(CloudError::from))
        });
        let (gone, put) = tokio::join!(try_join_all(former), self.put(cloud, known));
        gone.and(put)
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        self.put(cloud, known).await
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.cloudwatch.delete_alarms().alarm_names(&observed.id).send().await.map_err(CloudError::from))
    }
}
