//! `status`: every resource as the cloud shows it, and the URL.

use serde_json::json;

use crate::cli::StatusOptions;
use crate::commands::{Session, WhenStopped};
use crate::converge::observe;
use crate::error::{Exit, Failure};
use crate::report::table;
use crate::resource::{Observed, Phase};
use crate::resources::keys;

/// Runs it.
pub async fn run(session: Session, options: StatusOptions) -> Result<Exit, Failure> {
    let Some(clients) = session.clients(WhenStopped::Leave).await? else {
        if options.json {
            let stack = session.config.stack();
            let answer = json!({ "stack": stack, "cloud": "local", "running": false, "ready": false, "resources": [] });
            session.report.data(pretty(&answer));
        }
        session.report.say("the local cloud does not run; `imagecrud-deploy up` starts it");
        return Ok(Exit::NotReady);
    };
    let (cloud, state) = session.connect(clients).await?;
    let resources = session.declaration(&cloud, &state);
    let sightings = observe(&resources, &cloud).await?;
    let url = sightings.get(&keys::web_endpoint()).cloned().flatten().map(|observed| observed.id);
    let phase = |observed: Option<&Observed>| observed.map_or("missing", |observed| observed.phase.word());
    let ready = resources.iter().all(|resource| {
        sightings.get(&resource.key()).and_then(Option::as_ref).is_some_and(|o| o.phase == Phase::Ready)
    });
    let mut rows = Vec::new();
    let mut list = Vec::new();
    for resource in &resources {
        let key = resource.key();
        let observed = sightings.get(&key).and_then(Option::as_ref);
        let id = observed.map(|observed| observed.id.clone()).unwrap_or_default();
        let detail = observed.map(|observed| observed.detail.clone()).unwrap_or_default();
        list.push(json!({
            "type": key.kind(), "name": key.name(), "id": id, "phase": phase(observed), "detail": detail,
            "attributes": observed.map(|observed| observed.attributes.0.clone()).unwrap_or_default(),
        }));
        rows.push(vec![key.kind().to_owned(), key.name().to_owned(), id, phase(observed).to_owned(), detail]);
    }
    if options.json {
        let answer = json!({
            "stack": cloud.stack, "stack_id": cloud.stack_id, "cloud": session.config.cloud.kind.word(),
            "running": true, "ready": ready, "url": url, "resources": list,
        });
        session.report.data(pretty(&answer));
    } else {
        session.report.data(table(&["TYPE", "NAME", "ID", "PHASE", "DETAIL"], &rows));
        if let Some(url) = &url {
            session.report.data(format!("\nURL  {url}"));
        }
    }
    if ready {
        return Ok(Exit::Done);
    }
    session.report.say("not everything is ready; `imagecrud-deploy up` brings it there");
    Ok(Exit::NotReady)
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}")
}
