//! What is asked for is carried out, whatever fails or dies in between.

use std::{collections::BTreeSet, path::Path};

use futures::future::join_all;
use localcloud::drivers::{InstanceDriver as _, VolumeDriver as _, fake::When};

use super::cloud::{Cloud, find, items, text};

#[tokio::test]
async fn an_instance_runs_at_once_and_has_its_lease_before_it_boots() {
    let cloud = Cloud::start();
    cloud.until("the network is up", |cloud| cloud.fake.network.state().started).await;
    let id = cloud.run(&[]);
    let start = std::time::Instant::now();
    cloud.until_state(&id, "running").await;
    assert!(start.elapsed().as_millis() < 1000, "it took {:?}", start.elapsed());
    let calls = cloud.fake.faults.calls();
    let launched = calls.iter().position(|call| *call == format!("launch {id}")).expect("launched");
    assert!(calls[..launched].contains(&"change network".to_owned()), "{calls:?}");
    let spec = cloud.fake.instances.get(&id).expect("it runs").spec;
    let host = cloud.fake.network.state().plan.hosts.into_values().next().expect("a lease");
    assert_eq!((host.address, host.mac_address, host.hostname), (spec.private_ip, spec.mac_address, spec.hostname));
    assert_eq!((spec.vcpus, spec.memory_mib), (1, 512));
}

#[tokio::test]
async fn a_volume_goes_through_its_life_and_comes_back_when_its_instance_is_terminated() {
    let cloud = Cloud::start();
    let (id, volume) = (cloud.run(&[]), cloud.create_volume());
    cloud.until_state(&id, "running").await;
    cloud.until_volume(&volume, "available").await;
    let attach = [("VolumeId", volume.as_str()), ("InstanceId", id.as_str()), ("Device", "/dev/vdf")];
    assert_eq!(text(&cloud.ok("AttachVolume", &attach), "status"), "attaching");
    cloud.until_attached(&volume).await;
    let device = (String::from("/dev/vdf"), volume.clone());
    let attached = cloud.fake.instances.get(&id).expect("runs").attached;
    assert_eq!(attached.get(&device), Some(&Path::new("/dev/fake").join(&volume)));
    assert_eq!(text(&cloud.instance(&id), "blockDeviceMapping.0.ebs.volumeId"), volume);
    assert_eq!(cloud.refusal("DeleteVolume", &[("VolumeId", &volume)]), "VolumeInUse");

    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]);
    cloud.until_volume(&volume, "available").await;
    assert_eq!(cloud.state(&id), "terminated");
    assert!(find(&cloud.instance(&id), "privateIpAddress").is_none());
    assert!(!cloud.fake.volumes.get(&volume).expect("kept").open);

    cloud.ok("DeleteVolume", &[("VolumeId", &volume)]);
    cloud.until("the volume is gone", |cloud| cloud.call("DescribeVolumes", &[("VolumeId.1", &volume)]).is_err()).await;
    assert!(cloud.fake.volumes.get(&volume).is_none());
    cloud.until("the lease is gone", |cloud| cloud.fake.network.state().plan.hosts.is_empty()).await;
}

#[tokio::test]
async fn a_mounted_volume_stays_until_it_is_unmounted_or_forced() {
    let cloud = Cloud::start();
    let (id, volume) = (cloud.run(&[]), cloud.create_volume());
    cloud.until_state(&id, "running").await;
    cloud.until_volume(&volume, "available").await;
    cloud.ok("AttachVolume", &[("VolumeId", &volume), ("InstanceId", &id), ("Device", "/dev/vdf")]);
    cloud.until_attached(&volume).await;
    cloud.fake.instances.mount(&id, "/dev/vdf");
    cloud.ok("DetachVolume", &[("VolumeId", &volume)]);
    let tried = |cloud: &Cloud| cloud.fake.faults.calls().iter().filter(|call| call.starts_with("detach")).count() > 1;
    cloud.until("detaching is tried again", tried).await;
    assert_eq!(text(&cloud.volume(&volume), "attachmentSet.0.status"), "detaching");
    cloud.ok("DetachVolume", &[("VolumeId", &volume), ("Force", "true")]);
    cloud.until_volume(&volume, "available").await;
}

