//! Versions, rolling back, backups and restores, by the sequence of their calls on a cloud that we did not write.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::moto::Moto;

async fn release(moto: &Moto, content: &str) {
    std::fs::write(moto.directory.path().join("app"), content).unwrap();
    moto.up().await;
}

async fn versions(moto: &Moto) -> Vec<Value> {
    let ran = moto.run(&["versions", "--json"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    answer["versions"].as_array().unwrap().clone()
}

// moto does not delete versions of a template; that is tested on the local cloud.
#[tokio::test]
async fn every_version_is_listed_with_its_binary_and_the_one_in_service_is_named() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    release(&moto, "second").await;
    release(&moto, "third").await;
    let versions = versions(&moto).await;
    let names: Vec<&str> = versions.iter().map(|version| version["version"].as_str().unwrap()).collect();
    assert_eq!(names, ["1", "2", "3"]);
    let hashes: BTreeSet<&str> = versions.iter().map(|version| version["sha256"].as_str().unwrap()).collect();
    assert!(hashes.len() == 3 && hashes.iter().all(|hash| hash.len() == 64), "{hashes:?}");
    let in_service: Vec<&Value> = versions.iter().filter(|version| version["in_service"] == true).collect();
    assert_eq!((in_service.len(), &in_service[0]["version"]), (1, &Value::from("3")));
    let table = moto.run(&["versions"]).await;
    assert!(table.out.starts_with("VERSION") && table.out.lines().count() == 4, "{}", table.out);

    // What was tried before is not made twice.
    release(&moto, "second").await;
    assert_eq!(self::versions(&moto).await.len(), 3);
}

#[tokio::test]
async fn what_was_rolled_back_stays_back_until_something_newer_comes() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    assert!(moto.run(&["rollback"]).await.err.contains("no version before 1"));
    release(&moto, "second").await;

    let back = moto.run(&["rollback"]).await;
    assert_eq!((back.code, back.out.as_str()), (0, "1\n"), "{}", back.err);
    let held = moto.up().await;
    assert!(held.err.contains("was rolled back") && held.err.contains("nothing changes"), "{}", held.err);
    assert_eq!(versions(&moto).await[0]["in_service"], true);

    // The same one again by its binary's hash, and then it is no longer held back.
    let sha256 = versions(&moto).await[1]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(moto.run(&["rollback", &sha256[..8]]).await.out, "2\n");
    assert!(!moto.up().await.err.contains("was rolled back"));

    moto.run(&["rollback", "1"]).await;
    release(&moto, "third").await;
    assert_eq!(versions(&moto).await[2]["in_service"], true, "something newer goes into service");
    assert_eq!(moto.run(&["rollback", "9"]).await.code, 2);
}

#[tokio::test]
async fn a_restore_puts_a_volume_of_the_backup_in_the_place_of_the_old_and_keeps_that() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    moto.play_database();
    moto.up().await;
    let old = data_volumes(&moto).await;
    let backup = moto.run(&["backup"]).await;
    assert_eq!(backup.code, 0, "{}", backup.err);
    let snapshot = backup.out.trim().to_owned();

    let vm = moto.instances("instance/database").await;
    let restored = moto.run(&["restore", &snapshot]).await;
    assert_eq!(restored.code, 0, "{}", restored.err);
    let new = data_volumes(&moto).await;
    assert_eq!(new, [restored.out.trim()]);
    assert_ne!(new, old);
    assert_ne!(moto.instances("instance/database").await, vm);
    assert!(restored.err.contains(&format!("the former volume {} is kept", old[0])), "{}", restored.err);
    assert!(moto.up().await.err.contains("nothing changes"));

    let list = moto.run(&["backup", "--list"]).await;
    assert!(list.out.contains(&snapshot) && list.out.contains(&old[0]), "{}", list.out);
    assert_eq!(moto.run(&["restore", "--delete-old"]).await.code, 0);
    assert!(!moto.listing().await.contains(&old[0]));
    assert_eq!(moto.run(&["restore", "snap-00000000"]).await.code, 2);

    let asked = moto.run(&["teardown", "--delete-data"]).await;
    assert!(asked.out.contains(&snapshot), "backups that would go are named: {}", asked.out);
    let kept = moto.run(&["teardown", "--yes"]).await;
    assert!(kept.out.contains(&snapshot), "backups that stay are named: {}", kept.out);
    assert_eq!(moto.run(&["teardown", "--yes", "--delete-data"]).await.out, "0 left\n");
    assert_eq!(moto.listing().await, before);
    let left = moto.clients.ec2.describe_snapshots().owner_ids("self").send().await.unwrap();
    assert!(!left.snapshots().iter().any(|s| s.snapshot_id() == Some(&snapshot)));
}

