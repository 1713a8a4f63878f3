//! What an error of the cloud means for us, in one place: missing (or not visible yet), refused for now,
//! a token that is spent, an action that this cloud lacks, or a reason to stop.
//!
//! Transport errors, throttling and 5xx are retried by the SDK itself before they come here.

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::cloud::answers::{self, CLOCK, NoAnswer, STRANGE};

/// A failed call, flattened out of the SDK's many error types.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CloudError {
    /// The cloud answered no.
    #[error("{message} ({code})")]
    Api {
        /// The error code of the API, or `HTTP <status>` where it sent none.
        code: String,
        /// The cloud's own words.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// The cloud did not answer.
    #[error("no answer: {0}")]
    Transport(String),
    /// Something of our own.
    #[error("{message}")]
    Other {
        /// A sentence.
        message: String,
        /// What the user can do.
        hint: Option<String>,
    },
    /// More has to be done or to happen first; our own word for "refused for now".
    #[error("{0}")]
    NotYet(String),
    /// The client token belongs to an instance that is gone; a new generation is needed.
    #[error("the client token belongs to {0}, which is gone")]
    TokenSpent(String),
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Gone when deleting, not yet visible right after a create.
    Missing,
    /// Will be allowed later: something still depends on it, or a state has to pass.
    RefusedForNow,
    /// Ask again with a new token.
    TokenSpent,
    /// This cloud does not have the action or parameter.
    Unsupported,
    /// Wrong or insufficient credentials.
    Denied,
    /// No use in trying again.
    Stop,
}

const REFUSED_FOR_NOW: &[&str] = &[
    "DependencyViolation",
    "VolumeInUse",
    "ResourceInUse",
    "ResourceInUseFault",
    "DeleteConflict",
    "IncorrectState",
    "IncorrectInstanceState",
    "InvalidGroup.InUse",
    "ScalingActivityInProgress",
    "ScalingActivityInProgressFault",
    "ResourceContention",
    "ResourceContentionFault",
    "OperationAborted",
    "OperationNotPermitted.InUse",
    "BucketNotEmpty",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "SlowDown",
    "ServiceUnavailable",
    "Unavailable",
    "ConcurrentModification",
    "ConcurrentModificationException",
];

const MISSING: &[&str] = &[
    "NotFound",
    "NoSuchEntity",
    "NoSuchKey",
    "NoSuchBucket",
    "LoadBalancerNotFound",
    "AccessPointNotFound",
    "ResourceNotFound",
    "ResourceNotFoundException",
    "InvalidLaunchTemplateName.NotFoundException",
    "InvalidLaunchTemplateId.VersionNotFound",
];

const UNSUPPORTED: &[&str] = &[
    "InvalidAction",
    "UnsupportedOperation",
    "UnknownOperation",
    "UnknownOperationException",
    "NotImplemented",
    "NotSupported",
    "UnknownParameter",
    "MethodNotAllowed",
    "UnsupportedOperationException",
];

const DENIED: &[&str] = &[
    "AuthFailure",
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "UnrecognizedClientException",
    "NotAuthorized",
];

/// The account's own limits.
const QUOTA: &[&str] = &[
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
    "VolumeLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "SecurityGroupLimitExceeded",
    "RulesPerSecurityGroupLimitExceeded",
    "AddressLimitExceeded",
    "ResourceLimitExceeded",
    "LimitExceeded",
    "LimitExceededException",
    "TooManyLoadBalancers",
    "TooManyBuckets",
    "PendingSnapshotLimitExceeded",
    "SnapshotLimitExceeded",
];

const NO_CAPACITY: &[&str] =
    &["InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientCapacity", "InsufficientVolumeCapacity"];

/// What the SDK says where none of the places that it looks at has any.
/// https://docs.rs/aws-config/latest/aws_config/default_provider/credentials/struct.DefaultCredentialsChain.html
const NO_CREDENTIALS: &str = "no credentials found in chain";

