//! A whole cloud on fake drivers, without its front: services are called as the front calls them, reconcilers are driven
//! by hand until what a test waits for is so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use localcloud::{
    api::{
        self,
        error::ApiError,
        operation::{Caller, Observer, Service},
    },
    config::{Config, Prefix},
    drivers::{
        BackendStatus, Drivers, EndedRequests, ProxyDriver, ProxyPlan,
        fake::{FakeCloud, FakeProxy},
    },
    faults::Faults,
    image::BuiltImage,
    metrics::Metrics,
    model::{site::Site, time::Timestamp},
    paths::Paths,
    reconcile::{
        self,
        runner::{Context, Reconciler},
    },
    store::{Record, Store, StoreError, Transaction},
    wire::{front::Front, query, value::Node},
};

const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);

pub(crate) struct FakeWorld {
    pub(crate) store: Arc<Store>,
    pub(crate) cloud: FakeCloud,
    pub(crate) proxy: Arc<BusyProxy>,
    pub(crate) site: Site,
    pub(crate) image_id: String,
    services: Vec<Service>,
    cx: Context,
    reconcilers: Vec<Box<dyn Reconciler>>,
    _dir: tempfile::TempDir,
}

impl FakeWorld {
    pub(crate) fn new() -> Self {
        Self::over(FakeCloud::new(), |paths| Store::open(&paths.records()).unwrap(), |drivers| drivers)
    }

    /// Over records and machines that may be there already, with something around the drivers.
    pub(crate) fn over(
        cloud: FakeCloud,
        open: impl FnOnce(&Paths) -> Store,
        around: impl FnOnce(Drivers) -> Drivers,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            state_dir: dir.path().to_owned(),
            cache_dir: dir.path().to_owned(),
            port: 8773,
            subnet: Prefix(10, 77),
            public_subnet: Prefix(127, 77),
            instance_limit: 40,
            zones: 2,
        };
        let paths = Paths::new(dir.path());
        let store = Arc::new(open(&paths));
        let known = store.read(|tx| tx.get::<Site>(Site::KEY).map(|site| Site::clone(&site))).unwrap();
        let site = known.unwrap_or_else(|| Site::new((10, 77), (127, 77), config.port)).with_zones(config.zones);
        let image = BuiltImage {
            name: "debian".into(),
            description: "Debian".into(),
            root: dir.path().to_owned(),
            created: jiff::Timestamp::now(),
            recipe_hash: "0".into(),
            suite: "bookworm".into(),
            architecture: "x86_64".into(),
        };
        let image_id = store
            .transact(|tx| {
                tx.put(site.clone());
                Ok::<_, StoreError>(api::ec2::found(tx, &site, &image))
            })
            .unwrap();
        let proxy = Arc::new(BusyProxy { inner: Arc::clone(&cloud.proxy), sessions: Mutex::default() });
        let drivers = around(Drivers { proxy: proxy.clone(), ..cloud.drivers() });
        let cx = Context {
            store: Arc::clone(&store),
            metrics: Arc::default(),
            drivers,
            paths,
            config,
            faults: Faults::default(),
        };
        Self {
            store,
            cloud,
            proxy,
            site,
            image_id,
            services: api::services(),
            cx,
            reconcilers: reconcile::all(),
            _dir: dir,
        }
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.cx.metrics
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.cx.paths
    }

    /// Calls an action as the account's root.
    pub(crate) fn call(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<Answer, ApiError> {
        let service = self.services.iter().find(|known| known.signing_name == service).unwrap();
        let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let input = query::to_node(pairs).map_err(ApiError::from)?;
        let run = service.find(action)?;
        let caller = Caller {
            site: &self.site,
            account_id: self.site.account_id.clone(),
            principal_arn: format!("arn:aws:iam::{}:root", self.site.account_id),
            principal_id: self.site.account_id.clone(),
            access_key: "AKIATEST".into(),
            region: self.site.region.clone(),
            observer: &Buckets(self.cx.paths.clone()),
            metrics: &self.cx.metrics,
        };
        self.store.transact(|tx| run(input, tx, &caller)).map(Answer)
    }

    /// The cloud's front, with all that stands between a client and an action, without faults and with everything.
    pub(crate) fn front(&self) -> Front {
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.cx.metrics));
        Front::new(store, api::services(), Arc::new(Buckets(self.cx.paths.clone())), metrics)
    }

    /// Those that groups' launches meet.
    pub(crate) fn faults(&self) -> Faults {
        self.cx.faults.clone()
    }

    /// Calls an action that must be refused, and returns the error's code.
    pub(crate) fn refused(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        match self.call(service, action, parameters) {
            Ok(answer) => panic!("{action} was not refused: {:?}", answer.0),
            Err(error) => error.code,
        }
    }

    /// What its reconcilers work with.
    pub(crate) fn context(&self) -> &Context {
        &self.cx
    }

    /// Leaves a reconciler out: a test that chooses the time drives it by itself.
    pub(crate) fn leave_out(&mut self, name: &str) {
        self.reconcilers.retain(|reconciler| reconciler.name() != name);
    }

    /// Each reconciler looks once.
    pub(crate) async fn pass(&mut self) {
        for reconciler in &mut self.reconcilers {
            // A reconciler that fails is asked again, as by the runner.
            let _ = reconciler.reconcile(&self.cx).await;
        }
    }

    /// Lets the reconcilers work until it is so.
    pub(crate) async fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !so(self) {
            assert!(Instant::now() < deadline, "waited for {LIMIT:?}: {what}");
            self.pass().await;
            // Errands of the reconcilers run beside them.
            tokio::time::sleep(POLL).await;
        }
    }

    /// Forgets what only a living daemon knows, as a kill does.
    pub(crate) fn restart(&mut self) {
        self.reconcilers = reconcile::all();
    }

    pub(crate) fn read<T>(&self, body: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
        self.store.read(body).unwrap()
    }

    /// Changes a record behind everyone's back, mostly to let time go by in it.
    pub(crate) fn change<R: Record>(&self, key: &str, change: impl FnOnce(&mut R)) {
        let changed = self.store.transact(|tx| Ok::<_, StoreError>(tx.update::<R>(key, change))).unwrap();
        assert!(changed.is_some(), "there is no {} {key}", R::KIND);
    }
}

