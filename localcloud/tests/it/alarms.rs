//! Alarms that act: from a sample to an instance, at times that the tests choose.

use localcloud::{
    api::error::ApiError,
    metrics::{Metric, Sample},
    model::{
        alarm::Alarm,
        auto_scaling::{AutoScalingGroup, Lifecycle},
        instance::{Instance, InstanceState},
        time::Timestamp,
    },
    reconcile::alarms::Alarms,
};

use super::fake_world::{Answer, FakeWorld};

const ASG: &str = "autoscaling";
const CLOUDWATCH: &str = "monitoring";
const EC2: &str = "ec2";
const SNS: &str = "arn:aws:sns:localcloud:000000000001:mail";

/// A cloud whose alarms look when the test says so, and at the time that it says.
struct Clocked {
    world: FakeWorld,
    alarms: Alarms,
    now: Timestamp,
}

impl Clocked {
    fn new() -> Self {
        let mut world = FakeWorld::new();
        world.leave_out("alarms");
        // So that periods of any length begin here, after all that the tests prepare.
        let now = Timestamp::now().floor_to(300).plus_secs(300);
        Self { world, alarms: Alarms::default(), now }
    }

    fn with_group() -> (Self, String) {
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

    fn policy(&self, name: &str, adjustment: &str) -> String {
        let policy = [
            ("AutoScalingGroupName", "web"),
            ("PolicyName", name),
            ("AdjustmentType", "ChangeInCapacity"),
            ("ScalingAdjustment", adjustment),
            ("Cooldown", "0"),
        ];
        self.call(ASG, "PutScalingPolicy", &policy).text("PolicyARN")
    }

    fn call(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.world.call(service, action, parameters).unwrap()
    }

    /// An alarm on the group's CPU: 2 periods of 10 s over 70.
    fn put(&self, changes: &[(&str, &str)]) {
        self.try_put(changes).unwrap();
    }

    fn try_put(&self, changes: &[(&str, &str)]) -> Result<Answer, ApiError> {
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

    fn record(&self, dimension: (&str, &str), value: f64) {
        let metric = Metric::new("AWS/EC2", "CPUUtilization", &[dimension]);
        self.world.metrics().record(vec![Sample::of(metric, self.now, "Percent", value)]);
    }

    fn look(&mut self) -> Option<Timestamp> {
        self.alarms.pass(&self.world.store, self.world.metrics(), self.now).unwrap()
    }

    /// A sample at the begin of each period of 10 s, and a look as soon as the period is over.
    fn go_on(&mut self, values: &[f64]) {
        for value in values {
            self.record(("AutoScalingGroupName", "web"), *value);
            self.now = self.now.plus_secs(11);
            self.look();
            self.now = self.now.plus_secs(-1);
        }
    }

    fn pass_secs(&mut self, seconds: i64) {
        self.now = self.now.plus_secs(seconds);
        self.look();
    }

    fn field(&self, name: &str) -> Option<String> {
        let parameters = [
            ("AlarmTypes.member.1", "MetricAlarm"),
            ("AlarmTypes.member.2", "CompositeAlarm"),
            ("AlarmNames.member.1", "busy"),
        ];
        let answer = self.call(CLOUDWATCH, "DescribeAlarms", &parameters);
        answer.get(&format!("MetricAlarms.0.{name}"))
    }

    fn state(&self) -> String {
        self.field("StateValue").unwrap()
    }

    fn desired(&self) -> u32 {
        self.world.read(|tx| tx.get::<AutoScalingGroup>("web").unwrap().desired_capacity)
    }

    fn history(&self, changes: &[(&str, &str)]) -> Vec<String> {
        let mut parameters = vec![("AlarmName", "busy"), ("ScanBy", "TimestampAscending")];
        parameters.extend(changes);
        self.call(CLOUDWATCH, "DescribeAlarmHistory", &parameters).each("AlarmHistoryItems", "HistorySummary")
    }
}

#[tokio::test]
async fn load_makes_the_group_grow_and_its_end_makes_the_alarm_ok() {
    let (mut clocked, policy) = Clocked::with_group();
    clocked.put(&[("AlarmActions.member.1", &policy), ("OKActions.member.1", SNS)]);
    clocked.go_on(&[10.0, 10.0, 10.0]);
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("OK", 1));
    clocked.go_on(&[90.5]);
    assert_eq!(clocked.state(), "OK", "one datapoint of two");
    clocked.go_on(&[95.0]);
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("ALARM", 2));
    let reason = clocked.field("StateReason").unwrap();
    assert!(
        reason.starts_with("Threshold Crossed: 2 out of the last 2 datapoints [95.0 (")
            && reason
                .ends_with("were greater than the threshold (70.0) (minimum 2 datapoints for OK -> ALARM transition)."),
        "{reason}"
    );
    assert_eq!(clocked.field("StateTransitionedTimestamp"), clocked.field("StateUpdatedTimestamp"));
    let in_service = |world: &FakeWorld| {
        world.read(|tx| {
            let group = tx.get::<AutoScalingGroup>("web").unwrap();
            group.members.iter().filter(|member| member.lifecycle == Lifecycle::InService).count()
        })
    };
    clocked.world.until("a second member", |world| in_service(world) == 2).await;
    let activities = clocked.call(ASG, "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]);
    let causes = activities.each("Activities", "Cause");
    let told = "a monitor alarm busy in state ALARM triggered policy out changing the desired capacity from 1 to 2.";
    assert!(causes.iter().any(|cause| cause.contains(told)), "{causes:?}");
    clocked.go_on(&[20.0]);
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("OK", 2));
    let history = clocked.history(&[]);
    assert_eq!(
        history,
        [
            "Alarm \"busy\" created".to_owned(),
            "Alarm updated from INSUFFICIENT_DATA to OK".to_owned(),
            format!("Failed to execute action {SNS}. Received error: \"This cloud has no service sns\""),
            "Alarm updated from OK to ALARM".to_owned(),
            format!("Successfully executed action {policy}"),
            "Alarm updated from ALARM to OK".to_owned(),
            format!("Failed to execute action {SNS}. Received error: \"This cloud has no service sns\""),
        ]
    );
}

