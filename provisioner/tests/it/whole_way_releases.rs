//! A new version on real containers, a broken one, and a database that is backed up and restored, each under requests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imagecrud_deploy::cloud::local::is_root;
use serde_json::Value;

use crate::whole_way::{Way, binary, browser, pictures};

/// A visitor who does not wait for a release: twenty requests a second until it is told to go.
struct Visitor {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<(usize, Vec<String>)>,
}

impl Visitor {
    fn come(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped, browser) = (url.to_owned(), stop.clone(), browser(None));
        let task = tokio::spawn(async move {
            let (mut asked, mut failures) = (0, Vec::new());
            while !stopped.load(Ordering::SeqCst) {
                asked += 1;
                match browser.get(&url).send().await {
                    Ok(answer) if answer.status() == 200 => {}
                    Ok(answer) => failures.push(answer.status().to_string()),
                    Err(error) => failures.push(error.to_string()),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            (asked, failures)
        });
        Self { stop, task }
    }

    async fn go_without_complaint(self) {
        self.stop.store(true, Ordering::SeqCst);
        let (asked, failures) = self.task.await.expect("the visitor comes back");
        assert!(asked > 20 && failures.is_empty(), "of {asked} requests failed: {failures:?}");
    }
}

/// Passes every health check, and shows no gallery.
const HEALTHY_AND_USELESS: &str = r#"#!/usr/bin/python3
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz" else 500)
        self.send_header("x-served-by", os.environ["SERVED_BY"])
        self.send_header("content-length", "0")
        self.end_headers()

http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
"#;

/// How many of some answers came from which binary, by the first digits of its hash.
async fn binaries(url: &str) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let browser = browser(None);
    for _ in 0..8 {
        let answer = browser.get(url).send().await.expect("the gallery answers");
        let served_by = answer.headers()["x-served-by"].to_str().expect("text").to_owned();
        *seen.entry(served_by.split_once('/').expect("instance/binary").1.to_owned()).or_default() += 1;
    }
    seen
}

fn versions(way: &Way) -> Vec<Value> {
    let versions: Value = serde_json::from_str(&way.deployed(&["versions", "--json"])).expect("JSON");
    versions["versions"].as_array().expect("a list").clone()
}

