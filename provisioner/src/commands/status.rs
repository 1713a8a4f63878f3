//! `status`: every resource as the cloud shows it, and the URL; once, or again and again.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::cli::StatusOptions;
use crate::cloud::Cloud;
use crate::commands::{Session, WhenStopped};
use crate::converge::observe;
use crate::error::{Exit, Failure};
use crate::report::{pretty, table};
use crate::resource::{Observed, Phase, Resource};
use crate::resources::keys;

/// Clears a terminal.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Runs it.
pub async fn run(session: Session, options: StatusOptions) -> Result<Exit, Failure> {
    if options.watch {
        return watch(&session, &options).await;
    }
    let view = match connect(&session).await? {
        Some(stack) => stack.look(&session).await?,
        None => View::of_a_stopped_cloud(&session),
    };
    if options.json {
        session.report.data(pretty(&view.json));
    } else if let Some(text) = &view.text {
        session.report.data(text);
    }
    if view.ready {
        return Ok(Exit::Done);
    }
    session.report.say(view.note);
    Ok(Exit::NotReady)
}

/// Shows it anew whenever it changed. A cloud that does not answer is said, and asked again.
async fn watch(session: &Session, options: &StatusOptions) -> Result<Exit, Failure> {
    let redraws = !options.json && std::io::stdout().is_terminal();
    let report = &session.report;
    let mut stack: Option<Stack> = None;
    let mut last = String::new();
    loop {
        match look_again(session, &mut stack).await {
            // Nothing else can come of a wrong setting.
            Err(failure) if failure.exit == Exit::Usage => return Err(failure),
            Err(failure) => {
                stack = None;
                if last != failure.to_string() {
                    last = failure.to_string();
                    report.say(&last);
                }
            }
            Ok(view) => {
                let text = if options.json { view.json.to_string() } else { view.words() };
                if last != text {
                    let time = jiff::Timestamp::now().strftime("%TZ").to_string();
                    match (options.json, redraws) {
                        (true, _) => report.data(&text),
                        (false, true) => report.data(format!("{CLEAR}{time}, Ctrl-C ends\n\n{text}")),
                        (false, false) => report.data(format!("{time}\n{text}\n")),
                    }
                    last = text;
                }
            }
        }
        session.interrupt.sleep(Duration::from_secs(options.interval.into())).await?;
    }
}

async fn look_again(session: &Session, stack: &mut Option<Stack>) -> Result<View, Failure> {
    if stack.is_none() {
        *stack = connect(session).await?;
    }
    match stack {
        Some(stack) => stack.look(session).await,
        None => Ok(View::of_a_stopped_cloud(session)),
    }
}

/// What is looked at.
struct Stack {
    cloud: Cloud,
    resources: Vec<Box<dyn Resource>>,
}

async fn connect(session: &Session) -> Result<Option<Stack>, Failure> {
    let Some(clients) = session.clients(WhenStopped::Leave).await? else { return Ok(None) };
    let (cloud, state) = session.connect(clients).await?;
    let resources = session.declaration(&cloud, &state);
    Ok(Some(Stack { cloud, resources }))
}

/// What was seen.
struct View {
    ready: bool,
    json: Json,
    /// The table, where there is a cloud.
    text: Option<String>,
    /// What to say where it is not ready.
    note: &'static str,
}

impl View {
    fn of_a_stopped_cloud(session: &Session) -> Self {
        Self {
            ready: false,
            json: json!({
                "stack": session.config.stack(), "stack_id": null, "cloud": session.config.cloud.kind.word(),
                "running": false, "ready": false, "url": null, "resources": [],
            }),
            text: None,
            note: "the local cloud does not run; `imagecrud-deploy up` starts it",
        }
    }

    fn words(&self) -> String {
        match (&self.text, self.ready) {
            (Some(text), true) => text.clone(),
            (Some(text), false) => format!("{text}\n\n{}", self.note),
            (None, _) => self.note.to_owned(),
        }
    }
}

impl Stack {
    async fn look(&self, session: &Session) -> Result<View, Failure> {
        let sightings = observe(&self.resources, &self.cloud).await?;
        let seen = |resource: &dyn Resource| sightings.get(&resource.key()).and_then(Option::as_ref);
        let url = sightings.get(&keys::web_endpoint()).cloned().flatten().map(|observed| observed.id);
        let phase = |observed: Option<&Observed>| observed.map_or("missing", |observed| observed.phase.word());
        let ready =
            self.resources.iter().all(|resource| seen(resource.as_ref()).is_some_and(|o| o.phase == Phase::Ready));
        let mut rows = Vec::new();
        let mut list = Vec::new();
        for resource in &self.resources {
            let key = resource.key();
            let observed = seen(resource.as_ref());
            let id = observed.map(|observed| observed.id.clone()).unwrap_or_default();
            let detail = observed.map(|observed| observed.detail.clone()).unwrap_or_default();
            list.push(json!({
                "type": key.kind(), "name": key.name(), "id": id, "phase": phase(observed), "detail": detail,
                "attributes": observed.map(|observed| observed.attributes.0.clone()).unwrap_or_default(),
            }));
            rows.push(vec![
                key.kind().to_owned(),
                key.name().to_owned(),
                shortened(&id),
                phase(observed).to_owned(),
                detail,
            ]);
        }
        let json = json!({
            "stack": self.cloud.stack, "stack_id": self.cloud.stack_id, "cloud": session.config.cloud.kind.word(),
            "running": true, "ready": ready, "url": url, "resources": list,
        });
        let mut text = table(&["TYPE", "NAME", "ID", "PHASE", "DETAIL"], &rows);
        if let Some(url) = &url {
            text.push_str(&format!("\n\nURL  {url}"));
        }
        let note = "not everything is ready; `imagecrud-deploy up` brings it there";
        Ok(View { ready, json, text: Some(text), note })
    }
}

/// An id whose digests are told by their begin, so that a row fits on a line; the JSON has all of them.
fn shortened(id: &str) -> String {
    let is_digest = |part: &str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = id.split('/').map(|part| if is_digest(part) { format!("{}…", &part[..12]) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_told_by_its_begin_and_nothing_else_is() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(shortened(&format!("bundle/{digest}/imagecrud")), "bundle/0123456789ab…/imagecrud");
        for id in ["vol-01778d986a59cd73e@i-0c0081fa5226c5841", "http://a.elb.localhost:8080/imagecrud/", ""] {
            assert_eq!(shortened(id), id);
        }
    }
}
