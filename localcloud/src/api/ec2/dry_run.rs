//! DryRun: whether the request would be carried out, without carrying it out.

use crate::api::error::ApiError;

/// # Errors
/// `DryRunOperation` when a dry run is asked for: that is how EC2 says yes.
pub(super) fn check(dry_run: Option<bool>) -> Result<(), ApiError> {
    match dry_run {
        Some(true) => {
            Err(ApiError::new("DryRunOperation", "Request would have succeeded, but DryRun flag is set.").status(412))
        }
        _ => Ok(()),
    }
}
