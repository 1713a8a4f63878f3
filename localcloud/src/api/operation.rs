//! What an action is, and a service as a list of them.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use super::{
    constraints::{self, Constraints},
    error::ApiError,
};
use crate::{
    metrics::Metrics,
    model::site::Site,
    store::Transaction,
    wire::{
        value::{self, DecodeError, Node},
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

/// Reads the input and runs the action, unless the input, though it can be read, breaks a constraint.
type Run = fn(Node, Result<(), ApiError>, &mut Transaction<'_>, &Caller<'_>) -> Result<Node, Refusal>;

enum Refusal {
    Unreadable(DecodeError),
    Refused(ApiError),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

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
    constraints: Constraints,
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
        let (constraints, operations) = (Constraints::default(), BTreeMap::new());
        Self { signing_name, paths, dialect, namespace, rpc_name, constraints, operations }
    }

    /// Holds its parameters to these before its actions look at them.
    #[must_use]
    pub fn constrained(self, constraints: Constraints) -> Self {
        Self { constraints, ..self }
    }

    /// Adds an action.
    #[must_use]
    pub fn with<O: Operation>(mut self) -> Self {
        let run: Run = |input, constrained, tx, caller| {
            let read: Result<O, DecodeError> = value::from_node(input);
            if !matches!(read, Err(DecodeError::Invalid(_))) {
                constrained?;
            }
            let output = read?.run(tx, caller)?;
            Ok(value::to_node(&output).map_err(ApiError::from)?)
        };
        let previous = self.operations.insert(O::ACTION, run);
        debug_assert!(previous.is_none(), "{} is listed twice", O::ACTION);
        self
    }

    /// # Errors
    /// When the service has no such action.
    pub fn find(
        &self,
        action: &str,
    ) -> Result<impl Fn(Node, &mut Transaction<'_>, &Caller<'_>) -> Result<Node, ApiError>, ApiError> {
        let run = self.operations.get(action).copied().ok_or_else(|| ApiError::invalid_action(action))?;
        Ok(move |input: Node, tx: &mut Transaction<'_>, caller: &Caller<'_>| {
            let constrained = self.constraints.check(action, &input);
            run(input, constrained, tx, caller).map_err(|refusal| match refusal {
                Refusal::Unreadable(error) => self.words_of(action, error),
                Refusal::Refused(error) => error,
            })
        })
    }

    /// What this service says of parameters that its action cannot read. EC2 has words of its own
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>), and so have CloudWatch's actions on
    /// metrics for what is missing. A value of the wrong form is `MalformedInput` to all others.
    #[must_use]
    pub fn words_of(&self, action: &str, error: DecodeError) -> ApiError {
        match (self.dialect, error) {
            (Dialect::Ec2, error) => ApiError::from(error),
            (Dialect::Query, DecodeError::Missing(name))
                if self.rpc_name.is_some() && !self.constraints.knows(action) =>
            {
                let code = if action == "GetMetricData" { "ValidationError" } else { "MissingParameter" };
                ApiError::new(code, format!("The parameter {name} is required."))
            }
            (Dialect::Query, DecodeError::Missing(name)) => constraints::missing(&name),
            (Dialect::Query, DecodeError::Invalid(message)) => ApiError::new("MalformedInput", message),
            (Dialect::Query, error @ DecodeError::Unknown(_)) => {
                ApiError { code: "ValidationError".to_owned(), ..ApiError::from(error) }
            }
        }
    }

    /// Names of all its actions.
    pub fn actions(&self) -> impl Iterator<Item = &'static str> {
        self.operations.keys().copied()
    }
}
