//! What instances use, as AWS/EC2 has it
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_metrics_with_cloudwatch.html>). What the machine does not
//! count has no metric. `DiskReadBytes` and its like are about instance store volumes there, and about the root's overlay
//! here: they come from the control group, and from nothing else, as `/proc/PID/io` dies with each process.

use std::collections::{BTreeMap, BTreeSet};

use super::{Interval, Look, Records, added, number, transferred};
use crate::{
    api::ec2::instances::status::Checks,
    drivers::{Transfer, Usage, VolumeUsage},
    metrics::{Metric, Sample, StatisticSet},
    model::{instance::Instance, instance_type},
};

const NAMESPACE: &str = "AWS/EC2";

/// One value of one instance: name, unit, value.
type Value = (&'static str, &'static str, f64);

/// Samples of each instance, and of all of one group, image or type together.
#[must_use]
pub fn samples(records: &Records, interval: Interval, before: Option<&Look>, after: &Look) -> Vec<Sample> {
    let groups = records.groups_of_members();
    let volumes = records.volumes_of_instances();
    let mut samples = Vec::new();
    let mut together = Together::default();
    for instance in &records.running {
        let mut values = checks(instance);
        if let Some(before) = before {
            let id = instance.id.as_str();
            if let (Some(first), Some(last)) = (before.instances.get(id), after.instances.get(id)) {
                let vcpus = instance_type::find(&instance.instance_type).map_or(1, |kind| kind.vcpus);
                values.extend(used(first, last, vcpus, interval.seconds));
            }
            if let Some(ids) = volumes.get(id) {
                values.extend(volumes_used(ids, &before.volumes, &after.volumes));
            }
        }
        together.add(instance, groups.get(instance.id.as_str()).copied(), &values);
        samples.extend(values.into_iter().map(|(name, unit, value)| {
            Sample::of(Metric::new(NAMESPACE, name, &[("InstanceId", &instance.id)]), interval.begin, unit, value)
        }));
    }
    samples.extend(together.samples(interval));
    samples
}

fn checks(instance: &Instance) -> Vec<Value> {
    let Some(checks) = Checks::of(instance) else { return Vec::new() };
    let failed = |passed: bool| if passed { 0.0 } else { 1.0 };
    vec![
        ("StatusCheckFailed", "Count", failed(checks.system_passed && checks.instance_passed)),
        ("StatusCheckFailed_Instance", "Count", failed(checks.instance_passed)),
        ("StatusCheckFailed_System", "Count", failed(checks.system_passed)),
    ]
}

/// What was used between two readings.
fn used(before: &Usage, after: &Usage, vcpus: u32, seconds: f64) -> Vec<Value> {
    let mut values = Vec::new();
    if let (Some(before), Some(after)) = (before.cpu_nanos, after.cpu_nanos) {
        let share = number(added(before, after)) / 1e9 / seconds / f64::from(vcpus.max(1));
        // The two readings of clock and counter are not one: a full processor may look a little more than full.
        values.push(("CPUUtilization", "Percent", (share * 100.0).min(100.0)));
    }
    let moved = [
        (before.received, after.received, "NetworkIn", "NetworkPacketsIn"),
        (before.sent, after.sent, "NetworkOut", "NetworkPacketsOut"),
        (before.read, after.read, "DiskReadBytes", "DiskReadOps"),
        (before.written, after.written, "DiskWriteBytes", "DiskWriteOps"),
    ];
    for (before, after, bytes, count) in moved {
        if let (Some(before), Some(after)) = (before, after) {
            let moved = transferred(before, after);
            values.push((bytes, "Bytes", number(moved.bytes)));
            values.push((count, "Count", number(moved.count)));
        }
    }
    values
}

/// What an instance has done with its volumes.
fn volumes_used(
    ids: &BTreeSet<&str>,
    before: &BTreeMap<String, VolumeUsage>,
    after: &BTreeMap<String, VolumeUsage>,
) -> Vec<Value> {
    let mut read = Transfer::default();
    let mut written = Transfer::default();
    let mut any = false;
    for (before, after) in ids.iter().filter_map(|id| before.get(*id).zip(after.get(*id))) {
        for (sum, before, after) in
            [(&mut read, before.read, after.read), (&mut written, before.written, after.written)]
        {
            let moved = transferred(before, after);
            sum.bytes += moved.bytes;
            sum.count += moved.count;
        }
        any = true;
    }
    if !any {
        return Vec::new();
    }
    vec![
        ("EBSReadBytes", "Bytes", number(read.bytes)),
        ("EBSReadOps", "Count", number(read.count)),
        ("EBSWriteBytes", "Bytes", number(written.bytes)),
        ("EBSWriteOps", "Count", number(written.count)),
    ]
}

/// A dimension with its value; `None` for all instances.
type Dimension<'a> = Option<(&'static str, &'a str)>;

/// Values of many instances under what they have in common. Each instance counts as one sample.
#[derive(Default)]
struct Together<'a>(BTreeMap<Dimension<'a>, BTreeMap<(&'static str, &'static str), Vec<f64>>>);

