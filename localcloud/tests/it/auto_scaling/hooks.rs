use localcloud::model::{auto_scaling::AutoScalingGroup, time::Timestamp};

use super::*;

const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

fn launch_hook(result: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("LifecycleHookSpecificationList.member.1.LifecycleHookName", "prepare"),
        ("LifecycleHookSpecificationList.member.1.LifecycleTransition", LAUNCHING),
        ("LifecycleHookSpecificationList.member.1.HeartbeatTimeout", "60"),
        ("LifecycleHookSpecificationList.member.1.DefaultResult", result),
    ]
}

fn states(world: &FakeWorld) -> Vec<String> {
    let described = world.call(ASG, "DescribeAutoScalingInstances", &[]).unwrap();
    described.each("AutoScalingInstances", "LifecycleState")
}

fn complete(world: &FakeWorld, hook: &str, id: &str, result: &str) {
    let parameters = [
        ("AutoScalingGroupName", "web"),
        ("LifecycleHookName", hook),
        ("InstanceId", id),
        ("LifecycleActionResult", result),
    ];
    world.call(ASG, "CompleteLifecycleAction", &parameters).unwrap();
}

/// Lets the time of all waiting members' actions go by.
fn time_out(world: &FakeWorld) {
    world.change::<AutoScalingGroup>("web", |group| {
        for action in group.members.iter_mut().flat_map(|member| &mut member.lifecycle_actions) {
            action.deadline = Timestamp::now();
        }
    });
}

#[tokio::test]
async fn a_launched_member_waits_until_its_hook_lets_it_into_service() {
    let mut world = world(&launch_hook("ABANDON"));
    world.until("both wait", |world| states(world) == ["Pending:Wait", "Pending:Wait"]).await;
    assert!(registered(&world).is_empty());
    assert_eq!(activities(&world).text("Activities.0.StatusCode"), "MidLifecycleAction");
    // A new daemon waits on, with the same tokens.
    let tokens = |world: &FakeWorld| {
        members(world).into_iter().map(|member| member.lifecycle_actions[0].token.clone()).collect::<Vec<_>>()
    };
    let before = tokens(&world);
    world.restart();
    for _ in 0..5 {
        world.pass().await;
    }
    assert_eq!(tokens(&world), before);
    let heartbeat = [
        ("AutoScalingGroupName", "web"),
        ("LifecycleHookName", "prepare"),
        ("LifecycleActionToken", before[0].as_str()),
    ];
    time_limit(&world, 5);
    world.call(ASG, "RecordLifecycleActionHeartbeat", &heartbeat).unwrap();
    let later = members(&world)[0].lifecycle_actions[0].deadline;
    assert!(later > Timestamp::now().plus_secs(30), "{later}");
    for id in ids(&world) {
        complete(&world, "prepare", &id, "CONTINUE");
    }
    world.until("two members in service", |world| has_settled(world, 2)).await;
    assert_eq!(activities(&world).text("Activities.0.StatusCode"), "Successful");
    let late = [
        ("AutoScalingGroupName", "web"),
        ("LifecycleHookName", "prepare"),
        ("LifecycleActionToken", before[0].as_str()),
        ("LifecycleActionResult", "CONTINUE"),
    ];
    assert_eq!(world.refused(ASG, "CompleteLifecycleAction", &late), "ValidationError");
}

/// Leaves so many seconds to all actions.
fn time_limit(world: &FakeWorld, seconds: i64) {
    world.change::<AutoScalingGroup>("web", |group| {
        for action in group.members.iter_mut().flat_map(|member| &mut member.lifecycle_actions) {
            action.deadline = Timestamp::now().plus_secs(seconds);
        }
    });
}

#[tokio::test]
async fn an_abandoned_launch_is_told_and_another_one_follows() {
    let mut world = world(&launch_hook("CONTINUE"));
    world.until("both wait", |world| states(world) == ["Pending:Wait", "Pending:Wait"]).await;
    let [bad, good] = ids(&world).try_into().unwrap();
    complete(&world, "prepare", &good, "CONTINUE");
    complete(&world, "prepare", &bad, "ABANDON");
    world.until("the bad one is gone", |world| !ids(world).contains(&bad)).await;
    let told = activities(&world);
    let cancelled = told.each("Activities", "StatusCode").iter().position(|status| status == "Cancelled").unwrap();
    let message = told.text(&format!("Activities.{cancelled}.StatusMessage"));
    assert!(message.ends_with("was abandoned: Lifecycle Action Completed with ABANDON Result"), "{message}");
    world.until("another one waits", |world| states(world).contains(&"Pending:Wait".to_owned())).await;
    time_out(&world);
    world.until("the timeout lets it go on", |world| has_settled(world, 2)).await;
}

