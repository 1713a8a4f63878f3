//! The local cloud on fake drivers, in this process, as a stage.

use std::ops::{Deref, DerefMut};

use localcloud::behaviour::Behaviour;
use localcloud::config::{Config, Prefix};
use localcloud::daemon::watchman::Troubles;
use localcloud::daemon::{LocalCloud, Parts};
use localcloud::drivers::fake::FakeCloud;
use localcloud::faults::Faults;
use localcloud::image::BuiltImage;
use localcloud::object_storage;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::faulty_proxy::Upstream;
use crate::stage::{Ground, Stage, directory, own_port};

pub(crate) struct FakeStack {
    stage: Stage,
    pub(crate) machines: FakeCloud,
    pub(crate) faults: Faults,
    cloud: LocalCloud,
    _tasks: JoinSet<()>,
}

impl Deref for FakeStack {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for FakeStack {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

impl FakeStack {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::with_quota(behaviour, 40).await
    }

    /// With so many instances at most.
    pub(crate) async fn with_quota(behaviour: Behaviour, instance_limit: u32) -> Self {
        let directory = directory();
        let (port, counted) = own_port().await;
        let config = Config {
            state_dir: directory.path().join("cloud"),
            cache_dir: directory.path().to_owned(),
            port,
            subnet: Prefix(10, 77),
            public_subnet: Prefix(127, 77),
            instance_limit,
            zones: 2,
        };
        std::fs::create_dir(&config.state_dir).unwrap();
        let image = BuiltImage {
            name: "fake".to_owned(),
            description: "An image that only the fake driver boots".to_owned(),
            root: directory.path().to_owned(),
            created: jiff::Timestamp::now(),
            recipe_hash: "0".to_owned(),
            suite: "bookworm".to_owned(),
            architecture: "x86_64".to_owned(),
        };
        let (machines, faults) = (FakeCloud::new(), Faults::default());
        let parts = Parts {
            drivers: machines.drivers(),
            image,
            behaviour,
            faults: faults.clone(),
            troubles: Troubles::default(),
        };
        let cloud = LocalCloud::start(&config, parts).await.unwrap();
        let paths = &cloud.paths;
        let mut tasks = JoinSet::new();
        let storage = object_storage::Arguments {
            socket: paths.socket("s3"),
            root: paths.s3_root(),
            credentials: paths.s3_credentials(),
            behave_like: behaviour,
            faults: Some(paths.s3_faults()),
            admin_socket: None,
        };
        faults.tell(&paths.s3_faults()).unwrap();
        tasks.spawn(async move { object_storage::run(storage).await.unwrap() });
        while UnixStream::connect(paths.socket("s3")).await.is_err() {
            tokio::task::yield_now().await;
        }
        let ground = Ground {
            eucarc: paths.eucarc(),
            directory,
            counted: (port, counted),
            upstream: Upstream::Sockets { api: paths.socket("api"), s3: paths.socket("s3") },
            faults: Some(faults.clone()),
            image: None,
        };
        Self { stage: Stage::on(ground).await, machines, faults, cloud, _tasks: tasks }
    }
}

impl Drop for FakeStack {
    fn drop(&mut self) {
        std::fs::remove_dir_all(self.cloud.paths.run_dir()).ok();
    }
}
