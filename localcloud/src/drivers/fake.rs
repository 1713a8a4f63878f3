//! Working stand-ins for all four drivers, in memory: what they were told is there to be looked at, what they do can
//! be made to fail, and machines can be made to vanish. For tests of everything above the drivers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    BackendStatus, BalancerRequest, DriverError, Drivers, EndedRequests, Frozen, Inspected, InstanceDriver,
    InstanceSpec, NetworkChange, NetworkDriver, NetworkPlan, ProxyDriver, ProxyPlan, Report, Result, Usage,
    VolumeDriver, VolumeUsage,
};
use crate::host::{HostError, inotify};

/// Whether a call that fails has done its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It has changed nothing.
    Before,
    /// It has done everything, and its answer got lost.
    After,
}

#[derive(Debug)]
enum Fault {
    /// The n-th call from the start, counted from 1.
    Nth(usize, When),
    /// Calls whose text begins so, this many times.
    Named { beginning: String, when: When, times: usize, because: Option<(String, Option<String>)> },
}

#[derive(Debug, Default)]
struct Calls {
    made: Vec<String>,
    faults: Vec<Fault>,
}

/// What the four fakes share: the list of calls, and which of them fail.
///
/// A call reads like `attach i-1 vol-2 /dev/vdf`. Questions (`inspect`, `list`, `status`, `console_output`) are not
/// counted, so that the n-th call is the n-th change.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Calls>>);

impl Faults {
    /// Lets the n-th call of all, counted from 1, fail.
    pub fn fail_nth(&self, nth: usize, when: When) {
        lock(&self.0).faults.push(Fault::Nth(nth, when));
    }

    /// Lets the next calls that begin so (`attach`, `launch i-1`) fail, as often as told.
    pub fn fail_next(&self, beginning: &str, when: When, times: usize) {
        lock(&self.0).faults.push(Fault::Named { beginning: beginning.to_owned(), when, times, because: None });
    }

    /// Lets them fail before their effect as the host would.
    pub fn fail_next_because(&self, beginning: &str, error: HostError, times: usize) {
        let because = Some((error.message, error.hint));
        let beginning = beginning.to_owned();
        lock(&self.0).faults.push(Fault::Named { beginning, when: When::Before, times, because });
    }

    /// Every change that was asked for so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        lock(&self.0).made.clone()
    }

    /// Forgets calls and faults.
    pub fn clear(&self) {
        *lock(&self.0) = Calls::default();
    }

    fn call<T>(&self, name: String, effect: impl FnOnce() -> Result<T>) -> Result<T> {
        let fault = {
            let mut calls = lock(&self.0);
            calls.made.push(name.clone());
            let nth = calls.made.len();
            calls.faults.iter_mut().find_map(|fault| match fault {
                Fault::Nth(wanted, when) if *wanted == nth => Some((*when, None)),
                Fault::Named { beginning, when, times, because }
                    if *times > 0 && name.starts_with(beginning.as_str()) =>
                {
                    *times -= 1;
                    Some((*when, because.clone()))
                }
                _ => None,
            })
        };
        match fault {
            Some((When::Before, Some((cause, hint)))) => Err(DriverError { doing: name, cause, hint }),
            Some((When::Before, None)) => Err(DriverError::new(name, "an injected fault, before its effect")),
            Some((When::After, _)) => {
                effect()?;
                Err(DriverError::new(name, "an injected fault, after its effect"))
            }
            None => effect(),
        }
    }
}

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
            instances: Arc::new(FakeInstances { faults: faults.clone(), ..FakeInstances::default() }),
            volumes: Arc::new(FakeVolumes { faults: faults.clone(), ..FakeVolumes::default() }),
            network: Arc::new(FakeNetwork { faults: faults.clone(), ..FakeNetwork::default() }),
            proxy: Arc::new(FakeProxy { faults: faults.clone(), ..FakeProxy::default() }),
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

/// A machine that was launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeInstance {
    pub spec: InstanceSpec,
    pub running: bool,
    /// Block devices by the guest's device and volume.
    pub attached: BTreeMap<(String, String), PathBuf>,
    /// Devices that the guest has mounted: their detachment is refused unless by force.
    pub mounted: BTreeSet<String>,
    pub console: Vec<u8>,
    pub usage: Usage,
}

#[derive(Default)]
pub struct FakeInstances {
    faults: Faults,
    instances: Mutex<BTreeMap<String, FakeInstance>>,
    /// Trees that were made of instances' disks.
    trees: Mutex<BTreeSet<PathBuf>>,
}