/// Decides by code, and by the words only where AWS uses one code for everything.
pub fn classify(error: &CloudError) -> Class {
    let (code, message, status) = match error {
        CloudError::Api { code, message, status } => (code.as_str(), message.as_str(), *status),
        CloudError::TokenSpent(_) => return Class::TokenSpent,
        CloudError::NotYet(_) => return Class::RefusedForNow,
        CloudError::Transport(_) | CloudError::Other { .. } => return Class::Stop,
    };
    if REFUSED_FOR_NOW.contains(&code) {
        return Class::RefusedForNow;
    }
    if MISSING.contains(&code) || code.ends_with(".NotFound") {
        return Class::Missing;
    }
    if UNSUPPORTED.contains(&code) {
        return Class::Unsupported;
    }
    if DENIED.contains(&code) {
        return Class::Denied;
    }
    // Eucalyptus 4.4 says so, in all its services, of an action or a parameter that it does not bind
    // (BaseQueryBinding.java), with a status line for a code.
    if message.starts_with("Failed to find corresponding class mapping") || message.starts_with("Failed to bind") {
        return Class::Unsupported;
    }
    // Auto Scaling says ValidationError for a group, template, profile or load balancer that it cannot see
    // (yet), and EC2 says InvalidParameterValue for an instance profile made seconds ago.
    // https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-launch-template.html
    let words = message.to_ascii_lowercase();
    let says_missing = words.contains("not found") || words.contains("does not exist") || words.contains("no such");
    if matches!(code, "ValidationError" | "InvalidParameterValue")
        && (says_missing || words.contains("instance profile"))
    {
        return Class::Missing;
    }
    match status {
        // The page of a web server does not say that a resource is missing.
        404 if message.starts_with(STRANGE) => Class::Stop,
        404 => Class::Missing,
        405 | 501 => Class::Unsupported,
        401 | 403 => Class::Denied,
        429 | 503 => Class::RefusedForNow,
        _ => Class::Stop,
    }
}

impl CloudError {
    /// A sentence of our own.
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other { message: message.into(), hint: None }
    }

    /// A sentence of our own, with what the user can do.
    pub fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Other { message: message.into(), hint: Some(hint.into()) }
    }

    /// The class of this error.
    pub fn class(&self) -> Class {
        classify(self)
    }

    /// The API's code, empty where the error is not the API's.
    pub fn code(&self) -> &str {
        match self {
            Self::Api { code, .. } => code,
            _ => "",
        }
    }

    /// Whether the effect of the call is unknown.
    pub fn answer_lost(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            // A lack of machines has the status 500, and is a plain no. A yes that cannot be read is one all the same.
            Self::Api { status, code, .. } => *status < 300 || *status >= 500 && !NO_CAPACITY.contains(&code.as_str()),
            _ => false,
        }
    }

    /// What the user can do about it, where that follows from the error alone.
    pub fn hint(&self) -> Option<String> {
        match (self, self.class()) {
            (Self::Other { hint, .. }, _) => hint.clone(),
            (Self::Transport(why), _) => Some(answers::hint(why).to_owned()),
            (Self::Api { message, .. }, _) if message.starts_with(STRANGE) => Some(
                "is the address right? a proxy, or the page that asks for a log-in, may answer in the cloud's place"
                    .to_owned(),
            ),
            (Self::Api { message, code, .. }, _) if message.contains(CLOCK) || code == "RequestTimeTooSkewed" => Some(
                "set the clock right, here or there: signatures hold for some minutes only (`timedatectl` shows it)"
                    .to_owned(),
            ),
            (Self::Api { code, .. }, _) if code.starts_with("ExpiredToken") => Some(
                "the session's token has run out: take a new one (`aws sso login`, or a new eucarc); nothing is lost"
                    .to_owned(),
            ),
            (Self::Api { code, .. }, _) if code == "RequestExpired" => {
                Some("the clock of this machine is wrong, or the session's token has run out".to_owned())
            }
            (Self::Api { code, .. }, _) if QUOTA.contains(&code.as_str()) => Some(
                "the account has reached a limit of its own: remove what is not needed any more, or have the limit raised"
                    .to_owned(),
            ),
            (Self::Api { code, .. }, _) if NO_CAPACITY.contains(&code.as_str()) => Some(
                "the zone has no machine of this type left: try later, or choose another type or --zone".to_owned(),
            ),
            (_, Class::Denied) => Some(
                "the cloud does not accept these credentials for this; see `imagecrud-deploy doctor`, \
                 --credentials and --cloud"
                    .to_owned(),
            ),
            (_, Class::Unsupported) => {
                Some("this cloud lacks the action; `imagecrud-deploy doctor` prints what it has".to_owned())
            }
            _ => None,
        }
    }
}

