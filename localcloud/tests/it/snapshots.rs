//! Snapshots of volumes in use, and trees made of instances' disks, on real drivers.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use localcloud::{
    drivers::{InstanceDriver as _, InstanceSpec, NetworkDriver as _, Report, VolumeDriver as _},
    host::command::Command,
};

use crate::sandbox::{Sandbox, skipped};

const LINK: &str = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_";

fn unheard() -> Report {
    Arc::new(|_| {})
}

/// An instance that runs, with a new volume of 1 GiB mounted at `/mnt`.
async fn with_volume(sandbox: &Sandbox, volume: &str) -> InstanceSpec {
    let spec = sandbox.spec(11).await;
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.volumes.create(volume, 1).await.unwrap();
    attach(sandbox, &spec.id, volume, "/dev/vdf").await;
    sandbox.in_guest(&spec.id, "mkfs.ext4 -q /dev/vdf && mount /dev/vdf /mnt").await.unwrap();
    spec
}

async fn attach(sandbox: &Sandbox, id: &str, volume: &str, device: &str) {
    let block = sandbox.volumes.open(volume).await.unwrap();
    sandbox.instances.attach(id, device, volume, &block).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_in_use_has_all_that_was_written_before_and_nothing_after() {
    if skipped("a_snapshot_in_use_has_all_that_was_written_before_and_nothing_after") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = with_volume(&sandbox, "vol-0a").await;
    let id = spec.id.as_str();
    // Unsynced, so that the snapshot must have made the guest write it.
    sandbox.in_guest(id, "head -c 150M /dev/urandom >/mnt/bulk; sha256sum </mnt/bulk >/mnt/sum").await.unwrap();
    // Somebody who never stops writing, each line after the one before is on disk.
    let writer = "printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nExecStart=bash -c \"n=0; while echo $$((++n)) >>/mnt/lines; do sync /mnt/lines; done\"\\n' >/run/systemd/system/writer.service && systemctl daemon-reload && systemctl start writer.service";
    sandbox.eventually_in_guest(id, writer).await;
    sandbox.eventually_in_guest(id, "test -s /mnt/lines").await;
    let lines = |said: String| said.trim().parse::<u64>().unwrap();
    let before = lines(sandbox.in_guest(id, "wc -l </mnt/lines").await.unwrap());

    let frozen = sandbox.instances.freeze(id, "vol-0a").await.unwrap();
    assert!(frozen.is_some(), "the mounted file system was not found");
    let at = lines(sandbox.in_guest(id, "wc -l </mnt/lines").await.unwrap());
    let reports = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&reports);
    let report: Report = Arc::new(move |percent| heard.lock().unwrap().push(percent));
    sandbox.volumes.snapshot("vol-0a", "snap-0a", report).await.unwrap();
    drop(frozen);
    assert_eq!(reports.lock().unwrap().last(), Some(&100));
    // It writes on, and none of that is in what is restored.
    let more = format!("test $(wc -l </mnt/lines) -gt {}", at + 2);
    sandbox.eventually_in_guest(id, &more).await;
    sandbox.volumes.snapshot("vol-0a", "snap-0a", unheard()).await.unwrap();
    sandbox.volumes.restore("vol-0b", 2, "snap-0a").await.unwrap();
    attach(&sandbox, id, "vol-0b", "/dev/vdg").await;
    // `noload`: without help of the journal, as the file system was brought to rest.
    let look = format!(
        "e2fsck -fn {LINK}vol0b >/dev/null && mkdir -p /media/b && mount -o ro,noload {LINK}vol0b /media/b && sha256sum </media/b/bulk | cmp - /media/b/sum && wc -l </media/b/lines"
    );
    let restored = lines(sandbox.in_guest(id, &look).await.unwrap());
    assert!(before <= restored && restored <= at + 1, "{before} ≤ {restored} ≤ {at}");
    sandbox.instances.terminate(id).await.unwrap();
    sandbox.volumes.delete_snapshot("snap-0a").await.unwrap();
    sandbox.volumes.delete_snapshot("snap-0a").await.unwrap();
    assert!(!sandbox.paths.snapshot("snap-0a").exists());
}

