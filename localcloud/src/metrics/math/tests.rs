use super::*;
use crate::metrics::Sample;

const START_SECS: f64 = 1_800_000_000.0;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_seconds(START_SECS).plus_secs(minute * 60)
}

fn measured(id: &str) -> Query {
    let source = Source::Metric {
        metric: Metric::new("test", id, &[]),
        statistic: Statistic::Average,
        unit: None,
        period_secs: 60,
    };
    Query { id: id.to_owned(), label: id.to_owned(), source, return_data: false }
}

fn expression(id: &str, text: &str) -> Query {
    let source = Source::Expression { text: text.to_owned(), period_secs: None };
    Query { id: id.to_owned(), label: id.to_owned(), source, return_data: true }
}

/// m1 is 1 2 3 4, m2 is 10 – 30 40, m3 has nothing.
fn metrics() -> Metrics {
    let metrics = Metrics::default();
    let put = |name: &str, minute: i64, value: f64| {
        metrics.record(vec![Sample::of(Metric::new("test", name, &[]), at(minute), "None", value)]);
    };
    for (minute, value) in [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)] {
        put("m1", minute, value);
        if minute != 1 {
            put("m2", minute, value * 10.0);
        }
    }
    metrics
}

fn evaluated(text: &str) -> Result<Vec<Vec<(i64, f64)>>, MathError> {
    let queries = [measured("m1"), measured("m2"), measured("m3"), expression("e1", "m1 * 2"), expression("e2", text)];
    let minute = |time: Timestamp| (time.millis() - at(0).millis()) / 60_000;
    let series = evaluate(&metrics(), &queries, (at(0), at(4)))?;
    let asked = series.into_iter().filter(|series| series.id == "e2");
    Ok(asked.map(|series| series.points.iter().map(|(time, value)| (minute(*time), *value)).collect()).collect())
}

