//! A cloud of EC2 alone: real records, actions, reconcilers and front, over the fake drivers.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use localcloud::{
    api::{
        ec2,
        error::ApiError,
        operation::{Caller, Observer},
    },
    config::{Config, Prefix},
    drivers::{InstanceDriver, fake::FakeCloud},
    faults::Faults,
    image::BuiltImage,
    metrics::Metrics,
    model::{id, identity::Credential, site::Site, time::Timestamp},
    paths::Paths,
    reconcile::{
        instances::Instances,
        network::{Network, Wiring},
        runner::{self, Context, Reconciler},
        snapshots::Snapshots,
        volumes::Volumes,
    },
    store::{Store, StoreError},
    wire::{front::Front, query, value::Node},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

struct Consoles(FakeCloud);

impl Observer for Consoles {
    fn console_output(&self, instance_id: &str) -> Vec<u8> {
        self.0.instances.console_output(instance_id)
    }

    fn has_bucket(&self, _name: &str) -> bool {
        false
    }
}

pub(super) struct Cloud {
    pub(super) store: Arc<Store>,
    pub(super) fake: FakeCloud,
    pub(super) site: Site,
    pub(super) image_id: String,
    cx: Context,
    tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Cloud {
    /// A founded cloud whose reconcilers run.
    pub(super) fn start() -> Self {
        let mut cloud = Self::found();
        cloud.wake();
        cloud
    }

    /// A founded cloud in which nothing is carried out yet.
    pub(super) fn found() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(&dir.path().join("records")).expect("opens"));
        let site = Site::new((10, 77), (127, 77), 8773);
        let image = BuiltImage {
            name: "debian".to_owned(),
            description: "Debian".to_owned(),
            root: dir.path().to_owned(),
            created: jiff::Timestamp::now(),
            recipe_hash: "0".to_owned(),
            suite: "bookworm".to_owned(),
            architecture: "x86_64".to_owned(),
        };
        let image_id = store
            .transact(|tx| {
                tx.put(site.clone());
                Ok::<_, StoreError>(ec2::found(tx, &site, &image))
            })
            .expect("founds");
        let fake = FakeCloud::new();
        let cx = Context {
            store: Arc::clone(&store),
            metrics: Arc::default(),
            drivers: fake.drivers(),
            paths: Paths::new(dir.path()),
            config: Config {
                state_dir: dir.path().to_owned(),
                cache_dir: PathBuf::from("/nonexistent"),
                port: 8773,
                subnet: Prefix(10, 77),
                public_subnet: Prefix(127, 77),
                instance_limit: 40,
                zones: 2,
            },
            faults: Faults::default(),
        };
        Self { store, fake, site, image_id, cx, tasks: JoinSet::new(), _dir: dir }
    }

    /// Starts reconcilers that know nothing of what others did before them.
    pub(super) fn wake(&mut self) {
        let wiring = Arc::<Wiring>::default();
        let reconcilers: Vec<Box<dyn Reconciler>> = vec![
            Box::new(Network::new(Arc::clone(&wiring))),
            Box::new(Instances::new(wiring)),
            Box::<Volumes>::default(),
            Box::<Snapshots>::default(),
        ];
        self.tasks = runner::start(&self.cx, reconcilers, &CancellationToken::new());
    }

    /// Ends the reconcilers where they are.
    pub(super) async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Carries out an action given in query parameters.
    pub(super) fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Node, ApiError> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let input = query::to_node(parameters)?;
        let service = ec2::service();
        let run = service.find(action)?;
        let observer = Consoles(self.fake.clone());
        self.store.transact(|tx| {
            let caller = Caller {
                site: &self.site,
                account_id: self.site.account_id.clone(),
                principal_arn: format!("arn:aws:iam::{}:root", self.site.account_id),
                principal_id: self.site.account_id.clone(),
                access_key: "AKIA".to_owned(),
                region: self.site.region.clone(),
                observer: &observer,
                metrics: &Metrics::default(),
            };
            run(input, tx, &caller)
        })
    }

    /// As `call`, for what must succeed.
    pub(super) fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> Node {
        self.call(action, parameters).unwrap_or_else(|error| panic!("{action}: {error}"))
    }

    /// The code of the refusal.
    pub(super) fn refusal(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        match self.call(action, parameters) {
            Ok(answer) => panic!("{action} {parameters:?} succeeded: {answer:?}"),
            Err(error) => error.code,
        }
    }

    /// Launches one instance and returns its id.
    pub(super) fn run(&self, more: &[(&str, &str)]) -> String {
        self.run_image(&self.image_id, more)
    }

    /// The same, of another image.
    pub(super) fn run_image(&self, image_id: &str, more: &[(&str, &str)]) -> String {
        let mut parameters = vec![("ImageId", image_id), ("MinCount", "1"), ("MaxCount", "1")];
        parameters.extend_from_slice(more);
        text(&self.ok("RunInstances", &parameters), "instancesSet.0.instanceId")
    }

    pub(super) fn instance(&self, id: &str) -> Node {
        at(&self.ok("DescribeInstances", &[("InstanceId.1", id)]), "reservationSet.0.instancesSet.0").clone()
    }

    pub(super) fn state(&self, id: &str) -> String {
        text(&self.instance(id), "instanceState.name")
    }

    pub(super) fn volume(&self, id: &str) -> Node {
        at(&self.ok("DescribeVolumes", &[("VolumeId.1", id)]), "volumeSet.0").clone()
    }

    /// Creates a volume of 1 GiB and returns its id.
    pub(super) fn create_volume(&self) -> String {
        text(&self.ok("CreateVolume", &[("AvailabilityZone", &self.site.home.name), ("Size", "1")]), "volumeId")
    }

    /// Waits until it is so, or fails with what was waited for.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "waited 30 s: {what}; calls: {:?}",
                self.fake.faults.calls()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn until_state(&self, id: &str, state: &str) {
        self.until(&format!("{id} is {state}"), |cloud| cloud.state(id) == state).await;
    }

    pub(super) async fn until_volume(&self, id: &str, state: &str) {
        self.until(&format!("{id} is {state}"), |cloud| text(&cloud.volume(id), "status") == state).await;
    }

    pub(super) async fn until_attached(&self, id: &str) {
        let attached =
            |cloud: &Self| find(&cloud.volume(id), "attachmentSet.0.status") == Some(Node::Text("attached".to_owned()));
        self.until(&format!("{id} is attached"), attached).await;
    }

    /// Serves the API on a port of loopback and returns its URL with an access key and its secret.
    pub(super) async fn serve(&mut self) -> (String, String, String) {
        let (access_key, secret_key) = ("AKIAIOSFODNN7EXAMPLE".to_owned(), id::base64(40));
        let credential =
            Credential::of_root(&self.site.account_id, access_key.clone(), secret_key.clone(), Timestamp::now());
        self.store
            .transact(|tx| {
                tx.put(credential);
                Ok::<_, StoreError>(())
            })
            .expect("commits");
        let front = Front::new(
            Arc::clone(&self.store),
            vec![ec2::service()],
            Arc::new(Consoles(self.fake.clone())),
            Arc::default(),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/services/compute", listener.local_addr().expect("an address"));
        self.tasks.spawn(async move {
            axum::serve(listener, front.router()).await.expect("serves");
        });
        (url, access_key, secret_key)
    }
}

/// What lies at `a.0.b`, if anything does.
pub(super) fn find(node: &Node, path: &str) -> Option<Node> {
    path.split('.').try_fold(node.clone(), |node, step| match node {
        Node::Map(entries) => entries.into_iter().find(|(name, _)| name == step).map(|(_, value)| value),
        Node::List(items) => items.into_iter().nth(step.parse().ok()?),
        _ => None,
    })
}

pub(super) fn at(node: &Node, path: &str) -> Node {
    find(node, path).unwrap_or_else(|| panic!("no {path} in {node:?}"))
}

pub(super) fn text(node: &Node, path: &str) -> String {
    match at(node, path) {
        Node::Text(text) => text,
        Node::Integer(number) => number.to_string(),
        Node::Bool(value) => value.to_string(),
        other => panic!("{path} is {other:?}"),
    }
}

pub(super) fn items(node: &Node, path: &str) -> Vec<Node> {
    match at(node, path) {
        Node::List(items) => items,
        other => panic!("{path} is {other:?}"),
    }
}
