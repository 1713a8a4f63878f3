//! Snapshots, images and volumes by launch: what is asked for and what is told of it.

use futures::future::join_all;
use localcloud::{drivers::fake::When, model::snapshot::Snapshot};

use super::cloud::{Cloud, find, items, text};

impl Cloud {
    fn snapshot(&self, volume: &str) -> String {
        text(&self.ok("CreateSnapshot", &[("VolumeId", volume)]), "snapshotId")
    }

    async fn until_snapshot(&self, id: &str, status: &str) {
        let is = |cloud: &Self| {
            let found = cloud.ok("DescribeSnapshots", &[("SnapshotId.1", id)]);
            text(&found, "snapshotSet.0.status") == status
        };
        self.until(&format!("{id} is {status}"), is).await;
    }

    fn image_state(&self, id: &str) -> String {
        text(&self.ok("DescribeImages", &[("ImageId.1", id)]), "imagesSet.0.imageState")
    }

    async fn until_image(&self, id: &str, state: &str) {
        self.until(&format!("{id} is {state}"), |cloud| cloud.image_state(id) == state).await;
    }

    async fn until_gone(&self, action: &str, parameter: &str, id: &str) {
        let gone = |cloud: &Self| cloud.call(action, &[(parameter, id)]).is_err();
        self.until(&format!("{id} is gone"), gone).await;
    }
}

#[tokio::test]
async fn a_volume_comes_back_from_its_snapshot_as_large_or_larger() {
    let cloud = Cloud::start();
    let volume = cloud.create_volume();
    assert_eq!(cloud.refusal("CreateSnapshot", &[("VolumeId", "vol-00000000000000000")]), "InvalidVolume.NotFound");
    cloud.until_volume(&volume, "available").await;
    let tagged = [
        ("VolumeId", volume.as_str()),
        ("Description", "before the change"),
        ("TagSpecification.1.ResourceType", "snapshot"),
        ("TagSpecification.1.Tag.1.Key", "stack"),
        ("TagSpecification.1.Tag.1.Value", "s"),
    ];
    let answer = cloud.ok("CreateSnapshot", &tagged);
    assert_eq!((text(&answer, "status"), text(&answer, "volumeSize")), ("pending".into(), "1".into()));
    let id = text(&answer, "snapshotId");
    cloud.until_snapshot(&id, "completed").await;
    let by = |name: &str, value: &str| {
        let found = cloud.ok("DescribeSnapshots", &[("Filter.1.Name", name), ("Filter.1.Value.1", value)]);
        items(&found, "snapshotSet").len()
    };
    assert_eq!(
        (by("tag:stack", "s"), by("volume-id", &volume), by("status", "pending"), by("progress", "100%")),
        (1, 1, 0, 1)
    );
    assert_eq!(
        cloud.refusal("DescribeSnapshots", &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "x")]),
        "InvalidParameterValue"
    );

    let zone = cloud.site.home.name.clone();
    let restore =
        |size: &str| cloud.call("CreateVolume", &[("AvailabilityZone", &zone), ("SnapshotId", &id), ("Size", size)]);
    let larger = text(&restore("3").expect("larger"), "volumeId");
    cloud.until_volume(&larger, "available").await;
    assert_eq!(text(&cloud.volume(&larger), "snapshotId"), id);
    assert_eq!(cloud.fake.volumes.get(&larger).expect("made").size_gib, 3);
    let copied = [("SourceRegion", cloud.site.region.as_str()), ("SourceSnapshotId", &id)];
    let copy = text(&cloud.ok("CopySnapshot", &copied), "snapshotId");
    cloud.until_snapshot(&copy, "completed").await;
    let of_larger = cloud.snapshot(&larger);
    cloud.until_snapshot(&of_larger, "completed").await;
    let smaller = [("AvailabilityZone", zone.as_str()), ("SnapshotId", &of_larger), ("Size", "2")];
    assert_eq!(cloud.refusal("CreateVolume", &smaller), "InvalidParameterValue");

    cloud.ok("DeleteSnapshot", &[("SnapshotId", &id)]);
    assert_eq!(cloud.refusal("DeleteSnapshot", &[("SnapshotId", &id)]), "InvalidSnapshot.NotFound");
    cloud.until("its bytes are gone", |cloud| !cloud.fake.volumes.snapshots().contains_key(&id)).await;
    assert!(cloud.fake.volumes.snapshots().contains_key(&copy));
}

