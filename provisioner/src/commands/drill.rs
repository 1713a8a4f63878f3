//! `drill`: breaks the stack on purpose, watches it heal, and tells what that took and what was lost.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_autoscaling::types::AutoScalingGroup;
use serde_json::json;

use crate::cli::{Disaster, DrillOptions};
use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, gone};
use crate::commands::{Session, heal};
use crate::error::{Exit, Failure, Left};
use crate::poll::{Look, Poll};
use crate::report::seconds;
use crate::resources::auto_scaling_group::{current, in_service_at_load_balancer, serves};
use crate::resources::gallery::{self, Count};
use crate::resources::{database_instance, web_endpoint};
use crate::state::StateFile;

/// The group finds a dead instance, launches another, and the load balancer trusts it.
const LIMIT: Duration = Duration::from_secs(900);
/// A visitor's requests meanwhile.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// What is broken.
struct Victims {
    ids: Vec<String>,
    what: String,
}

/// Runs it.
pub async fn run(session: Session, options: DrillOptions) -> Result<Exit, Failure> {
    let doing = "drilling";
    let lock = session.lock().await?;
    let clients = session.running_clients(doing).await?;
    let (cloud, state) = session.connect(clients).await?;
    let fail = |error: CloudError| Failure::cloud(doing, &error);
    let victims = match options.disaster {
        Disaster::DbLoss => database(&cloud).await.map_err(fail)?,
        Disaster::WebLoss => one_web_server(&cloud).await.map_err(fail)?,
        Disaster::AzLoss => Some(a_zone(&cloud).await?),
    };
    let Some(victims) = victims else {
        return Err(Failure::new(doing, "there is nothing to break").hint("`imagecrud-deploy up` brings the stack up"));
    };
    let report = &session.report;
    if !options.yes {
        report.data(format!("would terminate {}: {}", victims.what, victims.ids.join(", ")));
        report.say("nothing is done yet; --yes does it");
        return Ok(Exit::NotReady);
    }
    let Some(url) = web_endpoint::url(&cloud).await.map_err(fail)? else {
        return Err(Failure::new(doing, "there is no gallery").hint("`imagecrud-deploy up` brings the stack up"));
    };
    let before = gallery::count(&cloud, &url).await?;
    let state = Mutex::new(StateFile::open(&session.global.state_dir, state, lock)?);
    let ended = AtomicBool::new(false);
    let began = Instant::now();
    let healing = async {
        let terminate = cloud.ec2.terminate_instances().set_instance_ids(Some(victims.ids.clone()));
        let healed = match gone(terminate.send().await.map_err(CloudError::from)) {
            Err(error) => Err(fail(error)),
            Ok(()) => {
                report.say(format!(" ✗ terminated {}: {}", victims.what, victims.ids.join(", ")));
                match options.disaster {
                    Disaster::DbLoss => heal::heal(&session, &cloud, &state, &heal::database()).await,
                    Disaster::WebLoss | Disaster::AzLoss => group_heals(&session, &cloud, &victims.ids).await,
                }
            }
        };
        let took = began.elapsed();
        ended.store(true, Ordering::SeqCst);
        healed.map(|()| took)
    };
    let (took, visit) = tokio::join!(healing, visit(&cloud, &url, &ended));
    let took = took?;
    let after = gallery::count(&cloud, &url).await?;
    Ok(tell(&session, &options, took, &visit, &before, &after))
}

/// What a visitor saw.
#[derive(Default)]
struct Visit {
    asked: usize,
    failed: usize,
    first: Option<Duration>,
    last: Option<Duration>,
}

async fn visit(cloud: &Cloud, url: &str, ended: &AtomicBool) -> Visit {
    let began = Instant::now();
    let mut visit = Visit::default();
    while !ended.load(Ordering::SeqCst) {
        let asked_at = began.elapsed();
        let answer = web_endpoint::ask(cloud, url).await;
        visit.asked += 1;
        if !answer.is_ok() {
            visit.failed += 1;
            visit.first.get_or_insert(asked_at);
            visit.last = Some(began.elapsed());
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
    visit
}

fn tell(
    session: &Session,
    options: &DrillOptions,
    took: Duration,
    visit: &Visit,
    before: &Count,
    after: &Count,
) -> Exit {
    let lost: Vec<&String> = before.rows.iter().filter(|name| !after.rows.contains(name)).collect();
    let broken: Vec<&String> = after.broken.iter().filter(|name| !before.broken.contains(name)).collect();
    let outage = visit.first.zip(visit.last).map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first));
    let nothing_lost = lost.is_empty() && broken.is_empty();
    if options.json {
        session.report.data(format!(
            "{:#}",
            json!({
                "drill": options.disaster.word(), "healed_secs": took.as_secs_f64(), "outage_secs": outage.as_secs_f64(),
                "requests": visit.asked, "failed": visit.failed,
                "rows_before": before.rows.len(), "rows_after": after.rows.len(),
                "pictures_before": before.pictures(), "pictures_after": after.pictures(),
                "lost_rows": lost, "lost_pictures": broken,
            })
        ));
    } else {
        session.report.data(format!(
            "healed after {}; requests failed over {} ({} of {})\nrows {} before, {} after; pictures {} before, {} after: {}",
            seconds(took),
            seconds(outage),
            visit.failed,
            visit.asked,
            before.rows.len(),
            after.rows.len(),
            before.pictures(),
            after.pictures(),
            if nothing_lost { "nothing was lost".to_owned() } else { format!("lost: {lost:?} {broken:?}") },
        ));
    }
    if nothing_lost { Exit::Done } else { Exit::Failed }
}