fn line(text: &str) -> Vec<(i64, f64)> {
    let mut lines = evaluated(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(lines.len(), 1, "{text}: {lines:?}");
    lines.remove(0)
}

/// With a value in each of the four minutes.
fn values(text: &str) -> Vec<f64> {
    let line = line(text);
    assert_eq!(line.iter().map(|(minute, _)| *minute).collect::<Vec<_>>(), [0, 1, 2, 3], "{text}");
    line.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn arithmetic_keeps_the_usual_order() {
    assert_eq!(values("1 + m1 * 2"), [3.0, 5.0, 7.0, 9.0]);
    assert_eq!(values("(1 + m1) * 2"), [4.0, 6.0, 8.0, 10.0]);
    assert_eq!(values("-m1 ^ 2"), [-1.0, -4.0, -9.0, -16.0]);
    assert_eq!(values("m1 * 0 + 2 ^ 3 ^ 2"), [512.0; 4]);
    assert_eq!(values("10 - m1 - 1"), [8.0, 7.0, 6.0, 5.0]);
    assert_eq!(values("m1 / 1e-1"), [10.0, 20.0, 30.0, 40.0]);
    assert_eq!(values("e1 + m1"), [3.0, 6.0, 9.0, 12.0]);
}

#[test]
fn two_series_meet_where_both_have_a_value() {
    assert_eq!(line("m1 + m2"), [(0, 11.0), (2, 33.0), (3, 44.0)]);
    assert_eq!(line("m2 - m1"), [(0, 9.0), (2, 27.0), (3, 36.0)]);
    assert_eq!(line("m1 / (m1 - 2)"), [(0, -1.0), (2, 3.0), (3, 2.0)], "a division by zero leaves a gap");
    assert_eq!(line("m1 + m3"), []);
    assert_eq!(line("m1 - AVG(m3) + SUM(m3)"), [], "of no data nothing is made");
    assert_eq!(line("AVG(m3) > 1 OR AVG(m3) <= 1"), []);
}

#[test]
fn comparisons_are_one_or_zero_and_join_by_and_and_or() {
    assert_eq!(values("m1 > 2"), [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(values("m1 >= 2 AND m1 < 4"), [0.0, 1.0, 1.0, 0.0]);
    assert_eq!(values("m1 == 1 || m1 != 1 && m1 > 3"), [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(values("m1 <= 1 OR m1 == 4"), [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn aggregates_of_one_series_are_numbers_and_of_several_series_a_series() {
    assert_eq!(values("SUM(m1)"), [10.0; 4]);
    assert_eq!(values("m1 - AVG(m1)"), [-1.5, -0.5, 0.5, 1.5]);
    assert_eq!(values("MAX(m1) - MIN(m1)"), [3.0; 4]);
    assert_eq!(values("STDDEV(m1) ^ 2"), [1.25; 4].map(|variance: f64| variance.sqrt().powi(2)));
    assert_eq!(values("SUM([m1, m2])"), [11.0, 2.0, 33.0, 44.0]);
    assert_eq!(values("AVG(METRICS())"), [5.5, 2.0, 16.5, 22.0]);
    assert_eq!(values("MIN([m1, m2, 5 - m1])"), [1.0, 2.0, 2.0, 1.0]);
    assert_eq!(values("DATAPOINT_COUNT(METRICS())"), [2.0, 1.0, 2.0, 2.0]);
    assert_eq!(values("METRIC_COUNT(METRICS()) + METRIC_COUNT(METRICS(\"2\")) * 10"), [13.0; 4]);
}

#[test]
fn gaps_are_filled_as_asked() {
    assert_eq!(values("FILL(m2, 0)"), [10.0, 0.0, 30.0, 40.0]);
    assert_eq!(values("FILL(m2, REPEAT)"), [10.0, 10.0, 30.0, 40.0]);
    assert_eq!(values("FILL(m2, LINEAR)"), [10.0, 20.0, 30.0, 40.0]);
    assert_eq!(values("FILL(m2, m1)"), [10.0, 2.0, 30.0, 40.0]);
    assert_eq!(values("FILL(m3, 7)"), [7.0; 4]);
    assert_eq!(line("FILL(m3, REPEAT)"), []);
}

#[test]
fn changes_along_time() {
    assert_eq!(line("DIFF(m2)"), [(2, 20.0), (3, 10.0)]);
    assert_eq!(line("DIFF_TIME(m2)"), [(2, 120.0), (3, 60.0)]);
    assert_eq!(line("RATE(m2) * 60"), [(2, 10.0), (3, 10.0)]);
    assert_eq!(values("RUNNING_SUM(m1)"), [1.0, 3.0, 6.0, 10.0]);
    assert_eq!(values("SUM(m1) / PERIOD(m1)"), [10.0 / 60.0; 4]);
    assert_eq!(values("EPOCH(m1) - 1800000000"), [0.0, 60.0, 120.0, 180.0]);
    // 2027-01-15T08:00:00Z is a Friday.
    assert_eq!(values("YEAR(m1)*10000 + MONTH(m1)*100 + DATE(m1)"), [20_270_115.0; 4]);
    assert_eq!(values("DAY(m1)*10000 + HOUR(m1)*100 + MINUTE(m1)"), [50800.0, 50801.0, 50802.0, 50803.0]);
}

#[test]
fn a_condition_chooses_at_each_time() {
    assert_eq!(values("IF(m1 > 2, m1, 0)"), [0.0, 0.0, 3.0, 4.0]);
    assert_eq!(line("IF(m1 > 2, m1)"), [(2, 3.0), (3, 4.0)]);
    assert_eq!(line("IF(m1 > 0, m2, 1)"), [(0, 10.0), (2, 30.0), (3, 40.0)]);
    assert_eq!(values("IF(1 > 2, m2, m1)"), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn lists_are_sorted_sliced_and_freed_of_empty_series() {
    assert_eq!(evaluated("REMOVE_EMPTY(METRICS())").map(|lines| lines.len()), Ok(2));
    assert_eq!(evaluated("METRICS() * 2").map(|lines| lines.len()), Ok(3));
    assert_eq!(line("FIRST(SORT(METRICS(), MAX, DESC))"), [(0, 10.0), (2, 30.0), (3, 40.0)]);
    assert_eq!(line("SORT(METRICS(), SUM, ASC, 1)"), [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]);
    assert_eq!(line("SLICE(METRICS(), 0)"), [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]);
    assert_eq!(line("LAST(SLICE(METRICS(), 0, 2))"), [(0, 10.0), (2, 30.0), (3, 40.0)]);
    assert_eq!(values("TIME_SERIES(3)"), [3.0; 4]);
    assert_eq!(values("CEIL(m1 / 2) + FLOOR(m1 / 2) + ABS(0 - m1)"), [2.0, 4.0, 6.0, 8.0]);
    assert_eq!(values("LOG10(m1 * 0 + 100) + LOG(m1 * 0 + 1)"), [2.0; 4]);
}

#[test]
fn what_cannot_be_computed_is_refused_in_words() {
    for (text, reason) in [
        ("m1 +", "Invalid syntax: the expression ends too early"),
        ("m1 m2", "Invalid syntax at 'm2'"),
        ("(m1", "Invalid syntax: the expression ends too early"),
        ("m1 $ 2", "Invalid syntax at '$ 2'"),
        ("m9 + 1", "Unrecognized identifier 'm9'"),
        ("e2 + 1", "the expression refers to itself"),
        ("MEDIAN(m1)", "Unrecognized function 'MEDIAN'"),
        ("ANOMALY_DETECTION_BAND(m1)", "The function ANOMALY_DETECTION_BAND is not supported by this cloud"),
        ("SUM(m1, m2)", "SUM takes 1 argument(s), not 2"),
        ("SUM(1)", "SUM takes time series, not a number"),
        ("METRICS() + METRICS()", "an operator cannot join an array of time series and an array of time series"),
        ("FILL(m1, NONE)", "FILL takes a number, a time series, REPEAT or LINEAR, not NONE"),
        ("\"text\"", "the result is a text"),
        ("", "Invalid syntax: the expression ends too early"),
    ] {
        assert_eq!(evaluated(text), Err(MathError { id: "e2".to_owned(), reason: reason.to_owned() }), "{text}");
    }
    let deep = format!("{}m1{}", "(".repeat(1000), ")".repeat(1000));
    assert!(evaluated(&deep).is_err());
}

#[test]
fn periods_are_counted_from_the_epoch_or_from_the_start() {
    let mut m1 = measured("m1");
    m1.return_data = true;
    let Source::Metric { period_secs, .. } = &mut m1.source else { panic!("m1 is a metric") };
    *period_secs = 120;
    let times = |series: &Series| series.points.iter().map(|(time, _)| *time).collect::<Vec<_>>();
    let queries = [m1, expression("e1", "TIME_SERIES(1)")];
    let range = (at(1), at(4));
    let epoch = evaluate(&metrics(), &queries, range).expect("evaluates");
    assert_eq!(epoch.iter().map(times).collect::<Vec<_>>(), [[at(0), at(2)], [at(0), at(2)]]);
    let start = evaluate_from(&metrics(), &queries, range).expect("evaluates");
    assert_eq!(times(&start[1]), [at(1), at(3)]);
    assert_eq!(start[0].points, [(at(1), 2.5), (at(3), 4.0)]);
}

#[test]
fn expressions_are_checked_without_data() {
    assert_eq!(check(&[measured("m1"), expression("e1", "m1 * 2")]), Ok(()));
    assert!(check(&[measured("m1"), expression("e1", "m2 * 2")]).is_err());
    assert!(check(&[expression("e1", "e2"), expression("e2", "e1")]).is_err());
}

#[test]
fn each_line_of_a_list_keeps_its_own_label() {
    let queries = [measured("m1"), measured("m2"), expression("e1", "METRICS()")];
    let series = evaluate(&metrics(), &queries, (at(0), at(4))).expect("evaluates");
    let labels: Vec<_> = series.iter().map(|series| (series.id.as_str(), series.label.as_str())).collect();
    assert_eq!(labels, [("e1", "e1 m1"), ("e1", "e1 m2")]);
}
