//! What of TLS may be chosen for a listener.

use crate::{
    api::error::ApiError,
    model::{
        balancer_policy::{Policies, Policy, TLS_NEGOTIATION},
        tls_policy::{CIPHERS, Predefined, REFERENCE, SERVER_ORDER, TlsPolicy, VERSIONS},
    },
};

/// What AWS still lists and OpenSSL 3 no longer speaks. Switched off it may be named.
const BYGONE: &[&str] =
    &["Protocol-SSLv2", "Protocol-SSLv3", "DES-CBC3-SHA", "RC4-MD5", "RC4-SHA", "ECDHE-RSA-RC4-SHA"];

/// All attributes of a policy of which some were given.
///
/// # Errors
/// When one is unknown, or no client could connect.
pub fn attributes(given: Vec<(String, String)>) -> Result<Vec<(String, String)>, ApiError> {
    if let Some((_, reference)) = given.iter().find(|(name, _)| name == REFERENCE) {
        if given.len() > 1 {
            return Err(super::super::invalid_configuration(format!(
                "{REFERENCE} can't be given together with other attributes"
            )));
        }
        return reference_to(reference);
    }
    for (name, value) in &given {
        let is_on = value.eq_ignore_ascii_case("true");
        if !is_on && !value.eq_ignore_ascii_case("false") {
            return Err(ApiError::validation(format!("The attribute {name} is true or false, not '{value}'")));
        }
        let is_known = name == SERVER_ORDER
            || CIPHERS.contains(&name.as_str())
            || VERSIONS.iter().any(|(version, _)| version == name);
        if !is_known && (is_on || !BYGONE.contains(&name.as_str())) {
            return Err(super::super::invalid_configuration(format!(
                "The attribute {name} is not one that this cloud can negotiate"
            )));
        }
    }
    let value = |name: &str| {
        let given = given.iter().find(|(known, _)| known == name);
        (name.to_owned(), given.is_some_and(|(_, value)| value.eq_ignore_ascii_case("true")).to_string())
    };
    let versions = VERSIONS.iter().map(|(name, _)| *name);
    let all: Vec<_> = versions.chain([SERVER_ORDER]).chain(CIPHERS.iter().copied()).map(value).collect();
    check(&TlsPolicy::of(&all))?;
    Ok(all)
}

fn reference_to(name: &str) -> Result<Vec<(String, String)>, ApiError> {
    let policy = Predefined::find(name).ok_or_else(|| {
        super::super::invalid_configuration(format!(
            "The security policy {name} does not exist, or this cloud does not have it"
        ))
    })?;
    let reference = (REFERENCE.to_owned(), name.to_owned());
    Ok([reference].into_iter().chain(policy.attributes()).collect())
}

fn check(policy: &TlsPolicy) -> Result<(), ApiError> {
    if policy.versions.is_empty() || policy.ciphers.is_empty() {
        return Err(super::super::invalid_configuration(
            "At least one protocol and one cipher of the SSL negotiation policy must be enabled",
        ));
    }
    // The proxy knows an oldest and a newest version.
    if policy.versions == ["TLSv1.0", "TLSv1.2"] {
        return Err(super::super::invalid_configuration(
            "Protocol-TLSv1 and Protocol-TLSv1.2 without Protocol-TLSv1.1 are not supported by this cloud",
        ));
    }
    Ok(())
}

/// Gives the balancer a predefined policy under its own name, which is returned.
///
/// # Errors
/// When there is no such policy.
pub fn install(policies: &mut Policies, name: &str) -> Result<String, ApiError> {
    let policy = Policy { type_name: TLS_NEGOTIATION.to_owned(), attributes: reference_to(name)? };
    policies.by_name.entry(name.to_owned()).or_insert(policy);
    Ok(name.to_owned())
}
