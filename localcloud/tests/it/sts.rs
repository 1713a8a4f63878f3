//! Temporary credentials: who is given them, for how long, and how far they go.

use localcloud::model::identity::Credential;

use super::{
    authorization::{Cloud, Reply},
    signed::Signer,
};

const ACCOUNT: &str = "000000000001";
const ROLE_ARN: &str = "arn:aws:iam::000000000001:role/reader";
const ALLOW_ASSUME: &str = r#"{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession"],"Resource":"*"}"#;

fn signer(reply: &Reply) -> Signer {
    Signer::new(&reply.field("AccessKeyId"), &reply.field("SecretAccessKey"), Some(&reply.field("SessionToken")))
}

/// A role that reads EC2, and trusts as the statement says.
async fn role(cloud: &Cloud, trust: &str) {
    let trust = format!(r#"{{"Version":"2012-10-17","Statement":{trust}}}"#);
    let role = ("RoleName", "reader");
    let parameters = [role, ("AssumeRolePolicyDocument", trust.as_str()), ("MaxSessionDuration", "7200")];
    cloud.call(&cloud.root, "iam", "CreateRole", &parameters).await.ok();
    let policy = r#"{"Statement":{"Effect":"Allow","Action":["ec2:Describe*","sts:AssumeRole"],"Resource":"*"}}"#;
    let parameters = [role, ("PolicyName", "p"), ("PolicyDocument", policy)];
    cloud.call(&cloud.root, "iam", "PutRolePolicy", &parameters).await.ok();
}

fn trusts(principal: &str, more: &str) -> String {
    format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},"Action":["sts:AssumeRole","sts:TagSession"]{more}}}"#
    )
}

fn assume<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("RoleArn", ROLE_ARN), ("RoleSessionName", "one")], more].concat()
}

#[tokio::test]
async fn a_role_is_assumed_by_whom_it_trusts_and_does_what_the_role_may() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", ALLOW_ASSUME).await;
    let al = cloud.user("al", "").await;
    role(&cloud, &trusts(ACCOUNT, "")).await;
    let reply = cloud.call(&jo, "sts", "AssumeRole", &assume(&[])).await.ok();
    let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/reader/one");
    assert_eq!(reply.field("Arn"), arn);
    assert!(reply.field("AssumedRoleId").ends_with(":one"));
    let session = signer(&reply);
    let identity = cloud.call(&session, "sts", "GetCallerIdentity", &[]).await.ok();
    assert_eq!(identity.field("Arn"), arn);
    cloud.call(&session, "ec2", "DescribeInstances", &[]).await.ok();
    let refusal = cloud.call(&session, "iam", "ListUsers", &[]).await;
    assert_eq!(refusal.code, "AccessDenied");
    assert!(refusal.body.contains(&format!("User: {arn} is not authorized to perform: iam:ListUsers")));

    // The account is trusted, and leaves it to the user's own policies.
    let refusal = cloud.call(&al, "sts", "AssumeRole", &assume(&[])).await;
    assert_eq!((refusal.status, refusal.code.as_str()), (403, "AccessDenied"));
    assert_eq!(
        refusal.field("Message"),
        format!(
            "User: arn:aws:iam::{ACCOUNT}:user/al is not authorized to perform: sts:AssumeRole on resource: {ROLE_ARN}"
        )
    );
    let nowhere = [("RoleArn", "arn:aws:iam::000000000001:role/nowhere"), ("RoleSessionName", "one")];
    assert_eq!(cloud.call(&jo, "sts", "AssumeRole", &nowhere).await.code, "AccessDenied");
    assert_eq!(cloud.call(&cloud.root, "sts", "AssumeRole", &assume(&[])).await.code, "AccessDenied");

    // Another role of the same name is another.
    for (action, parameters) in [
        ("DeleteRolePolicy", vec![("RoleName", "reader"), ("PolicyName", "p")]),
        ("DeleteRole", vec![("RoleName", "reader")]),
    ] {
        cloud.call(&cloud.root, "iam", action, &parameters).await.ok();
    }
    assert_eq!(cloud.call(&session, "ec2", "DescribeInstances", &[]).await.code, "UnauthorizedOperation");
}