impl FakeInstances {
    #[must_use]
    pub fn get(&self, id: &str) -> Option<FakeInstance> {
        lock(&self.instances).get(id).cloned()
    }

    #[must_use]
    pub fn all(&self) -> Vec<FakeInstance> {
        lock(&self.instances).values().cloned().collect()
    }

    #[must_use]
    pub fn trees(&self) -> BTreeSet<PathBuf> {
        lock(&self.trees).clone()
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        lock(&self.instances).values().filter(|instance| instance.running).count()
    }

    /// It is gone with its disk, as if its host had burnt.
    pub fn vanish(&self, id: &str) {
        lock(&self.instances).remove(id);
    }

    /// Its guest has powered itself off.
    pub fn power_off(&self, id: &str) {
        self.change(id, FakeInstance::power_off);
    }

    pub fn mount(&self, id: &str, device: &str) {
        self.change(id, |instance| {
            instance.mounted.insert(device.to_owned());
        });
    }

    pub fn unmount(&self, id: &str, device: &str) {
        self.change(id, |instance| {
            instance.mounted.remove(device);
        });
    }

    pub fn write_console(&self, id: &str, text: &str) {
        self.change(id, |instance| instance.console.extend_from_slice(text.as_bytes()));
    }

    /// What it has used by now.
    pub fn set_usage(&self, id: &str, usage: Usage) {
        self.change(id, |instance| instance.usage = usage);
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut FakeInstance)) {
        if let Some(instance) = lock(&self.instances).get_mut(id) {
            change(instance);
        }
    }
}

impl FakeInstance {
    fn power_off(&mut self) {
        self.running = false;
        self.attached.clear();
        self.mounted.clear();
    }
}

#[async_trait]
impl InstanceDriver for FakeInstances {
    async fn launch(&self, spec: &InstanceSpec) -> Result<()> {
        self.faults.call(format!("launch {}", spec.id), || {
            let mut instances = lock(&self.instances);
            let instance = instances.entry(spec.id.clone()).or_insert_with(|| FakeInstance {
                spec: spec.clone(),
                running: false,
                attached: BTreeMap::new(),
                mounted: BTreeSet::new(),
                console: b"Welcome to a fake instance!\n".to_vec(),
                usage: Usage::default(),
            });
            instance.running = true;
            Ok(())
        })
    }

    async fn inspect(&self, id: &str) -> Result<Inspected> {
        Ok(match lock(&self.instances).get(id) {
            None => Inspected::Absent,
            Some(instance) if instance.running => Inspected::Running,
            Some(_) => Inspected::Stopped,
        })
    }

    async fn failure(&self, id: &str) -> Option<DriverError> {
        let console = self.get(id)?.console;
        let complaint = inotify::complaint(std::str::from_utf8(&console).ok()?)?;
        Some(DriverError::new(format!("booting {id}"), complaint))
    }

    async fn stop(&self, id: &str) -> Result<()> {
        self.faults.call(format!("stop {id}"), || {
            self.power_off(id);
            Ok(())
        })
    }

    async fn terminate(&self, id: &str) -> Result<()> {
        self.faults.call(format!("terminate {id}"), || {
            self.vanish(id);
            Ok(())
        })
    }

    async fn attach(&self, id: &str, device: &str, volume_id: &str, block_device: &Path) -> Result<()> {
        let name = format!("attach {id} {volume_id} {device}");
        self.faults.call(name.clone(), || {
            let mut instances = lock(&self.instances);
            match instances.get_mut(id).filter(|instance| instance.running) {
                Some(instance) => {
                    instance.attached.insert((device.to_owned(), volume_id.to_owned()), block_device.to_owned());
                    Ok(())
                }
                None => Err(DriverError::new(name, "the instance does not run")),
            }
        })
    }

    async fn detach(&self, id: &str, device: &str, volume_id: &str, force: bool) -> Result<()> {
        let name = format!("detach {id} {volume_id} {device}");
        self.faults.call(name.clone(), || {
            if let Some(instance) = lock(&self.instances).get_mut(id) {
                if instance.mounted.contains(device) && !force {
                    return Err(DriverError::new(name, "the guest has it mounted"));
                }
                instance.attached.remove(&(device.to_owned(), volume_id.to_owned()));
                instance.mounted.remove(device);
            }
            Ok(())
        })
    }

    async fn freeze(&self, id: &str, volume_id: &str) -> Result<Option<Frozen>> {
        self.faults.call(format!("freeze {id} {volume_id}"), || Ok(None))
    }

