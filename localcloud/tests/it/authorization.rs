//! Policies, enforced at the front: requests are signed and answered as a client's are.

use axum::http::Method;
use http_body_util::BodyExt as _;
use localcloud::{
    behaviour::Behaviour,
    model::{identity::Credential, time::Timestamp},
    store::StoreError,
};
use tower::ServiceExt as _;

use super::{
    fake_world::FakeWorld,
    signed::{Plain, Signer, signed, signed_at},
};

const ACCOUNT: &str = "000000000001";
const TRUST_EC2: &str =
    r#"{"Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;

pub(crate) struct Cloud {
    pub(crate) world: FakeWorld,
    pub(crate) root: Signer,
}

/// What came back: the status, the error's code if there is one, and all of it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> String {
        let (_, rest) =
            self.body.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {}", self.body));
        rest.split_once('<').unwrap().0.replace("&quot;", "\"").replace("&amp;", "&").replace("&apos;", "'")
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.body);
        self
    }
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let world = FakeWorld::new();
        let root = Signer::new("AKIAROOT", "root+secret", None);
        let credential =
            Credential::of_root(ACCOUNT, root.access_key.clone(), root.secret_key.clone(), Timestamp::now());
        put(&world, credential);
        Self { world, root }
    }

    pub(crate) async fn send(&self, request: axum::http::Request<axum::body::Body>) -> Reply {
        self.send_like(Behaviour::Everything, request).await
    }

    pub(crate) async fn send_like(
        &self,
        behaviour: Behaviour,
        request: axum::http::Request<axum::body::Body>,
    ) -> Reply {
        let response = self.world.front().like(behaviour).router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        let code = body.split_once("<Code>").map_or("", |(_, rest)| rest.split('<').next().unwrap()).to_owned();
        Reply { status, code, body }
    }

    pub(crate) async fn call(
        &self,
        signer: &Signer,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Reply {
        let body = form(action, parameters);
        self.send(signed(&plain(service, &body), signer)).await
    }

    /// A new user with a policy of these statements, and the user's key.
    pub(crate) async fn user(&self, name: &str, statements: &str) -> Signer {
        let root = &self.root;
        self.call(root, "iam", "CreateUser", &[("UserName", name)]).await.ok();
        let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        if !statements.is_empty() {
            let policy = [("UserName", name), ("PolicyName", "p"), ("PolicyDocument", document.as_str())];
            self.call(root, "iam", "PutUserPolicy", &policy).await.ok();
        }
        let key = self.call(root, "iam", "CreateAccessKey", &[("UserName", name)]).await.ok();
        Signer::new(&key.field("AccessKeyId"), &key.field("SecretAccessKey"), None)
    }
}

fn put(world: &FakeWorld, credential: Credential) {
    let put = world.store.transact(|tx| {
        tx.put(credential);
        Ok::<_, StoreError>(())
    });
    put.unwrap();
}

pub(crate) fn plain<'a>(service: &'a str, body: &'a str) -> Plain<'a> {
    Plain {
        method: Method::POST,
        path_and_query: "/",
        service,
        headers: &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
        body: body.as_bytes(),
    }
}

pub(crate) fn form(action: &str, parameters: &[(&str, &str)]) -> String {
    use localcloud::wire::sigv4::canonical::encode;
    let pairs = parameters.iter().map(|(name, value)| format!("&{}={}", encode(name), encode(value)));
    format!("Action={action}&Version=2010-05-08{}", pairs.collect::<String>())
}