fn in_service(way: &Way) -> Value {
    versions(way).into_iter().find(|version| version["in_service"] == true).expect("one is in service")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_without_a_failed_request_and_a_broken_one_is_rolled_back_by_itself() {
    if !is_root() {
        eprintln!("skipped: the local cloud needs root for namespaces, mounts and loop devices");
        return;
    }
    let way = Way::with("[web]\nmin = 1\nmax = 1\n");
    let url = way.deployed(&["up"]).trim().to_owned();
    let first = in_service(&way);

    // Versions that nobody runs: beyond five, the oldest go with the next release.
    let ec2 = way.ec2();
    for n in 2..=6 {
        let create = ec2.create_launch_template_version().launch_template_name("imagecrud-web").source_version("1");
        let same = aws_sdk_ec2::types::RequestLaunchTemplateData::builder().instance_type("m1.small".into()).build();
        create.version_description(format!("number {n}")).launch_template_data(same).send().await.expect("a version");
    }

    // What stands behind an ELF file's end changes its hash alone.
    let newer =
        way.file("imagecrud-2", &[std::fs::read(binary("imagecrud")).expect("a binary"), b"2".to_vec()].concat());
    let visitor = Visitor::come(&url);
    way.deployed(&["up", "--bundle", &newer]);
    visitor.go_without_complaint().await;
    let second = in_service(&way);
    assert_ne!(second["sha256"], first["sha256"]);
    assert_eq!(versions(&way).len(), 6, "five, and the one that ran when it was pruned");
    let short = |version: &Value| version["sha256"].as_str().expect("a hash")[..12].to_owned();
    assert_eq!(binaries(&url).await.into_keys().collect::<Vec<_>>(), [short(&second)]);

    let broken = way.file("broken", b"#!/bin/sh\necho 'cannot find its feet' >&2\nexit 1\n");
    let visitor = Visitor::come(&url);
    let failed = way.deploy(&["up", "--bundle", &broken]);
    visitor.go_without_complaint().await;
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("version 8 was rolled back to 7") && said.contains("cannot find its feet"), "{said}");
    assert_eq!((in_service(&way), way.deploy(&["status"]).status.code()), (second.clone(), Some(0)));
    assert_eq!(binaries(&url).await.into_keys().collect::<Vec<_>>(), [short(&second)]);

    // Healthy by the load balancer's word, and yet nothing to release.
    let useless = way.file("useless", HEALTHY_AND_USELESS.as_bytes());
    let failed = way.deploy(&["up", "--bundle", &useless]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("version 9 was rolled back to 7") && said.contains("answers 500"), "{said}");

    let visitor = Visitor::come(&url);
    assert_eq!(way.deployed(&["rollback"]), "6\n");
    visitor.go_without_complaint().await;
    assert_eq!(binaries(&url).await.into_keys().collect::<Vec<_>>(), [short(&first)]);
    let held = way.deploy(&["up", "--bundle", &newer]);
    assert!(String::from_utf8_lossy(&held.stderr).contains("was rolled back"), "`up` does not bring it again");
    assert_eq!(in_service(&way)["sha256"], first["sha256"]);
    assert_eq!(way.deployed(&["teardown", "--yes", "--delete-data"]), "0 left\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_has_its_rows_and_a_lost_database_loses_none() {
    if !is_root() {
        eprintln!("skipped: the local cloud needs root for namespaces, mounts and loop devices");
        return;
    }
    let way = Way::with("[web]\nmin = 2\nmax = 2\nwrite_token_file = \"write-token\"\n");
    let token = "guess-this-if-you-can";
    way.file("write-token", format!("{token}\n").as_bytes());
    let url = way.deployed(&["up"]).trim().to_owned();
    let cat = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sample/cat.jpeg").display().to_string();
    let upload = |name: &str| {
        let picture = format!("{url}{name}");
        let mut client = way.command("imagecrud");
        let output = client.args(["upload", &cat, &picture]).env("IMAGECRUD_TOKEN", token).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    assert!(!way.client(&["upload", &cat, &format!("{url}nobody")]).status.success(), "nobody else may");
    let names = async || {
        let mut names: Vec<String> = pictures(&browser(None), &url).await.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    };
    upload("before");
    let backup = way.deployed(&["backup"]).trim().to_owned();
    upload("since");

    let drill: Value = serde_json::from_str(&way.deployed(&["drill", "db-loss", "--yes", "--json"])).expect("JSON");
    assert_eq!(
        (&drill["rows_before"], &drill["rows_after"], &drill["pictures_after"]),
        (&2.into(), &2.into(), &2.into())
    );
    assert_eq!(names().await, ["before", "since"]);

    // The group has a web server in each of the two zones, and the database stands in one of them.
    let zones = || {
        let status: Value = serde_json::from_str(&way.deployed(&["status", "--json"])).expect("JSON");
        let group = status["resources"].as_array().expect("resources").iter();
        let group = group.clone().find(|resource| resource["type"] == "auto-scaling-group").expect("a group");
        group["attributes"]["zones"].as_str().expect("zones").to_owned()
    };
    assert_eq!(zones(), "PARTI00 1, PARTI01 1");
    let drill: Value = serde_json::from_str(&way.deployed(&["drill", "az-loss", "--yes", "--json"])).expect("JSON");
    assert_eq!((&drill["rows_after"], &drill["lost_rows"]), (&2.into(), &Value::Array(Vec::new())));
    assert_eq!(zones(), "PARTI00 1, PARTI01 1", "the lost zone has a web server again");

    let restored = way.deploy(&["restore", &backup]);
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success() && said.contains("1 rows, and every picture of them opens"), "{said}");
    assert!(said.contains("is kept with its rows"), "{said}");
    assert_eq!(names().await, ["before"]);
    assert!(String::from_utf8_lossy(&way.deploy(&["up"]).stderr).contains("nothing changes"));

    let listed = way.deployed(&["backup", "--list"]);
    assert!(listed.contains(&backup) && listed.contains("former volume"), "{listed}");
    way.deployed(&["restore", "--delete-old"]);
    assert!(!way.deployed(&["backup", "--list"]).contains("former volume"));

    let kept = way.deployed(&["teardown", "--yes"]);
    assert!(kept.contains(&backup), "a backup is kept and named: {kept}");
    assert_eq!(way.deployed(&["teardown", "--yes", "--delete-data"]), "0 left\n");
}
