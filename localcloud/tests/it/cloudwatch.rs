//! Alarms, as they are kept and described.

use super::fake_world::FakeWorld;

const CLOUDWATCH: &str = "monitoring";

const ALARM: &[(&str, &str)] = &[
    ("AlarmName", "busy"),
    ("MetricName", "CPUUtilization"),
    ("Namespace", "AWS/EC2"),
    ("Statistic", "Average"),
    ("Period", "60"),
    ("EvaluationPeriods", "2"),
    ("Threshold", "70.5"),
    ("ComparisonOperator", "GreaterThanThreshold"),
    ("Dimensions.member.1.Name", "AutoScalingGroupName"),
    ("Dimensions.member.1.Value", "web"),
    (
        "AlarmActions.member.1",
        "arn:aws:autoscaling:localcloud:000000000001:scalingPolicy:x:autoScalingGroupName/web:policyName/out",
    ),
    ("Tags.member.1.Key", "stack"),
    ("Tags.member.1.Value", "s"),
];

fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut parameters = ALARM.to_vec();
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        if !value.is_empty() {
            parameters.push((name, value));
        }
    }
    parameters
}

#[test]
fn an_alarm_is_described_as_it_was_put() {
    let world = FakeWorld::new();
    world.call(CLOUDWATCH, "PutMetricAlarm", ALARM).unwrap();
    let answer = world.call(CLOUDWATCH, "DescribeAlarms", &[("AlarmNames.member.1", "busy")]).unwrap();
    let field = |name: &str| answer.text(&format!("MetricAlarms.0.{name}"));
    assert_eq!(field("AlarmArn"), "arn:aws:cloudwatch:localcloud:000000000001:alarm:busy");
    assert_eq!(field("StateValue"), "INSUFFICIENT_DATA");
    assert_eq!(field("StateReason"), "Unchecked: Initial alarm creation");
    assert_eq!(field("Threshold"), "70.5");
    assert_eq!(field("ActionsEnabled"), "true");
    assert_eq!(field("Dimensions.0.Value"), "web");
    let parameters = [("MetricName", "CPUUtilization"), ("Namespace", "AWS/EC2")];
    let none = world.call(CLOUDWATCH, "DescribeAlarmsForMetric", &parameters).unwrap();
    assert_eq!(none.count("MetricAlarms"), 0, "the dimensions are part of the metric");
}

#[test]
fn putting_an_alarm_again_keeps_its_state_and_tags() {
    let world = FakeWorld::new();
    world.call(CLOUDWATCH, "PutMetricAlarm", ALARM).unwrap();
    let state = [("AlarmName", "busy"), ("StateValue", "ALARM"), ("StateReason", "a drill")];
    world.call(CLOUDWATCH, "SetAlarmState", &state).unwrap();
    world.call(CLOUDWATCH, "PutMetricAlarm", &with(&[("Threshold", "80"), ("Tags.member.1.Value", "other")])).unwrap();
    let answer = world.call(CLOUDWATCH, "DescribeAlarms", &[("StateValue", "ALARM")]).unwrap();
    assert_eq!(answer.text("MetricAlarms.0.Threshold"), "80");
    assert_eq!(answer.text("MetricAlarms.0.StateReason"), "a drill");
    let arn = answer.text("MetricAlarms.0.AlarmArn");
    let tags = world.call(CLOUDWATCH, "ListTagsForResource", &[("ResourceARN", &arn)]).unwrap();
    assert_eq!(tags.each("Tags", "Value"), ["s"]);
}

#[test]
fn alarms_are_found_by_prefix_and_action_in_pages_and_deleted() {
    let world = FakeWorld::new();
    for name in ["a-1", "a-2", "b-1"] {
        world.call(CLOUDWATCH, "PutMetricAlarm", &with(&[("AlarmName", name)])).unwrap();
    }
    let names = |parameters: &[(&str, &str)]| {
        world.call(CLOUDWATCH, "DescribeAlarms", parameters).unwrap().each("MetricAlarms", "AlarmName")
    };
    assert_eq!(names(&[("AlarmNamePrefix", "a-")]), ["a-1", "a-2"]);
    assert_eq!(names(&[("ActionPrefix", "arn:aws:autoscaling")]).len(), 3);
    assert!(names(&[("ActionPrefix", "arn:aws:sns")]).is_empty());
    assert_eq!(names(&[("MaxRecords", "2")]), ["a-1", "a-2"]);
    let delete = [("AlarmNames.member.1", "a-1"), ("AlarmNames.member.2", "nobody")];
    world.call(CLOUDWATCH, "DeleteAlarms", &delete).unwrap();
    assert_eq!(names(&[]), ["a-2", "b-1"]);
    world.call(CLOUDWATCH, "DisableAlarmActions", &[("AlarmNames.member.1", "b-1")]).unwrap();
    let disabled = world.call(CLOUDWATCH, "DescribeAlarms", &[("AlarmNames.member.1", "b-1")]).unwrap();
    assert_eq!(disabled.text("MetricAlarms.0.ActionsEnabled"), "false");
}

#[test]
fn an_alarm_that_could_not_be_evaluated_is_refused() {
    let world = FakeWorld::new();
    for (changes, code) in [
        (vec![("Statistic", "Median")], "ValidationError"),
        (vec![("Statistic", "")], "ValidationError"),
        (vec![("Period", "45")], "ValidationError"),
        (vec![("EvaluationPeriods", "0")], "ValidationError"),
        (vec![("Period", "60"), ("EvaluationPeriods", "1441")], "ValidationError"),
        (vec![("ComparisonOperator", "Above")], "ValidationError"),
        (vec![("Threshold", "")], "ValidationError"),
        (vec![("DatapointsToAlarm", "3")], "ValidationError"),
        (vec![("TreatMissingData", "forget")], "ValidationError"),
        (vec![("AlarmActions.member.1", "mail")], "ValidationError"),
        (vec![("MetricName", "")], "ValidationError"),
    ] {
        assert_eq!(world.refused(CLOUDWATCH, "PutMetricAlarm", &with(&changes)), code, "{changes:?}");
    }
    let unknown = [("AlarmName", "nobody"), ("StateValue", "OK"), ("StateReason", "x")];
    assert_eq!(world.refused(CLOUDWATCH, "SetAlarmState", &unknown), "ResourceNotFound");
    assert_eq!(world.refused(CLOUDWATCH, "PutDashboard", &[]), "InvalidAction");
}