#[tokio::test]
async fn a_policy_is_carried_out_again_while_the_alarm_lasts_and_not_doubled_by_a_restart() {
    let (mut clocked, policy) = Clocked::with_group();
    clocked.put(&[
        ("AlarmActions.member.1", &policy),
        ("Period", "60"),
        ("EvaluationPeriods", "1"),
        ("DatapointsToAlarm", "1"),
    ]);
    clocked.record(("AutoScalingGroupName", "web"), 99.0);
    clocked.pass_secs(62);
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("ALARM", 2));
    clocked.pass_secs(30);
    assert_eq!(clocked.desired(), 2, "half a minute later nothing is due");
    clocked.alarms = Alarms::default();
    clocked.look();
    assert_eq!(clocked.desired(), 2, "nor for a new daemon");
    clocked.record(("AutoScalingGroupName", "web"), 99.0);
    clocked.pass_secs(30);
    assert_eq!(clocked.desired(), 3);
    clocked.alarms = Alarms::default();
    clocked.look();
    assert_eq!(clocked.desired(), 3, "it knows of the repetition");
    assert_eq!(clocked.history(&[("HistoryItemType", "Action")]).len(), 1, "repetitions are no items");
    clocked.call(CLOUDWATCH, "DisableAlarmActions", &[("AlarmNames.member.1", "busy")]);
    clocked.record(("AutoScalingGroupName", "web"), 99.0);
    clocked.pass_secs(60);
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("ALARM", 3));
    clocked.call(CLOUDWATCH, "EnableAlarmActions", &[("AlarmNames.member.1", "busy")]);
    clocked.pass_secs(1);
    assert_eq!(clocked.desired(), 4, "it goes on where it is still so");
}

