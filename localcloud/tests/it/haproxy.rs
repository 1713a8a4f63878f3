//! The proxy driver with a real HAProxy. Back ends are small servers of the test on loopback.

/// What a change of the plan must not disturb.
mod changes;
/// API, S3, metadata service, public ports.
mod doors;
/// Instances come into service and leave it.
mod health;
/// Who has to wait for an instance, and who is refused.
mod queue;
/// What is told of each request.
mod requests;
/// Clients come back to their instance.
mod stickiness;
/// HTTPS and SSL.
mod tls;
/// One HAProxy of a test's own, back ends on loopback, and clients.
pub(crate) mod world;
