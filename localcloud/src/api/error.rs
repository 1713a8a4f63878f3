//! Errors as the services word them: a code that programs know, a sentence that people read.

use crate::{store::StoreError, wire::value::DecodeError};

/// Why an action was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: String,
    pub message: String,
    pub status: u16,
}

impl ApiError {
    /// A refusal for which the caller can do something: status 400.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), status: 400 }
    }

    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Whether the caller, not the cloud, is at fault.
    #[must_use]
    pub fn is_senders(&self) -> bool {
        self.status < 500
    }

    /// EC2's word for a parameter value that cannot be.
    pub fn invalid_parameter_value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    /// The word of the query services (ELB, Auto Scaling, CloudWatch, IAM) for the same.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }

    pub fn missing_parameter(name: &str) -> Self {
        Self::new("MissingParameter", format!("The request must contain the parameter {name}"))
    }

    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>
    pub fn missing_action() -> Self {
        Self::new("MissingAction", "The request is missing the parameter Action.")
    }

    pub fn invalid_action(action: &str) -> Self {
        Self::new("InvalidAction", format!("The action {action} is not valid for this web service."))
    }

    /// Something that AWS has and this cloud does not do: said, not pretended.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new("UnsupportedOperation", message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::new("InternalError", format!("An internal error has occurred: {error}")).status(500)
    }
}

impl From<DecodeError> for ApiError {
    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Unknown(name) => {
                Self::new("UnknownParameter", format!("The parameter {name} is not recognized"))
            }
            DecodeError::Missing(name) => Self::missing_parameter(&name),
            DecodeError::Invalid(message) => Self::invalid_parameter_value(message),
        }
    }
}
