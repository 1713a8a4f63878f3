//! Instances as containers: the whole life of one, and what a daemon's or a guest's sudden end leaves.

use std::time::{Duration, Instant};

use localcloud::drivers::{Inspected, InstanceDriver as _, NetworkDriver as _, VolumeDriver as _};

use crate::sandbox::{Sandbox, skipped};

/// A test's own limit for what it waits for.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_instance_lives_with_its_volume_and_leaves_nothing() {
    if skipped("an_instance_lives_with_its_volume_and_leaves_nothing") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    sandbox.network.start().await.unwrap();
    assert_eq!(sandbox.instances.inspect(id).await.unwrap(), Inspected::Absent);
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    assert_eq!(sandbox.instances.inspect(id).await.unwrap(), Inspected::Running);
    assert_eq!(sandbox.instances.list().await.unwrap().into_iter().collect::<Vec<_>>(), [id]);

    sandbox.volumes.create("vol-0a1b", 1).await.unwrap();
    let block = sandbox.volumes.open("vol-0a1b").await.unwrap();
    sandbox.instances.attach(id, "/dev/vdf", "vol-0a1b", &block).await.unwrap();
    sandbox.instances.attach(id, "/dev/vdf", "vol-0a1b", &block).await.unwrap();
    let link = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0a1b";
    assert_eq!(sandbox.in_guest(id, &format!("readlink -f {link}")).await.unwrap().trim(), "/dev/vdf");
    sandbox.in_guest(id, "mkfs.ext4 -q /dev/vdf && mount /dev/vdf /mnt && echo kept >/mnt/file").await.unwrap();
    let refused = sandbox.instances.detach(id, "/dev/vdf", "vol-0a1b", false).await.unwrap_err();
    assert!(refused.to_string().contains("mounted at /mnt"), "{refused}");
    sandbox.in_guest(id, "umount /mnt").await.unwrap();
    sandbox.instances.detach(id, "/dev/vdf", "vol-0a1b", false).await.unwrap();
    sandbox.instances.detach(id, "/dev/vdf", "vol-0a1b", false).await.unwrap();
    assert!(sandbox.in_guest(id, &format!("test -e /dev/vdf || test -L {link}")).await.is_err());

    sandbox.instances.attach(id, "/dev/vdf", "vol-0a1b", &block).await.unwrap();
    assert_eq!(sandbox.in_guest(id, "mount /dev/vdf /mnt && cat /mnt/file").await.unwrap(), "kept\n");
    sandbox.instances.detach(id, "/dev/vdf", "vol-0a1b", true).await.unwrap();
    assert!(sandbox.in_guest(id, "mountpoint -q /mnt").await.is_err());
    sandbox.volumes.close("vol-0a1b").await.unwrap();

    wait_for_console(&sandbox, id, "Welcome to").await;
    let started = Instant::now();
    sandbox.instances.terminate(id).await.unwrap();
    eprintln!("terminated in {} ms", started.elapsed().as_millis());
    sandbox.instances.terminate(id).await.unwrap();
    assert_eq!(sandbox.instances.inspect(id).await.unwrap(), Inspected::Absent);
    assert_eq!(sandbox.traces(id).await, Vec::<String>::new());
    assert!(sandbox.instances.list().await.unwrap().is_empty());
    assert!(sandbox.instances.console_output(id).is_empty());
}

#[tokio::test]
async fn a_mounted_volume_is_free_once_its_instance_is_terminated() {
    if skipped("a_mounted_volume_is_free_once_its_instance_is_terminated") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.volumes.create("vol-1", 1).await.unwrap();
    let block = sandbox.volumes.open("vol-1").await.unwrap();
    sandbox.instances.attach(&spec.id, "/dev/vdf", "vol-1", &block).await.unwrap();
    sandbox
        .in_guest(&spec.id, "mkfs.ext4 -q /dev/vdf && mount /dev/vdf /mnt && echo kept >/mnt/file && sync")
        .await
        .unwrap();
    sandbox.instances.terminate(&spec.id).await.unwrap();
    sandbox.volumes.close("vol-1").await.unwrap();

    let successor = sandbox.spec(12).await;
    sandbox.instances.launch(&successor).await.unwrap();
    let block = sandbox.volumes.open("vol-1").await.unwrap();
    sandbox.instances.attach(&successor.id, "/dev/sdf", "vol-1", &block).await.unwrap();
    assert_eq!(sandbox.in_guest(&successor.id, "mount /dev/sdf /mnt && cat /mnt/file").await.unwrap(), "kept\n");
}

#[tokio::test]
async fn an_instance_outlives_its_daemon_and_keeps_its_disk_through_a_stop() {
    if skipped("an_instance_outlives_its_daemon_and_keeps_its_disk_through_a_stop") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    let leader = sandbox.instances.first_process(id);
    let next = sandbox.after_a_restart();
    assert_eq!(next.inspect(id).await.unwrap(), Inspected::Running);
    next.launch(&spec).await.unwrap();
    assert_eq!(next.first_process(id), leader, "a launch of what runs has started it anew");
    sandbox.in_guest(id, "echo kept >/var/lib/file").await.unwrap();
    sandbox.eventually_in_guest(id, "systemctl is-active systemd-networkd").await;

    next.stop(id).await.unwrap();
    assert_eq!(next.inspect(id).await.unwrap(), Inspected::Stopped);
    assert_eq!(sandbox.traces(id).await, Vec::<String>::new());
    assert!(String::from_utf8_lossy(&next.console_output(id)).contains("Powering off"));
    next.stop(id).await.unwrap();

    next.launch(&spec).await.unwrap();
    assert_eq!(sandbox.in_guest(id, "cat /var/lib/file").await.unwrap(), "kept\n");
    assert_eq!(next.inspect(id).await.unwrap(), Inspected::Running);
}

