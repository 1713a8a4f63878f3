use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use tower::ServiceExt as _;

use super::*;
use crate::model::{
    auto_scaling::{LaunchSource, Lifecycle, Member},
    identity::Role,
    instance::InstanceState,
    tag::Tags,
};

const TRUST: &str =
    r#"{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;

struct World {
    _directory: tempfile::TempDir,
    router: Router,
    store: Arc<Store>,
    paths: Paths,
    /// How far the world's clock is ahead.
    ahead_secs: Arc<AtomicI64>,
}

fn instance(id: &str, address: [u8; 4]) -> Instance {
    Instance {
        id: id.to_owned(),
        reservation_id: "r-1".to_owned(),
        launch_index: 0,
        image_id: "ami-1".to_owned(),
        instance_type: "t3.micro".to_owned(),
        state: InstanceState::Running,
        launched: Timestamp::from_seconds(1_000_000_000.5),
        zone: "PARTI00".into(),
        private_ip: address.into(),
        public_ip: [127, 77, 0, 11].into(),
        mac_address: "02:00:0a:4d:00:0b".to_owned(),
        key_name: Some("my-key".to_owned()),
        security_group_ids: vec!["sg-1".to_owned()],
        instance_profile: Some("web-profile".to_owned()),
        user_data: Some(b"#cloud-config\n\xff".to_vec()),
        client_token: None,
        request_digest: None,
        metadata_tokens_required: false,
        shutdown_terminates: false,
        state_changed: Timestamp::from_seconds(0.0),
        state_reason: None,
        reboot_requested: false,
        monitoring: false,
        attributes: Default::default(),
        tags: Tags::from([("Name".to_owned(), "web 1".to_owned()), ("imagecrud:stack".to_owned(), "s".to_owned())]),
        trouble: None,
    }
}

fn world(instance: Instance) -> World {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = Paths::new(directory.path());
    let store = Arc::new(Store::open(&paths.records()).expect("opens"));
    store
        .transact(|tx| {
            tx.put(Site::new((10, 77), (127, 77), 8773));
            tx.put(instance);
            tx.put(KeyPair {
                name: "my-key".to_owned(),
                id: "key-1".to_owned(),
                key_type: "ed25519".to_owned(),
                fingerprint: String::new(),
                public_key: "ssh-ed25519 AAAA me".to_owned(),
                created: Timestamp::now(),
                tags: Tags::new(),
            });
            tx.put(InstanceProfile {
                name: "web-profile".to_owned(),
                id: "AIPA1".to_owned(),
                path: "/".to_owned(),
                created: Timestamp::now(),
                role_name: Some("web".to_owned()),
                tags: Tags::new(),
            });
            tx.put(Role {
                name: "web".to_owned(),
                id: "AROA1".to_owned(),
                path: "/".to_owned(),
                assume_role_policy: TRUST.to_owned(),
                description: None,
                created: Timestamp::now(),
                inline_policies: std::collections::BTreeMap::new(),
                attached_policies: Default::default(),
                max_session_secs: Role::DEFAULT_SESSION_SECS,
                tags: Tags::new(),
            });
            Ok::<_, StoreError>(())
        })
        .expect("commits");
    let ahead_secs = Arc::<AtomicI64>::default();
    let (ahead, begin) = (Arc::clone(&ahead_secs), Timestamp::now());
    let clock = move || begin.plus_secs(ahead.load(Ordering::Relaxed));
    let router = router_by(Arc::new(clock), Arc::clone(&store), paths.clone(), Behaviour::Everything);
    World { router, store, paths, ahead_secs, _directory: directory }
}