#[tokio::test]
async fn a_trust_policy_asks_for_an_external_id() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", "").await;
    let condition = r#","Condition":{"StringEquals":{"sts:ExternalId":"secret"}}"#;
    role(&cloud, &trusts(&format!("arn:aws:iam::{ACCOUNT}:user/jo"), condition)).await;
    assert_eq!(cloud.call(&jo, "sts", "AssumeRole", &assume(&[])).await.code, "AccessDenied");
    let wrong = assume(&[("ExternalId", "wrong")]);
    assert_eq!(cloud.call(&jo, "sts", "AssumeRole", &wrong).await.code, "AccessDenied");
    cloud.call(&jo, "sts", "AssumeRole", &assume(&[("ExternalId", "secret")])).await.ok();
}

#[tokio::test]
async fn a_session_lasts_as_long_as_was_asked_for_and_the_role_allows() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", ALLOW_ASSUME).await;
    role(&cloud, &format!("[{},{}]", trusts(ACCOUNT, ""), trusts(ROLE_ARN, ""))).await;
    for (seconds, code) in [("899", "ValidationError"), ("43201", "ValidationError"), ("7201", "ValidationError")] {
        assert_eq!(cloud.call(&jo, "sts", "AssumeRole", &assume(&[("DurationSeconds", seconds)])).await.code, code);
    }
    let reply = cloud.call(&jo, "sts", "AssumeRole", &assume(&[("DurationSeconds", "7200")])).await.ok();
    let session = signer(&reply);
    let lasts = |cloud: &Cloud, key: &str| {
        cloud.world.read(|tx| {
            let credential = tx.get::<Credential>(key).unwrap();
            credential.created.age_secs(credential.expires.unwrap())
        })
    };
    assert!((lasts(&cloud, &session.access_key) - 7200.0).abs() < 1.0);
    // A session that begins a session.
    let long = assume(&[("DurationSeconds", "3601")]);
    let reply = cloud.call(&session, "sts", "AssumeRole", &long).await;
    assert!(reply.body.contains("role chaining"), "{}", reply.body);
    let chained = signer(&cloud.call(&session, "sts", "AssumeRole", &assume(&[])).await.ok());
    assert!((lasts(&cloud, &chained.access_key) - 3600.0).abs() < 1.0);
    // Time goes by.
    cloud.world.change::<Credential>(&session.access_key, |credential| {
        credential.expires = Some(localcloud::model::time::Timestamp::now());
    });
    let reply = cloud.call(&session, "sts", "GetCallerIdentity", &[]).await;
    assert_eq!((reply.status, reply.code.as_str()), (403, "ExpiredToken"));
    let reply = cloud.call(&session, "ec2", "DescribeInstances", &[]).await;
    assert_eq!(reply.code, "RequestExpired");
    cloud.call(&chained, "ec2", "DescribeInstances", &[]).await.ok();
}

