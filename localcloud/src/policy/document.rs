//! Documents as they are written: statements with effect, actions, resources, principals and conditions.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{condition::Condition, principal::Principals};

/// What a document is for, and so what it must and must not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What whoever has it may do.
    Identity,
    /// Who may assume the role.
    Trust,
    /// Who may do what with the bucket.
    Bucket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Scope {
    pub(super) fn covers(&self, matches: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::In(patterns) => patterns.iter().any(|pattern| matches(pattern)),
            Self::NotIn(patterns) => !patterns.iter().any(|pattern| matches(pattern)),
        }
    }

    fn patterns(&self) -> &[String] {
        match self {
            Self::In(patterns) | Self::NotIn(patterns) => patterns,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub effect: Effect,
    pub principals: Option<Principals>,
    pub actions: Scope,
    /// A trust policy has none: it is about its role.
    pub resources: Option<Scope>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub statements: Vec<Statement>,
    /// Documents of 2008 know no variables.
    pub has_variables: bool,
}

/// Why it is no policy, in AWS's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

pub(super) fn malformed(message: impl Into<String>) -> Malformed {
    Malformed(message.into())
}

type Result<T> = std::result::Result<T, Malformed>;

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is no policy of this kind.
    pub fn parse(text: &str, kind: Kind) -> Result<Self> {
        let parsed: Value = serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json"))?;
        let Value::Object(policy) = parsed else { return Err(malformed("Syntax errors in policy.")) };
        only(&policy, &["Version", "Id", "Statement"])?;
        let has_variables = match policy.get("Version").map(Value::as_str) {
            None | Some(Some("2008-10-17")) => false,
            Some(Some("2012-10-17")) => true,
            _ => return Err(malformed("The policy must contain a valid version string")),
        };
        let statements: Vec<&Value> = match policy.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => Vec::new(),
        };
        if statements.is_empty() {
            return Err(malformed("Syntax errors in policy."));
        }
        let mut sids = BTreeSet::new();
        for sid in statements.iter().filter_map(|statement| statement.get("Sid")) {
            let sid = sid.as_str().ok_or_else(|| malformed("Syntax errors in policy."))?;
            // Buckets' policies take other characters too (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html>).
            if kind != Kind::Bucket && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(malformed(
                    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
                ));
            }
            if !sid.is_empty() && !sids.insert(sid) {
                return Err(malformed("Statement IDs (SID) in a single policy must be unique."));
            }
        }
        let statements = statements.into_iter().map(|statement| read(statement, kind)).collect::<Result<_>>()?;
        Ok(Self { statements, has_variables })
    }

    /// Whether it lets in whoever comes: an Allow for everyone that no condition narrows to fixed values.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            statement.effect == Effect::Allow
                && statement.principals.as_ref().is_some_and(Principals::is_everyone)
                && !statement.conditions.iter().any(Condition::is_fixed)
        })
    }

    /// The resources that it names, of whatever effect.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.statements
            .iter()
            .filter_map(|statement| statement.resources.as_ref())
            .flat_map(|scope| scope.patterns().iter().map(String::as_str))
    }
}

fn only(object: &Map<String, Value>, fields: &[&str]) -> Result<()> {
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(_) => Err(malformed("Syntax errors in policy.")),
        None => Ok(()),
    }
}

fn read(statement: &Value, kind: Kind) -> Result<Statement> {
    let Value::Object(fields) = statement else { return Err(malformed("Syntax errors in policy.")) };
    only(
        fields,
        &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"],
    )?;
    let effect = match fields.get("Effect").map(Value::as_str) {
        Some(Some("Allow")) => Effect::Allow,
        Some(Some("Deny")) => Effect::Deny,
        None => return Err(malformed("Missing required field Effect")),
        _ => return Err(malformed("Invalid effect: it must be Allow or Deny")),
    };
    let principals = match (fields.get("Principal"), fields.get("NotPrincipal")) {
        (Some(_), Some(_)) => return Err(malformed("Syntax errors in policy.")),
        (Some(value), None) => Some(Principals::parse(value, false)?),
        (None, Some(value)) => Some(Principals::parse(value, true)?),
        (None, None) => None,
    };
    match kind {
        Kind::Identity if principals.is_some() => {
            return Err(malformed("Policy document should not specify a principal."));
        }
        Kind::Trust | Kind::Bucket if principals.is_none() => {
            return Err(malformed("Missing required field Principal"));
        }
        _ => {}
    }
    let actions = scope(fields, "Action", "NotAction")?
        .filter(|scope| !scope.patterns().is_empty())
        .ok_or_else(|| malformed("Policy statement must contain actions."))?;
    for action in actions.patterns() {
        check_action(action, kind)?;
    }
    let resources = scope(fields, "Resource", "NotResource")?;
    match (kind, &resources) {
        (Kind::Trust, Some(_)) => return Err(malformed("Has prohibited field Resource")),
        (Kind::Trust, None) => {}
        (_, None) => return Err(malformed("Policy statement must contain resources.")),
        (_, Some(scope)) if scope.patterns().is_empty() => {
            return Err(malformed("Policy statement must contain resources."));
        }
        (_, Some(scope)) => scope.patterns().iter().try_for_each(|resource| check_resource(resource))?,
    }
    let conditions = match fields.get("Condition") {
        None => Vec::new(),
        Some(Value::Object(operators)) => Condition::parse_all(operators)?,
        Some(_) => return Err(malformed("Syntax errors in policy.")),
    };
    Ok(Statement { effect, principals, actions, resources, conditions })
}

