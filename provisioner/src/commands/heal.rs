//! What `restore` and `drill` share with `up`: brings some resources, with what they need, to what is declared, and
//! leaves all others alone.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::cloud::Cloud;
use crate::cloud::site;
use crate::commands::Session;
use crate::converge::{Walk, converge, observe};
use crate::error::Failure;
use crate::plan::plan;
use crate::resource::{Resource, ResourceKey};
use crate::resources::keys;
use crate::stack::{Blueprint, Learned, declare};
use crate::state::StateFile;

/// The database serves, and the gallery answers.
pub fn database() -> [ResourceKey; 2] {
    [keys::database_endpoint(), keys::web_endpoint()]
}

/// Brings them there.
pub async fn heal(
    session: &Session,
    cloud: &Cloud,
    state: &Mutex<StateFile>,
    wanted: &[ResourceKey],
) -> Result<(), Failure> {
    let site = site::survey(cloud, &session.config).await?;
    let bounds = {
        let state = state.lock().map_err(|_| Failure::new("reading the state", "an earlier write panicked"))?;
        state.state.scale.unwrap_or_else(|| session.config.bounds())
    };
    let all = declare(Blueprint {
        config: &session.config,
        cloud,
        site,
        binary: None,
        bounds,
        state_dir: &session.global.state_dir,
        learned: Learned::default(),
    });
    let some = with_needs(all, wanted);
    let sightings = observe(&some, cloud).await?;
    plan(&some, &sightings).refusals(&some)?;
    let walk = Walk { cloud, report: &session.report, interrupt: &session.interrupt };
    converge(walk, &some, &sightings, state).await?;
    Ok(())
}

/// Those that are wanted and, in turn, what they need; in the order that they came in.
fn with_needs(all: Vec<Box<dyn Resource>>, wanted: &[ResourceKey]) -> Vec<Box<dyn Resource>> {
    let mut chosen: BTreeSet<ResourceKey> = BTreeSet::new();
    let mut open = wanted.to_vec();
    while let Some(key) = open.pop() {
        if let Some(resource) = all.iter().find(|resource| resource.key() == key)
            && chosen.insert(key)
        {
            open.extend(resource.needs());
        }
    }
    all.into_iter().filter(|resource| chosen.contains(&resource.key())).collect()
}