#[tokio::test]
async fn what_a_killed_freezer_has_left_frozen_is_thawed_and_what_the_guest_froze_is_not() {
    if skipped("what_a_killed_freezer_has_left_frozen_is_thawed_and_what_the_guest_froze_is_not") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = with_volume(&sandbox, "vol-0a").await;
    let id = spec.id.as_str();
    let writes = |sandbox: &Sandbox| {
        let (instances, id) = (sandbox.after_a_restart(), id.to_owned());
        async move {
            let leader = instances.first_process(&id).unwrap();
            let enter = ["-t".to_owned(), leader.to_string(), "--all".to_owned(), "--".to_owned()];
            let write = Command::new("nsenter").args(enter).args(["sh", "-c", "echo word >>/mnt/file"]);
            write.limit(Duration::from_secs(2)).succeeds().await
        }
    };
    assert!(writes(&sandbox).await);
    sandbox.in_guest(id, "fsfreeze --freeze /mnt").await.unwrap();
    drop(sandbox.instances.freeze(id, "vol-0a").await.unwrap());
    assert!(!writes(&sandbox).await, "the guest's own freeze was undone");
    // The same, but with the mark of a freezer that did not come to its end.
    let marker = sandbox.paths.instance(id).join("frozen-vol-0a");
    std::fs::write(&marker, "").unwrap();
    drop(sandbox.instances.freeze(id, "vol-0a").await.unwrap());
    sandbox.eventually_in_guest(id, "echo word >>/mnt/file").await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while marker.exists() {
        assert!(Instant::now() < deadline, "the mark of the freezer stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(sandbox.instances.freeze(id, "vol-none").await.unwrap().is_none());
}

#[tokio::test]
async fn a_volume_grows_while_it_is_mounted() {
    if skipped("a_volume_grows_while_it_is_mounted") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = with_volume(&sandbox, "vol-0a").await;
    let id = spec.id.as_str();
    sandbox.volumes.grow("vol-0a", 3).await.unwrap();
    sandbox.volumes.grow("vol-0a", 3).await.unwrap();
    assert_eq!(sandbox.in_guest(id, "blockdev --getsize64 /dev/vdf").await.unwrap().trim(), (3_u64 << 30).to_string());
    // Without CAP_SYS_RESOURCE, which some machines do not give, a file system grows only unmounted.
    let grow = "echo kept >/mnt/file && { resize2fs /dev/vdf >/dev/null 2>&1 || { umount /mnt && e2fsck -fy /dev/vdf >/dev/null && resize2fs /dev/vdf >/dev/null 2>&1 && mount /dev/vdf /mnt; }; }";
    sandbox.in_guest(id, grow).await.unwrap();
    let size = sandbox.in_guest(id, "df --block-size=1M --output=size /mnt | tail -n 1; cat /mnt/file").await.unwrap();
    let (size, kept) = size.trim().split_once('\n').unwrap();
    assert!(size.trim().parse::<u64>().unwrap() > 2800, "{size}");
    assert_eq!(kept, "kept");
}

#[tokio::test]
async fn an_instance_boots_from_the_tree_of_another_and_is_nobody_but_itself() {
    if skipped("an_instance_boots_from_the_tree_of_another_and_is_nobody_but_itself") {
        return;
    }
    let sandbox = Sandbox::new().await;
    let spec = sandbox.spec(11).await;
    let id = spec.id.as_str();
    sandbox.network.start().await.unwrap();
    sandbox.instances.launch(&spec).await.unwrap();
    sandbox.eventually_in_guest(id, "systemctl is-active systemd-networkd").await;
    let change = "set -e
        echo changed >>/etc/issue; echo new >/srv/new; chmod 640 /srv/new; chown 33:33 /srv/new; ln -s new /srv/link
        rm /etc/environment; rm -r /etc/apt; mkdir /etc/apt; echo only >/etc/apt/only
        rm -r /usr/share/zoneinfo; echo file >/usr/share/zoneinfo
        mkdir -p /var/lib/cloud/instances/i-old /var/lib/cloud/sem; echo once >/var/lib/cloud/sem/once
        ln -s /etc /srv/absolute; echo key >/etc/ssh/ssh_host_ed25519_key
        setfattr -n user.colour -v blue /srv/new 2>/dev/null || true
        sync";
    sandbox.in_guest(id, change).await.unwrap();
    let machine_id = sandbox.in_guest(id, "cat /etc/machine-id").await.unwrap();
    let tree = sandbox.paths.tree("snap-1");
    sandbox.instances.capture(id, &spec.image_root, &tree).await.unwrap();
    sandbox.instances.capture(id, &spec.image_root, &tree).await.unwrap();
    sandbox.instances.terminate(id).await.unwrap();

    let inside = |path: &str| tree.join(path);
    assert_eq!(std::fs::read(inside("etc/machine-id")).unwrap(), b"");
    assert!(!inside("etc/ssh/ssh_host_ed25519_key").exists());
    assert!(!inside("var/lib/cloud/instances").exists() && inside("var/lib/cloud/sem/once").exists());
    assert!(!inside("etc/environment").exists() && !inside("etc/apt/apt.conf.d").exists());
    assert_eq!(std::fs::read(inside("usr/share/zoneinfo")).unwrap(), b"file\n");
    assert!(spec.image_root.join("usr/share/zoneinfo").is_dir(), "the image itself was changed");
    assert_eq!(std::fs::read(spec.image_root.join("etc/machine-id")).unwrap(), b"");
    assert!(own_megabytes(&tree).await < 100, "unchanged files are not shared");

    let copy = sandbox.paths.tree("snap-2");
    sandbox.instances.copy_tree(&tree, &copy).await.unwrap();
    sandbox.instances.remove_tree(&tree).await.unwrap();
    sandbox.instances.remove_tree(&tree).await.unwrap();
    let second = InstanceSpec { image_root: copy.clone(), ..sandbox.spec(12).await };
    sandbox.instances.launch(&second).await.unwrap();
    sandbox.eventually_in_guest(&second.id, "systemctl is-active systemd-networkd").await;
    let seen = "tail -n 1 /etc/issue; stat -c '%a %u %g' /srv/new; cat /srv/link /etc/apt/only";
    assert_eq!(sandbox.in_guest(&second.id, seen).await.unwrap(), "changed\n640 33 33\nnew\nonly\n");
    assert_ne!(sandbox.in_guest(&second.id, "cat /etc/machine-id").await.unwrap(), machine_id);
    // Programs keep what lies beside their bytes.
    sandbox.in_guest(&second.id, "su -s /bin/sh www-data -c 'test -r /srv/new'").await.unwrap();

    // And the third generation, of a stopped one.
    sandbox.in_guest(&second.id, "rm /etc/apt/only; echo third >/srv/third; sync").await.unwrap();
    sandbox.instances.stop(&second.id).await.unwrap();
    let third = sandbox.paths.tree("snap-3");
    sandbox.instances.capture(&second.id, &copy, &third).await.unwrap();
    assert!(third.join("srv/third").exists() && third.join("srv/new").exists());
    assert!(!third.join("etc/apt/only").exists() && copy.join("etc/apt/only").exists());
}

/// What a tree uses beyond the files that it shares.
async fn own_megabytes(tree: &Path) -> u64 {
    let find = Command::new("find").arg(tree).args(["-type", "f", "-links", "1", "-printf", "%b\n"]);
    find.run().await.unwrap().lines().map(|blocks| blocks.parse::<u64>().unwrap()).sum::<u64>() >> 11
}