fn scope(fields: &Map<String, Value>, within: &str, without: &str) -> Result<Option<Scope>> {
    match (fields.get(within), fields.get(without)) {
        (Some(_), Some(_)) => Err(malformed("Syntax errors in policy.")),
        (Some(value), None) => Ok(Some(Scope::In(texts(value)?))),
        (None, Some(value)) => Ok(Some(Scope::NotIn(texts(value)?))),
        (None, None) => Ok(None),
    }
}

/// One text or a list of them.
pub(super) fn texts(value: &Value) -> Result<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| malformed("Syntax errors in policy."));
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => text(value).map(|text| vec![text]),
    }
}

fn check_action(action: &str, kind: Kind) -> Result<()> {
    if action == "*" && kind != Kind::Trust {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':').filter(|(vendor, name)| !vendor.is_empty() && !name.is_empty())
    else {
        return Err(malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
    };
    if !vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(malformed(format!("Vendor {vendor} is not valid")));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte)) {
        return Err(malformed(format!("The action {action} is not valid.")));
    }
    match kind {
        Kind::Trust if !vendor.eq_ignore_ascii_case("sts") => {
            Err(malformed("AssumeRole policy may only specify STS AssumeRole actions."))
        }
        Kind::Bucket if !vendor.eq_ignore_ascii_case("s3") => Err(malformed("Policy has invalid action")),
        _ => Ok(()),
    }
}

fn check_resource(resource: &str) -> Result<()> {
    if resource == "*" {
        return Ok(());
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    if parts.first().is_some_and(|part| *part == "arn") && (parts.len() == 6 || resource.ends_with('*')) {
        return Ok(());
    }
    Err(malformed(format!("Resource {resource} must be in ARN format or \"*\".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

    #[test]
    fn one_statement_is_as_good_as_a_list_of_one() {
        let one = r#"{"Statement":{"Effect":"Allow","Action":["s3:*"],"Resource":"*"}}"#;
        let list = r#"{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":["*"]}]}"#;
        assert_eq!(Document::parse(one, Kind::Identity), Document::parse(list, Kind::Identity));
        assert!(Document::parse(TRUST, Kind::Trust).is_ok());
    }

    #[test]
    fn what_is_no_policy_is_refused_with_the_reason() {
        for (document, kind, reason) in [
            ("{", Kind::Trust, "invalid Json"),
            ("[]", Kind::Trust, "Syntax errors"),
            ("{}", Kind::Identity, "Syntax errors"),
            (r#"{"Statement":[]}"#, Kind::Identity, "Syntax errors"),
            (r#"{"Statement":[],"Extra":1}"#, Kind::Identity, "Syntax errors"),
            (
                r#"{"Version":"2020-01-01","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
                Kind::Identity,
                "valid version string",
            ),
            (r#"{"Statement":{"Effect":"Maybe","Action":"*","Resource":"*"}}"#, Kind::Identity, "Invalid effect"),
            (r#"{"Statement":{"Action":"*","Resource":"*"}}"#, Kind::Identity, "Missing required field Effect"),
            (r#"{"Statement":{"Effect":"Allow","Action":"*"}}"#, Kind::Identity, "must contain resources"),
            (r#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#, Kind::Identity, "must contain actions"),
            (r#"{"Statement":{"Effect":"Allow","Action":"run","Resource":"*"}}"#, Kind::Identity, "vendor"),
            (r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"bucket"}}"#, Kind::Identity, "ARN format"),
            (
                r#"{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}"#,
                Kind::Identity,
                "Syntax errors",
            ),
            (
                r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringIs":{"a":"b"}}}}"#,
                Kind::Identity,
                "StringIs",
            ),
            (
                r#"{"Statement":[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]}"#,
                Kind::Identity,
                "must be unique",
            ),
            (TRUST, Kind::Identity, "should not specify a principal"),
            (r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}"#, Kind::Trust, "field Principal"),
            (r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*"}}"#, Kind::Trust, "STS AssumeRole"),
            (
                r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}"#,
                Kind::Trust,
                "prohibited field Resource",
            ),
            (
                r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"joe"},"Action":"sts:AssumeRole"}}"#,
                Kind::Trust,
                "Invalid principal",
            ),
        ] {
            let error = Document::parse(document, kind).expect_err(document).to_string();
            assert!(error.contains(reason), "{document}: {error}");
        }
    }
}
