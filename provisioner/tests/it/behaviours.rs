//! The whole way on clouds that lack what another cloud lacks, on real containers. Each test asks for the ways round
//! that this cloud needs, and ends with nothing left.

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine as _;
use imagecrud_deploy::cloud::clients::{Clients, for_eucarc};
use imagecrud_deploy::cloud::eucarc::Eucarc;
use imagecrud_deploy::cloud::local::is_root;

use crate::whole_way::{Way, assert_every_picture_opens, assert_nothing_runs, browser};

/// Where the cloud writes its credentials, seen from the test's directory.
const EUCARC: &str = "cloud/eucarc";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A cloud of that behaviour, served; none without root.
fn served(behaviour: &'static str) -> Option<Way> {
    if !is_root() {
        eprintln!("skipped: the local cloud needs root for namespaces, mounts and loop devices");
        return None;
    }
    let way = Way::like(behaviour);
    assert!(way.command("localcloud").args(["serve", "--detach"]).status().expect("localcloud starts").success());
    Some(way)
}

async fn clients(way: &Way, eucarc: &str) -> Clients {
    for_eucarc(&Eucarc::read(&way.dir.join(eucarc)).expect("an eucarc"), None).await.expect("clients")
}

/// A server certificate for some names, and the authority that the test's programs trust.
fn certificate_files(way: &Way, host: &str, names: &str) {
    let script = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout authority.key -out authority.pem -days 2 -subj /CN=authority &&
         openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN={host} &&
         printf 'subjectAltName={names}' >server.ext &&
         openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 \
             -extfile server.ext -out server.pem"
    );
    let made = Command::new("sh").args(["-c", &script]).current_dir(&way.dir).output().expect("sh starts");
    assert!(made.status.success(), "{}", stderr(&made));
}

/// A server certificate for a host name, uploaded. Returns its ARN.
async fn certificate(way: &Way, root: &Clients, host: &str) -> String {
    certificate_files(way, host, &format!("DNS:{host}"));
    let text = |name: &str| std::fs::read_to_string(way.dir.join(name)).expect("openssl wrote it");
    let upload = root.iam.upload_server_certificate().server_certificate_name(host);
    let upload = upload.certificate_body(text("server.pem")).private_key(text("server.key")).send().await;
    let upload = upload.expect("uploaded");
    upload.server_certificate_metadata().expect("metadata").arn().to_owned()
}

/// From nothing to a picture in the gallery, and a second `up` that finds nothing to do.
async fn up_and_upload(way: &Way, eucarc: &str) -> String {
    let up = ["up", "--credentials", eucarc];
    let url = way.deployed(&up).trim().to_owned();
    let again = way.deploy(&up);
    assert!(again.status.success() && stderr(&again).contains("nothing changes"), "{}", stderr(&again));
    let cat = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample/cat.jpeg");
    assert!(way.client(&["upload", &cat.display().to_string(), &format!("{url}cat")]).status.success());
    assert_every_picture_opens(&browser(way.authority()), &url, 1).await;
    url
}

fn tear_down(way: &Way, eucarc: &str) {
    let out = way.deployed(&["teardown", "--yes", "--delete-data", "--credentials", eucarc]);
    assert_eq!(out, "0 left\n");
    assert!(way.command("localcloud").arg("stop").status().expect("localcloud starts").success());
    assert_nothing_runs(way);
}

#[tokio::test]
async fn the_whole_way_on_eucalyptus_4_4_by_launch_configurations_and_metadata_without_tokens() {
    let Some(way) = served("eucalyptus-4.4") else { return };
    up_and_upload(&way, EUCARC).await;
    let cloud = clients(&way, EUCARC).await;
    let configurations = cloud.autoscaling.describe_launch_configurations().send().await.expect("described");
    assert_eq!(configurations.launch_configurations().len(), 1);
    let groups = cloud.ec2.describe_security_groups().send().await.expect("described");
    let tagged = groups.security_groups().iter().filter(|group| !group.tags().is_empty()).count();
    assert_eq!(tagged, 3, "groups that take no tags at creation have them afterwards");

    // The same cloud by the configuration of euca2ools.
    let eucarc = Eucarc::read(&way.dir.join(EUCARC)).expect("an eucarc");
    let value = |name: &str| eucarc.require(&[name]).expect("it is there").to_owned();
    let ini = format!(
        "[user jo]\nkey-id = {}\nsecret-key = {}\n[region localcloud]\nuser = jo\nec2-url = {}\ns3-url = {}\n\
         iam-url = {}\nelasticloadbalancing-url = {}\nautoscaling-url = {}\nmonitoring-url = {}\n",
        value("AWS_ACCESS_KEY_ID"),
        value("AWS_SECRET_ACCESS_KEY"),
        value("EC2_URL"),
        value("S3_URL"),
        value("AWS_IAM_URL"),
        value("AWS_ELB_URL"),
        value("AWS_AUTO_SCALING_URL"),
        value("AWS_CLOUDWATCH_URL"),
    );
    std::fs::write(way.dir.join("here.ini"), ini).expect("an ini file");
    let mut status = way.command("imagecrud-deploy");
    status.env("EUCA_CONFIG_PATH", "*.ini").args(["status", "--cloud", "eucalyptus", "--region", "jo@localcloud"]);
    let status = status.output().expect("imagecrud-deploy starts");
    assert!(status.status.success(), "{}", stderr(&status));
    tear_down(&way, EUCARC);
}