#[tokio::test]
async fn a_lasting_alarm_writes_nothing_while_its_policy_changes_nothing() {
    let (mut clocked, policy) = Clocked::with_group();
    let suspend = [("AutoScalingGroupName", "web"), ("ScalingProcesses.member.1", "AlarmNotification")];
    clocked.call(ASG, "SuspendProcesses", &suspend);
    clocked.put(&[("AlarmActions.member.1", &policy)]);
    clocked.go_on(&[90.0, 90.0]);
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("ALARM", 1));
    let refused = clocked.history(&[("HistoryItemType", "Action")]);
    assert_eq!(refused, ["Failed to execute AutoScaling action: The process AlarmNotification is suspended"]);
    clocked.look();
    let changed = clocked.world.store.subscribe();
    clocked.go_on(&[90.0, 90.0, 90.0]);
    assert!(!changed.has_changed().unwrap());
    clocked.call(ASG, "ResumeProcesses", &suspend);
    clocked.go_on(&[90.0, 90.0]);
    assert!(clocked.desired() > 1, "the alarm still lasts");
}

#[tokio::test]
async fn a_missing_policy_fails_in_the_history_and_harms_nothing() {
    let (mut clocked, policy) = Clocked::with_group();
    let other = clocked.policy("two", "2");
    clocked.put(&[("AlarmActions.member.1", &policy), ("AlarmActions.member.2", &other)]);
    clocked.call(ASG, "DeletePolicy", &[("PolicyName", &policy)]);
    clocked.go_on(&[90.0, 90.0]);
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("ALARM", 3), "the other policy is carried out");
    let history = clocked.history(&[("HistoryItemType", "Action")]);
    assert!(history[0].starts_with("Failed to execute AutoScaling action: PolicyName not found"), "{history:?}");
    assert_eq!(history[1], format!("Successfully executed action {other}"));
}

#[tokio::test]
async fn data_that_ends_is_missing_after_the_evaluation_range() {
    let mut clocked = Clocked::new();
    clocked.put(&[]);
    clocked.go_on(&[90.0, 90.0]);
    assert_eq!(clocked.state(), "ALARM");
    for _ in 0..4 {
        clocked.pass_secs(10);
        assert_eq!(clocked.state(), "ALARM", "the datapoints are still in the range");
    }
    clocked.pass_secs(10);
    assert_eq!(clocked.state(), "INSUFFICIENT_DATA");
    assert_eq!(clocked.field("StateReason").unwrap(), "Insufficient Data: 2 datapoints were unknown.");
}

#[test]
fn a_late_sample_of_a_fast_alarm_is_seen_within_two_seconds() {
    let mut clocked = Clocked::new();
    clocked.put(&[("EvaluationPeriods", "1"), ("DatapointsToAlarm", "1")]);
    let begin = clocked.now;
    for second in 0..9 {
        clocked.now = begin.plus_secs(11 + second);
        let next = clocked.look().unwrap();
        assert!(next <= clocked.now.plus_secs(2), "at second {second}");
    }
    clocked.now = begin.plus_secs(5);
    clocked.record(("AutoScalingGroupName", "web"), 90.0);
    clocked.now = begin.plus_secs(20);
    let next = clocked.look().unwrap();
    assert_eq!(clocked.state(), "ALARM");
    assert_eq!(next, begin.plus_secs(21), "then the next period");
}

