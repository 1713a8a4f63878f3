//! What has to be done, decided without doing it: the order of the resources, the differences, and one
//! action for each. Pure, so that it can be tested without a cloud.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Exit, Failure};
use crate::resource::{Changes, Desired, Observed, Outputs, Phase, Resource, ResourceKey, Value};

/// What is to happen to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there.
    Create,
    /// It is on its way out; once gone, it is created.
    Replace,
    /// It differs. What is known only later may still turn out the same.
    Update(Changes),
    /// It is as it should be, and only has to become ready.
    Await,
    /// It is as it should be.
    Keep,
    /// It cannot be brought to what it should be.
    Refuse(String),
}

/// What stands in the cloud, by key.
pub type Sightings = BTreeMap<ResourceKey, Option<Observed>>;

/// The differences between what was found and what is wanted. An attribute that the cloud did not tell is
/// not compared.
pub fn differences(observed: &Observed, desired: &Desired) -> Changes {
    let mut changes = Changes::default();
    for (name, wanted) in &desired.0 {
        let Some(found) = observed.attributes.0.get(name) else { continue };
        let wanted = match wanted {
            Value::Known(text) if text == found => continue,
            other => other.to_string(),
        };
        changes.0.insert(name, (found.clone(), wanted));
    }
    changes
}

/// Decides for one resource.
pub fn decide(resource: &dyn Resource, observed: Option<&Observed>, known: &Outputs) -> Action {
    let Some(observed) = observed else { return Action::Create };
    if observed.phase == Phase::Deleting {
        return Action::Replace;
    }
    let changes = differences(observed, &resource.desired(known));
    let frozen: Vec<String> = changes
        .0
        .iter()
        .filter(|(name, _)| resource.immutable().contains(name))
        .map(|(name, (from, to))| format!("{name} is {from} and cannot become {to}"))
        .collect();
    if !frozen.is_empty() {
        return Action::Refuse(frozen.join("; "));
    }
    if !changes.0.is_empty() {
        return Action::Update(changes);
    }
    match observed.phase {
        Phase::Ready => Action::Keep,
        Phase::Pending => Action::Await,
        Phase::Failed => Action::Refuse(format!("{} is in a failed state: {}", observed.id, observed.detail)),
        Phase::Deleting => Action::Replace,
    }
}

/// A decision per resource, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan(pub Vec<(ResourceKey, Action)>);

/// Plans over everything that was found. What will be created is not known to those that need it.
pub fn plan(resources: &[Box<dyn Resource>], sightings: &Sightings) -> Plan {
    let mut known = Outputs::default();
    let mut decisions = Vec::new();
    for resource in resources {
        let key = resource.key();
        let observed = sightings.get(&key).and_then(Option::as_ref);
        let action = decide(resource.as_ref(), observed, &known);
        if let Some(observed) = observed
            && !matches!(action, Action::Create | Action::Replace)
        {
            known.insert(key.clone(), observed.clone());
        }
        decisions.push((key, action));
    }
    Plan(decisions)
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, action)| *action == Action::Keep)
    }

    /// Whether that resource is to be created.
    pub fn creates(&self, key: &ResourceKey) -> bool {
        self.0.iter().any(|(of, action)| of == key && matches!(action, Action::Create | Action::Replace))
    }

    /// One line: "12 to create, 1 to change, 3 as they should be".
    pub fn summary(&self) -> String {
        let count = |of: fn(&Action) -> bool| self.0.iter().filter(|(_, action)| of(action)).count();
        let parts = [
            (count(|a| matches!(a, Action::Create | Action::Replace)), "to create"),
            (count(|a| matches!(a, Action::Update(_))), "to change"),
            (count(|a| matches!(a, Action::Await)), "to wait for"),
            (count(|a| matches!(a, Action::Keep)), "as they should be"),
        ];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        parts.join(", ")
    }

    /// A line per resource that is not as it should be, with its differences below.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, action) in &self.0 {
            match action {
                Action::Keep => {}
                Action::Create => lines.push(format!(" + {key}: create")),
                Action::Replace => lines.push(format!(" + {key}: create, once the old one is gone")),
                Action::Await => lines.push(format!(" … {key}: wait")),
                Action::Refuse(why) => lines.push(format!(" ! {key}: {why}")),
                Action::Update(changes) => {
                    lines.push(format!(" ~ {key}: change"));
                    lines.extend(changes.0.iter().map(|(name, (from, to))| format!("     {name}: {from} -> {to}")));
                }
            }
        }
        lines
    }

    /// The failure to end with where something is refused, before anything is touched.
    pub fn refusals(&self, resources: &[Box<dyn Resource>]) -> Result<(), Failure> {
        for (key, action) in &self.0 {
            let Action::Refuse(why) = action else { continue };
            let hint = resources.iter().find(|r| r.key() == *key).map_or("", |r| r.refusal_hint());
            return Err(Failure::new(format!("planning {key}"), why).hint(hint).exit(Exit::Failed));
        }
        Ok(())
    }
}

