//! Policies, enforced by the S3 process: of whoever signs, and of buckets.

use std::path::Path;

use axum::{
    body::Body,
    http::{Method, Request},
};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use localcloud::{
    behaviour::Behaviour,
    host::file,
    object_storage::{self, S3Credential, S3Credentials},
    paths::Paths,
    policy::Identity,
};

use super::signed::{Plain, Signer, presigned, signed, signed_at};

const ACCOUNT: &str = "000000000001";

/// S3 alone, on its socket.
struct World {
    paths: Paths,
    root: Signer,
    directory: tempfile::TempDir,
    others: Vec<S3Credential>,
}

fn credential(signer: &Signer, arn: &str, policies: &[&str], session: Option<&[&str]>) -> S3Credential {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    S3Credential {
        access_key: signer.access_key.clone(),
        secret_key: signer.secret_key.clone(),
        session_token: signer.token.clone(),
        expires_at_epoch_secs: None,
        identity: Identity {
            arn: arn.to_owned(),
            account_id: ACCOUNT.to_owned(),
            principal_id: "AIDA1".to_owned(),
            user_name: arn.split_once(":user/").map(|(_, name)| name.to_owned()),
            policies: owned(policies),
            session_policies: session.map(owned),
            ..Identity::default()
        },
    }
}

fn user(name: &str) -> (Signer, String) {
    (Signer::new(&format!("AKIA{name}"), "secret", None), format!("arn:aws:iam::{ACCOUNT}:user/{name}"))
}

struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    fn code(&self) -> &str {
        self.body.split_once("<Code>").map_or("", |(_, rest)| rest.split('<').next().unwrap())
    }

    #[track_caller]
    fn ok(self) -> Self {
        assert!(self.status < 300, "{} {}", self.status, self.body);
        self
    }

    #[track_caller]
    fn denied(self) -> Self {
        assert_eq!(self.status, 403, "{}", self.body);
        assert!(self.body.is_empty() || self.code() == "AccessDenied", "{}", self.body);
        self
    }
}

impl World {
    async fn new() -> Self {
        Self::like(Behaviour::default()).await
    }

