//! What alarms are computed from, and what is told of them.

use super::{CLOUDWATCH, SNS, clocked::Clocked};

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
    let by_hand = [("AlarmName", "both"), ("StateValue", "ALARM"), ("StateReason", "a drill")];
    clocked.call(CLOUDWATCH, "SetAlarmState", &by_hand);
    clocked.look();
    assert_eq!(described(&clocked).text("CompositeAlarms.0.StateReason"), "a drill", "until a child changes");
    clocked.go_on(&[10.0, 10.0]);
    assert_eq!(described(&clocked).text("CompositeAlarms.0.StateValue"), "OK");
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
    assert_eq!(history.each("AlarmHistoryItems", "AlarmName"), ["both", "both"], "once by hand, once by its rule");
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
fn alarms_that_are_put_again_within_a_millisecond_are_evaluated_anew() {
    let mut clocked = Clocked::new();
    for (rule, state) in [("TRUE", "ALARM"), ("FALSE", "OK")].repeat(20) {
        clocked.call(CLOUDWATCH, "PutCompositeAlarm", &[("AlarmName", "a"), ("AlarmRule", rule)]);
        clocked.look();
        let answer = clocked.call(CLOUDWATCH, "DescribeAlarms", &[("AlarmTypes.member.1", "CompositeAlarm")]);
        assert_eq!(answer.text("CompositeAlarms.0.StateValue"), state, "{rule}");
    }
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
