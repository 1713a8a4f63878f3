//! The commands that only look, and those that show what another would do: on a cloud that we did not write.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::moto::{Moto, Ran};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn plan_tells_no_changes_from_drift_from_a_refusal_and_touches_nothing() {
    let moto = Moto::start().await;
    let before = moto.listing().await;
    let first = moto.run(&["plan"]).await;
    assert_eq!(first.code, 3, "{}", first.err);
    assert!(first.out.contains("  + volume/mysql-data\n") && first.out.contains("25 to create"), "{}", first.out);
    assert_eq!(moto.listing().await, before);
    assert!(!moto.directory.path().join(".imagecrud").exists(), "a plan keeps no state");

    moto.play_database();
    moto.up().await;
    let none = moto.run(&["plan"]).await;
    assert_eq!(none.code, 0, "{}{}", none.out, none.err);
    assert!(none.out.starts_with("stack imagecrud in eucalyptus: no changes: 25 as"), "{}", none.out);
    let standing = moto.listing().await;

    // Somebody opens the web servers to the world by hand: the plan is to take that back.
    let group = moto.clients.ec2.describe_security_groups().send().await.unwrap();
    let group = group.security_groups().iter().find(|g| g.group_name() == Some("imagecrud-web")).unwrap();
    let group = group.group_id().unwrap().to_owned();
    let open = moto.clients.ec2.authorize_security_group_ingress().group_id(&group).ip_protocol("tcp");
    open.from_port(8000).to_port(8000).cidr_ip("0.0.0.0/0").send().await.unwrap();
    let drift = moto.run(&["plan"]).await;
    assert_eq!(drift.code, 3);
    assert!(drift.out.contains(&format!("change\n  ~ security-group/web  {group}\n      ingress: ")), "{}", drift.out);
    let of = json(&moto.run(&["plan", "--json"]).await);
    assert_eq!((&of["changes"], &of["refused"], &of["counts"]["change"]), (&true.into(), &false.into(), &1.into()));
    let changed = of["resources"].as_array().unwrap().iter().find(|r| r["action"] == "change").unwrap();
    assert!(changed["changes"][0]["from"].as_str().unwrap().contains("tcp 8000 from 0.0.0.0/0"), "{changed}");

    let path = moto.directory.path().join("imagecrud.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{settings}\n[database]\nvolume_gib = 20\n")).unwrap();
    let refused = moto.run(&["plan"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.out.contains("size_gib is 10 and cannot become 20\n      hint: the volume holds the data"),
        "{}",
        refused.out
    );
    assert_eq!(moto.listing().await, standing);
}

#[tokio::test]
async fn a_price_is_printed_only_by_the_users_own_table() {
    let moto = Moto::start().await;
    assert!(!moto.run(&["plan"]).await.out.contains("price"));
    assert_eq!(json(&moto.run(&["plan", "--json"]).await)["price"], Value::Null);
    let path = moto.directory.path().join("imagecrud.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    let prices = "[prices]\ncurrency = \"EUR\"\ninstance_hour = { \"m1.small\" = 0.1 }\nvolume_gib_month = 0.2\n";
    std::fs::write(&path, format!("{settings}\n{prices}")).unwrap();
    let plan = moto.run(&["plan"]).await;
    for line in
        ["price of a month in EUR", "2 web VMs, m1.small    146.00", "without a price in [prices]: load balancer"]
    {
        assert!(plan.out.contains(line), "{}", plan.out);
    }
    // 73 for the database, 146 for two web servers, 2 for the volume.
    assert_eq!(json(&moto.run(&["plan", "--json"]).await)["price"]["a_month"], 221.0);
}

#[tokio::test]
async fn scale_and_teardown_show_first_what_they_would_do() {
    let moto = Moto::start().await;
    let nothing = moto.run(&["scale", "3", "--plan"]).await;
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("there is no group to scale"), "{}", nothing.err);
    let nothing = moto.run(&["teardown", "--plan"]).await;
    assert_eq!((nothing.code, nothing.out.as_str()), (0, "0 left\n"), "{}", nothing.err);

    moto.play_database();
    moto.up().await;
    let standing = moto.listing().await;
    let state = std::fs::read(moto.directory.path().join(".imagecrud/imagecrud.json")).unwrap();
    let scale = moto.run(&["scale", "4", "--max", "8", "--plan"]).await;
    assert_eq!(scale.code, 3, "{}", scale.err);
    assert!(scale.out.contains("      desired: 2 -> 4\n      max: 6 -> 8\n"), "{}", scale.out);
    assert_eq!(moto.run(&["scale", "2", "--plan"]).await.code, 0);
    assert_eq!(moto.run(&["scale", "9", "--plan"]).await.code, 2);
    let plan = json(&moto.run(&["scale", "3", "--plan", "--json"]).await);
    assert_eq!(plan["resources"][0]["changes"][0]["to"], "3");

    let teardown = moto.run(&["teardown", "--plan"]).await;
    assert_eq!(teardown.code, 3);
    assert!(teardown.err.contains("kept unless --delete-data is given: volume/mysql-data"), "{}", teardown.err);
    let plan = json(&moto.run(&["teardown", "--plan", "--json", "--delete-data"]).await);
    assert_eq!(plan["kept"], Value::Array(Vec::new()));
    assert!(plan["going"].as_array().unwrap().iter().any(|going| going["type"] == "volume"), "{plan}");
    assert_eq!(moto.run(&["teardown", "--plan", "--yes"]).await.code, 2);
    assert_eq!(moto.listing().await, standing);
    assert_eq!(std::fs::read(moto.directory.path().join(".imagecrud/imagecrud.json")).unwrap(), state);
}

