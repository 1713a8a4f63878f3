//! Requests and health as metrics, under which names and when
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-cloudwatch-metrics.html>). Pure.

use std::{collections::BTreeMap, net::SocketAddrV4, sync::Arc};

use crate::{
    drivers::BalancerRequest,
    metrics::{Metric, Sample, StatisticSet},
    model::{load_balancer::LoadBalancer, site::Site, time::Timestamp},
};

const NAMESPACE: &str = "AWS/ELB";
/// Latencies are kept to so many digits, so that a percentile of many requests costs little. Sum, least and greatest
/// are exact.
const DIGITS: u32 = 3;

/// How many instances are in service, of each balancer that has any; `zones` are the instances'.
pub fn health(balancers: &[Arc<LoadBalancer>], zones: &BTreeMap<String, String>, time: Timestamp) -> Vec<Sample> {
    let mut samples = Vec::new();
    for balancer in balancers {
        // Healthy ones and others, of the whole and of each zone.
        let mut counts: BTreeMap<Option<&str>, [u64; 2]> = BTreeMap::new();
        for (instance_id, backend) in &balancer.backends {
            let Some(zone) = zones.get(instance_id).filter(|_| backend.draining_since.is_none()) else { continue };
            let healthy = backend.healthy == Some(true) && balancer.zones.contains(zone);
            for place in [None, Some(zone.as_str())] {
                counts.entry(place).or_default()[usize::from(!healthy)] += 1;
            }
        }
        for (zone, counts) in counts {
            for (name, count) in ["HealthyHostCount", "UnHealthyHostCount"].into_iter().zip(counts) {
                let values = StatisticSet::of(as_float(count));
                add(&mut samples, (&balancer.name, zone), name, "Count", time, &values);
            }
        }
    }
    samples
}

/// What ended requests come to, by the period in which they ended. The zone is that of the instance; that of a request
/// which none got is the first.
pub fn requests(requests: &[BalancerRequest], site: &Site, period_secs: u32) -> Vec<Sample> {
    let mut tallies: BTreeMap<(&str, Option<&str>, Timestamp), Tally> = BTreeMap::new();
    for request in requests {
        let end = Timestamp::from_seconds(request.end_micros as f64 / 1e6).floor_to(period_secs);
        let instance = request.instance.as_ref().and_then(|instance| instance.parse::<SocketAddrV4>().ok());
        let zone = instance.map_or(&site.home, |instance| site.zone_at(*instance.ip()));
        for place in [None, Some(zone.name.as_str())] {
            tallies.entry((&request.balancer, place, end)).or_default().add(request);
        }
    }
    let mut samples = Vec::new();
    for ((balancer, zone, time), tally) in &tallies {
        for (name, unit, values) in tally.values() {
            add(&mut samples, (balancer, *zone), name, unit, *time, &values);
        }
    }
    samples
}

/// Under the sets of dimensions with the zone, or under those without one.
fn add(
    samples: &mut Vec<Sample>,
    (balancer, zone): (&str, Option<&str>),
    name: &str,
    unit: &str,
    time: Timestamp,
    values: &StatisticSet,
) {
    let balancer = ("LoadBalancerName", balancer);
    let zone = zone.map(|zone| ("AvailabilityZone", zone));
    let sets = match zone {
        Some(zone) => [vec![balancer, zone], vec![zone]],
        None => [vec![balancer], Vec::new()],
    };
    for dimensions in &sets {
        let metric = Metric::new(NAMESPACE, name, dimensions);
        samples.push(Sample { metric, time, unit: unit.to_owned(), values: values.clone() });
    }
}

