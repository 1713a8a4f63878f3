use localcloud::model::{auto_scaling::AutoScalingGroup, time::Timestamp};

use super::*;

fn put(world: &FakeWorld, extra: &[(&str, &str)]) {
    let all: Vec<(&str, &str)> =
        [("AutoScalingGroupName", "web"), ("ScheduledActionName", "night")].iter().chain(extra).copied().collect();
    world.call(ASG, "PutScheduledUpdateGroupAction", &all).unwrap();
}

/// Lets the time come for which an action is scheduled, so many seconds ago.
fn come(world: &FakeWorld, seconds: i64) {
    world.change::<AutoScalingGroup>("web", |group| group.schedule[0].next = Timestamp::now().plus_secs(-seconds));
}

fn desired(world: &FakeWorld) -> u32 {
    world.read(|tx| tx.get::<AutoScalingGroup>("web").unwrap().desired_capacity)
}

fn described(world: &FakeWorld) -> Answer {
    world.call(ASG, "DescribeScheduledActions", &[("AutoScalingGroupName", "web")]).unwrap()
}

#[tokio::test]
async fn an_action_is_carried_out_on_its_time_once_and_goes() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    put(&world, &[("StartTime", "2099-01-01T00:00:00Z"), ("DesiredCapacity", "3"), ("MinSize", "3")]);
    world.pass().await;
    assert_eq!(desired(&world), 2);
    assert_eq!(described(&world).text("ScheduledUpdateGroupActions.0.StartTime"), "2099-01-01T00:00:00.000Z");
    come(&world, 1);
    world.restart();
    world.until("three members in service", |world| has_settled(world, 3)).await;
    assert_eq!(described(&world).count("ScheduledUpdateGroupActions"), 0);
    let cause = activities(&world).text("Activities.0.Cause");
    assert!(cause.contains("the scheduled action night executed."), "{cause}");
    assert!(
        cause.contains("constraints to min: 3, max: 6, desired: 3 changing the desired capacity from 2 to 3."),
        "{cause}"
    );
    // What users set afterwards stays.
    world
        .call(
            ASG,
            "UpdateAutoScalingGroup",
            &[("AutoScalingGroupName", "web"), ("MinSize", "1"), ("DesiredCapacity", "1")],
        )
        .unwrap();
    world.until("one member in service", |world| has_settled(world, 1)).await;
}

#[tokio::test]
async fn a_recurring_action_comes_again_and_a_missed_one_is_not_made_up_for() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    put(
        &world,
        &[
            ("Recurrence", "0 3 * * *"),
            ("TimeZone", "Europe/Berlin"),
            ("MaxSize", "2"),
            ("MinSize", "0"),
            ("DesiredCapacity", "1"),
        ],
    );
    let next = described(&world).text("ScheduledUpdateGroupActions.0.StartTime");
    assert!(next.ends_with("T02:00:00.000Z") || next.ends_with("T01:00:00.000Z"), "{next}");
    come(&world, 200);
    world.pass().await;
    assert_eq!(desired(&world), 2, "the daemon was away when it was due");
    assert_eq!(described(&world).text("ScheduledUpdateGroupActions.0.StartTime"), next);
    come(&world, 60);
    world.until("one member in service", |world| has_settled(world, 1)).await;
    assert_eq!(described(&world).text("ScheduledUpdateGroupActions.0.StartTime"), next);
}

#[tokio::test]
async fn an_action_that_does_not_fit_the_groups_sizes_is_told_as_failed() {
    let mut world = world(&[]);
    world.until("two members in service", |world| has_settled(world, 2)).await;
    put(&world, &[("StartTime", "2099-01-01T00:00:00Z"), ("DesiredCapacity", "30")]);
    come(&world, 0);
    world.until("it failed", |world| activities(world).text("Activities.0.StatusCode") == "Failed").await;
    assert_eq!(desired(&world), 2);
}

#[test]
fn schedules_are_checked_and_batches_say_what_failed() {
    let world = world(&[]);
    let refused = |extra: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> =
            [("AutoScalingGroupName", "web"), ("ScheduledActionName", "a")].iter().chain(extra).copied().collect();
        world.refused(ASG, "PutScheduledUpdateGroupAction", &all)
    };
    let (start, size) = (("StartTime", "2099-01-01T00:00:00Z"), ("DesiredCapacity", "1"));
    assert_eq!(refused(&[size]), "ValidationError", "no time");
    assert_eq!(refused(&[start]), "ValidationError", "no size");
    assert_eq!(refused(&[size, ("StartTime", "2019-01-01T00:00:00Z")]), "ValidationError");
    assert_eq!(refused(&[size, start, ("EndTime", "2098-01-01T00:00:00Z")]), "ValidationError");
    assert_eq!(refused(&[size, ("Recurrence", "every morning")]), "ValidationError");
    assert_eq!(refused(&[size, ("Recurrence", "0 0 * * *"), ("TimeZone", "Mars/Olympus")]), "ValidationError");
    assert_eq!(refused(&[start, ("MinSize", "3"), ("MaxSize", "2")]), "ValidationError");
    put(&world, &[start, size]);
    assert_eq!(refused(&[start, size]), "AlreadyExists", "two at one time");

    let batch = [
        ("AutoScalingGroupName", "web"),
        ("ScheduledUpdateGroupActions.member.1.ScheduledActionName", "good"),
        ("ScheduledUpdateGroupActions.member.1.Recurrence", "*/5 * * * *"),
        ("ScheduledUpdateGroupActions.member.1.MinSize", "1"),
        ("ScheduledUpdateGroupActions.member.2.ScheduledActionName", "bad"),
        ("ScheduledUpdateGroupActions.member.2.MinSize", "1"),
    ];
    let answer = world.call(ASG, "BatchPutScheduledUpdateGroupAction", &batch).unwrap();
    assert_eq!(answer.each("FailedScheduledUpdateGroupActions", "ScheduledActionName"), ["bad"]);
    assert_eq!(described(&world).each("ScheduledUpdateGroupActions", "ScheduledActionName"), ["good", "night"]);
    let late = world.call(ASG, "DescribeScheduledActions", &[("StartTime", "2098-01-01T00:00:00Z")]).unwrap();
    assert_eq!(late.each("ScheduledUpdateGroupActions", "ScheduledActionName"), ["night"]);
    let delete = [
        ("AutoScalingGroupName", "web"),
        ("ScheduledActionNames.member.1", "good"),
        ("ScheduledActionNames.member.2", "none"),
    ];
    let answer = world.call(ASG, "BatchDeleteScheduledAction", &delete).unwrap();
    assert_eq!(answer.each("FailedScheduledActions", "ScheduledActionName"), ["none"]);
    let night = [("AutoScalingGroupName", "web"), ("ScheduledActionName", "night")];
    world.call(ASG, "DeleteScheduledAction", &night).unwrap();
    assert_eq!(world.refused(ASG, "DeleteScheduledAction", &night), "ValidationError");
}
