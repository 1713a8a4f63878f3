//! What the actions answer and refuse, in EC2's words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use localcloud::wire::value::Node;

use super::cloud::{Cloud, at, find, items, text};

#[tokio::test]
async fn an_instance_is_described_with_all_that_it_was_launched_with() {
    let cloud = Cloud::found();
    let group = text(&cloud.ok("CreateSecurityGroup", &[("GroupName", "web"), ("GroupDescription", "web")]), "groupId");
    cloud.ok("CreateKeyPair", &[("KeyName", "key"), ("KeyType", "ed25519")]);
    let user_data = STANDARD.encode("#cloud-config\n");
    let id = cloud.run(&[
        ("InstanceType", "t3.micro"),
        ("KeyName", "key"),
        ("SecurityGroupId.1", &group),
        ("UserData", &user_data),
        ("Placement.AvailabilityZone", &cloud.site.home.name),
        ("SubnetId", &cloud.site.home.subnet_id),
        ("MetadataOptions.HttpTokens", "required"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "web-1"),
        ("ClientToken", "token-1"),
    ]);
    let instance = cloud.instance(&id);
    for (path, value) in [
        ("imageId", cloud.image_id.as_str()),
        ("instanceType", "t3.micro"),
        ("keyName", "key"),
        ("groupSet.0.groupName", "web"),
        ("placement.availabilityZone", "PARTI00"),
        ("metadataOptions.httpTokens", "required"),
        ("tagSet.0.value", "web-1"),
        ("clientToken", "token-1"),
        ("privateDnsName", "ip-10-77-0-10.ec2.internal"),
        ("instanceState.code", "0"),
        ("architecture", "x86_64"),
    ] {
        assert_eq!(text(&instance, path), value, "{path}");
    }
    assert_eq!(at(&instance, "privateIpAddress"), Node::Text("10.77.0.10".to_owned()));
    assert_eq!(at(&instance, "ipAddress"), Node::Text("127.77.0.10".to_owned()));
    let attribute = cloud.ok("DescribeInstanceAttribute", &[("InstanceId", &id), ("Attribute", "userData")]);
    assert_eq!(text(&attribute, "userData.value"), user_data);
    let found = |name: &str, value: &str| {
        let answer = cloud.ok("DescribeInstances", &[("Filter.1.Name", name), ("Filter.1.Value.1", value)]);
        items(&answer, "reservationSet").len()
    };
    assert_eq!(found("tag:Name", "web-*"), 1);
    assert_eq!(found("instance-state-name", "running"), 0);
    assert_eq!(found("instance.group-id", &group), 1);
    assert_eq!(found("owner-id", "someone"), 0);
}

