//! Several stacks on one cloud.

use serde_json::Value;

use crate::moto::{Moto, free_port};

/// What a stack has, by its own status. Without policies: moto keeps one of a name for all groups together.
async fn resources(moto: &Moto, stack: &[&str]) -> Vec<Value> {
    let status = moto.run(&[&["status", "--json"], stack].concat()).await;
    let status: Value = serde_json::from_str(&status.out).unwrap_or_else(|error| panic!("{error}: {}", status.err));
    let list = status["resources"].as_array().unwrap().iter();
    let list: Vec<Value> = list.filter(|resource| resource["type"] != "scaling-policy").cloned().collect();
    for resource in &list {
        assert_eq!(resource["phase"], "ready", "{resource}");
    }
    list
}

/// The second is named so that its alarms' names begin as those of the first do.
#[tokio::test]
async fn nothing_of_a_stack_is_touched_by_the_teardown_of_another() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    moto.play_database();
    moto.up().await;
    let settings = std::fs::read_to_string(moto.directory.path().join("imagecrud.toml")).unwrap();
    let other: Vec<String> = settings
        .lines()
        .map(|line| if line.starts_with("port") { format!("port = {}", free_port()) } else { line.to_owned() })
        .collect();
    std::fs::write(moto.directory.path().join("other.toml"), other.join("\n")).unwrap();
    let second = ["--stack", "imagecrud-cpu", "--config", "other.toml"];
    let up = moto.run(&[&["up"], &second[..]].concat()).await;
    assert_eq!(up.code, 0, "{}", up.err);
    assert!(up.out.starts_with("http://imagecrud-cpu."), "{}", up.out);
    let standing = resources(&moto, &second).await;
    let first = resources(&moto, &[]).await;

    let teardown = moto.run(&["teardown", "--yes", "--delete-data"]).await;
    assert_eq!((teardown.code, teardown.out.as_str()), (0, "0 left\n"), "{}", teardown.err);
    assert_eq!(resources(&moto, &second).await, standing);
    assert!(moto.directory.path().join(".imagecrud/imagecrud-cpu.json").exists());

    // And the other way round.
    moto.up().await;
    let again = resources(&moto, &[]).await;
    assert_eq!(first.len(), again.len());
    let teardown = moto.run(&[&["teardown", "--yes", "--delete-data"], &second[..]].concat()).await;
    assert_eq!((teardown.code, teardown.out.as_str()), (0, "0 left\n"), "{}", teardown.err);
    assert_eq!(resources(&moto, &[]).await, again);
    assert_eq!(moto.run(&["teardown", "--yes", "--delete-data"]).await.code, 0);
    assert_eq!(moto.listing().await, before);
}
