//! What the daemon tells of itself: on the socket `admin`, which no port leads to.

use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};

use super::watchman::Troubles;
use crate::{
    model::{
        auto_scaling::AutoScalingGroup,
        instance::{Instance, InstanceState},
        load_balancer::LoadBalancer,
        snapshot::Snapshot,
        volume::Volume,
    },
    reconcile::runner::Context,
    store::StoreError,
};

/// The cloud at a glance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub process: u32,
    pub version: String,
    pub endpoint: String,
    /// Not counting those that are terminated.
    pub instances: usize,
    pub volumes: usize,
    /// Those of images included.
    #[serde(default)]
    pub snapshots: usize,
    pub load_balancers: usize,
    pub auto_scaling_groups: usize,
    pub buckets: usize,
    /// What is being tried again, and why.
    pub troubles: Vec<String>,
}

impl Status {
    /// Nothing left that anybody could miss.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances + self.volumes + self.snapshots + self.load_balancers + self.auto_scaling_groups + self.buckets
            == 0
    }
}

/// `GET /status`
pub fn router(cx: Context, troubles: Troubles) -> Router {
    Router::new().route("/status", get(status)).with_state((cx, troubles))
}

async fn status(State((cx, seen)): State<(Context, Troubles)>) -> Result<Json<Status>, String> {
    of(&cx, &seen).map(Json).map_err(|error| error.to_string())
}

/// The cloud as it is now.
///
/// # Errors
/// When the records cannot be read.
pub fn of(cx: &Context, seen: &Troubles) -> Result<Status, StoreError> {
    let unwritten = cx.store.trouble();
    cx.store.read(|tx| {
        let instances = tx.list::<Instance>();
        let volumes = tx.list::<Volume>();
        let snapshots = tx.list::<Snapshot>();
        let balancers = tx.list::<LoadBalancer>();
        let groups = tx.list::<AutoScalingGroup>();
        let mut troubles: Vec<String> = seen.list();
        troubles.extend(cx.faults.trouble().into_iter().chain(unwritten));
        let mut note = |what: &str, name: &str, trouble: Option<&String>| {
            troubles.extend(trouble.map(|trouble| format!("{what} {name}: {trouble}")));
        };
        for instance in &instances {
            note("instance", &instance.id, instance.trouble.as_ref());
        }
        for volume in &volumes {
            note("volume", &volume.id, volume.trouble.as_ref());
        }
        for snapshot in &snapshots {
            note("snapshot", &snapshot.id, snapshot.trouble.as_ref());
        }
        for balancer in &balancers {
            note("load balancer", &balancer.name, balancer.trouble.as_ref());
        }
        for group in &groups {
            note("group", &group.name, group.launch_trouble.as_ref().map(|(trouble, _)| trouble));
        }
        Status {
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            endpoint: format!("http://127.0.0.1:{}/services/", cx.config.port),
            instances: instances.iter().filter(|instance| instance.state != InstanceState::Terminated).count(),
            volumes: volumes.len(),
            snapshots: snapshots.len(),
            load_balancers: balancers.len(),
            auto_scaling_groups: groups.len(),
            buckets: crate::object_storage::bucket_count(&cx.paths),
            troubles,
        }
    })
}
