//! Users, their keys, groups, and policies: what is kept of them, and what is refused.

use super::fake_world::FakeWorld;

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
    assert_eq!(keys.each("AccessKeyMetadata", "AccessKeyId"), [key.clone()]);
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
