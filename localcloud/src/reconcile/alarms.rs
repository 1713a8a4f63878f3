//! Alarms follow their metrics, and act. Each is looked at at its own pace; what it costs to look is in proportion to the
//! alarms that are due, and nothing is written unless a state changes or an action changes something.

/// States are entered, actions carried out and repeated.
pub mod act;
/// What an alarm's actions are.
pub mod actions;
/// Alarms on the states of other alarms.
pub mod composite;
/// The state that an alarm goes into. Pure.
pub mod decide;
/// Periods, and when to look at them.
pub mod windows;
/// Reasons as CloudWatch words them.
pub mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use self::{composite::News, windows::Pace};
use super::runner::{Context, Progress, Reconciler};
use crate::{
    metrics::Metrics,
    model::{
        alarm::{Acted, Alarm},
        alarm_history::AlarmHistory,
        site::Site,
        time::Timestamp,
    },
    store::{Store, StoreError, changes::Cursor},
};

const PERIOD: Duration = Duration::from_secs(60);
const PURGE_EVERY_SECS: i64 = 3600;
/// A change of an alarm may change those that are composed of it, and those of these.
const MOST_ROUNDS: usize = 10;

#[derive(Default)]
pub struct Alarms {
    plans: BTreeMap<String, Plan>,
    site: Option<Arc<Site>>,
    followed: Cursor,
    purge: Option<Timestamp>,
}

/// When to look at an alarm next. A new daemon looks at once; what must not be doubled is in the records.
struct Plan {
    alarm: Arc<Alarm>,
    evaluate: Timestamp,
    /// When its scaling policies are carried out again.
    repeat: Option<Timestamp>,
    newest: Option<f64>,
}

#[async_trait]
impl Reconciler for Alarms {
    fn name(&self) -> &'static str {
        "alarms"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let (store, metrics) = (Arc::clone(&cx.store), Arc::clone(&cx.metrics));
        let mut alarms = std::mem::take(self);
        // Transactions wait for the disk.
        let (alarms, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = alarms.pass(&store, &metrics, Timestamp::now());
            (alarms, outcome)
        })
        .await?;
        // After a failure it begins anew, so that no news is lost.
        *self = if outcome.is_ok() { alarms } else { Self::default() };
        Ok(match outcome? {
            Some(next) => Progress::Again(until(next, Timestamp::now())),
            None => Progress::Settled,
        })
    }
}

fn until(next: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(next.millis() - now.millis()).unwrap_or(0).max(1))
}

impl Alarms {
    /// Looks at what is due at this time. Tells when something is due next.
    ///
    /// # Errors
    /// When the records cannot be read or written.
    pub fn pass(&mut self, store: &Store, metrics: &Metrics, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        for round in 0..MOST_ROUNDS {
            match self.learn(store, now)? {
                Some(news) => self.compose(store, &news, now)?,
                None if round > 0 => break,
                None => {}
            }
            self.act_and_evaluate(store, metrics, now)?;
        }
        self.repeat(store, now)?;
        if self.purge.is_none_or(|due| due <= now) {
            purge(store, now)?;
            self.purge = Some(now.plus_secs(PURGE_EVERY_SECS));
        }
        let times = self.plans.values().filter(|plan| plan.alarm.rule.is_none()).map(|plan| plan.evaluate);
        Ok(times.chain(self.plans.values().filter_map(|plan| plan.repeat)).min())
    }

