//! Groups from their creation to their end, on fake instances and a fake proxy.

use localcloud::{
    drivers::fake::When,
    model::{
        auto_scaling::{AutoScalingGroup, Lifecycle, Member},
        instance::Instance,
        load_balancer::LoadBalancer,
    },
};

use super::fake_world::{Answer, FakeWorld};

/// Members come and go by hand: attached, detached, in standby.
mod coming_and_going;
/// Lifecycle hooks.
mod hooks;
/// Policies that follow alarms.
mod policies;
/// Instance refreshes.
mod refreshes;
/// Scheduled actions.
mod schedules;

const ASG: &str = "autoscaling";
const ELB: &str = "elasticloadbalancing";

/// A cloud with a balancer `lb` and a group `web` of two behind it.
fn world(extra: &[(&str, &str)]) -> FakeWorld {
    let world = FakeWorld::new();
    let image = world.image_id.clone();
    world
        .call(
            ELB,
            "CreateLoadBalancer",
            &[
                ("LoadBalancerName", "lb"),
                ("AvailabilityZones.member.1", "PARTI00"),
                ("Listeners.member.1.Protocol", "HTTP"),
                ("Listeners.member.1.LoadBalancerPort", "8080"),
                ("Listeners.member.1.InstancePort", "80"),
            ],
        )
        .unwrap();
    world
        .call(
            ELB,
            "ModifyLoadBalancerAttributes",
            &[
                ("LoadBalancerName", "lb"),
                ("LoadBalancerAttributes.ConnectionDraining.Enabled", "true"),
                ("LoadBalancerAttributes.ConnectionDraining.Timeout", "60"),
            ],
        )
        .unwrap();
    world
        .call(
            ASG,
            "CreateLaunchConfiguration",
            &[("LaunchConfigurationName", "lc"), ("ImageId", &image), ("InstanceType", "t3.micro")],
        )
        .unwrap();
    let mut parameters = vec![
        ("AutoScalingGroupName", "web"),
        ("LaunchConfigurationName", "lc"),
        ("MinSize", "1"),
        ("MaxSize", "6"),
        ("DesiredCapacity", "2"),
        ("AvailabilityZones.member.1", "PARTI00"),
        ("LoadBalancerNames.member.1", "lb"),
        ("HealthCheckType", "ELB"),
        ("HealthCheckGracePeriod", "300"),
        ("Tags.member.1.Key", "Name"),
        ("Tags.member.1.Value", "web server"),
        ("Tags.member.1.PropagateAtLaunch", "true"),
        ("Tags.member.2.Key", "private"),
        ("Tags.member.2.Value", "x"),
        ("Tags.member.2.PropagateAtLaunch", "false"),
    ];
    parameters.extend(extra);
    world.call(ASG, "CreateAutoScalingGroup", &parameters).unwrap();
    world
}

fn members(world: &FakeWorld) -> Vec<Member> {
    world.read(|tx| tx.get::<AutoScalingGroup>("web").map(|group| group.members.clone()).unwrap_or_default())
}

fn ids(world: &FakeWorld) -> Vec<String> {
    members(world).into_iter().map(|member| member.instance_id).collect()
}

fn in_service(world: &FakeWorld) -> usize {
    members(world).iter().filter(|member| member.lifecycle == Lifecycle::InService).count()
}

fn has_settled(world: &FakeWorld, count: usize) -> bool {
    in_service(world) == count && members(world).len() == count
}

