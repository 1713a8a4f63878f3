//! What volumes are used for, as AWS/EBS has it
//! (<https://docs.aws.amazon.com/ebs/latest/userguide/using_cloudwatch_ebs.html>), in the manner of volumes of a
//! Nitro-based instance: each sample is one data point, whether anything was done or not.

use std::sync::Arc;

use super::{Interval, Look, added, number, transferred};
use crate::{
    drivers::VolumeUsage,
    metrics::{Metric, Sample},
    model::volume::Volume,
};

const NAMESPACE: &str = "AWS/EBS";

/// Samples of each volume that is attached and open.
#[must_use]
pub fn samples(attached: &[Arc<Volume>], interval: Interval, before: Option<&Look>, after: &Look) -> Vec<Sample> {
    let Some(before) = before else { return Vec::new() };
    let mut samples = Vec::new();
    for volume in attached {
        let (Some(first), Some(last)) = (before.volumes.get(&volume.id), after.volumes.get(&volume.id)) else {
            continue;
        };
        samples.extend(used(first, last, interval.seconds).map(|(name, unit, value)| {
            Sample::of(Metric::new(NAMESPACE, name, &[("VolumeId", &volume.id)]), interval.begin, unit, value)
        }));
    }
    samples
}

fn used(before: &VolumeUsage, after: &VolumeUsage, seconds: f64) -> [(&'static str, &'static str, f64); 8] {
    let (read, written) = (transferred(before.read, after.read), transferred(before.written, after.written));
    let time = |before: u64, after: u64| number(added(before, after)) / 1000.0;
    let busy = time(before.busy_millis, after.busy_millis);
    [
        ("VolumeReadBytes", "Bytes", number(read.bytes)),
        ("VolumeWriteBytes", "Bytes", number(written.bytes)),
        ("VolumeReadOps", "Count", number(read.count)),
        ("VolumeWriteOps", "Count", number(written.count)),
        ("VolumeTotalReadTime", "Seconds", time(before.read_millis, after.read_millis)),
        ("VolumeTotalWriteTime", "Seconds", time(before.write_millis, after.write_millis)),
        ("VolumeIdleTime", "Seconds", (seconds - busy).max(0.0)),
        // How many operations were under way, on average over the time.
        ("VolumeQueueLength", "Count", time(before.queued_millis, after.queued_millis) / seconds),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::Transfer;

    #[test]
    fn a_volume_is_told_by_what_was_done_since() {
        let before = VolumeUsage { read: Transfer { bytes: 100, count: 1 }, ..VolumeUsage::default() };
        let after = VolumeUsage {
            read: Transfer { bytes: 4196, count: 2 },
            written: Transfer { bytes: 512, count: 1 },
            read_millis: 500,
            write_millis: 250,
            busy_millis: 700,
            queued_millis: 20_000,
        };
        let values = used(&before, &after, 10.0).map(|(_, _, value)| value);
        assert_eq!(values, [4096.0, 512.0, 1.0, 1.0, 0.5, 0.25, 9.3, 2.0]);
    }
}