#[tokio::test]
async fn a_guest_that_reboots_comes_back_with_its_devices() {
    if skipped("a_guest_that_reboots_comes_back_with_its_devices") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.volumes.create("vol-1", 1).await.unwrap();
    let block = sandbox.volumes.open("vol-1").await.unwrap();
    sandbox.instances.attach(id, "/dev/vdf", "vol-1", &block).await.unwrap();
    sandbox.eventually_in_guest(id, "systemctl is-active systemd-journald").await;
    let before = sandbox.instances.first_process(id);
    let _ = sandbox.in_guest(id, "systemctl reboot --force").await;
    let deadline = Instant::now() + LIMIT;
    loop {
        let inspected = sandbox.instances.inspect(id).await.unwrap();
        assert_eq!(inspected, Inspected::Running);
        let leader = sandbox.instances.first_process(id);
        if leader.is_some() && leader != before && sandbox.in_guest(id, "test -b /dev/vdf").await.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline, "no device after the reboot: {leader:?}, before {before:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_guest_that_powers_itself_off_is_stopped() {
    if skipped("a_guest_that_powers_itself_off_is_stopped") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.eventually_in_guest(id, "systemctl is-active systemd-journald").await;
    let _ = sandbox.in_guest(id, "systemctl poweroff --force").await;
    let deadline = Instant::now() + LIMIT;
    while sandbox.instances.inspect(id).await.unwrap() != Inspected::Stopped {
        assert!(Instant::now() < deadline, "it still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sandbox.instances.terminate(id).await.unwrap();
    assert_eq!(sandbox.traces(id).await, Vec::<String>::new());
}

#[tokio::test]
async fn terminate_finishes_what_another_has_begun() {
    if skipped("terminate_finishes_what_another_has_begun") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    // A daemon killed in the middle: processes and namespace are gone, a second mount lies over the first, and
    // somebody stands in it.
    let root = sandbox.paths.instance(id).join("root");
    let group = localcloud::host::cgroup::Cgroup::new(&sandbox.paths.unique_name(), id);
    group.kill(LIMIT).await.unwrap();
    localcloud::host::netns::delete(&format!("{}-{id}", sandbox.paths.unique_name())).await.unwrap();
    let instance = sandbox.paths.instance(id);
    let (upper, work) = (instance.join("upper2"), instance.join("work2"));
    localcloud::host::mount::overlay(&spec.image_root, &upper, &work, &root).unwrap();
    let held = std::fs::File::open(root.join("etc")).unwrap();
    sandbox.instances.terminate(id).await.unwrap();
    assert_eq!(sandbox.traces(id).await, Vec::<String>::new());
    drop(held);
    sandbox.instances.launch(&spec).await.unwrap();
    assert_eq!(sandbox.instances.inspect(id).await.unwrap(), Inspected::Running);
}

#[tokio::test]
async fn an_instance_cannot_use_more_memory_than_its_type_has() {
    if skipped("an_instance_cannot_use_more_memory_than_its_type_has") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.eventually_in_guest(id, "systemctl is-active systemd-journald").await;
    // `tail` holds a line without an end in memory.
    let run = |mib: u32| {
        format!(
            "printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nType=oneshot\\nExecStart=sh -c \"head -c {mib}M /dev/zero | tail -n 1 | wc -c | grep -q {}\"\\n' \
             >/run/systemd/system/hog.service && systemctl daemon-reload && systemctl start hog.service",
            mib << 20
        )
    };
    sandbox.in_guest(id, &run(64)).await.unwrap();
    assert!(sandbox.in_guest(id, &run(1024)).await.is_err(), "a guest of 512 MiB has used 1024");
    assert_eq!(sandbox.instances.inspect(id).await.unwrap(), Inspected::Running);
}

#[tokio::test]
async fn an_instance_without_an_image_says_so_and_leaves_nothing() {
    if skipped("an_instance_without_an_image_says_so_and_leaves_nothing") {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.network.start().await.unwrap();
    let mut spec = sandbox.spec(11).await;
    spec.image_root = sandbox.paths.root().join("none");
    let error = sandbox.instances.launch(&spec).await.unwrap_err();
    assert!(error.to_string().contains("image build"), "{error}");
    assert_eq!(sandbox.traces(&spec.id).await, Vec::<String>::new());
}

async fn wait_for_console(sandbox: &Sandbox, id: &str, words: &str) {
    let deadline = Instant::now() + LIMIT;
    while !String::from_utf8_lossy(&sandbox.instances.console_output(id)).contains(words) {
        assert!(Instant::now() < deadline, "the console never said `{words}`");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
