//! Metrics, as they are put, listed and got.

/// boto3, over each protocol.
mod clients;

use std::sync::Arc;

use localcloud::{
    metrics::{Metric, Metrics, Sample, keep},
    model::time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use super::fake_world::{Answer, FakeWorld};

const CLOUDWATCH: &str = "monitoring";

type Parameters = Vec<(String, String)>;

fn call(world: &FakeWorld, action: &str, parameters: &Parameters) -> Result<Answer, String> {
    let borrowed: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    world.call(CLOUDWATCH, action, &borrowed).map_err(|error| error.to_string())
}

fn owned(parameters: &[(&str, &str)]) -> Parameters {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A whole minute that is a few minutes ago, as seconds relative to it are written.
fn minute(offset_secs: i64) -> String {
    Timestamp::now().floor_to(300).plus_secs(offset_secs - 900).to_string()
}

/// `Action&Name=value` on top of a datum that is right.
fn datum(changes: &[(&str, &str)]) -> Parameters {
    let mut parameters = owned(&[("Namespace", "App"), ("MetricData.member.1.MetricName", "Latency")]);
    parameters.push(("MetricData.member.1.Timestamp".to_owned(), minute(0)));
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        if !value.is_empty() {
            parameters.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    parameters
}

fn put(world: &FakeWorld, name: &str, offset_secs: i64, value: &str) {
    let time = minute(offset_secs);
    let changes = [
        ("MetricData.member.1.MetricName", name),
        ("MetricData.member.1.Timestamp", time.as_str()),
        ("MetricData.member.1.Value", value),
        ("MetricData.member.1.StorageResolution", "1"),
    ];
    call(world, "PutMetricData", &datum(&changes)).unwrap();
}

fn statistics(changes: &[(&str, &str)]) -> Parameters {
    let mut parameters =
        owned(&[("Namespace", "App"), ("MetricName", "Latency"), ("Period", "60"), ("Statistics.member.1", "Sum")]);
    parameters.push(("StartTime".to_owned(), minute(0)));
    parameters.push(("EndTime".to_owned(), minute(600)));
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        if !value.is_empty() {
            parameters.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    parameters
}

#[test]
fn what_was_put_comes_back_by_the_period() {
    let world = FakeWorld::new();
    for (offset, value) in [(0, "1"), (10, "2"), (70, "4"), (299, "8")] {
        put(&world, "Latency", offset, value);
    }
    let all = statistics(&[
        ("Statistics.member.2", "Average"),
        ("Statistics.member.3", "SampleCount"),
        ("Statistics.member.4", "Minimum"),
        ("Statistics.member.5", "Maximum"),
    ]);
    let answer = call(&world, "GetMetricStatistics", &all).unwrap();
    assert_eq!(answer.text("Label"), "Latency");
    assert_eq!(answer.each("Datapoints", "Timestamp"), [minute(0), minute(60), minute(240)]);
    assert_eq!(answer.each("Datapoints", "Sum"), ["3", "4", "8"]);
    assert_eq!(answer.each("Datapoints", "Average"), ["1.5", "4", "8"]);
    assert_eq!(answer.each("Datapoints", "SampleCount"), ["2", "1", "1"]);
    assert_eq!(answer.each("Datapoints", "Minimum"), ["1", "4", "8"]);
    assert_eq!(answer.each("Datapoints", "Maximum"), ["2", "4", "8"]);
    assert_eq!(answer.each("Datapoints", "Unit"), ["None", "None", "None"]);
    let five = call(&world, "GetMetricStatistics", &statistics(&[("Period", "300")])).unwrap();
    assert_eq!(five.each("Datapoints", "Sum"), ["15"]);
    let ten = call(&world, "GetMetricStatistics", &statistics(&[("Period", "10")])).unwrap();
    assert_eq!(ten.each("Datapoints", "Timestamp"), [minute(0), minute(10), minute(70), minute(290)]);
    let none = call(&world, "GetMetricStatistics", &statistics(&[("Unit", "Seconds")])).unwrap();
    assert_eq!(none.count("Datapoints"), 0);
}

#[test]
fn values_counts_and_statistic_sets_are_put() {
    let world = FakeWorld::new();
    let counted = [
        ("MetricData.member.1.Values.member.1", "10"),
        ("MetricData.member.1.Values.member.2", "20"),
        ("MetricData.member.1.Counts.member.1", "99"),
        ("MetricData.member.1.Counts.member.2", "1"),
        ("MetricData.member.1.Unit", "Milliseconds"),
    ];
    call(&world, "PutMetricData", &datum(&counted)).unwrap();
    let percentiles =
        [("Statistics.member.1", ""), ("ExtendedStatistics.member.1", "p50"), ("ExtendedStatistics.member.2", "p99.5")];
    let answer = call(&world, "GetMetricStatistics", &statistics(&percentiles)).unwrap();
    assert_eq!(answer.each("Datapoints", "Unit"), ["Milliseconds"]);
    let text = format!("{answer:?}");
    assert!(text.contains(r#"("p50", Float(10.0)), ("p99.5", Float(20.0))"#), "{text}");
    let set = [
        ("MetricData.member.1.StatisticValues.SampleCount", "2"),
        ("MetricData.member.1.StatisticValues.Sum", "30"),
        ("MetricData.member.1.StatisticValues.Minimum", "5"),
        ("MetricData.member.1.StatisticValues.Maximum", "25"),
    ];
    call(&world, "PutMetricData", &datum(&set)).unwrap();
    let all = call(&world, "GetMetricStatistics", &statistics(&[])).unwrap();
    assert_eq!(all.each("Datapoints", "Unit"), ["Milliseconds", "None"], "units are told apart");
    assert_eq!(all.each("Datapoints", "Sum"), ["1010", "30"]);
    let none =
        call(&world, "GetMetricStatistics", &statistics(&[percentiles[0], percentiles[1], ("Unit", "None")])).unwrap();
    assert!(format!("{none:?}").contains("Dictionary([])"), "sums have no percentiles: {none:?}");
}

#[test]
fn a_sample_of_regular_resolution_is_of_its_minute() {
    let world = FakeWorld::new();
    let time = minute(37);
    call(
        &world,
        "PutMetricData",
        &datum(&[("MetricData.member.1.Value", "1"), ("MetricData.member.1.Timestamp", &time)]),
    )
    .unwrap();
    let answer = call(&world, "GetMetricStatistics", &statistics(&[("Period", "10")])).unwrap();
    assert_eq!(answer.each("Datapoints", "Timestamp"), [minute(0)]);
}

#[test]
fn a_datum_that_cannot_be_is_refused_in_cloudwatchs_words() {
    let world = FakeWorld::new();
    let (late, early) = (minute(4 * 3600), minute(-15 * 86_400));
    let long = "x".repeat(256);
    for (changes, said) in [
        (
            vec![],
            "InvalidParameterCombination: At least one of the parameters MetricData.member.1.Value and MetricData.member.1.StatisticValues must be specified.",
        ),
        (
            vec![("Value", "1"), ("Values.member.1", "1")],
            "InvalidParameterCombination: The parameters MetricData.member.1.Value and MetricData.member.1.Values are mutually exclusive and you have specified both.",
        ),
        (
            vec![("Values.member.1", "1"), ("Counts.member.1", "1"), ("Counts.member.2", "1")],
            "InvalidParameterValue: The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size.",
        ),
        (
            vec![("Values.member.1", "1"), ("Counts.member.1", "-1")],
            "InvalidParameterValue: The value -1.0 for parameter MetricData.member.1.Counts is invalid.",
        ),
        (
            vec![("Value", "1e200")],
            "InvalidParameterValue: The value 1e200 for parameter MetricData.member.1.Value is invalid.",
        ),
        (vec![("Value", "NaN")], "MalformedInput: MetricData: Value: `NaN` is not a number"),
        (
            vec![("Value", "1"), ("Timestamp", &late)],
            "InvalidParameterValue: The parameter MetricData.member.1.Timestamp must specify a time no more than two hours in the future.",
        ),
        (
            vec![("Value", "1"), ("Timestamp", &early)],
            "InvalidParameterValue: The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks.",
        ),
        (
            vec![("Value", "1"), ("StorageResolution", "5")],
            "InvalidParameterValue: The value 5 for parameter MetricData.member.1.StorageResolution is invalid.",
        ),
        (
            vec![("Value", "1"), ("MetricName", &long)],
            "InvalidParameterValue: The parameter MetricData.member.1.MetricName must be shorter than 256 characters.",
        ),
        (
            vec![("Value", "1"), ("Dimensions.member.1.Name", "é"), ("Dimensions.member.1.Value", "x")],
            "InvalidParameterValue: The value é for parameter MetricData.member.1.Dimensions.member.1.Name contains non-ASCII characters.",
        ),
        (vec![("Value", "1"), ("Colour", "red")], "ValidationError: The parameter MetricData.Colour is not recognized"),
    ] {
        let named: Vec<(String, &str)> =
            changes.iter().map(|(name, value)| (format!("MetricData.member.1.{name}"), *value)).collect();
        let named: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(call(&world, "PutMetricData", &datum(&named)).unwrap_err(), said, "{changes:?}");
    }
    let reserved = datum(&[("Namespace", "AWS/EC2"), ("MetricData.member.1.Value", "1")]);
    let said = call(&world, "PutMetricData", &reserved).unwrap_err();
    assert_eq!(said, "InvalidParameterValue: The value AWS/ for parameter Namespace is invalid.");
    let unit = datum(&[("MetricData.member.1.Value", "1"), ("MetricData.member.1.Unit", "Parsecs")]);
    let said = call(&world, "PutMetricData", &unit).unwrap_err();
    assert!(said.starts_with(
        "InvalidParameterValue: The parameter MetricData.member.1.Unit must be a value in the set [ Seconds,"
    ));
    let answer = world.call(CLOUDWATCH, "ListMetrics", &[]).unwrap();
    assert_eq!(answer.count("Metrics"), 0, "nothing of a refused request is kept");
}

#[test]
fn statistics_that_cannot_be_are_refused_in_cloudwatchs_words() {
    let world = FakeWorld::new();
    let (week_ago, start) = (minute(-7 * 86_400), minute(0));
    for (changes, said) in [
        (
            vec![("StartTime", week_ago.as_str())],
            "InvalidParameterCombination: You have requested up to 10090 datapoints, which exceeds the limit of 1440. You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
        ),
        (vec![("EndTime", &start)], "InvalidParameterValue: The parameter StartTime must not equal parameter EndTime."),
        (
            vec![("EndTime", &week_ago)],
            "InvalidParameterValue: The parameter StartTime must be less than the parameter EndTime.",
        ),
        (
            vec![("Period", "45")],
            "InvalidParameterValue: The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.",
        ),
        (
            vec![("Period", "0")],
            "InvalidParameterValue: The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.",
        ),
        (
            vec![("Statistics.member.1", "Median")],
            "InvalidParameterValue: The parameter Statistics.member.1 must be a value in the set [ SampleCount, Average, Sum, Minimum, Maximum ].",
        ),
        (
            vec![("Statistics.member.1", "")],
            "InvalidParameterCombination: Must specify either Statistics or ExtendedStatistics, but not both.",
        ),
        (
            vec![("Statistics.member.1", ""), ("ExtendedStatistics.member.1", "p101")],
            "InvalidParameterValue: The value p101 for parameter ExtendedStatistics.member.1 is not supported.",
        ),
        (vec![("MetricName", "")], "MissingParameter: The parameter MetricName is required."),
    ] {
        assert_eq!(call(&world, "GetMetricStatistics", &statistics(&changes)).unwrap_err(), said, "{changes:?}");
    }
}

#[test]
fn metrics_are_listed_by_their_dimensions_and_in_pages() {
    let world = FakeWorld::new();
    for first in 0..3 {
        let mut parameters = owned(&[("Namespace", "App")]);
        for index in 1..=400 {
            let place = format!("MetricData.member.{index}");
            parameters.push((format!("{place}.MetricName"), "Latency".to_owned()));
            parameters.push((format!("{place}.Value"), "1".to_owned()));
            parameters.push((format!("{place}.Dimensions.member.1.Name"), "Host".to_owned()));
            parameters.push((format!("{place}.Dimensions.member.1.Value"), format!("h{first}-{index:03}")));
            if index == 7 {
                parameters.push((format!("{place}.Dimensions.member.2.Name"), "Zone".to_owned()));
                parameters.push((format!("{place}.Dimensions.member.2.Value"), format!("z{first}")));
            }
        }
        call(&world, "PutMetricData", &parameters).unwrap();
    }
    let mut hosts = Vec::new();
    let mut parameters = owned(&[("Namespace", "App")]);
    loop {
        let answer = call(&world, "ListMetrics", &parameters).unwrap();
        hosts.extend(answer.each("Metrics", "Dimensions.0.Value"));
        let Some(token) = answer.get("NextToken") else { break };
        assert_eq!(answer.count("Metrics"), 500);
        parameters = owned(&[("Namespace", "App"), ("NextToken", &token)]);
    }
    assert_eq!(hosts.len(), 1200);
    assert!(hosts.is_sorted_by(|left, right| left < right));
    let count = |parameters: &[(&str, &str)]| call(&world, "ListMetrics", &owned(parameters)).unwrap().count("Metrics");
    assert_eq!(count(&[("Dimensions.member.1.Name", "Zone")]), 3);
    assert_eq!(count(&[("Dimensions.member.1.Name", "Zone"), ("Dimensions.member.1.Value", "z1")]), 1);
    assert_eq!(count(&[("MetricName", "Errors")]), 0);
    assert_eq!(count(&[("Dimensions.member.1.Name", "Zone"), ("RecentlyActive", "PT3H")]), 3);
    assert_eq!(world.refused(CLOUDWATCH, "ListMetrics", &[("RecentlyActive", "PT1H")]), "InvalidParameterValue");
    assert_eq!(world.refused(CLOUDWATCH, "ListMetrics", &[("NextToken", "?")]), "InvalidParameterValue");
}

/// Queries of `m1` and of expressions.
fn data(queries: &[(&str, &str)], changes: &[(&str, &str)]) -> Parameters {
    let mut parameters = Parameters::new();
    let mut push = |name: String, value: &str| parameters.push((name, value.to_owned()));
    for (index, (id, source)) in queries.iter().enumerate() {
        let place = format!("MetricDataQueries.member.{}", index + 1);
        push(format!("{place}.Id"), id);
        match source.strip_prefix("metric ") {
            Some(name) => {
                push(format!("{place}.MetricStat.Metric.Namespace"), "App");
                push(format!("{place}.MetricStat.Metric.MetricName"), name);
                push(format!("{place}.MetricStat.Period"), "60");
                push(format!("{place}.MetricStat.Stat"), "Sum");
            }
            None => push(format!("{place}.Expression"), source),
        }
    }
    push("StartTime".to_owned(), &minute(0));
    push("EndTime".to_owned(), &minute(600));
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.push(((*name).to_owned(), (*value).to_owned()));
    }
    parameters
}

fn values(answer: &Answer, index: usize) -> Vec<String> {
    let list = format!("MetricDataResults.{index}.Values");
    (0..answer.count(&list)).map(|place| answer.text(&format!("{list}.{place}"))).collect()
}

#[test]
fn metrics_and_expressions_are_got_together() {
    let world = FakeWorld::new();
    for (offset, value) in [(0, "1"), (60, "2"), (120, "3")] {
        put(&world, "Errors", offset, value);
        put(&world, "Requests", offset, "10");
    }
    let queries = [("m1", "metric Errors"), ("m2", "metric Requests"), ("rate", "100 * m1 / m2")];
    let answer =
        call(&world, "GetMetricData", &data(&queries, &[("MetricDataQueries.member.2.ReturnData", "false")])).unwrap();
    assert_eq!(answer.each("MetricDataResults", "Id"), ["m1", "rate"]);
    assert_eq!(answer.each("MetricDataResults", "Label"), ["Errors", "rate"]);
    assert_eq!(answer.each("MetricDataResults", "StatusCode"), ["Complete", "Complete"]);
    assert_eq!(values(&answer, 0), ["3", "2", "1"], "the newest comes first");
    assert_eq!(values(&answer, 1), ["30", "20", "10"]);
    assert_eq!(answer.text("MetricDataResults.0.Timestamps.0"), minute(120));
    let rising = call(&world, "GetMetricData", &data(&queries, &[("ScanBy", "TimestampAscending")])).unwrap();
    assert_eq!(values(&rising, 2), ["10", "20", "30"]);
}

#[test]
fn data_come_in_pages() {
    let world = FakeWorld::new();
    for offset in 0..5 {
        put(&world, "Errors", offset * 60, &offset.to_string());
        put(&world, "Requests", offset * 60, &(10 * offset).to_string());
    }
    let queries = [("m1", "metric Errors"), ("none", "metric Nothing"), ("m2", "metric Requests")];
    for (order, expected) in [
        ("TimestampAscending", ["m1: 0 1 2", "m1: 3 4 | none:  | m2: 0", "m2: 10 20 30", "m2: 40"]),
        ("TimestampDescending", ["m1: 4 3 2", "m1: 1 0 | none:  | m2: 40", "m2: 30 20 10", "m2: 0"]),
    ] {
        let mut token = String::new();
        for (number, page) in expected.iter().enumerate() {
            let changes = [("ScanBy", order), ("MaxDatapoints", "3"), ("NextToken", token.as_str())];
            let answer = call(&world, "GetMetricData", &data(&queries, &changes)).unwrap();
            let ids = answer.each("MetricDataResults", "Id").into_iter().enumerate();
            let lines: Vec<String> =
                ids.map(|(index, id)| format!("{id}: {}", values(&answer, index).join(" "))).collect();
            assert_eq!(lines.join(" | "), *page);
            token = answer.get("NextToken").unwrap_or_default();
            assert_eq!(token.is_empty(), number == 3);
        }
    }
}

#[test]
fn queries_that_cannot_be_are_refused_in_cloudwatchs_words() {
    let world = FakeWorld::new();
    let m1 = ("m1", "metric Errors");
    for (queries, changes, said) in [
        (
            vec![("M1", "metric Errors")],
            vec![],
            "The value M1 for parameter MetricDataQueries.member.1.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.",
        ),
        (vec![m1, m1], vec![], "The values for parameter id in MetricDataQueries are not unique."),
        (vec![m1, ("e1", "m1 +")], vec![], "Error in expression 'e1': Invalid syntax: the expression ends too early"),
        (vec![m1, ("e1", "m2")], vec![], "Error in expression 'e1': Unrecognized identifier 'm2'"),
        (
            vec![m1, ("e1", "ANOMALY_DETECTION_BAND(m1)")],
            vec![],
            "Error in expression 'e1': The function ANOMALY_DETECTION_BAND is not supported by this cloud",
        ),
        (
            vec![("q1", "SELECT AVG(CPUUtilization) FROM SCHEMA(\"AWS/EC2\", InstanceId)")],
            vec![],
            "Error in expression 'q1': Metrics Insights queries are not supported by this cloud",
        ),
        (
            vec![m1],
            vec![("MetricDataQueries.member.1.Expression", "m1")],
            "The parameters MetricDataQueries.member.1.Expression and MetricDataQueries.member.1.MetricStat are mutually exclusive and you have specified both.",
        ),
        (
            vec![m1],
            vec![("MetricDataQueries.member.2.Id", "m2")],
            "The parameter MetricDataQueries.member.2.MetricStat is required.",
        ),
        (
            vec![m1],
            vec![("MetricDataQueries.member.1.MetricStat.Stat", "Median")],
            "The value for parameter MetricDataQueries.member.1.MetricStat.Stat is not a valid statistic.",
        ),
        (
            vec![m1],
            vec![("MetricDataQueries.member.1.ReturnData", "false")],
            "At least one of the MetricDataQueries must have ReturnData set to true.",
        ),
        (vec![m1], vec![("EndTime", "2020-01-01T00:00:00Z")], "The parameter EndTime must be greater than StartTime."),
        (
            vec![m1],
            vec![("MaxDatapoints", "200000")],
            "The value 200000 for parameter MaxDatapoints is not between 1 and 100800.",
        ),
    ] {
        let said = format!("ValidationError: {said}");
        assert_eq!(call(&world, "GetMetricData", &data(&queries, &changes)).unwrap_err(), said);
    }
    assert!(
        call(&world, "GetMetricData", &data(&[m1], &[("NextToken", "?")])).unwrap_err().starts_with("InvalidNextToken")
    );
}

#[test]
fn times_beyond_all_calendars_are_refused_or_empty() {
    let world = FakeWorld::new();
    let far = Timestamp::from_seconds(1e300);
    let past = Timestamp::from_seconds(-1e300);
    assert_eq!(far.plus_secs(1), far);
    assert_eq!(past.floor_to(3600), past);
    for (start, end) in
        [("-9999-01-01T00:00:00Z", "9999-12-30T00:00:00Z"), ("0001-01-01T00:00:00Z", "0001-01-01T00:05:00Z")]
    {
        let times = [("StartTime", start), ("EndTime", end)];
        let data = call(&world, "GetMetricData", &data(&[("m1", "metric Errors"), ("e1", "FILL(m1, 0)")], &times));
        let statistics = call(&world, "GetMetricStatistics", &statistics(&times));
        for answer in [data, statistics] {
            assert!(!answer.as_ref().is_err_and(|said| said.contains("InternalError")), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_was_recorded_is_written_when_the_cloud_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("metrics");
    let metric = Metric::new("App", "Latency", &[]);
    let now = Timestamp::now();
    {
        let metrics = Arc::new(Metrics::open(&file));
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(keep(Arc::clone(&metrics), stop.clone()));
        metrics.record(vec![Sample::of(metric.clone(), now, "Seconds", 1.0)]);
        stop.cancel();
        keeping.await.unwrap();
    }
    assert_eq!(Metrics::open(&file).since(&metric, now).len(), 1);
}
