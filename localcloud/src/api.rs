//! The services' actions. An action is the type of its input; `run` gets a transaction and nothing else, so that an
//! action cannot touch the world. Each service lists its actions in one visible place.

/// EC2 Auto Scaling.
pub mod autoscaling;
/// Amazon CloudWatch.
pub mod cloudwatch;
/// Amazon EC2.
pub mod ec2;
/// Elastic Load Balancing, classic.
pub mod elb;
/// AWS IAM (Eucalyptus: Euare).
pub mod iam;
/// AWS STS (Eucalyptus: Tokens).
pub mod sts;

/// Whether the caller may.
pub mod authorization;
/// What the services say of their parameters.
pub mod constraints;
/// Errors as the services word them.
pub mod error;
/// What an action is, and a service as a list of them.
pub mod operation;
/// Long listings in pages.
pub mod page;

use operation::Service;

/// Every service of the cloud but S3, which is a process of its own.
#[must_use]
pub fn services() -> Vec<Service> {
    vec![ec2::service(), elb::service(), autoscaling::service(), cloudwatch::service(), iam::service(), sts::service()]
}
