//! A cloud that lacks what another one lacks, asked over HTTP.

use localcloud::behaviour::{Behaviour, eucalyptus::UNBOUND};

use crate::{
    fake_world::FakeWorld,
    raw::{Served, Unsigned},
};

fn served(world: &FakeWorld, behaviour: Behaviour) -> Served {
    Served::new(world, |front| front.like(behaviour))
}

#[tokio::test]
async fn templates_and_launch_configurations_are_there_by_behaviour() {
    let world = FakeWorld::new();
    let configuration =
        [("LaunchConfigurationName", "lc"), ("ImageId", world.image_id.as_str()), ("InstanceType", "t3.micro")];
    for (behaviour, templates, configurations) in
        [(Behaviour::Everything, true, true), (Behaviour::Eucalyptus44, false, true), (Behaviour::Aws, true, false)]
    {
        let cloud = served(&world, behaviour);
        let answer = cloud.answered("ec2", "DescribeLaunchTemplates", &[("MaxResults", "5")]).await;
        assert_eq!(answer.status == 200, templates, "{behaviour:?}: {answer:?}");
        assert!(templates || answer.code() == UNBOUND, "{answer:?}");
        let answer = cloud.answered("autoscaling", "CreateLaunchConfiguration", &configuration).await;
        assert_eq!(answer.status == 200, configurations, "{behaviour:?}: {answer:?}");
        assert!(configurations || answer.code() == "UnsupportedOperation", "{answer:?}");
        assert!(configurations || answer.element("Message").unwrap().starts_with("The Launch Configuration creation"));
        if configurations {
            let name = [("LaunchConfigurationName", "lc")];
            assert_eq!(cloud.answered("autoscaling", "DeleteLaunchConfiguration", &name).await.status, 200);
        }
    }
}

/// `BaseQueryBinding.java` and `NioServerHandler.java` of Eucalyptus 4.4.2.
#[tokio::test]
async fn eucalyptus_refuses_what_it_does_not_bind_in_one_form_for_all_services() {
    let world = FakeWorld::new();
    let cloud = served(&world, Behaviour::Eucalyptus44);
    for (service, action, binding) in [
        ("ec2", "DescribeLaunchTemplates", "http://ec2.amazonaws.com/doc/2016-11-15/"),
        ("ec2", "NoSuchAction", "http://ec2.amazonaws.com/doc/2016-11-15/"),
        ("autoscaling", "PutLifecycleHook", "autoscaling_amazonaws_com_doc_2011_01_01"),
        ("iam", "AttachRolePolicy", "iam_amazonaws_com_doc_2010_05_08"),
    ] {
        let answer = cloud.answered(service, action, &[]).await;
        let words = format!("Failed to find corresponding class mapping for element: {action} in namespace: {binding}");
        assert_eq!((answer.status, answer.code()), (400, UNBOUND), "{answer:?}");
        assert_eq!(answer.element("Message"), Some(words.as_str()));
        assert!(answer.body.contains("<Response><Errors><Error><Code>") && answer.element("RequestID").is_some());
    }
    let tagged =
        [("AvailabilityZone", world.site.home.name.as_str()), ("Size", "1"), ("TagSpecification.1.Tag.1.Key", "a")];
    let answer = cloud.answered("ec2", "CreateVolume", &tagged).await;
    assert_eq!((answer.status, answer.code()), (400, UNBOUND), "{answer:?}");
    assert!(answer.element("Message").unwrap().contains("TagSpecification.1.Tag.1.Key = a"), "{answer:?}");
    // The other services do not look at what they do not know.
    let configuration = [
        ("LaunchConfigurationName", "lc"),
        ("ImageId", world.image_id.as_str()),
        ("InstanceType", "t3.micro"),
        ("MetadataOptions.HttpTokens", "required"),
    ];
    assert_eq!(cloud.answered("autoscaling", "CreateLaunchConfiguration", &configuration).await.status, 200);
    let made = cloud.answered("autoscaling", "DescribeLaunchConfigurations", &[]).await;
    assert!(made.body.contains("<LaunchConfigurationName>lc<") && !made.body.contains("required"), "{made:?}");
}

