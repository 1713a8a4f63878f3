//! Roles, policies and instance profiles, and who the caller is.

use super::fake_world::FakeWorld;

const IAM: &str = "iam";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
const ROLE: (&str, &str) = ("RoleName", "web");
const PROFILE: (&str, &str) = ("InstanceProfileName", "web-profile");

/// A cloud with a role with one policy, in a profile.
fn world() -> FakeWorld {
    let world = FakeWorld::new();
    world.call(IAM, "CreateRole", &[ROLE, ("AssumeRolePolicyDocument", TRUST)]).unwrap();
    world.call(IAM, "PutRolePolicy", &[ROLE, ("PolicyName", "s3"), ("PolicyDocument", POLICY)]).unwrap();
    world.call(IAM, "CreateInstanceProfile", &[PROFILE]).unwrap();
    world.call(IAM, "AddRoleToInstanceProfile", &[PROFILE, ROLE]).unwrap();
    world
}

#[test]
fn documents_are_answered_encoded_as_in_a_url() {
    let world = world();
    let role = world.call(IAM, "GetRole", &[ROLE]).unwrap();
    assert_eq!(role.text("Role.Arn"), "arn:aws:iam::000000000001:role/web");
    assert!(role.text("Role.RoleId").starts_with("AROA"));
    assert!(role.text("Role.AssumeRolePolicyDocument").starts_with("%7B%22Version%22%3A%222012-10-17%22"));
    let policy = world.call(IAM, "GetRolePolicy", &[ROLE, ("PolicyName", "s3")]).unwrap();
    assert!(policy.text("PolicyDocument").contains("s3%3A%2A"));
    let profile = world.call(IAM, "GetInstanceProfile", &[PROFILE]).unwrap();
    assert_eq!(profile.text("InstanceProfile.Arn"), "arn:aws:iam::000000000001:instance-profile/web-profile");
    assert_eq!(profile.each("InstanceProfile.Roles", "RoleName"), ["web"]);
    let profiles = world.call(IAM, "ListInstanceProfilesForRole", &[ROLE]).unwrap();
    assert_eq!(profiles.each("InstanceProfiles", "InstanceProfileName"), ["web-profile"]);
}

#[test]
fn what_is_in_use_is_deleted_only_after_what_uses_it() {
    let world = world();
    assert_eq!(world.refused(IAM, "DeleteRole", &[ROLE]), "DeleteConflict");
    assert_eq!(world.refused(IAM, "DeleteInstanceProfile", &[PROFILE]), "DeleteConflict");
    world.call(IAM, "RemoveRoleFromInstanceProfile", &[PROFILE, ROLE]).unwrap();
    assert_eq!(world.refused(IAM, "DeleteRole", &[ROLE]), "DeleteConflict");
    world.call(IAM, "DeleteRolePolicy", &[ROLE, ("PolicyName", "s3")]).unwrap();
    world.call(IAM, "DeleteRole", &[ROLE]).unwrap();
    world.call(IAM, "DeleteInstanceProfile", &[PROFILE]).unwrap();
    assert_eq!(world.refused(IAM, "GetRole", &[ROLE]), "NoSuchEntity");
}

#[test]
fn errors_have_the_status_that_clients_expect() {
    let world = world();
    let status = |action: &str, parameters: &[(&str, &str)]| {
        let error = world.call(IAM, action, parameters).unwrap_err();
        (error.code, error.status)
    };
    assert_eq!(status("GetRole", &[("RoleName", "none")]), ("NoSuchEntity".into(), 404));
    assert_eq!(
        status("CreateRole", &[("RoleName", "WEB"), ("AssumeRolePolicyDocument", TRUST)]),
        ("EntityAlreadyExists".into(), 409)
    );
    assert_eq!(status("CreateInstanceProfile", &[PROFILE]), ("EntityAlreadyExists".into(), 409));
    assert_eq!(status("AddRoleToInstanceProfile", &[PROFILE, ROLE]), ("LimitExceeded".into(), 409));
    assert_eq!(
        status("PutRolePolicy", &[ROLE, ("PolicyName", "p"), ("PolicyDocument", "{")]),
        ("MalformedPolicyDocument".into(), 400)
    );
    assert_eq!(
        status("CreateRole", &[("RoleName", "a b"), ("AssumeRolePolicyDocument", TRUST)]),
        ("ValidationError".into(), 400)
    );
}

#[test]
fn roles_are_listed_and_tagged() {
    let world = world();
    world
        .call(IAM, "CreateRole", &[("RoleName", "db"), ("Path", "/stack/"), ("AssumeRolePolicyDocument", TRUST)])
        .unwrap();
    let page = world.call(IAM, "ListRoles", &[("MaxItems", "1")]).unwrap();
    assert_eq!((page.each("Roles", "RoleName"), page.text("IsTruncated")), (vec!["db".to_owned()], "true".to_owned()));
    let rest = world.call(IAM, "ListRoles", &[("Marker", &page.text("Marker"))]).unwrap();
    assert_eq!(
        (rest.each("Roles", "RoleName"), rest.text("IsTruncated")),
        (vec!["web".to_owned()], "false".to_owned())
    );
    assert_eq!(world.call(IAM, "ListRoles", &[("PathPrefix", "/stack/")]).unwrap().count("Roles"), 1);
    world.call(IAM, "TagRole", &[ROLE, ("Tags.member.1.Key", "a"), ("Tags.member.1.Value", "1")]).unwrap();
    assert_eq!(world.call(IAM, "ListRoleTags", &[ROLE]).unwrap().each("Tags", "Key"), ["a"]);
    world.call(IAM, "UntagRole", &[ROLE, ("TagKeys.member.1", "a")]).unwrap();
    assert_eq!(world.call(IAM, "ListRoleTags", &[ROLE]).unwrap().count("Tags"), 0);
}

#[test]
fn the_caller_is_told_who_it_is() {
    let world = FakeWorld::new();
    let identity = world.call("sts", "GetCallerIdentity", &[]).unwrap();
    assert_eq!(identity.text("Arn"), "arn:aws:iam::000000000001:root");
    assert_eq!(identity.text("Account"), "000000000001");
    assert_eq!(world.call(IAM, "GetUser", &[]).unwrap().text("User.Arn"), "arn:aws:iam::000000000001:root");
}