async fn database(cloud: &Cloud) -> Result<Option<Victims>, CloudError> {
    let instance = database_instance::current(cloud).await?;
    let id = instance.as_ref().and_then(|instance| instance.instance_id());
    Ok(id.map(|id| Victims { ids: vec![id.to_owned()], what: "the database VM".to_owned() }))
}

async fn one_web_server(cloud: &Cloud) -> Result<Option<Victims>, CloudError> {
    let (group, serving) = (current(cloud).await?, in_service_at_load_balancer(cloud).await?);
    let victim = group.iter().flat_map(AutoScalingGroup::instances).find(|instance| serves(instance, &serving));
    let id = victim.and_then(|instance| instance.instance_id());
    Ok(id.map(|id| Victims { ids: vec![id.to_owned()], what: "a web server".to_owned() }))
}

/// The web servers of a zone that is not the database's: that one is lost with its volume, and `restore` is for it.
async fn a_zone(cloud: &Cloud) -> Result<Victims, Failure> {
    let doing = "drilling az-loss";
    let fail = |error: CloudError| Failure::cloud(doing, &error);
    let zones = cloud.ec2.describe_availability_zones().send().await.map_err(|error| fail(error.into()))?;
    let zones: Vec<&str> = zones.availability_zones().iter().filter_map(|zone| zone.zone_name()).collect();
    if let [only] = zones.as_slice() {
        return Err(Failure::new(doing, format!("this cloud has one zone ({only}); without it there is no cloud"))
            .hint("`drill web-loss` and `drill db-loss` can be drilled here"));
    }
    let group = current(cloud).await.map_err(fail)?;
    let database = database_instance::current(cloud).await.map_err(fail)?;
    let with_database = database.as_ref().and_then(|i| i.placement()).and_then(|p| p.availability_zone());
    let servers = group.iter().flat_map(AutoScalingGroup::instances);
    let servers: Vec<(&str, &str)> =
        servers.filter_map(|server| Some((server.availability_zone()?, server.instance_id()?))).collect();
    let others: BTreeSet<&str> = servers.iter().map(|(zone, _)| *zone).filter(|z| Some(*z) != with_database).collect();
    let Some(zone) = others.first() else {
        return Err(Failure::new(
            doing,
            "every web server is in the zone of the database, which is lost with its volume",
        )
        .hint("let the group span zones (network.subnets), or see `backup` and `restore`"));
    };
    let ids = servers.iter().filter(|(of, _)| of == zone).map(|(_, id)| (*id).to_owned()).collect();
    Ok(Victims { ids, what: format!("all web servers in {zone}") })
}

/// Waits until the group has as many that serve as it wants, and none of the victims.
async fn group_heals(session: &Session, cloud: &Cloud, victims: &[String]) -> Result<(), Failure> {
    let doing = "waiting for the group to heal";
    let step = session.report.step("auto-scaling-group/web", "healing by itself");
    let poll = Poll {
        session,
        step,
        doing,
        subject: "the group",
        state: "healed",
        limit: LIMIT,
        left: Left::Nothing,
        hint: "`imagecrud-deploy status` shows how far the instances are",
    };
    poll.until(|| async {
        let (group, serving) = tokio::join!(current(cloud), in_service_at_load_balancer(cloud));
        let (group, serving) = (group?, serving?);
        let Some(group) = group else { return Ok(Look::Never("it is gone".to_owned())) };
        let wanted = usize::try_from(group.desired_capacity().unwrap_or_default()).unwrap_or_default();
        let is_victim = |id: &str| victims.iter().any(|victim| victim == id);
        let left = group.instances().iter().filter(|i| i.instance_id().is_some_and(is_victim)).count();
        let in_service = group.instances().iter().filter(|instance| serves(instance, &serving)).count();
        if left == 0 && in_service >= wanted {
            return Ok(Look::Done(()));
        }
        Ok(Look::NotYet(format!("{in_service}/{wanted} in service")))
    })
    .await
}