#[tokio::test]
async fn a_copy_that_fails_or_is_cut_short_is_made_again_and_its_volume_waits_for_it() {
    let mut cloud = Cloud::start();
    let volume = cloud.create_volume();
    cloud.until_volume(&volume, "available").await;
    cloud.fake.faults.fail_next("snapshot", When::After, 2);
    let id = cloud.snapshot(&volume);
    cloud.ok("DeleteVolume", &[("VolumeId", &volume)]);
    cloud
        .until("a first failure", |cloud| cloud.fake.faults.calls().iter().any(|call| call.starts_with("snapshot")))
        .await;
    cloud.kill().await;
    assert!(cloud.fake.volumes.get(&volume).is_some(), "the volume did not wait");
    cloud.wake();
    cloud.until_snapshot(&id, "completed").await;
    cloud.until_gone("DescribeVolumes", "VolumeId.1", &volume).await;

    let other = cloud.create_volume();
    cloud.until_volume(&other, "available").await;
    cloud.fake.faults.fail_next("snapshot", When::Before, 5);
    let failed = cloud.snapshot(&other);
    cloud.until_snapshot(&failed, "error").await;
    let found = cloud.ok("DescribeSnapshots", &[("SnapshotId.1", &failed)]);
    assert!(text(&found, "snapshotSet.0.statusMessage").contains("an injected fault"));
}

#[tokio::test]
async fn a_volume_grows_and_its_modification_is_told() {
    let cloud = Cloud::start();
    let volume = cloud.create_volume();
    cloud.until_volume(&volume, "available").await;
    let unmodified = [("VolumeId.1", volume.as_str())];
    assert_eq!(cloud.refusal("DescribeVolumesModifications", &unmodified), "InvalidVolumeModification.NotFound");
    let answer = cloud.ok("ModifyVolume", &[("VolumeId", &volume), ("Size", "5"), ("VolumeType", "gp3")]);
    assert_eq!(text(&answer, "volumeModification.originalSize"), "1");
    let state = |cloud: &Cloud| {
        let found = cloud.ok("DescribeVolumesModifications", &[("VolumeId.1", &volume)]);
        text(&found, "volumeModificationSet.0.modificationState")
    };
    cloud.until("it has grown", |cloud| state(cloud) == "completed").await;
    assert_eq!(cloud.fake.volumes.get(&volume).expect("there").size_gib, 5);
    assert_eq!(text(&cloud.volume(&volume), "volumeType"), "gp3");
    assert_eq!(cloud.refusal("ModifyVolume", &[("VolumeId", &volume), ("Size", "4")]), "InvalidParameterValue");
}

