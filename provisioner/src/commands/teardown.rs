//! `teardown`: everything that was found goes, in reverse order; the data only on explicit word. Works from
//! tags alone, and ends with a look through every API.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::TeardownOptions;
use crate::cloud::leftovers::{self, Leftover};
use crate::cloud::retry::Class;
use crate::cloud::{Cloud, local};
use crate::commands::{LOCAL, Session, WhenStopped, timings};
use crate::config::CloudKind;
use crate::converge::{Pause, Walk, observe};
use crate::demolish::{demolish, goes};
use crate::error::{Exit, Failure, Left};
use crate::pace;
use crate::plan::Sightings;
use crate::report::{pretty, seconds, table};
use crate::resource::{Resource, ResourceKey};
use crate::state;

const SWEEP_LIMIT: Duration = Duration::from_secs(120);

/// Runs it.
pub async fn run(session: Session, options: TeardownOptions) -> Result<Exit, Failure> {
    let began = Instant::now();
    if options.plan {
        return plan(&session, &options).await;
    }
    let lock = session.lock().await?;
    let Some(clients) = session.clients(WhenStopped::StartIfFounded).await? else {
        session.report.say("the local cloud does not run and holds nothing");
        session.report.data("0 left");
        let kept = state::load(&session.global.state_dir, session.config.stack())?;
        if kept.is_none_or(|state| state.cloud == LOCAL) {
            state::forget(&session.global.state_dir, session.config.stack())?;
        }
        return Ok(Exit::Done);
    };
    let (cloud, state) = session.connect(clients).await?;
    let resources = session.declaration(&cloud, &state);
    let report = &session.report;
    if !options.yes {
        let (_, going, kept) = look(&cloud, &resources, options.delete_data).await?;
        return Ok(tell(&session, &options, &going, &kept));
    }
    let (sightings, ..) = look(&cloud, &resources, options.delete_data).await?;
    let before = began.elapsed();

    let walk = Walk { cloud: &cloud, report, interrupt: &session.interrupt };
    let gone = demolish(walk, &resources, &sightings, options.delete_data).await?;
    let left = sweep(walk, options.delete_data).await?;
    if options.timings || report.verbose() {
        timings::tell(report, before, &gone, &cloud.calls.so_far());
    }
    report.say(format!("torn down ({})", seconds(began.elapsed())));
    if !options.delete_data {
        for leftover in &left {
            report.data(format!("kept  {}  {}", leftover.kind, leftover.id));
        }
        if !left.is_empty() {
            report.say(
                "the next `imagecrud-deploy up` takes them over with every row and picture;\n\
                 `imagecrud-deploy teardown --yes --delete-data` removes them",
            );
        }
        return Ok(Exit::Done);
    }
    report.data("0 left");
    state::forget(&session.global.state_dir, session.config.stack())?;
    drop(lock);
    if session.config.cloud.kind == CloudKind::Local {
        local::stop_if_empty(&session.global.local_state_dir).await?;
    }
    Ok(Exit::Done)
}

/// What there is, and which of it would go and which would stay.
async fn look(
    cloud: &Cloud,
    resources: &[Box<dyn Resource>],
    delete_data: bool,
) -> Result<(Sightings, Rows, Rows), Failure> {
    let (sightings, all) = tokio::join!(observe(resources, cloud), leftovers::list(cloud));
    let all = all.map_err(|error| Failure::cloud("looking for what is there", &error))?;
    let sightings = sightings?;
    let strays = strays(resources, &sightings, &all);
    let (going, kept) = rows(resources, &sightings, &strays, delete_data);
    Ok((sightings, going, kept))
}

/// What would go. It starts no cloud and takes no lock.
async fn plan(session: &Session, options: &TeardownOptions) -> Result<Exit, Failure> {
    let founded = local::eucarc_path(&session.global.local_state_dir).exists();
    if session.config.cloud.kind == CloudKind::Local && !founded {
        return Ok(tell(session, options, &[], &[]));
    }
    let clients = session.running_clients("planning").await?;
    let (cloud, state) = session.connect(clients).await?;
    let resources = session.declaration(&cloud, &state);
    let (_, going, kept) = look(&cloud, &resources, options.delete_data).await?;
    Ok(tell(session, options, &going, &kept))
}