#[tokio::test]
async fn whom_nothing_is_allowed_is_refused_by_each_service_in_its_own_words() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", "").await;
    let user = format!("arn:aws:iam::{ACCOUNT}:user/jo");
    let reply = cloud.call(&jo, "ec2", "DescribeInstances", &[]).await;
    assert_eq!((reply.status, reply.code.as_str()), (403, "UnauthorizedOperation"));
    assert_eq!(
        reply.field("Message"),
        format!(
            "You are not authorized to perform this operation. User: {user} is not authorized to perform: ec2:DescribeInstances because no identity-based policy allows the ec2:DescribeInstances action"
        )
    );
    for (service, action, parameters, resource) in [
        ("iam", "ListUsers", &[][..], format!(" on resource: arn:aws:iam::{ACCOUNT}:user/")),
        ("iam", "GetUser", &[], format!(" on resource: {user}")),
        ("iam", "CreateUser", &[("UserName", "x")], format!(" on resource: arn:aws:iam::{ACCOUNT}:user/x")),
        ("elasticloadbalancing", "DescribeLoadBalancers", &[], String::new()),
        (
            "elasticloadbalancing",
            "DeleteLoadBalancer",
            &[("LoadBalancerName", "lb")],
            format!(" on resource: arn:aws:elasticloadbalancing:localcloud:{ACCOUNT}:loadbalancer/lb"),
        ),
        ("autoscaling", "DescribeAutoScalingGroups", &[], String::new()),
        (
            "autoscaling",
            "SetDesiredCapacity",
            &[("AutoScalingGroupName", "g"), ("DesiredCapacity", "1")],
            format!(" on resource: arn:aws:autoscaling:localcloud:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/g"),
        ),
        (
            "monitoring",
            "DeleteAlarms",
            &[("AlarmNames.member.1", "a")],
            format!(" on resource: arn:aws:cloudwatch:localcloud:{ACCOUNT}:alarm:a"),
        ),
        (
            "sts",
            "GetFederationToken",
            &[("Name", "guest")],
            format!(" on resource: arn:aws:sts::{ACCOUNT}:federated-user/guest"),
        ),
    ] {
        let reply = cloud.call(&jo, service, action, parameters).await;
        assert_eq!((reply.status, reply.code.as_str()), (403, "AccessDenied"), "{service} {action}: {}", reply.body);
        let prefix = if service == "monitoring" { "cloudwatch" } else { service };
        let words = format!(
            "User: {user} is not authorized to perform: {prefix}:{action}{resource} because no identity-based policy allows the {prefix}:{action} action"
        );
        assert_eq!(reply.field("Message"), words);
    }
    cloud.call(&jo, "sts", "GetCallerIdentity", &[]).await.ok();
    cloud.call(&cloud.root, "ec2", "DescribeInstances", &[]).await.ok();
}

#[tokio::test]
async fn a_change_of_policies_counts_from_the_next_request_on() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", r#"{"Effect":"Allow","Action":"ec2:Describe*","Resource":"*"}"#).await;
    cloud.call(&jo, "ec2", "DescribeInstances", &[]).await.ok();
    let deny = r#"{"Statement":{"Effect":"Deny","Action":"ec2:*","Resource":"*"}}"#;
    let root = &cloud.root;
    cloud.call(root, "iam", "CreateGroup", &[("GroupName", "g")]).await.ok();
    let policy = [("GroupName", "g"), ("PolicyName", "deny"), ("PolicyDocument", deny)];
    cloud.call(root, "iam", "PutGroupPolicy", &policy).await.ok();
    cloud.call(&jo, "ec2", "DescribeInstances", &[]).await.ok();
    cloud.call(root, "iam", "AddUserToGroup", &[("GroupName", "g"), ("UserName", "jo")]).await.ok();
    let reply = cloud.call(&jo, "ec2", "DescribeInstances", &[]).await;
    assert_eq!(reply.code, "UnauthorizedOperation");
    assert!(reply.field("Message").ends_with("with an explicit deny in an identity-based policy"), "{}", reply.body);
    cloud.call(root, "iam", "RemoveUserFromGroup", &[("GroupName", "g"), ("UserName", "jo")]).await.ok();
    cloud.call(&jo, "ec2", "DescribeInstances", &[]).await.ok();
    let read_only = [("UserName", "jo"), ("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess")];
    assert_eq!(cloud.call(&jo, "iam", "ListUsers", &[]).await.code, "AccessDenied");
    cloud.call(root, "iam", "AttachUserPolicy", &read_only).await.ok();
    cloud.call(&jo, "iam", "ListUsers", &[]).await.ok();
    assert_eq!(cloud.call(&jo, "iam", "CreateUser", &[("UserName", "x")]).await.code, "AccessDenied");
}