#[tokio::test]
async fn an_image_off_an_instance_has_its_volumes_and_outlives_everything() {
    let cloud = Cloud::start();
    let device = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "2"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdg"),
        ("BlockDeviceMapping.2.Ebs.VolumeSize", "1"),
        ("BlockDeviceMapping.2.Ebs.DeleteOnTermination", "false"),
    ];
    let id = cloud.run(&device);
    assert_eq!(items(&cloud.instance(&id), "blockDeviceMapping").len(), 2);
    cloud.until_state(&id, "running").await;
    let volumes: Vec<String> =
        items(&cloud.instance(&id), "blockDeviceMapping").iter().map(|item| text(item, "ebs.volumeId")).collect();
    for volume in &volumes {
        cloud.until_attached(volume).await;
    }
    let create = [
        ("InstanceId", id.as_str()),
        ("Name", "database"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdg"),
        ("BlockDeviceMapping.1.NoDevice", ""),
    ];
    let image = text(&cloud.ok("CreateImage", &create), "imageId");
    assert_eq!(cloud.refusal("CreateImage", &create), "InvalidAMIName.Duplicate");
    let asked = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1")];
    assert_eq!(cloud.refusal("RunInstances", &asked), "InvalidAMIID.Unavailable");
    cloud.until_image(&image, "available").await;
    let calls = cloud.fake.faults.calls();
    let position =
        |call: String| calls.iter().position(|made| *made == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    let (stopped, captured) = (position(format!("stop {id}")), position(format!("capture {id}")));
    let again = calls.iter().rposition(|call| *call == format!("launch {id}")).expect("launched");
    assert!(stopped < captured && captured < again, "{calls:?}");
    cloud.until_state(&id, "running").await;

    let found = cloud.ok("DescribeImages", &[("ImageId.1", &image), ("Owner.1", "self")]);
    let mappings = items(&found, "imagesSet.0.blockDeviceMapping");
    assert_eq!(mappings.iter().map(|item| text(item, "deviceName")).collect::<Vec<_>>(), ["/dev/sda1", "/dev/sdf"]);
    let (root, data) = (text(&mappings[0], "ebs.snapshotId"), text(&mappings[1], "ebs.snapshotId"));
    for snapshot in [&root, &data] {
        assert_eq!(cloud.refusal("DeleteSnapshot", &[("SnapshotId", snapshot)]), "InvalidSnapshot.InUse");
    }
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]);
    cloud.until_gone("DescribeVolumes", "VolumeId.1", &volumes[0]).await;
    cloud.until_volume(&volumes[1], "available").await;

    let clone = cloud.run_image(
        &image,
        &[("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.VolumeSize", "4")],
    );
    cloud.until_state(&clone, "running").await;
    let volume = text(&cloud.instance(&clone), "blockDeviceMapping.0.ebs.volumeId");
    cloud.until_attached(&volume).await;
    assert_eq!(
        (text(&cloud.volume(&volume), "size"), text(&cloud.volume(&volume), "snapshotId")),
        ("4".into(), data.clone())
    );
    let tree = cloud.fake.instances.get(&clone).expect("runs").spec.image_root;
    assert!(cloud.fake.instances.trees().contains(&tree));

    cloud.ok("DeregisterImage", &[("ImageId", &image)]);
    for snapshot in [&root, &data] {
        cloud.ok("DeleteSnapshot", &[("SnapshotId", snapshot)]);
    }
    // Its tree stays for the instance, which can be stopped and started still.
    cloud.until("the volume's bytes are gone", |cloud| cloud.fake.volumes.snapshots().is_empty()).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &clone)]);
    cloud.until_state(&clone, "stopped").await;
    cloud.ok("StartInstances", &[("InstanceId.1", &clone)]);
    cloud.until_state(&clone, "running").await;
    assert!(cloud.fake.instances.trees().contains(&tree));
    cloud.ok("TerminateInstances", &[("InstanceId.1", &clone)]);
    cloud.until("the tree is gone", |cloud| cloud.fake.instances.trees().is_empty()).await;
    cloud
        .until("the records are gone", |cloud| cloud.store.read(|tx| tx.list::<Snapshot>().is_empty()).expect("reads"))
        .await;
}

#[tokio::test]
async fn an_image_is_registered_again_of_its_root_copied_and_refused_of_a_volume() {
    let cloud = Cloud::start();
    let id = cloud.run(&[]);
    cloud.until_state(&id, "running").await;
    let create = [("InstanceId", id.as_str()), ("Name", "first"), ("NoReboot", "true")];
    let image = text(&cloud.ok("CreateImage", &create), "imageId");
    cloud.until_image(&image, "available").await;
    assert!(!cloud.fake.faults.calls().contains(&format!("stop {id}")), "it was rebooted");
    let found = cloud.ok("DescribeImages", &[("ImageId.1", &image)]);
    let root = text(&found, "imagesSet.0.blockDeviceMapping.0.ebs.snapshotId");
    let copied = [("SourceRegion", cloud.site.region.as_str()), ("SourceImageId", &image), ("Name", "copy")];
    let copy = text(&cloud.ok("CopyImage", &copied), "imageId");
    cloud.until_image(&copy, "available").await;
    assert_eq!(cloud.fake.instances.trees().len(), 2);

    cloud.ok("DeregisterImage", &[("ImageId", &image)]);
    let register = |snapshot: &str| {
        cloud.call(
            "RegisterImage",
            &[
                ("Name", "again"),
                ("RootDeviceName", "/dev/sda1"),
                ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
                ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot),
            ],
        )
    };
    let again = text(&register(&root).expect("registered"), "imageId");
    cloud.until_image(&again, "available").await;
    let clone = cloud.run_image(&again, &[]);
    cloud.until_state(&clone, "running").await;
    let volume = cloud.create_volume();
    cloud.until_volume(&volume, "available").await;
    let of_volume = cloud.snapshot(&volume);
    assert_eq!(register(&of_volume).expect_err("of a volume").code, "InvalidAMIName.Duplicate");
    cloud.ok("DeregisterImage", &[("ImageId", &again)]);
    assert_eq!(register(&of_volume).expect_err("of a volume").code, "UnsupportedOperation");
    assert_eq!(cloud.refusal("DeregisterImage", &[("ImageId", &cloud.image_id)]), "AuthFailure");

    let permit = [("ImageId", copy.as_str()), ("LaunchPermission.Add.1.Group", "all")];
    cloud.ok("ModifyImageAttribute", &permit);
    let told = cloud.ok("DescribeImageAttribute", &[("ImageId", &copy), ("Attribute", "launchPermission")]);
    assert_eq!(text(&told, "launchPermission.0.group"), "all");
    assert_eq!(text(&cloud.ok("DescribeImages", &[("ImageId.1", &copy)]), "imagesSet.0.isPublic"), "true");
}

