//! `adopt`: the state of a stack whose state file is lost, or is on another machine, from what the cloud shows: the id
//! from the bucket, the bounds from the group. `up` and `teardown` find the rest by tags whenever they run.

use crate::cloud::{Cloud, recover_stack_id};
use crate::commands::Session;
use crate::converge::observe;
use crate::error::{Exit, Failure};
use crate::report::table;
use crate::resource::{Attributes, Phase};
use crate::resources::keys;
use crate::state::{self, ScaleBounds, State, StateFile, private_key_path};

/// Runs it.
pub async fn run(session: Session) -> Result<Exit, Failure> {
    let doing = "adopting the stack";
    let (directory, stack) = (&session.global.state_dir, session.config.stack());
    let clients = session.running_clients(doing).await?;
    let id = recover_stack_id(&clients.s3, stack)
        .await
        .map_err(|error| Failure::cloud("looking for the stack's bucket", &error))?;
    let identity = session.cloud_identity(&clients);
    let Some(id) = id else {
        return Err(Failure::new(doing, format!("{identity} has no bucket of a stack {stack}"))
            .hint("is it another cloud (--cloud) or another name (--stack)? `imagecrud-deploy up` makes a new one"));
    };
    let lock = session.lock().await?;
    let mut state = match state::load(directory, stack) {
        Ok(Some(state)) if state.cloud != identity => {
            let what = format!("the state file here is about another cloud ({})", state.cloud);
            return Err(Failure::new(doing, what).hint("choose another --state-dir"));
        }
        Ok(Some(state)) if state.stack_id == id => state,
        // Unreadable, or about a stack that is gone: what the cloud shows goes over it.
        _ => State::new(stack, &id, &identity),
    };
    let capabilities = crate::cloud::capabilities::probe(&clients, stack).await?;
    let cloud = Cloud::new(clients, stack, &id, capabilities);
    let resources = session.declaration(&cloud, &state);
    let sightings = observe(&resources, &cloud).await?;
    let group = sightings.get(&keys::auto_scaling_group()).and_then(Option::as_ref);
    let report = &session.report;
    if let Some(group) = group.filter(|group| group.phase != Phase::Deleting) {
        let bounds = bounds_of(&group.attributes);
        let configured = session.config.bounds();
        // How many run just now may be the alarms' doing: only other bounds were the user's.
        let chosen = (bounds.min, bounds.max) != (configured.min, configured.max);
        state.scale = chosen.then_some(bounds);
        let whose = if chosen { "chosen with `scale`" } else { "as configured" };
        report.say(format!("the group has {}..{} web servers, {whose}", bounds.min, bounds.max));
    }
    StateFile::open(directory, state, lock)?;
    let rows: Vec<Vec<String>> = resources
        .iter()
        .filter_map(|resource| {
            let key = resource.key();
            let observed = sightings.get(&key)?.as_ref()?;
            Some(vec![key.kind().to_owned(), key.name().to_owned(), observed.id.clone()])
        })
        .collect();
    report.data(table(&["TYPE", "NAME", "ID"], &rows));
    let key = private_key_path(directory, stack);
    if !key.exists() && sightings.get(&keys::key_pair()).is_some_and(Option::is_some) {
        report.say(format!(
            "the private key of {} is not on this machine, so `ssh` and `logs` have none:\n\
             bring {} from where the stack was made",
            cloud.name("ssh"),
            key.display()
        ));
    }
    report.say(format!("adopted as {id}; `imagecrud-deploy plan` shows what `up` would change"));
    Ok(Exit::Done)
}

fn bounds_of(attributes: &Attributes) -> ScaleBounds {
    let number = |name: &str| attributes.get(name).parse().unwrap_or_default();
    ScaleBounds { min: number("min"), max: number("max"), desired: number("desired") }
}
