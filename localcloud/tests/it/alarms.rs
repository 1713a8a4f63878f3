//! Alarms that act: from a sample to an instance, at times that the tests choose.

use localcloud::{
    metrics::{Metric, Sample},
    model::{
        alarm::Alarm,
        auto_scaling::{AutoScalingGroup, Lifecycle},
        instance::{Instance, InstanceState},
        time::Timestamp,
    },
    reconcile::alarms::Alarms,
};

use self::clocked::Clocked;
use super::{boto3, fake_world::FakeWorld};

/// A cloud with a clock of its own for alarms.
mod clocked;
/// Composite alarms, metric math, histories.
mod told;

const ASG: &str = "autoscaling";
const CLOUDWATCH: &str = "monitoring";
const EC2: &str = "ec2";
const SNS: &str = "arn:aws:sns:localcloud:000000000001:mail";

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
    let mut next = begin.plus_secs(11);
    // It is recorded eight seconds after its period.
    while next < begin.plus_secs(18) {
        clocked.now = next;
        next = clocked.look().unwrap();
        assert!(next <= clocked.now.plus_secs(2), "{next} is later than two seconds after {}", clocked.now);
    }
    clocked.now = begin.plus_secs(5);
    clocked.record(("AutoScalingGroupName", "web"), 90.0);
    assert_eq!(clocked.state(), "INSUFFICIENT_DATA");
    clocked.now = next;
    next = clocked.look().unwrap();
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
fn periods_of_five_minutes_slide_by_the_minute() {
    let mut clocked = Clocked::new();
    clocked.put(&[("Period", "300"), ("EvaluationPeriods", "1"), ("DatapointsToAlarm", "")]);
    clocked.pass_secs(182);
    clocked.record(("AutoScalingGroupName", "web"), 90.0);
    clocked.pass_secs(60);
    assert_eq!(clocked.state(), "ALARM", "not only when the clock's five minutes are over");
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

#[tokio::test]
async fn boto3_sees_an_alarm_go_off_by_each_protocol() {
    let world = FakeWorld::new();
    let front = boto3::Front::serve(&world).await;
    let (store, metrics) = (world.store.clone(), world.metrics().clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let mut alarms = Alarms::default();
        while !stopped.is_cancelled() {
            alarms.pass(&store, &metrics, Timestamp::now()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let outcome = front.run(include_str!("alarms/boto3.py")).await;
    stop.cancel();
    looking.await.unwrap();
    if let Some(output) = outcome {
        assert_eq!(output, "done");
    }
}