fn activities(world: &FakeWorld) -> Answer {
    world.call(ASG, "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).unwrap()
}

fn registered(world: &FakeWorld) -> Vec<String> {
    let answer = world.call(ELB, "DescribeLoadBalancers", &[]).unwrap();
    answer.each("LoadBalancerDescriptions.0.Instances", "InstanceId")
}

fn set_desired(world: &FakeWorld, desired: &str) {
    let parameters = [("AutoScalingGroupName", "web"), ("DesiredCapacity", desired)];
    world.call(ASG, "SetDesiredCapacity", &parameters).unwrap();
}

/// Lets time go by in what is known of members and registrations.
fn age(world: &FakeWorld, seconds: i64) {
    world.change::<AutoScalingGroup>("web", |group| {
        for member in &mut group.members {
            member.in_service_since = member.in_service_since.map(|since| since.plus_secs(-seconds));
        }
    });
    world.change::<LoadBalancer>("lb", |balancer| {
        for backend in balancer.backends.values_mut() {
            backend.registered = backend.registered.plus_secs(-seconds);
        }
    });
}

#[tokio::test]
async fn group_launches_registers_and_reports_in_service() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    assert_eq!(world.cloud.instances.running(), 2);
    let mut ids = ids(&world);
    ids.sort();
    assert_eq!(registered(&world), ids);
    world
        .until("both healthy at the balancer", |world| {
            let health = world.call(ELB, "DescribeInstanceHealth", &[("LoadBalancerName", "lb")]).unwrap();
            health.each("InstanceStates", "State") == ["InService", "InService"]
        })
        .await;

    let tags = world.read(|tx| tx.get::<Instance>(&ids[0]).unwrap().tags.clone());
    assert_eq!(tags.get("aws:autoscaling:groupName").map(String::as_str), Some("web"));
    assert_eq!(tags.get("Name").map(String::as_str), Some("web server"));
    assert!(!tags.contains_key("private"));

    let described = world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap();
    assert_eq!(described.each("AutoScalingGroups.0.Instances", "LifecycleState"), ["InService", "InService"]);
    assert_eq!(described.each("AutoScalingGroups.0.Instances", "LaunchConfigurationName"), ["lc", "lc"]);
    let activities = activities(&world);
    assert_eq!(activities.each("Activities", "StatusCode"), ["Successful", "Successful"]);
    let cause = activities.text("Activities.0.Cause");
    assert!(
        cause.contains("a user request created an AutoScalingGroup changing the desired capacity from 0 to 2."),
        "{cause}"
    );
    assert!(cause.contains("increasing the capacity from 0 to 2."), "{cause}");
    assert!(activities.text("Activities.0.Description").starts_with("Launching a new EC2 instance: i-"));
}

#[tokio::test]
async fn a_settled_group_writes_nothing_more() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    for _ in 0..10 {
        world.pass().await;
    }
    let changed = world.store.subscribe();
    for _ in 0..10 {
        world.pass().await;
    }
    assert!(!changed.has_changed().unwrap());
}

#[tokio::test]
async fn all_missing_members_are_launched_in_one_pass() {
    let mut world = world(&[]);
    set_desired(&world, "5");
    world.pass().await;
    assert_eq!(members(&world).len(), 5);
}

#[tokio::test]
async fn a_terminated_member_is_replaced() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let lost = ids(&world).remove(0);
    world.call("ec2", "TerminateInstances", &[("InstanceId.1", &lost)]).unwrap();
    world.until("another one in its place", |world| has_settled(world, 2) && !ids(world).contains(&lost)).await;
    world.until("it is registered", |world| registered(world).len() == 2 && !registered(world).contains(&lost)).await;
    let activities = activities(&world);
    let causes = activities.each("Activities", "Cause").join("\n");
    assert!(causes.contains("an EC2 health check indicating it has been terminated or stopped."), "{causes}");
    assert!(causes.contains("in response to an unhealthy instance needing to be replaced."), "{causes}");
    assert!(activities.each("Activities", "Description").contains(&format!("Terminating EC2 instance: {lost}")));
}

#[tokio::test]
async fn scale_in_drains_before_it_terminates() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    for id in ids(&world) {
        world.proxy.set_sessions(&id, 1);
    }
    set_desired(&world, "1");
    let waiting =
        |world: &FakeWorld| activities(world).text("Activities.0.StatusCode") == "WaitingForELBConnectionDraining";
    world.until("one drains", waiting).await;
    let leaving =
        members(&world).into_iter().find(|member| member.lifecycle == Lifecycle::Terminating).unwrap().instance_id;
    // Also a new daemon waits for its connections.
    world.restart();
    for _ in 0..10 {
        world.pass().await;
    }
    assert!(waiting(&world));
    assert_eq!(world.cloud.instances.running(), 2);
    assert_eq!(registered(&world).len(), 1, "one that drains is no longer registered");
    let health = world.call(
        ELB,
        "DescribeInstanceHealth",
        &[("LoadBalancerName", "lb"), ("Instances.member.1.InstanceId", &leaving)],
    );
    assert_eq!(health.unwrap().text("InstanceStates.0.Description"), "Instance deregistration currently in progress.");

    world.proxy.set_sessions(&leaving, 0);
    world.until("it is gone", |world| has_settled(world, 1)).await;
    assert_eq!(world.cloud.instances.running(), 1);
    let activities = activities(&world);
    assert_eq!(activities.text("Activities.0.StatusCode"), "Successful");
    let cause = activities.text("Activities.0.Cause");
    assert!(cause.contains("shrinking the capacity from 2 to 1."), "{cause}");
    assert!(cause.contains(&format!("instance {leaving} was selected for termination.")), "{cause}");
}

