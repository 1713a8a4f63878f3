//! `rollback`: puts an earlier version of the web servers back into service, by the same rolling replacement as
//! a new one, and keeps it there until something newer than what was rolled back is declared.

use std::time::Instant;

use aws_sdk_autoscaling::types::Tag;

use crate::cli::RollbackOptions;
use crate::cloud::Cloud;
use crate::cloud::retry::{Class, CloudError};
use crate::commands::{Session, WhenStopped, versions};
use crate::converge::Pause;
use crate::error::{Exit, Failure};
use crate::report::seconds;
use crate::resource::{Changes, Observed, Outputs, Resource};
use crate::resources::rollout::{self, ROLLED_BACK_TAG, Rollout};
use crate::resources::web_version::{self, WebVersion};
use crate::resources::{auto_scaling_group, launch_template};
use crate::state::{self, StateFile};

/// As many digests of versions that were rolled back are remembered.
const REMEMBERED: usize = web_version::KEPT;

/// Runs it.
pub async fn run(mut session: Session, options: RollbackOptions) -> Result<Exit, Failure> {
    let began = Instant::now();
    session.config.web.health_limit_secs = options.health_limit.or(session.config.web.health_limit_secs);
    session.config.check()?;
    let lock = state::lock(&session.global.state_dir, session.config.stack())?;
    let Some(clients) = session.clients(WhenStopped::Leave).await? else {
        return Err(
            Failure::new("rolling back", "the local cloud does not run").hint("`imagecrud-deploy up` starts it")
        );
    };
    let (cloud, state) = session.connect(clients).await?;
    let _state = StateFile::open(&session.global.state_dir, state, lock)?;
    let (versions, group) = versions::look(&cloud).await?;
    let Some(group) = group else {
        return Err(
            Failure::new("rolling back", "there is no group of web servers").hint("`imagecrud-deploy up` creates it")
        );
    };
    let now = web_version::in_service(&group);
    let target = choose(&versions, now, options.to.as_deref())?;
    let report = &session.report;
    let fail = |error: CloudError| Failure::cloud("rolling back", &error);
    if target.name != now {
        let digest_now = versions.iter().find(|version| version.name == now).map_or("", WebVersion::digest);
        remember(&cloud, &group, digest_now, target.digest()).await.map_err(fail)?;
        auto_scaling_group::put_in_service(&cloud, &target.name).await.map_err(fail)?;
        if cloud.capabilities.launch_templates {
            launch_template::put_in_service(&cloud, &target.name).await.map_err(fail)?;
        }
    }
    replace(&session, &cloud).await?;
    report.say(format!(
        "version {} is in service (binary {}, {})",
        target.short_name(),
        target.bundle_sha256.get(..12).unwrap_or_default(),
        seconds(began.elapsed())
    ));
    report.data(target.short_name());
    Ok(Exit::Done)
}

/// The version that was named, or the one before that in service.
fn choose<'v>(versions: &'v [WebVersion], now: &str, named: Option<&str>) -> Result<&'v WebVersion, Failure> {
    let hint = "`imagecrud-deploy versions` lists what there is";
    let Some(word) = named else {
        let position = versions.iter().position(|version| version.name == now).unwrap_or_default();
        return position
            .checked_sub(1)
            .and_then(|before| versions.get(before))
            .ok_or_else(|| Failure::new("rolling back", format!("there is no version before {now}")).hint(hint));
    };
    let meant: Vec<&WebVersion> = versions.iter().filter(|version| version.is_meant_by(word)).collect();
    match meant.as_slice() {
        [] => Err(Failure::usage(format!("no version is called {word}")).hint(hint)),
        [version] => Ok(version),
        // Several versions of one binary: a name that fits exactly is meant before a hash.
        several => {
            several.iter().find(|version| version.name == word || version.short_name() == word).copied().ok_or_else(
                || {
                    let names: Vec<&str> = several.iter().map(|version| version.short_name()).collect();
                    Failure::usage(format!("{word} may be any of {}", names.join(", "))).hint(hint)
                },
            )
        }
    }
}