#[tokio::test]
async fn status_has_the_same_keys_whatever_there_is_and_open_prints_the_url() {
    let moto = Moto::start().await;
    let missing = moto.run(&["status", "--json"]).await;
    let nothing = json(&missing);
    assert_eq!((missing.code, &nothing["ready"], &nothing["url"]), (3, &false.into(), &Value::Null));
    let closed = moto.run(&["open"]).await;
    assert_eq!((closed.code, closed.out.as_str()), (1, ""));
    assert!(closed.err.contains("`imagecrud-deploy up` creates it"), "{}", closed.err);

    moto.play_database();
    let up = moto.up().await;
    let ready = moto.run(&["status", "--json"]).await;
    let all = json(&ready);
    assert_eq!((ready.code, &all["ready"]), (0, &true.into()));
    assert_eq!(keys(&all), keys(&nothing));
    assert_eq!(keys(&all["resources"][0]), keys(&nothing["resources"][0]));
    assert_eq!(all["url"].as_str(), Some(up.out.trim()));
    assert_eq!(moto.run(&["open"]).await.out, up.out);

    let stopped = moto.run(&["status", "--json", "--cloud", "local", "--local-state-dir", "nowhere"]).await;
    assert_eq!(keys(&json(&stopped)), keys(&nothing));
}

#[tokio::test]
async fn a_watched_status_is_told_anew_when_something_changes_and_only_then() {
    let moto = Moto::start().await;
    moto.play_database();
    moto.up().await;
    let mut command = moto.command(&["status", "--watch", "--json", "--interval", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = move || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (first, next) = tokio::task::spawn_blocking(move || (next(), next)).await.unwrap();
    assert_eq!(first["ready"], true);
    let database = moto.instances("instance/database").await.remove(0);
    moto.clients.ec2.stop_instances().instance_ids(&database).send().await.unwrap();
    let second = tokio::task::spawn_blocking(next).await.unwrap();
    assert_eq!(second["ready"], false, "the very next line is the change");
    let of = |status: &Value| {
        status["resources"].as_array().unwrap().iter().find(|r| r["type"] == "instance").unwrap()["phase"].clone()
    };
    assert_eq!((of(&first), of(&second)), ("ready".into(), "failed".into()));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn events_are_the_groups_activities_newest_last() {
    let moto = Moto::start().await;
    assert_eq!(moto.run(&["events"]).await.out, "");
    moto.play_database();
    moto.up().await;
    let events = moto.run(&["events"]).await;
    assert_eq!(events.code, 0, "{}", events.err);
    let events = json(&moto.run(&["events", "--json"]).await);
    let times: Vec<&str> =
        events["events"].as_array().unwrap().iter().map(|event| event["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn a_stack_is_adopted_with_its_bounds_on_a_machine_that_knows_nothing_of_it() {
    let moto = Moto::start().await;
    let none = moto.run(&["adopt"]).await;
    assert_eq!(none.code, 1);
    assert!(none.err.contains("has no bucket of a stack imagecrud"), "{}", none.err);
    moto.play_database();
    moto.up().await;
    assert_eq!(moto.run(&["scale", "3", "--max", "4"]).await.code, 0);
    let state = moto.directory.path().join(".imagecrud/imagecrud.json");
    let read = || serde_json::from_slice::<Value>(&std::fs::read(&state).unwrap()).unwrap();
    let known = read();
    std::fs::remove_dir_all(moto.directory.path().join(".imagecrud")).unwrap();

    let adopted = moto.run(&["adopt"]).await;
    assert_eq!(adopted.code, 0, "{}", adopted.err);
    assert!(adopted.out.contains("auto-scaling-group  web"), "{}", adopted.out);
    assert!(adopted.err.contains("the private key of imagecrud-ssh is not on this machine"), "{}", adopted.err);
    let again = read();
    assert_eq!((&again["stack_id"], &again["scale"]), (&known["stack_id"], &known["scale"]));
    assert_eq!(moto.run(&["plan"]).await.code, 0, "nothing of the adopted stack differs");

    // A state file that cannot be read is made anew; one that can is kept, with its tokens.
    std::fs::write(&state, "{ half").unwrap();
    assert_eq!(moto.run(&["plan"]).await.code, 1);
    assert_eq!(moto.run(&["adopt"]).await.code, 0);
    let seed = read()["token_seed"].clone();
    assert_eq!(moto.run(&["adopt"]).await.code, 0);
    assert_eq!(read()["token_seed"], seed);
}