/// What requests of one balancer and period come to.
#[derive(Default)]
struct Tally {
    routed: u64,
    latency: Latency,
    /// By their first digit.
    instance_statuses: BTreeMap<u16, u64>,
    own_statuses: BTreeMap<u16, u64>,
    connection_errors: u64,
    spilled: u64,
    longest_queue: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, request: &BalancerRequest) {
        // A 503 for want of instances is answered, but not routed.
        if request.instance.is_some() {
            self.routed += 1;
        }
        if let Some((_, latency, _)) = request.times_micros {
            self.latency.add(latency);
        }
        match (request.instance_status, request.status) {
            (Some(status), _) => *self.instance_statuses.entry(status / 100).or_default() += 1,
            (None, Some(status)) => *self.own_statuses.entry(status / 100).or_default() += 1,
            (None, None) => {}
        }
        self.connection_errors += u64::from(request.connection_errors);
        self.spilled += u64::from(request.is_spilled);
        self.longest_queue = self.longest_queue.max(u64::from(request.queued));
        self.bytes += request.received_bytes + request.sent_bytes;
    }

    /// Only what is not zero is reported.
    fn values(&self) -> Vec<(&'static str, &'static str, StatisticSet)> {
        let mut values = Vec::new();
        // Least, greatest and average of these are 1.
        let mut each = |name, count: u64| {
            if count > 0 {
                values.extend(StatisticSet::of_all([(1.0, as_float(count))]).map(|set| (name, "Count", set)));
            }
        };
        each("RequestCount", self.routed);
        for (digit, name) in [
            (2, "HTTPCode_Backend_2XX"),
            (3, "HTTPCode_Backend_3XX"),
            (4, "HTTPCode_Backend_4XX"),
            (5, "HTTPCode_Backend_5XX"),
        ] {
            each(name, self.instance_statuses.get(&digit).copied().unwrap_or(0));
        }
        for (digit, name) in [(4, "HTTPCode_ELB_4XX"), (5, "HTTPCode_ELB_5XX")] {
            each(name, self.own_statuses.get(&digit).copied().unwrap_or(0));
        }
        for (name, unit, sum) in [
            ("BackendConnectionErrors", "Count", self.connection_errors),
            ("SpilloverCount", "Count", self.spilled),
            ("SurgeQueueLength", "Count", self.longest_queue),
            ("EstimatedProcessedBytes", "Bytes", self.bytes),
        ] {
            if sum > 0 {
                values.push((name, unit, StatisticSet::of(as_float(sum))));
            }
        }
        values.extend(self.latency.values().map(|set| ("Latency", "Seconds", set)));
        values
    }
}

#[derive(Default)]
struct Latency {
    /// Occurrences by rounded microseconds.
    rounded: BTreeMap<u64, u64>,
    sum: u64,
    least: Option<u64>,
    greatest: u64,
}

impl Latency {
    fn add(&mut self, micros: u64) {
        *self.rounded.entry(round(micros)).or_default() += 1;
        self.sum += micros;
        self.least = Some(self.least.map_or(micros, |least| least.min(micros)));
        self.greatest = self.greatest.max(micros);
    }

    fn values(&self) -> Option<StatisticSet> {
        let seconds = |micros: u64| as_float(micros) / 1e6;
        Some(StatisticSet {
            count: as_float(self.rounded.values().sum()),
            sum: seconds(self.sum),
            minimum: seconds(self.least?),
            maximum: seconds(self.greatest),
            values: self.rounded.iter().map(|(micros, count)| (seconds(*micros), as_float(*count))).collect(),
        })
    }
}

fn round(micros: u64) -> u64 {
    let digits = micros.checked_ilog10().map_or(1, |log| log + 1);
    let step = 10_u64.pow(digits.saturating_sub(DIGITS));
    (micros + step / 2) / step * step
}