#[tokio::test]
async fn volumes_are_given_again_to_a_guest_that_was_stopped_or_rebooted() {
    let cloud = Cloud::start();
    let (id, volume) = (cloud.run(&[]), cloud.create_volume());
    cloud.until_state(&id, "running").await;
    cloud.until_volume(&volume, "available").await;
    cloud.ok("AttachVolume", &[("VolumeId", &volume), ("InstanceId", &id), ("Device", "/dev/vdf")]);
    cloud.until_attached(&volume).await;
    let attachments =
        |cloud: &Cloud| cloud.fake.faults.calls().iter().filter(|call| call.starts_with("attach")).count();

    cloud.ok("StopInstances", &[("InstanceId.1", &id)]);
    cloud.until_state(&id, "stopped").await;
    assert_eq!(text(&cloud.volume(&volume), "attachmentSet.0.status"), "attached");
    let before = attachments(&cloud);
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]);
    cloud.until("attached after the start", |cloud| attachments(cloud) > before).await;

    let before = attachments(&cloud);
    cloud.ok("RebootInstances", &[("InstanceId.1", &id)]);
    cloud.until("attached after the reboot", |cloud| attachments(cloud) > before).await;
    assert_eq!(cloud.state(&id), "running");
}

#[tokio::test]
async fn a_guest_that_shuts_itself_down_is_stopped_or_terminated_as_asked() {
    let cloud = Cloud::start();
    let kept = cloud.run(&[]);
    let gone = cloud.run(&[("InstanceInitiatedShutdownBehavior", "terminate")]);
    for id in [&kept, &gone] {
        cloud.until_state(id, "running").await;
        cloud.fake.instances.power_off(id);
    }
    cloud.until_state(&kept, "stopped").await;
    cloud.until_state(&gone, "terminated").await;
    assert_eq!(text(&cloud.instance(&kept), "stateReason.code"), "Client.InstanceInitiatedShutdown");
}

#[tokio::test]
async fn one_that_cannot_be_launched_is_given_up_with_its_cause_and_holds_up_nobody() {
    let cloud = Cloud::start();
    cloud.fake.faults.fail_next("launch", When::Before, 5);
    let failing = cloud.run(&[]);
    cloud
        .until("a first failure", |cloud| cloud.fake.faults.calls().iter().any(|call| call.starts_with("launch")))
        .await;
    // Questions go on being answered with why it is not up.
    cloud
        .until("the trouble is told", |cloud| text(&cloud.instance(&failing), "stateReason.message").contains("fault"))
        .await;
    cloud.until_state(&failing, "terminated").await;
    let instance = cloud.instance(&failing);
    assert_eq!(text(&instance, "stateReason.code"), "Server.InternalError");
    assert!(text(&instance, "stateReason.message").contains("an injected fault"), "{instance:?}");
    let other = cloud.run(&[]);
    cloud.until_state(&other, "running").await;
}

#[tokio::test]
async fn what_has_no_record_is_terminated_and_a_volume_without_one_is_left() {
    let mut cloud = Cloud::start();
    let id = cloud.run(&[]);
    cloud.until_state(&id, "running").await;
    cloud.kill().await;
    let mut stray = cloud.fake.instances.get(&id).expect("runs").spec;
    stray.id = "i-stray".to_owned();
    cloud.fake.instances.launch(&stray).await.expect("launches");
    cloud.fake.volumes.create("vol-stray", 1).await.expect("creates");
    cloud.wake();
    cloud.until("the stray is gone", |cloud| cloud.fake.instances.get("i-stray").is_none()).await;
    assert!(cloud.fake.volumes.get("vol-stray").is_some());
    assert_eq!(cloud.state(&id), "running");
}

