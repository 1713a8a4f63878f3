//! Users, their keys, groups, and policies: what is kept of them, and what is refused.

use super::{authorization::Cloud, ec2::clients::python, fake_world::FakeWorld};

const IAM: &str = "iam";
const JO: (&str, &str) = ("UserName", "jo");
const TEAM: (&str, &str) = ("GroupName", "team");
const READ: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}"#;

fn world() -> FakeWorld {
    let world = FakeWorld::new();
    world.call(IAM, "CreateUser", &[JO, ("Path", "/staff/")]).unwrap();
    world
}

#[test]
fn a_user_has_a_path_an_arn_and_a_name_of_its_own() {
    let world = world();
    let user = world.call(IAM, "GetUser", &[JO]).unwrap();
    assert_eq!(user.text("User.Arn"), "arn:aws:iam::000000000001:user/staff/jo");
    assert!(user.text("User.UserId").starts_with("AIDA"));
    assert_eq!(world.refused(IAM, "CreateUser", &[("UserName", "JO")]), "EntityAlreadyExists");
    assert_eq!(world.refused(IAM, "CreateUser", &[("UserName", "j o")]), "ValidationError");
    assert_eq!(world.refused(IAM, "GetUser", &[("UserName", "nobody")]), "NoSuchEntity");
    assert_eq!(world.call(IAM, "ListUsers", &[("PathPrefix", "/staff/")]).unwrap().each("Users", "UserName"), ["jo"]);
    assert_eq!(world.call(IAM, "ListUsers", &[("PathPrefix", "/other/")]).unwrap().count("Users"), 0);
    let oneself = world.call(IAM, "GetUser", &[]).unwrap();
    assert_eq!(oneself.text("User.Arn"), "arn:aws:iam::000000000001:root");
}

#[test]
fn a_renamed_user_keeps_keys_groups_and_policies() {
    let world = world();
    let key = world.call(IAM, "CreateAccessKey", &[JO]).unwrap().text("AccessKey.AccessKeyId");
    world.call(IAM, "CreateGroup", &[TEAM]).unwrap();
    world.call(IAM, "AddUserToGroup", &[TEAM, JO]).unwrap();
    world.call(IAM, "PutUserPolicy", &[JO, ("PolicyName", "read"), ("PolicyDocument", READ)]).unwrap();
    world.call(IAM, "UpdateUser", &[JO, ("NewUserName", "joe"), ("NewPath", "/")]).unwrap();
    let joe = ("UserName", "joe");
    assert_eq!(world.refused(IAM, "GetUser", &[JO]), "NoSuchEntity");
    let keys = world.call(IAM, "ListAccessKeys", &[joe]).unwrap();
    assert_eq!(keys.text("AccessKeyMetadata.0.AccessKeyId"), key);
    assert_eq!(world.call(IAM, "ListGroupsForUser", &[joe]).unwrap().each("Groups", "GroupName"), ["team"]);
    assert_eq!(world.call(IAM, "ListUserPolicies", &[joe]).unwrap().text("PolicyNames.0"), "read");
    let arn = world.read(|tx| tx.get::<localcloud::model::identity::Credential>(&key).unwrap().principal_arn.clone());
    assert_eq!(arn, "arn:aws:iam::000000000001:user/joe");
    world.call(IAM, "UpdateGroup", &[TEAM, ("NewGroupName", "crew")]).unwrap();
    assert_eq!(world.call(IAM, "ListGroupsForUser", &[joe]).unwrap().each("Groups", "GroupName"), ["crew"]);
    assert_eq!(world.call(IAM, "GetGroup", &[("GroupName", "crew")]).unwrap().each("Users", "UserName"), ["joe"]);
}

