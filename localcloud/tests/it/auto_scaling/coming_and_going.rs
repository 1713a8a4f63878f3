use localcloud::model::auto_scaling::AutoScalingGroup;

use super::*;

fn state_of(world: &FakeWorld, id: &str) -> Option<&'static str> {
    members(world).into_iter().find(|member| member.instance_id == id).map(|member| member.lifecycle.wire())
}

fn desired(world: &FakeWorld) -> u32 {
    world.read(|tx| tx.get::<AutoScalingGroup>("web").unwrap().desired_capacity)
}

fn of(action: &str, id: &str, decrement: Option<&str>, world: &FakeWorld) -> Result<Answer, String> {
    let mut parameters = vec![("AutoScalingGroupName", "web"), ("InstanceIds.member.1", id)];
    parameters.extend(decrement.map(|decrement| ("ShouldDecrementDesiredCapacity", decrement)));
    world.call(ASG, action, &parameters).map_err(|error| error.message)
}

#[tokio::test]
async fn a_member_goes_into_standby_drained_and_comes_back() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2) && registered(world).len() == 2).await;
    let [first, second] = ids(&world).try_into().unwrap();
    world.proxy.set_sessions(&first, 1);
    let answer = of("EnterStandby", &first, Some("true"), &world).unwrap();
    assert_eq!(answer.text("Activities.0.Description"), format!("Moving EC2 instance to Standby: {first}"));
    let cause = answer.text("Activities.0.Cause");
    let words = format!(
        "instance {first} was moved to standby in response to a user request, shrinking the capacity from 2 to 1."
    );
    assert!(cause.ends_with(&words), "{cause}");
    world.until("its connections are seen", |world| registered(world).len() == 1).await;
    for _ in 0..10 {
        world.pass().await;
    }
    assert_eq!(state_of(&world, &first), Some("EnteringStandby"), "it drains");
    world.proxy.set_sessions(&first, 0);
    world.until("it stands by", |world| state_of(world, &first) == Some("Standby")).await;
    assert_eq!(activities(&world).text("Activities.0.StatusCode"), "Successful");
    // It is not watched: stopping it is what standby is for.
    world.call("ec2", "StopInstances", &[("InstanceId.1", &first)]).unwrap();
    for _ in 0..10 {
        world.pass().await;
    }
    assert_eq!((desired(&world), members(&world).len()), (1, 2));
    world.call("ec2", "StartInstances", &[("InstanceId.1", &first)]).unwrap_err();
    world
        .until("it has stopped", |world| world.call("ec2", "StartInstances", &[("InstanceId.1", &first)]).is_ok())
        .await;
    world.until("it runs again", |world| world.cloud.instances.running() == 2).await;

    assert_eq!(
        of("ExitStandby", &second, None, &world).unwrap_err(),
        format!("The instance {second} is not in Standby.")
    );
    let answer = of("ExitStandby", &first, None, &world).unwrap();
    assert_eq!(answer.text("Activities.0.Description"), format!("Moving EC2 instance out of Standby: {first}"));
    world.until("both are in service", |world| has_settled(world, 2) && registered(world).len() == 2).await;
    assert_eq!(ids(&world).len(), 2);
}

#[tokio::test]
async fn without_decrement_one_in_standby_is_replaced() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let first = ids(&world).remove(0);
    of("EnterStandby", &first, Some("false"), &world).unwrap();
    world.until("three members, two in service", |world| in_service(world) == 2 && members(world).len() == 3).await;
    assert_eq!(state_of(&world, &first), Some("Standby"));
    // A group with members in standby is deleted with them.
    let name = ("AutoScalingGroupName", "web");
    assert_eq!(world.refused(ASG, "DeleteAutoScalingGroup", &[name]), "ResourceInUse");
    world.call(ASG, "DeleteAutoScalingGroup", &[name, ("ForceDelete", "true")]).unwrap();
    world.until("all are gone", |world| world.cloud.instances.running() == 0).await;
    world
        .until("the group is gone", |world| {
            world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap().count("AutoScalingGroups") == 0
        })
        .await;
}

#[tokio::test]
async fn a_detached_instance_runs_on_and_can_be_attached_again() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let first = ids(&world).remove(0);
    let answer = of("DetachInstances", &first, Some("true"), &world).unwrap();
    assert_eq!(answer.text("Activities.0.Description"), format!("Detaching EC2 instance: {first}"));
    assert!(answer.text("Activities.0.Cause").ends_with(", shrinking the capacity from 2 to 1."));
    world.until("it has left", |world| state_of(world, &first).is_none()).await;
    assert_eq!(world.cloud.instances.running(), 2);
    let tags = world.read(|tx| tx.get::<Instance>(&first).unwrap().tags.clone());
    assert!(!tags.contains_key("aws:autoscaling:groupName"));
    assert_eq!(registered(&world).len(), 1);

    let attach = [("AutoScalingGroupName", "web"), ("InstanceIds.member.1", first.as_str())];
    world.call(ASG, "AttachInstances", &attach).unwrap();
    assert_eq!(world.refused(ASG, "AttachInstances", &attach), "ValidationError");
    world.until("two members in service", |world| has_settled(world, 2) && registered(world).len() == 2).await;
    assert!(ids(&world).contains(&first));
    assert_eq!(
        activities(&world).text("Activities.0.Description"),
        format!("Attaching an existing EC2 instance: {first}")
    );
    let tags = world.read(|tx| tx.get::<Instance>(&first).unwrap().tags.clone());
    assert_eq!(tags.get("aws:autoscaling:groupName").map(String::as_str), Some("web"));
}