/// The digests to remember: what is left joins them, what is brought again leaves them.
fn remembered(before: Option<&str>, leaving: &str, coming: &str) -> String {
    let former = before.unwrap_or_default().split(' ').filter(|digest| !digest.is_empty() && *digest != leaving);
    let all: Vec<&str> = former.chain([leaving]).filter(|digest| *digest != coming).collect();
    all[all.len().saturating_sub(REMEMBERED)..].join(" ")
}

async fn remember(
    cloud: &Cloud,
    group: &aws_sdk_autoscaling::types::AutoScalingGroup,
    leaving: &str,
    coming: &str,
) -> Result<(), CloudError> {
    if cloud.capabilities.launch_templates {
        let name = cloud.name("web");
        let answer = cloud.ec2.describe_launch_templates().launch_template_names(&name).send().await?;
        let Some(template) = answer.launch_templates().first() else { return Ok(()) };
        let before = template.tags().iter().find(|tag| tag.key() == Some(ROLLED_BACK_TAG)).and_then(|tag| tag.value());
        let value = remembered(before, leaving, coming);
        let tag = aws_sdk_ec2::types::Tag::builder().key(ROLLED_BACK_TAG).value(value).build();
        cloud.ec2.create_tags().resources(template.launch_template_id().unwrap_or_default()).tags(tag).send().await?;
        return Ok(());
    }
    let value = remembered(rollout::tag_of(group, ROLLED_BACK_TAG), leaving, coming);
    let tag = Tag::builder().key(ROLLED_BACK_TAG).value(value).propagate_at_launch(false);
    let tag = tag.resource_type("auto-scaling-group").resource_id(cloud.name("web")).build();
    cloud.autoscaling.create_or_update_tags().tags(tag).send().await?;
    Ok(())
}

/// Replaces the web servers, step by step.
async fn replace(session: &Session, cloud: &Cloud) -> Result<(), Failure> {
    let rollout = Rollout::within(session.config.health_limit());
    let limit = rollout.patience().limit;
    let step = session.report.step(rollout.key().as_str(), "replacing the web servers");
    let began = Instant::now();
    let mut pause = Pause::default();
    let (known, observed, changes) = (Outputs::default(), Observed::ready(""), Changes::default());
    loop {
        let why = match rollout.update(cloud, &known, &observed, &changes).await {
            Ok(()) => break,
            Err(error) if began.elapsed() < limit && may_pass(&error) => error.to_string(),
            Err(error) => {
                step.failed();
                return Err(Failure::cloud("rolling back", &error).hint(rollout.patience().hint));
            }
        };
        step.waiting(rollout.patience().what, &why, began.elapsed(), limit);
        if let Err(stopped) = session.interrupt.sleep(pause.lengthen()).await {
            step.left();
            return Err(stopped);
        }
    }
    step.done("replaced");
    Ok(())
}

/// Waiting is what most errors between two steps ask for.
fn may_pass(error: &CloudError) -> bool {
    error.answer_lost() || matches!(error.class(), Class::RefusedForNow | Class::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, sha256: &str) -> WebVersion {
        WebVersion { name: name.to_owned(), bundle_sha256: sha256.to_owned(), ..WebVersion::default() }
    }

    #[test]
    fn without_a_name_it_is_the_one_before_and_an_unclear_name_is_refused() {
        let versions = [version("1", "aaaa1"), version("2", "bbbb2"), version("3", "bbbb2")];
        assert_eq!(choose(&versions, "3", None).unwrap().name, "2");
        assert!(choose(&versions, "1", None).unwrap_err().to_string().contains("no version before 1"));
        assert_eq!(choose(&versions, "3", Some("aaaa")).unwrap().name, "1");
        let unclear = choose(&versions, "1", Some("bbbb")).unwrap_err();
        assert_eq!(unclear.exit, Exit::Usage);
        assert!(unclear.to_string().contains("any of 2, 3"), "{unclear}");
        assert_eq!(choose(&versions, "1", Some("9")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn what_is_brought_again_is_no_longer_held_back() {
        assert_eq!(remembered(None, "d3", "d2"), "d3");
        assert_eq!(remembered(Some("d3"), "d2", "d1"), "d3 d2");
        assert_eq!(remembered(Some("d3 d2"), "d1", "d3"), "d2 d1");
        assert_eq!(remembered(Some("1 2 3 4 5"), "6", "7"), "2 3 4 5 6");
    }
}
