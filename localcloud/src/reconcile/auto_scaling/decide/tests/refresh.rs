use super::*;
use crate::model::auto_scaling::refresh::{RefreshPreferences, RefreshStatus};

fn preferences(min_healthy: u32, max_healthy: Option<u32>) -> RefreshPreferences {
    RefreshPreferences {
        min_healthy_percentage: min_healthy,
        max_healthy_percentage: max_healthy,
        warmup_secs: 10,
        checkpoint_percentages: Vec::new(),
        checkpoint_delay_secs: 60,
        skip_matching: false,
        auto_rollback: false,
        protected_instances: "Wait".into(),
        standby_instances: "Wait".into(),
    }
}

/// A refresh of the members `i-1` to `i-total`.
fn refresh(total: u32, preferences: RefreshPreferences) -> InstanceRefresh {
    InstanceRefresh {
        id: "refresh".into(),
        status: RefreshStatus::Pending,
        status_reason: None,
        start: at(NOW),
        end: None,
        preferences,
        desired: Some(template("lt-1", "2")),
        targets: (1..=total).map(|number| format!("i-{number}")).collect(),
        total,
        percentage: 0,
        to_update: total,
        checkpoints_passed: 0,
        resting_until: None,
        progressed: at(NOW),
        rollback: None,
    }
}

/// A group that is carried through its refresh: instances run at once, and are warm 10 seconds later.
struct Story {
    group: AutoScalingGroup,
    now: i64,
    launched: usize,
    most: usize,
    least_ready: usize,
}

impl Story {
    fn of(total: u32, preferences: RefreshPreferences) -> Self {
        let members = (1..=total).map(|number| member(&format!("i-{number}"), InService)).collect();
        let refreshes = vec![refresh(total, preferences)];
        let group = AutoScalingGroup { refreshes, ..group(total, members) };
        Self { group, now: NOW, launched: 0, most: total as usize, least_ready: total as usize }
    }

    fn refresh(&self) -> &InstanceRefresh {
        &self.group.refreshes[0]
    }

    /// One pass, carried out as the reconciler does as far as members are concerned.
    fn pass(&mut self) -> Vec<Step> {
        let steps = steps(&self.group, &[], balancer(&[]), self.now);
        for step in &steps {
            match step {
                Step::Refresh(refresh) => self.group.refreshes = vec![(**refresh).clone()],
                Step::Retire(id, _) | Step::Release { instance_id: id, .. } => {
                    self.group.members.retain(|member| member.instance_id != *id);
                }
                Step::Launch { zones, .. } => {
                    for _ in zones {
                        self.launched += 1;
                        let id = format!("new-{}", self.launched);
                        self.group.members.push(Member {
                            in_service_since: None,
                            joined: at(self.now),
                            ..member(&id, Pending)
                        });
                    }
                }
                Step::EnterService(id) => {
                    let now = at(self.now);
                    let entering = self.group.member_mut(id).expect("a member");
                    (entering.lifecycle, entering.in_service_since) = (InService, Some(now));
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        let ready = self.group.members.iter().filter(|member| member.is_warm(10, at(self.now))).count();
        self.most = self.most.max(self.group.members.len());
        self.least_ready = self.least_ready.min(ready);
        steps
    }

    /// Passes until the refresh has ended, or time is over.
    fn play(&mut self, seconds: i64) {
        let end = self.now + seconds;
        while self.now < end && self.refresh().status.is_active() {
            if self.pass().is_empty() {
                self.now += 1;
            }
        }
    }
}

#[test]
fn all_members_are_replaced_within_the_least_healthy_percentage() {
    let mut story = Story::of(4, preferences(50, None));
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Successful);
    assert_eq!((story.refresh().percentage, story.refresh().to_update), (100, 0));
    assert!(story.group.members.iter().all(|member| member.instance_id.starts_with("new-")));
    assert_eq!((story.launched, story.most, story.least_ready), (4, 4, 2));
}

#[test]
fn one_at_a_time_goes_where_the_percentage_leaves_no_room() {
    let mut story = Story::of(2, preferences(90, None));
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Successful);
    assert_eq!((story.launched, story.most, story.least_ready), (2, 2, 1));
}

#[test]
fn a_group_that_may_grow_launches_before_it_terminates() {
    let mut story = Story::of(4, preferences(100, Some(150)));
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Successful);
    assert_eq!((story.launched, story.most, story.least_ready), (4, 6, 4));
    // With an explicit hundred there is no other way, and one at a time comes first.
    let mut story = Story::of(2, preferences(100, Some(100)));
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Successful);
    assert_eq!((story.launched, story.most, story.least_ready), (2, 3, 2));
}

#[test]
fn a_refresh_rests_at_its_checkpoints() {
    let checkpoints = RefreshPreferences { checkpoint_percentages: vec![50, 100], ..preferences(50, None) };
    let mut story = Story::of(4, checkpoints);
    story.play(40);
    assert_eq!((story.refresh().percentage, story.launched), (50, 2));
    let until = story.refresh().resting_until.expect("it rests");
    assert_eq!(until, at(NOW + 10 + 60), "the replacements were ready after ten seconds");
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Successful);
    assert_eq!(story.launched, 4);

    let half = RefreshPreferences { checkpoint_percentages: vec![50], ..preferences(50, None) };
    let mut story = Story::of(4, half);
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Successful);
    assert_eq!((story.refresh().percentage, story.launched), (50, 2), "the last checkpoint is its end");
}

#[test]
fn protected_and_waiting_members_are_waited_for_an_hour() {
    let mut story = Story::of(2, preferences(50, None));
    story.group.members[1].protected_from_scale_in = true;
    story.play(3500);
    assert_eq!((story.refresh().status, story.launched), (RefreshStatus::InProgress, 1));
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Failed);
    let mut story = Story::of(2, RefreshPreferences { protected_instances: "Refresh".into(), ..preferences(50, None) });
    story.group.members[1].protected_from_scale_in = true;
    story.play(600);
    assert_eq!(story.refresh().status, RefreshStatus::Successful);
}

#[test]
fn a_refresh_that_fails_goes_back_if_it_was_told_so() {
    let rolling = RefreshPreferences { auto_rollback: true, ..preferences(50, None) };
    let mut story = Story::of(2, rolling);
    story.group.members[1].protected_from_scale_in = true;
    assert_eq!(story.group.launches_from(), &template("lt-1", "2"));
    story.play(3700);
    assert_eq!(story.refresh().status, RefreshStatus::RollbackSuccessful);
    let rollback = story.refresh().rollback.clone().expect("details");
    assert_eq!((rollback.percentage, rollback.to_update), (50, 1));
    assert_eq!(story.group.launches_from(), &configuration("lc"));
    let ids: Vec<&str> = story.group.members.iter().map(|member| member.instance_id.as_str()).collect();
    assert_eq!(ids, ["i-2", "new-2"], "what it had launched is replaced, what it had not reached stays");
}

#[test]
fn a_cancelled_refresh_replaces_no_more() {
    let mut story = Story::of(2, preferences(50, None));
    story.pass();
    story.group.refreshes[0].status = RefreshStatus::Cancelling;
    story.play(60);
    assert_eq!((story.refresh().status, story.launched), (RefreshStatus::Cancelled, 1));
}

#[test]
fn a_held_process_holds_the_refresh() {
    for process in ["InstanceRefresh", "Terminate"] {
        let mut story = Story::of(2, preferences(50, None));
        story.group.suspended = BTreeMap::from([(process.to_owned(), "user".to_owned())]);
        assert_eq!(story.pass(), []);
    }
}
