use std::net::Ipv4Addr;

use super::*;
use crate::model::load_balancer::{Backend, ConnectionDraining, HealthCheck};

/// Hooks, standby, schedules and lifetimes.
mod lifecycle;
/// Instance refreshes.
mod refresh;
/// Several zones.
mod zones;

const NOW: i64 = 10_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(0.0).plus_secs(seconds)
}

fn configuration(name: &str) -> LaunchSource {
    LaunchSource::Configuration(name.to_owned())
}

fn template(id: &str, version: &str) -> LaunchSource {
    LaunchSource::Template { id: id.to_owned(), version: version.to_owned() }
}

fn member(id: &str, lifecycle: Lifecycle) -> Member {
    Member {
        instance_id: id.to_owned(),
        zone: "a".to_owned(),
        lifecycle,
        healthy: true,
        protected_from_scale_in: false,
        launched_from: configuration("lc"),
        joined: at(0),
        in_service_since: (lifecycle == Lifecycle::InService).then(|| at(100)),
        activity_id: None,
        holds_cooldown: false,
        lifecycle_actions: Vec::new(),
    }
}

fn launch(count: usize, from: usize, need: Need) -> Step {
    Step::Launch { zones: vec!["a".to_owned(); count], from, need }
}

fn group(desired_capacity: u32, members: Vec<Member>) -> AutoScalingGroup {
    AutoScalingGroup {
        name: "web".into(),
        arn: "arn".into(),
        created: at(0),
        launch_source: configuration("lc"),
        min_size: 1,
        max_size: 6,
        desired_capacity,
        default_cooldown_secs: 300,
        zones: vec!["a".into()],
        subnets: Vec::new(),
        load_balancer_names: vec!["lb".into()],
        health_check_type: "ELB".into(),
        health_check_grace_secs: 60,
        termination_policies: vec!["Default".into()],
        new_instances_protected: false,
        tags: Vec::new(),
        members,
        deleting: false,
        enabled_metrics: Default::default(),
        launch_trouble: None,
        last_scaled: None,
        last_cooldown_secs: 0,
        capacity_change: None,
        suspended: BTreeMap::new(),
        default_warmup_secs: None,
        max_lifetime_secs: None,
        deletion_protection: None,
        context: None,
        hooks: Vec::new(),
        schedule: Vec::new(),
        refreshes: Vec::new(),
    }
}

fn balancer(healthy: &[(&str, Option<bool>)]) -> LoadBalancer {
    let backend = |health: Option<bool>| Backend {
        registered: at(100),
        draining_since: None,
        healthy: health,
        passing: health == Some(true),
        last_check: String::new(),
        current_sessions: 0,
    };
    LoadBalancer {
        name: "lb".into(),
        dns_name: "lb-1.elb.localhost".into(),
        created: at(0),
        address: Ipv4Addr::new(10, 77, 255, 1),
        scheme: "internet-facing".into(),
        zones: vec!["a".into()],
        subnets: Vec::new(),
        security_group_ids: Vec::new(),
        listeners: Vec::new(),
        health_check: HealthCheck {
            target: "TCP:80".into(),
            interval_secs: 5,
            timeout_secs: 2,
            unhealthy_threshold: 2,
            healthy_threshold: 2,
        },
        backends: healthy.iter().map(|(id, health)| ((*id).to_owned(), backend(*health))).collect(),
        connection_draining: ConnectionDraining { enabled: true, timeout_secs: 300 },
        idle_timeout_secs: 60,
        cross_zone: false,
        policies: Default::default(),
        access_log: Default::default(),
        desync_mitigation: Default::default(),
        tags: BTreeMap::new(),
        trouble: None,
    }
}

/// Decides for a group all of whose instances run, but those given.
fn steps(group: &AutoScalingGroup, states: &[(&str, InstanceState)], balancer: LoadBalancer, now: i64) -> Vec<Step> {
    let mut instances: BTreeMap<String, InstanceState> =
        group.members.iter().map(|member| (member.instance_id.clone(), InstanceState::Running)).collect();
    instances.extend(states.iter().map(|(id, state)| ((*id).to_owned(), *state)));
    let configurations = BTreeMap::from([("old".to_owned(), at(1)), ("lc".to_owned(), at(2))]);
    decide(&View { group, instances, balancers: vec![Arc::new(balancer)], configurations, now: at(now) })
}

fn settled(group: &AutoScalingGroup) -> Vec<Step> {
    steps(group, &[], balancer(&[]), NOW)
}

fn released(group: &AutoScalingGroup) -> Vec<String> {
    let release = |step| if let Step::Release { instance_id, .. } = step { Some(instance_id) } else { None };
    settled(group).into_iter().filter_map(release).collect()
}

use Lifecycle::{InService, Pending, Terminating};

#[test]
fn all_missing_members_are_launched_at_once() {
    assert_eq!(settled(&group(4, Vec::new())), [launch(4, 0, Need::Capacity)]);
    let half = group(4, vec![member("i-1", InService), member("i-2", Pending)]);
    let states = [("i-2", InstanceState::Pending)];
    assert_eq!(steps(&half, &states, balancer(&[]), NOW), [launch(2, 2, Need::Capacity)]);
}

#[test]
fn a_group_at_its_capacity_does_nothing() {
    assert_eq!(settled(&group(2, vec![member("i-1", InService), member("i-2", InService)])), []);
}

#[test]
fn a_running_instance_enters_service() {
    assert_eq!(settled(&group(1, vec![member("i-1", Pending)])), [Step::EnterService("i-1".into())]);
}

