//! Who may what: several documents, one answer.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use super::{
    context::Context,
    document::{Document, Effect},
    identity::{Documents, Identity},
    pattern,
    principal::{Asker, Meant},
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `ec2:RunInstances`
    pub action: &'a str,
    pub resource: &'a str,
    pub context: &'a Context,
}

/// Which policies a refusal is owed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Identity,
    Session,
    Resource,
}

impl Source {
    fn words(self) -> &'static str {
        match self {
            Self::Identity => "identity-based",
            Self::Session => "session",
            Self::Resource => "resource-based",
        }
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A statement says so.
    Explicit(Source),
    /// No statement allows it.
    Implicit(Source),
}

impl Refusal {
    /// The end of the sentence in which AWS refuses
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
    #[must_use]
    pub fn reason(self, action: &str) -> String {
        match self {
            Self::Explicit(source) => {
                let article = if source == Source::Identity { "an" } else { "a" };
                format!("with an explicit deny in {article} {} policy", source.words())
            }
            Self::Implicit(source) => format!("because no {} policy allows the {action} action", source.words()),
        }
    }
}

impl Document {
    /// What its statements say to the request; by whom it is meant counts for policies of resources only.
    fn judge(&self, request: Request<'_>, asker: Option<Asker<'_>>) -> (bool, Meant) {
        let variables = self.has_variables.then_some(request.context);
        let (mut denied, mut allowed) = (false, Meant::Not);
        for statement in &self.statements {
            let meant = match (asker, &statement.principals) {
                (None, _) => Meant::ByName,
                (Some(asker), Some(principals)) => principals.mean(asker),
                (Some(_), None) => Meant::Not,
            };
            let applies = meant != Meant::Not
                && statement.actions.covers(|pattern| pattern::matches_any_case(pattern, request.action))
                && statement.resources.as_ref().is_none_or(|resources| {
                    resources.covers(|pattern| pattern::matches(pattern, request.resource, variables))
                })
                && statement.conditions.iter().all(|condition| condition.holds(request.context, variables));
            match statement.effect {
                _ if !applies => {}
                Effect::Deny => denied = true,
                Effect::Allow => allowed = allowed.max(meant),
            }
        }
        (denied, allowed)
    }
}

fn judge_all(documents: &[Document], request: Request<'_>) -> (bool, bool) {
    documents.iter().fold((false, false), |(denied, allowed), document| {
        let (denies, allows) = document.judge(request, None);
        (denied || denies, allowed || allows != Meant::Not)
    })
}

/// Whether an identity of the resource's own account may do it. The account's root may, unless the resource's own policy
/// denies it.
///
/// # Errors
/// Why it may not.
pub fn allow(
    identity: &Identity,
    documents: &Documents,
    resource_policy: Option<&Document>,
    request: Request<'_>,
) -> Result<(), Refusal> {
    let (resource_denies, meant) =
        resource_policy.map_or((false, Meant::Not), |policy| policy.judge(request, Some(Asker::Identity(identity))));
    if resource_denies {
        return Err(Refusal::Explicit(Source::Resource));
    }
    if identity.is_root() {
        return Ok(());
    }
    let (identity_denies, identity_allows) = judge_all(&documents.identity, request);
    // A session of the root itself has all that the root has, and its session policies narrow that.
    let identity_allows = identity_allows || identity.arn.ends_with(":root");
    if identity_denies {
        return Err(Refusal::Explicit(Source::Identity));
    }
    if let Some(session) = &documents.session {
        let (denies, allows) = judge_all(session, request);
        if denies {
            return Err(Refusal::Explicit(Source::Session));
        }
        if !allows && meant != Meant::BySession {
            return Err(Refusal::Implicit(Source::Session));
        }
    }
    if identity_allows || meant >= Meant::ByName {
        return Ok(());
    }
    Err(Refusal::Implicit(Source::Identity))
}

/// Whether somebody who has not signed, or a service of the cloud, may do it: only if the resource's policy says so.
///
/// # Errors
/// Why it may not.
pub fn allow_other(asker: Asker<'_>, resource_policy: Option<&Document>, request: Request<'_>) -> Result<(), Refusal> {
    match resource_policy.map(|policy| policy.judge(request, Some(asker))) {
        Some((true, _)) => Err(Refusal::Explicit(Source::Resource)),
        Some((false, meant)) if meant != Meant::Not => Ok(()),
        _ => Err(Refusal::Implicit(Source::Resource)),
    }
}

/// Whether an identity may assume a role: the trust policy must mean it; by its account alone, its own policies must
/// allow it too (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-cross-account.html>).
///
/// # Errors
/// Why it may not.
pub fn allow_assume(
    identity: &Identity,
    documents: &Documents,
    trust: &Document,
    request: Request<'_>,
) -> Result<(), Refusal> {
    let (_, meant) = trust.judge(request, Some(Asker::Identity(identity)));
    allow(identity, documents, Some(trust), request)?;
    if meant == Meant::Not { Err(Refusal::Implicit(Source::Resource)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
