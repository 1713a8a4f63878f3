use super::*;
use crate::model::auto_scaling::{
    hook::{LifecycleHook, LifecycleResult},
    schedule::ScheduledAction,
};

fn hook(name: &str, transition: Transition, default_result: LifecycleResult) -> LifecycleHook {
    LifecycleHook {
        name: name.into(),
        transition,
        heartbeat_timeout_secs: 30,
        default_result,
        notification_metadata: None,
    }
}

fn hooked(hooks: Vec<LifecycleHook>, members: Vec<Member>) -> AutoScalingGroup {
    let desired = u32::try_from(members.len()).expect("few");
    AutoScalingGroup { hooks, ..group(desired, members) }
}

/// A member that each hook began to hold at a time.
fn held(hooks: &[LifecycleHook], lifecycle: Lifecycle, since: i64) -> Member {
    let actions = hooks.iter().map(|hook| hook.begin(format!("token-{}", hook.name), at(since)));
    Member { lifecycle_actions: actions.collect(), ..member("i-1", lifecycle) }
}

#[test]
fn a_running_instance_waits_for_launch_hooks_before_it_enters_service() {
    let launching = hook("a", Transition::Launching, LifecycleResult::Continue);
    let group = hooked(vec![launching], vec![member("i-1", Pending)]);
    assert_eq!(settled(&group), [Step::Wait("i-1".into(), Transition::Launching)]);
    let terminating = hook("a", Transition::Terminating, LifecycleResult::Continue);
    let group = hooked(vec![terminating.clone()], vec![member("i-1", Pending)]);
    assert_eq!(settled(&group), [Step::EnterService("i-1".into())]);
    let group = hooked(vec![terminating], vec![member("i-1", Lifecycle::PendingProceed)]);
    assert_eq!(settled(&group), [Step::EnterService("i-1".into())]);
}

#[test]
fn all_hooks_must_let_a_member_go_on_and_one_can_stop_it() {
    let hooks = ["a", "b"]
        .map(|name| hook(name, Transition::Launching, LifecycleResult::Abandon))
        .into_iter()
        .collect::<Vec<_>>();
    let mut waiting = held(&hooks, Lifecycle::PendingWait, NOW);
    waiting.lifecycle_actions[0].result = Some(LifecycleResult::Continue);
    assert_eq!(settled(&hooked(hooks.clone(), vec![waiting.clone()])), [], "b is open");
    waiting.lifecycle_actions[1].result = Some(LifecycleResult::Continue);
    assert_eq!(settled(&hooked(hooks.clone(), vec![waiting.clone()])), [Step::Proceed("i-1".into())]);
    waiting.lifecycle_actions[1].result = Some(LifecycleResult::Abandon);
    let how = "Lifecycle Action Completed with ABANDON Result";
    let verdict = Verdict::Abandon { token: "token-b".into(), how };
    assert_eq!(settled(&hooked(hooks, vec![waiting])), [Step::Abandon("i-1".into(), verdict)]);
}

#[test]
fn after_its_timeout_a_hooks_default_result_counts() {
    for (default_result, expected) in [
        (LifecycleResult::Continue, Step::Proceed("i-1".into())),
        (
            LifecycleResult::Abandon,
            Step::Abandon("i-1".into(), Verdict::Abandon { token: "token-a".into(), how: "Heartbeat Timeout" }),
        ),
    ] {
        let hooks = vec![hook("a", Transition::Launching, default_result)];
        let early = hooked(hooks.clone(), vec![held(&hooks, Lifecycle::PendingWait, NOW - 29)]);
        assert_eq!(settled(&early), []);
        let late = hooked(hooks.clone(), vec![held(&hooks, Lifecycle::PendingWait, NOW - 30)]);
        assert_eq!(settled(&late), [expected]);
    }
}

#[test]
fn a_leaving_member_is_drained_then_held_then_terminated_whatever_its_hooks_say() {
    let hooks = vec![hook("a", Transition::Terminating, LifecycleResult::Abandon)];
    let of = |member| AutoScalingGroup { desired_capacity: 0, ..hooked(hooks.clone(), vec![member]) };
    let draining = of(member("i-1", Terminating));
    assert_eq!(steps(&draining, &[], balancer(&[("i-1", Some(true))]), NOW), []);
    assert_eq!(settled(&draining), [Step::Wait("i-1".into(), Transition::Terminating)]);
    assert_eq!(settled(&of(held(&hooks, Lifecycle::TerminatingWait, NOW))), []);
    assert_eq!(settled(&of(held(&hooks, Lifecycle::TerminatingWait, 0))), [Step::Proceed("i-1".into())]);
    assert_eq!(settled(&of(member("i-1", Lifecycle::TerminatingProceed))), [Step::Terminate("i-1".into())]);
    let gone = [("i-1", InstanceState::Terminated)];
    let waiting = of(held(&hooks, Lifecycle::TerminatingWait, NOW));
    assert_eq!(steps(&waiting, &gone, balancer(&[]), NOW), [Step::Forget("i-1".into())]);
}

