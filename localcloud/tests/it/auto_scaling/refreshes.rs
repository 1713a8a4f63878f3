use super::*;

const NAME: (&str, &str) = ("AutoScalingGroupName", "web");

/// The group's newest refresh.
fn refresh(world: &FakeWorld, field: &str) -> String {
    let described = world.call(ASG, "DescribeInstanceRefreshes", &[NAME]).unwrap();
    described.text(&format!("InstanceRefreshes.0.{field}"))
}

/// A launch template of two versions, the first of which the group launches from.
async fn world_with_template() -> FakeWorld {
    let mut world = world(&[]);
    let image = world.image_id.clone();
    let data = [("LaunchTemplateName", "template"), ("LaunchTemplateData.ImageId", image.as_str())];
    world
        .call("ec2", "CreateLaunchTemplate", &[data[0], data[1], ("LaunchTemplateData.InstanceType", "t3.micro")])
        .unwrap();
    let second = [data[0], data[1], ("LaunchTemplateData.InstanceType", "t3.small")];
    world.call("ec2", "CreateLaunchTemplateVersion", &second).unwrap();
    let first = [NAME, ("LaunchTemplate.LaunchTemplateName", "template"), ("LaunchTemplate.Version", "1")];
    world.call(ASG, "UpdateAutoScalingGroup", &first).unwrap();
    world.until("two members in service", |world| has_settled(world, 2)).await;
    world
}

const TO_SECOND: [(&str, &str); 3] = [
    NAME,
    ("DesiredConfiguration.LaunchTemplate.LaunchTemplateName", "template"),
    ("DesiredConfiguration.LaunchTemplate.Version", "2"),
];

fn types(world: &FakeWorld) -> Vec<String> {
    let described = world.call(ASG, "DescribeAutoScalingInstances", &[]).unwrap();
    described.each("AutoScalingInstances", "InstanceType")
}

fn version(world: &FakeWorld) -> Option<String> {
    let described = world.call(ASG, "DescribeAutoScalingGroups", &[]).unwrap();
    described.get("AutoScalingGroups.0.LaunchTemplate.Version")
}

#[tokio::test]
async fn a_refresh_brings_all_members_to_the_desired_configuration() {
    let mut world = world_with_template().await;
    let preferences = [
        TO_SECOND[0],
        TO_SECOND[1],
        TO_SECOND[2],
        ("Preferences.InstanceWarmup", "0"),
        ("Preferences.MinHealthyPercentage", "50"),
    ];
    world.call(ASG, "StartInstanceRefresh", &preferences).unwrap();
    assert_eq!((refresh(&world, "Status").as_str(), refresh(&world, "InstancesToUpdate").as_str()), ("Pending", "2"));
    assert_eq!(world.refused(ASG, "StartInstanceRefresh", &[NAME]), "InstanceRefreshInProgress");
    world.until("the first one is replaced", |world| refresh(world, "PercentageComplete") == "50").await;
    world.restart();
    assert_eq!(version(&world).as_deref(), Some("1"), "until it has succeeded the group names what it named");
    world.until("it has succeeded", |world| refresh(world, "Status") == "Successful").await;
    assert_eq!(refresh(&world, "PercentageComplete"), "100");
    assert_eq!(types(&world), ["t3.small", "t3.small"]);
    assert_eq!(version(&world).as_deref(), Some("2"));
    let causes = activities(&world).each("Activities", "Cause").join("\n");
    assert!(causes.contains("was taken out of service in response to an instance refresh."), "{causes}");
    world.until("two members are left", |world| has_settled(world, 2)).await;

    // All match now.
    let skip = [TO_SECOND[0], TO_SECOND[1], TO_SECOND[2], ("Preferences.SkipMatching", "true")];
    let before = ids(&world);
    world.call(ASG, "StartInstanceRefresh", &skip).unwrap();
    world.until("nothing is to be done", |world| refresh(world, "Status") == "Successful").await;
    assert_eq!(ids(&world), before);
}

#[tokio::test]
async fn a_refresh_is_rolled_back_to_what_there_was() {
    let mut world = world_with_template().await;
    world.call(ASG, "StartInstanceRefresh", &[NAME, ("Preferences.InstanceWarmup", "0")]).unwrap();
    assert_eq!(world.refused(ASG, "RollbackInstanceRefresh", &[NAME]), "IrreversibleInstanceRefresh");
    world.call(ASG, "CancelInstanceRefresh", &[NAME]).unwrap();
    world.until("it is cancelled", |world| refresh(world, "Status") == "Cancelled").await;
    assert_eq!(world.refused(ASG, "CancelInstanceRefresh", &[NAME]), "ActiveInstanceRefreshNotFound");
    assert_eq!(world.refused(ASG, "RollbackInstanceRefresh", &[NAME]), "ActiveInstanceRefreshNotFound");
    world.until("two members in service", |world| has_settled(world, 2)).await;

    let slow = [
        TO_SECOND[0],
        TO_SECOND[1],
        TO_SECOND[2],
        ("Preferences.InstanceWarmup", "0"),
        ("Preferences.CheckpointPercentages.member.1", "50"),
        ("Preferences.CheckpointPercentages.member.2", "100"),
    ];
    world.call(ASG, "StartInstanceRefresh", &slow).unwrap();
    world
        .until("it rests half-way", |world| refresh(world, "PercentageComplete") == "50" && has_settled(world, 2))
        .await;
    assert!(types(&world).contains(&"t3.small".to_owned()));
    world.call(ASG, "RollbackInstanceRefresh", &[NAME]).unwrap();
    assert_eq!(refresh(&world, "RollbackDetails.PercentageCompleteOnRollback"), "50");
    world.until("it is rolled back", |world| refresh(world, "Status") == "RollbackSuccessful").await;
    world.until("two members are left", |world| has_settled(world, 2)).await;
    assert!(!types(&world).contains(&"t3.small".to_owned()));
    assert_eq!(version(&world).as_deref(), Some("1"));
}

#[test]
fn preferences_are_checked() {
    let world = world(&[]);
    let refused = |extra: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = [NAME].iter().chain(extra).copied().collect();
        world.refused(ASG, "StartInstanceRefresh", &all)
    };
    let least = ("Preferences.MinHealthyPercentage", "50");
    assert_eq!(refused(&[("Preferences.MinHealthyPercentage", "101")]), "ValidationError");
    assert_eq!(refused(&[("Preferences.MaxHealthyPercentage", "110")]), "ValidationError", "without a least");
    assert_eq!(refused(&[least, ("Preferences.MaxHealthyPercentage", "200")]), "ValidationError", "too far apart");
    assert_eq!(refused(&[("Preferences.CheckpointDelay", "10")]), "ValidationError");
    assert_eq!(refused(&[("Preferences.StandbyInstances", "Refresh")]), "ValidationError");
    assert_eq!(refused(&[("Preferences.AutoRollback", "true")]), "IrreversibleInstanceRefresh");
    assert_eq!(refused(&[("Strategy", "ReplaceRootVolume")]), "UnsupportedOperation");
    assert_eq!(refused(&[("Preferences.BakeTime", "10")]), "ValidationError");
    let unknown = [NAME, ("InstanceRefreshIds.member.1", "none")];
    assert_eq!(world.refused(ASG, "DescribeInstanceRefreshes", &unknown), "ValidationError");
}