#[tokio::test]
async fn the_whole_way_without_instance_profiles_by_keys_of_users_that_may_use_the_bucket_only() {
    let Some(way) = served("without-instance-profiles") else { return };
    let url = up_and_upload(&way, EUCARC).await;
    let cloud = clients(&way, EUCARC).await;
    let users = cloud.iam.list_users().path_prefix("/imagecrud/").send().await.expect("listed");
    assert_eq!(users.users().len(), 2);
    let configurations = cloud.autoscaling.describe_launch_configurations().send().await.expect("described");
    assert_eq!(configurations.launch_configurations()[0].iam_instance_profile(), None);
    let key = |name: &'static str| {
        let bucket = bucket_of(&cloud);
        let s3 = cloud.s3.clone();
        async move {
            let object = s3.get_object().bucket(bucket.await).key(name).send().await.expect("there");
            serde_json::from_slice::<serde_json::Value>(&object.body.collect().await.expect("bytes").into_bytes())
                .expect("JSON")
        }
    };
    let web = key("config/access-key-web.json").await;

    // What the key of a web VM may, and what it may not.
    let (id, secret) = (web["access_key_id"].as_str().expect("an id"), web["secret_access_key"].as_str().expect("it"));
    let theirs = with_key(&way, "web", id, secret);
    let thief = clients(&way, &theirs).await;
    let bucket = bucket_of(&cloud).await;
    let get = |key: &'static str| thief.s3.get_object().bucket(&bucket).key(key).send();
    assert!(get("config/database.json").await.is_ok());
    for secret in ["config/database-password", "config/access-key-database.json", "config/access-key-web.json"] {
        assert!(get(secret).await.is_err(), "a web VM must not read {secret}");
    }
    assert!(thief.ec2.describe_instances().send().await.is_err());
    assert!(thief.iam.list_users().send().await.is_err());

    // A key that was lost is made anew, and the web servers move on to it one by one.
    cloud.s3.delete_object().bucket(&bucket).key("config/access-key-web.json").send().await.expect("deleted");
    way.deployed(&["up", "--credentials", EUCARC]);
    assert_ne!(key("config/access-key-web.json").await, web);
    assert!(get("config/database.json").await.is_err(), "the former key is gone");
    assert_every_picture_opens(&browser(None), &url, 1).await;

    let out = way.deployed(&["teardown", "--yes", "--delete-data", "--credentials", EUCARC]);
    assert_eq!(out, "0 left\n");
    let users = cloud.iam.list_users().path_prefix("/imagecrud/").send().await.expect("listed");
    assert!(users.users().is_empty(), "{users:?}");
    tear_down(&way, EUCARC);
}

async fn bucket_of(cloud: &Clients) -> String {
    let buckets = cloud.s3.list_buckets().send().await.expect("listed");
    buckets.buckets()[0].name().expect("a name").to_owned()
}

/// An eucarc of a new user who may what a document of docs/permissions/ allows, and nothing else.
async fn operator(way: &Way, root: &Clients, name: &str, policy: &str) -> String {
    let compact: String = policy.split_whitespace().collect();
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    assert!(compact.len() <= 6144, "{name}: no managed policy may be longer");
    let iam = &root.iam;
    iam.create_user().user_name(name).send().await.expect("a user");
    let made = iam.create_policy().policy_name(name).policy_document(policy).send().await.expect("a policy");
    let arn = made.policy().and_then(aws_sdk_iam::types::Policy::arn).expect("an ARN");
    iam.attach_user_policy().user_name(name).policy_arn(arn).send().await.expect("attached");
    let made = iam.create_access_key().user_name(name).send().await.expect("a key");
    let key = made.access_key().expect("a key");
    with_key(way, name, key.access_key_id(), key.secret_access_key())
}

/// The cloud's eucarc with another key in it.
fn with_key(way: &Way, name: &str, id: &str, secret: &str) -> String {
    let text = std::fs::read_to_string(way.dir.join(EUCARC)).expect("an eucarc");
    let eucarc = Eucarc::parse(&text, "/");
    let theirs = text
        .replace(eucarc.require(&["AWS_ACCESS_KEY_ID"]).expect("an id"), id)
        .replace(eucarc.require(&["AWS_SECRET_ACCESS_KEY"]).expect("a secret"), secret);
    let file = format!("{name}-eucarc");
    std::fs::write(way.dir.join(&file), theirs).expect("an eucarc");
    file
}