    async fn like(behaviour: Behaviour) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::new(directory.path());
        std::fs::create_dir_all(paths.run_dir()).unwrap();
        let world = Self { paths, root: Signer::new("AKIAROOT", "root", None), directory, others: Vec::new() };
        world.publish();
        let program = Path::new(env!("CARGO_BIN_EXE_localcloud"));
        object_storage::ensure_running(&world.paths, program, behaviour).await.unwrap();
        world
    }

    fn publish(&self) {
        let root = credential(&self.root, &format!("arn:aws:iam::{ACCOUNT}:root"), &[], None);
        let credentials = std::iter::once(root).chain(self.others.clone()).collect();
        let text = serde_json::to_string(&S3Credentials { credentials }).unwrap();
        file::replace(&self.paths.s3_credentials(), &text).unwrap();
    }

    /// A user whose policies are these from now on.
    fn may(&mut self, name: &str, policies: &[&str]) -> Signer {
        let (signer, arn) = user(name);
        self.others.retain(|other| other.access_key != signer.access_key);
        self.others.push(credential(&signer, &arn, policies, None));
        self.publish();
        signer
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let stream = tokio::net::UnixStream::connect(self.paths.socket("s3")).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        Reply { status, body: String::from_utf8_lossy(&body).into_owned() }
    }

    async fn call(&self, signer: &Signer, method: Method, path_and_query: &str, body: &str) -> Reply {
        self.call_with(signer, method, path_and_query, &[], body).await
    }

    async fn call_with(
        &self,
        signer: &Signer,
        method: Method,
        path_and_query: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Reply {
        let plain = Plain { method, path_and_query, service: "s3", headers, body: body.as_bytes() };
        self.send(signed(&plain, signer)).await
    }

    async fn anonymous(&self, method: Method, path_and_query: &str) -> Reply {
        let request = Request::builder().method(method).uri(path_and_query).header("host", "127.0.0.1:8773");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// A bucket with two objects.
    async fn fill(&self) {
        self.call(&self.root, Method::PUT, "/bucket", "").await.ok();
        for key in ["home/jo/a", "home/al/b"] {
            self.call(&self.root, Method::PUT, &format!("/bucket/{key}"), key).await.ok();
        }
    }

    async fn set_policy(&self, policy: &str) -> Reply {
        self.call(&self.root, Method::PUT, "/bucket?policy", policy).await
    }

    async fn end(self) {
        object_storage::stop(&self.paths).await.unwrap();
        let _ = std::fs::remove_dir_all(self.paths.run_dir());
        drop(self.directory);
    }
}

#[tokio::test]
async fn each_operation_is_asked_for_with_the_signers_policies() {
    let mut world = World::new().await;
    world.fill().await;
    let jo = world.may("jo", &[]);
    let reply = world.call(&jo, Method::GET, "/bucket/home/jo/a", "").await.denied();
    let words = format!(
        "User: arn:aws:iam::{ACCOUNT}:user/jo is not authorized to perform: s3:GetObject on resource: &quot;arn:aws:s3:::bucket/home/jo/a&quot; because no identity-based policy allows the s3:GetObject action"
    );
    assert!(reply.body.replace('"', "&quot;").contains(&words.replace('"', "&quot;")), "{}", reply.body);
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/bucket"),
        (Method::HEAD, "/bucket"),
        (Method::PUT, "/other"),
        (Method::DELETE, "/bucket"),
        (Method::PUT, "/bucket/home/jo/a"),
        (Method::DELETE, "/bucket/home/jo/a"),
        (Method::POST, "/bucket/x?uploads"),
        (Method::GET, "/bucket?policy"),
    ] {
        world.call(&jo, method, path, "").await.denied();
    }
    assert_eq!(world.call(&jo, Method::HEAD, "/nowhere", "").await.status, 404);

    let every_bucket = r#"{"Statement":{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"arn:aws:s3:::*"}}"#;
    world.may("jo", &[every_bucket]);
    assert!(world.call(&jo, Method::GET, "/", "").await.ok().body.contains("<Name>bucket</Name>"));

    // From the next request on.
    world.may(
        "jo",
        &[
            r#"{"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":"s3:*Object","Resource":"arn:aws:s3:::bucket/home/${aws:username}/*"},
                {"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringLike":{"s3:prefix":"home/${aws:username}/*"}}}]}"#,
        ],
    );
    assert_eq!(world.call(&jo, Method::GET, "/bucket/home/jo/a", "").await.ok().body, "home/jo/a");
    world.call(&jo, Method::PUT, "/bucket/home/jo/c", "c").await.ok();
    world.call(&jo, Method::GET, "/bucket/home/al/b", "").await.denied();
    world.call(&jo, Method::PUT, "/bucket/home/al/c", "c").await.denied();
    world.call(&jo, Method::GET, "/bucket?list-type=2", "").await.denied();
    let listed = world.call(&jo, Method::GET, "/bucket?list-type=2&prefix=home%2Fjo%2F", "").await.ok();
    assert!(listed.body.contains("<Key>home/jo/c</Key>"), "{}", listed.body);
    // Who may not list learns nothing of what is not there.
    world.call(&jo, Method::GET, "/bucket/home/jo/none", "").await.denied();
    assert_eq!(world.call(&world.root, Method::GET, "/bucket/home/jo/none", "").await.code(), "NoSuchKey");
    // Who copies reads.
    let copy = |source: &'static str| [("x-amz-copy-source", source)];
    world.call_with(&jo, Method::PUT, "/bucket/home/jo/d", &copy("/bucket/home/jo/a"), "").await.ok();
    world.call_with(&jo, Method::PUT, "/bucket/home/jo/d", &copy("/bucket/home/al/b"), "").await.denied();
    // Of several keys those are deleted that may be.
    let delete = "<Delete><Object><Key>home/jo/a</Key></Object><Object><Key>home/al/b</Key></Object></Delete>";
    let md5 = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        use md5::Digest as _;
        STANDARD.encode(md5::Md5::digest(delete))
    };
    let reply = world.call_with(&jo, Method::POST, "/bucket?delete", &[("content-md5", &md5)], delete).await.ok();
    assert!(reply.body.contains("<Deleted><Key>home/jo/a</Key>"), "{}", reply.body);
    assert!(reply.body.contains("<Code>AccessDenied</Code>"), "{}", reply.body);
    world.call(&world.root, Method::GET, "/bucket/home/al/b", "").await.ok();
    world.end().await;
}

#[tokio::test]
async fn a_presigned_url_does_what_its_signer_may_at_the_moment_of_its_use() {
    let mut world = World::new().await;
    world.fill().await;
    let jo = world.may("jo", &[]);
    let url = presigned("/bucket/home/jo/a", &jo);
    world.anonymous(Method::GET, &url).await.denied();
    world
        .may("jo", &[r#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}"#]);
    assert_eq!(world.anonymous(Method::GET, &url).await.ok().body, "home/jo/a");
    world.may(
        "jo",
        &[
            r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}}"#,
        ],
    );
    world.anonymous(Method::GET, &url).await.denied();
    world.end().await;
}