#[test]
fn a_state_set_by_hand_acts_and_lasts_until_the_next_evaluation() {
    let (mut clocked, policy) = Clocked::with_group();
    clocked.put(&[("AlarmActions.member.1", &policy)]);
    clocked.go_on(&[10.0, 10.0]);
    let mut by_hand = vec![("AlarmName", "busy"), ("StateValue", "ALARM"), ("StateReason", "a drill")];
    by_hand.push(("StateReasonData", "{"));
    assert_eq!(clocked.world.refused(CLOUDWATCH, "SetAlarmState", &by_hand), "InvalidFormat");
    by_hand.pop();
    by_hand.push(("StateReasonData", r#"{"recentDatapoints":[80.0]}"#));
    clocked.call(CLOUDWATCH, "SetAlarmState", &by_hand);
    clocked.look();
    assert_eq!((clocked.state().as_str(), clocked.desired()), ("ALARM", 2));
    assert_eq!(clocked.field("StateReasonData").unwrap(), r#"{"recentDatapoints":[80.0]}"#);
    clocked.look();
    assert_eq!(clocked.desired(), 2, "once");
    clocked.go_on(&[10.0]);
    assert_eq!(clocked.state(), "OK");
}

#[tokio::test]
async fn an_alarm_acts_on_its_instance() {
    let mut clocked = Clocked::new();
    let image = clocked.world.image_id.clone();
    let run = [("ImageId", image.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    let id = clocked.call(EC2, "RunInstances", &run).text("instancesSet.0.instanceId");
    let state = |world: &FakeWorld| world.read(|tx| tx.get::<Instance>(&id).unwrap().state);
    clocked.world.until("running", |world| state(world) == InstanceState::Running).await;
    let stop = "arn:aws:automate:localcloud:ec2:stop";
    let without = [("AlarmName", "x"), ("AlarmActions.member.1", stop)];
    let refused = clocked.world.call(
        CLOUDWATCH,
        "PutMetricAlarm",
        &[
            &without[..],
            &[
                ("MetricName", "CPUUtilization"),
                ("Namespace", "AWS/EC2"),
                ("Statistic", "Average"),
                ("Period", "10"),
                ("EvaluationPeriods", "1"),
                ("Threshold", "1"),
                ("ComparisonOperator", "LessThanThreshold"),
            ],
        ]
        .concat(),
    );
    assert!(refused.unwrap_err().message.contains("InstanceId"));
    clocked.put(&[
        ("Dimensions.member.1.Name", "InstanceId"),
        ("Dimensions.member.1.Value", &id),
        ("AlarmActions.member.1", stop),
        ("AlarmActions.member.2", "arn:aws:automate:localcloud:ec2:reboot"),
    ]);
    for _ in 0..2 {
        clocked.record(("InstanceId", &id), 99.0);
        clocked.pass_secs(10);
    }
    clocked.pass_secs(1);
    assert_eq!(clocked.state(), "ALARM");
    let history = clocked.history(&[("HistoryItemType", "Action")]);
    assert_eq!(history[0], format!("Successfully executed action {stop}"));
    assert!(history[1].contains("is not in a state from which it can be rebooted"), "{history:?}");
    clocked.world.until("stopped", |world| state(world) == InstanceState::Stopped).await;
}

#[test]
fn a_composite_alarm_follows_its_children() {
    let mut clocked = Clocked::new();
    clocked.put(&[]);
    clocked.put(&[("AlarmName", "other"), ("Dimensions.member.1.Value", "db")]);
    let rule = "ALARM(busy) AND NOT ALARM(\"other\")";
    let composite = [("AlarmName", "both"), ("AlarmRule", rule), ("AlarmActions.member.1", SNS)];
    clocked.call(CLOUDWATCH, "PutCompositeAlarm", &composite);
    for (rule, said) in [("ALARM(nobody)", "does not exist"), ("ALARM(busy", "closing )")] {
        let bad = [("AlarmName", "bad"), ("AlarmRule", rule)];
        let error = clocked.world.call(CLOUDWATCH, "PutCompositeAlarm", &bad).unwrap_err();
        assert!(error.code == "ValidationError" && error.message.contains(said), "{error}");
    }
    let described =
        |clocked: &Clocked| clocked.call(CLOUDWATCH, "DescribeAlarms", &[("AlarmTypes.member.1", "CompositeAlarm")]);
    clocked.look();
    let answer = described(&clocked);
    assert_eq!(answer.text("CompositeAlarms.0.StateValue"), "OK");
    assert_eq!(
        answer.text("CompositeAlarms.0.StateReason"),
        "arn:aws:cloudwatch:localcloud:000000000001:alarm:both was created and its alarm rule evaluates to OK"
    );
    clocked.go_on(&[90.0, 90.0]);
    let answer = described(&clocked);
    assert_eq!(answer.text("CompositeAlarms.0.StateValue"), "ALARM");
    let reason = answer.text("CompositeAlarms.0.StateReason");
    assert!(
        reason.starts_with("arn:aws:cloudwatch:localcloud:000000000001:alarm:busy transitioned to ALARM at "),
        "{reason}"
    );
    let history = clocked.call(
        CLOUDWATCH,
        "DescribeAlarmHistory",
        &[("AlarmTypes.member.1", "CompositeAlarm"), ("HistoryItemType", "Action")],
    );
    assert_eq!(history.each("AlarmHistoryItems", "AlarmName"), ["both"]);
    let names = |parameter: &str, alarm: &str, list: &str| {
        clocked.call(CLOUDWATCH, "DescribeAlarms", &[(parameter, alarm)]).each(list, "AlarmName")
    };
    assert_eq!(names("ChildrenOfAlarmName", "both", "MetricAlarms"), ["busy", "other"]);
    assert_eq!(names("ParentsOfAlarmName", "busy", "CompositeAlarms"), ["both"]);
    assert_eq!(names("AlarmNamePrefix", "bo", "MetricAlarms"), [""; 0], "without types, metric alarms are meant");
    let delete = [("AlarmNames.member.1", "busy")];
    assert_eq!(clocked.world.refused(CLOUDWATCH, "DeleteAlarms", &delete), "ValidationError");
    clocked.call(CLOUDWATCH, "DeleteAlarms", &[("AlarmNames.member.1", "busy"), ("AlarmNames.member.2", "both")]);
}

#[test]
fn composite_alarms_that_depend_on_each_other_are_not_evaluated() {
    let mut clocked = Clocked::new();
    for (name, rule) in [("a", "TRUE"), ("b", "NOT ALARM(a)"), ("a", "ALARM(b)")] {
        clocked.call(CLOUDWATCH, "PutCompositeAlarm", &[("AlarmName", name), ("AlarmRule", rule)]);
    }
    clocked.look();
    let answer = clocked.call(CLOUDWATCH, "DescribeAlarms", &[("AlarmTypes.member.1", "CompositeAlarm")]);
    assert_eq!(answer.each("CompositeAlarms", "StateValue"), ["INSUFFICIENT_DATA", "INSUFFICIENT_DATA"]);
    assert_eq!(clocked.world.refused(CLOUDWATCH, "DeleteAlarms", &[("AlarmNames.member.1", "a")]), "ValidationError");
    clocked.call(CLOUDWATCH, "PutCompositeAlarm", &[("AlarmName", "a"), ("AlarmRule", "FALSE")]);
    clocked.look();
    let answer = clocked.call(CLOUDWATCH, "DescribeAlarms", &[("AlarmTypes.member.1", "CompositeAlarm")]);
    assert_eq!(answer.each("CompositeAlarms", "StateValue"), ["OK", "ALARM"]);
}

#[test]
fn a_history_is_filtered_and_paged_and_outlives_its_alarm() {
    let mut clocked = Clocked::new();
    clocked.put(&[]);
    clocked.go_on(&[90.0, 90.0, 10.0, 90.0, 90.0]);
    clocked.put(&[("Threshold", "80")]);
    clocked.call(CLOUDWATCH, "DeleteAlarms", &[("AlarmNames.member.1", "busy")]);
    assert_eq!(
        clocked.history(&[("HistoryItemType", "StateUpdate")]),
        [
            "Alarm updated from INSUFFICIENT_DATA to ALARM",
            "Alarm updated from ALARM to OK",
            "Alarm updated from OK to ALARM"
        ]
    );
    let configuration = clocked.history(&[("HistoryItemType", "ConfigurationUpdate")]);
    assert_eq!(configuration, ["Alarm \"busy\" created", "Alarm \"busy\" updated", "Alarm \"busy\" deleted"]);
    let mut seen = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut parameters = vec![("MaxRecords", "2"), ("HistoryItemType", "StateUpdate")];
        if let Some(token) = &token {
            parameters.push(("NextToken", token.as_str()));
        }
        let page = clocked.call(CLOUDWATCH, "DescribeAlarmHistory", &parameters);
        seen.extend(page.each("AlarmHistoryItems", "HistorySummary"));
        token = page.get("NextToken");
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.first().unwrap(), "Alarm updated from OK to ALARM", "the newest first");
    assert_eq!(seen.len(), 3);
    let since = clocked.now.plus_secs(-15).to_string();
    assert_eq!(clocked.history(&[("HistoryItemType", "StateUpdate"), ("StartDate", &since)]).len(), 1);
    let data = clocked.call(CLOUDWATCH, "DescribeAlarmHistory", &[("HistoryItemType", "StateUpdate")]);
    let data: serde_json::Value = serde_json::from_str(&data.text("AlarmHistoryItems.0.HistoryData")).unwrap();
    assert_eq!(data["newState"]["stateReasonData"]["recentDatapoints"], serde_json::json!([90.0, 90.0]));
}

#[test]
fn periods_of_five_minutes_slide_by_the_minute() {
    let mut clocked = Clocked::new();
    clocked.put(&[("Period", "300"), ("EvaluationPeriods", "1"), ("DatapointsToAlarm", "")]);
    clocked.pass_secs(182);
    clocked.record(("AutoScalingGroupName", "web"), 90.0);
    clocked.pass_secs(60);
    assert_eq!(clocked.state(), "ALARM", "not only when the clock's five minutes are over");
}

#[test]
fn an_alarm_on_an_expression_is_computed() {
    let mut clocked = Clocked::new();
    let query = |number: usize, field: &str| format!("Metrics.member.{number}.{field}");
    let stat = |number: usize, id: &str, group: &str| {
        let field = |name: &str| query(number, &format!("MetricStat.{name}"));
        vec![
            (query(number, "Id"), id.to_owned()),
            (query(number, "ReturnData"), "false".to_owned()),
            (field("Metric.Namespace"), "AWS/EC2".to_owned()),
            (field("Metric.MetricName"), "CPUUtilization".to_owned()),
            (field("Metric.Dimensions.member.1.Name"), "AutoScalingGroupName".to_owned()),
            (field("Metric.Dimensions.member.1.Value"), group.to_owned()),
            (field("Period"), "10".to_owned()),
            (field("Stat"), "Average".to_owned()),
        ]
    };
    let own = [("MetricName", ""), ("Namespace", ""), ("Statistic", ""), ("Period", "")];
    let dimension = [("Dimensions.member.1.Name", ""), ("Dimensions.member.1.Value", "")];
    let put = |clocked: &Clocked, expression: &str| {
        let mut parameters = [stat(1, "a", "web"), stat(2, "b", "db")].concat();
        parameters.push((query(3, "Id"), "e".to_owned()));
        parameters.push((query(3, "Expression"), expression.to_owned()));
        let parameters: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        clocked.try_put(&[&own[..], &dimension[..], &parameters[..]].concat())
    };
    for (expression, said) in [("a +", "Error in expression 'e'"), ("c", "'c'"), ("METRICS()", "a single time series")]
    {
        let error = put(&clocked, expression).unwrap_err();
        assert!(error.code == "ValidationError" && error.message.contains(said), "{expression}: {error}");
    }
    put(&clocked, "a + b").unwrap();
    assert_eq!(clocked.field("Metrics.2.Expression").unwrap(), "a + b");
    assert_eq!(clocked.field("Metrics.0.MetricStat.Period").unwrap(), "10");
    assert_eq!(clocked.field("MetricName"), None);
    for (web, db) in [(40.0, 20.0), (40.0, 20.0), (40.0, 35.0), (40.0, 35.0)] {
        assert_ne!(clocked.field("StateValue").unwrap(), "ALARM");
        clocked.record(("AutoScalingGroupName", "db"), db);
        clocked.go_on(&[web]);
    }
    assert_eq!(clocked.state(), "ALARM");
    assert!(clocked.field("StateReason").unwrap().contains("[75.0 ("));
}

#[tokio::test]
async fn the_running_cloud_evaluates_by_itself() {
    let mut world = FakeWorld::new();
    let parameters = [
        ("AlarmName", "busy"),
        ("MetricName", "m"),
        ("Namespace", "mine"),
        ("Statistic", "Sum"),
        ("Period", "10"),
        ("EvaluationPeriods", "1"),
        ("Threshold", "1"),
        ("ComparisonOperator", "GreaterThanOrEqualToThreshold"),
    ];
    world.call(CLOUDWATCH, "PutMetricAlarm", &parameters).unwrap();
    let metric = Metric::new("mine", "m", &[]);
    // Within the evaluation range, however long the test waits for its turn.
    let samples = (0..6).map(|ten| Sample::of(metric.clone(), Timestamp::now().plus_secs(ten * 10 - 40), "Count", 1.0));
    world.metrics().record(samples.collect());
    world.until("the alarm", |world| world.read(|tx| tx.get::<Alarm>("busy").unwrap().state == "ALARM")).await;
}
