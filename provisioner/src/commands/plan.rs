//! `plan`: what `up` would do, in blocks, and nothing done. Drift shows as a change back. `scale --plan` prints the
//! same blocks.

use serde_json::{Value as Json, json};

use crate::cli::PlanOptions;
use crate::commands::Session;
use crate::commands::up::{Outlook, bundle_path, choose, outlook, port_is_free};
use crate::error::{Exit, Failure};
use crate::plan::{Action, Plan, Sightings};
use crate::prices::{Estimate, estimate};
use crate::report::pretty;
use crate::resource::{Changes, Resource, ResourceKey};
use crate::resources::bundle::LocalBinary;
use crate::resources::keys;

/// Runs it.
pub async fn run(mut session: Session, options: PlanOptions) -> Result<Exit, Failure> {
    choose(&mut session, &options.choices);
    let binary_path = bundle_path(&session)?;
    let hashing = tokio::task::spawn_blocking(move || LocalBinary::read(&binary_path));
    let clients = session.running_clients("planning").await?;
    let (cloud, state) = session.connect(clients).await?;
    let binary = hashing.await.map_err(|error| Failure::new("reading the app's binary", error))??;
    let bounds = state.scale.unwrap_or_else(|| session.config.bounds());
    let Outlook { resources, sightings, plan } = outlook(&session, &cloud, bounds, binary).await?;
    let mut entries = entries(&plan, &resources, &sightings);
    if let Err(failure) = port_is_free(&session, &cloud, &plan).await
        && let Some(balancer) = entries.iter_mut().find(|entry| entry.key == keys::load_balancer())
    {
        balancer.action = Action::Refuse(failure.what);
        balancer.hint = failure.hint;
    }
    let outline = Outline {
        stack: cloud.stack.clone(),
        cloud: session.config.cloud.kind.word(),
        entries,
        price: estimate(&session.config, bounds),
    };
    Ok(outline.tell(&session, options.json, "imagecrud-deploy up"))
}

/// What would happen to one resource.
pub(super) struct Entry {
    pub(super) key: ResourceKey,
    /// Its id, where it is there.
    pub(super) id: String,
    pub(super) action: Action,
    /// What to do about a refusal.
    pub(super) hint: Option<String>,
}

/// A whole plan, to be told.
pub(super) struct Outline {
    pub(super) stack: String,
    pub(super) cloud: &'static str,
    pub(super) entries: Vec<Entry>,
    pub(super) price: Option<Estimate>,
}

fn entries(plan: &Plan, resources: &[Box<dyn Resource>], sightings: &Sightings) -> Vec<Entry> {
    let entry = |(key, action): &(ResourceKey, Action)| {
        let observed = sightings.get(key).and_then(Option::as_ref);
        let resource = resources.iter().find(|resource| resource.key() == *key);
        Entry {
            key: key.clone(),
            id: observed.map(|observed| observed.id.clone()).unwrap_or_default(),
            action: action.clone(),
            hint: resource.map(|resource| resource.refusal_hint().to_owned()),
        }
    };
    plan.0.iter().map(entry).collect()
}

/// The blocks, in the order in which they are printed.
const BLOCKS: &[(&str, &str)] = &[("create", "+"), ("replace", "+"), ("change", "~"), ("wait", "…"), ("refuse", "!")];

fn word(action: &Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Replace => "replace",
        Action::Update(_) => "change",
        Action::Await => "wait",
        Action::Keep => "keep",
        Action::Refuse(_) => "refuse",
    }
}

impl Outline {
    /// Prints it, and says by the exit code whether there is something to do.
    pub(super) fn tell(&self, session: &Session, as_json: bool, doer: &str) -> Exit {
        let report = &session.report;
        report.data(if as_json { pretty(&self.json()) } else { self.text() });
        let exit = self.exit();
        match exit {
            Exit::Failed => report.say(format!("`{doer}` would refuse this, and touch nothing")),
            Exit::NotReady => report.say(format!("nothing is done yet; `{doer}` does it")),
            _ => {}
        }
        exit
    }

    fn exit(&self) -> Exit {
        let any = |of: fn(&Action) -> bool| self.entries.iter().any(|entry| of(&entry.action));
        if any(|action| matches!(action, Action::Refuse(_))) {
            return Exit::Failed;
        }
        if any(|action| *action != Action::Keep) { Exit::NotReady } else { Exit::Done }
    }

    fn count(&self, of: &str) -> usize {
        self.entries.iter().filter(|entry| word(&entry.action) == of).count()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (block, mark) in BLOCKS {
            let entries: Vec<&Entry> = self.entries.iter().filter(|entry| word(&entry.action) == *block).collect();
            if entries.is_empty() {
                continue;
            }
            text.push_str(&format!("{block}\n"));
            for entry in entries {
                text.push_str(format!("  {mark} {}  {}", entry.key, entry.id).trim_end());
                text.push('\n');
                for line in entry.lines() {
                    text.push_str(&format!("      {line}\n"));
                }
            }
            text.push('\n');
        }
        text.push_str(&self.summary());
        if let Some(price) = &self.price {
            text.push_str(&format!("\n\n{}", price.text()));
        }
        text
    }

    fn summary(&self) -> String {
        let counts = [
            (self.count("create") + self.count("replace"), "to create"),
            (self.count("change"), "to change"),
            (self.count("wait"), "to wait for"),
            (self.count("refuse"), "refused"),
            (self.count("keep"), "as they should be"),
        ];
        let parts: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let nothing = if self.exit() == Exit::Done { "no changes: " } else { "" };
        format!("stack {} in {}: {nothing}{}", self.stack, self.cloud, parts.join(", "))
    }