#[tokio::test]
async fn a_dry_run_tells_whether_it_would_be_allowed() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", r#"{"Effect":"Allow","Action":"ec2:CreateVolume","Resource":"*"}"#).await;
    let parameters = [("AvailabilityZone", cloud.world.site.home.name.as_str()), ("Size", "1"), ("DryRun", "true")];
    let reply = cloud.call(&jo, "ec2", "CreateVolume", &parameters).await;
    assert_eq!((reply.status, reply.code.as_str()), (412, "DryRunOperation"));
    let reply = cloud.call(&jo, "ec2", "CreateSecurityGroup", &[("GroupName", "g"), ("DryRun", "true")]).await;
    assert_eq!(reply.code, "UnauthorizedOperation");
}

#[tokio::test]
async fn all_resources_of_a_request_must_be_allowed_and_tags_tell_them_apart() {
    let cloud = Cloud::new();
    let volume = |tag: &'static str| {
        let cloud = &cloud;
        async move {
            let parameters = [
                ("AvailabilityZone", cloud.world.site.home.name.as_str()),
                ("Size", "1"),
                ("TagSpecification.1.ResourceType", "volume"),
                ("TagSpecification.1.Tag.1.Key", "team"),
                ("TagSpecification.1.Tag.1.Value", tag),
            ];
            cloud.call(&cloud.root, "ec2", "CreateVolume", &parameters).await.ok().field("volumeId")
        }
    };
    let (ours, theirs) = (volume("web").await, volume("other").await);
    let jo = cloud
        .user(
            "jo",
            r#"{"Effect":"Allow","Action":["ec2:DeleteVolume","ec2:CreateTags"],"Resource":"arn:aws:ec2:*:*:volume/*","Condition":{"StringEquals":{"ec2:ResourceTag/team":"web"}}}"#,
        )
        .await;
    let reply = cloud.call(&jo, "ec2", "DeleteVolume", &[("VolumeId", &theirs)]).await;
    assert_eq!(reply.code, "UnauthorizedOperation");
    assert!(reply.body.contains(&format!("on resource: arn:aws:ec2:localcloud:{ACCOUNT}:volume/{theirs} ")));
    let tag = [("Tag.1.Key", "a"), ("Tag.1.Value", "b"), ("ResourceId.1", ours.as_str())];
    cloud.call(&jo, "ec2", "CreateTags", &tag).await.ok();
    let both = [tag.as_slice(), &[("ResourceId.2", theirs.as_str())]].concat();
    assert_eq!(cloud.call(&jo, "ec2", "CreateTags", &both).await.code, "UnauthorizedOperation");
    // Allowed: what refuses it now is that nothing makes volumes in this world.
    assert_eq!(cloud.call(&jo, "ec2", "DeleteVolume", &[("VolumeId", &ours)]).await.code, "IncorrectState");
}

