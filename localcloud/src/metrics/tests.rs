use std::path::PathBuf;

use super::{statistic::Statistic, *};

const NOW_SECS: i64 = 1_800_000_000;
const HOUR_SECS: i64 = 3600;
const DAY_SECS: i64 = 86_400;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("metrics.redb")
    }

    fn open(&self) -> Metrics {
        Metrics::open(&self.file())
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((NOW_SECS + seconds) * 1000)
}

fn cpu(instance: &str) -> Metric {
    Metric::new("AWS/EC2", "CPUUtilization", &[("InstanceId", instance)])
}

fn put(metrics: &Metrics, instance: &str, seconds: i64, value: f64) {
    metrics.record(vec![Sample::of(cpu(instance), at(seconds), "Percent", value)]);
}

fn sums(metrics: &Metrics, instance: &str, (start, end): (i64, i64), period_secs: u32) -> Vec<(i64, f64)> {
    let points = metrics.datapoints(&cpu(instance), None, (at(start), at(end)), period_secs);
    points.into_iter().map(|point| (point.time.millis() / 1000 - NOW_SECS, point.values.sum)).collect()
}

#[test]
fn what_was_kept_survives_a_kill_and_what_was_not_is_lost() {
    let place = Place::new();
    let metrics = place.open();
    put(&metrics, "i-1", 0, 1.5);
    put(&metrics, "i-1", 10, 2.5);
    metrics.keep(at(10));
    put(&metrics, "i-1", 20, 4.0);
    assert_eq!(sums(&metrics, "i-1", (0, 60), 60), [(0, 8.0)]);
    drop(metrics);
    let metrics = place.open();
    assert_eq!(sums(&metrics, "i-1", (0, 60), 60), [(0, 4.0)]);
    put(&metrics, "i-1", 30, 1.0);
    put(&metrics, "i-2", 30, 1.0);
    metrics.keep(at(30));
    drop(metrics);
    let metrics = place.open();
    assert_eq!(sums(&metrics, "i-1", (0, 60), 10), [(0, 1.5), (10, 2.5), (30, 1.0)]);
    assert_eq!(metrics.list(Some("AWS/EC2"), None, at(0)).len(), 2);
    assert_eq!(
        metrics.since(&cpu("i-1"), at(10)).iter().map(|sample| sample.values.sum).collect::<Vec<_>>(),
        [2.5, 1.0]
    );
}

#[test]
fn samples_are_seen_once_wherever_they_lie() {
    let place = Place::new();
    let mut metrics = place.open();
    let all =
        |metrics: &Metrics| sums(metrics, "i-1", (-DAY_SECS, DAY_SECS), 86_400).iter().map(|(_, sum)| sum).sum::<f64>();
    for minute in 0..120 {
        put(&metrics, "i-1", minute * 60, 1.0);
        // Late ones, for windows that have long left memory.
        put(&metrics, "i-1", minute * 30, 1.0);
        metrics.keep(at(minute * 60));
        if minute % 25 == 0 {
            drop(metrics);
            metrics = place.open();
        }
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let expected = (minute + 1) as f64 * 2.0;
        assert_eq!(all(&metrics), expected, "minute {minute}");
    }
}

#[test]
fn samples_become_coarser_with_age_and_are_gone_in_the_end() {
    let place = Place::new();
    let metrics = place.open();
    for step in 0..360 {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        put(&metrics, "i-1", step * 10, (step % 6) as f64);
    }
    metrics.keep(at(HOUR_SECS));
    let count = |metrics: &Metrics| metrics.since(&cpu("i-1"), at(-DAY_SECS)).len();
    let whole = |metrics: &Metrics| {
        let points = metrics.datapoints(&cpu("i-1"), None, (at(0), at(HOUR_SECS)), 3600);
        let values = &points.first().expect("the hour is known").values;
        let p50 = Statistic::Percentile(50.0).of(values);
        (points.len(), values.count, values.sum, values.minimum, values.maximum, p50)
    };
    let expected = (1, 360.0, 900.0, 0.0, 5.0, Some(2.0));
    for (age, samples) in [
        (3 * HOUR_SECS, 360),
        (10 * HOUR_SECS, 60),
        (14 * DAY_SECS, 60),
        (17 * DAY_SECS, 12),
        (62 * DAY_SECS, 12),
        (100 * DAY_SECS, 1),
        (450 * DAY_SECS, 1),
    ] {
        metrics.keep(at(age));
        assert_eq!(count(&metrics), samples, "after {age} s");
        assert_eq!(whole(&metrics), expected, "after {age} s");
    }
    drop(metrics);
    let metrics = place.open();
    assert_eq!(whole(&metrics), expected, "after a restart");
    metrics.keep(at(490 * DAY_SECS));
    assert_eq!(count(&metrics), 0);
    assert!(metrics.list(None, None, at(-DAY_SECS)).is_empty(), "a metric without samples is forgotten");
}