    async fn capture(&self, id: &str, _image_root: &Path, tree: &Path) -> Result<()> {
        let name = format!("capture {id}");
        self.faults.call(name.clone(), || match self.get(id) {
            Some(_) => {
                lock(&self.trees).insert(tree.to_owned());
                Ok(())
            }
            None => Err(DriverError::new(name, "it has no disk")),
        })
    }

    async fn copy_tree(&self, from: &Path, to: &Path) -> Result<()> {
        let name = format!("copy {}", from.display());
        self.faults.call(name.clone(), || {
            if !lock(&self.trees).contains(from) {
                return Err(DriverError::new(name, "it does not exist"));
            }
            lock(&self.trees).insert(to.to_owned());
            Ok(())
        })
    }

    async fn remove_tree(&self, tree: &Path) -> Result<()> {
        self.faults.call(format!("remove {}", tree.display()), || {
            lock(&self.trees).remove(tree);
            Ok(())
        })
    }

    fn console_output(&self, id: &str) -> Vec<u8> {
        self.get(id).map(|instance| instance.console).unwrap_or_default()
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Usage>> {
        let instances = lock(&self.instances);
        let running = ids.iter().filter_map(|id| instances.get(id)).filter(|instance| instance.running);
        Ok(running.map(|instance| (instance.spec.id.clone(), instance.usage)).collect())
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        Ok(lock(&self.instances).keys().cloned().collect())
    }
}

/// A volume that was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FakeVolume {
    pub size_gib: u32,
    pub open: bool,
    pub usage: VolumeUsage,
}

#[derive(Default)]
pub struct FakeVolumes {
    faults: Faults,
    volumes: Mutex<BTreeMap<String, FakeVolume>>,
    /// Their sizes.
    snapshots: Mutex<BTreeMap<String, u32>>,
}

impl FakeVolumes {
    #[must_use]
    pub fn get(&self, id: &str) -> Option<FakeVolume> {
        lock(&self.volumes).get(id).copied()
    }

    /// What was done with it by now.
    pub fn set_usage(&self, id: &str, usage: VolumeUsage) {
        if let Some(volume) = lock(&self.volumes).get_mut(id) {
            volume.usage = usage;
        }
    }

    #[must_use]
    pub fn snapshots(&self) -> BTreeMap<String, u32> {
        lock(&self.snapshots).clone()
    }

    fn keep_snapshot(&self, name: String, id: &str, size_gib: Option<u32>, report: &Report) -> Result<()> {
        self.faults.call(name.clone(), || {
            let size_gib = size_gib.ok_or_else(|| DriverError::new(name, "it does not exist"))?;
            report(100);
            lock(&self.snapshots).entry(id.to_owned()).or_insert(size_gib);
            Ok(())
        })
    }
}

#[async_trait]
impl VolumeDriver for FakeVolumes {
    async fn create(&self, id: &str, size_gib: u32) -> Result<()> {
        self.faults.call(format!("create {id}"), || {
            lock(&self.volumes).entry(id.to_owned()).or_insert(FakeVolume { size_gib, ..FakeVolume::default() });
            Ok(())
        })
    }

    async fn open(&self, id: &str) -> Result<PathBuf> {
        let name = format!("open {id}");
        self.faults.call(name.clone(), || match lock(&self.volumes).get_mut(id) {
            Some(volume) => {
                volume.open = true;
                Ok(PathBuf::from("/dev/fake").join(id))
            }
            None => Err(DriverError::new(name, "it does not exist")),
        })
    }

    async fn close(&self, id: &str) -> Result<()> {
        self.faults.call(format!("close {id}"), || {
            if let Some(volume) = lock(&self.volumes).get_mut(id) {
                volume.open = false;
            }
            Ok(())
        })
    }

    async fn delete(&self, id: &str) -> Result<()> {
        self.faults.call(format!("delete {id}"), || {
            lock(&self.volumes).remove(id);
            Ok(())
        })
    }