#[test]
fn one_in_standby_is_no_capacity_and_is_not_watched() {
    let stands_by = member("i-1", Lifecycle::Standby);
    let launch_one = [launch(1, 0, Need::Capacity)];
    assert_eq!(settled(&group(1, vec![stands_by.clone()])), launch_one);
    let replaced = group(1, vec![stands_by, member("i-2", InService)]);
    let stopped = [("i-1", InstanceState::Stopped)];
    assert_eq!(steps(&replaced, &stopped, balancer(&[("i-1", Some(false))]), NOW), []);
    let gone = [("i-1", InstanceState::Terminated)];
    assert_eq!(steps(&replaced, &gone, balancer(&[]), NOW), [Step::Forget("i-1".into())]);
}

#[test]
fn standby_and_detachment_wait_for_the_balancers() {
    for (lifecycle, step) in
        [(Lifecycle::EnteringStandby, Step::StandBy("i-1".into())), (Lifecycle::Detaching, Step::Detach("i-1".into()))]
    {
        let group = group(0, vec![member("i-1", lifecycle)]);
        assert_eq!(steps(&group, &[], balancer(&[("i-1", Some(true))]), NOW), []);
        assert_eq!(settled(&group), [step]);
    }
    let deleting = AutoScalingGroup { deleting: true, ..group(0, vec![member("i-1", Lifecycle::Standby)]) };
    assert_eq!(settled(&deleting), [Step::Withdraw("i-1".into())]);
}

fn action(name: &str, next: i64) -> ScheduledAction {
    ScheduledAction {
        name: name.into(),
        arn: "arn".into(),
        start: None,
        end: None,
        recurrence: None,
        time_zone: None,
        min_size: None,
        max_size: None,
        desired_capacity: Some(3),
        next: at(next),
    }
}

#[test]
fn a_scheduled_action_runs_on_time_and_is_missed_after_two_minutes() {
    let scheduled = |next: i64| AutoScalingGroup { schedule: vec![action("a", next)], ..group(0, Vec::new()) };
    let run = |missed| [Step::RunSchedule { action: "a".into(), missed }];
    assert_eq!(settled(&scheduled(NOW + 1)), []);
    assert_eq!(settled(&scheduled(NOW)), run(false));
    assert_eq!(settled(&scheduled(NOW - 120)), run(false));
    assert_eq!(settled(&scheduled(NOW - 121)), run(true));
    let held = AutoScalingGroup {
        suspended: BTreeMap::from([("ScheduledActions".to_owned(), "user".to_owned())]),
        ..scheduled(NOW)
    };
    assert_eq!(settled(&held), run(true));
}

#[test]
fn members_that_served_their_time_are_replaced_one_after_the_other() {
    let members = vec![member("i-1", InService), Member { in_service_since: Some(at(50)), ..member("i-2", InService) }];
    let of = |seconds, members| AutoScalingGroup { max_lifetime_secs: Some(seconds), ..group(2, members) };
    let oldest = [Step::Retire("i-2".into(), Retirement::TooOld), launch(1, 1, Need::Capacity)];
    assert_eq!(settled(&of(86_400, members.clone())), []);
    assert_eq!(settled(&of(1000, members.clone())), oldest);
    let next_comes = of(1000, vec![members[0].clone(), member("i-3", Pending)]);
    assert_eq!(steps(&next_comes, &[("i-3", InstanceState::Pending)], balancer(&[]), NOW), []);
}

#[test]
fn the_next_time_at_which_something_is_due_is_known() {
    let due = |group: &AutoScalingGroup, now: i64| {
        let balancers = vec![Arc::new(balancer(&[("i-1", None)]))];
        let view = View { group, instances: BTreeMap::new(), balancers, configurations: BTreeMap::new(), now: at(now) };
        due::next_due(&view)
    };
    let mut group = group(1, vec![member("i-1", InService)]);
    assert_eq!(due(&group, 100), Some(at(110)), "the balancer's first verdict");
    assert_eq!(due(&group, 110), Some(at(160)), "grace ends");
    assert_eq!(due(&group, 160), None, "nothing is to be done any more");
    group.schedule = vec![action("a", 500)];
    assert_eq!(due(&group, 160), Some(at(500)));
    group.launch_trouble = Some(("no room".into(), at(200)));
    assert_eq!(due(&group, 160), Some(at(200)));
    group.hooks = vec![hook("a", Transition::Terminating, LifecycleResult::Continue)];
    group.members = vec![held(&group.hooks.clone(), Lifecycle::TerminatingWait, 150)];
    assert_eq!(due(&group, 160), Some(at(180)));
}
