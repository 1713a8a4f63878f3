//! AWS STS (Eucalyptus: Tokens): who am I.

use serde::{Deserialize, Serialize};

use super::{
    error::ApiError,
    operation::{Caller, Operation, Service},
};
use crate::{store::Transaction, wire::xml::Dialect};

#[must_use]
pub fn service() -> Service {
    Service::new("sts", &["tokens", "sts"], Dialect::Query, "https://sts.amazonaws.com/doc/2011-06-15/", None)
        .with::<GetCallerIdentity>()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetCallerIdentity {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetCallerIdentityOutput {
    arn: String,
    user_id: String,
    account: String,
}

impl Operation for GetCallerIdentity {
    const ACTION: &'static str = "GetCallerIdentity";
    type Output = GetCallerIdentityOutput;

    fn run(self, _tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        Ok(GetCallerIdentityOutput {
            arn: caller.principal_arn.clone(),
            user_id: caller.principal_id.clone(),
            account: caller.account_id.clone(),
        })
    }
}
