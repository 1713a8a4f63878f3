//! AWS's own tables and sentences.

use super::*;
use crate::{model::alarm::WarmUp, reconcile::alarms::windows::range};

const BEGIN: f64 = 1_795_489_440.0;

fn alarm(periods: u32, datapoints: Option<u32>) -> Alarm {
    let now = Timestamp::from_seconds(BEGIN);
    Alarm {
        metric_name: "CPUUtilization".into(),
        namespace: "AWS/EC2".into(),
        statistic: Some("Average".into()),
        period_secs: 60,
        evaluation_periods: periods,
        datapoints_to_alarm: datapoints,
        threshold: 70.0,
        comparison_operator: "GreaterThanThreshold".into(),
        // None of those that it can go into.
        state: "?".into(),
        ..Alarm::new("busy".into(), now)
    }
}

/// `0` is within the threshold, `X` breaches it, `-` is missing; the newest is the last.
fn windows(datapoints: &str) -> Vec<Window> {
    let mut begin = Timestamp::from_seconds(BEGIN);
    let mut windows = Vec::new();
    for (index, mark) in datapoints.split_whitespace().enumerate() {
        let value = match mark {
            "0" => Some(10.0),
            "X" => Some(71.5 + index as f64),
            _ => None,
        };
        windows.push(Window { begin, measured: value.map(|value| Measured { value, samples: Some(6.0) }) });
        begin = begin.plus_secs(60);
    }
    windows
}

fn state_of(datapoints: &str, needed: usize, missing: Missing) -> &'static str {
    let marks: Vec<Option<bool>> = datapoints
        .split_whitespace()
        .map(|mark| match mark {
            "0" => Some(false),
            "X" => Some(true),
            _ => None,
        })
        .collect();
    judge(&marks, 3, needed, missing).unwrap_or("retains")
}

#[test]
fn missing_data_is_treated_as_in_awss_tables() {
    assert_eq!(range(3), 5, "the tables' own evaluation range");
    let insufficient = INSUFFICIENT_DATA;
    // https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html: 3 evaluation periods;
    // columns: missing, ignore, breaching, notBreaching.
    for (needed, datapoints, expected) in [
        (3, "0 - X - X", [OK, OK, OK, OK]),
        (3, "- - - - 0", [OK, OK, OK, OK]),
        (3, "- - - - -", [insufficient, "retains", ALARM, OK]),
        (3, "0 X X - X", [ALARM, ALARM, ALARM, ALARM]),
        (3, "- - X - -", [ALARM, "retains", ALARM, OK]),
        (2, "0 - X - X", [ALARM, ALARM, ALARM, ALARM]),
        (2, "0 0 X 0 X", [ALARM, ALARM, ALARM, ALARM]),
        (2, "0 - X - -", [OK, OK, ALARM, OK]),
        (2, "- - - - 0", [OK, OK, ALARM, OK]),
        (2, "- - - X -", [ALARM, "retains", ALARM, OK]),
    ] {
        let treatments = [Missing::Missing, Missing::Ignore, Missing::Breaching, Missing::NotBreaching];
        let states = treatments.map(|missing| state_of(datapoints, needed, missing));
        assert_eq!(states, expected, "{datapoints}, {needed} of 3");
    }
}

#[test]
fn a_single_breach_after_missing_data_is_no_alarm_yet() {
    for datapoints in ["- - - - X", "- - - X -"] {
        assert_eq!(state_of(datapoints, 3, Missing::Missing), "retains", "{datapoints}");
    }
    assert_eq!(state_of("- - - X 0", 3, Missing::Missing), OK);
    assert_eq!(state_of("- - X - 0", 3, Missing::Missing), OK);
    assert_eq!(state_of("- - X X X", 3, Missing::Ignore), ALARM);
}

#[test]
fn every_operator_compares_as_it_says() {
    for (operator, below, at, above) in [
        ("GreaterThanOrEqualToThreshold", false, true, true),
        ("GreaterThanThreshold", false, false, true),
        ("LessThanThreshold", true, false, false),
        ("LessThanOrEqualToThreshold", true, true, false),
    ] {
        let alarm = Alarm { comparison_operator: operator.into(), ..alarm(1, None) };
        assert_eq!([69.9, 70.0, 70.1].map(|value| breaches(&alarm, value)), [below, at, above], "{operator}");
    }
}

fn reason(alarm: &Alarm, datapoints: &str) -> String {
    decide(alarm, &windows(datapoints), Timestamp::from_seconds(BEGIN + 301.0)).expect("a state").reason
}

