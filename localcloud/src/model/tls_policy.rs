//! Which TLS a listener speaks: versions, ciphers, and whose order of ciphers decides. The predefined policies are AWS's
//! (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-security-policy-table.html>), short of those that
//! need what OpenSSL 3 no longer has: SSL 3, RC4, DES.

/// A policy for listeners that name none.
pub const DEFAULT: &str = "ELBSecurityPolicy-2016-08";
/// Attribute that names the predefined policy which another is.
pub const REFERENCE: &str = "Reference-Security-Policy";
pub const SERVER_ORDER: &str = "Server-Defined-Cipher-Order";

/// Oldest first.
pub const VERSIONS: &[(&str, &str)] =
    &[("Protocol-TLSv1", "TLSv1.0"), ("Protocol-TLSv1.1", "TLSv1.1"), ("Protocol-TLSv1.2", "TLSv1.2")];

/// Ciphers that a listener can speak, in AWS's order.
pub const CIPHERS: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "DHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES128-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA256",
    "AES256-SHA",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES128-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES256-SHA256",
    "DHE-RSA-AES256-SHA",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPolicy {
    /// As HAProxy calls them; contiguous, oldest first.
    pub versions: Vec<&'static str>,
    pub ciphers: Vec<&'static str>,
    pub server_order: bool,
}

impl TlsPolicy {
    /// From attributes such as `Protocol-TLSv1.2` = `true`.
    #[must_use]
    pub fn of(attributes: &[(String, String)]) -> Self {
        let has =
            |name: &str| attributes.iter().any(|(known, value)| known == name && value.eq_ignore_ascii_case("true"));
        Self {
            versions: VERSIONS.iter().filter(|(name, _)| has(name)).map(|(_, version)| *version).collect(),
            ciphers: CIPHERS.iter().copied().filter(|cipher| has(cipher)).collect(),
            server_order: has(SERVER_ORDER),
        }
    }
}

/// A policy that AWS has defined.
pub struct Predefined {
    pub name: &'static str,
    versions: &'static [&'static str],
    has_cipher: fn(&str) -> bool,
}

/// Newest first.
pub const PREDEFINED: &[Predefined] = &[
    Predefined {
        name: DEFAULT,
        versions: &["Protocol-TLSv1", "Protocol-TLSv1.1", "Protocol-TLSv1.2"],
        has_cipher: |cipher| !cipher.starts_with("DHE-"),
    },
    Predefined {
        name: "ELBSecurityPolicy-TLS-1-2-2017-01",
        versions: &["Protocol-TLSv1.2"],
        has_cipher: |cipher| !cipher.starts_with("DHE-") && !cipher.ends_with("-SHA"),
    },
    Predefined {
        name: "ELBSecurityPolicy-TLS-1-1-2017-01",
        versions: &["Protocol-TLSv1.1", "Protocol-TLSv1.2"],
        has_cipher: |cipher| !cipher.starts_with("DHE-"),
    },
];

impl Predefined {
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        PREDEFINED.iter().find(|policy| policy.name == name)
    }

    /// Every version and cipher, and whether it is spoken.
    #[must_use]
    pub fn attributes(&self) -> Vec<(String, String)> {
        let versions = VERSIONS.iter().map(|(name, _)| (*name, self.versions.contains(name)));
        let ciphers = CIPHERS.iter().map(|cipher| (*cipher, (self.has_cipher)(cipher)));
        versions
            .chain([(SERVER_ORDER, true)])
            .chain(ciphers)
            .map(|(name, is_on)| (name.to_owned(), is_on.to_string()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> TlsPolicy {
        TlsPolicy::of(&Predefined::find(name).expect("predefined").attributes())
    }

    #[test]
    fn predefined_policies_are_aws_s() {
        let default = policy(DEFAULT);
        assert_eq!(default.versions, ["TLSv1.0", "TLSv1.1", "TLSv1.2"]);
        assert_eq!((default.ciphers.len(), default.server_order), (18, true));
        let newest = policy("ELBSecurityPolicy-TLS-1-2-2017-01");
        assert_eq!(newest.versions, ["TLSv1.2"]);
        assert_eq!(newest.ciphers.len(), 12);
        assert!(Predefined::find("ELBSecurityPolicy-2011-08").is_none());
    }
}
