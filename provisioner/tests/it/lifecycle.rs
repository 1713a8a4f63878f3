//! The life of a stack, on a cloud that we did not write.

use std::time::{Duration, Instant};

use crate::moto::Moto;

#[tokio::test]
async fn up_twice_changes_nothing_and_teardown_leaves_nothing() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    moto.play_database();

    let first = moto.up().await;
    assert!(first.out.starts_with("http://imagecrud.") && first.out.ends_with("/imagecrud/\n"), "{}", first.out);
    assert_eq!(moto.run(&["status"]).await.code, 0);
    let standing = moto.listing().await;

    let began = Instant::now();
    let second = moto.up().await;
    assert!(second.err.contains("nothing changes"), "{}", second.err);
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    assert_eq!(second.out, first.out);
    assert_eq!(moto.listing().await, standing);

    let asked = moto.run(&["teardown"]).await;
    assert_eq!(asked.code, 3);
    assert!(asked.out.starts_with("TYPE") && asked.out.contains("load-balancer"), "{}", asked.out);
    assert!(!asked.out.contains("mysql-data  vol-"), "the volume is kept: {}", asked.out);
    assert_eq!(moto.listing().await, standing, "nothing is done without --yes");

    let torn = moto.run(&["teardown", "--yes", "--delete-data"]).await;
    assert_eq!((torn.code, torn.out.as_str()), (0, "0 left\n"), "{}", torn.err);
    assert_eq!(moto.listing().await, before);
    assert!(!moto.directory.path().join(".imagecrud").exists(), "no state is left");
    let again = moto.run(&["teardown", "--yes", "--delete-data"]).await;
    assert_eq!((again.code, again.out.as_str()), (0, "0 left\n"), "{}", again.err);
}

#[tokio::test]
async fn what_the_cloud_can_keep_safe_is_kept_safe_in_every_zone() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    let volumes = moto.clients.ec2.describe_volumes().send().await.unwrap();
    let volume = volumes.volumes().iter().find(|v| v.size() == Some(10)).unwrap();
    assert_eq!((volume.encrypted(), volume.volume_type().unwrap().as_str()), (Some(true), "gp3"));
    let bucket = moto.clients.s3.list_buckets().send().await.unwrap().buckets()[0].name().unwrap().to_owned();
    let block = moto.clients.s3.get_public_access_block().bucket(&bucket).send().await.unwrap();
    let block = block.public_access_block_configuration().unwrap();
    assert!(block.block_public_acls() == Some(true) && block.restrict_public_buckets() == Some(true), "{block:?}");
    let groups = moto.clients.autoscaling.describe_auto_scaling_groups().send().await.unwrap();
    let subnets = groups.auto_scaling_groups()[0].vpc_zone_identifier().unwrap().split(',').count();
    let zones = moto.clients.ec2.describe_availability_zones().send().await.unwrap();
    assert_eq!(subnets, zones.availability_zones().len(), "a subnet in every zone");
    let balancers = moto.clients.elb.describe_load_balancers().send().await.unwrap();
    assert_eq!(balancers.load_balancer_descriptions()[0].subnets().len(), subnets);
}

#[tokio::test]
async fn the_group_scales_by_what_is_set_and_by_nothing_else() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    let path = moto.directory.path().join("imagecrud.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let before = moto.clients.cloudwatch.describe_alarms().send().await.unwrap();
    assert_eq!(before.metric_alarms().len(), 2);
    for (by, metric) in [("latency", Some("Latency")), ("requests", None)] {
        std::fs::write(&path, format!("{settings}\n[scaling]\nby = \"{by}\"\n")).unwrap();
        moto.up().await;
        let again = moto.up().await;
        assert!(again.err.contains("nothing changes"), "{by}: {}", again.err);
        let alarms = moto.clients.cloudwatch.describe_alarms().send().await.unwrap();
        let mut names: Vec<&str> = alarms.metric_alarms().iter().filter_map(|alarm| alarm.alarm_name()).collect();
        names.sort_unstable();
        assert_eq!(names, [format!("imagecrud-{by}-high"), format!("imagecrud-{by}-low")]);
        assert!(alarms.metric_alarms().iter().all(|alarm| alarm.metric_name() == metric), "{alarms:?}");
    }
    assert_eq!(moto.run(&["teardown", "--yes", "--delete-data"]).await.out, "0 left\n");
    assert!(moto.clients.cloudwatch.describe_alarms().send().await.unwrap().metric_alarms().is_empty());
}

#[tokio::test]
async fn teardown_keeps_the_volume_and_the_bucket_and_up_takes_them_over() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    moto.play_database();
    moto.up().await;
    let bucket = moto.clients.s3.list_buckets().send().await.unwrap().buckets()[0].name().unwrap().to_owned();
    let password = object(&moto, &bucket, "config/database-password").await;
    let volume = moto.clients.ec2.describe_volumes().send().await.unwrap();
    let volume = volume.volumes().iter().find(|v| v.size() == Some(10)).unwrap().volume_id().unwrap().to_owned();

    let torn = moto.run(&["teardown", "--yes"]).await;
    assert_eq!(torn.code, 0, "{}", torn.err);
    assert!(torn.out.contains(&volume) && torn.out.contains(&bucket), "{}", torn.out);
    let mut kept = before.clone();
    kept.extend([volume.clone(), bucket.clone()]);
    kept.sort();
    assert_eq!(moto.listing().await, kept);

    moto.up().await;
    let listing = moto.listing().await;
    assert!(listing.contains(&volume) && listing.contains(&bucket), "{listing:?}");
    assert_eq!(object(&moto, &bucket, "config/database-password").await, password);
    assert_eq!(moto.run(&["teardown", "--yes", "--delete-data"]).await.code, 0);
    assert_eq!(moto.listing().await, before);
}