#[test]
fn a_user_is_deleted_only_after_all_that_is_the_users() {
    let world = world();
    let key = world.call(IAM, "CreateAccessKey", &[JO]).unwrap().text("AccessKey.AccessKeyId");
    world.call(IAM, "CreateGroup", &[TEAM]).unwrap();
    world.call(IAM, "AddUserToGroup", &[TEAM, JO]).unwrap();
    let read = ("PolicyName", "read");
    let managed = ("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess");
    world.call(IAM, "PutUserPolicy", &[JO, read, ("PolicyDocument", READ)]).unwrap();
    world.call(IAM, "AttachUserPolicy", &[JO, managed]).unwrap();
    for (action, parameters) in [
        ("DeleteAccessKey", vec![JO, ("AccessKeyId", key.as_str())]),
        ("DeleteUserPolicy", vec![JO, read]),
        ("DetachUserPolicy", vec![JO, managed]),
        ("RemoveUserFromGroup", vec![JO, TEAM]),
    ] {
        assert_eq!(world.refused(IAM, "DeleteUser", &[JO]), "DeleteConflict", "before {action}");
        if action == "RemoveUserFromGroup" {
            assert_eq!(world.refused(IAM, "DeleteGroup", &[TEAM]), "DeleteConflict");
        }
        world.call(IAM, action, &parameters).unwrap();
        assert_eq!(world.refused(IAM, action, &parameters), "NoSuchEntity", "{action} twice");
    }
    world.call(IAM, "DeleteUser", &[JO]).unwrap();
    world.call(IAM, "DeleteGroup", &[TEAM]).unwrap();
    assert_eq!(world.refused(IAM, "DeleteUser", &[JO]), "NoSuchEntity");
}

#[test]
fn a_user_has_two_keys_that_are_on_or_off() {
    let world = world();
    let first = world.call(IAM, "CreateAccessKey", &[JO]).unwrap();
    assert_eq!(first.text("AccessKey.Status"), "Active");
    assert_eq!(first.text("AccessKey.SecretAccessKey").len(), 40);
    world.call(IAM, "CreateAccessKey", &[JO]).unwrap();
    assert_eq!(world.refused(IAM, "CreateAccessKey", &[JO]), "LimitExceeded");
    let id = first.text("AccessKey.AccessKeyId");
    let key = ("AccessKeyId", id.as_str());
    world.call(IAM, "UpdateAccessKey", &[JO, key, ("Status", "Inactive")]).unwrap();
    let keys = world.call(IAM, "ListAccessKeys", &[JO]).unwrap();
    let mut states = keys.each("AccessKeyMetadata", "Status");
    states.sort();
    assert_eq!(states, ["Active", "Inactive"]);
    assert_eq!(world.refused(IAM, "UpdateAccessKey", &[JO, key, ("Status", "Off")]), "ValidationError");
    let used = world.call(IAM, "GetAccessKeyLastUsed", &[key]).unwrap();
    assert_eq!(used.text("UserName"), "jo");
    assert_eq!(used.text("AccessKeyLastUsed.ServiceName"), "N/A");
    assert_eq!(used.get("AccessKeyLastUsed.LastUsedDate"), None);
}