#[tokio::test]
async fn eucalyptus_keeps_draining_off_and_speaks_query_only() {
    let world = FakeWorld::new();
    let cloud = served(&world, Behaviour::Eucalyptus44);
    let create = [
        ("LoadBalancerName", "web"),
        ("AvailabilityZones.member.1", world.site.home.name.as_str()),
        ("Listeners.member.1.Protocol", "HTTP"),
        ("Listeners.member.1.LoadBalancerPort", "8080"),
        ("Listeners.member.1.InstancePort", "80"),
    ];
    let answer = cloud.answered("elasticloadbalancing", "CreateLoadBalancer", &create).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let modify = [
        ("LoadBalancerName", "web"),
        ("LoadBalancerAttributes.ConnectionDraining.Enabled", "true"),
        ("LoadBalancerAttributes.ConnectionDraining.Timeout", "20"),
    ];
    assert_eq!(cloud.answered("elasticloadbalancing", "ModifyLoadBalancerAttributes", &modify).await.status, 200);
    let name = [("LoadBalancerName", "web")];
    let attributes = cloud.answered("elasticloadbalancing", "DescribeLoadBalancerAttributes", &name).await;
    let draining = attributes.element("ConnectionDraining").unwrap();
    assert!(draining.contains("<Enabled>false</Enabled>"), "{draining}");

    let path = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms";
    let cbor = Unsigned {
        path: path.to_owned(),
        service: "monitoring",
        headers: vec![("smithy-protocol", "rpc-v2-cbor".to_owned()), ("content-type", "application/cbor".to_owned())],
        body: Vec::new(),
    };
    assert_eq!(served(&world, Behaviour::Aws).send(&cbor.signed()).await.unwrap().status, 200);
    assert_eq!(cloud.send(&cbor.signed()).await.unwrap().status, 400);
    let described = cloud.answered("monitoring", "DescribeAlarms", &[]).await;
    assert_eq!(described.status, 200, "{described:?}");
}

/// The calls by which `imagecrud-deploy` asks a cloud what it can do; each is told by its refusal.
#[tokio::test]
async fn probes_that_change_nothing_tell_the_clouds_apart() {
    let world = FakeWorld::new();
    let tagged = [
        ("AvailabilityZone", "no-such-zone"),
        ("Size", "1"),
        ("TagSpecification.1.ResourceType", "volume"),
        ("TagSpecification.1.Tag.1.Key", "probe"),
        ("TagSpecification.1.Tag.1.Value", "never created"),
    ];
    let default = [("Filter.1.Name", "isDefault"), ("Filter.1.Value.1", "true")];
    for behaviour in [Behaviour::Everything, Behaviour::Eucalyptus44, Behaviour::Aws] {
        let cloud = served(&world, behaviour);
        let templates = cloud.answered("ec2", "DescribeLaunchTemplates", &[("MaxResults", "5")]).await;
        let is_eucalyptus = behaviour == Behaviour::Eucalyptus44;
        assert_eq!(templates.code() == UNBOUND, is_eucalyptus, "{templates:?}");
        let volume = cloud.answered("ec2", "CreateVolume", &tagged).await;
        let expected = if is_eucalyptus { UNBOUND } else { "InvalidZone.NotFound" };
        assert_eq!((volume.status, volume.code()), (400, expected), "whether tags are understood");
        assert_eq!(cloud.answered("iam", "ListInstanceProfiles", &[("MaxItems", "1")]).await.status, 200);
        // Eucalyptus has the call, and keeps draining off all the same.
        let name = [("LoadBalancerName", "no-such-name")];
        let attributes = cloud.answered("elasticloadbalancing", "DescribeLoadBalancerAttributes", &name).await;
        assert_eq!(attributes.code(), "LoadBalancerNotFound");
        let vpcs = cloud.answered("ec2", "DescribeVpcs", &default).await;
        assert!(vpcs.element("vpcId").is_some(), "{vpcs:?}");
    }
}