#[test]
fn reasons_are_worded_as_by_cloudwatch() {
    // The forms are those of published notifications.
    let plain = alarm(2, None);
    assert_eq!(
        reason(&plain, "0 0 X X"),
        "Threshold Crossed: 2 datapoints [74.5 (24/11/26 03:07:00), 73.5 (24/11/26 03:06:00)] were greater than the threshold (70.0)."
    );
    assert_eq!(
        reason(&plain, "0 0 X 0"),
        "Threshold Crossed: 1 datapoint [10.0 (24/11/26 03:07:00)] was not greater than the threshold (70.0)."
    );
    assert_eq!(reason(&plain, "- - - -"), "Insufficient Data: 2 datapoints were unknown.");
    let counted = alarm(3, Some(2));
    assert_eq!(
        reason(&counted, "0 0 X 0 X"),
        "Threshold Crossed: 2 out of the last 3 datapoints [75.5 (24/11/26 03:08:00), 73.5 (24/11/26 03:06:00)] were greater than the threshold (70.0) (minimum 2 datapoints for OK -> ALARM transition)."
    );
    assert_eq!(
        reason(&counted, "0 0 X 0 0"),
        "Threshold Crossed: 2 out of the last 3 datapoints [10.0 (24/11/26 03:08:00), 10.0 (24/11/26 03:07:00)] were not greater than the threshold (70.0) (minimum 2 datapoints for ALARM -> OK transition)."
    );
    let treated = |treatment: &str, alarm: Alarm| Alarm { treat_missing_data: Some(treatment.into()), ..alarm };
    assert_eq!(
        reason(&treated("notBreaching", alarm(20, Some(1))), "- - X"),
        "Threshold Crossed: 1 out of the last 20 datapoints [73.5 (24/11/26 03:06:00)] was greater than the threshold (70.0) and 19 missing datapoints were treated as [NonBreaching] (minimum 1 datapoint for OK -> ALARM transition)."
    );
    assert_eq!(
        reason(&treated("breaching", alarm(1, Some(1))), "- - -"),
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [Breaching]."
    );
    assert_eq!(
        reason(&treated("breaching", alarm(3, Some(2))), "- - - - 0"),
        "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching]."
    );
    assert!(reason(&alarm(6, None), "X X X X X X").ends_with(
        "6 datapoints were greater than the threshold (70.0). The most recent datapoints which crossed the threshold: \
             [76.5 (24/11/26 03:09:00), 75.5 (24/11/26 03:08:00), 74.5 (24/11/26 03:07:00), 73.5 (24/11/26 03:06:00), \
             72.5 (24/11/26 03:05:00)]."
    ));
}

#[test]
fn reason_data_names_the_datapoints_that_were_evaluated() {
    let evaluation = decide(&alarm(2, None), &windows("0 - X X"), Timestamp::from_seconds(BEGIN + 242.419));
    assert_eq!(
        evaluation.expect("a state").reason_data,
        r#"{"version":"1.0","queryDate":"2026-11-24T03:08:02.419+0000","startDate":"2026-11-24T03:06:00.000+0000","statistic":"Average","period":60,"recentDatapoints":[73.5,74.5],"threshold":70.0,"evaluatedDatapoints":[{"timestamp":"2026-11-24T03:07:00.000+0000","sampleCount":6.0,"value":74.5},{"timestamp":"2026-11-24T03:06:00.000+0000","sampleCount":6.0,"value":73.5}]}"#
    );
}

#[test]
fn a_percentile_of_few_samples_changes_nothing_where_the_alarm_ignores_such() {
    let now = Timestamp::from_seconds(BEGIN + 301.0);
    let ignoring = |statistic: &str, choice: &str| Alarm {
        statistic: None,
        extended_statistic: Some(statistic.into()),
        low_sample_percentile: Some(choice.into()),
        ..alarm(2, None)
    };
    // Two periods of 6 samples: p50 needs 20, p99 1,000, p20 50; a p100 is the maximum.
    for statistic in ["p50", "p99", "p20"] {
        assert_eq!(decide(&ignoring(statistic, "ignore"), &windows("X X"), now), None, "{statistic}");
        assert!(decide(&ignoring(statistic, "evaluate"), &windows("X X"), now).is_some(), "{statistic}");
    }
    assert!(decide(&ignoring("p100", "ignore"), &windows("X X"), now).is_some());
    let enough = windows("X X").into_iter().map(|window| Window {
        measured: window.measured.map(|measured| Measured { samples: Some(10.0), ..measured }),
        ..window
    });
    assert!(decide(&ignoring("p50", "ignore"), &enough.collect::<Vec<_>>(), now).is_some());
}

#[test]
fn an_alarm_that_warms_up_waits() {
    let now = Timestamp::from_seconds(BEGIN + 301.0);
    let warm_up =
        |whole: bool, ends: Timestamp| Alarm { warm_up: Some(WarmUp { minutes: 10, whole, ends }), ..alarm(2, None) };
    assert_eq!(decide(&warm_up(false, now.plus_secs(1)), &windows("- X"), now), None, "for enough data");
    assert!(decide(&warm_up(false, now.plus_secs(1)), &windows("X X"), now).is_some());
    assert_eq!(decide(&warm_up(true, now.plus_secs(1)), &windows("X X"), now), None, "for its whole time");
    assert!(decide(&warm_up(true, now), &windows("X X"), now).is_some());
}

#[test]
fn an_alarm_stays_silent_while_its_state_lasts() {
    let firing = Alarm { state: ALARM.into(), ..alarm(2, None) };
    assert_eq!(decide(&firing, &windows("X X X X"), Timestamp::from_seconds(BEGIN)), None);
}