#[test]
fn managed_policies_have_versions_and_know_whom_they_are_attached_to() {
    let world = world();
    let made = world.call(IAM, "CreatePolicy", &[("PolicyName", "p"), ("PolicyDocument", READ)]).unwrap();
    let arn = made.text("Policy.Arn");
    assert_eq!(arn, "arn:aws:iam::000000000001:policy/p");
    assert_eq!(made.text("Policy.DefaultVersionId"), "v1");
    let policy = ("PolicyArn", arn.as_str());
    world.call(IAM, "AttachUserPolicy", &[JO, policy]).unwrap();
    assert_eq!(world.call(IAM, "GetPolicy", &[policy]).unwrap().text("Policy.AttachmentCount"), "1");
    let entities = world.call(IAM, "ListEntitiesForPolicy", &[policy]).unwrap();
    assert_eq!(entities.each("PolicyUsers", "UserName"), ["jo"]);
    let attached = world.call(IAM, "ListAttachedUserPolicies", &[JO]).unwrap();
    assert_eq!(attached.each("AttachedPolicies", "PolicyName"), ["p"]);
    assert_eq!(world.refused(IAM, "DeletePolicy", &[policy]), "DeleteConflict");
    world.call(IAM, "DetachUserPolicy", &[JO, policy]).unwrap();

    for _ in 0..4 {
        world.call(IAM, "CreatePolicyVersion", &[policy, ("PolicyDocument", READ), ("SetAsDefault", "true")]).unwrap();
    }
    assert_eq!(world.refused(IAM, "CreatePolicyVersion", &[policy, ("PolicyDocument", READ)]), "LimitExceeded");
    let versions = world.call(IAM, "ListPolicyVersions", &[policy]).unwrap();
    assert_eq!(versions.each("Versions", "VersionId"), ["v5", "v4", "v3", "v2", "v1"]);
    assert_eq!(versions.text("Versions.0.IsDefaultVersion"), "true");
    assert_eq!(world.refused(IAM, "DeletePolicyVersion", &[policy, ("VersionId", "v5")]), "DeleteConflict");
    world.call(IAM, "SetDefaultPolicyVersion", &[policy, ("VersionId", "v1")]).unwrap();
    assert_eq!(world.refused(IAM, "DeletePolicy", &[policy]), "DeleteConflict");
    for version in ["v2", "v3", "v4", "v5"] {
        world.call(IAM, "DeletePolicyVersion", &[policy, ("VersionId", version)]).unwrap();
    }
    let version = world.call(IAM, "GetPolicyVersion", &[policy, ("VersionId", "v1")]).unwrap();
    assert!(version.text("PolicyVersion.Document").contains("s3%3AGet%2A"));
    world.call(IAM, "DeletePolicy", &[policy]).unwrap();
    assert_eq!(world.refused(IAM, "GetPolicy", &[policy]), "NoSuchEntity");
    let local = world.call(IAM, "ListPolicies", &[("Scope", "Local")]).unwrap();
    assert_eq!(local.count("Policies"), 0);
    let names = world.call(IAM, "ListPolicies", &[("Scope", "AWS")]).unwrap().each("Policies", "PolicyName");
    assert!(names.contains(&"AdministratorAccess".to_owned()) && names.contains(&"ReadOnlyAccess".to_owned()));
}

