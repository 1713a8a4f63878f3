//! Policy documents: JSON of a known shape. What they allow is enforced by who is asked, not here.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::api::error::ApiError;

/// Answers hold documents encoded as URLs are, by RFC 3986
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html>).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const LONGEST_BYTES: usize = 10_240;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who may assume the role.
    Trust,
    /// What the role may do.
    Permissions,
}

pub fn encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

/// # Errors
/// When it is no policy.
pub fn check(document: &str, kind: Kind) -> Result<(), ApiError> {
    let malformed = |message: String| ApiError::new("MalformedPolicyDocument", message);
    if document.len() > LONGEST_BYTES {
        return Err(
            ApiError::new("LimitExceeded", format!("Cannot exceed quota for policy size: {LONGEST_BYTES}")).status(409)
        );
    }
    let parsed: Value = serde_json::from_str(document)
        .map_err(|error| malformed(format!("This policy contains invalid Json: {error}")))?;
    let Value::Object(policy) = &parsed else { return Err(malformed("Syntax errors in policy.".to_owned())) };
    if let Some(version) = policy.get("Version")
        && !matches!(version.as_str(), Some("2012-10-17" | "2008-10-17"))
    {
        return Err(malformed(format!("The policy must contain a valid version string, not {version}")));
    }
    if let Some(field) = policy.keys().find(|field| !matches!(field.as_str(), "Version" | "Id" | "Statement")) {
        return Err(malformed(format!("Syntax errors in policy: unknown field {field}.")));
    }
    let statements: Vec<&Value> = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        _ => Vec::new(),
    };
    if statements.is_empty() {
        return Err(malformed("Syntax errors in policy: at least one statement is needed.".to_owned()));
    }
    for statement in statements {
        check_statement(statement, kind).map_err(malformed)?;
    }
    Ok(())
}

fn check_statement(statement: &Value, kind: Kind) -> Result<(), String> {
    let has = |fields: &[&str]| fields.iter().any(|field| statement.get(field).is_some());
    if !matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny")) {
        return Err("Missing required field Effect, which is Allow or Deny".to_owned());
    }
    if !has(&["Action", "NotAction"]) {
        return Err("Missing required field Action".to_owned());
    }
    match kind {
        Kind::Trust if !has(&["Principal", "NotPrincipal"]) => Err("Missing required field Principal".to_owned()),
        Kind::Trust if has(&["Resource", "NotResource"]) => Err("Has prohibited field Resource".to_owned()),
        Kind::Permissions if has(&["Principal", "NotPrincipal"]) => {
            Err("Policy document should not specify a principal.".to_owned())
        }
        Kind::Permissions if !has(&["Resource", "NotResource"]) => {
            Err("Policy statement must contain resources.".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

    #[test]
    fn a_document_must_be_a_policy_of_its_kind() {
        check(TRUST, Kind::Trust).expect("a trust policy");
        for (document, kind) in [
            ("{", Kind::Trust),
            ("[]", Kind::Trust),
            ("{}", Kind::Permissions),
            (r#"{"Statement":[]}"#, Kind::Permissions),
            (
                r#"{"Version":"2020-01-01","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
                Kind::Permissions,
            ),
            (r#"{"Statement":{"Effect":"Maybe","Action":"*","Resource":"*"}}"#, Kind::Permissions),
            (r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#, Kind::Permissions),
            (TRUST, Kind::Permissions),
        ] {
            assert_eq!(check(document, kind).expect_err(document).code, "MalformedPolicyDocument", "{document}");
        }
    }

    #[test]
    fn answers_encode_all_but_unreserved_characters() {
        assert_eq!(encoded(r#"{"a": "s3:*"}-._~"#), "%7B%22a%22%3A%20%22s3%3A%2A%22%7D-._~");
    }
}
