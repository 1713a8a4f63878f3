//! Volumes as files on loop devices.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Seek as _, Write as _},
};

use localcloud::drivers::{VolumeDriver as _, loop_volume::LoopVolumes};

use crate::sandbox::{Sandbox, skipped};

#[tokio::test]
async fn a_volume_keeps_its_bytes_from_one_opening_to_the_next() {
    if skipped("a_volume_keeps_its_bytes_from_one_opening_to_the_next") {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.volumes.create("vol-1", 1).await.unwrap();
    sandbox.volumes.create("vol-1", 1).await.unwrap();
    let device = sandbox.volumes.open("vol-1").await.unwrap();
    let mut file = fs::File::options().write(true).read(true).open(&device).unwrap();
    assert_eq!(file.seek(std::io::SeekFrom::End(0)).unwrap(), 1 << 30);
    file.rewind().unwrap();
    file.write_all(b"kept").unwrap();
    file.sync_all().unwrap();
    drop(file);
    sandbox.volumes.close("vol-1").await.unwrap();
    sandbox.volumes.close("vol-1").await.unwrap();
    let device = sandbox.volumes.open("vol-1").await.unwrap();
    let mut bytes = [0; 4];
    fs::File::open(&device).unwrap().read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"kept");
    sandbox.volumes.delete("vol-1").await.unwrap();
    sandbox.volumes.delete("vol-1").await.unwrap();
    assert!(sandbox.volumes.list().await.unwrap().is_empty());
    assert!(!shows(&device, &sandbox), "{} still shows the deleted volume", device.display());
}

/// Metrics of volumes are made of this, on hosts that count for no control group as well.
#[tokio::test]
async fn what_is_done_with_an_open_volume_is_counted_by_the_kernel() {
    if skipped("what_is_done_with_an_open_volume_is_counted_by_the_kernel") {
        return;
    }
    let sandbox = Sandbox::new().await;
    for id in ["vol-1", "vol-2"] {
        sandbox.volumes.create(id, 1).await.unwrap();
    }
    let ids = BTreeSet::from(["vol-1", "vol-2", "vol-none"].map(str::to_owned));
    assert!(sandbox.volumes.usage(&ids).await.unwrap().is_empty(), "none is open");
    let device = sandbox.volumes.open("vol-1").await.unwrap();
    let before = sandbox.volumes.usage(&ids).await.unwrap()["vol-1"];
    let mut file = fs::File::options().write(true).open(&device).unwrap();
    file.write_all(&[7; 1 << 20]).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let after = sandbox.volumes.usage(&ids).await.unwrap();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["vol-1"]);
    assert_eq!(after["vol-1"].written.bytes - before.written.bytes, 1 << 20);
    assert!(after["vol-1"].written.count > before.written.count);
    // What is in memory is not read from the device: only a new opening of it reads.
    sandbox.volumes.close("vol-1").await.unwrap();
    let device = sandbox.volumes.open("vol-1").await.unwrap();
    let before = sandbox.volumes.usage(&ids).await.unwrap()["vol-1"];
    fs::File::open(&device).unwrap().read_exact(&mut vec![0; 1 << 20]).unwrap();
    let after = sandbox.volumes.usage(&ids).await.unwrap()["vol-1"];
    assert!(after.read.bytes - before.read.bytes >= 1 << 20, "{before:?}, {after:?}");
    assert!(after.read.count > before.read.count && after.busy_millis >= before.busy_millis);
}

#[tokio::test]
async fn an_open_volume_is_adopted_by_the_next_daemon() {
    if skipped("an_open_volume_is_adopted_by_the_next_daemon") {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.volumes.create("vol-1", 1).await.unwrap();
    let device = sandbox.volumes.open("vol-1").await.unwrap();
    let next = LoopVolumes::new(sandbox.paths.clone());
    assert_eq!(next.open("vol-1").await.unwrap(), device);
    assert_eq!(next.list().await.unwrap().into_iter().collect::<Vec<_>>(), ["vol-1"]);
    next.close("vol-1").await.unwrap();
    assert!(!shows(&device, &sandbox));
}

#[tokio::test]
async fn a_volume_in_use_is_not_closed_silently() {
    if skipped("a_volume_in_use_is_not_closed_silently") {
        return;
    }
    let sandbox = Sandbox::new().await;
    sandbox.volumes.create("vol-1", 1).await.unwrap();
    let device = sandbox.volumes.open("vol-1").await.unwrap();
    let held = fs::File::open(&device).unwrap();
    let error = sandbox.volumes.close("vol-1").await.unwrap_err();
    assert!(error.to_string().contains("still in use"), "{error}");
    drop(held);
    sandbox.volumes.close("vol-1").await.unwrap();
}

#[tokio::test]
async fn a_volume_that_does_not_exist_is_not_opened() {
    if skipped("a_volume_that_does_not_exist_is_not_opened") {
        return;
    }
    let sandbox = Sandbox::new().await;
    assert!(sandbox.volumes.open("vol-none").await.unwrap_err().to_string().contains("does not exist"));
}

/// Whether the device shows a file of this test.
fn shows(device: &std::path::Path, sandbox: &Sandbox) -> bool {
    let name = device.file_name().unwrap();
    let backing = std::path::Path::new("/sys/block").join(name).join("loop/backing_file");
    fs::read_to_string(backing).is_ok_and(|file| file.contains(&sandbox.paths.volumes().display().to_string()))
}