#[tokio::test]
async fn who_may_launch_small_tagged_instances_may_launch_no_others() {
    let cloud = Cloud::new();
    let jo = cloud
        .user(
            "jo",
            r#"{"Effect":"Allow","Action":"ec2:RunInstances","NotResource":"arn:aws:ec2:*:*:instance/*"},
               {"Effect":"Allow","Action":"ec2:RunInstances","Resource":"arn:aws:ec2:*:*:instance/*","Condition":{"StringEquals":{"ec2:InstanceType":"t3.micro","aws:RequestTag/team":"web"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}},
               {"Effect":"Allow","Action":"ec2:CreateTags","Resource":"*","Condition":{"StringEquals":{"ec2:CreateAction":"RunInstances"}}}"#,
        )
        .await;
    let image = cloud.world.image_id.clone();
    let launch = |instance_type: &'static str, tags: &'static [(&'static str, &'static str)]| {
        let mut parameters =
            vec![("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1"), ("InstanceType", instance_type)];
        if !tags.is_empty() {
            parameters.push(("TagSpecification.1.ResourceType", "instance"));
        }
        parameters.extend_from_slice(tags);
        let (cloud, jo) = (&cloud, &jo);
        async move { cloud.call(jo, "ec2", "RunInstances", &parameters).await }
    };
    const TEAM: &[(&str, &str)] =
        &[("TagSpecification.1.Tag.1.Key", "team"), ("TagSpecification.1.Tag.1.Value", "web")];
    launch("t3.micro", TEAM).await.ok();
    assert_eq!(launch("t3.large", TEAM).await.code, "UnauthorizedOperation");
    assert_eq!(launch("t3.micro", &[]).await.code, "UnauthorizedOperation");
    const MORE: &[(&str, &str)] = &[
        ("TagSpecification.1.Tag.1.Key", "team"),
        ("TagSpecification.1.Tag.1.Value", "web"),
        ("TagSpecification.1.Tag.2.Key", "x"),
    ];
    assert_eq!(launch("t3.micro", MORE).await.code, "UnauthorizedOperation");
}

#[tokio::test]
async fn what_a_launch_uses_unnamed_is_asked_for_too() {
    let cloud = Cloud::new();
    let jo = cloud
        .user(
            "jo",
            r#"{"Effect":"Allow","Action":"ec2:RunInstances","NotResource":"arn:aws:ec2:*:*:security-group/*"}"#,
        )
        .await;
    let image = cloud.world.image_id.as_str();
    let reply =
        cloud.call(&jo, "ec2", "RunInstances", &[("ImageId", image), ("MinCount", "1"), ("MaxCount", "1")]).await;
    assert_eq!(reply.code, "UnauthorizedOperation");
    assert!(reply.body.contains(":security-group/sg-"), "{}", reply.body);
}

#[tokio::test]
async fn a_role_is_passed_to_instances_only_by_who_may_pass_it() {
    let cloud = Cloud::new();
    let root = &cloud.root;
    for name in ["web", "admin"] {
        let role = ("RoleName", name);
        cloud.call(root, "iam", "CreateRole", &[role, ("AssumeRolePolicyDocument", TRUST_EC2)]).await.ok();
        cloud.call(root, "iam", "CreateInstanceProfile", &[("InstanceProfileName", name)]).await.ok();
        cloud.call(root, "iam", "AddRoleToInstanceProfile", &[("InstanceProfileName", name), role]).await.ok();
    }
    let jo = cloud
        .user(
            "jo",
            r#"{"Effect":"Allow","Action":["ec2:*","autoscaling:*","iam:AddRoleToInstanceProfile"],"Resource":"*"},
               {"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::*:role/web","Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}"#,
        )
        .await;
    let image = cloud.world.image_id.as_str();
    let run = [("ImageId", image), ("MinCount", "1"), ("MaxCount", "1")];
    let with = |name: &'static str| [run.as_slice(), &[("IamInstanceProfile.Name", name)]].concat();
    cloud.call(&jo, "ec2", "RunInstances", &with("web")).await.ok();
    let reply = cloud.call(&jo, "ec2", "RunInstances", &with("admin")).await;
    assert_eq!(reply.code, "UnauthorizedOperation");
    assert!(
        reply.body.contains(&format!("iam:PassRole on resource: arn:aws:iam::{ACCOUNT}:role/admin because")),
        "{}",
        reply.body
    );
    // By a template that somebody else has made.
    let template = [
        ("LaunchTemplateName", "template"),
        ("LaunchTemplateData.ImageId", image),
        ("LaunchTemplateData.IamInstanceProfile.Name", "admin"),
    ];
    cloud.call(root, "ec2", "CreateLaunchTemplate", &template).await.ok();
    let by_template = [("LaunchTemplate.LaunchTemplateName", "template"), ("MinCount", "1"), ("MaxCount", "1")];
    let reply = cloud.call(&jo, "ec2", "RunInstances", &by_template).await;
    assert!(reply.body.contains("iam:PassRole"), "{}", reply.body);
    let configuration = |profile: &'static str| {
        [
            ("LaunchConfigurationName", profile),
            ("ImageId", image),
            ("InstanceType", "t3.micro"),
            ("IamInstanceProfile", profile),
        ]
    };
    cloud.call(&jo, "autoscaling", "CreateLaunchConfiguration", &configuration("web")).await.ok();
    let reply = cloud.call(&jo, "autoscaling", "CreateLaunchConfiguration", &configuration("admin")).await;
    assert_eq!(reply.code, "AccessDenied");
    cloud.call(root, "iam", "CreateInstanceProfile", &[("InstanceProfileName", "new")]).await.ok();
    let add = [("InstanceProfileName", "new"), ("RoleName", "admin")];
    assert_eq!(cloud.call(&jo, "iam", "AddRoleToInstanceProfile", &add).await.code, "AccessDenied");
}

#[tokio::test]
async fn users_may_mind_their_own_keys_by_a_policy_with_a_variable() {
    let cloud = Cloud::new();
    let jo = cloud
        .user("jo", r#"{"Effect":"Allow","Action":"iam:*AccessKey*","Resource":"arn:aws:iam::*:user/${aws:username}"}"#)
        .await;
    cloud.user("al", "").await;
    let keys = cloud.call(&jo, "iam", "ListAccessKeys", &[]).await.ok();
    assert_eq!(keys.field("AccessKeyId"), jo.access_key);
    cloud.call(&jo, "iam", "CreateAccessKey", &[("UserName", "jo")]).await.ok();
    assert_eq!(cloud.call(&jo, "iam", "ListAccessKeys", &[("UserName", "al")]).await.code, "AccessDenied");
}

#[tokio::test]
async fn conditions_are_about_the_address_and_the_time_of_a_request() {
    let cloud = Cloud::new();
    let jo = cloud
        .user(
            "jo",
            r#"{"Effect":"Allow","Action":"ec2:DescribeVpcs","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.77.0.0/16"}}},
               {"Effect":"Allow","Action":"ec2:DescribeSubnets","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2020-01-01"}}},
               {"Effect":"Allow","Action":"ec2:DescribeVolumes","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01"},"Bool":{"aws:SecureTransport":"false"}}}"#,
        )
        .await;
    let from = |source: &'static str| {
        let body = form("DescribeVpcs", &[]);
        let mut request = signed(&plain("ec2", &body), &jo);
        request.headers_mut().insert("x-localcloud-source", source.parse().unwrap());
        request
    };
    cloud.send(from("10.77.3.4")).await.ok();
    assert_eq!(cloud.send(from("127.0.0.1")).await.code, "UnauthorizedOperation");
    assert_eq!(cloud.call(&jo, "ec2", "DescribeSubnets", &[]).await.code, "UnauthorizedOperation");
    cloud.call(&jo, "ec2", "DescribeVolumes", &[]).await.ok();
}

