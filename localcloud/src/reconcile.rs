//! Loops that compare the records with the world and act on the difference. Each is a pure `decide` and an async `act`;
//! an activation takes no input, so that a lost wake-up or a killed daemon costs time and nothing else.

/// Alarms follow their metrics, and act.
pub mod alarms;
/// Groups keep as many healthy members as they should.
pub mod auto_scaling;
/// What balancers did: metrics and access logs.
pub mod balancer_requests;
/// Credentials: temporary ones expire, the S3 process is told of all.
pub mod credentials;
/// One piece of work per object, none waiting for another.
pub mod errands;
/// Instances are launched, watched, stopped and terminated.
pub mod instances;
/// Balancers and public addresses are brought to the proxy; its health reports to the records.
pub mod load_balancers;
/// What instances, volumes and groups do becomes metrics.
pub mod measures;
/// Leases and firewall rules follow instances and security groups.
pub mod network;
/// Runs the reconcilers: on a change of the records, and every so often.
pub mod runner;
/// Records for the tests below.
#[cfg(test)]
mod samples;
/// Snapshots are taken, copied and removed.
pub mod snapshots;
/// Volumes are created, attached, detached and deleted.
pub mod volumes;

use std::sync::Arc;

use runner::Reconciler;

/// Every reconciler of the cloud.
#[must_use]
pub fn all() -> Vec<Box<dyn Reconciler>> {
    let wiring = Arc::<network::Wiring>::default();
    vec![
        Box::new(network::Network::new(Arc::clone(&wiring))),
        Box::new(instances::Instances::new(wiring)),
        Box::<volumes::Volumes>::default(),
        Box::<snapshots::Snapshots>::default(),
        Box::<load_balancers::LoadBalancers>::default(),
        Box::<balancer_requests::BalancerRequests>::default(),
        Box::<auto_scaling::AutoScaling>::default(),
        Box::<alarms::Alarms>::default(),
        Box::<credentials::Credentials>::default(),
        Box::<measures::Measures>::default(),
    ]
}