#[test]
fn a_vanished_or_stopped_member_is_replaced_though_its_grace_lasts() {
    for state in [InstanceState::Terminated, InstanceState::ShuttingDown, InstanceState::Stopped] {
        let group = group(1, vec![member("i-1", InService)]);
        let expected = [Step::Replace("i-1".into(), Illness::Gone), launch(1, 0, Need::Replacement)];
        assert_eq!(steps(&group, &[("i-1", state)], balancer(&[]), 101), expected);
    }
}

#[test]
fn a_member_that_fails_at_the_balancer_is_replaced_after_its_grace_only() {
    let group = group(1, vec![member("i-1", InService)]);
    let failing = || balancer(&[("i-1", Some(false))]);
    assert_eq!(steps(&group, &[], failing(), 159), []);
    assert_eq!(steps(&group, &[], failing(), 160)[0], Step::Replace("i-1".into(), Illness::FailsAtBalancer));
    assert_eq!(steps(&group, &[], balancer(&[("i-1", None)]), NOW), [], "no check has ended yet");
    let by_ec2 = AutoScalingGroup { health_check_type: "EC2".into(), ..group };
    assert_eq!(steps(&by_ec2, &[], failing(), NOW), []);
}

#[test]
fn a_balancer_that_is_not_served_condemns_nobody() {
    let group = group(1, vec![member("i-1", InService)]);
    let troubled = LoadBalancer { trouble: Some("port taken".into()), ..balancer(&[("i-1", Some(false))]) };
    assert_eq!(steps(&group, &[], troubled, NOW), []);
}

#[test]
fn the_oldest_source_goes_first_and_then_the_oldest_member() {
    let of = |id: &str, source: LaunchSource, joined: i64| Member {
        launched_from: source,
        joined: at(joined),
        ..member(id, InService)
    };
    let by_configuration = group(
        1,
        vec![of("i-1", configuration("lc"), 1), of("i-2", configuration("old"), 9), of("i-3", configuration("lc"), 2)],
    );
    assert_eq!(released(&by_configuration), ["i-2", "i-1"]);
    let by_version = AutoScalingGroup {
        launch_source: template("lt-1", "$Latest"),
        members: vec![
            of("i-1", template("lt-1", "10"), 1),
            of("i-2", template("lt-1", "9"), 9),
            of("i-3", template("lt-0", "12"), 9),
        ],
        ..group(1, Vec::new())
    };
    assert_eq!(released(&by_version), ["i-3", "i-2"]);
    let newest = AutoScalingGroup { termination_policies: vec!["NewestInstance".into()], ..by_configuration };
    assert_eq!(released(&newest), ["i-2", "i-3"]);
}

#[test]
fn protected_members_stay_when_the_group_shrinks() {
    let protected = Member { protected_from_scale_in: true, ..member("i-1", InService) };
    assert_eq!(
        released(&group(1, vec![protected, member("i-2", InService), member("i-3", InService)])),
        ["i-2", "i-3"]
    );
}

#[test]
fn a_leaving_member_is_terminated_only_when_no_balancer_has_it() {
    let group = group(0, vec![member("i-1", Terminating)]);
    assert_eq!(steps(&group, &[], balancer(&[("i-1", Some(true))]), NOW), []);
    assert_eq!(steps(&group, &[], balancer(&[]), NOW), [Step::Terminate("i-1".into())]);
    assert_eq!(steps(&group, &[("i-1", InstanceState::ShuttingDown)], balancer(&[]), NOW), []);
    assert_eq!(steps(&group, &[("i-1", InstanceState::Terminated)], balancer(&[]), NOW), [Step::Forget("i-1".into())]);
}

#[test]
fn a_failed_launch_is_tried_again_after_its_pause() {
    let held_back = AutoScalingGroup { launch_trouble: Some(("no room".into(), at(NOW + 1))), ..group(1, Vec::new()) };
    assert_eq!(settled(&held_back), []);
    let again = steps(&held_back, &[], balancer(&[]), NOW + 1);
    assert_eq!(again, [launch(1, 0, Need::Capacity)]);
}

#[test]
fn an_instance_that_never_came_up_is_not_followed_by_the_next_at_once() {
    let group = group(1, vec![member("i-1", Pending)]);
    let gone = [("i-1", InstanceState::Terminated)];
    assert_eq!(steps(&group, &gone, balancer(&[]), NOW), [Step::Replace("i-1".into(), Illness::Gone)]);
}

#[test]
fn a_suspended_process_is_not_carried_out() {
    let suspend = |group: AutoScalingGroup, process: &str| AutoScalingGroup {
        suspended: BTreeMap::from([(process.to_owned(), "user".to_owned())]),
        ..group
    };
    assert_eq!(settled(&suspend(group(1, Vec::new()), "Launch")), []);
    let large = group(1, vec![member("i-1", InService), member("i-2", InService)]);
    assert_eq!(settled(&suspend(large, "Terminate")), []);
    let one = || group(1, vec![member("i-1", InService)]);
    let gone = [("i-1", InstanceState::Terminated)];
    assert_eq!(steps(&suspend(one(), "HealthCheck"), &gone, balancer(&[]), NOW), []);
    let marked = [Step::MarkUnhealthy("i-1".into())];
    assert_eq!(steps(&suspend(one(), "ReplaceUnhealthy"), &gone, balancer(&[]), NOW), marked);
}

#[test]
fn a_group_that_is_deleted_goes_after_its_members() {
    let deleting = |members| AutoScalingGroup { deleting: true, ..group(0, members) };
    assert_eq!(settled(&deleting(vec![member("i-1", InService)])), [Step::Withdraw("i-1".into())]);
    assert_eq!(settled(&deleting(vec![member("i-1", Terminating)])), [Step::Terminate("i-1".into())]);
    assert_eq!(settled(&deleting(Vec::new())), [Step::Remove]);
}
