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

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

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
    store::{Store, StoreError},
};

const PERIOD: Duration = Duration::from_secs(60);
const PURGE_EVERY_SECS: i64 = 3600;
/// A change of an alarm may change those that are composed of it, and those of these.
const MOST_ROUNDS: usize = 10;

#[derive(Default)]
pub struct Alarms {
    plans: BTreeMap<String, Plan>,
    site: Option<Arc<Site>>,
    changed: Option<watch::Receiver<u64>>,
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
        for _ in 0..MOST_ROUNDS {
            if let Some(news) = self.learn(store, now)? {
                self.compose(store, &news, now)?;
            }
            self.act_and_evaluate(store, metrics, now)?;
            if !self.has_news() {
                break;
            }
        }
        self.repeat(store, now)?;
        if self.purge.is_none_or(|due| due <= now) {
            purge(store, now)?;
            self.purge = Some(now.plus_secs(PURGE_EVERY_SECS));
        }
        let times = self.plans.values().filter(|plan| plan.alarm.rule.is_none()).map(|plan| plan.evaluate);
        Ok(times.chain(self.plans.values().filter_map(|plan| plan.repeat)).min())
    }

    /// Reads the alarms, if the records have changed.
    fn learn(&mut self, store: &Store, now: Timestamp) -> Result<Option<News>, StoreError> {
        let changed = self.changed.get_or_insert_with(|| {
            let mut changed = store.subscribe();
            changed.mark_changed();
            changed
        });
        if !changed.has_changed().unwrap_or(false) {
            return Ok(None);
        }
        // What is committed from here on is news again.
        changed.mark_unchanged();
        let (alarms, site) = store.read(|tx| (tx.list::<Alarm>(), tx.get::<Site>(Site::KEY)))?;
        self.site = site;
        let mut known = std::mem::take(&mut self.plans);
        let mut news = News::default();
        for alarm in alarms {
            let plan = match known.remove(&alarm.name) {
                Some(plan) if Arc::ptr_eq(&plan.alarm, &alarm) => plan,
                earlier => {
                    if earlier.as_ref().is_none_or(|earlier| earlier.alarm.updated != alarm.updated) {
                        news.put.insert(alarm.name.clone());
                    }
                    news.changed.insert(alarm.name.clone());
                    plan_of(alarm, earlier.as_ref(), now)
                }
            };
            self.plans.insert(plan.alarm.name.clone(), plan);
        }
        news.changed.extend(known.into_keys());
        Ok(Some(news))
    }

    fn has_news(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| changed.has_changed().unwrap_or(false))
    }

    fn compose(&self, store: &Store, news: &News, now: Timestamp) -> Result<(), StoreError> {
        let Some(site) = self.site.as_ref().filter(|_| !news.changed.is_empty()) else { return Ok(()) };
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
    let same = earlier.filter(|earlier| earlier.alarm.updated == alarm.updated);
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
