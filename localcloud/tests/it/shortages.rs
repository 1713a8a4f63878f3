//! What a machine may run out of: a clear error where it is asked for, nothing half done, and all goes on when there is
//! some again.

use std::{fs, path::Path, process::Command, sync::Arc};

use localcloud::{
    daemon::{status, watchman::Troubles},
    drivers::{
        Drivers, Inspected, InstanceDriver as _, InstanceSpec, VolumeDriver as _, fake::FakeCloud,
        loop_volume::LoopVolumes, nspawn::NspawnDriver,
    },
    host::{HostError, inotify},
    model::instance::{Instance, InstanceState},
    model::volume::{AttachmentState, Volume, VolumeState},
    paths::Paths,
    store::Store,
};
use rustix::thread::UnshareFlags;

use crate::{
    fake_world::FakeWorld,
    sandbox::{Sandbox, skipped},
};

/// A `/dev` without loop devices, for this thread and what it starts.
struct WithoutLoopDevices;

impl WithoutLoopDevices {
    fn new() -> Self {
        #[expect(deprecated, reason = "its successor is unsafe for flags that are not used here")]
        rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS).unwrap();
        sh(
            "mount --make-rprivate / && mount -t tmpfs none /mnt && mknod -m 666 /mnt/null c 1 3 && mount --move /mnt /dev",
        );
        Self
    }
}

impl Drop for WithoutLoopDevices {
    fn drop(&mut self) {
        sh("umount /dev");
    }
}

fn sh(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().unwrap().success(), "{script}");
}

fn volume(world: &FakeWorld, id: &str) -> Arc<Volume> {
    world.read(|tx| tx.get::<Volume>(id).unwrap())
}

fn is_attached(world: &FakeWorld, id: &str) -> bool {
    volume(world, id).attachment.as_ref().is_some_and(|attachment| attachment.state == AttachmentState::Attached)
}

async fn running(world: &mut FakeWorld) -> String {
    let image = world.image_id.clone();
    let run = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1")];
    let id = world.call("ec2", "RunInstances", &run).unwrap().text("instancesSet.0.instanceId");
    world.until("it runs", |world| state(world, &id) == InstanceState::Running).await;
    id
}

fn state(world: &FakeWorld, id: &str) -> InstanceState {
    world.read(|tx| tx.get::<Instance>(id).unwrap().state)
}

/// What `localcloud status` tells of trouble.
fn told(world: &FakeWorld) -> Vec<String> {
    status::of(world.context(), &Troubles::default()).unwrap().troubles
}

#[tokio::test]
async fn without_a_free_loop_device_an_attachment_waits_says_why_and_is_made_when_there_is_one() {
    if skipped("without_a_free_loop_device_an_attachment_waits_says_why_and_is_made_when_there_is_one") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let volumes = Arc::new(LoopVolumes::new(sandbox.paths.clone()));
    let around = |drivers| Drivers { volumes: volumes.clone(), ..drivers };
    let mut world = FakeWorld::over(FakeCloud::new(), |paths| Store::open(&paths.records()).unwrap(), around);
    let instance = running(&mut world).await;
    let create = [("AvailabilityZone", "PARTI00"), ("Size", "1")];
    let id = world.call("ec2", "CreateVolume", &create).unwrap().text("volumeId");
    world.until("the volume is there", |world| volume(world, &id).state == VolumeState::Available).await;
    let file = sandbox.paths.volume(&id);
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"kept"))
        .unwrap();

    let without = WithoutLoopDevices::new();
    let attach = [("VolumeId", id.as_str()), ("InstanceId", &instance), ("Device", "/dev/sdf")];
    world.call("ec2", "AttachVolume", &attach).unwrap();
    world.until("the trouble is known", |world| volume(world, &id).trouble.is_some()).await;
    let volume_status = world.call("ec2", "DescribeVolumeStatus", &[("VolumeId.1", &id)]).unwrap();
    assert_eq!(volume_status.text("volumeStatusSet.0.volumeStatus.status"), "impaired");
    let description = volume_status.text("volumeStatusSet.0.eventsSet.0.description");
    assert!(description.contains("no loop device is free") && description.contains("hint: `losetup"), "{description}");
    assert_eq!(volume_status.text("volumeStatusSet.0.eventsSet.0.eventType"), "attachment-stuck");
    assert_eq!(told(&world), [format!("volume {id}: {description}")]);
    let described = world.call("ec2", "DescribeVolumes", &[("VolumeId.1", &id)]).unwrap();
    assert_eq!(described.text("volumeSet.0.attachmentSet.0.status"), "attaching");
    assert!(world.cloud.instances.get(&instance).unwrap().attached.is_empty());

    drop(without);
    world.until("it is attached", |world| is_attached(world, &id)).await;
    assert_eq!(told(&world), Vec::<String>::new());
    let device = volumes.open(&id).await.unwrap();
    assert!(fs::read(&file).unwrap().starts_with(b"kept") && device.exists());
    volumes.delete(&id).await.unwrap();
}

