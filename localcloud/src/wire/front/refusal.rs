//! Why a request comes to nothing, in the words of its service.

use crate::{
    api::{error::ApiError, operation::Service},
    faults::{self, plan::Effect},
    wire::{sigv4::AuthError, value::DecodeError, xml::Dialect},
};

/// The query services have another word for what EC2 calls an unknown parameter.
pub(super) fn in_query_words(service: &Service, error: ApiError) -> ApiError {
    match (service.dialect, error.code.as_str()) {
        (Dialect::Query, "UnknownParameter") => ApiError { code: "ValidationError".to_owned(), ..error },
        _ => error,
    }
}

/// A body that is no JSON, or no CBOR.
pub(super) fn not_serialised(error: &DecodeError) -> ApiError {
    ApiError::new("SerializationException", error.to_string())
}

/// What a fault on purpose says. Codes and statuses differ between EC2 and the others
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>,
/// <https://docs.aws.amazon.com/AutoScaling/latest/APIReference/CommonErrors.html>).
pub(super) fn injected(service: &Service, effect: Effect) -> ApiError {
    let ec2 = service.dialect == Dialect::Ec2;
    match effect {
        Effect::Throttle if ec2 => ApiError::new("RequestLimitExceeded", "Request limit exceeded.").status(503),
        Effect::Throttle => ApiError::new("Throttling", "Rate exceeded"),
        Effect::Unavailable => {
            let code = if ec2 { "Unavailable" } else { "ServiceUnavailable" };
            ApiError::new(code, "The service is unavailable. Please try again shortly.").status(503)
        }
        Effect::InsufficientCapacity => faults::insufficient_capacity(),
        Effect::DependencyViolation => match service.signing_name {
            "iam" => {
                ApiError::new("DeleteConflict", "Cannot delete entity: something still depends on it.").status(409)
            }
            "autoscaling" => ApiError::new("ResourceInUse", "The resource is in use: something still depends on it."),
            _ => ApiError::new("DependencyViolation", "The resource has a dependent object and cannot be deleted."),
        },
        Effect::ExpiredToken => refusal(service, &AuthError::TokenExpired),
        Effect::InternalError | Effect::DropBefore | Effect::DropAfter | Effect::Delay | Effect::Hide => {
            let code = if ec2 { "InternalError" } else { "InternalFailure" };
            ApiError::new(code, "An internal error has occurred.").status(500)
        }
    }
}

/// Words and codes differ between EC2 and the others
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>,
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>).
pub(super) fn refusal(service: &Service, error: &AuthError) -> ApiError {
    const NOT_VALIDATED: &str = "AWS was not able to validate the provided access credentials";
    let ec2 = service.dialect == Dialect::Ec2;
    let (code, status, words) = match error {
        AuthError::Incomplete(words) => ("IncompleteSignature", 400, words.as_str()),
        AuthError::Missing if ec2 => ("AuthFailure", 401, "The request must contain an access key and a signature"),
        AuthError::UnknownAccessKey(_) | AuthError::InvalidToken | AuthError::Mismatch | AuthError::Version2 if ec2 => {
            ("AuthFailure", 401, NOT_VALIDATED)
        }
        // Where AWS knows version 4 alone, EC2 finds the credentials wrong, and the others find none
        // (<https://github.com/worksap-ate/aws-sdk/issues/184>, <https://github.com/boto/boto/issues/2835>).
        AuthError::Missing | AuthError::Version2 => {
            ("MissingAuthenticationToken", 403, "Request is missing Authentication Token")
        }
        AuthError::UnknownAccessKey(_) | AuthError::InvalidToken => {
            ("InvalidClientTokenId", 403, "The security token included in the request is invalid.")
        }
        AuthError::Mismatch => (
            "SignatureDoesNotMatch",
            403,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ),
        AuthError::Skewed { .. } | AuthError::Expired | AuthError::TokenExpired if ec2 => {
            ("RequestExpired", 400, "Request has expired.")
        }
        AuthError::TokenExpired => ("ExpiredToken", 403, "The security token included in the request is expired"),
        AuthError::Expired => ("SignatureDoesNotMatch", 403, "Signature expired: the request is older than 15 minutes"),
        AuthError::Skewed { .. } => (
            "SignatureDoesNotMatch",
            403,
            "Signature not yet current: the request's time is more than 15 minutes ahead",
        ),
    };
    ApiError::new(code, words).status(status)
}
