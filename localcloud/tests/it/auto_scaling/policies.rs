use localcloud::{
    api::{
        autoscaling::execute_policy::{Signal, execute_for_alarm},
        error::ApiError,
    },
    model::{alarm::Alarm, auto_scaling::AutoScalingGroup, time::Timestamp},
};

use super::*;

/// Carries a policy out as an alarm above 60 does.
fn alarm(world: &FakeWorld, arn: &str, value: f64) -> Result<(), ApiError> {
    let signal = Signal { alarm_name: "high", state: "ALARM", metric_value: Some(value), threshold: 60.0 };
    world.store.transact(|tx| execute_for_alarm(tx, arn, &signal, Timestamp::now()))
}

fn desired(world: &FakeWorld) -> u32 {
    world.read(|tx| tx.get::<AutoScalingGroup>("web").unwrap().desired_capacity)
}

const STEPS: &[(&str, &str)] = &[
    ("AutoScalingGroupName", "web"),
    ("PolicyName", "out"),
    ("PolicyType", "StepScaling"),
    ("AdjustmentType", "ChangeInCapacity"),
    ("StepAdjustments.member.1.MetricIntervalLowerBound", "0"),
    ("StepAdjustments.member.1.MetricIntervalUpperBound", "20"),
    ("StepAdjustments.member.1.ScalingAdjustment", "1"),
    ("StepAdjustments.member.2.MetricIntervalLowerBound", "20"),
    ("StepAdjustments.member.2.ScalingAdjustment", "3"),
    ("EstimatedInstanceWarmup", "100"),
];

#[tokio::test]
async fn a_step_policy_follows_its_alarm_and_counts_what_warms_up() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    age(&world, 100);
    let arn = world.call(ASG, "PutScalingPolicy", STEPS).unwrap().text("PolicyARN");
    alarm(&world, &arn, 65.0).unwrap();
    assert_eq!(desired(&world), 3);
    world.until("three members in service", |world| has_settled(world, 3)).await;
    let cause = activities(&world).text("Activities.0.Cause");
    assert!(
        cause.contains(
            "a monitor alarm high in state ALARM triggered policy out changing the desired capacity from 2 to 3."
        ),
        "{cause}"
    );
    alarm(&world, &arn, 65.0).unwrap();
    assert_eq!(desired(&world), 3, "the third one warms up, and is what the step asked for");
    alarm(&world, &arn, 90.0).unwrap();
    assert_eq!(desired(&world), 5, "the higher step counts from the two that are warm");
    world.until("five members in service", |world| has_settled(world, 5)).await;
    age(&world, 100);
    alarm(&world, &arn, 65.0).unwrap();
    assert_eq!(desired(&world), 6);
    alarm(&world, &arn, 99.0).unwrap();
    assert_eq!(desired(&world), 6, "the group's maximum");
    assert_eq!(alarm(&world, &arn, 59.0).unwrap_err().code, "ValidationError");
}

#[tokio::test]
async fn a_step_policy_is_executed_by_hand_with_a_metric_value() {
    let world = world(&[]);
    let arn = world.call(ASG, "PutScalingPolicy", STEPS).unwrap().text("PolicyARN");
    assert_eq!(world.refused(ASG, "ExecutePolicy", &[("PolicyName", &arn)]), "ValidationError");
    let breach = [("PolicyName", arn.as_str()), ("MetricValue", "79"), ("BreachThreshold", "60")];
    world.change::<AutoScalingGroup>("web", |group| group.max_size = 9);
    world.call(ASG, "ExecutePolicy", &breach).unwrap();
    // Nobody is in service yet: what the step adds is less than what is on its way.
    assert_eq!(desired(&world), 2);
    let below = [("PolicyName", arn.as_str()), ("MetricValue", "50"), ("BreachThreshold", "60")];
    assert_eq!(world.refused(ASG, "ExecutePolicy", &below), "ValidationError");
    let described = world.call(ASG, "DescribePolicies", &[("PolicyTypes.member.1", "StepScaling")]).unwrap();
    assert_eq!(described.each("ScalingPolicies.0.StepAdjustments", "ScalingAdjustment"), ["1", "3"]);
    assert_eq!(described.text("ScalingPolicies.0.MetricAggregationType"), "Average");
    assert_eq!(described.text("ScalingPolicies.0.EstimatedInstanceWarmup"), "100");
    assert_eq!(described.get("ScalingPolicies.0.ScalingAdjustment"), None);
}

