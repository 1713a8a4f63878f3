//! The one inline policy of a role or of a user, as it is put and as it comes back.

use serde_json::Value as Json;

use crate::state::sha256_hex;

/// Its name, at each of them.
pub(crate) const NAME: &str = "imagecrud";

/// A short digest of a policy, the same for every way of writing the same JSON.
pub(crate) fn digest(policy: &Json) -> String {
    sha256_hex(policy.to_string().as_bytes())[..12].to_owned()
}

/// The digest of what a cloud has. Policies come back percent-encoded from AWS, and plainly from others.
pub(crate) fn digest_found(document: Option<&str>) -> String {
    let Some(document) = document else { return "none".to_owned() };
    serde_json::from_str(document)
        .or_else(|_| serde_json::from_str(&percent_decoded(document)))
        .map_or_else(|_| "unreadable".to_owned(), |policy| digest(&policy))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = if byte == b'%' {
            let code: Vec<u8> = rest.by_ref().take(2).collect();
            std::str::from_utf8(&code).ok().and_then(|code| u8::from_str_radix(code, 16).ok()).unwrap_or(byte)
        } else {
            byte
        };
        bytes.push(decoded);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::role::Role;

    #[test]
    fn a_policy_is_recognised_however_it_comes_back() {
        let policy = Role::web("b").policy;
        let pretty = serde_json::to_string_pretty(&policy).unwrap();
        let encoded: String = pretty.bytes().map(|b| format!("%{b:02X}")).collect();
        assert_eq!(digest_found(Some(&pretty)), digest(&policy));
        assert_eq!(digest_found(Some(&encoded)), digest(&policy));
        assert_ne!(digest(&policy), digest(&Role::database("b").policy));
        assert_eq!((digest_found(None), digest_found(Some("%"))), ("none".to_owned(), "unreadable".to_owned()));
    }
}