#[tokio::test]
async fn a_leaving_member_waits_after_it_was_drained() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let put =
        [("AutoScalingGroupName", "web"), ("LifecycleHookName", "save-logs"), ("LifecycleTransition", TERMINATING)];
    world.call(ASG, "PutLifecycleHook", &put).unwrap();
    let described = world.call(ASG, "DescribeLifecycleHooks", &[("AutoScalingGroupName", "web")]).unwrap();
    assert_eq!(described.text("LifecycleHooks.0.HeartbeatTimeout"), "3600");
    assert_eq!(described.text("LifecycleHooks.0.GlobalTimeout"), "172800");
    assert_eq!(described.text("LifecycleHooks.0.DefaultResult"), "ABANDON");
    set_desired(&world, "1");
    world.until("one waits", |world| states(world).contains(&"Terminating:Wait".to_owned())).await;
    assert_eq!((registered(&world).len(), world.cloud.instances.running()), (1, 2));
    let leaving = members(&world).into_iter().find(|member| member.lifecycle.is_terminating()).unwrap().instance_id;
    complete(&world, "save-logs", &leaving, "CONTINUE");
    world.until("it is gone", |world| has_settled(world, 1)).await;
    assert_eq!(world.cloud.instances.running(), 1);
}

#[tokio::test]
async fn deleting_a_hook_lets_those_go_that_wait_for_it() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let hook = [("AutoScalingGroupName", "web"), ("LifecycleHookName", "save-logs")];
    world.call(ASG, "PutLifecycleHook", &[hook[0], hook[1], ("LifecycleTransition", TERMINATING)]).unwrap();
    set_desired(&world, "1");
    world.until("one waits", |world| states(world).contains(&"Terminating:Wait".to_owned())).await;
    world.call(ASG, "DeleteLifecycleHook", &hook).unwrap();
    world.until("it is gone", |world| has_settled(world, 1)).await;
    assert_eq!(world.refused(ASG, "DeleteLifecycleHook", &hook), "ValidationError");
}

#[tokio::test]
async fn a_group_that_is_force_deleted_waits_for_no_hook() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let hook = [("AutoScalingGroupName", "web"), ("LifecycleHookName", "save-logs")];
    world.call(ASG, "PutLifecycleHook", &[hook[0], hook[1], ("LifecycleTransition", TERMINATING)]).unwrap();
    set_desired(&world, "1");
    world.until("one waits", |world| states(world).contains(&"Terminating:Wait".to_owned())).await;
    world.call(ASG, "DeleteAutoScalingGroup", &[hook[0], ("ForceDelete", "true")]).unwrap();
    world
        .until("the group is gone", |world| {
            world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap().count("AutoScalingGroups") == 0
        })
        .await;
}

#[tokio::test]
async fn a_hook_holds_the_cooldown_of_a_simple_policy() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let policy = [
        ("AutoScalingGroupName", "web"),
        ("PolicyName", "out"),
        ("AdjustmentType", "ChangeInCapacity"),
        ("ScalingAdjustment", "1"),
        ("Cooldown", "0"),
    ];
    let arn = world.call(ASG, "PutScalingPolicy", &policy).unwrap().text("PolicyARN");
    let hook = [("AutoScalingGroupName", "web"), ("LifecycleHookName", "prepare"), ("LifecycleTransition", LAUNCHING)];
    world.call(ASG, "PutLifecycleHook", &hook).unwrap();
    let execute = [("PolicyName", arn.as_str()), ("HonorCooldown", "true")];
    world.call(ASG, "ExecutePolicy", &execute).unwrap();
    world.until("the third one waits", |world| states(world).contains(&"Pending:Wait".to_owned())).await;
    assert_eq!(world.refused(ASG, "ExecutePolicy", &execute), "ScalingActivityInProgress");
    let waiting = members(&world).into_iter().find(|member| member.lifecycle.is_pending()).unwrap().instance_id;
    complete(&world, "prepare", &waiting, "CONTINUE");
    world.until("three members in service", |world| has_settled(world, 3)).await;
    world.call(ASG, "ExecutePolicy", &execute).unwrap();
}

#[test]
fn hooks_are_checked_in_words() {
    let world = world(&[]);
    let put = |extra: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> =
            [("AutoScalingGroupName", "web"), ("LifecycleHookName", "h")].iter().chain(extra).copied().collect();
        world.refused(ASG, "PutLifecycleHook", &all)
    };
    let transition = ("LifecycleTransition", LAUNCHING);
    assert_eq!(put(&[]), "ValidationError", "a new hook needs its transition");
    assert_eq!(put(&[("LifecycleTransition", "autoscaling:NONSENSE")]), "ValidationError");
    assert_eq!(put(&[transition, ("HeartbeatTimeout", "29")]), "ValidationError");
    assert_eq!(put(&[transition, ("DefaultResult", "RETRY")]), "ValidationError");
    let target = ("NotificationTargetARN", "arn:aws:sns:us-east-1:1:topic");
    assert_eq!(put(&[transition, target]), "UnsupportedOperation");
    let types = world.call(ASG, "DescribeLifecycleHookTypes", &[]).unwrap();
    assert_eq!(types.text("LifecycleHookTypes.0"), LAUNCHING);
    let unknown = [("AutoScalingGroupName", "web"), ("LifecycleHookNames.member.1", "none")];
    assert_eq!(world.refused(ASG, "DescribeLifecycleHooks", &unknown), "ValidationError");
}
