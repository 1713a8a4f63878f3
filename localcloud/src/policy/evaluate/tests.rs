//! The table of <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.

use super::{super::document::Kind, *};

const USER: &str = "arn:aws:iam::000000000001:user/jo";
const SESSION: &str = "arn:aws:sts::000000000001:assumed-role/web/one";
const ROLE: &str = "arn:aws:iam::000000000001:role/web";
const KEY: &str = "arn:aws:s3:::bucket/home/jo/a";

const ALLOW_S3: &str = r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
const ALLOW_READ: &str = r#"{"Statement":{"Effect":"Allow","Action":["S3:Get*"],"Resource":"arn:aws:s3:::bucket/*"}}"#;
const DENY_READ: &str = r#"{"Statement":{"Effect":"Deny","Action":"s3:GetObject","Resource":"*"}}"#;
const ALLOW_OTHER: &str = r#"{"Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}"#;
const ALL_BUT_IAM: &str = r#"{"Statement":{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}}"#;
const ALL_BUT_S3: &str = r#"{"Statement":{"Effect":"Allow","NotAction":["iam:*","s3:*"],"Resource":"*"}}"#;
const NOT_HERE: &str = r#"{"Statement":{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::bucket/*"}}"#;
const DENY_ELSEWHERE: &str = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","NotResource":"arn:aws:s3:::bucket/*"}]}"#;
const HOME: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/home/${aws:username}/*"}}"#;
const HOME_2008: &str = r#"{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/home/${aws:username}/*"}}"#;
const ON_CONDITION: &str = r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:username":"jo"},"Bool":{"aws:SecureTransport":"true"}}}}"#;

fn bucket(effect: &str, principal: &str) -> String {
    format!(
        r#"{{"Statement":{{"Effect":"{effect}","Principal":{principal},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}}}"#
    )
}

fn identity(arn: &str, policies: &[&str], session: Option<&[&str]>) -> Identity {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Identity {
        arn: arn.to_owned(),
        account_id: "000000000001".to_owned(),
        user_name: (arn == USER).then(|| "jo".to_owned()),
        role_arn: (arn == SESSION).then(|| ROLE.to_owned()),
        policies: owned(policies),
        session_policies: session.map(owned),
        ..Identity::default()
    }
}

fn ask(identity: &Identity, resource_policy: Option<&str>) -> Result<(), Refusal> {
    let mut context = Context::default();
    identity.describe(&mut context);
    context.set("aws:SecureTransport", "false");
    let policy = resource_policy.map(|text| Document::parse(text, Kind::Bucket).expect(text));
    let documents = identity.read();
    assert_eq!(documents.identity.len(), identity.policies.len(), "all documents can be read");
    let request = Request { action: "s3:GetObject", resource: KEY, context: &context };
    allow(identity, &documents, policy.as_ref(), request)
}

#[test]
fn identity_policies_allow_what_no_other_denies() {
    let implicit = Err(Refusal::Implicit(Source::Identity));
    let explicit = Err(Refusal::Explicit(Source::Identity));
    for (policies, expected) in [
        (&[][..], implicit),
        (&[ALLOW_S3], Ok(())),
        (&[ALLOW_READ], Ok(())),
        (&[ALLOW_OTHER], implicit),
        (&[DENY_READ], explicit),
        (&[ALLOW_S3, DENY_READ], explicit),
        (&[DENY_READ, ALLOW_S3], explicit),
        (&[ALL_BUT_IAM], Ok(())),
        (&[ALL_BUT_S3], implicit),
        (&[NOT_HERE], implicit),
        (&[DENY_ELSEWHERE], Ok(())),
        (&[HOME], Ok(())),
        (&[HOME_2008], implicit),
        (&[ON_CONDITION], implicit),
    ] {
        assert_eq!(ask(&identity(USER, policies, None), None), expected, "{policies:?}");
    }
}

#[test]
fn session_policies_narrow_and_do_not_widen() {
    for (policies, session, expected) in [
        (&[ALLOW_S3][..], &[ALLOW_READ][..], Ok(())),
        (&[ALLOW_S3], &[ALLOW_OTHER], Err(Refusal::Implicit(Source::Session))),
        (&[ALLOW_S3], &[], Err(Refusal::Implicit(Source::Session))),
        (&[ALLOW_S3], &[ALLOW_S3, DENY_READ], Err(Refusal::Explicit(Source::Session))),
        (&[ALLOW_OTHER], &[ALLOW_S3], Err(Refusal::Implicit(Source::Identity))),
        (&[DENY_READ], &[ALLOW_S3], Err(Refusal::Explicit(Source::Identity))),
    ] {
        assert_eq!(ask(&identity(SESSION, policies, Some(session)), None), expected, "{policies:?} {session:?}");
    }
}

#[test]
fn a_resources_policy_grants_by_name_and_leaves_accounts_to_themselves() {
    let implicit = Err(Refusal::Implicit(Source::Identity));
    let named = |arn: &str| format!(r#"{{"AWS":"{arn}"}}"#);
    let account = named("arn:aws:iam::000000000001:root");
    for (arn, policies, policy, expected) in [
        (USER, &[][..], bucket("Allow", &named(USER)), Ok(())),
        (USER, &[], bucket("Allow", r#""*""#), Ok(())),
        (USER, &[], bucket("Allow", r#"{"AWS":["*"]}"#), Ok(())),
        (USER, &[], bucket("Allow", &account), implicit),
        (USER, &[], bucket("Allow", r#"{"AWS":"000000000002"}"#), implicit),
        (USER, &[ALLOW_S3], bucket("Allow", r#"{"AWS":"000000000002"}"#), Ok(())),
        (USER, &[ALLOW_S3], bucket("Deny", &account), Err(Refusal::Explicit(Source::Resource))),
        (USER, &[ALLOW_S3], bucket("Deny", &named(USER)), Err(Refusal::Explicit(Source::Resource))),
        (USER, &[DENY_READ], bucket("Allow", &named(USER)), Err(Refusal::Explicit(Source::Identity))),
        (SESSION, &[], bucket("Allow", &named(ROLE)), Ok(())),
        (SESSION, &[], bucket("Allow", &named(SESSION)), Ok(())),
        (SESSION, &[], bucket("Allow", &named(USER)), implicit),
        ("arn:aws:iam::000000000001:root", &[], bucket("Deny", r#""*""#), Err(Refusal::Explicit(Source::Resource))),
        ("arn:aws:iam::000000000001:root", &[], bucket("Allow", &named(USER)), Ok(())),
    ] {
        assert_eq!(ask(&identity(arn, policies, None), Some(&policy)), expected, "{arn} {policies:?} {policy}");
    }
    let narrowed = identity(SESSION, &[], Some(&[ALLOW_OTHER]));
    assert_eq!(ask(&narrowed, Some(&bucket("Allow", &named(SESSION)))), Ok(()), "a grant to the session itself");
    let by_role = ask(&narrowed, Some(&bucket("Allow", &named(ROLE))));
    assert_eq!(by_role, Err(Refusal::Implicit(Source::Session)));
    let not_principal = r#"{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::000000000001:user/jo"},"Action":"s3:*","Resource":"*"}}"#;
    assert_eq!(ask(&identity(USER, &[ALLOW_S3], None), Some(not_principal)), Ok(()));
    assert!(ask(&identity(SESSION, &[ALLOW_S3], None), Some(not_principal)).is_err());
}

#[test]
fn who_has_not_signed_may_what_everyone_may() {
    let context = Context::default();
    let request = Request { action: "s3:GetObject", resource: KEY, context: &context };
    let ask = |policy: Option<&str>| {
        let policy = policy.map(|text| Document::parse(text, Kind::Bucket).expect(text));
        allow_other(Asker::Anonymous, policy.as_ref(), request)
    };
    assert_eq!(ask(Some(&bucket("Allow", r#""*""#))), Ok(()));
    assert_eq!(ask(None), Err(Refusal::Implicit(Source::Resource)));
    assert_eq!(ask(Some(&bucket("Allow", r#"{"AWS":"000000000001"}"#))), Err(Refusal::Implicit(Source::Resource)));
    assert_eq!(ask(Some(&bucket("Deny", r#""*""#))), Err(Refusal::Explicit(Source::Resource)));
}

#[test]
fn a_role_is_assumed_by_whom_it_trusts() {
    const ASSUME: &str = r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}"#;
    let trust = |principal: &str| {
        format!(r#"{{"Statement":{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}}}"#)
    };
    for (policies, trust, expected) in [
        (&[][..], trust(r#"{"AWS":"arn:aws:iam::000000000001:user/jo"}"#), true),
        (&[], trust(r#"{"AWS":"000000000001"}"#), false),
        (&[ASSUME], trust(r#"{"AWS":"000000000001"}"#), true),
        (&[ASSUME], trust(r#"{"AWS":"arn:aws:iam::000000000001:user/other"}"#), false),
        (&[ASSUME], trust(r#"{"Service":"ec2.amazonaws.com"}"#), false),
    ] {
        let user = identity(USER, policies, None);
        let document = Document::parse(&trust, Kind::Trust).expect("a trust policy");
        let context = Context::default();
        let request = Request { action: "sts:AssumeRole", resource: ROLE, context: &context };
        assert_eq!(allow_assume(&user, &user.read(), &document, request).is_ok(), expected, "{policies:?} {trust}");
    }
}

#[test]
fn refusals_end_as_awss_do() {
    assert_eq!(
        Refusal::Implicit(Source::Identity).reason("ec2:RunInstances"),
        "because no identity-based policy allows the ec2:RunInstances action"
    );
    assert_eq!(Refusal::Explicit(Source::Identity).reason("x"), "with an explicit deny in an identity-based policy");
    assert_eq!(Refusal::Explicit(Source::Session).reason("x"), "with an explicit deny in a session policy");
}