impl World {
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == SOURCE) {
            request = request.header(SOURCE, "10.77.0.11");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            self.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible");
        let status = response.status();
        (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body").to_vec())
    }

    async fn get(&self, path: &str) -> String {
        let (status, body) = self.ask(Method::GET, path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        String::from_utf8_lossy(&body).into_owned()
    }
}

#[tokio::test]
async fn the_tree_is_listed_and_read_under_every_version() {
    let world = world(instance("i-1", [10, 77, 0, 11]));
    assert!(world.get("/").await.lines().any(|version| version == "2009-04-04"));
    assert_eq!(world.get("/latest/").await, "dynamic/\nmeta-data/\nuser-data");
    let listing = world.get("/2021-03-23/meta-data/").await;
    for entry in
        ["ami-id", "block-device-mapping/", "iam/", "instance-id", "network/", "placement/", "public-keys/", "tags/"]
    {
        assert!(listing.lines().any(|line| line == entry), "{entry} in {listing}");
    }
    for (path, expected) in [
        ("instance-id", "i-1"),
        ("local-ipv4", "10.77.0.11"),
        ("public-ipv4", "127.77.0.11"),
        ("placement/availability-zone", "PARTI00"),
        ("placement/region", "localcloud"),
        ("public-keys/", "0=my-key"),
        ("public-keys/0/", "openssh-key"),
        ("public-keys/0/openssh-key", "ssh-ed25519 AAAA me\n"),
        ("network/interfaces/macs/", "02:00:0a:4d:00:0b/"),
        ("network/interfaces/macs/02:00:0a:4d:00:0b/device-number", "0"),
        ("services/domain", "localhost"),
        ("iam/", "info\nsecurity-credentials/"),
        ("iam/security-credentials/", "web"),
        ("tags/instance/", "Name\nimagecrud:stack"),
        ("tags/instance/Name", "web 1"),
    ] {
        assert_eq!(world.get(&format!("/2009-04-04/meta-data/{path}")).await, expected, "{path}");
    }
    let document: serde_json::Value =
        serde_json::from_str(&world.get("/latest/dynamic/instance-identity/document").await).expect("JSON");
    assert_eq!(
        (document["instanceId"].as_str(), document["pendingTime"].as_str()),
        (Some("i-1"), Some("2001-09-09T01:46:40Z"))
    );
    let (_, user_data) = world.ask(Method::GET, "/latest/user-data", &[]).await;
    assert_eq!(user_data, b"#cloud-config\n\xff", "bytes, not text");
    for path in ["/latest/meta-data/none", "/1999-01-01/meta-data/", "/latest/meta-data/instance-id/x", "/nothing"] {
        assert_eq!(world.ask(Method::GET, path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_member_of_a_group_is_told_where_it_is_heading() {
    let mut member = instance("i-1", [10, 77, 0, 11]);
    member.tags.insert(GROUP_TAG.to_owned(), "web".to_owned());
    let world = world(member);
    let path = "/latest/meta-data/autoscaling/target-lifecycle-state";
    assert_eq!(world.ask(Method::GET, path, &[]).await.0, StatusCode::NOT_FOUND, "there is no such group");
    let member =
        Member::joining("i-1".to_owned(), "PARTI00".to_owned(), LaunchSource::Elsewhere, "activity", Timestamp::now());
    let mut group: AutoScalingGroup = serde_json::from_value(serde_json::json!({
        "name": "web", "arn": "arn", "created": 0, "launch_source": "Elsewhere", "min_size": 0, "max_size": 1,
        "desired_capacity": 1, "default_cooldown_secs": 0, "zones": [], "subnets": [], "load_balancer_names": [],
        "health_check_type": "EC2", "health_check_grace_secs": 0, "termination_policies": [],
        "new_instances_protected": false, "tags": [], "members": [],
    }))
    .expect("a group as it was written before it had hooks");
    for (lifecycle, target) in [
        (Lifecycle::PendingWait, "InService"),
        (Lifecycle::InService, "InService"),
        (Lifecycle::EnteringStandby, "Standby"),
        (Lifecycle::Detaching, "Detached"),
        (Lifecycle::TerminatingWait, "Terminated"),
    ] {
        group.members = vec![Member { lifecycle, ..member.clone() }];
        let group = group.clone();
        world
            .store
            .transact(|tx| {
                tx.put(group);
                Ok::<_, StoreError>(())
            })
            .expect("commits");
        assert_eq!(world.get(path).await, target);
    }
}

#[tokio::test]
async fn an_instance_is_known_by_its_address_alone() {
    let world = world(instance("i-1", [10, 77, 0, 11]));
    assert_eq!(world.ask(Method::GET, "/latest/meta-data/", &[(SOURCE, "10.77.0.12")]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.ask(Method::GET, "/latest/meta-data/", &[(SOURCE, "nonsense")]).await.0, StatusCode::NOT_FOUND);
    world
        .store
        .transact(|tx| {
            let mut gone = instance("i-0", [10, 77, 0, 11]);
            gone.state = InstanceState::Terminated;
            tx.put(gone);
            Ok::<_, StoreError>(())
        })
        .expect("commits");
    assert_eq!(world.get("/latest/meta-data/instance-id").await, "i-1", "not the one that had the address before");
}

#[tokio::test]
async fn tokens_are_given_to_instances_and_required_where_that_is_asked_for() {
    let mut strict = instance("i-1", [10, 77, 0, 11]);
    strict.metadata_tokens_required = true;
    let world = world(strict);
    let path = "/latest/api/token";
    assert_eq!(world.ask(Method::GET, "/latest/meta-data/", &[]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.ask(Method::PUT, path, &[]).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.ask(Method::PUT, path, &[(TOKEN_TTL, "0")]).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.ask(Method::PUT, path, &[(TOKEN_TTL, "21601")]).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.ask(Method::GET, path, &[]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let forwarded = [(TOKEN_TTL, "60"), ("x-forwarded-for", "10.0.0.1")];
    assert_eq!(world.ask(Method::PUT, path, &forwarded).await.0, StatusCode::FORBIDDEN);
    let (status, token) = world.ask(Method::PUT, path, &[(TOKEN_TTL, "60")]).await;
    assert_eq!(status, StatusCode::OK);
    let token = String::from_utf8(token).expect("text");
    assert_eq!(world.ask(Method::GET, "/latest/meta-data/", &[(TOKEN, &token)]).await.0, StatusCode::OK);
    assert_eq!(world.ask(Method::GET, "/latest/meta-data/", &[(TOKEN, "forged")]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        world.ask(Method::POST, "/latest/meta-data/", &[(TOKEN, &token)]).await.0,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_roles_credentials_are_known_to_s3_when_they_are_handed_out_and_stay_the_same() {
    let world = world(instance("i-1", [10, 77, 0, 11]));
    let path = "/latest/meta-data/iam/security-credentials/web";
    let text = world.get(path).await;
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((document["Code"].as_str(), document["Type"].as_str()), (Some("Success"), Some("AWS-HMAC")));
    let access_key = document["AccessKeyId"].as_str().expect("a key");
    assert!(access_key.starts_with("ASIA") && document["Token"].is_string());
    assert!(document["Expiration"].as_str().is_some_and(|end| end.ends_with('Z') && end.len() == 20));
    let file = std::fs::read_to_string(world.paths.s3_credentials()).expect("written");
    assert!(file.contains(access_key), "{file}");
    assert_eq!(world.get(path).await, text);
    assert_eq!(
        world.ask(Method::GET, "/latest/meta-data/iam/security-credentials/other", &[]).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn credentials_are_renewed_before_they_end_and_the_old_ones_last_to_their_end() {
    let world = world(instance("i-1", [10, 77, 0, 11]));
    let path = "/latest/meta-data/iam/security-credentials/web";
    let document = async |seconds: i64| -> serde_json::Value {
        world.ahead_secs.store(seconds, Ordering::Relaxed);
        serde_json::from_str(&world.get(path).await).expect("JSON")
    };
    let first = document(0).await;
    assert_eq!(document(5 * 3600 - 1).await, first);
    let second = document(5 * 3600 + 1).await;
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    assert_ne!(second["Token"], first["Token"]);
    let time = |document: &serde_json::Value, field: &str| {
        document[field].as_str().expect(field).parse::<jiff::Timestamp>().expect("a time").as_second()
    };
    assert_eq!(time(&first, "Expiration") - time(&first, "LastUpdated"), 6 * 3600);
    assert!(time(&second, "Expiration") > time(&first, "Expiration"));
    let file = std::fs::read_to_string(world.paths.s3_credentials()).expect("written");
    for document in [&first, &second] {
        assert!(file.contains(document["AccessKeyId"].as_str().expect("a key")), "S3 knows both");
    }
}

#[tokio::test]
async fn another_profile_is_another_role_and_none_is_no_role() {
    let world = world(instance("i-1", [10, 77, 0, 11]));
    let change = |profile: Option<&str>| {
        let profile = profile.map(str::to_owned);
        let changed = world.store.transact(|tx| {
            Ok::<_, StoreError>(tx.update::<Instance>("i-1", |instance| instance.instance_profile = profile))
        });
        changed.expect("commits").expect("is there");
    };
    let first = world.get("/latest/meta-data/iam/security-credentials/web").await;
    world
        .store
        .transact(|tx| {
            let role = tx.get::<Role>("web").expect("is there");
            tx.put(Role { name: "other".to_owned(), id: "AROA2".to_owned(), ..Role::clone(&role) });
            let profile = tx.get::<InstanceProfile>("web-profile").expect("is there");
            tx.put(InstanceProfile {
                name: "other-profile".to_owned(),
                role_name: Some("other".to_owned()),
                ..InstanceProfile::clone(&profile)
            });
            Ok::<_, StoreError>(())
        })
        .expect("commits");
    change(Some("other-profile"));
    assert_eq!(world.get("/latest/meta-data/iam/security-credentials/").await, "other");
    let other = world.get("/latest/meta-data/iam/security-credentials/other").await;
    assert_ne!(other, first);
    let (gone, _) = world.ask(Method::GET, "/latest/meta-data/iam/security-credentials/web", &[]).await;
    assert_eq!(gone, StatusCode::NOT_FOUND);
    change(None);
    assert_eq!(world.ask(Method::GET, "/latest/meta-data/iam/", &[]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_role_that_does_not_trust_instances_is_not_handed_out() {
    let world = world(instance("i-1", [10, 77, 0, 11]));
    let trust = TRUST.replace("ec2.amazonaws.com", "lambda.amazonaws.com");
    world
        .store
        .transact(|tx| Ok::<_, StoreError>(tx.update::<Role>("web", |role| role.assume_role_policy = trust)))
        .expect("commits")
        .expect("is there");
    let text = world.get("/latest/meta-data/iam/security-credentials/web").await;
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["Code"].as_str(), Some("AssumeRoleUnauthorizedAccess"));
    assert!(document["AccessKeyId"].is_null());
}