#[tokio::test]
async fn without_inotify_instances_a_launch_says_so_and_is_made_when_there_are_some() {
    let mut world = FakeWorld::new();
    let shortage = || inotify::shortage(Path::new("/proc"), inotify::OF_A_GUEST);
    world.cloud.faults.fail_next_because("launch", shortage(), 2);
    let image = world.image_id.clone();
    let run = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1")];
    let id = world.call("ec2", "RunInstances", &run).unwrap().text("instancesSet.0.instanceId");
    let described = |world: &FakeWorld| world.call("ec2", "DescribeInstances", &[("InstanceId.1", &id)]).unwrap();
    let reason = |world: &FakeWorld| described(world).text("reservationSet.0.instancesSet.0.stateReason.message");
    world.until("the trouble is known", |world| reason(world).contains("inotify instances are needed")).await;
    assert!(reason(&world).contains("hint: sysctl -w fs.inotify.max_user_instances="), "{}", reason(&world));
    assert_eq!(told(&world), [format!("instance {id}: {}", reason(&world))]);
    world.until("it runs", |world| state(world, &id) == InstanceState::Running).await;
    assert_eq!(told(&world), Vec::<String>::new());
    assert!(described(&world).get("reservationSet.0.instancesSet.0.stateReason.code").is_none());
}

#[tokio::test]
async fn a_guest_whose_systemd_got_no_inotify_instance_has_not_shut_itself_down() {
    let mut world = FakeWorld::new();
    let id = running(&mut world).await;
    world.cloud.instances.write_console(&id, "Failed to allocate manager object: Too many open files\n");
    world.cloud.instances.power_off(&id);
    world.until("it is stopped", |world| state(world, &id) == InstanceState::Stopped).await;
    let described = world.call("ec2", "DescribeInstances", &[("InstanceId.1", &id)]).unwrap();
    let reason = |what: &str| described.text(&format!("reservationSet.0.instancesSet.0.stateReason.{what}"));
    assert_eq!(reason("code"), "Server.InternalError");
    assert!(
        reason("message").contains("Failed to allocate manager object: Too many open files"),
        "{}",
        reason("message")
    );
}

/// Set for the process in which there are few: the state directory that it works in.
const SCARCE: &str = "LOCALCLOUD_SCARCE_INOTIFY";

/// A user namespace bounds what is taken within it and nobody else (user_namespaces(7), namespaces(7)): so the kernel
/// itself refuses here, and the host's own limit stays as it is.
#[tokio::test]
async fn a_container_is_not_launched_into_a_want_of_inotify_instances_and_nothing_is_left_of_it() {
    const NAME: &str = "a_container_is_not_launched_into_a_want_of_inotify_instances_and_nothing_is_left_of_it";
    let spec = InstanceSpec {
        id: "i-0123456789abcdef0".to_owned(),
        image_root: "/".into(),
        hostname: "ip-10-77-0-11".to_owned(),
        mac_address: "02:00:0a:4d:00:0b".to_owned(),
        private_ip: [10, 77, 0, 11].into(),
        vcpus: 1,
        memory_mib: 512,
    };
    if let Some(directory) = std::env::var_os(SCARCE) {
        return in_want(&Paths::new(Path::new(&directory)), &spec).await;
    }
    if skipped(NAME) {
        return;
    }
    let sandbox = Sandbox::new().await;
    let few = "echo 3 >/proc/sys/user/max_inotify_instances && exec \"$@\"";
    let inner = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", few, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("shortages::{NAME}"), "--nocapture"])
        .env(SCARCE, sandbox.paths.root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&inner.stderr));
    assert_eq!(NspawnDriver::new(sandbox.paths.clone()).inspect(&spec.id).await.unwrap(), Inspected::Absent);
    assert_eq!(sandbox.traces(&spec.id).await, Vec::<String>::new());
}

/// Where the kernel gives three and no more.
async fn in_want(paths: &Paths, spec: &InstanceSpec) {
    let driver = NspawnDriver::new(paths.clone());
    let error = driver.launch(spec).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("launching {}: 6 inotify instances are needed", spec.id)), "{error}");
    assert!(error.contains("hint: sysctl"), "{error}");
    assert_eq!(driver.inspect(&spec.id).await.unwrap(), Inspected::Absent);
    // What was taken to try is given back, and another error is blamed on the want only while there is one.
    inotify::ensure(3).unwrap();
    let failed = || HostError::new("starting dnsmasq", "Too many open files");
    assert_eq!(inotify::blamed(failed()).to_string(), failed().to_string());
    let taken: Vec<_> =
        (0..3).map(|_| rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).unwrap()).collect();
    assert!(inotify::blamed(failed()).to_string().contains("inotify instances are needed"));
    drop(taken);
}