    /// For programs; `docs/json.md` describes it.
    fn json(&self) -> Json {
        let resources: Vec<Json> = self.entries.iter().map(Entry::json).collect();
        json!({
            "stack": self.stack,
            "cloud": self.cloud,
            "changes": self.exit() != Exit::Done,
            "refused": self.exit() == Exit::Failed,
            "counts": {
                "create": self.count("create"), "replace": self.count("replace"), "change": self.count("change"),
                "wait": self.count("wait"), "refuse": self.count("refuse"), "keep": self.count("keep"),
            },
            "resources": resources,
            "price": self.price.as_ref().map(Estimate::json),
        })
    }
}

impl Entry {
    fn lines(&self) -> Vec<String> {
        match &self.action {
            Action::Update(changes) => differences(changes, short),
            Action::Replace => vec!["once the old one is gone".to_owned()],
            Action::Refuse(why) => {
                let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}"));
                [Some(why.clone()), hint].into_iter().flatten().collect()
            }
            Action::Create | Action::Await | Action::Keep => Vec::new(),
        }
    }

    fn json(&self) -> Json {
        let changes: Vec<Json> = match &self.action {
            Action::Update(changes) => {
                let change = |(name, (from, to)): (&&str, &(String, String))| json!({ "attribute": name, "from": from, "to": to });
                changes.0.iter().map(change).collect()
            }
            _ => Vec::new(),
        };
        let (reason, hint) = match &self.action {
            Action::Refuse(why) => (Some(why), self.hint.as_ref()),
            _ => (None, None),
        };
        json!({
            "type": self.key.kind(), "name": self.key.name(), "id": self.id, "action": word(&self.action),
            "changes": changes, "reason": reason, "hint": hint,
        })
    }
}

fn differences(changes: &Changes, shown: fn(&str) -> String) -> Vec<String> {
    changes.0.iter().map(|(name, (from, to))| format!("{name}: {} -> {}", shown(from), shown(to))).collect()
}

/// Hashes by their beginning, and nothing as nothing.
fn short(value: &str) -> String {
    match value {
        "" => "(none)".to_owned(),
        hash if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => format!("{}…", &hash[..12]),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::sha256_hex;

    fn entry(kind: &str, name: &str, id: &str, action: Action) -> Entry {
        Entry { key: ResourceKey::new(kind, name), id: id.to_owned(), action, hint: Some("do this".to_owned()) }
    }

    fn outline(entries: Vec<Entry>) -> Outline {
        Outline { stack: "imagecrud".to_owned(), cloud: "local", entries, price: None }
    }

    fn changes(pairs: &[(&'static str, &str, &str)]) -> Action {
        let pairs = pairs.iter().map(|(name, from, to)| (*name, ((*from).to_owned(), (*to).to_owned())));
        Action::Update(Changes(pairs.collect()))
    }

    #[test]
    fn a_plan_is_told_in_blocks_with_every_difference() {
        let hash = sha256_hex(b"x");
        let entries = vec![
            entry("bucket", "pictures", "imagecrud-1", Action::Keep),
            entry("instance", "database", "", Action::Create),
            entry("security-group", "web", "sg-1", changes(&[("ingress", "", "tcp 80 from sg-2")])),
            entry(
                "auto-scaling-group",
                "web",
                "web",
                changes(&[("launches", &hash, "(known after x)"), ("max", "6", "8")]),
            ),
            entry("volume", "mysql-data", "vol-1", Action::Refuse("size_gib is 20 and cannot become 10".to_owned())),
            entry("endpoint", "web", "http://x/", Action::Await),
        ];
        assert_eq!(
            outline(entries).text(),
            "create\n  \
             + instance/database\n\n\
             change\n  \
             ~ security-group/web  sg-1\n      \
             ingress: (none) -> tcp 80 from sg-2\n  \
             ~ auto-scaling-group/web  web\n      \
             launches: 2d711642b726… -> (known after x)\n      \
             max: 6 -> 8\n\n\
             wait\n  \
             … endpoint/web  http://x/\n\n\
             refuse\n  \
             ! volume/mysql-data  vol-1\n      \
             size_gib is 20 and cannot become 10\n      \
             hint: do this\n\n\
             stack imagecrud in local: 1 to create, 2 to change, 1 to wait for, 1 refused, 1 as they should be"
        );
    }

    #[test]
    fn the_exit_code_tells_no_changes_from_changes_from_a_refusal() {
        let of = |action| outline(vec![entry("volume", "v", "vol-1", Action::Keep), entry("x", "y", "z", action)]);
        assert_eq!(of(Action::Keep).exit(), Exit::Done);
        assert_eq!(of(Action::Keep).text(), "stack imagecrud in local: no changes: 2 as they should be");
        assert_eq!(of(Action::Create).exit(), Exit::NotReady);
        assert_eq!(of(Action::Await).exit(), Exit::NotReady);
        assert_eq!(of(Action::Refuse(String::new())).exit(), Exit::Failed);
        assert_eq!(of(Action::Refuse("why".to_owned())).json()["resources"][1]["reason"], "why");
        assert_eq!(of(changes(&[("max", "6", "8")])).json()["resources"][1]["changes"][0]["to"], "8");
    }
}
