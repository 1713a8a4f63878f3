//! The running cloud: founds the records, starts network, proxy and S3, serves the API and the metadata service, and runs
//! the reconcilers. When it ends, or is killed, the instances, the proxy and S3 go on; the next start adopts them.

/// Founds a cloud's records: site, operator's credentials, image, eucarc.
pub mod founding;
/// Faults and counted calls on the socket `admin`.
pub mod instrument;
/// What the daemon tells of itself on a socket of its own, and only there.
pub mod status;
/// Ends everything that a cloud runs, with or without a daemon.
pub mod stopping;
/// Looks after what the cloud stands on.
pub mod watchman;

use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use axum::{Router, serve::Listener};
use tokio::{net::UnixListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, operation::Observer},
    behaviour::Behaviour,
    config::Config,
    drivers::{
        Drivers, InstanceDriver,
        haproxy::{Haproxy, HaproxySettings},
        loop_volume::LoopVolumes,
        network::NamespaceNetwork,
        nspawn::NspawnDriver,
    },
    faults::Faults,
    image::BuiltImage,
    imds,
    metrics::{self, Metrics},
    object_storage,
    paths::Paths,
    reconcile::{
        self,
        runner::{self, Context},
    },
    store::Store,
    wire::{front::Front, listener},
};

/// Consoles and buckets, as the API may look at them.
struct World {
    instances: Arc<dyn InstanceDriver>,
    paths: Paths,
}

impl Observer for World {
    fn console_output(&self, instance_id: &str) -> Vec<u8> {
        self.instances.console_output(instance_id)
    }

    fn has_bucket(&self, name: &str) -> bool {
        object_storage::has_bucket(&self.paths, name)
    }
}

/// The drivers that act on this machine.
#[must_use]
pub fn real_drivers(config: &Config, paths: &Paths) -> Drivers {
    Drivers {
        instances: Arc::new(NspawnDriver::new(paths.clone())),
        volumes: Arc::new(LoopVolumes::new(paths.clone())),
        network: Arc::new(NamespaceNetwork::new(paths.clone(), config.subnet, config.port)),
        proxy: Arc::new(Haproxy::new(HaproxySettings {
            paths: paths.clone(),
            namespace: Some(paths.unique_name()),
            gateway: config.subnet.gateway(),
            port: config.port,
            api_socket: paths.socket("api"),
            s3_socket: paths.socket("s3"),
            imds_socket: paths.socket("imds"),
        })),
    }
}

/// A cloud that runs in this process. Dropping it stops the loops and listeners, and nothing else.
pub struct LocalCloud {
    pub store: Arc<Store>,
    pub paths: Paths,
    api: Router,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Through what the cloud acts, which image instances may boot from, and what it is to be to its clients.
pub struct Parts {
    pub drivers: Drivers,
    pub image: BuiltImage,
    pub behaviour: Behaviour,
    pub faults: Faults,
    /// What the watchman sees.
    pub troubles: watchman::Troubles,
}

impl LocalCloud {
    /// Founds or adopts the cloud of this state directory and starts its loops and listeners: the API at the socket `api`
    /// of [`Paths`], the metadata service at `imds`, the daemon's own status at `admin`.
    ///
    /// # Errors
    /// When the state directory cannot be used.
    pub async fn start(config: &Config, parts: Parts) -> Result<Self> {
        let paths = Paths::new(&config.state_dir);
        std::fs::create_dir_all(paths.run_dir()).with_context(|| format!("creating {}", paths.run_dir().display()))?;
        let store = Arc::new(Store::open(&paths.records())?);
        founding::found(&store, config, &paths, &parts.image)?;
        let stop = CancellationToken::new();
        let observer = Arc::new(World { instances: Arc::clone(&parts.drivers.instances), paths: paths.clone() });
        let samples = Arc::new(Metrics::open(&paths.metrics()));
        let published = (Arc::clone(&store), paths.clone());
        let front = Front::new(Arc::clone(&store), api::services(), observer, Arc::clone(&samples))
            .like(parts.behaviour)
            .with_faults(parts.faults.clone())
            .publishing(move || {
                // The reconciler tries again.
                if let Err(error) = reconcile::credentials::write_for_s3(&published.0, &published.1) {
                    tracing::warn!("{error:#}");
                }
            });
        let cx = Context {
            store: Arc::clone(&store),
            metrics: Arc::clone(&samples),
            drivers: parts.drivers,
            paths: paths.clone(),
            config: config.clone(),
            faults: parts.faults.clone(),
        };
        let mut tasks = runner::start(&cx, reconcile::all(), &stop);
        tasks.spawn(metrics::keep(samples, stop.clone()));
        let api = front.router();
        serve(&mut tasks, &paths.socket("api"), api.clone(), &stop)?;
        serve(
            &mut tasks,
            &paths.socket("imds"),
            imds::router(Arc::clone(&store), paths.clone(), parts.behaviour),
            &stop,
        )?;
        let admin = status::router(cx, parts.troubles)
            .merge(instrument::router(parts.faults, &paths.socket(object_storage::counted::SOCKET)));
        serve(&mut tasks, &paths.socket("admin"), admin, &stop)?;
        Ok(Self { store, paths, api, stop, tasks })
    }

    /// Serves the API at one more place, for clients that no HAProxy stands before.
    pub fn serve_api(&mut self, listener: impl Listener) {
        self.tasks.spawn(listener::serve(listener, self.api.clone(), self.stop.clone()));
    }

    /// Stops loops and listeners in order: each loop ends after the pass it is in.
    pub async fn shut_down(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Serves a router on a Unix socket that only this user may open. A socket file of a killed predecessor is replaced.
fn serve(tasks: &mut JoinSet<()>, socket: &Path, router: Router, stop: &CancellationToken) -> Result<()> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing the old socket {}", socket.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(socket).with_context(|| format!("listening at {}", socket.display()))?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    tasks.spawn(listener::serve(listener, router, stop.clone()));
    Ok(())
}

/// Held while a daemon runs on a state directory; the kernel lets it go when the process dies.
pub struct DaemonLock(#[expect(dead_code, reason = "held, not used")] std::fs::File);

impl DaemonLock {
    /// # Errors
    /// When another daemon holds it.
    pub fn take(paths: &Paths) -> Result<Self> {
        std::fs::create_dir_all(paths.root()).with_context(|| format!("creating {}", paths.root().display()))?;
        std::fs::set_permissions(paths.root(), std::fs::Permissions::from_mode(0o711))?;
        let path = paths.lock();
        let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).read(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                std::io::Write::write_all(&mut &file, std::process::id().to_string().as_bytes())?;
                Ok(Self(file))
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(&path).unwrap_or_default();
                bail!("a local cloud already runs on {} (process {pid})", paths.root().display())
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }

    /// The process that holds it, if one does.
    #[must_use]
    pub fn holder(paths: &Paths) -> Option<u32> {
        let file = std::fs::File::open(paths.lock()).ok()?;
        match file.try_lock_shared() {
            Err(std::fs::TryLockError::WouldBlock) => std::fs::read_to_string(paths.lock()).ok()?.trim().parse().ok(),
            _ => None,
        }
    }
}
