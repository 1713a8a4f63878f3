//! Judges the VMs of a new version by what they themselves answer: each has to be in service at the load balancer,
//! and to answer 200 through it under its own instance id, again and again. That something is healthy proves nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cloud::Cloud;
use crate::report::seconds;
use crate::resource::CloudResult;
use crate::resources::{console_tail, web_endpoint, web_version};

/// So many answers of 200 in a row prove a newcomer.
const ANSWERS: u32 = 3;
/// The words of a web VM that has given up; see cloud-init/web/fetch-bundle.sh.
const GAVE_UP: &str = "imagecrud does not serve";
/// One that is in service and answers wrongly does so to visitors: it is not given the whole limit.
const TROUBLE_LIMIT: Duration = Duration::from_secs(5);
/// A console is asked for at most this often.
const CONSOLE_PAUSE: Duration = Duration::from_secs(3);

/// What is known of the newcomers of a rollout so far.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    limit: Duration,
    /// When the oldest newcomer that has not proven itself was first seen.
    since: Option<Instant>,
    /// Answers of 200 in a row.
    answers: BTreeMap<String, u32>,
    console_read: Option<Instant>,
    /// What a newcomer answers instead.
    trouble: Option<String>,
    /// Since when none has answered rightly that had to.
    troubled_since: Option<Instant>,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All newcomers have proven themselves.
    Proven,
    /// Not yet, and what is missing.
    Open(String),
    /// One will not, and why.
    Failed(String),
}

impl Trial {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, answers: BTreeMap::new(), console_read: None, trouble: None, troubled_since: None }
    }

    /// Forgets everything, for another version.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Looks at the newcomers of a version once. `serving` are the ids that the load balancer sends requests to;
    /// `awaited` is whether the group is still to launch one.
    pub(crate) async fn judge(
        &mut self,
        cloud: &Cloud,
        version: &str,
        newcomers: &[String],
        serving: &[String],
        awaited: bool,
    ) -> CloudResult<Verdict> {
        if let Some(gone) = self.gone(newcomers) {
            return Ok(Verdict::Failed(with_console(cloud, &gone, format!("{gone} went away unproven")).await));
        }
        let open = self.open(newcomers);
        if open.is_empty() && awaited {
            let since = *self.since.get_or_insert_with(Instant::now);
            return Ok(match since.elapsed() > self.limit {
                true => Verdict::Failed(format!("the group launched none within {}", seconds(self.limit))),
                false => Verdict::Open("the group has not launched it yet".to_owned()),
            });
        }
        if open.is_empty() {
            self.since = None;
            return Ok(Verdict::Proven);
        }
        if open.iter().any(|id| serving.contains(id)) {
            self.ask(cloud, version, &open, serving).await?;
        }
        let Some(first) = self.open(newcomers).into_iter().next() else {
            self.since = None;
            return Ok(Verdict::Proven);
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        let state = match &self.trouble {
            Some(trouble) => format!("{first} {trouble}"),
            None if serving.contains(&first) => format!("{first} is in service and has not answered yet"),
            None => format!("{first} is not in service at the load balancer"),
        };
        let troubled = self.troubled_since.is_some_and(|since| since.elapsed() > TROUBLE_LIMIT);
        if troubled || since.elapsed() > self.limit {
            let why = format!("{state} after {}", seconds(if troubled { TROUBLE_LIMIT } else { self.limit }));
            return Ok(Verdict::Failed(with_console(cloud, &first, why).await));
        }
        if !serving.contains(&first)
            && let Some(console) = self.gave_up(cloud, &first).await
        {
            return Ok(Verdict::Failed(format!("{first} has given up\n{console}")));
        }
        Ok(Verdict::Open(state))
    }

    fn open(&mut self, newcomers: &[String]) -> Vec<String> {
        let open = newcomers.iter().filter(|id| *self.answers.entry((*id).clone()).or_default() < ANSWERS);
        open.cloned().collect()
    }

    /// A newcomer that was there unproven and is no more.
    fn gone(&self, newcomers: &[String]) -> Option<String> {
        self.answers.iter().find(|(id, n)| **n < ANSWERS && !newcomers.contains(id)).map(|(id, _)| id.clone())
    }

    /// Asks the gallery until each that serves may have been chosen twice, and notes who answered what.
    async fn ask(&mut self, cloud: &Cloud, version: &str, open: &[String], serving: &[String]) -> CloudResult<()> {
        let versions = web_version::list(cloud).await?;
        let tells = versions.iter().find(|v| v.name == version).is_some_and(|version| version.tells_who_serves);
        let Some(url) = web_endpoint::url(cloud).await? else { return Ok(()) };
        self.trouble = None;
        for _ in 0..(serving.len() * 2).clamp(2, 40) {
            let answer = web_endpoint::ask(cloud, &url).await;
            if !tells {
                // A version from before servers told who they are: the load balancer's word on each has to do.
                for id in open.iter().filter(|id| serving.contains(id) && answer.is_ok()) {
                    *self.answers.entry(id.clone()).or_default() += 1;
                }
                continue;
            }
            let Some(id) = answer.served_by.filter(|id| open.contains(id)) else { continue };
            let counted = self.answers.entry(id).or_default();
            match answer.trouble {
                None => {
                    *counted += 1;
                    self.troubled_since = None;
                }
                Some(trouble) => {
                    *counted = 0;
                    self.troubled_since.get_or_insert_with(Instant::now);
                    self.trouble = Some(trouble);
                }
            }
        }
        Ok(())
    }

    async fn gave_up(&mut self, cloud: &Cloud, id: &str) -> Option<String> {
        if self.console_read.is_some_and(|at| at.elapsed() < CONSOLE_PAUSE) {
            return None;
        }
        self.console_read = Some(Instant::now());
        console_tail(cloud, id).await.filter(|console| console.contains(GAVE_UP))
    }
}

async fn with_console(cloud: &Cloud, id: &str, why: String) -> String {
    match console_tail(cloud, id).await {
        Some(console) => format!("{why}\n{console}"),
        None => why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_is_open_until_it_has_answered_often_enough_and_missed_when_it_goes_before() {
        let mut trial = Trial::new(Duration::from_secs(60));
        let both = ["i-1".to_owned(), "i-2".to_owned()];
        assert_eq!(trial.open(&both), both);
        trial.answers.insert("i-1".to_owned(), ANSWERS);
        assert_eq!(trial.open(&both), ["i-2"]);
        assert_eq!(trial.gone(&both), None);
        assert_eq!(trial.gone(&both[..1]), Some("i-2".to_owned()));
        assert_eq!(trial.gone(&both[1..]), None, "one that has proven itself may go");
        trial.begin_anew();
        assert_eq!(trial.gone(&[]), None);
    }
}