#[tokio::test]
async fn a_baked_image_is_what_later_launches_of_its_kind_boot_and_goes_with_the_stack() {
    let moto = Moto::start().await;
    let settings = moto.directory.path().join("imagecrud.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    moto.play_database();
    moto.up().await;
    let baked = moto.run(&["bake", "db"]).await;
    assert_eq!(baked.code, 0, "{}", baked.err);
    let image = baked.out.trim().to_owned();
    let list = moto.run(&["bake", "--list"]).await;
    assert!(list.out.contains(&image) && list.out.contains("database"), "{}", list.out);
    // Only where no image is configured.
    assert!(moto.up().await.err.contains("nothing changes"));
    std::fs::write(&settings, text.lines().filter(|line| !line.starts_with("image")).collect::<Vec<_>>().join("\n"))
        .unwrap();
    assert!(moto.up().await.err.contains("nothing changes"), "the web VMs boot the image under it, as before");
    let backup = moto.run(&["backup"]).await;
    assert_eq!(moto.run(&["restore", backup.out.trim()]).await.code, 0);
    let vm = moto.instances("instance/database").await;
    let answer = moto.clients.ec2.describe_instances().instance_ids(&vm[0]).send().await.unwrap();
    assert_eq!(answer.reservations()[0].instances()[0].image_id(), Some(image.as_str()));
    assert_eq!(moto.run(&["teardown", "--yes", "--delete-data"]).await.out, "0 left\n");
    let left = moto.clients.ec2.describe_images().owners("self").send().await.unwrap();
    assert!(!left.images().iter().any(|left| left.image_id() == Some(&image)));
}

#[tokio::test]
async fn a_drill_says_what_it_would_terminate_and_does_nothing_without_yes() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    let (vm, servers) = (moto.instances("instance/database").await, moto.instances("auto-scaling-group/web").await);
    let db_loss = moto.run(&["drill", "db-loss"]).await;
    assert_eq!((db_loss.code, db_loss.out.as_str()), (3, &*format!("would terminate the database VM: {}\n", vm[0])));
    let web_loss = moto.run(&["drill", "web-loss"]).await;
    assert!(web_loss.code == 3 && servers.iter().any(|id| web_loss.out.contains(id)), "{}", web_loss.out);
    let az_loss = moto.run(&["drill", "az-loss"]).await;
    assert!(az_loss.code == 3 && az_loss.out.starts_with("would terminate all web servers in"), "{}", az_loss.err);
    let answer = moto.clients.ec2.describe_instances().instance_ids(&vm[0]).send().await.unwrap();
    let placement = answer.reservations()[0].instances()[0].placement().unwrap().clone();
    assert!(!az_loss.out.contains(placement.availability_zone().unwrap()), "{}", az_loss.out);
    assert_eq!(moto.instances("auto-scaling-group/web").await, servers);
    assert_eq!(moto.run(&["drill"]).await.code, 2);
}

async fn data_volumes(moto: &Moto) -> Vec<String> {
    let filter =
        aws_sdk_ec2::types::Filter::builder().name("tag:imagecrud:resource").values("volume/mysql-data").build();
    let answer = moto.clients.ec2.describe_volumes().filters(filter).send().await.unwrap();
    answer.volumes().iter().filter_map(|volume| volume.volume_id().map(str::to_owned)).collect()
}
