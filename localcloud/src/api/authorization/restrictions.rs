//! Sessions that may not everything that their policies say.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_sts-comparison.html>

use crate::{api::error::ApiError, model::identity::Credential};

/// # Errors
/// When the session is of a kind to which the action is closed.
pub(super) fn check(credential: &Credential, prefix: &str, action: &str) -> Result<(), ApiError> {
    // Roles' sessions may all; lasting keys too.
    if credential.expires.is_none() || credential.role_name.is_some() {
        return Ok(());
    }
    let federated = credential.principal_arn.contains(":federated-user/");
    match (prefix, action) {
        ("sts", "GetCallerIdentity") => Ok(()),
        ("sts", "AssumeRole") if !federated => Ok(()),
        ("sts", action) => {
            let words = format!("Cannot call {action} with session credentials");
            Err(ApiError::new("AccessDenied", words).status(403))
        }
        // IAM takes no session that was begun without a second factor, and there is none here.
        ("iam", _) => {
            Err(ApiError::new("InvalidClientTokenId", "The security token included in the request is invalid")
                .status(403))
        }
        _ => Ok(()),
    }
}
