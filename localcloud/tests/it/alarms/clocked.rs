//! A cloud with a clock of its own for alarms.

use localcloud::{
    api::error::ApiError,
    metrics::{Metric, Sample},
    model::{auto_scaling::AutoScalingGroup, time::Timestamp},
    reconcile::alarms::Alarms,
};

use super::{ASG, CLOUDWATCH};
use crate::fake_world::{Answer, FakeWorld};

/// A cloud whose alarms look when the test says so, and at the time that it says.
pub(crate) struct Clocked {
    pub(crate) world: FakeWorld,
    pub(crate) alarms: Alarms,
    pub(crate) now: Timestamp,
}

impl Clocked {
    pub(crate) fn new() -> Self {
        let mut world = FakeWorld::new();
        world.leave_out("alarms");
        // So that periods of any length begin here, after all that the tests prepare.
        let now = Timestamp::now().floor_to(300).plus_secs(300);
        Self { world, alarms: Alarms::default(), now }
    }

    pub(crate) fn with_group() -> (Self, String) {
        let clocked = Self::new();
        let image = clocked.world.image_id.clone();
        let configuration = [("LaunchConfigurationName", "lc"), ("ImageId", &image), ("InstanceType", "t3.micro")];
        clocked.call(ASG, "CreateLaunchConfiguration", &configuration);
        let group = [
            ("AutoScalingGroupName", "web"),
            ("LaunchConfigurationName", "lc"),
            ("MinSize", "1"),
            ("MaxSize", "6"),
            ("AvailabilityZones.member.1", "PARTI00"),
        ];
        clocked.call(ASG, "CreateAutoScalingGroup", &group);
        let policy = clocked.policy("out", "1");
        (clocked, policy)
    }

    pub(crate) fn policy(&self, name: &str, adjustment: &str) -> String {
        let policy = [
            ("AutoScalingGroupName", "web"),
            ("PolicyName", name),
            ("AdjustmentType", "ChangeInCapacity"),
            ("ScalingAdjustment", adjustment),
            ("Cooldown", "0"),
        ];
        self.call(ASG, "PutScalingPolicy", &policy).text("PolicyARN")
    }

    pub(crate) fn call(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.world.call(service, action, parameters).unwrap()
    }

    /// An alarm on the group's CPU: 2 periods of 10 s over 70.
    pub(crate) fn put(&self, changes: &[(&str, &str)]) {
        self.try_put(changes).unwrap();
    }

    pub(crate) fn try_put(&self, changes: &[(&str, &str)]) -> Result<Answer, ApiError> {
        let mut parameters = vec![
            ("AlarmName", "busy"),
            ("MetricName", "CPUUtilization"),
            ("Namespace", "AWS/EC2"),
            ("Statistic", "Average"),
            ("Period", "10"),
            ("EvaluationPeriods", "2"),
            ("DatapointsToAlarm", "2"),
            ("Threshold", "70"),
            ("ComparisonOperator", "GreaterThanThreshold"),
            ("Dimensions.member.1.Name", "AutoScalingGroupName"),
            ("Dimensions.member.1.Value", "web"),
        ];
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            if !value.is_empty() {
                parameters.push((name, value));
            }
        }
        self.world.call(CLOUDWATCH, "PutMetricAlarm", &parameters)
    }

    pub(crate) fn record(&self, dimension: (&str, &str), value: f64) {
        let metric = Metric::new("AWS/EC2", "CPUUtilization", &[dimension]);
        self.world.metrics().record(vec![Sample::of(metric, self.now, "Percent", value)]);
    }

    pub(crate) fn look(&mut self) -> Option<Timestamp> {
        self.alarms.pass(&self.world.store, self.world.metrics(), self.now).unwrap()
    }

    /// A sample at the begin of each period of 10 s, and a look as soon as the period is over.
    pub(crate) fn go_on(&mut self, values: &[f64]) {
        for value in values {
            self.record(("AutoScalingGroupName", "web"), *value);
            self.now = self.now.plus_secs(11);
            self.look();
            self.now = self.now.plus_secs(-1);
        }
    }

    pub(crate) fn pass_secs(&mut self, seconds: i64) {
        self.now = self.now.plus_secs(seconds);
        self.look();
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let parameters = [
            ("AlarmTypes.member.1", "MetricAlarm"),
            ("AlarmTypes.member.2", "CompositeAlarm"),
            ("AlarmNames.member.1", "busy"),
        ];
        let answer = self.call(CLOUDWATCH, "DescribeAlarms", &parameters);
        answer.get(&format!("MetricAlarms.0.{name}"))
    }

    pub(crate) fn state(&self) -> String {
        self.field("StateValue").unwrap()
    }

    pub(crate) fn desired(&self) -> u32 {
        self.world.read(|tx| tx.get::<AutoScalingGroup>("web").unwrap().desired_capacity)
    }

    pub(crate) fn history(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let mut parameters = vec![("AlarmName", "busy"), ("ScanBy", "TimestampAscending")];
        parameters.extend(changes);
        self.call(CLOUDWATCH, "DescribeAlarmHistory", &parameters).each("AlarmHistoryItems", "HistorySummary")
    }
}