const TRACKING: &[(&str, &str)] = &[
    ("AutoScalingGroupName", "web"),
    ("PolicyName", "half"),
    ("PolicyType", "TargetTrackingScaling"),
    ("TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType", "ASGAverageCPUUtilization"),
    ("TargetTrackingConfiguration.TargetValue", "50"),
    ("EstimatedInstanceWarmup", "60"),
];

fn alarms(world: &FakeWorld) -> Vec<Alarm> {
    world.read(|tx| tx.list::<Alarm>().iter().map(|alarm| Alarm::clone(alarm)).collect())
}

#[tokio::test]
async fn a_target_tracking_policy_makes_its_two_alarms_and_takes_them_with_it() {
    let world = world(&[]);
    let put = world.call(ASG, "PutScalingPolicy", TRACKING).unwrap();
    let names = put.each("Alarms", "AlarmName");
    assert!(names[0].starts_with("TargetTracking-web-AlarmHigh-"), "{names:?}");
    assert!(names[1].starts_with("TargetTracking-web-AlarmLow-"), "{names:?}");
    let [high, low] = alarms(&world).try_into().unwrap();
    assert_eq!((high.threshold, high.period_secs, high.evaluation_periods), (50.0, 60, 3));
    assert_eq!((low.threshold, low.period_secs, low.evaluation_periods), (45.0, 60, 15));
    assert_eq!(
        (high.comparison_operator.as_str(), low.comparison_operator.as_str()),
        ("GreaterThanThreshold", "LessThanThreshold")
    );
    assert_eq!((high.namespace.as_str(), high.metric_name.as_str()), ("AWS/EC2", "CPUUtilization"));
    assert_eq!(high.dimensions, [("AutoScalingGroupName".to_owned(), "web".to_owned())]);
    assert_eq!(high.alarm_actions, [put.text("PolicyARN")]);

    // Put again with another target it keeps its alarms, and drops what it needs no more.
    let again: Vec<(&str, &str)> = TRACKING
        .iter()
        .map(|&(name, value)| if name.ends_with("TargetValue") { (name, "30") } else { (name, value) })
        .chain([("TargetTrackingConfiguration.DisableScaleIn", "true")])
        .collect();
    let put_again = world.call(ASG, "PutScalingPolicy", &again).unwrap();
    assert_eq!(put_again.each("Alarms", "AlarmName"), [high.name]);
    assert_eq!(alarms(&world)[0].threshold, 30.0);
    let described = world.call(ASG, "DescribePolicies", &[]).unwrap();
    assert_eq!(
        described.text("ScalingPolicies.0.TargetTrackingConfiguration.TargetValue").parse::<f64>().unwrap(),
        30.0
    );

    world.call(ASG, "DeletePolicy", &[("AutoScalingGroupName", "web"), ("PolicyName", "half")]).unwrap();
    assert!(alarms(&world).is_empty());
}