#[tokio::test]
async fn bounds_are_kept_when_members_come_and_go() {
    let mut world = world(&[("MinSize", "2"), ("MaxSize", "2")]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    let first = ids(&world).remove(0);
    assert_eq!(
        of("DetachInstances", &first, Some("true"), &world).unwrap_err(),
        "AutoScalingGroup web has min-size=2, max-size=2, and desired-size=2. To detach 1 instance, please update the AutoScalingGroup sizes appropriately."
    );
    assert!(
        of("EnterStandby", &first, Some("true"), &world).unwrap_err().contains("To place into standby 1 instance,")
    );
    assert_eq!(
        of("EnterStandby", "i-0", Some("true"), &world).unwrap_err(),
        "The instance i-0 is not part of Auto Scaling group web."
    );
    of("EnterStandby", &first, Some("false"), &world).unwrap();
    world.until("it is replaced", |world| in_service(world) == 2 && members(world).len() == 3).await;
    world.until("it stands by", |world| state_of(world, &first) == Some("Standby")).await;
    assert!(of("ExitStandby", &first, None, &world).unwrap_err().contains("To move out of standby 1 more instance,"));
}

#[tokio::test]
async fn traffic_sources_are_the_groups_balancers_by_another_name() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2) && registered(world).len() == 2).await;
    let name = ("AutoScalingGroupName", "web");
    let described = world.call(ASG, "DescribeTrafficSources", &[name]).unwrap();
    assert_eq!(described.each("TrafficSources", "Identifier"), ["lb"]);
    let source = [name, ("TrafficSources.member.1.Identifier", "lb"), ("TrafficSources.member.1.Type", "elb")];
    world.call(ASG, "DetachTrafficSources", &source).unwrap();
    assert!(registered(&world).is_empty());
    world
        .until("all are drained", |world| world.read(|tx| tx.get::<LoadBalancer>("lb").unwrap().backends.is_empty()))
        .await;
    world.call(ASG, "AttachTrafficSources", &source).unwrap();
    assert_eq!(registered(&world).len(), 2);
    let other = [name, ("TrafficSources.member.1.Identifier", "arn:aws:elasticloadbalancing:x")];
    assert_eq!(world.refused(ASG, "AttachTrafficSources", &other), "UnsupportedOperation");
}

#[test]
fn what_groups_can_not_do_here_is_said() {
    let world = world(&[]);
    let name = ("AutoScalingGroupName", "web");
    let update = |parameter, value| world.refused(ASG, "UpdateAutoScalingGroup", &[name, (parameter, value)]);
    assert_eq!(update("CapacityRebalance", "true"), "UnsupportedOperation");
    assert_eq!(update("DesiredCapacityType", "vcpu"), "UnsupportedOperation");
    assert_eq!(update("MaxInstanceLifetime", "3600"), "ValidationError");
    assert_eq!(update("DefaultInstanceWarmup", "9999"), "ValidationError");
    assert_eq!(world.refused(ASG, "PutWarmPool", &[name]), "UnsupportedOperation");
    assert_eq!(world.call(ASG, "DescribeWarmPool", &[name]).unwrap().count("Instances"), 0);
    assert_eq!(world.refused(ASG, "DeleteWarmPool", &[name]), "ValidationError");
    let set = [name, ("DefaultInstanceWarmup", "30"), ("MaxInstanceLifetime", "86400"), ("CapacityRebalance", "false")];
    world.call(ASG, "UpdateAutoScalingGroup", &set).unwrap();
    let group = |field: &str| {
        world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap().get(&format!("AutoScalingGroups.0.{field}"))
    };
    assert_eq!(
        (group("DefaultInstanceWarmup"), group("MaxInstanceLifetime")),
        (Some("30".into()), Some("86400".into()))
    );
    world
        .call(ASG, "UpdateAutoScalingGroup", &[name, ("DefaultInstanceWarmup", "-1"), ("MaxInstanceLifetime", "0")])
        .unwrap();
    assert_eq!((group("DefaultInstanceWarmup"), group("MaxInstanceLifetime")), (None, None));
}