fn tell(session: &Session, options: &TeardownOptions, going: &[Vec<String>], kept: &[Vec<String>]) -> Exit {
    let report = &session.report;
    let exit = if going.is_empty() { Exit::Done } else { Exit::NotReady };
    if options.json {
        let list = |rows: &[Vec<String>]| -> Vec<serde_json::Value> {
            rows.iter().map(|row| json!({ "type": row[0], "name": row[1], "id": row[2] })).collect()
        };
        let stack = session.config.stack();
        report.data(pretty(&json!({ "stack": stack, "going": list(going), "kept": list(kept) })));
        return exit;
    }
    if going.is_empty() && kept.is_empty() {
        report.data("0 left");
        return exit;
    }
    if !going.is_empty() {
        report.data(table(&["TYPE", "NAME", "ID"], going));
    }
    for row in kept {
        report.say(format!("kept unless --delete-data is given: {}/{} {}", row[0], row[1], row[2]));
    }
    if !going.is_empty() {
        let data = if options.delete_data { " --delete-data" } else { "" };
        report.say(format!("nothing is done yet; `imagecrud-deploy teardown --yes{data}` does it"));
    }
    exit
}

/// What carries the stack's tag and no declaration accounts for.
fn strays(resources: &[Box<dyn Resource>], sightings: &Sightings, all: &[Leftover]) -> Vec<Leftover> {
    let declared: BTreeSet<ResourceKey> = resources.iter().map(|resource| resource.key()).collect();
    let known: BTreeSet<&str> = sightings.values().flatten().map(|observed| observed.id.as_str()).collect();
    let accounted = |leftover: &Leftover| {
        known.contains(leftover.id.as_str()) || leftover.key.as_ref().is_some_and(|key| declared.contains(key))
    };
    all.iter().filter(|leftover| !accounted(leftover)).cloned().collect()
}

type Rows = Vec<Vec<String>>;

/// What would go and what would stay, for the table.
fn rows(
    resources: &[Box<dyn Resource>],
    sightings: &Sightings,
    strays: &[Leftover],
    delete_data: bool,
) -> (Rows, Rows) {
    let mut going = Vec::new();
    let mut kept = Vec::new();
    for resource in resources.iter().rev() {
        let key = resource.key();
        let Some(observed) = sightings.get(&key).and_then(Option::as_ref) else { continue };
        let row = vec![key.kind().to_owned(), key.name().to_owned(), observed.id.clone()];
        if goes(resource.as_ref(), delete_data) { going.push(row) } else { kept.push(row) }
    }
    for stray in strays {
        let name = stray.key.as_ref().map_or("", ResourceKey::name);
        let row = vec![stray.kind.to_owned(), name.to_owned(), stray.id.clone()];
        if delete_data || !stray.is_data() { going.push(row) } else { kept.push(row) }
    }
    (going, kept)
}

/// The last look, again and again while something is still on its way out. Returns the data that was kept.
async fn sweep(walk: Walk<'_>, delete_data: bool) -> Result<Vec<Leftover>, Failure> {
    let cloud: &Cloud = walk.cloud;
    let doing = "looking through every API for what is left";
    let step = walk.report.step("last look", "through every API");
    let began = Instant::now();
    let mut pause = Pause::default();
    let mut trouble = String::new();
    loop {
        let all = leftovers::list(cloud).await.map_err(|error| Failure::cloud(doing, &error))?;
        let (kept, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|leftover| leftover.is_data() && !delete_data);
        if left.is_empty() {
            step.done(if kept.is_empty() { "found nothing" } else { "found nothing but what is kept" });
            return Ok(kept);
        }
        for leftover in &left {
            if let Err(error) = leftover.delete(cloud).await {
                trouble = format!("{} {}: {error}", leftover.kind, leftover.id);
                if error.class() == Class::Denied {
                    return Err(Failure::cloud(doing, &error));
                }
            }
        }
        if began.elapsed() > pace::limit(SWEEP_LIMIT) {
            step.failed();
            let names: Vec<String> = left.iter().map(|l| format!("{} {}", l.kind, l.id)).collect();
            return Err(Failure::new(doing, format!("{} left: {}", left.len(), trouble))
                .left(Left::Something(names.join(", ")))
                .hint("remove what holds them, then run `imagecrud-deploy teardown` again"));
        }
        step.waiting("it to be gone", &trouble, began.elapsed(), SWEEP_LIMIT);
        walk.interrupt.sleep(pause.lengthen()).await?;
    }
}