#[tokio::test]
async fn an_image_of_which_a_snapshot_fails_has_failed_and_says_why() {
    let cloud = Cloud::start();
    let id = cloud.run(&[]);
    cloud.until_state(&id, "running").await;
    cloud.fake.faults.fail_next("capture", When::Before, 6);
    let image = text(&cloud.ok("CreateImage", &[("InstanceId", &id), ("Name", "broken")]), "imageId");
    cloud.until_image(&image, "failed").await;
    let found = cloud.ok("DescribeImages", &[("ImageId.1", &image)]);
    assert!(text(&found, "imagesSet.0.stateReason.message").contains("an injected fault"), "{found:?}");
    cloud.until_state(&id, "running").await;
    assert!(find(&cloud.instance(&id), "blockDeviceMapping.0").is_none());
}

/// An instance with a volume, an image of it, an instance of that, and the end of all.
async fn life_of_an_image(cloud: &Cloud) {
    let device = [("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.VolumeSize", "1")];
    let id = cloud.run(&device);
    cloud.until_state(&id, "running").await;
    cloud.until_attached(&text(&cloud.instance(&id), "blockDeviceMapping.0.ebs.volumeId")).await;
    let image = text(&cloud.ok("CreateImage", &[("InstanceId", &id), ("Name", "database")]), "imageId");
    cloud.until_image(&image, "available").await;
    let clone = cloud.run_image(&image, &[]);
    cloud.until_state(&clone, "running").await;
    cloud.until_attached(&text(&cloud.instance(&clone), "blockDeviceMapping.0.ebs.volumeId")).await;
    cloud.ok("DeregisterImage", &[("ImageId", &image), ("DeleteAssociatedSnapshots", "true")]);
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id), ("InstanceId.2", &clone)]);
    let gone = |cloud: &Cloud| {
        let volumes = items(&cloud.ok("DescribeVolumes", &[]), "volumeSet").is_empty();
        volumes && cloud.store.read(|tx| tx.list::<Snapshot>().is_empty()).expect("reads")
    };
    cloud.until("volumes and snapshots are gone", gone).await;
    assert!(cloud.fake.instances.trees().is_empty() && cloud.fake.volumes.snapshots().is_empty());
}

#[tokio::test]
async fn a_fault_at_any_call_on_the_way_to_an_image_ends_the_same() {
    let cloud = Cloud::start();
    life_of_an_image(&cloud).await;
    let calls = cloud.fake.faults.calls().len();
    let faults = (1..=calls).flat_map(|nth| [(nth, When::Before), (nth, When::After)]);
    join_all(faults.map(|(nth, when)| async move {
        let cloud = Cloud::start();
        cloud.fake.faults.fail_nth(nth, when);
        life_of_an_image(&cloud).await;
    }))
    .await;
}

#[tokio::test]
async fn a_daemon_killed_on_the_way_to_an_image_goes_on_where_it_was() {
    join_all((1..=14).map(|nth| async move {
        let mut cloud = Cloud::start();
        let id = cloud.run(&[]);
        let mut image = None;
        let mut killed = false;
        let available = |cloud: &Cloud, image: &Option<String>| {
            image.as_ref().is_some_and(|image| cloud.image_state(image) == "available")
        };
        let start = std::time::Instant::now();
        while !available(&cloud, &image) || cloud.state(&id) != "running" {
            assert!(start.elapsed().as_secs() < 30, "killed after call {nth}: {:?}", cloud.fake.faults.calls());
            if !killed && cloud.fake.faults.calls().len() >= nth {
                cloud.kill().await;
                cloud.wake();
                killed = true;
            }
            if image.is_none() {
                let asked = cloud.call("CreateImage", &[("InstanceId", &id), ("Name", "database")]);
                image = asked.ok().map(|answer| text(&answer, "imageId"));
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(cloud.fake.instances.trees().len(), 1, "killed after call {nth}");
    }))
    .await;
}