#[test]
fn a_period_shorter_than_what_is_kept_has_no_data() {
    let place = Place::new();
    let metrics = place.open();
    put(&metrics, "i-1", 0, 1.0);
    metrics.keep(at(DAY_SECS));
    assert_eq!(sums(&metrics, "i-1", (0, 60), 10), []);
    assert_eq!(sums(&metrics, "i-1", (0, 60), 60), [(0, 1.0)]);
    metrics.keep(at(20 * DAY_SECS));
    assert_eq!(sums(&metrics, "i-1", (0, 60), 60), []);
    assert_eq!(sums(&metrics, "i-1", (0, 60), 300), [(0, 1.0)]);
}

#[test]
fn a_late_sample_joins_the_coarser_ones() {
    let place = Place::new();
    let metrics = place.open();
    put(&metrics, "i-1", 0, 1.0);
    metrics.keep(at(DAY_SECS));
    put(&metrics, "i-1", 30, 2.0);
    metrics.keep(at(DAY_SECS));
    assert_eq!(metrics.since(&cpu("i-1"), at(-60)).len(), 1);
    assert_eq!(sums(&metrics, "i-1", (0, 60), 60), [(0, 3.0)]);
}

#[test]
fn what_is_read_is_what_a_plain_list_says() {
    let place = Place::new();
    let mut metrics = place.open();
    let mut plain: Vec<(usize, i64, f64)> = Vec::new();
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut clock = 0;
    for _ in 0..3000 {
        clock += i64::try_from(next(7)).expect("small");
        let (series, late) =
            (usize::try_from(next(5)).expect("small"), i64::try_from(next(40) * next(40)).expect("small"));
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let value = next(1000) as f64 / 8.0;
        put(&metrics, &format!("i-{series}"), clock - late, value);
        plain.push((series, clock - late, value));
        if next(20) == 0 {
            metrics.keep(at(clock));
            if next(10) == 0 {
                drop(metrics);
                metrics = place.open();
            }
        }
    }
    for _ in 0..200 {
        let series = usize::try_from(next(5)).expect("small");
        let start = i64::try_from(next(9000)).expect("small");
        let (end, period) = (
            start + i64::try_from(next(9000)).expect("small"),
            [10, 60, 300][usize::try_from(next(3)).expect("small")],
        );
        let mut expected: BTreeMap<i64, f64> = BTreeMap::new();
        for (_, time, value) in plain.iter().filter(|(of, time, _)| *of == series && (start..end).contains(time)) {
            *expected.entry((NOW_SECS + time).div_euclid(period) * period - NOW_SECS).or_default() += value;
        }
        let expected: Vec<(i64, f64)> = expected.into_iter().collect();
        let period = u32::try_from(period).expect("small");
        assert_eq!(
            sums(&metrics, &format!("i-{series}"), (start, end), period),
            expected,
            "{start} to {end} by {period}"
        );
    }
}

#[test]
fn units_are_kept_apart_and_joined() {
    let metrics = Metrics::default();
    put(&metrics, "i-1", 0, 50.0);
    metrics.record(vec![Sample::of(cpu("i-1"), at(10), "Count", 2.0)]);
    let points = |unit| metrics.datapoints(&cpu("i-1"), unit, (at(0), at(60)), 60);
    assert_eq!(points(None)[0].values.sum, 52.0);
    assert_eq!(points(Some("Percent"))[0].values.sum, 50.0);
    assert!(points(Some("Bytes")).is_empty());
    let by_unit = metrics.datapoints_by_unit(&cpu("i-1"), None, (at(-7), at(60)), 60);
    let begins: Vec<_> = by_unit.iter().map(|(unit, points)| (unit.as_str(), points[0].time)).collect();
    assert_eq!(begins, [("Percent", at(-7)), ("Count", at(-7))]);
}

