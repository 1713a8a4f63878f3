//! Policy documents as requests bring them: of a bounded size, and such as can be evaluated.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    api::error::ApiError,
    policy::{Document, Kind},
};

/// Answers hold documents encoded as URLs are, by RFC 3986
/// (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html>).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const LONGEST_BYTES: usize = 131_072;

pub(super) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

/// How long a document is to a quota: white space does not count
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
pub(super) fn size(document: &str) -> usize {
    document.chars().filter(|character| !character.is_whitespace()).count()
}

/// # Errors
/// When it is no policy of the kind.
pub(super) fn check(document: &str, kind: Kind) -> Result<(), ApiError> {
    if document.len() > LONGEST_BYTES {
        return Err(ApiError::validation(format!("policyDocument is longer than {LONGEST_BYTES} characters")));
    }
    Document::parse(document, kind)
        .map(|_| ())
        .map_err(|error| ApiError::new("MalformedPolicyDocument", error.to_string()))
}

/// # Errors
/// When it is longer than its kind may be.
pub(super) fn check_size(document: &str, quota: &str, most: usize) -> Result<(), ApiError> {
    if size(document) > most {
        return Err(ApiError::new("LimitExceeded", format!("Cannot exceed quota for {quota}: {most}")).status(409));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_encode_all_but_unreserved_characters() {
        assert_eq!(encoded(r#"{"a": "s3:*"}-._~"#), "%7B%22a%22%3A%20%22s3%3A%2A%22%7D-._~");
    }

    #[test]
    fn white_space_does_not_count_to_a_quota() {
        assert!(check_size("{ \n }", "PolicySize", 2).is_ok());
        assert_eq!(check_size("{ 1 }", "PolicySize", 2).expect_err("three").code, "LimitExceeded");
    }
}