impl<E> From<SdkError<E, HttpResponse>> for CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        tracing::trace!(error = %DisplayErrorContext(&error), "a call failed");
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        match &error {
            SdkError::ServiceError(context) => {
                let metadata = context.err().meta();
                let body = context.raw().body().bytes().unwrap_or_default();
                let body = String::from_utf8_lossy(body);
                // Eucalyptus answers in EC2's form what it does not know, whoever is asked.
                let element = |name: &str| {
                    let (_, rest) = body.split_once(&format!("<{name}>"))?;
                    rest.split_once('<').map(|(text, _)| text)
                };
                let code = metadata.code().or_else(|| element("Code"));
                let code = code.map_or_else(|| format!("HTTP {status}"), str::to_owned);
                let message = metadata.message().or_else(|| element("Message"));
                let mut message = message.unwrap_or("the cloud gave no reason").trim().to_owned();
                let denied = matches!(status, 401 | 403) || DENIED.contains(&code.as_str());
                if let Some(skew) = answers::clock_skew(context.raw()).filter(|_| denied) {
                    message = format!("{message}; {skew}");
                }
                Self::Api { code, message, status }
            }
            SdkError::ResponseError(_) => {
                let strange = answers::chain(&error).find_map(|cause| cause.downcast_ref::<NoAnswer>());
                let message = strange.map_or_else(|| "the answer could not be read".to_owned(), ToString::to_string);
                Self::Api { code: format!("HTTP {status}"), message, status }
            }
            other if answers::chain(other).any(|cause| cause.to_string().contains(NO_CREDENTIALS)) => Self::with_hint(
                "this machine has no credentials for AWS",
                "`aws configure` or `aws sso login` makes them; --cloud chooses another cloud",
            ),
            other => Self::Transport(answers::chain(other).last().map_or_else(String::new, ToString::to_string)),
        }
    }
}

/// Turns "it is not there" into `None`.
pub fn found<T>(result: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.class() == Class::Missing => Ok(None),
        Err(error) => Err(error),
    }
}

/// As `found`, and a cloud that does not know the question has none.
pub fn found_if_known<T>(result: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match result {
        Err(error) if error.class() == Class::Unsupported => Ok(None),
        other => found(other),
    }
}

/// Turns "it is not there" and "this cloud has no such thing" into success.
pub fn gone<T>(result: Result<T, CloudError>) -> Result<(), CloudError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.class(), Class::Missing | Class::Unsupported) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: &str, message: &str) -> CloudError {
        CloudError::Api { code: code.to_owned(), message: message.to_owned(), status: 400 }
    }

    #[test]
    fn every_class_is_told_by_its_code() {
        for (code, class) in [
            ("InvalidVolume.NotFound", Class::Missing),
            ("NoSuchEntity", Class::Missing),
            ("DependencyViolation", Class::RefusedForNow),
            ("VolumeInUse", Class::RefusedForNow),
            ("RequestLimitExceeded", Class::RefusedForNow),
            ("InvalidAction", Class::Unsupported),
            ("AuthFailure", Class::Denied),
            ("IdempotentParameterMismatch", Class::Stop),
            ("InsufficientInstanceCapacity", Class::Stop),
        ] {
            assert_eq!(api(code, "words").class(), class, "{code}");
        }
    }

    #[test]
    fn auto_scaling_says_missing_in_words_only() {
        let error = api("ValidationError", "AutoScalingGroup name not found - imagecrud-web");
        assert_eq!(error.class(), Class::Missing);
        assert_eq!(api("ValidationError", "min must not exceed max").class(), Class::Stop);
        let error = api(
            "InvalidParameterValue",
            "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        );
        assert_eq!(error.class(), Class::Missing);
    }

    #[test]
    fn eucalyptus_says_by_its_binding_what_it_lacks() {
        for words in [
            "Failed to find corresponding class mapping for element: DescribeLaunchTemplates in namespace: ec2",
            "Failed to bind the following fields:\nTagSpecification.1.ResourceType = volume",
        ] {
            assert_eq!(api("400 Bad Request", words).class(), Class::Unsupported);
        }
        assert_eq!(api("400 Bad Request", "anything else").class(), Class::Stop);
    }

    #[test]
    fn a_lost_answer_is_told_from_a_refusal() {
        let full = CloudError::Api { code: "InsufficientInstanceCapacity".into(), message: String::new(), status: 500 };
        assert!(!full.answer_lost());
        assert!(CloudError::Transport("Connection reset".to_owned()).answer_lost());
        assert!(!api("VolumeInUse", "no").answer_lost());
    }
}
