//! `rollback`: puts an earlier version of the web servers back into service, by the same rolling replacement as
//! a new one, and keeps it there until something newer than what was rolled back is declared.

use std::time::Instant;

use crate::cli::RollbackOptions;
use crate::cloud::Cloud;
use crate::cloud::retry::{Class, CloudError};
use crate::commands::{Session, versions};
use crate::converge::Pause;
use crate::error::{Exit, Failure};
use crate::report::seconds;
use crate::resource::{Changes, Observed, Outputs, Resource};
use crate::resources::rollout::{self, FAILED_TAG, ROLLED_BACK_TAG, Rollout};
use crate::resources::web_version::{self, WebVersion};
use crate::resources::{auto_scaling_group, launch_template};

/// Runs it.
pub async fn run(mut session: Session, options: RollbackOptions) -> Result<Exit, Failure> {
    let began = Instant::now();
    session.config.web.health_limit_secs = options.health_limit.or(session.config.web.health_limit_secs);
    let _lock = session.lock().await?;
    let clients = session.running_clients("rolling back").await?;
    let (cloud, _state) = session.connect(clients).await?;
    let (versions, group) = versions::look(&cloud).await?;
    let Some(group) = group else {
        return Err(
            Failure::new("rolling back", "there is no group of web servers").hint("`imagecrud-deploy up` creates it")
        );
    };
    let now = web_version::in_service(&group);
    let failed: Vec<&str> = rollout::digests(rollout::tag_of(&group, FAILED_TAG)).collect();
    let target = choose(&versions, now, options.to.as_deref(), &failed)?;
    let report = &session.report;
    let fail = |error: CloudError| Failure::cloud("rolling back", &error);
    if target.name != now {
        let digest_now = versions.iter().find(|version| version.name == now).map_or("", WebVersion::digest);
        rollout::remember(&cloud, &group, ROLLED_BACK_TAG, digest_now, target.digest()).await.map_err(fail)?;
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

/// The version that was named, or the nearest before that in service that has not failed.
fn choose<'v>(
    versions: &'v [WebVersion],
    now: &str,
    named: Option<&str>,
    failed: &[&str],
) -> Result<&'v WebVersion, Failure> {
    let hint = "`imagecrud-deploy versions` lists what there is";
    let Some(word) = named else {
        let before = versions.iter().take_while(|version| version.name != now);
        return before.filter(|version| !failed.contains(&version.digest())).last().ok_or_else(|| {
            Failure::new("rolling back", format!("there is no version before {now} that has not failed")).hint(hint)
        });
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
    fn without_a_name_it_is_the_nearest_before_that_has_not_failed_and_an_unclear_name_is_refused() {
        let mut versions = [version("1", "aaaa1"), version("2", "bbbb2"), version("3", "bbbb2")];
        assert_eq!(choose(&versions, "3", None, &[]).unwrap().name, "2");
        assert!(choose(&versions, "1", None, &[]).unwrap_err().to_string().contains("no version before 1"));
        assert_eq!(choose(&versions, "3", Some("aaaa"), &[]).unwrap().name, "1");
        let unclear = choose(&versions, "1", Some("bbbb"), &[]).unwrap_err();
        assert_eq!(unclear.exit, Exit::Usage);
        assert!(unclear.to_string().contains("any of 2, 3"), "{unclear}");
        assert_eq!(choose(&versions, "1", Some("9"), &[]).unwrap_err().exit, Exit::Usage);
        versions[1].attributes = crate::resource::Attributes::default().with("digest", "d2");
        assert_eq!(choose(&versions, "3", None, &["d2"]).unwrap().name, "1");
        assert_eq!(choose(&versions, "3", Some("2"), &["d2"]).unwrap().name, "2", "by name it may be tried again");
    }
}
