//! How a group spreads over its zones: where it launches, from where it takes, and when it evens out
//! (<https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html#AutoScalingBehavior.Rebalancing>).
//! Pure.

use std::collections::BTreeMap;

use super::View;
use crate::model::auto_scaling::Member;

/// How many are in each zone of the group, and in zones that are none of its any more.
pub(super) struct Spread<'g> {
    counts: BTreeMap<&'g str, usize>,
    zones: &'g [String],
}

impl<'g> Spread<'g> {
    fn of(zones: &'g [String], members: &[&'g Member]) -> Self {
        let mut counts: BTreeMap<&str, usize> = zones.iter().map(|zone| (zone.as_str(), 0)).collect();
        for member in members {
            *counts.entry(&member.zone).or_default() += 1;
        }
        Self { counts, zones }
    }

    fn count(&self, zone: &str) -> usize {
        self.counts.get(zone).copied().unwrap_or(0)
    }

    /// How much is to be taken from a zone: the more, the sooner; all from one that is none of the group's any more.
    pub(super) fn crowd(&self, zone: &str) -> usize {
        if self.zones.iter().any(|own| own == zone) { self.count(zone) } else { usize::MAX }
    }

    /// The emptiest of the group's zones; of several, the one that it names first.
    fn emptiest(&self) -> Option<&'g String> {
        self.zones.iter().min_by_key(|zone| self.count(zone))
    }

    pub(super) fn remove(&mut self, zone: &str) {
        if let Some(count) = self.counts.get_mut(zone) {
            *count = count.saturating_sub(1);
        }
    }

    /// Such as `PARTI00, PARTI01 had 3, 1 instances`.
    fn words(&self) -> String {
        let zones: Vec<&str> = self.counts.keys().copied().collect();
        let counts: Vec<String> = self.counts.values().map(ToString::to_string).collect();
        format!("{} had {} instances", zones.join(", "), counts.join(", "))
    }
}

impl View<'_> {
    pub(super) fn spread<'m>(&'m self, members: &[&'m Member]) -> Spread<'m> {
        Spread::of(&self.group.zones, members)
    }

    /// Where so many launches go, one after the other to where the fewest are.
    pub(super) fn zones_of_launches(&self, staying: &[&Member], count: usize) -> Vec<String> {
        let mut spread = self.spread(staying);
        let mut zones = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(zone) = spread.emptiest() else { break };
            *spread.counts.entry(zone).or_default() += 1;
            zones.push(zone.clone());
        }
        zones
    }

    /// Why the group may have one more than it wants: another zone is to get one before a crowded one loses one. `None`
    /// while anything else is going on in it.
    pub(super) fn imbalance(&self, staying: &[&Member]) -> Option<String> {
        let group = self.group;
        let held = ["AZRebalance", "Launch", "Terminate"].iter().any(|process| group.is_suspended(process));
        let busy = group.capacity_change.is_some() || group.active_refresh().is_some();
        let (desired, spread) = (group.desired_capacity as usize, self.spread(staying));
        if held || busy || spread.counts.len() < 2 {
            return None;
        }
        let comes = staying.iter().filter(|member| member.lifecycle.is_pending()).count();
        match (staying.len(), comes) {
            // The one that evens out is under way; the other one leaves when it is there.
            (count, 1) if count == desired + 1 => Some(spread.words()),
            (count, 0) if count == desired && self.is_lopsided(staying, &spread) => Some(spread.words()),
            _ => None,
        }
    }

    /// Whether a move from one zone to another would even the group out, and could be carried out.
    fn is_lopsided(&self, staying: &[&Member], spread: &Spread<'_>) -> bool {
        let emptiest = spread.emptiest().map_or(0, |zone| spread.count(zone));
        let movable = staying.iter().filter(|member| !member.protected_from_scale_in);
        movable.map(|member| spread.crowd(&member.zone)).max().is_some_and(|crowd| crowd > emptiest + 1)
    }
}
