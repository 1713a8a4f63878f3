//! Working stand-ins for all four drivers, in memory: what they were told is there to be looked at, what they do can
//! be made to fail, and machines can be made to vanish. For tests of everything above the drivers.

/// Calls, counted, and which of them fail.
mod faults;
/// Machines in memory.
mod instances;
/// A network that remembers what it was told.
mod network;
/// A proxy that remembers its plan.
mod proxy;
/// Volumes in memory.
mod volumes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::{
    faults::{Faults, When},
    instances::{FakeInstance, FakeInstances},
    network::{FakeNetwork, FakeNetworkState},
    proxy::FakeProxy,
    volumes::{FakeVolume, FakeVolumes},
};
use super::Drivers;

/// All four, as a test holds them.
#[derive(Clone, Default)]
pub struct FakeCloud {
    pub instances: Arc<FakeInstances>,
    pub volumes: Arc<FakeVolumes>,
    pub network: Arc<FakeNetwork>,
    pub proxy: Arc<FakeProxy>,
    pub faults: Faults,
}

impl FakeCloud {
    #[must_use]
    pub fn new() -> Self {
        let faults = Faults::default();
        Self {
            instances: Arc::new(FakeInstances::striking(faults.clone())),
            volumes: Arc::new(FakeVolumes::striking(faults.clone())),
            network: Arc::new(FakeNetwork::striking(faults.clone())),
            proxy: Arc::new(FakeProxy::striking(faults.clone())),
            faults,
        }
    }

    /// The same four, as the reconcilers hold them.
    #[must_use]
    pub fn drivers(&self) -> Drivers {
        Drivers {
            instances: self.instances.clone(),
            volumes: self.volumes.clone(),
            network: self.network.clone(),
            proxy: self.proxy.clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, path::PathBuf};

    use super::*;
    use crate::drivers::{Inspected, InstanceDriver as _, InstanceSpec, VolumeDriver as _};

    fn spec(id: &str) -> InstanceSpec {
        InstanceSpec {
            id: id.to_owned(),
            image_root: PathBuf::from("/image"),
            hostname: "ip-10-77-0-11".to_owned(),
            mac_address: "02:00:00:00:00:01".to_owned(),
            private_ip: Ipv4Addr::new(10, 77, 0, 11),
            vcpus: 1,
            memory_mib: 1024,
        }
    }

    #[tokio::test]
    async fn a_call_fails_before_or_after_its_effect() {
        let cloud = FakeCloud::new();
        cloud.faults.fail_nth(1, When::Before);
        cloud.faults.fail_next("launch i-2", When::After, 1);
        assert!(cloud.instances.launch(&spec("i-1")).await.is_err());
        assert_eq!(cloud.instances.inspect("i-1").await.unwrap(), Inspected::Absent);
        assert!(cloud.instances.launch(&spec("i-2")).await.is_err());
        assert_eq!(cloud.instances.inspect("i-2").await.unwrap(), Inspected::Running);
        cloud.instances.launch(&spec("i-2")).await.unwrap();
        assert_eq!(cloud.faults.calls(), ["launch i-1", "launch i-2", "launch i-2"]);
    }

    #[tokio::test]
    async fn a_mounted_device_is_detached_by_force_only() {
        let cloud = FakeCloud::new();
        cloud.instances.launch(&spec("i-1")).await.unwrap();
        cloud.volumes.create("vol-1", 1).await.unwrap();
        let device = cloud.volumes.open("vol-1").await.unwrap();
        cloud.instances.attach("i-1", "/dev/vdf", "vol-1", &device).await.unwrap();
        cloud.instances.mount("i-1", "/dev/vdf");
        assert!(cloud.instances.detach("i-1", "/dev/vdf", "vol-1", false).await.is_err());
        cloud.instances.detach("i-1", "/dev/vdf", "vol-1", true).await.unwrap();
        assert!(cloud.instances.get("i-1").unwrap().attached.is_empty());
    }
}