#[tokio::test]
async fn session_policies_narrow_and_session_tags_are_the_principals() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", ALLOW_ASSUME).await;
    role(&cloud, &trusts(ACCOUNT, "")).await;
    let policy = r#"{"Statement":{"Effect":"Allow","Action":["ec2:DescribeVpcs","iam:*"],"Resource":"*"}}"#;
    let narrowed = signer(&cloud.call(&jo, "sts", "AssumeRole", &assume(&[("Policy", policy)])).await.ok());
    cloud.call(&narrowed, "ec2", "DescribeVpcs", &[]).await.ok();
    let reply = cloud.call(&narrowed, "ec2", "DescribeInstances", &[]).await;
    assert!(reply.body.contains("because no session policy allows the ec2:DescribeInstances action"), "{}", reply.body);
    assert_eq!(cloud.call(&narrowed, "iam", "ListUsers", &[]).await.code, "AccessDenied", "the role may not");
    let broken = assume(&[("Policy", "{")]);
    assert_eq!(cloud.call(&jo, "sts", "AssumeRole", &broken).await.code, "MalformedPolicyDocument");

    let by_tag = r#"{"Statement":{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"web"}}}}"#;
    let parameters = [("RoleName", "reader"), ("PolicyName", "tag"), ("PolicyDocument", by_tag)];
    cloud.call(&cloud.root, "iam", "PutRolePolicy", &parameters).await.ok();
    let tag = assume(&[("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "web")]);
    let tagged = signer(&cloud.call(&jo, "sts", "AssumeRole", &tag).await.ok());
    cloud.call(&tagged, "iam", "ListUsers", &[]).await.ok();
    let plain = signer(&cloud.call(&jo, "sts", "AssumeRole", &assume(&[])).await.ok());
    assert_eq!(cloud.call(&plain, "iam", "ListUsers", &[]).await.code, "AccessDenied");
}

#[tokio::test]
async fn a_users_session_does_what_the_user_may_but_for_iam() {
    let cloud = Cloud::new();
    let all = r#"{"Effect":"Allow","Action":["ec2:*","iam:*"],"Resource":"*"}"#;
    let jo = cloud.user("jo", all).await;
    let session = signer(&cloud.call(&jo, "sts", "GetSessionToken", &[]).await.ok());
    cloud.call(&session, "ec2", "DescribeVpcs", &[]).await.ok();
    let identity = cloud.call(&session, "sts", "GetCallerIdentity", &[]).await.ok();
    assert_eq!(identity.field("Arn"), format!("arn:aws:iam::{ACCOUNT}:user/jo"));
    assert_eq!(cloud.call(&session, "iam", "ListUsers", &[]).await.code, "InvalidClientTokenId");
    let again = cloud.call(&session, "sts", "GetSessionToken", &[]).await;
    assert_eq!((again.status, again.code.as_str()), (403, "AccessDenied"));
    let without_token = Signer { token: None, ..session.clone() };
    assert_eq!(cloud.call(&without_token, "ec2", "DescribeVpcs", &[]).await.code, "AuthFailure");
    let short = [("DurationSeconds", "10")];
    assert_eq!(cloud.call(&jo, "sts", "GetSessionToken", &short).await.code, "ValidationError");
    let root = cloud.call(&cloud.root, "sts", "GetSessionToken", &[("DurationSeconds", "129600")]).await.ok();
    let expires = root.field("Expiration").parse::<jiff::Timestamp>().unwrap().as_second();
    assert!(expires - jiff::Timestamp::now().as_second() <= 3600);
    cloud.call(&signer(&root), "ec2", "DescribeVpcs", &[]).await.ok();
}

#[tokio::test]
async fn a_federated_user_may_what_user_and_policy_both_allow() {
    let cloud = Cloud::new();
    let allowed = r#"{"Effect":"Allow","Action":["ec2:Describe*","sts:GetFederationToken"],"Resource":"*"}"#;
    let jo = cloud.user("jo", allowed).await;
    let policy = r#"{"Statement":{"Effect":"Allow","Action":["ec2:DescribeVpcs","ec2:CreateVolume"],"Resource":"*"}}"#;
    let parameters = [("Name", "guest"), ("Policy", policy)];
    let reply = cloud.call(&jo, "sts", "GetFederationToken", &parameters).await.ok();
    assert_eq!(reply.field("Arn"), format!("arn:aws:sts::{ACCOUNT}:federated-user/guest"));
    let guest = signer(&reply);
    cloud.call(&guest, "ec2", "DescribeVpcs", &[]).await.ok();
    assert_eq!(cloud.call(&guest, "ec2", "DescribeInstances", &[]).await.code, "UnauthorizedOperation");
    let volume = [("AvailabilityZone", cloud.world.site.home.name.as_str()), ("Size", "1")];
    assert_eq!(cloud.call(&guest, "ec2", "CreateVolume", &volume).await.code, "UnauthorizedOperation");
    // The root vouches for somebody.
    let guest = signer(&cloud.call(&cloud.root, "sts", "GetFederationToken", &parameters).await.ok());
    cloud.call(&guest, "ec2", "CreateVolume", &volume).await.ok();
    assert_eq!(cloud.call(&guest, "ec2", "DescribeInstances", &[]).await.code, "UnauthorizedOperation");
    let bare = signer(&cloud.call(&jo, "sts", "GetFederationToken", &[("Name", "bare")]).await.ok());
    assert_eq!(cloud.call(&bare, "ec2", "DescribeVpcs", &[]).await.code, "UnauthorizedOperation");
}

#[tokio::test]
async fn a_deleted_users_sessions_end_with_the_user() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", "").await;
    let session = signer(&cloud.call(&jo, "sts", "GetSessionToken", &[]).await.ok());
    let user = ("UserName", "jo");
    cloud.call(&cloud.root, "iam", "DeleteAccessKey", &[user, ("AccessKeyId", &jo.access_key)]).await.ok();
    cloud.call(&session, "sts", "GetCallerIdentity", &[]).await.ok();
    cloud.call(&cloud.root, "iam", "DeleteUser", &[user]).await.ok();
    assert_eq!(cloud.call(&session, "sts", "GetCallerIdentity", &[]).await.code, "InvalidClientTokenId");
}