/// Consoles that are silent, and the buckets under the world's own directory.
pub(crate) struct Buckets(pub(crate) Paths);

impl Observer for Buckets {
    fn console_output(&self, _instance_id: &str) -> Vec<u8> {
        Vec::new()
    }

    fn has_bucket(&self, name: &str) -> bool {
        localcloud::object_storage::has_bucket(&self.0, name)
    }
}

/// What an action answered.
#[derive(Debug)]
pub(crate) struct Answer(Node);

impl Answer {
    /// The value at a path such as `AutoScalingGroups.0.MinSize`; `None` if it is not there.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        match self.node(path)? {
            Node::Text(text) => Some(text.clone()),
            Node::Integer(number) => Some(number.to_string()),
            Node::Float(number) => Some(number.to_string()),
            Node::Bool(value) => Some(value.to_string()),
            Node::Timestamp(seconds) => Some(Timestamp::from_seconds(*seconds).to_string()),
            other => panic!("{path} is {other:?}"),
        }
    }

    /// All of it.
    pub(crate) fn tree(&self) -> &Node {
        &self.0
    }

    pub(crate) fn text(&self, path: &str) -> String {
        self.get(path).unwrap_or_else(|| panic!("there is no {path} in {:?}", self.0))
    }

    /// How long the list at the path is.
    pub(crate) fn count(&self, path: &str) -> usize {
        match self.node(path) {
            Some(Node::List(items)) => items.len(),
            other => panic!("{path} is {other:?}"),
        }
    }

    /// One value of each element of a list.
    pub(crate) fn each(&self, list: &str, field: &str) -> Vec<String> {
        (0..self.count(list)).map(|index| self.text(&format!("{list}.{index}.{field}"))).collect()
    }

    fn node(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(&self.0, |node, step| match node {
            Node::Map(entries) => entries.iter().find(|(key, _)| key == step).map(|(_, value)| value),
            Node::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

/// The fake proxy, with connections.
pub(crate) struct BusyProxy {
    inner: Arc<FakeProxy>,
    sessions: Mutex<BTreeMap<String, u64>>,
}

impl BusyProxy {
    /// How many connections an instance has from now on.
    pub(crate) fn set_sessions(&self, instance_id: &str, sessions: u64) {
        self.sessions.lock().unwrap().insert(instance_id.to_owned(), sessions);
    }
}

#[async_trait]
impl ProxyDriver for BusyProxy {
    async fn apply(&self, plan: &ProxyPlan) -> localcloud::drivers::Result<()> {
        self.inner.apply(plan).await
    }

    async fn status(&self) -> localcloud::drivers::Result<Vec<BackendStatus>> {
        let mut statuses = self.inner.status().await?;
        let sessions = self.sessions.lock().unwrap();
        for status in &mut statuses {
            status.current_sessions = sessions.get(&status.instance_id).copied().unwrap_or(0);
        }
        Ok(statuses)
    }

    async fn ended_requests(&self) -> localcloud::drivers::Result<EndedRequests> {
        self.inner.ended_requests().await
    }

    async fn forget_requests(&self, position: u64) -> localcloud::drivers::Result<()> {
        self.inner.forget_requests(position).await
    }

    async fn stop(&self) -> localcloud::drivers::Result<()> {
        self.inner.stop().await
    }
}
