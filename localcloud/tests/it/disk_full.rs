//! A disk without room: changes are refused with a sentence, nothing is lost or half done, and all goes on when there is
//! room again.

use std::{fs, io::Write as _, path::Path, process::Command};

use localcloud::{
    drivers::fake::FakeCloud,
    host::mount,
    model::{auto_scaling::LaunchConfiguration, id},
    store::Store,
};

use crate::{fake_world::FakeWorld, raw::Served, sandbox::skipped};

/// A file system of a few MiB, as long as this lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "none"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success(), "a tmpfs cannot be mounted");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = mount::unmount_below(self.path());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_changes_and_loses_nothing() {
    if skipped("a_full_disk_refuses_changes_and_loses_nothing") {
        return;
    }
    let disk = SmallDisk::new();
    let records = disk.path().join("records.redb");
    let world = FakeWorld::over(FakeCloud::new(), |_| Store::open(&records).unwrap(), |drivers| drivers);
    let cloud = Served::new(&world, |front| front);
    // Random text, as what can be packed would take less room.
    let user_data = id::base64(16_000);
    let image = world.image_id.clone();
    let create = async |name: String| {
        let parameters = [
            ("LaunchConfigurationName", name.as_str()),
            ("ImageId", image.as_str()),
            ("InstanceType", "t3.micro"),
            ("UserData", user_data.as_str()),
        ];
        cloud.answered("autoscaling", "CreateLaunchConfiguration", &parameters).await
    };
    let known = |world: &FakeWorld| world.read(|tx| tx.list::<LaunchConfiguration>().len());
    assert_eq!(create("first".to_owned()).await.status, 200);
    disk.fill();
    let mut made = 1;
    let refusal = loop {
        let answer = create(format!("more-{made}")).await;
        if answer.status != 200 {
            break answer;
        }
        made += 1;
        assert!(made < 2000, "the disk is never full");
    };
    assert_eq!((refusal.status, refusal.code()), (500, "InternalError"), "{refusal:?}");
    assert!(refusal.body.contains("is the disk full?"), "{refusal:?}");
    assert_eq!(create("another".to_owned()).await.status, 500, "it stays so");
    assert!(world.store.trouble().is_some_and(|trouble| trouble.contains("is the disk full?")));
    assert_eq!(known(&world), made, "what was there can be read, and what was refused is not there");
    assert_eq!(cloud.answered("autoscaling", "DescribeLaunchConfigurations", &[]).await.status, 200);

    disk.make_room();
    assert_eq!(create("with-room".to_owned()).await.status, 200);
    assert_eq!(world.store.trouble(), None);
    assert_eq!(known(&world), made + 1);
    drop((cloud, world));
    // The task of the listener holds the records until it has ended.
    let again = loop {
        match Store::open(&records) {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    assert_eq!(again.read(|tx| tx.list::<LaunchConfiguration>().len()).unwrap(), made + 1, "the same is on disk");
}