/// Brings the declaration into an order in which every resource comes after what it needs.
pub fn order(resources: Vec<Box<dyn Resource>>) -> Vec<Box<dyn Resource>> {
    let mut waiting = resources;
    let mut done: BTreeSet<ResourceKey> = BTreeSet::new();
    let all: BTreeSet<ResourceKey> = waiting.iter().map(|resource| resource.key()).collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let (free, held): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|resource| resource.needs().iter().all(|need| done.contains(need) || !all.contains(need)));
        assert!(!free.is_empty(), "the declaration has a circle; a test of stack.rs keeps it out");
        done.extend(free.iter().map(|resource| resource.key()));
        ordered.extend(free);
        waiting = held;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Cloud;
    use crate::resource::{ClientToken, CloudResult};

    struct Thing(&'static str, Vec<&'static str>, Option<&'static str>);

    #[async_trait::async_trait]
    impl Resource for Thing {
        fn key(&self) -> ResourceKey {
            ResourceKey::new("thing", self.0)
        }
        fn needs(&self) -> Vec<ResourceKey> {
            self.1.iter().map(|name| ResourceKey::new("thing", name)).collect()
        }
        fn desired(&self, known: &Outputs) -> Desired {
            let desired = Desired::default().with("size", 10).with("secret", "x");
            match self.2 {
                Some(of) => desired.with_value("of", known.id(&ResourceKey::new("thing", of))),
                None => desired,
            }
        }
        fn immutable(&self) -> &'static [&'static str] {
            &["frozen", "size"]
        }
        async fn find(&self, _: &Cloud) -> CloudResult<Option<Observed>> {
            Ok(None)
        }
        async fn create(&self, _: &Cloud, _: &Outputs, _: &ClientToken) -> CloudResult<()> {
            Ok(())
        }
        async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
            Ok(())
        }
        async fn delete(&self, _: &Cloud, _: &Observed) -> CloudResult<()> {
            Ok(())
        }
    }

    fn stack() -> Vec<Box<dyn Resource>> {
        vec![Box::new(Thing("b", vec!["a"], Some("a"))), Box::new(Thing("a", vec![], None))]
    }

    #[test]
    fn what_is_needed_comes_first() {
        let keys: Vec<String> = order(stack()).iter().map(|r| r.key().to_string()).collect();
        assert_eq!(keys, ["thing/a", "thing/b"]);
    }

    #[test]
    fn what_the_cloud_does_not_tell_is_not_compared() {
        let found = Observed::ready("1").with("size", 10).with("extra", "mine");
        assert_eq!(decide(&Thing("a", vec![], None), Some(&found), &Outputs::default()), Action::Keep);
    }

    #[test]
    fn a_frozen_attribute_refuses_the_plan_and_another_is_changed() {
        let small = Observed::ready("1").with("size", 5);
        let action = decide(&Thing("a", vec![], None), Some(&small), &Outputs::default());
        assert_eq!(action, Action::Refuse("size is 5 and cannot become 10".to_owned()));
        let elsewhere = Observed::ready("2").with("of", "old");
        let mut known = Outputs::default();
        known.insert(ResourceKey::new("thing", "a"), Observed::ready("new"));
        let Action::Update(changes) = decide(&Thing("b", vec!["a"], Some("a")), Some(&elsewhere), &known) else {
            panic!("not an update")
        };
        assert_eq!(changes.to("of"), Some("new"));
    }

    #[test]
    fn phases_decide_where_nothing_differs() {
        let decide = |phase| {
            let found = Observed::ready("1").phase(phase).detail("why");
            super::decide(&Thing("a", vec![], None), Some(&found), &Outputs::default())
        };
        assert_eq!(decide(Phase::Ready), Action::Keep);
        assert_eq!(decide(Phase::Pending), Action::Await);
        assert_eq!(decide(Phase::Deleting), Action::Replace);
        assert!(matches!(decide(Phase::Failed), Action::Refuse(_)));
    }

    #[test]
    fn a_plan_knows_the_ids_of_what_stays_only() {
        let resources = order(stack());
        let b = Observed::ready("b-1").with("of", "a-1");
        let mut sightings = Sightings::new();
        sightings.insert(ResourceKey::new("thing", "a"), Some(Observed::ready("a-1")));
        sightings.insert(ResourceKey::new("thing", "b"), Some(b));
        assert!(plan(&resources, &sightings).is_empty());
        sightings.insert(ResourceKey::new("thing", "a"), None);
        let lines = plan(&resources, &sightings).lines().join("\n");
        assert_eq!(lines, " + thing/a: create\n ~ thing/b: change\n     of: a-1 -> (known after thing/a)");
        assert_eq!(plan(&resources, &sightings).summary(), "1 to create, 1 to change");
    }
}