#[expect(clippy::cast_precision_loss, reason = "counts and microseconds are below 2^53")]
fn as_float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Metrics, statistic::Statistic};

    fn site() -> Site {
        Site::new((10, 77), (127, 77), 8773).with_zones(2)
    }

    fn request(end_secs: i64, latency_micros: u64, status: u16) -> BalancerRequest {
        BalancerRequest {
            balancer: "web".into(),
            is_http: true,
            end_micros: end_secs * 1_000_000,
            instance: Some("10.77.0.11:80".into()),
            times_micros: Some((10, latency_micros, 10)),
            status: Some(status),
            instance_status: Some(status),
            received_bytes: 3,
            sent_bytes: 4,
            ..BalancerRequest::default()
        }
    }

    fn statistic(samples: &[Sample], name: &str, dimensions: &[(&str, &str)], statistic: Statistic) -> Option<f64> {
        let metrics = Metrics::default();
        metrics.record(samples.to_vec());
        let range = (Timestamp::from_seconds(0.0), Timestamp::from_seconds(1e6));
        let points = metrics.datapoints(&Metric::new(NAMESPACE, name, dimensions), None, range, 3600);
        points.first().and_then(|point| statistic.of(&point.values))
    }

    #[test]
    fn requests_are_counted_under_every_set_of_dimensions() {
        let samples = requests(&[request(5, 1000, 200), request(6, 3000, 404), request(17, 2000, 200)], &site(), 10);
        let zone = ("AvailabilityZone", "PARTI00");
        let balancer = ("LoadBalancerName", "web");
        for dimensions in [&[][..], &[zone], &[balancer], &[balancer, zone]] {
            assert_eq!(statistic(&samples, "RequestCount", dimensions, Statistic::Sum), Some(3.0), "{dimensions:?}");
        }
        assert_eq!(statistic(&samples, "RequestCount", &[], Statistic::Average), Some(1.0));
        assert_eq!(statistic(&samples, "HTTPCode_Backend_2XX", &[], Statistic::Sum), Some(2.0));
        assert_eq!(statistic(&samples, "HTTPCode_Backend_4XX", &[], Statistic::Sum), Some(1.0));
        assert_eq!(statistic(&samples, "HTTPCode_Backend_5XX", &[], Statistic::Sum), None, "zero is not reported");
        assert_eq!(statistic(&samples, "EstimatedProcessedBytes", &[], Statistic::Sum), Some(21.0));
        assert_eq!(statistic(&samples, "Latency", &[], Statistic::Percentile(50.0)), Some(0.002));
        let times: std::collections::BTreeSet<_> = samples.iter().map(|sample| sample.time.millis()).collect();
        assert_eq!(times.into_iter().collect::<Vec<_>>(), [0, 10_000], "a request counts when it ends");
    }

    #[test]
    fn requests_and_healthy_instances_are_counted_in_the_zone_of_the_instance_and_of_the_whole() {
        let elsewhere = BalancerRequest { instance: Some("10.77.16.10:80".into()), ..request(5, 1000, 200) };
        let samples = requests(&[request(5, 1000, 200), elsewhere.clone(), elsewhere], &site(), 10);
        let count = |zone| statistic(&samples, "RequestCount", &[("AvailabilityZone", zone)], Statistic::Sum);
        assert_eq!((count("PARTI00"), count("PARTI01")), (Some(1.0), Some(2.0)));
        assert_eq!(statistic(&samples, "RequestCount", &[("LoadBalancerName", "web")], Statistic::Sum), Some(3.0));
    }

    #[test]
    fn what_found_no_instance_is_answered_but_not_routed() {
        let unrouted =
            BalancerRequest { instance: None, instance_status: None, times_micros: None, ..request(5, 0, 503) };
        let samples = requests(&[unrouted], &site(), 10);
        assert_eq!(statistic(&samples, "HTTPCode_ELB_5XX", &[], Statistic::Sum), Some(1.0));
        assert_eq!(statistic(&samples, "RequestCount", &[], Statistic::Sum), None);
        assert_eq!(statistic(&samples, "Latency", &[], Statistic::Average), None);
    }

    #[test]
    fn many_latencies_stay_few_values_and_their_sum_exact() {
        let many: Vec<_> = (0..100_000).map(|number| request(5, 1_000 + number, 200)).collect();
        let samples = requests(&many, &site(), 10);
        let latency = samples.iter().find(|sample| sample.metric.name == "Latency").expect("measured");
        assert!(latency.values.values.len() < 2_000, "{}", latency.values.values.len());
        assert_eq!((latency.values.count, latency.values.maximum), (100_000.0, 0.100_999));
        assert!((latency.values.sum - 5_099.95).abs() < 1e-6, "{}", latency.values.sum);
        let p99 = Statistic::Percentile(99.0).of(&latency.values).expect("known");
        assert!((p99 - 0.1).abs() < 0.001, "{p99}");
    }
}