#[tokio::test]
async fn refusals_have_ec2s_codes() {
    let cloud = Cloud::found();
    let id = cloud.run(&[]);
    let volume = cloud.create_volume();
    let image = cloud.image_id.as_str();
    let long = STANDARD.encode(vec![b'x'; 16 * 1024 + 1]);
    let run = [("MinCount", "1"), ("MaxCount", "1")];
    let of_run = |more: &[(&'static str, &str)]| {
        cloud.refusal("RunInstances", &[&run[..], &[("ImageId", image)], more].concat())
    };
    for (more, code) in [
        (&[("InstanceType", "x9.huge")][..], "InvalidParameterValue"),
        (&[("KeyName", "none")], "InvalidKeyPair.NotFound"),
        (&[("SecurityGroupId.1", "sg-00000000000000000")], "InvalidGroup.NotFound"),
        (&[("SecurityGroup.1", "none")], "InvalidGroup.NotFound"),
        (&[("UserData", long.as_str())], "InvalidParameterValue"),
        (&[("UserData", "*")], "InvalidUserData.Malformed"),
        (&[("IamInstanceProfile.Name", "none")], "InvalidParameterValue"),
        (&[("SubnetId", "subnet-00000000000000000")], "InvalidSubnetID.NotFound"),
        (&[("Placement.AvailabilityZone", "us-east-1a")], "InvalidParameterValue"),
        (&[("BlockDeviceMapping.1.DeviceName", "/dev/sdf")], "InvalidBlockDeviceMapping"),
        (&[("BlockDeviceMapping.1.Ebs.Iops", "100")], "UnknownParameter"),
        (&[("LaunchTemplate.LaunchTemplateName", "none")], "InvalidLaunchTemplateName.NotFoundException"),
        (&[("HibernationOptions.Configured", "true")], "UnknownParameter"),
        (&[("DryRun", "true")], "DryRunOperation"),
    ] {
        assert_eq!(of_run(more), code, "{more:?}");
    }
    for (action, parameters, code) in [
        (
            "RunInstances",
            &[("MinCount", "1"), ("MaxCount", "1"), ("ImageId", "ami-00000000")][..],
            "InvalidAMIID.NotFound",
        ),
        ("RunInstances", &[("MinCount", "1"), ("MaxCount", "1"), ("ImageId", "debian")], "InvalidAMIID.Malformed"),
        ("RunInstances", &[("MinCount", "2"), ("MaxCount", "1"), ("ImageId", image)], "InvalidParameterValue"),
        ("RunInstances", &[("MaxCount", "1"), ("ImageId", image)], "MissingParameter"),
        ("DescribeInstances", &[("InstanceId.1", "i-00000000000000000")], "InvalidInstanceID.NotFound"),
        ("DescribeInstances", &[("InstanceId.1", "web")], "InvalidInstanceID.Malformed"),
        ("DescribeInstances", &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")], "InvalidParameterValue"),
        ("TerminateInstances", &[("InstanceId.1", &id), ("InstanceId.2", "i-00000000")], "InvalidInstanceID.NotFound"),
        ("StartInstances", &[], "MissingParameter"),
        ("DescribeVolumes", &[("VolumeId.1", "vol-00000000")], "InvalidVolume.NotFound"),
        ("CreateVolume", &[("AvailabilityZone", "elsewhere"), ("Size", "1")], "InvalidZone.NotFound"),
        ("CreateVolume", &[("AvailabilityZone", "PARTI00"), ("Size", "0")], "InvalidParameterValue"),
        ("AttachVolume", &[("VolumeId", &volume), ("InstanceId", &id), ("Device", "/dev/vdf")], "IncorrectState"),
        (
            "AttachVolume",
            &[("VolumeId", &volume), ("InstanceId", &id), ("Device", "/dev/sda")],
            "InvalidParameterValue",
        ),
        ("DetachVolume", &[("VolumeId", &volume)], "IncorrectState"),
        ("DescribeKeyPairs", &[("KeyName.1", "none")], "InvalidKeyPair.NotFound"),
        ("ImportKeyPair", &[("KeyName", "k"), ("PublicKeyMaterial", "aGVsbG8=")], "InvalidKey.Format"),
        ("CreateTags", &[("ResourceId.1", "i-00000000"), ("Tag.1.Key", "a")], "InvalidInstanceID.NotFound"),
        ("CreateTags", &[("ResourceId.1", &id), ("Tag.1.Key", "aws:a")], "InvalidParameterValue"),
        ("DeleteSecurityGroup", &[("GroupName", "default")], "CannotDelete"),
        ("DeleteLaunchTemplate", &[("LaunchTemplateId", "lt-00000000")], "InvalidLaunchTemplateId.NotFound"),
        ("GetConsoleScreenshot", &[], "InvalidAction"),
    ] {
        assert_eq!(cloud.refusal(action, parameters), code, "{action} {parameters:?}");
    }
    assert_eq!(cloud.state(&id), "pending", "what was refused has changed nothing");
}

#[tokio::test]
async fn a_repeated_launch_yields_the_same_instances_and_a_misused_token_is_refused() {
    let cloud = Cloud::found();
    let first = cloud.run(&[("ClientToken", "t")]);
    assert_eq!(cloud.run(&[("ClientToken", "t")]), first);
    let other = [("ImageId", cloud.image_id.as_str()), ("MinCount", "1"), ("MaxCount", "2"), ("ClientToken", "t")];
    assert_eq!(cloud.refusal("RunInstances", &other), "IdempotentParameterMismatch");
    assert_ne!(cloud.run(&[]), first);
    let volume = [("AvailabilityZone", "PARTI00"), ("Size", "1"), ("ClientToken", "t")];
    assert_eq!(
        text(&cloud.ok("CreateVolume", &volume), "volumeId"),
        text(&cloud.ok("CreateVolume", &volume), "volumeId")
    );
}

#[tokio::test]
async fn a_security_group_stays_while_anything_needs_it() {
    let cloud = Cloud::found();
    let create = |name: &str| {
        text(&cloud.ok("CreateSecurityGroup", &[("GroupName", name), ("GroupDescription", name)]), "groupId")
    };
    let (web, database) = (create("web"), create("database"));
    let rule = [
        ("GroupId", database.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "3306"),
        ("IpPermissions.1.ToPort", "3306"),
        ("IpPermissions.1.Groups.1.GroupId", web.as_str()),
    ];
    cloud.ok("AuthorizeSecurityGroupIngress", &rule);
    assert_eq!(cloud.refusal("AuthorizeSecurityGroupIngress", &rule), "InvalidPermission.Duplicate");
    assert_eq!(cloud.refusal("DeleteSecurityGroup", &[("GroupId", &web)]), "DependencyViolation");
    let described = cloud.ok("DescribeSecurityGroups", &[("GroupId.1", &database)]);
    assert_eq!(text(&described, "securityGroupInfo.0.ipPermissions.0.groups.0.groupId"), web);
    assert_eq!(text(&described, "securityGroupInfo.0.ipPermissionsEgress.0.ipRanges.0.cidrIp"), "0.0.0.0/0");
    cloud.ok("RevokeSecurityGroupIngress", &rule);
    assert_eq!(cloud.refusal("RevokeSecurityGroupIngress", &rule), "InvalidPermission.NotFound");

    let flat =
        [("GroupName", "web"), ("IpProtocol", "tcp"), ("FromPort", "80"), ("ToPort", "80"), ("CidrIp", "0.0.0.0/0")];
    cloud.ok("AuthorizeSecurityGroupIngress", &flat);
    let rules = cloud.ok("DescribeSecurityGroupRules", &[("Filter.1.Name", "group-id"), ("Filter.1.Value.1", &web)]);
    let of_ingress = items(&rules, "securityGroupRuleSet").into_iter().find(|rule| text(rule, "isEgress") == "false");
    let rule_id = text(&of_ingress.expect("a rule"), "securityGroupRuleId");
    cloud.ok("RevokeSecurityGroupIngress", &[("GroupId", &web), ("SecurityGroupRuleId.1", &rule_id)]);

    let id = cloud.run(&[("SecurityGroupId.1", &web)]);
    assert_eq!(cloud.refusal("DeleteSecurityGroup", &[("GroupId", &web)]), "DependencyViolation");
    let all_out = [("GroupId", web.as_str()), ("IpProtocol", "-1"), ("CidrIp", "0.0.0.0/0")];
    assert_eq!(cloud.refusal("RevokeSecurityGroupEgress", &all_out), "UnsupportedOperation");
    cloud.ok("ModifyInstanceAttribute", &[("InstanceId", &id), ("GroupId.1", &database)]);
    cloud.ok("DeleteSecurityGroup", &[("GroupId", &web)]);
    assert_eq!(
        cloud.refusal("CreateSecurityGroup", &[("GroupName", "database"), ("GroupDescription", "d")]),
        "InvalidGroup.Duplicate"
    );
}

#[tokio::test]
async fn an_instance_launched_from_a_template_has_what_its_version_says_unless_told_otherwise() {
    let cloud = Cloud::found();
    let data = [
        ("LaunchTemplateName", "web"),
        ("LaunchTemplateData.ImageId", cloud.image_id.as_str()),
        ("LaunchTemplateData.InstanceType", "t3.micro"),
        ("LaunchTemplateData.UserData", "aGVsbG8="),
        ("LaunchTemplateData.TagSpecification.1.ResourceType", "instance"),
        ("LaunchTemplateData.TagSpecification.1.Tag.1.Key", "role"),
        ("LaunchTemplateData.TagSpecification.1.Tag.1.Value", "web"),
    ];
    let created = cloud.ok("CreateLaunchTemplate", &data);
    let template = text(&created, "launchTemplate.launchTemplateId");
    assert_eq!(cloud.refusal("CreateLaunchTemplate", &data), "InvalidLaunchTemplateName.AlreadyExistsException");
    let next = [
        ("LaunchTemplateId", template.as_str()),
        ("SourceVersion", "1"),
        ("LaunchTemplateData.InstanceType", "t3.small"),
    ];
    let version = cloud.ok("CreateLaunchTemplateVersion", &next);
    assert_eq!(text(&version, "launchTemplateVersion.versionNumber"), "2");
    let launched = |version: &str, more: &[(&str, &str)]| {
        let mut parameters = vec![
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("LaunchTemplate.LaunchTemplateName", "web"),
            ("LaunchTemplate.Version", version),
        ];
        parameters.extend_from_slice(more);
        let answer = cloud.ok("RunInstances", &parameters);
        assert_eq!(text(&answer, "instancesSet.0.tagSet.0.value"), "web");
        text(&answer, "instancesSet.0.instanceType")
    };
    assert_eq!(launched("$Default", &[]), "t3.micro");
    assert_eq!(launched("$Latest", &[]), "t3.small");
    assert_eq!(launched("1", &[("InstanceType", "m1.small")]), "m1.small");
    let described = cloud.ok("DescribeLaunchTemplateVersions", &[("LaunchTemplateId", &template)]);
    assert_eq!(text(&described, "launchTemplateVersionSet.0.versionNumber"), "2");
    assert_eq!(text(&described, "launchTemplateVersionSet.1.launchTemplateData.userData"), "aGVsbG8=");
    let wanted =
        [("LaunchTemplateId", template.as_str()), ("LaunchTemplateVersion.1", "1"), ("LaunchTemplateVersion.2", "2")];
    let deleted = cloud.ok("DeleteLaunchTemplateVersions", &wanted);
    assert_eq!(text(&deleted, "successfullyDeletedLaunchTemplateVersionSet.0.versionNumber"), "2");
    assert_eq!(text(&deleted, "unsuccessfullyDeletedLaunchTemplateVersionSet.0.versionNumber"), "1");
    cloud.ok("DeleteLaunchTemplate", &[("LaunchTemplateName", "web")]);
}

#[tokio::test]
async fn tags_are_put_on_whatever_has_an_id_and_found_again() {
    let cloud = Cloud::found();
    let (id, volume) = (cloud.run(&[]), cloud.create_volume());
    cloud.ok(
        "CreateTags",
        &[
            ("ResourceId.1", &id),
            ("ResourceId.2", &volume),
            ("Tag.1.Key", "stack"),
            ("Tag.1.Value", "s"),
            ("Tag.2.Key", "empty"),
        ],
    );
    let tagged = cloud.ok("DescribeTags", &[("Filter.1.Name", "key"), ("Filter.1.Value.1", "stack")]);
    let types: Vec<String> = items(&tagged, "tagSet").iter().map(|tag| text(tag, "resourceType")).collect();
    assert_eq!(types, ["instance", "volume"]);
    cloud.ok("DeleteTags", &[("ResourceId.1", &id), ("Tag.1.Key", "stack"), ("Tag.1.Value", "other")]);
    assert_eq!(items(&cloud.instance(&id), "tagSet").len(), 2, "another value is not deleted");
    cloud.ok("DeleteTags", &[("ResourceId.1", &id), ("Tag.1.Key", "stack")]);
    assert_eq!(items(&cloud.instance(&id), "tagSet").len(), 1);
}

#[tokio::test]
async fn pages_together_are_all_instances() {
    let cloud = Cloud::found();
    let ids: Vec<String> = (0..7).map(|_| cloud.run(&[])).collect();
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let answer = cloud.ok("DescribeInstances", &[("MaxResults", "3"), ("NextToken", &token)]);
        let page = items(&answer, "reservationSet");
        assert!(page.len() <= 3);
        seen.extend(page.iter().map(|reservation| text(reservation, "instancesSet.0.instanceId")));
        match find(&answer, "nextToken") {
            Some(Node::Text(next)) => token = next,
            _ => break,
        }
    }
    seen.sort();
    let mut ids = ids;
    ids.sort();
    assert_eq!(seen, ids);
}