    async fn usage(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, VolumeUsage>> {
        let volumes = lock(&self.volumes);
        let open = ids.iter().filter_map(|id| Some((id, volumes.get(id).filter(|volume| volume.open)?)));
        Ok(open.map(|(id, volume)| (id.clone(), volume.usage)).collect())
    }

    async fn grow(&self, id: &str, size_gib: u32) -> Result<()> {
        self.faults.call(format!("grow {id} {size_gib}"), || {
            if let Some(volume) = lock(&self.volumes).get_mut(id) {
                volume.size_gib = volume.size_gib.max(size_gib);
            }
            Ok(())
        })
    }

    async fn snapshot(&self, id: &str, snapshot_id: &str, report: Report) -> Result<()> {
        let size_gib = self.get(id).map(|volume| volume.size_gib);
        self.keep_snapshot(format!("snapshot {id} {snapshot_id}"), snapshot_id, size_gib, &report)
    }

    async fn restore(&self, id: &str, size_gib: u32, snapshot_id: &str) -> Result<()> {
        let name = format!("restore {id} {snapshot_id}");
        self.faults.call(name.clone(), || {
            if !lock(&self.snapshots).contains_key(snapshot_id) {
                return Err(DriverError::new(name, "the snapshot does not exist"));
            }
            lock(&self.volumes).entry(id.to_owned()).or_insert(FakeVolume { size_gib, ..FakeVolume::default() });
            Ok(())
        })
    }

    async fn copy_snapshot(&self, from: &str, to: &str, report: Report) -> Result<()> {
        let size_gib = lock(&self.snapshots).get(from).copied();
        self.keep_snapshot(format!("copy {from} {to}"), to, size_gib, &report)
    }

    async fn delete_snapshot(&self, snapshot_id: &str) -> Result<()> {
        self.faults.call(format!("delete {snapshot_id}"), || {
            lock(&self.snapshots).remove(snapshot_id);
            Ok(())
        })
    }

    async fn list(&self) -> Result<BTreeSet<String>> {
        Ok(lock(&self.volumes).keys().cloned().collect())
    }
}

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

#[derive(Default)]
struct Proxied {
    plan: Option<ProxyPlan>,
    /// By instance.
    health: BTreeMap<String, Option<bool>>,
    /// Of whoever is not in it; healthy if nothing is said.
    health_of_others: Option<Option<bool>>,
    /// Ended and not yet forgotten, with the position of the first.
    requests: (u64, Vec<BalancerRequest>),
}

#[derive(Default)]
pub struct FakeProxy {
    faults: Faults,
    proxied: Mutex<Proxied>,
}

impl FakeProxy {
    /// The plan that is in force; `None` before the first and after a stop.
    #[must_use]
    pub fn plan(&self) -> Option<ProxyPlan> {
        lock(&self.proxied).plan.clone()
    }

    /// What the health checks of this instance see from now on. They see health where nothing else is said.
    pub fn set_health(&self, instance_id: &str, healthy: Option<bool>) {
        lock(&self.proxied).health.insert(instance_id.to_owned(), healthy);
    }

    /// What they see of every instance of which nothing else is said.
    pub fn set_health_of_others(&self, healthy: Option<bool>) {
        lock(&self.proxied).health_of_others = Some(healthy);
    }

    /// A request has ended.
    pub fn end_request(&self, request: BalancerRequest) {
        lock(&self.proxied).requests.1.push(request);
    }
}

#[async_trait]
impl ProxyDriver for FakeProxy {
    async fn apply(&self, plan: &ProxyPlan) -> Result<()> {
        self.faults.call("apply".to_owned(), || {
            lock(&self.proxied).plan = Some(plan.clone());
            Ok(())
        })
    }

    async fn status(&self) -> Result<Vec<BackendStatus>> {
        let proxied = lock(&self.proxied);
        let balancers = proxied.plan.iter().flat_map(|plan| &plan.balancers);
        let backends = balancers.flat_map(|balancer| balancer.backends.iter().map(|backend| (&balancer.name, backend)));
        let statuses = backends.map(|(balancer, backend)| {
            let others = proxied.health_of_others.unwrap_or(Some(true));
            let healthy = proxied.health.get(&backend.instance_id).copied().unwrap_or(others);
            let last_check = match healthy {
                None => "not checked yet",
                Some(true) => "answered 200",
                Some(false) => "no answer",
            };
            BackendStatus {
                balancer: balancer.clone(),
                instance_id: backend.instance_id.clone(),
                healthy,
                passing: healthy == Some(true),
                last_check: last_check.to_owned(),
                current_sessions: 0,
            }
        });
        Ok(statuses.collect())
    }

    async fn ended_requests(&self) -> Result<EndedRequests> {
        let (first, requests) = &lock(&self.proxied).requests;
        let position = first + requests.len() as u64;
        Ok(EndedRequests { requests: requests.clone(), position, is_truncated: false })
    }

    async fn forget_requests(&self, position: u64) -> Result<()> {
        let (first, requests) = &mut lock(&self.proxied).requests;
        let known = usize::try_from(position.saturating_sub(*first)).unwrap_or(usize::MAX).min(requests.len());
        requests.drain(..known);
        *first += known as u64;
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        self.faults.call("stop proxy".to_owned(), || {
            lock(&self.proxied).plan = None;
            Ok(())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

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