#[tokio::test]
async fn a_target_tracking_policy_goes_out_in_proportion_and_in_when_all_agree() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    age(&world, 60);
    let arn = world.call(ASG, "PutScalingPolicy", TRACKING).unwrap().text("PolicyARN");
    alarm(&world, &arn, 90.0).unwrap();
    assert_eq!(desired(&world), 4);
    world.until("four members in service", |world| has_settled(world, 4)).await;
    alarm(&world, &arn, 90.0).unwrap();
    alarm(&world, &arn, 10.0).unwrap();
    assert_eq!(desired(&world), 4, "two warm up");
    age(&world, 60);
    // Another policy is not ready to scale in until its low alarm says so.
    let other = [
        ("AutoScalingGroupName", "web"),
        ("PolicyName", "queue"),
        ("PolicyType", "TargetTrackingScaling"),
        ("TargetTrackingConfiguration.CustomizedMetricSpecification.MetricName", "Backlog"),
        ("TargetTrackingConfiguration.CustomizedMetricSpecification.Namespace", "Shop"),
        ("TargetTrackingConfiguration.CustomizedMetricSpecification.Statistic", "Average"),
        ("TargetTrackingConfiguration.CustomizedMetricSpecification.Period", "10"),
        ("TargetTrackingConfiguration.CustomizedMetricSpecification.Dimensions.member.1.Name", "Queue"),
        ("TargetTrackingConfiguration.CustomizedMetricSpecification.Dimensions.member.1.Value", "orders"),
        ("TargetTrackingConfiguration.TargetValue", "100"),
    ];
    let names = world.call(ASG, "PutScalingPolicy", &other).unwrap().each("Alarms", "AlarmName");
    alarm(&world, &arn, 10.0).unwrap();
    assert_eq!(desired(&world), 4);
    world.change::<Alarm>(&names[1], |alarm| {
        assert_eq!((alarm.period_secs, alarm.metric_name.as_str()), (10, "Backlog"));
        alarm.state = "ALARM".into();
    });
    alarm(&world, &arn, 10.0).unwrap();
    assert_eq!(desired(&world), 3);
    alarm(&world, &arn, 10.0).unwrap();
    world.pass().await;
    alarm(&world, &arn, 10.0).unwrap();
    assert_eq!(desired(&world), 2, "while one leaves no other one is sent after it");
}

#[tokio::test]
async fn a_disabled_policy_and_a_suspended_notification_move_nothing() {
    let world = world(&[]);
    let disabled: Vec<(&str, &str)> = STEPS.iter().copied().chain([("Enabled", "false")]).collect();
    let arn = world.call(ASG, "PutScalingPolicy", &disabled).unwrap().text("PolicyARN");
    assert!(alarm(&world, &arn, 90.0).is_err());
    world.call(ASG, "PutScalingPolicy", STEPS).unwrap();
    let suspend = [("AutoScalingGroupName", "web"), ("ScalingProcesses.member.1", "AlarmNotification")];
    world.call(ASG, "SuspendProcesses", &suspend).unwrap();
    assert!(alarm(&world, &arn, 90.0).is_err());
    assert_eq!(desired(&world), 2);
}

#[test]
fn a_policy_has_the_parameters_of_its_type_only() {
    let world = world(&[]);
    let put = |parameters: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> =
            [("AutoScalingGroupName", "web"), ("PolicyName", "p")].iter().chain(parameters).copied().collect();
        world.refused(ASG, "PutScalingPolicy", &all)
    };
    let simple = [("AdjustmentType", "ChangeInCapacity"), ("ScalingAdjustment", "1")];
    let with = |name, value| put(&[simple[0], simple[1], (name, value)]);
    assert_eq!(with("EstimatedInstanceWarmup", "10"), "ValidationError");
    assert_eq!(with("MetricAggregationType", "Average"), "ValidationError");
    assert_eq!(with("PolicyType", "StepScaling"), "ValidationError");
    assert_eq!(with("PolicyType", "Magic"), "ValidationError");
    assert_eq!(put(&[("PolicyType", "StepScaling"), simple[0]]), "ValidationError", "no steps");
    assert_eq!(put(&[("PolicyType", "PredictiveScaling")]), "UnsupportedOperation");
    let track = |kind| {
        put(&[
            ("PolicyType", "TargetTrackingScaling"),
            ("TargetTrackingConfiguration.TargetValue", "50"),
            ("TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType", kind),
        ])
    };
    assert_eq!(track("ALBRequestCountPerTarget"), "UnsupportedOperation");
    assert_eq!(track("Nonsense"), "ValidationError");
}
