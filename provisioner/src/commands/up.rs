//! `up`: plan, then converge, until the gallery answers.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cli::{Choices, UpOptions};
use crate::cloud::capabilities::Capabilities;
use crate::cloud::clients::{Clients, is_loopback};
use crate::cloud::site::Site;
use crate::cloud::{Cloud, capabilities, local, site};
use crate::commands::{Session, WhenStopped, timings};
use crate::converge::{Pause, Walk, converge, observe};
use crate::error::{Exit, Failure};
use crate::plan::{Plan, Sightings, plan};
use crate::report::seconds;
use crate::resource::Resource;
use crate::resources::bundle::LocalBinary;
use crate::resources::{keys, launch_spec};
use crate::stack::{Blueprint, Learned, declare};
use crate::state::{ScaleBounds, State, StateFile};

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
    let (mut state, asked) = if session.remembers_capabilities()? {
        (session.state(&clients).await?, None)
    } else {
        let (state, asked) =
            tokio::join!(session.state(&clients), capabilities::probe(&clients, session.config.stack()));
        (state?, Some(asked?))
    };
    let binary = hashing.await.map_err(|error| Failure::new("reading the app's binary", error))??;
    let bounds = state.scale.unwrap_or_else(|| session.config.bounds());
    let (cloud, Outlook { resources, sightings, plan }) =
        look(&session, &clients, &mut state, asked, bounds, binary).await?;
    if !cloud.capabilities.instance_profiles {
        session.report.say(
            "this cloud has no instance profiles: in their user-data the VMs get keys of users that may use the stack's bucket only",
        );
    }
    let state = StateFile::open(&session.global.state_dir, state, lock)?;
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
        timings::tell(report, before, &done.timings, &cloud.calls.so_far());
    }
    let url =
        done.known.require(&keys::web_endpoint()).map_err(|error| Failure::cloud("looking for the URL", &error))?;
    report.say(format!("IMAGE CRUD is up ({})", seconds(began.elapsed())));
    report.data(url);
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

/// Looks with what is remembered of the cloud's abilities. Where that shows that something is to be done, or shows nothing,
/// the cloud is asked what it can do before it is done.
async fn look(
    session: &Session,
    clients: &Clients,
    state: &mut State,
    asked: Option<Capabilities>,
    bounds: ScaleBounds,
    binary: LocalBinary,
) -> Result<(Cloud, Outlook), Failure> {
    let (stack, id) = (state.stack.clone(), state.stack_id.clone());
    let bound = |capabilities| Cloud::new(clients.clone(), &stack, &id, capabilities);
    let mut last = None;
    if asked.is_none()
        && let Some(remembered) = state.capabilities()
    {
        let cloud = bound(remembered);
        match outlook(session, &cloud, bounds, binary.clone()).await {
            Ok(outlook) if outlook.plan.is_empty() => return Ok((cloud, outlook)),
            seen => last = seen.ok().map(|outlook| (remembered, cloud, outlook)),
        }
    }
    let asked = match asked {
        Some(asked) => asked,
        None => capabilities::probe(clients, &stack).await?,
    };
    state.remember(asked);
    if let Some((remembered, cloud, outlook)) = last
        && remembered == asked
    {
        return Ok((cloud, outlook));
    }
    let cloud = bound(asked);
    let outlook = outlook(session, &cloud, bounds, binary).await?;
    Ok((cloud, outlook))
}

/// Looks at everything and decides; touches nothing.
pub(super) async fn outlook(
    session: &Session,
    cloud: &Cloud,
    bounds: ScaleBounds,
    binary: LocalBinary,
) -> Result<Outlook, Failure> {
    let glance = &cloud.at_a_glance();
    let learned = Learned::default();
    let declare = |site| {
        declare(Blueprint {
            config: &session.config,
            cloud,
            site,
            binary: Some(binary.clone()),
            bounds,
            state_dir: &session.global.state_dir,
            learned: learned.clone(),
        })
    };
    // Where a resource is to be has no part in whether it is there: both are asked at once.
    let nowhere = declare(Site::default());
    let (site, sightings) = tokio::join!(site::survey(glance, &session.config), observe(&nowhere, glance));
    let (resources, sightings) = (declare(site?), sightings?);
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
