//! `scale`: the group's bounds and number, kept as intent for later `up`s.

use crate::cli::ScaleOptions;
use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;
use crate::commands::Session;
use crate::commands::plan::{Entry, Outline};
use crate::config::check_bounds;
use crate::converge::{Walk, wait_until_ready};
use crate::error::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::plan::Action;
use crate::prices::estimate;
use crate::resource::{Attributes, Changes, Observed, Outputs, Phase, Resource};
use crate::resources::{auto_scaling_group, keys};
use crate::state::{ScaleBounds, StateFile};

/// Runs it.
pub async fn run(session: Session, options: ScaleOptions) -> Result<Exit, Failure> {
    if options.plan {
        return plan(&session, &options).await;
    }
    let lock = session.lock().await?;
    let clients = session.running_clients("scaling").await?;
    let (cloud, state) = session.connect(clients).await?;
    let resources = session.declaration(&cloud, &state);
    let (group, observed) = group(&resources, &cloud).await?;
    let now = bounds_of(&observed.attributes);
    let wanted = choose(now, &options)?;

    let mut state = StateFile::open(&session.global.state_dir, state, lock)?;
    state.state.scale = Some(wanted);
    state.save()?;
    let changes = changes(now, wanted);
    let report = &session.report;
    if changes.0.is_empty() && observed.phase == Phase::Ready {
        report.say(format!("nothing changes: {}", sentence(wanted)));
    } else {
        let step = report.step(group.key().as_str(), &format!("scaling to {}", sentence(wanted)));
        let known = Outputs::default();
        if !changes.0.is_empty()
            && let Err(error) = group.update(&cloud, &known, &observed, &changes).await
        {
            step.failed();
            return Err(fail(error));
        }
        let walk = Walk { cloud: &cloud, report, interrupt: &session.interrupt };
        match wait_until_ready(walk, &Interrupt::default(), group, &known, &step).await {
            Ok(_) => step.done("scaled"),
            Err(failure) => {
                step.failed();
                return Err(failure);
            }
        }
    }
    let serving = auto_scaling_group::in_service_at_load_balancer(&cloud).await.map_err(fail)?;
    for id in serving {
        report.data(id);
    }
    Ok(Exit::Done)
}

fn fail(error: CloudError) -> Failure {
    Failure::cloud("scaling the group", &error)
}

/// The group as declared and as it is there.
async fn group<'r>(resources: &'r [Box<dyn Resource>], cloud: &Cloud) -> Result<(&'r dyn Resource, Observed), Failure> {
    let declared = resources.iter().find(|resource| resource.key() == keys::auto_scaling_group());
    let Some(group) = declared else { return Err(Failure::new("scaling", "the stack declares no group")) };
    let observed = group.find(cloud).await.map_err(fail)?;
    match observed.filter(|observed| observed.phase != Phase::Deleting) {
        Some(observed) => Ok((group.as_ref(), observed)),
        None => Err(Failure::new("scaling", "there is no group to scale").hint("`imagecrud-deploy up` creates it")),
    }
}

/// What would change, with the price of the new size where the user gave prices.
async fn plan(session: &Session, options: &ScaleOptions) -> Result<Exit, Failure> {
    let clients = session.running_clients("planning").await?;
    let (cloud, state) = session.connect(clients).await?;
    let resources = session.declaration(&cloud, &state);
    let (group, observed) = group(&resources, &cloud).await?;
    let now = bounds_of(&observed.attributes);
    let wanted = choose(now, options)?;
    let changes = changes(now, wanted);
    let action = if changes.0.is_empty() { Action::Keep } else { Action::Update(changes) };
    let outline = Outline {
        stack: cloud.stack.clone(),
        cloud: session.config.cloud.kind.word(),
        entries: vec![Entry { key: group.key(), id: observed.id, action, hint: None }],
        price: estimate(&session.config, wanted),
    };
    Ok(outline.tell(session, options.json, "imagecrud-deploy scale"))
}

fn bounds_of(attributes: &Attributes) -> ScaleBounds {
    let number = |name: &str| attributes.get(name).parse().unwrap_or_default();
    ScaleBounds { min: number("min"), max: number("max"), desired: number("desired") }
}

/// The bounds asked for over those of now. A number that was not asked for moves into the new bounds.
fn choose(now: ScaleBounds, options: &ScaleOptions) -> Result<ScaleBounds, Failure> {
    let min = options.min.unwrap_or(now.min);
    let max = options.max.unwrap_or(now.max);
    let asked = options.count.or(options.desired);
    let desired = asked.unwrap_or_else(|| now.desired.max(min).min(max.max(min)));
    let wanted = ScaleBounds { min, max, desired };
    check_bounds(wanted)?;
    Ok(wanted)
}

fn changes(now: ScaleBounds, wanted: ScaleBounds) -> Changes {
    let mut changes = Changes::default();
    for (name, from, to) in
        [("min", now.min, wanted.min), ("max", now.max, wanted.max), ("desired", now.desired, wanted.desired)]
    {
        if from != to {
            changes.0.insert(name, (from.to_string(), to.to_string()));
        }
    }
    changes
}

fn sentence(bounds: ScaleBounds) -> String {
    format!("{} instances ({}..{})", bounds.desired, bounds.min, bounds.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: ScaleBounds = ScaleBounds { min: 2, max: 6, desired: 2 };

    #[test]
    fn a_number_outside_the_bounds_is_a_usage_error() {
        let failure = choose(NOW, &ScaleOptions { count: Some(9), ..Default::default() }).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("desired (9) is outside min..max (2..6)"), "{failure}");
        assert!(choose(NOW, &ScaleOptions { min: Some(7), ..Default::default() }).is_err());
    }

    #[test]
    fn new_bounds_take_the_number_along() {
        let wanted = choose(NOW, &ScaleOptions { min: Some(3), ..Default::default() }).unwrap();
        assert_eq!(wanted, ScaleBounds { min: 3, max: 6, desired: 3 });
        assert_eq!(changes(NOW, wanted).0.keys().copied().collect::<Vec<_>>(), ["desired", "min"]);
        assert!(
            changes(NOW, choose(NOW, &ScaleOptions { count: Some(2), ..Default::default() }).unwrap()).0.is_empty()
        );
    }
}