#[tokio::test]
async fn a_session_does_no_more_than_its_session_policies_say() {
    let mut world = World::new().await;
    world.fill().await;
    let session = Signer::new("ASIASESSION", "secret", Some("token"));
    let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/web/one");
    let all = r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
    let one = r#"{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/home/jo/*"}}"#;
    world.others.push(credential(&session, &arn, &[all], Some(&[one])));
    world.publish();
    world.call(&session, Method::GET, "/bucket/home/jo/a", "").await.ok();
    let reply = world.call(&session, Method::GET, "/bucket/home/al/b", "").await.denied();
    assert!(reply.body.contains("no session policy allows"), "{}", reply.body);
    world.end().await;
}

#[tokio::test]
async fn a_buckets_policy_lets_in_and_keeps_out() {
    let mut world = World::new().await;
    world.fill().await;
    let jo = world.may("jo", &[]);
    let statement = |effect: &str, principal: &str, action: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":{principal},"Action":"{action}","Resource":"arn:aws:s3:::bucket/*"}}]}}"#
        )
    };
    assert_eq!(world.call(&world.root, Method::GET, "/bucket?policy", "").await.code(), "NoSuchBucketPolicy");
    assert_eq!(world.set_policy("{").await.code(), "MalformedPolicy");

    world.anonymous(Method::GET, "/bucket/home/jo/a").await.denied();
    let public = statement("Allow", r#""*""#, "s3:GetObject");
    world.set_policy(&public).await.ok();
    assert_eq!(world.call(&world.root, Method::GET, "/bucket?policy", "").await.ok().body, public);
    assert_eq!(world.anonymous(Method::GET, "/bucket/home/jo/a").await.ok().body, "home/jo/a");
    world.anonymous(Method::PUT, "/bucket/home/jo/a").await.denied();
    world.anonymous(Method::GET, "/bucket").await.denied();
    world.anonymous(Method::DELETE, "/bucket?policy").await.denied();
    world.call(&jo, Method::GET, "/bucket/home/al/b", "").await.ok();
    world.call(&jo, Method::PUT, "/bucket/home/al/b", "x").await.denied();

    world
        .set_policy(&statement("Allow", &format!(r#"{{"AWS":"arn:aws:iam::{ACCOUNT}:user/jo"}}"#), "s3:PutObject"))
        .await
        .ok();
    world.call(&jo, Method::PUT, "/bucket/home/al/b", "x").await.ok();
    world.anonymous(Method::GET, "/bucket/home/jo/a").await.denied();

    // A policy outlives the process, and keeps out even the root, who may take it away.
    world.set_policy(&statement("Deny", r#""*""#, "s3:*")).await.ok();
    object_storage::stop(&world.paths).await.unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_localcloud"));
    object_storage::ensure_running(&world.paths, program, Behaviour::default()).await.unwrap();
    world.call(&world.root, Method::GET, "/bucket/home/jo/a", "").await.denied();
    world.call(&world.root, Method::DELETE, "/bucket?policy", "").await.ok();
    world.call(&world.root, Method::GET, "/bucket/home/jo/a", "").await.ok();
    world.end().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_signature_is_said_in_s3s_words() {
    let mut world = World::new().await;
    world.fill().await;
    let now = jiff::Timestamp::now();
    let minutes = |minutes: i64| jiff::Timestamp::from_second(now.as_second() + minutes * 60).unwrap();
    let expired = Signer::new("ASIAEXPIRED", "secret", Some("token"));
    let mut credential = credential(&expired, &format!("arn:aws:iam::{ACCOUNT}:root"), &[], None);
    credential.expires_at_epoch_secs = Some(now.as_second() - 1);
    world.others.push(credential);
    world.publish();
    let root = world.root.clone();
    let wrong = Signer { secret_key: "wrong".to_owned(), ..root.clone() };
    let stray = Signer { token: Some("stray".to_owned()), ..root.clone() };
    let late = Signer { token: None, ..expired.clone() };
    for (signer, at, status, code) in [
        (&root, now, 200, ""),
        (&root, minutes(14), 200, ""),
        (&root, minutes(-14), 200, ""),
        (&root, minutes(16), 403, "RequestTimeTooSkewed"),
        (&root, minutes(-16), 403, "RequestTimeTooSkewed"),
        (&Signer::new("AKIANOBODY", "x", None), now, 403, "InvalidAccessKeyId"),
        (&wrong, now, 403, "SignatureDoesNotMatch"),
        (&stray, now, 400, "InvalidToken"),
        (&expired, now, 400, "ExpiredToken"),
        (&late, now, 400, "ExpiredToken"),
    ] {
        let plain = Plain { method: Method::GET, path_and_query: "/bucket", service: "s3", headers: &[], body: b"" };
        let reply = world.send(signed_at(&plain, signer, at)).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{signer:?} {at}: {}", reply.body);
    }
    let old = Request::get("/bucket")
        .header("host", "127.0.0.1:8773")
        .header("date", minutes(-16).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    let date = old.headers_ref().unwrap()["date"].to_str().unwrap().to_owned();
    let signature = hmac_sha1_base64("root", &format!("GET\n\n\n{date}\n/bucket/"));
    let old = old.header("authorization", format!("AWS AKIAROOT:{signature}")).body(Body::empty()).unwrap();
    let reply = world.send(old).await;
    assert_eq!((reply.status, reply.code()), (403, "RequestTimeTooSkewed"), "{}", reply.body);
    world.end().await;
}

/// A request that the root signs by version 2.
fn version2(path: &str) -> Request<Body> {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let signature = hmac_sha1_base64("root", &format!("GET\n\n\n{date}\n{path}"));
    let request = Request::get(path).header("host", "127.0.0.1:8773").header("date", date);
    request.header("authorization", format!("AWS AKIAROOT:{signature}")).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_cloud_like_aws_takes_no_version_2() {
    for (behaviour, expected) in [(Behaviour::Everything, (200, "")), (Behaviour::Aws, (400, "InvalidRequest"))] {
        let world = World::like(behaviour).await;
        world.fill().await;
        let reply = world.send(version2("/bucket/home/jo/a")).await;
        assert_eq!((reply.status, reply.code()), expected, "{}", reply.body);
        assert!(reply.status == 200 || reply.body.contains("Please use AWS4-HMAC-SHA256."), "{}", reply.body);
        let old = "/bucket/home/jo/a?AWSAccessKeyId=AKIAROOT&Expires=4000000000&Signature=x";
        let code = if behaviour == Behaviour::Aws { "InvalidRequest" } else { "SignatureDoesNotMatch" };
        assert_eq!(world.anonymous(Method::GET, old).await.code(), code, "presigned");
        world.end().await;
    }
}

#[tokio::test]
async fn a_new_bucket_like_aws_is_closed_to_the_public_until_its_block_is_taken_away() {
    let world = World::like(Behaviour::Aws).await;
    world.fill().await;
    let root = world.root.clone();
    let block = "/bucket?publicAccessBlock";
    let told = world.call(&root, Method::GET, block, "").await.ok();
    for setting in ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"] {
        assert!(told.body.contains(&format!("<{setting}>true</{setting}>")), "{}", told.body);
    }
    let statement = |condition: &str| {
        format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"{condition}}}}}"#
        )
    };
    let public = statement("");
    world.set_policy(&public).await.denied();
    world.set_policy(&statement(r#","Condition":{"StringLike":{"aws:SourceArn":"*"}}"#)).await.denied();
    world.set_policy(&statement(r#","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}"#)).await.ok();
    world.call(&root, Method::DELETE, "/bucket?policy", "").await.ok();

    world.call(&root, Method::DELETE, block, "").await.ok();
    assert_eq!(world.call(&root, Method::GET, block, "").await.code(), "NoSuchPublicAccessBlockConfiguration");
    world.set_policy(&public).await.ok();
    world.anonymous(Method::GET, "/bucket/home/jo/a").await.ok();
    // What is restricted later is closed to those whom only a public policy lets in; also after a restart.
    let restrict = "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";
    world.call(&root, Method::PUT, block, restrict).await.ok();
    world.anonymous(Method::GET, "/bucket/home/jo/a").await.denied();
    object_storage::stop(&world.paths).await.unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_localcloud"));
    object_storage::ensure_running(&world.paths, program, Behaviour::Everything).await.unwrap();
    world.anonymous(Method::GET, "/bucket/home/jo/a").await.denied();
    world.call(&root, Method::GET, "/bucket/home/jo/a", "").await.ok();
    world.call(&root, Method::PUT, "/other", "").await.ok();
    let none = world.call(&root, Method::GET, "/other?publicAccessBlock", "").await;
    assert_eq!((none.status, none.code()), (404, "NoSuchPublicAccessBlockConfiguration"), "everywhere else");
    world.end().await;
}

fn hmac_sha1_base64(secret: &str, message: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