#[tokio::test]
async fn a_group_is_deleted_with_its_members() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let name = [("AutoScalingGroupName", "web")];
    assert_eq!(world.refused(ASG, "DeleteAutoScalingGroup", &name), "ResourceInUse");
    world.call(ASG, "DeleteAutoScalingGroup", &[name[0], ("ForceDelete", "true")]).unwrap();
    let described = world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap();
    assert_eq!(described.text("AutoScalingGroups.0.Status"), "Delete in progress");
    world.restart();
    let is_gone =
        |world: &FakeWorld| world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap().count("AutoScalingGroups") == 0;
    world.until("the group is gone", is_gone).await;
    assert_eq!(world.cloud.instances.running(), 0);
    assert!(registered(&world).is_empty());
    // Deleting the launch configuration is possible now.
    world.call(ASG, "DeleteLaunchConfiguration", &[("LaunchConfigurationName", "lc")]).unwrap();
}

#[tokio::test]
async fn unhealthy_member_is_replaced_only_after_grace() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    world.until("both registered", |world| registered(world).len() == 2).await;
    let ill = ids(&world).remove(0);
    world.cloud.proxy.set_health(&ill, Some(false));
    let out_of_service = |world: &FakeWorld| {
        let parameters = [("LoadBalancerName", "lb"), ("Instances.member.1.InstanceId", ill.as_str())];
        world.call(ELB, "DescribeInstanceHealth", &parameters).unwrap().text("InstanceStates.0.ReasonCode")
            == "Instance"
    };
    age(&world, 200);
    world.until("it is out of service", out_of_service).await;
    for _ in 0..10 {
        world.pass().await;
    }
    assert!(has_settled(&world, 2) && ids(&world).contains(&ill), "its grace lasts");
    age(&world, 200);
    world.until("it is replaced", |world| has_settled(world, 2) && !ids(world).contains(&ill)).await;
    let causes = activities(&world).each("Activities", "Cause").join("\n");
    assert!(causes.contains("in response to an ELB system health check failure."), "{causes}");
}

#[tokio::test]
async fn a_failed_launch_is_told_and_tried_again() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    // The key pair that the template names is gone.
    world.change::<localcloud::model::auto_scaling::LaunchConfiguration>("lc", |lc| {
        lc.data.key_name = Some("gone".into())
    });
    set_desired(&world, "3");
    world.until("a launch failed", |world| activities(world).text("Activities.0.StatusCode") == "Failed").await;
    assert!(activities(&world).text("Activities.0.StatusMessage").contains("gone"));
    assert_eq!(world.cloud.instances.running(), 2, "the others serve on");
    world.change::<localcloud::model::auto_scaling::LaunchConfiguration>("lc", |lc| lc.data.key_name = None);
    world.until("three members in service", |world| has_settled(world, 3)).await;
    let launched = activities(&world).text("Activities.0.Cause");
    assert!(
        launched.contains("explicitly set group desired capacity changing the desired capacity from 2 to 3."),
        "{launched}"
    );
}

#[tokio::test]
async fn a_proxy_that_fails_does_not_keep_the_group_from_its_size() {
    let mut world = world(&[]);
    world.cloud.faults.fail_next("apply", When::Before, 5);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    world
        .until("the proxy has both", |world| {
            world.cloud.proxy.plan().is_some_and(|plan| plan.balancers[0].backends.len() == 2)
        })
        .await;
    world
        .until("no trouble is left", |world| world.read(|tx| tx.get::<LoadBalancer>("lb").unwrap().trouble.is_none()))
        .await;
}

#[tokio::test]
async fn a_policy_changes_the_capacity_within_bounds_and_after_its_cooldown() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let policy = |name: &str, adjustment: &str| {
        let parameters = [
            ("AutoScalingGroupName", "web"),
            ("PolicyName", name),
            ("AdjustmentType", "ChangeInCapacity"),
            ("ScalingAdjustment", adjustment),
            ("Cooldown", "60"),
        ];
        world.call(ASG, "PutScalingPolicy", &parameters).unwrap().text("PolicyARN")
    };
    let (out, far_in) = (policy("out", "1"), policy("in", "-9"));
    assert_eq!(policy("out", "1"), out, "putting a policy again keeps its ARN");
    world.call(ASG, "ExecutePolicy", &[("PolicyName", &out), ("HonorCooldown", "true")]).unwrap();
    world.until("three members in service", |world| has_settled(world, 3)).await;
    assert!(
        activities(&world)
            .text("Activities.0.Cause")
            .contains("executed policy out changing the desired capacity from 2 to 3.")
    );
    let early = world.refused(ASG, "ExecutePolicy", &[("PolicyName", &out), ("HonorCooldown", "true")]);
    assert_eq!(early, "ScalingActivityInProgress");
    world.call(ASG, "ExecutePolicy", &[("PolicyName", &far_in), ("HonorCooldown", "false")]).unwrap();
    world.until("the group is at its minimum", |world| has_settled(world, 1)).await;
}