impl<'a> Together<'a> {
    /// Groups have all their members; images, types and the whole have those with detailed monitoring only
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/GetSingleMetricAllDimensions.html>).
    fn add(&mut self, instance: &'a Instance, group: Option<&'a str>, values: &[Value]) {
        let mut dimensions: Vec<Dimension<'a>> = Vec::new();
        dimensions.extend(group.map(|group| Some(("AutoScalingGroupName", group))));
        if instance.monitoring {
            let of_instance = [("ImageId", instance.image_id.as_str()), ("InstanceType", &instance.instance_type)];
            dimensions.extend(of_instance.map(Some));
            dimensions.push(None);
        }
        for dimension in dimensions {
            let sums = self.0.entry(dimension).or_default();
            for &(name, unit, value) in values {
                sums.entry((name, unit)).or_default().push(value);
            }
        }
    }

    fn samples(self, interval: Interval) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (dimension, metrics) in self.0 {
            for ((name, unit), values) in metrics {
                let Some(values) = set(values) else { continue };
                let metric = Metric::new(NAMESPACE, name, dimension.as_slice());
                samples.push(Sample { metric, time: interval.begin, unit: unit.to_owned(), values });
            }
        }
        samples
    }
}

/// Equal values are one, with their number.
fn set(mut values: Vec<f64>) -> Option<StatisticSet> {
    values.sort_by(f64::total_cmp);
    let equal = values.chunk_by(|one, other| one == other);
    StatisticSet::of_all(equal.filter_map(|run| Some((*run.first()?, number(run.len() as u64)))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        model::{instance::InstanceState, time::Timestamp},
        reconcile::samples::instance,
    };

    fn interval() -> Interval {
        Interval { begin: Timestamp::from_seconds(0.0), seconds: 10.0 }
    }

    fn look(usages: &[(&str, Usage)]) -> Look {
        let instances = usages.iter().map(|(id, usage)| ((*id).to_owned(), *usage)).collect();
        Look { at: Timestamp::from_seconds(0.0), instances, volumes: BTreeMap::new() }
    }

    fn busy(seconds: u64) -> Usage {
        Usage { cpu_nanos: Some(seconds * 1_000_000_000), ..Usage::default() }
    }

    fn records(ids: &[&str], monitoring: bool) -> Records {
        let running = ids.iter().map(|id| {
            let instance = Instance { monitoring, ..instance(id, InstanceState::Running) };
            Arc::new(instance)
        });
        Records { running: running.collect(), ..Records::default() }
    }

    fn values<'a>(samples: &'a [Sample], name: &str, dimensions: &[(&str, &str)]) -> Option<&'a StatisticSet> {
        let metric = Metric::new(NAMESPACE, name, dimensions);
        samples.iter().find(|sample| sample.metric == metric).map(|sample| &sample.values)
    }

    #[test]
    fn a_processor_is_used_in_percent_of_all_that_the_type_has() {
        // A t3.micro has two.
        let cpu = |seconds: u64| used(&busy(5), &busy(5 + seconds), 2, 10.0);
        assert_eq!(cpu(0), [("CPUUtilization", "Percent", 0.0)]);
        assert_eq!(cpu(5), [("CPUUtilization", "Percent", 25.0)]);
        assert_eq!(cpu(21), [("CPUUtilization", "Percent", 100.0)]);
    }

    #[test]
    fn what_is_not_counted_has_no_metric() {
        let usage = Usage { received: Some(Transfer { bytes: 7, count: 1 }), ..Usage::default() };
        let values = used(&Usage { received: Some(Transfer::default()), ..Usage::default() }, &usage, 1, 10.0);
        assert_eq!(values, [("NetworkIn", "Bytes", 7.0), ("NetworkPacketsIn", "Count", 1.0)]);
    }

    #[test]
    fn the_first_look_at_an_instance_tells_its_checks_and_nothing_else() {
        let records = records(&["i-1"], false);
        let samples = samples(&records, interval(), Some(&look(&[])), &look(&[("i-1", busy(100))]));
        let names: Vec<&str> = samples.iter().map(|sample| sample.metric.name.as_str()).collect();
        assert_eq!(names, ["StatusCheckFailed", "StatusCheckFailed_Instance", "StatusCheckFailed_System"]);
    }

    #[test]
    fn instances_with_detailed_monitoring_count_as_one_sample_each_for_image_type_and_all() {
        let before = look(&[("i-1", busy(0)), ("i-2", busy(0)), ("i-3", busy(0))]);
        let after = look(&[("i-1", busy(2)), ("i-2", busy(4)), ("i-3", busy(4))]);
        let of = |monitoring| samples(&records(&["i-1", "i-2", "i-3"], monitoring), interval(), Some(&before), &after);
        let detailed = of(true);
        for dimensions in [&[("ImageId", "ami-1")][..], &[("InstanceType", "t3.micro")], &[]] {
            let cpu = values(&detailed, "CPUUtilization", dimensions).expect("together");
            assert_eq!((cpu.count, cpu.sum, cpu.minimum, cpu.maximum), (3.0, 50.0, 10.0, 20.0));
            assert_eq!(cpu.values, [(10.0, 1.0), (20.0, 2.0)]);
        }
        let basic = of(false);
        assert!(values(&basic, "CPUUtilization", &[("InstanceId", "i-1")]).is_some());
        assert!(values(&basic, "CPUUtilization", &[]).is_none());
    }

    #[test]
    fn an_instance_with_which_something_does_not_succeed_fails_its_check() {
        let mut ill = instance("i-1", InstanceState::Running);
        ill.trouble = Some("rebooting i-1: it does not".to_owned());
        assert_eq!(checks(&ill).iter().map(|(_, _, value)| *value).collect::<Vec<_>>(), [1.0, 1.0, 0.0]);
        assert!(checks(&instance("i-1", InstanceState::Pending)).is_empty());
    }
}