/// Launch, attach, stop, start, detach, terminate, delete.
async fn whole_life(cloud: &Cloud) -> (String, String) {
    let (id, volume) = (cloud.run(&[]), cloud.create_volume());
    cloud.until_state(&id, "running").await;
    cloud.until_volume(&volume, "available").await;
    cloud.ok("AttachVolume", &[("VolumeId", &volume), ("InstanceId", &id), ("Device", "/dev/vdf")]);
    cloud.until_attached(&volume).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]);
    cloud.until_state(&id, "stopped").await;
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]);
    cloud.until_state(&id, "running").await;
    let given = |cloud: &Cloud| cloud.fake.instances.get(&id).is_some_and(|instance| !instance.attached.is_empty());
    cloud.until("the guest has its volume again", given).await;
    cloud.ok("DetachVolume", &[("VolumeId", &volume)]);
    cloud.until_volume(&volume, "available").await;
    cloud.ok("DeleteVolume", &[("VolumeId", &volume)]);
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]);
    cloud.until_state(&id, "terminated").await;
    cloud.until("the volume is gone", |cloud| items(&cloud.ok("DescribeVolumes", &[]), "volumeSet").is_empty()).await;
    (id, volume)
}

async fn assert_nothing_left(cloud: &Cloud, about: &str) {
    assert_eq!(cloud.fake.instances.list().await.expect("lists"), BTreeSet::new(), "{about}");
    assert_eq!(cloud.fake.volumes.list().await.expect("lists"), BTreeSet::new(), "{about}");
}

#[tokio::test]
async fn a_fault_at_any_call_before_or_after_its_effect_ends_the_same() {
    let cloud = Cloud::start();
    whole_life(&cloud).await;
    assert_nothing_left(&cloud, "without a fault").await;
    let calls = cloud.fake.faults.calls().len();
    assert!(calls > 10, "{:?}", cloud.fake.faults.calls());
    let faults = (1..=calls).flat_map(|nth| [(nth, When::Before), (nth, When::After)]);
    join_all(faults.map(|(nth, when)| async move {
        let cloud = Cloud::start();
        cloud.fake.faults.fail_nth(nth, when);
        whole_life(&cloud).await;
        assert_nothing_left(&cloud, &format!("fault {when:?} call {nth}")).await;
    }))
    .await;
}

#[tokio::test]
async fn a_daemon_killed_in_the_midst_of_it_goes_on_where_it_was() {
    join_all((1..=12).map(|nth| async move {
        let mut cloud = Cloud::start();
        let (id, volume) = (cloud.run(&[]), cloud.create_volume());
        let mut killed = false;
        let mut step = 0;
        let start = std::time::Instant::now();
        // Killed once the nth call was made, and awake again: each wish is uttered as soon as it is allowed.
        while step < 4 {
            assert!(start.elapsed().as_secs() < 30, "killed after call {nth}: {:?}", cloud.fake.faults.calls());
            if !killed && cloud.fake.faults.calls().len() >= nth {
                cloud.kill().await;
                cloud.wake();
                killed = true;
            }
            let wish = match step {
                0 => cloud.call("AttachVolume", &[("VolumeId", &volume), ("InstanceId", &id), ("Device", "/dev/vdf")]),
                1 if text(&cloud.volume(&volume), "attachmentSet.0.status") == "attached" => {
                    cloud.call("DetachVolume", &[("VolumeId", &volume)])
                }
                2 => cloud.call("DeleteVolume", &[("VolumeId", &volume)]),
                3 => cloud.call("TerminateInstances", &[("InstanceId.1", &id)]),
                _ => Err(localcloud::api::error::ApiError::new("NotYet", "")),
            };
            step += usize::from(wish.is_ok());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        cloud.until_state(&id, "terminated").await;
        cloud
            .until("the volume is gone", |cloud| items(&cloud.ok("DescribeVolumes", &[]), "volumeSet").is_empty())
            .await;
        assert_nothing_left(&cloud, &format!("killed after call {nth}")).await;
    }))
    .await;
}