#[tokio::test]
async fn a_member_sent_away_by_request_takes_its_place_with_it_if_told_so() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let [first, second] = ids(&world).try_into().unwrap();
    let decrement = |id: &str| {
        [("InstanceId".to_owned(), id.to_owned()), ("ShouldDecrementDesiredCapacity".to_owned(), "true".to_owned())]
    };
    let call = |world: &FakeWorld, id: &str| {
        let parameters = decrement(id);
        let borrowed: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        world.call(ASG, "TerminateInstanceInAutoScalingGroup", &borrowed)
    };
    let answer = call(&world, &first).unwrap();
    assert_eq!(answer.text("Activity.Description"), format!("Terminating EC2 instance: {first}"));
    world.until("one member is left", |world| has_settled(world, 1)).await;
    assert_eq!(call(&world, &second).unwrap_err().code, "ValidationError", "never below the minimum");
    let replace = [("InstanceId", second.as_str()), ("ShouldDecrementDesiredCapacity", "false")];
    world.call(ASG, "TerminateInstanceInAutoScalingGroup", &replace).unwrap();
    world.until("it is replaced", |world| has_settled(world, 1) && !ids(world).contains(&second)).await;
}

#[tokio::test]
async fn detaching_a_balancer_takes_the_members_out_and_attaching_puts_them_back() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2) && registered(world).len() == 2).await;
    let parameters = [("AutoScalingGroupName", "web"), ("LoadBalancerNames.member.1", "lb")];
    world.call(ASG, "DetachLoadBalancers", &parameters).unwrap();
    world
        .until("none is registered", |world| world.read(|tx| tx.get::<LoadBalancer>("lb").unwrap().backends.is_empty()))
        .await;
    world.call(ASG, "AttachLoadBalancers", &parameters).unwrap();
    assert_eq!(registered(&world).len(), 2);
}

#[test]
fn sizes_names_and_sources_are_checked() {
    let world = world(&[]);
    let create = |changes: &[(&str, &str)]| {
        let mut parameters = vec![
            ("AutoScalingGroupName", "other"),
            ("LaunchConfigurationName", "lc"),
            ("MinSize", "1"),
            ("MaxSize", "2"),
            ("AvailabilityZones.member.1", "PARTI00"),
        ];
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            parameters.push((name, value));
        }
        world.refused(ASG, "CreateAutoScalingGroup", &parameters)
    };
    assert_eq!(create(&[("AutoScalingGroupName", "web")]), "AlreadyExists");
    assert_eq!(create(&[("MaxSize", "0")]), "ValidationError");
    assert_eq!(create(&[("DesiredCapacity", "3")]), "ValidationError");
    assert_eq!(create(&[("AvailabilityZones.member.1", "us-east-1a")]), "ValidationError");
    assert_eq!(create(&[("LaunchConfigurationName", "none")]), "ValidationError");
    assert_eq!(create(&[("LoadBalancerNames.member.1", "none")]), "ValidationError");
    assert_eq!(create(&[("HealthCheckType", "VPC_LATTICE")]), "ValidationError");
    assert_eq!(
        create(&[("MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification.Version", "1")]),
        "UnsupportedOperation"
    );
    assert_eq!(world.refused(ASG, "DeleteLaunchConfiguration", &[("LaunchConfigurationName", "lc")]), "ResourceInUse");
}

#[test]
fn a_new_minimum_lifts_the_desired_capacity() {
    let world = world(&[]);
    world.call(ASG, "UpdateAutoScalingGroup", &[("AutoScalingGroupName", "web"), ("MinSize", "4")]).unwrap();
    let described = world.call(
        ASG,
        "DescribeAutoScalingGroups",
        &[("Filters.member.1.Name", "tag:Name"), ("Filters.member.1.Values.member.1", "web server")],
    );
    assert_eq!(described.unwrap().text("AutoScalingGroups.0.DesiredCapacity"), "4");
}