#[test]
fn documents_are_refused_with_a_reason_and_within_their_size() {
    let world = world();
    let put = |document: &str| {
        world.call(IAM, "PutUserPolicy", &[JO, ("PolicyName", "x"), ("PolicyDocument", document)]).unwrap_err()
    };
    let error = put("{");
    assert_eq!(error.code, "MalformedPolicyDocument");
    assert!(error.message.contains("invalid Json"), "{}", error.message);
    let error = put(r#"{"Statement":{"Effect":"Allow","Action":"s3:*"}}"#);
    assert!(error.message.contains("must contain resources"), "{}", error.message);
    let long = format!(
        r#"{{"Statement":{{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::{}"}}}}"#,
        "x".repeat(2048)
    );
    assert_eq!(put(&long).code, "LimitExceeded");
    let managed = ("PolicyArn", "arn:aws:iam::aws:policy/NoSuchPolicy");
    assert_eq!(world.refused(IAM, "AttachUserPolicy", &[JO, managed]), "NoSuchEntity");
}

#[test]
fn the_account_has_one_alias_and_counts_what_is_in_it() {
    let world = world();
    world.call(IAM, "CreateAccountAlias", &[("AccountAlias", "photos")]).unwrap();
    assert_eq!(world.call(IAM, "ListAccountAliases", &[]).unwrap().text("AccountAliases.0"), "photos");
    assert_eq!(world.refused(IAM, "CreateAccountAlias", &[("AccountAlias", "-x-")]), "ValidationError");
    world.call(IAM, "DeleteAccountAlias", &[("AccountAlias", "photos")]).unwrap();
    assert_eq!(world.refused(IAM, "DeleteAccountAlias", &[("AccountAlias", "photos")]), "NoSuchEntity");
    let summary = format!("{:?}", world.call(IAM, "GetAccountSummary", &[]).unwrap());
    assert!(summary.contains(r#"("key", Text("Users")), ("value", Integer(1))"#), "{summary}");
}

#[test]
fn a_simulation_says_what_policies_would_and_changes_nothing() {
    let world = world();
    world.call(IAM, "CreateGroup", &[TEAM]).unwrap();
    world.call(IAM, "AddUserToGroup", &[TEAM, JO]).unwrap();
    let deny = r#"{"Statement":{"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::secret/*"}}"#;
    world.call(IAM, "PutGroupPolicy", &[TEAM, ("PolicyName", "deny"), ("PolicyDocument", deny)]).unwrap();
    world.call(IAM, "PutUserPolicy", &[JO, ("PolicyName", "read"), ("PolicyDocument", READ)]).unwrap();
    let asked = [
        ("PolicySourceArn", "arn:aws:iam::000000000001:user/staff/jo"),
        ("ActionNames.member.1", "s3:GetObject"),
        ("ActionNames.member.2", "s3:PutObject"),
        ("ResourceArns.member.1", "arn:aws:s3:::open/a"),
        ("ResourceArns.member.2", "arn:aws:s3:::secret/a"),
    ];
    let simulated = world.call(IAM, "SimulatePrincipalPolicy", &asked).unwrap();
    let decisions = simulated.each("EvaluationResults", "EvalDecision");
    assert_eq!(decisions, ["allowed", "explicitDeny", "implicitDeny", "implicitDeny"]);
    let by_condition = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}}"#;
    let custom = |address: &str| {
        let asked = [
            ("PolicyInputList.member.1", by_condition),
            ("ActionNames.member.1", "ec2:RunInstances"),
            ("ContextEntries.member.1.ContextKeyName", "aws:SourceIp"),
            ("ContextEntries.member.1.ContextKeyType", "ip"),
            ("ContextEntries.member.1.ContextKeyValues.member.1", address),
        ];
        world.call(IAM, "SimulateCustomPolicy", &asked).unwrap().text("EvaluationResults.0.EvalDecision")
    };
    assert_eq!((custom("192.0.2.7"), custom("10.0.0.1")), ("allowed".to_owned(), "implicitDeny".to_owned()));
    let nobody = [("PolicySourceArn", "arn:aws:iam::000000000001:user/no"), ("ActionNames.member.1", "s3:GetObject")];
    assert_eq!(world.refused(IAM, "SimulatePrincipalPolicy", &nobody), "NoSuchEntity");
}

#[test]
fn all_of_the_account_is_told_in_pages() {
    let world = world();
    world.call(IAM, "CreateGroup", &[TEAM]).unwrap();
    world.call(IAM, "AddUserToGroup", &[TEAM, JO]).unwrap();
    world.call(IAM, "PutUserPolicy", &[JO, ("PolicyName", "read"), ("PolicyDocument", READ)]).unwrap();
    world.call(IAM, "CreatePolicy", &[("PolicyName", "p"), ("PolicyDocument", READ)]).unwrap();
    let managed = ("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess");
    world.call(IAM, "AttachGroupPolicy", &[TEAM, managed]).unwrap();
    let all = world.call(IAM, "GetAccountAuthorizationDetails", &[]).unwrap();
    assert_eq!(all.text("UserDetailList.0.UserPolicyList.0.PolicyName"), "read");
    assert_eq!(all.text("UserDetailList.0.GroupList.0"), "team");
    assert_eq!(all.text("GroupDetailList.0.AttachedManagedPolicies.0.PolicyName"), "ReadOnlyAccess");
    assert_eq!(all.each("Policies", "PolicyName"), ["p", "ReadOnlyAccess"]);
    let mut marker = None;
    let mut seen = 0;
    loop {
        let mut parameters = vec![("MaxItems", "1")];
        parameters.extend(marker.as_deref().map(|marker: &str| ("Marker", marker)));
        let page = world.call(IAM, "GetAccountAuthorizationDetails", &parameters).unwrap();
        seen += ["UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"]
            .map(|list| page.count(list))
            .iter()
            .sum::<usize>();
        marker = page.get("Marker");
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(seen, 4);
    let users = world.call(IAM, "GetAccountAuthorizationDetails", &[("Filter.member.1", "User")]).unwrap();
    assert_eq!((users.count("UserDetailList"), users.count("GroupDetailList")), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_manages_users_and_assumes_roles_and_is_refused_what_policies_do_not_allow() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with boto3; `python3 -m venv target/venv && target/venv/bin/pip install boto3`");
        return;
    };
    let cloud = Cloud::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let front = cloud.world.front();
    let served = tokio::spawn(async move { axum::serve(listener, front.router()).await });
    let output = tokio::process::Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/identity.py"))
        .args([url.as_str(), &cloud.root.access_key, &cloud.root.secret_key, "arn:aws:iam::000000000001:root"])
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    served.abort();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("done\n"), "{said}\n{wrong}");
}