#[tokio::test]
async fn a_key_that_is_switched_off_is_unknown_and_its_last_use_is_told() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", r#"{"Effect":"Allow","Action":"ec2:*","Resource":"*"}"#).await;
    cloud.call(&jo, "ec2", "DescribeVpcs", &[]).await.ok();
    let key = ("AccessKeyId", jo.access_key.as_str());
    let used = cloud.call(&cloud.root, "iam", "GetAccessKeyLastUsed", &[key]).await.ok();
    assert_eq!((used.field("ServiceName"), used.field("Region")), ("ec2".to_owned(), "localcloud".to_owned()));
    let status = |status: &'static str| [("UserName", "jo"), key, ("Status", status)];
    cloud.call(&cloud.root, "iam", "UpdateAccessKey", &status("Inactive")).await.ok();
    let reply = cloud.call(&jo, "ec2", "DescribeVpcs", &[]).await;
    assert_eq!((reply.status, reply.code.as_str()), (401, "AuthFailure"));
    let reply = cloud.call(&jo, "sts", "GetCallerIdentity", &[]).await;
    assert_eq!((reply.status, reply.code.as_str()), (403, "InvalidClientTokenId"));
    cloud.call(&cloud.root, "iam", "UpdateAccessKey", &status("Active")).await.ok();
    cloud.call(&jo, "ec2", "DescribeVpcs", &[]).await.ok();
}