#[tokio::test]
async fn the_whole_way_on_aws_with_https_and_exactly_the_permissions_that_docs_permissions_name() {
    let Some(way) = served("aws") else { return };
    let root = clients(&way, EUCARC).await;
    let up = operator(&way, &root, "up", include_str!("../../../docs/permissions/up.json")).await;
    let teardown = operator(&way, &root, "teardown", include_str!("../../../docs/permissions/teardown.json")).await;
    let host = "gallery.localhost";
    let arn = certificate(&way, &root, host).await;
    let settings = format!("[listener]\nport = {}\ncertificate = \"{arn}\"\nhost = \"{host}\"\n", way.listener_port);
    std::fs::write(way.dir.join("imagecrud.toml"), settings).expect("a config");
    let url = up_and_upload(&way, &up).await;
    assert_eq!(url, format!("https://{host}:{}/imagecrud/", way.listener_port));

    let configurations = root.autoscaling.describe_launch_configurations().send().await.expect("described");
    assert!(configurations.launch_configurations().is_empty());

    // Who may bring it up may not tear it down, nor the other way round.
    let refused = way.deploy(&["teardown", "--yes", "--credentials", &up]);
    assert!(!refused.status.success() && stderr(&refused).contains("not authorized"), "{}", stderr(&refused));
    let other = clients(&way, &teardown).await;
    assert!(other.ec2.create_volume().availability_zone("PARTI00").size(1).send().await.is_err());
    tear_down(&way, &teardown);
}

/// What a MariaDB in a VM of the test's own is told: TLS or nothing.
fn database_user_data(way: &Way) -> String {
    let text = |name: &str| std::fs::read_to_string(way.dir.join(name)).expect("openssl wrote it");
    let file =
        |path: &str, content: String| serde_json::json!({ "path": path, "permissions": "0644", "content": content });
    let settings = "[mariadbd]\nbind-address = 0.0.0.0\nrequire_secure_transport = on\n\
                    ssl_cert = /etc/mysql/server.pem\nssl_key = /etc/mysql/server.key\n";
    let sql = "CREATE DATABASE own; CREATE USER 'jo'@'%' IDENTIFIED BY 'p@ss'; GRANT ALL ON own.* TO 'jo'@'%';";
    let config = serde_json::json!({
        "write_files": [
            file("/etc/mysql/server.pem", text("server.pem")),
            file("/etc/mysql/server.key", text("server.key")),
            file("/etc/mysql/mariadb.conf.d/90-own.cnf", settings.to_owned()),
            file("/root/own.sql", sql.to_owned()),
        ],
        "runcmd": ["systemctl restart mariadb.service && mariadb </root/own.sql"],
    });
    format!("#cloud-config\n{config}\n")
}

#[tokio::test]
async fn the_whole_way_with_a_database_of_ones_own_over_verified_tls() {
    let Some(way) = served("everything") else { return };
    let root = clients(&way, EUCARC).await;
    // The certificate is made before the VM has an address: for each that it may get.
    let names: Vec<String> = (2..64).map(|last| format!("IP:10.77.0.{last}")).collect();
    certificate_files(&way, "own", &names.join(","));

    let group = root.ec2.create_security_group().group_name("own").description("own").send().await.expect("a group");
    let group = group.group_id().expect("an id");
    let open = root.ec2.authorize_security_group_ingress().group_id(group).ip_protocol("tcp");
    open.from_port(3306).to_port(3306).cidr_ip("10.77.0.0/16").send().await.expect("opened");
    let images = root.ec2.describe_images().owners("self").send().await.expect("described");
    let image = images.images()[0].image_id().expect("an id");
    let user_data = base64::engine::general_purpose::STANDARD.encode(database_user_data(&way));
    let launch = root.ec2.run_instances().image_id(image).min_count(1).max_count(1).user_data(user_data);
    let launched = launch.security_group_ids(group).send().await.expect("launched");
    let instance = launched.instances()[0].instance_id().expect("an id").to_owned();
    let described = root.ec2.describe_instances().instance_ids(&instance).send().await.expect("described");
    let address = described.reservations()[0].instances()[0].private_ip_address().expect("an address").to_owned();

    let settings = format!(
        "[listener]\nport = {}\n[database]\nurl = \"mysql://jo:p%40ss@{address}:3306/own\"\nauthority = \"authority.pem\"\n",
        way.listener_port
    );
    std::fs::write(way.dir.join("imagecrud.toml"), settings).expect("a config");
    let url = up_and_upload(&way, EUCARC).await;
    assert!(url.starts_with("http://"), "{url}");
    let volumes = root.ec2.describe_volumes().send().await.expect("described");
    assert!(volumes.volumes().iter().all(|volume| volume.tags().is_empty()), "no volume of the stack: {volumes:?}");

    let out = way.deployed(&["teardown", "--yes", "--delete-data", "--credentials", EUCARC]);
    assert_eq!(out, "0 left\n");
    let described = root.ec2.describe_instances().instance_ids(&instance).send().await.expect("described");
    let state = described.reservations()[0].instances()[0].state().and_then(|state| state.name());
    assert_eq!(state.map(|state| state.as_str()), Some("running"), "it is not the stack's to remove");
    root.ec2.terminate_instances().instance_ids(&instance).send().await.expect("terminated");
    tear_down(&way, EUCARC);
}
