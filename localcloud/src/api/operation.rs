//! What an action is, and a service as a list of them.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::error::ApiError;
use crate::{
    metrics::Metrics,
    model::site::Site,
    store::Transaction,
    wire::{
        value::{self, Node},
        xml::Dialect,
    },
};

/// One action: the input struct is the operation. Inputs `deny_unknown_fields`, so that a parameter that this cloud does
/// not carry out is refused and not dropped.
pub trait Operation: DeserializeOwned {
    const ACTION: &'static str;
    type Output: Serialize;

    /// # Errors
    /// In the service's own words. The transaction is then dropped, and nothing has changed.
    fn run(self, tx: &mut Transaction<'_>, caller: &Caller) -> Result<Self::Output, ApiError>;
}

/// What an action may look at of the world beyond the records. Looking changes nothing.
pub trait Observer: Send + Sync {
    /// The newest part of an instance's console, at most 64 KiB.
    fn console_output(&self, instance_id: &str) -> Vec<u8>;
    /// Whether S3 has a bucket of this name.
    fn has_bucket(&self, name: &str) -> bool;
}

/// Who calls, and from where.
pub struct Caller<'a> {
    pub site: &'a Site,
    pub account_id: String,
    pub principal_arn: String,
    pub principal_id: String,
    pub access_key: String,
    /// The region that the signature names.
    pub region: String,
    pub observer: &'a dyn Observer,
    /// Metrics are no records: they are looked at, and added to, beside the transaction.
    pub metrics: &'a Metrics,
}

/// Nothing but the fact that it was done.
#[derive(Debug, Serialize)]
pub struct Done {}

/// EC2's way of saying that it was done.
#[derive(Debug, Serialize)]
pub struct Return {
    #[serde(rename = "return")]
    pub done: bool,
}

impl Return {
    pub const TRUE: Self = Self { done: true };
}

type Run = fn(Node, &mut Transaction<'_>, &Caller<'_>) -> Result<Node, ApiError>;

/// A service: how it writes, and what it can do.
pub struct Service {
    /// As in a signature's scope: `ec2`, `elasticloadbalancing`.
    pub signing_name: &'static str,
    /// Last parts of its paths under `/services/`, lower case.
    pub paths: &'static [&'static str],
    pub dialect: Dialect,
    /// XML namespace of its answers, which names the API version.
    pub namespace: &'static str,
    /// Prefix of `X-Amz-Target`, and name in the RPC-v2 path, where it speaks JSON and CBOR.
    pub rpc_name: Option<&'static str>,
    operations: BTreeMap<&'static str, Run>,
}

impl Service {
    #[must_use]
    pub fn new(
        signing_name: &'static str,
        paths: &'static [&'static str],
        dialect: Dialect,
        namespace: &'static str,
        rpc_name: Option<&'static str>,
    ) -> Self {
        Self { signing_name, paths, dialect, namespace, rpc_name, operations: BTreeMap::new() }
    }

    /// Adds an action.
    #[must_use]
    pub fn with<O: Operation>(mut self) -> Self {
        let run: Run = |input, tx, caller| {
            let operation: O = value::from_node(input)?;
            Ok(value::to_node(&operation.run(tx, caller)?)?)
        };
        let previous = self.operations.insert(O::ACTION, run);
        debug_assert!(previous.is_none(), "{} is listed twice", O::ACTION);
        self
    }

    /// # Errors
    /// When the service has no such action.
    pub fn find(&self, action: &str) -> Result<Run, ApiError> {
        self.operations.get(action).copied().ok_or_else(|| {
            ApiError::new("InvalidAction", format!("The action {action} is not valid for this web service."))
        })
    }

    /// Names of all its actions.
    pub fn actions(&self) -> impl Iterator<Item = &'static str> {
        self.operations.keys().copied()
    }
}