#[test]
fn a_foreign_or_damaged_file_is_set_aside() {
    for damage in ["foreign", "cut", "changed"] {
        let place = Place::new();
        let metrics = place.open();
        for step in 0..2000 {
            put(&metrics, &format!("i-{step}"), 0, 1.0);
        }
        metrics.keep(at(HOUR_SECS));
        drop(metrics);
        let mut bytes = std::fs::read(place.file()).expect("the file is there");
        match damage {
            "foreign" => bytes = b"what is this?".repeat(10_000),
            "cut" => bytes.truncate(bytes.len() / 3),
            _ => {
                let middle = bytes.len() / 8;
                bytes[middle..].iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
        }
        std::fs::write(place.file(), bytes).expect("the file is damaged");
        let metrics = place.open();
        assert!(metrics.list(None, None, at(-DAY_SECS)).is_empty(), "{damage}");
        put(&metrics, "i-1", 0, 1.0);
        metrics.keep(at(0));
        drop(metrics);
        assert_eq!(sums(&place.open(), "i-1", (0, 60), 60), [(0, 1.0)], "{damage}");
        let names = std::fs::read_dir(place.dir.path()).expect("a directory").filter_map(Result::ok);
        let aside = names.filter(|name| name.file_name().to_string_lossy().contains(".unreadable-")).count();
        assert_eq!(aside, 1, "{damage}: it is still there to be looked at");
    }
}

#[test]
fn a_metric_is_found_by_namespace_and_name_if_it_is_recent() {
    let metrics = Metrics::default();
    put(&metrics, "i-1", 0, 1.0);
    put(&metrics, "i-2", 100, 1.0);
    for (namespace, name) in [
        ("AWS/EBS", "VolumeReadOps"),
        ("AWS/EC2", "NetworkIn"),
        ("AWS/EC2x", "CPUUtilization"),
        ("App", "CPUUtilization"),
    ] {
        metrics.record(vec![Sample::of(Metric::new(namespace, name, &[]), at(100), "Count", 1.0)]);
    }
    let count = |namespace, name, since| metrics.list(namespace, name, at(since)).len();
    assert_eq!(count(None, None, 0), 6);
    assert_eq!(count(Some("AWS/EC2"), None, 0), 3);
    assert_eq!(count(Some("AWS/EC2"), Some("CPUUtilization"), 0), 2);
    assert_eq!(count(Some("AWS/EC2"), Some("CPUUtilization"), 1), 1);
    assert_eq!(count(None, Some("CPUUtilization"), 0), 4);
    assert_eq!(count(Some("AWS"), None, 0), 0);
}

#[test]
fn a_number_that_is_none_is_not_taken() {
    let metrics = Metrics::default();
    put(&metrics, "i-1", 0, f64::NAN);
    put(&metrics, "i-1", 0, f64::INFINITY);
    assert!(metrics.since(&cpu("i-1"), at(-1)).is_empty());
}

/// Not a claim but a figure: `cargo nextest run -p localcloud --run-ignored only metrics_of_a_thousand --no-capture`.
#[test]
#[ignore = "a measurement"]
fn metrics_of_a_thousand_instances_cost_little() {
    let place = Place::new();
    let metrics = place.open();
    // Of this thread, so that a busy machine does not change it.
    let worked = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        std::time::Duration::from_nanos(nanos)
    };
    let (mut recording, mut keeping) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let steps = 360;
    for step in 0..steps {
        let samples: Vec<Sample> = (0..1000)
            .flat_map(|instance| (0..12).map(move |metric| (instance, metric)))
            .map(|(instance, metric)| {
                let dimensions = [("InstanceId", format!("i-{instance:017x}"))];
                let dimensions = dimensions.each_ref().map(|(name, value)| (*name, value.as_str()));
                let metric = Metric::new("AWS/EC2", &format!("Metric{metric}"), &dimensions);
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let value = ((instance * 7919 + step * 104_729) % 1000) as f64 / 7.0;
                Sample::of(metric, at(step * 10), "Percent", value)
            })
            .collect();
        let start = worked();
        metrics.record(samples);
        recording += worked().saturating_sub(start);
        metrics.keep(at(step * 10));
        keeping += worked().saturating_sub(start);
    }
    let size = std::fs::metadata(place.file()).map_or(0, |file| file.len());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    println!(
        "{steps} steps of 12,000 samples: {recording:?} to record, {keeping:?} with writing, file {} MiB, {memory}",
        size >> 20
    );
    let start = worked();
    let known = metrics.list(None, None, at(0)).len();
    println!("listing {known}: {:?}", worked().saturating_sub(start));
    let start = worked();
    let metric = Metric::new("AWS/EC2", "Metric0", &[("InstanceId", &format!("i-{:017x}", 5))]);
    for _ in 0..100 {
        assert_eq!(metrics.datapoints(&metric, None, (at(0), at(3600)), 60).len(), 60);
    }
    println!("an hour of one metric, a hundred times: {:?}", worked().saturating_sub(start));
    let start = worked();
    metrics.keep(at(12 * HOUR_SECS));
    println!("making an hour coarser: {:?}", worked().saturating_sub(start));
    drop(metrics);
    let start = worked();
    let metrics = place.open();
    println!("opening: {:?}", worked().saturating_sub(start));
    assert_eq!(metrics.datapoints(&metric, None, (at(0), at(3600)), 60).len(), 60);
}
