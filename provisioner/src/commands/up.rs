//! `up`: plan, then converge, until the gallery answers.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cli::{Choices, UpOptions};
use crate::cloud::Cloud;
use crate::cloud::clients::is_loopback;
use crate::cloud::{local, site};
use crate::commands::{Session, WhenStopped};
use crate::converge::{Pause, Timing, Walk, converge, critical_path, observe};
use crate::error::{Exit, Failure};
use crate::plan::{Plan, Sightings, plan};
use crate::report::seconds;
use crate::resource::Resource;
use crate::resources::bundle::LocalBinary;
use crate::resources::{keys, launch_spec, volume, web_endpoint};
use crate::stack::{Blueprint, declare};
use crate::state::{ScaleBounds, StateFile};

/// How long a port may stay taken by a load balancer that is gone.
const PORT_LIMIT: Duration = Duration::from_secs(5);

/// Runs it.
pub async fn run(mut session: Session, options: UpOptions) -> Result<Exit, Failure> {
    let began = Instant::now();
    choose(&mut session, &options.choices);
    let lock = session.lock().await?;
    let binary_path = bundle_path(&session)?;
    LocalBinary::open(&binary_path)?;
    let hashing = tokio::task::spawn_blocking(move || LocalBinary::read(&binary_path));
    let clients = session
        .clients(WhenStopped::Start)
        .await?
        .ok_or_else(|| Failure::new("connecting", "the local cloud does not run"))?;
    let (cloud, state) = session.connect(clients).await?;
    if !cloud.capabilities.instance_profiles {
        session.report.say(
            "this cloud has no instance profiles: in their user-data the VMs get keys of users that may use the stack's bucket only",
        );
    }
    let binary = hashing.await.map_err(|error| Failure::new("reading the app's binary", error))??;
    let bounds = state.scale.unwrap_or_else(|| session.config.bounds());
    let state = StateFile::open(&session.global.state_dir, state, lock)?;
    let Outlook { resources, sightings, plan } = outlook(&session, &cloud, bounds, binary).await?;
    let report = &session.report;
    for line in plan.lines() {
        report.detail(line);
    }
    plan.refusals(&resources)?;
    port_is_free(&session, &cloud, &plan).await?;
    if let Some(why) = launch_spec::held_back(&resources, &sightings) {
        report.say(why);
    }
    if plan.is_empty() {
        report.say(format!("nothing changes: {}", plan.summary()));
    } else {
        report.say(format!("stack {} in {}: {}", cloud.stack, session.config.cloud.kind.word(), plan.summary()));
    }
    let state = Mutex::new(state);
    let walk = Walk { cloud: &cloud, report, interrupt: &session.interrupt };
    let before = began.elapsed();
    let done = converge(walk, &resources, &sightings, &state).await?;
    if options.timings || report.verbose() {
        report.say(format!("looking took {}, then the longest chain:", seconds(before)));
        for timing in critical_path(&done.timings) {
            report.say(line_of(timing));
        }
    }
    let url = web_endpoint::url(&cloud).await.map_err(|error| Failure::cloud("looking for the URL", &error))?;
    let Some(url) = url else { return Err(Failure::new("looking for the URL", "the load balancer is gone again")) };
    report.say(format!("IMAGE CRUD is up ({})", seconds(began.elapsed())));
    report.data(&url);
    report.say(format!(
        "next: open it in a browser, or `imagecrud upload FILE {url}NAME`;\n      \
         `imagecrud-deploy status`, `imagecrud-deploy scale N`, `imagecrud-deploy teardown`"
    ));
    Ok(Exit::Done)
}

/// What there is, what there is to be, and what is to be done about it.
pub(super) struct Outlook {
    pub(super) resources: Vec<Box<dyn Resource>>,
    pub(super) sightings: Sightings,
    pub(super) plan: Plan,
}

/// Looks at everything and decides; touches nothing.
pub(super) async fn outlook(
    session: &Session,
    cloud: &Cloud,
    bounds: ScaleBounds,
    binary: LocalBinary,
) -> Result<Outlook, Failure> {
    let volume = volume::current(cloud).await.map_err(|error| Failure::cloud("looking for the volume", &error))?;
    let volume_zone = volume.as_ref().and_then(|volume| volume.availability_zone());
    let site = site::survey(cloud, &session.config, volume_zone).await?;
    let resources = declare(Blueprint {
        config: &session.config,
        cloud,
        site,
        binary: Some(binary),
        bounds,
        state_dir: &session.global.state_dir,
    });
    let sightings = observe(&resources, cloud).await?;
    let plan = plan(&resources, &sightings);
    Ok(Outlook { resources, sightings, plan })
}

/// Flags go over the settings.
pub(super) fn choose(session: &mut Session, choices: &Choices) {
    let config = &mut session.config;
    config.web.bundle = choices.bundle.clone().or(config.web.bundle.take());
    config.cloud.image = choices.image.clone().or(config.cloud.image.take());
    config.cloud.zone = choices.zone.clone().or(config.cloud.zone.take());
    config.web.health_limit_secs = choices.health_limit.or(config.web.health_limit_secs);
}

fn line_of(timing: &Timing) -> String {
    format!(
        "   {:>6}  {} (calls {}, wait {})",
        seconds(timing.ready.saturating_sub(timing.begun)),
        timing.key,
        seconds(timing.called.saturating_sub(timing.begun)),
        seconds(timing.ready.saturating_sub(timing.called)),
    )
}

/// Where the app's binary is.
pub fn bundle_path(session: &Session) -> Result<PathBuf, Failure> {
    if let Some(path) = &session.config.web.bundle {
        return Ok(path.clone());
    }
    local::sibling("imagecrud").ok_or_else(|| {
        Failure::new("looking for the app's binary", "imagecrud is neither beside this program nor on PATH")
            .hint("`make build` builds it; another place is named by web.bundle or --bundle")
    })
}

/// A balancer on this very machine takes a port of it: say so before anything is made, not after. One that was deleted
/// just now may hold it for another moment.
pub(super) async fn port_is_free(session: &Session, cloud: &Cloud, plan: &Plan) -> Result<(), Failure> {
    let port = session.config.port();
    if !is_loopback(&cloud.endpoints.ec2) || !plan.creates(&keys::load_balancer()) {
        return Ok(());
    }
    let (began, mut pause) = (Instant::now(), Pause::default());
    while !port_can_be_bound(port) {
        if began.elapsed() > PORT_LIMIT {
            return Err(Failure::new("planning load-balancer/web", format!("port {port} of this machine is taken"))
                .hint("stop what listens there (`ss -ltnp` shows it), or choose another: listener.port"));
        }
        session.interrupt.sleep(pause.lengthen()).await?;
    }
    Ok(())
}

/// Whether nothing listens on a port of the loopback.
pub fn port_can_be_bound(port: u16) -> bool {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}