#[tokio::test]
async fn what_is_wrong_with_a_signature_is_said_in_each_services_words() {
    let cloud = Cloud::new();
    let root = &cloud.root;
    let expired = Credential {
        access_key: "ASIAEXPIRED".to_owned(),
        session_token: Some("token".to_owned()),
        expires: Some(Timestamp::now().plus_secs(-1)),
        ..Credential::of_root(ACCOUNT, String::new(), "secret".to_owned(), Timestamp::now().plus_secs(-3600))
    };
    put(&cloud.world, expired);
    let now = jiff::Timestamp::now();
    let minutes = |minutes: i64| jiff::Timestamp::from_second(now.as_second() + minutes * 60).unwrap();
    let stranger = Signer::new("AKIANOBODY", "x", None);
    let wrong = Signer { secret_key: "wrong".to_owned(), ..root.clone() };
    let late = Signer::new("ASIAEXPIRED", "secret", Some("token"));
    let tokenless = Signer::new("ASIAEXPIRED", "secret", None);
    for (signer, at, ec2, query) in [
        (root, now, (200, ""), (200, "")),
        (root, minutes(14), (200, ""), (200, "")),
        (root, minutes(-14), (200, ""), (200, "")),
        (root, minutes(16), (400, "RequestExpired"), (403, "SignatureDoesNotMatch")),
        (root, minutes(-16), (400, "RequestExpired"), (403, "SignatureDoesNotMatch")),
        (&stranger, now, (401, "AuthFailure"), (403, "InvalidClientTokenId")),
        (&wrong, now, (401, "AuthFailure"), (403, "SignatureDoesNotMatch")),
        (&late, now, (400, "RequestExpired"), (403, "ExpiredToken")),
        (&tokenless, now, (400, "RequestExpired"), (403, "ExpiredToken")),
    ] {
        for (service, action, expected) in [("ec2", "DescribeVpcs", ec2), ("iam", "ListUsers", query)] {
            let body = form(action, &[]);
            let reply = cloud.send(signed_at(&plain(service, &body), signer, at)).await;
            assert_eq!((reply.status, reply.code.as_str()), expected, "{service} {signer:?} {at} {}", reply.body);
        }
    }
    for (path, expected) in
        [("/services/compute", (401, "AuthFailure")), ("/services/Euare", (403, "MissingAuthenticationToken"))]
    {
        let request =
            axum::http::Request::post(format!("{path}?Action=DescribeVpcs")).body(axum::body::Body::empty()).unwrap();
        let reply = cloud.send(request).await;
        assert_eq!((reply.status, reply.code.as_str()), expected);
    }
    let body = form("DescribeVpcs", &[]);
    let mut changed = signed(&plain("ec2", &body), root);
    *changed.body_mut() = axum::body::Body::from(form("DescribeSubnets", &[]));
    assert_eq!(cloud.send(changed).await.code, "AuthFailure");
}
