//! Whom a statement of a resource's policy means.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>

use serde_json::Value;

use super::{
    document::{Malformed, malformed, texts},
    identity::Identity,
};

/// `Principal` or `NotPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principals {
    negated: bool,
    /// `*`, or `{"AWS": "*"}`: those too who have not signed.
    everyone: bool,
    /// ARNs of users, roles and sessions.
    arns: Vec<String>,
    /// Account numbers: all of the account.
    accounts: Vec<String>,
    services: Vec<String>,
}

/// Who asks, as a resource's policy sees them.
#[derive(Debug, Clone, Copy)]
pub enum Asker<'a> {
    Identity(&'a Identity),
    Service(&'a str),
    /// Nobody has signed.
    Anonymous,
}

/// How a statement means the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meant {
    Not,
    /// As one of the account: an Allow then leaves it to the account's own policies.
    ByAccount,
    /// By name, or as one of all.
    ByName,
    /// The session itself, which its session policies then do not narrow.
    BySession,
}

impl Principals {
    pub(super) fn parse(value: &Value, negated: bool) -> Result<Self, Malformed> {
        let mut principals =
            Self { negated, everyone: false, arns: Vec::new(), accounts: Vec::new(), services: Vec::new() };
        let fields = match value {
            Value::String(text) if text == "*" => {
                principals.everyone = true;
                return Ok(principals);
            }
            Value::Object(fields) if !fields.is_empty() => fields,
            _ => return Err(malformed("Syntax errors in policy.")),
        };
        for (kind, values) in fields {
            for text in texts(values)? {
                match kind.as_str() {
                    "AWS" if text == "*" => principals.everyone = true,
                    "AWS" => match account_of(&text) {
                        Some(account) => principals.accounts.push(account),
                        None if is_principal_arn(&text) => principals.arns.push(text),
                        None => return Err(malformed(format!("Invalid principal in policy: \"AWS\":\"{text}\""))),
                    },
                    "Service" if text.contains('.') => principals.services.push(text),
                    // Nobody comes to this cloud from elsewhere: such principals are kept, and mean nobody.
                    "Federated" | "CanonicalUser" => {}
                    _ => return Err(malformed(format!("Invalid principal in policy: \"{kind}\":\"{text}\""))),
                }
            }
        }
        Ok(principals)
    }

    /// Whether there is nobody whom it could not mean.
    pub(super) fn is_everyone(&self) -> bool {
        self.everyone || self.negated
    }

    pub(super) fn mean(&self, asker: Asker<'_>) -> Meant {
        let named = self.name(asker);
        match (self.negated, named) {
            (false, named) => named,
            (true, Meant::Not) => Meant::ByName,
            (true, _) => Meant::Not,
        }
    }

    fn name(&self, asker: Asker<'_>) -> Meant {
        let everyone = if self.everyone { Meant::ByName } else { Meant::Not };
        match asker {
            Asker::Anonymous => everyone,
            Asker::Service(service) if self.services.iter().any(|known| known == service) => Meant::ByName,
            Asker::Service(_) => everyone,
            Asker::Identity(identity) if identity.is_session() && self.arns.contains(&identity.arn) => Meant::BySession,
            Asker::Identity(identity) if self.arns.iter().any(|arn| identity.is_named(arn)) => Meant::ByName,
            Asker::Identity(_) if self.everyone => Meant::ByName,
            Asker::Identity(identity) if self.accounts.contains(&identity.account_id) => Meant::ByAccount,
            Asker::Identity(_) => Meant::Not,
        }
    }
}

/// `000000000001` or `arn:aws:iam::000000000001:root`
fn account_of(text: &str) -> Option<String> {
    let account = text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")).unwrap_or(text);
    (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())).then(|| account.to_owned())
}

fn is_principal_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", _, service, _, _, resource] = parts[..] else { return false };
    let kinds: &[&str] = match service {
        "iam" => &["user/", "role/"],
        "sts" => &["assumed-role/", "federated-user/"],
        _ => &[],
    };
    !text.contains('*') && kinds.iter().any(|kind| resource.starts_with(kind))
}