    /// Reads the alarms that have changed, if there are any.
    fn learn(&mut self, store: &Store, now: Timestamp) -> Result<Option<News>, StoreError> {
        let changed = store.changes(&mut self.followed).of::<Alarm>();
        if changed.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(None);
        }
        let (alarms, site) = store.read(|tx| {
            let alarms: BTreeMap<String, Arc<Alarm>> = match &changed {
                Some(names) => names.iter().filter_map(|name| Some((name.clone(), tx.get(name)?))).collect(),
                None => tx.list::<Alarm>().into_iter().map(|alarm| (alarm.name.clone(), alarm)).collect(),
            };
            (alarms, tx.get::<Site>(Site::KEY))
        })?;
        self.site = site;
        let gone = changed.unwrap_or_else(|| self.plans.keys().cloned().collect());
        let gone = gone.into_iter().filter(|name| !alarms.contains_key(name));
        let mut news = News { changed: gone.collect(), put: BTreeSet::new() };
        for name in &news.changed {
            self.plans.remove(name);
        }
        for (name, alarm) in alarms {
            let earlier = self.plans.get(&name);
            if earlier.is_none_or(|earlier| earlier.alarm.definition != alarm.definition) {
                news.put.insert(name.clone());
            }
            news.changed.insert(name.clone());
            let plan = plan_of(alarm, earlier, now);
            self.plans.insert(name, plan);
        }
        Ok(Some(news))
    }

    fn compose(&self, store: &Store, news: &News, now: Timestamp) -> Result<(), StoreError> {
        let Some(site) = &self.site else { return Ok(()) };
        let alarms: BTreeMap<&str, &Alarm> =
            self.plans.iter().map(|(name, plan)| (name.as_str(), plan.alarm.as_ref())).collect();
        for (alarm, evaluation) in composite::decide(&alarms, news, site) {
            act::act(store, alarm, Some(&evaluation), now)?;
        }
        Ok(())
    }

    fn act_and_evaluate(&mut self, store: &Store, metrics: &Metrics, now: Timestamp) -> Result<(), StoreError> {
        for plan in self.plans.values_mut() {
            let alarm = &plan.alarm;
            let mut evaluation = None;
            if alarm.rule.is_none() && plan.evaluate <= now {
                let pace = Pace::of(alarm.period_secs, alarm.evaluation_periods);
                let windows = windows::read(alarm, metrics, pace.last_end(now));
                plan.newest = decide::newest(&windows);
                plan.evaluate = pace.next(now, windows.last().is_none_or(|window| window.measured.is_none()));
                evaluation = decide::decide(alarm, &windows, now);
            }
            if evaluation.is_some() || alarm.acted == Acted::Due {
                act::act(store, alarm, evaluation.as_ref(), now)?;
            }
        }
        Ok(())
    }

    fn repeat(&mut self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        for plan in self.plans.values_mut() {
            if plan.repeat.is_some_and(|due| due <= now) {
                act::repeat(store, &plan.alarm, plan.newest, now)?;
                plan.repeat = Some(now.plus_secs(repeat_secs(&plan.alarm)));
            }
        }
        Ok(())
    }
}

/// One that was put anew is looked at at once; one whose state was set by hand keeps it until its next regular look.
fn plan_of(alarm: Arc<Alarm>, earlier: Option<&Plan>, now: Timestamp) -> Plan {
    let same = earlier.filter(|earlier| earlier.alarm.definition == alarm.definition);
    let acted = match alarm.acted {
        Acted::At(time) if alarm.actions_enabled => Some(time),
        _ => None,
    };
    let repeats = alarm.actions_of(&alarm.state).iter().any(|action| actions::is_repeated(action));
    let repeat = acted.filter(|_| repeats).map(|time| {
        let due = time.plus_secs(repeat_secs(&alarm));
        let same_state = same.filter(|earlier| earlier.alarm.state_transitioned == alarm.state_transitioned);
        // A repetition that changed nothing is known only here.
        same_state.and_then(|earlier| earlier.repeat).map_or(due, |known| known.max(due))
    });
    Plan {
        evaluate: same.map_or(now, |earlier| earlier.evaluate),
        newest: same.and_then(|earlier| earlier.newest),
        repeat,
        alarm,
    }
}

/// Once a minute, as AWS does; at the alarm's own pace where that is faster
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html>).
fn repeat_secs(alarm: &Alarm) -> i64 {
    i64::from(alarm.period_secs.clamp(10, 60))
}

/// Histories outlive their alarms, but not for ever.
fn purge(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    store.transact(|tx| {
        for history in tx.list::<AlarmHistory>() {
            if history.items.iter().all(|item| item.is_old(now)) {
                tx.delete::<AlarmHistory>(&history.alarm_name);
            }
        }
        Ok(())
    })
}