async fn object(moto: &Moto, bucket: &str, key: &str) -> Vec<u8> {
    let object = moto.clients.s3.get_object().bucket(bucket).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn without_the_state_file_up_doubles_nothing_and_teardown_works_from_tags() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    moto.play_database();
    moto.up().await;
    let standing = moto.listing().await;
    std::fs::remove_dir_all(moto.directory.path().join(".imagecrud")).unwrap();
    let again = moto.up().await;
    assert!(again.err.contains("nothing changes"), "{}", again.err);
    assert_eq!(moto.listing().await, standing);
    std::fs::remove_dir_all(moto.directory.path().join(".imagecrud")).unwrap();
    let torn = moto.run(&["teardown", "--yes", "--delete-data"]).await;
    assert_eq!((torn.code, torn.out.as_str()), (0, "0 left\n"), "{}", torn.err);
    assert_eq!(moto.listing().await, before);
}

#[tokio::test]
async fn a_terminated_database_vm_is_replaced_and_the_volume_goes_on() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    let old = moto.instances("instance/database").await;
    let volumes = moto.clients.ec2.describe_volumes().send().await.unwrap();
    let volume = volumes.volumes().iter().find(|v| v.size() == Some(10)).unwrap().volume_id().unwrap().to_owned();
    // moto refuses to attach what a terminated instance held, so that one lets go first, as a real cloud does.
    let detach = moto.clients.ec2.detach_volume().volume_id(&volume).instance_id(&old[0]).device("/dev/vdf");
    detach.send().await.unwrap();
    moto.clients.ec2.terminate_instances().instance_ids(&old[0]).send().await.unwrap();
    assert_eq!(moto.run(&["status"]).await.code, 3);

    let healed = moto.up().await;
    assert!(healed.err.contains("instance/database created"), "{}", healed.err);
    let new = moto.instances("instance/database").await;
    assert_eq!(new.len(), 1);
    assert_ne!(new, old);
    let answer = moto.clients.ec2.describe_volumes().volume_ids(&volume).send().await.unwrap();
    assert_eq!(answer.volumes()[0].attachments()[0].instance_id(), Some(new[0].as_str()));
    assert_eq!(moto.run(&["status"]).await.code, 0);
}

#[tokio::test]
async fn scale_survives_a_later_up() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    let outside = moto.run(&["scale", "9"]).await;
    assert_eq!(outside.code, 2);
    assert!(outside.err.contains("desired (9) is outside min..max (2..6)"), "{}", outside.err);

    let scaled = moto.run(&["scale", "3"]).await;
    assert_eq!(scaled.code, 0, "{}", scaled.err);
    assert_eq!(scaled.out.lines().count(), 3, "{}", scaled.out);
    assert_eq!(moto.run(&["scale", "--min", "3", "--max", "4", "--desired", "4"]).await.code, 0);
    let again = moto.up().await;
    assert!(again.err.contains("nothing changes"), "{}", again.err);
    assert_eq!(moto.instances("auto-scaling-group/web").await.len(), 4);
}

#[tokio::test]
async fn a_new_binary_moves_the_group_to_a_new_version_and_keeps_the_former_bundle() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    std::fs::write(moto.directory.path().join("app"), "second version").unwrap();
    let changed = moto.up().await;
    assert!(changed.err.contains("launch-template/web changed"), "{}", changed.err);
    let groups = moto.clients.autoscaling.describe_auto_scaling_groups().send().await.unwrap();
    let group = &groups.auto_scaling_groups()[0];
    assert_eq!(group.launch_template().unwrap().version(), Some("2"));
    let bucket = moto.clients.s3.list_buckets().send().await.unwrap().buckets()[0].name().unwrap().to_owned();
    let bundles = moto.clients.s3.list_objects_v2().bucket(bucket).prefix("bundle/").send().await.unwrap();
    assert_eq!(bundles.contents().len(), 2);
    // moto tells the template's default version for every instance, so that none looks old here; the
    // replacing itself is tested beside its code and on the local cloud.
    let again = moto.up().await;
    assert!(again.err.contains("nothing changes"), "{}", again.err);
}

#[tokio::test]
async fn up_goes_on_after_an_interrupt_and_doubles_nothing() {
    let moto = Moto::start().await;
    let mut command = moto.command(&["up"]);
    command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let child = command.spawn().unwrap();
    // The database never publishes: `up` stands in that wait until it is told to stop.
    let began = Instant::now();
    while moto.instances("instance/database").await.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "no database VM");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("run the same command again to go on"), "{said}");

    moto.play_database();
    moto.up().await;
    assert_eq!(moto.instances("instance/database").await.len(), 1);
    assert_eq!(moto.instances("auto-scaling-group/web").await.len(), 2);
    assert_eq!(moto.run(&["teardown", "--yes", "--delete-data"]).await.out, "0 left\n");
}
