//! A network that remembers what it was told.

use std::sync::Mutex;

use async_trait::async_trait;

use super::{faults::Faults, lock};
use crate::drivers::{NetworkChange, NetworkDriver, NetworkPlan, Result};

/// What the network was told by now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeNetworkState {
    pub started: bool,
    pub plan: NetworkPlan,
    /// How many machines, groups and balancers it was told of, each as often as it was.
    pub told: usize,
}

#[derive(Default)]
pub struct FakeNetwork {
    faults: Faults,
    state: Mutex<FakeNetworkState>,
}

impl FakeNetwork {
    pub(super) fn striking(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    #[must_use]
    pub fn state(&self) -> FakeNetworkState {
        lock(&self.state).clone()
    }
}

#[async_trait]
impl NetworkDriver for FakeNetwork {
    async fn start(&self) -> Result<bool> {
        self.faults.call("start network".to_owned(), || Ok(!std::mem::replace(&mut lock(&self.state).started, true)))
    }

    async fn set(&self, plan: &NetworkPlan) -> Result<()> {
        self.faults.call("set network".to_owned(), || {
            let mut state = lock(&self.state);
            state.told += plan.as_change().len();
            state.plan = plan.clone();
            Ok(())
        })
    }

    async fn change(&self, change: &NetworkChange) -> Result<()> {
        self.faults.call("change network".to_owned(), || {
            let mut state = lock(&self.state);
            state.told += change.len();
            state.plan.apply(change);
            Ok(())
        })
    }

    async fn stop(&self) -> Result<()> {
        self.faults.call("stop network".to_owned(), || {
            *lock(&self.state) = FakeNetworkState::default();
            Ok(())
        })
    }
}
