//! Classic load balancers: what the API refuses and answers, and what the proxy is told.

use localcloud::model::load_balancer::LoadBalancer;

use super::fake_world::FakeWorld;

const ELB: &str = "elasticloadbalancing";

fn create(name: &str, port: &str, changes: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
    let mut parameters: Vec<(String, String)> = [
        ("LoadBalancerName", name),
        ("AvailabilityZones.member.1", "PARTI00"),
        ("Listeners.member.1.Protocol", "http"),
        ("Listeners.member.1.LoadBalancerPort", port),
        ("Listeners.member.1.InstancePort", "80"),
        ("Tags.member.1.Key", "stack"),
        ("Tags.member.1.Value", "s"),
    ]
    .iter()
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.push(((*name).to_owned(), (*value).to_owned()));
    }
    parameters
}

fn call(world: &FakeWorld, action: &str, parameters: &[(String, String)]) -> Result<super::fake_world::Answer, String> {
    let borrowed: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    world.call(ELB, action, &borrowed).map_err(|error| error.code)
}

/// Launches an instance and waits until it runs.
async fn instance(world: &mut FakeWorld) -> String {
    let image = world.image_id.clone();
    let parameters = [("ImageId", image.as_str()), ("MinCount", "1"), ("MaxCount", "1"), ("InstanceType", "t3.micro")];
    let answer = world.call("ec2", "RunInstances", &parameters).unwrap();
    let id = answer.text("instancesSet.0.instanceId");
    let running = world.cloud.instances.running();
    world.until("it runs", |world| world.cloud.instances.running() > running).await;
    id
}

#[test]
fn a_balancer_is_described_in_full() {
    let world = FakeWorld::new();
    let dns_name = call(&world, "CreateLoadBalancer", &create("web", "8080", &[])).unwrap().text("DNSName");
    assert!(dns_name.starts_with("web-") && dns_name.ends_with(".elb.localhost"), "{dns_name}");
    let again = call(&world, "CreateLoadBalancer", &create("web", "8080", &[])).unwrap().text("DNSName");
    assert_eq!(again, dns_name, "the same request again changes nothing");
    let other = call(&world, "CreateLoadBalancer", &create("web", "8081", &[]));
    assert_eq!(other.unwrap_err(), "DuplicateLoadBalancerName");

    let answer = world.call(ELB, "DescribeLoadBalancers", &[("LoadBalancerNames.member.1", "web")]).unwrap();
    let field = |name: &str| answer.text(&format!("LoadBalancerDescriptions.0.{name}"));
    assert_eq!(field("DNSName"), dns_name);
    assert_eq!(field("CanonicalHostedZoneName"), dns_name);
    assert_eq!(field("ListenerDescriptions.0.Listener.Protocol"), "HTTP");
    assert_eq!(field("ListenerDescriptions.0.Listener.InstanceProtocol"), "HTTP");
    assert_eq!(field("HealthCheck.Target"), "TCP:80");
    assert_eq!(field("HealthCheck.HealthyThreshold"), "10");
    assert_eq!(field("VPCId"), world.site.vpc_id);
    assert_eq!(field("Subnets.0"), world.site.home.subnet_id);
    assert_eq!(field("SourceSecurityGroup.GroupName"), "default");
    assert_eq!(field("Scheme"), "internet-facing");
    assert_eq!(answer.count("LoadBalancerDescriptions.0.Policies.OtherPolicies"), 0);
}

#[test]
fn what_cannot_be_served_is_refused() {
    let world = FakeWorld::new();
    let refused = |changes: &[(&'static str, &'static str)]| {
        call(&world, "CreateLoadBalancer", &create("web", "8080", changes)).unwrap_err()
    };
    assert_eq!(refused(&[("Listeners.member.1.Protocol", "HTTPS")]), "ValidationError");
    let unknown = [("Listeners.member.1.Protocol", "HTTPS"), ("Listeners.member.1.SSLCertificateId", "arn:aws:x")];
    assert_eq!(refused(&unknown), "CertificateNotFound");
    assert_eq!(refused(&[("Listeners.member.1.InstanceProtocol", "TCP")]), "ValidationError");
    assert_eq!(refused(&[("Listeners.member.1.Protocol", "gopher")]), "ValidationError");
    assert_eq!(refused(&[("Listeners.member.1.InstancePort", "70000")]), "ValidationError");
    assert_eq!(refused(&[("Listeners.member.1.LoadBalancerPort", "8773")]), "InvalidConfigurationRequest");
    assert_eq!(refused(&[("AvailabilityZones.member.1", "us-east-1a")]), "ValidationError");
    assert_eq!(refused(&[("Subnets.member.1", "subnet-1")]), "ValidationError");
    assert_eq!(refused(&[("SecurityGroups.member.1", "sg-1")]), "InvalidSecurityGroup");
    assert_eq!(refused(&[("Scheme", "hidden")]), "InvalidScheme");
    assert_eq!(refused(&[("LoadBalancerName", "-web")]), "ValidationError");
    assert_eq!(refused(&[("Colour", "red")]), "ValidationError");
    let name = ("LoadBalancerName", "web");
    assert_eq!(world.refused(ELB, "DescribeInstanceHealth", &[name]), "LoadBalancerNotFound");
    call(&world, "CreateLoadBalancer", &create("web", "8080", &[])).unwrap();
    let log = [
        name,
        ("LoadBalancerAttributes.AccessLog.Enabled", "true"),
        ("LoadBalancerAttributes.AccessLog.S3BucketName", "b"),
    ];
    assert_eq!(world.refused(ELB, "ModifyLoadBalancerAttributes", &log), "InvalidConfigurationRequest");
    let register = [name, ("Instances.member.1.InstanceId", "i-1")];
    assert_eq!(world.refused(ELB, "RegisterInstancesWithLoadBalancer", &register), "InvalidInstance");
    let check = |timeout: &'static str| {
        vec![
            name,
            ("HealthCheck.Target", "HTTP:80/healthz"),
            ("HealthCheck.Interval", "5"),
            ("HealthCheck.Timeout", timeout),
            ("HealthCheck.UnhealthyThreshold", "2"),
            ("HealthCheck.HealthyThreshold", "2"),
        ]
    };
    assert_eq!(world.refused(ELB, "ConfigureHealthCheck", &check("5")), "ValidationError");
    world.call(ELB, "ConfigureHealthCheck", &check("4")).unwrap();
    for _ in 0..2 {
        world.call(ELB, "DeleteLoadBalancer", &[name]).unwrap();
    }
}

#[test]
fn addresses_are_never_in_use_twice() {
    let world = FakeWorld::new();
    for name in ["a", "b", "c"] {
        call(&world, "CreateLoadBalancer", &create(name, "8080", &[])).unwrap();
    }
    world.call(ELB, "DeleteLoadBalancer", &[("LoadBalancerName", "b")]).unwrap();
    call(&world, "CreateLoadBalancer", &create("d", "8080", &[])).unwrap();
    let addresses: Vec<String> =
        world.read(|tx| tx.list::<LoadBalancer>().iter().map(|balancer| balancer.address.to_string()).collect());
    assert_eq!(addresses, ["10.77.255.1", "10.77.255.3", "10.77.255.2"]);
}

#[test]
fn long_listings_come_in_pages() {
    let world = FakeWorld::new();
    for name in ["a", "b", "c"] {
        call(&world, "CreateLoadBalancer", &create(name, "8080", &[])).unwrap();
    }
    let first = world.call(ELB, "DescribeLoadBalancers", &[("PageSize", "2")]).unwrap();
    assert_eq!(first.each("LoadBalancerDescriptions", "LoadBalancerName"), ["a", "b"]);
    let second =
        world.call(ELB, "DescribeLoadBalancers", &[("PageSize", "2"), ("Marker", &first.text("NextMarker"))]).unwrap();
    assert_eq!(second.each("LoadBalancerDescriptions", "LoadBalancerName"), ["c"]);
    assert_eq!(second.get("NextMarker"), None);
}

#[test]
fn strictness_about_requests_is_an_attribute() {
    let world = FakeWorld::new();
    call(&world, "CreateLoadBalancer", &create("web", "8080", &[])).unwrap();
    let name = ("LoadBalancerName", "web");
    let mode = || {
        let described = world.call(ELB, "DescribeLoadBalancerAttributes", &[name]).unwrap();
        described.text("LoadBalancerAttributes.AdditionalAttributes.0.Value")
    };
    assert_eq!(mode(), "defensive");
    let set = |key: &'static str, value: &'static str| {
        [
            name,
            ("LoadBalancerAttributes.AdditionalAttributes.member.1.Key", key),
            ("LoadBalancerAttributes.AdditionalAttributes.member.1.Value", value),
        ]
    };
    let modify = "ModifyLoadBalancerAttributes";
    world.call(ELB, modify, &set("elb.http.desyncmitigationmode", "strictest")).unwrap();
    assert_eq!(mode(), "strictest");
    assert_eq!(world.refused(ELB, modify, &set("elb.http.desyncmitigationmode", "lax")), "ValidationError");
    assert_eq!(world.refused(ELB, modify, &set("elb.http.other", "x")), "LoadBalancerAttributeNotFound");
}

#[test]
fn tags_are_added_and_removed() {
    let world = FakeWorld::new();
    call(&world, "CreateLoadBalancer", &create("web", "8080", &[])).unwrap();
    let name = ("LoadBalancerNames.member.1", "web");
    world.call(ELB, "AddTags", &[name, ("Tags.member.1.Key", "owner"), ("Tags.member.1.Value", "me")]).unwrap();
    world.call(ELB, "RemoveTags", &[name, ("Tags.member.1.Key", "stack")]).unwrap();
    let answer = world.call(ELB, "DescribeTags", &[name]).unwrap();
    assert_eq!(answer.each("TagDescriptions.0.Tags", "Key"), ["owner"]);
    let twice = [name, ("Tags.member.1.Key", "a"), ("Tags.member.2.Key", "a")];
    assert_eq!(world.refused(ELB, "AddTags", &twice), "DuplicateTagKeys");
}

#[tokio::test]
async fn health_is_what_the_proxy_reports() {
    let mut world = FakeWorld::new();
    call(&world, "CreateLoadBalancer", &create("web", "8080", &[])).unwrap();
    let id = instance(&mut world).await;
    world.cloud.proxy.set_health(&id, None);
    let parameters = [("LoadBalancerName", "web"), ("Instances.member.1.InstanceId", id.as_str())];
    world.call(ELB, "RegisterInstancesWithLoadBalancer", &parameters).unwrap();
    let state = |world: &FakeWorld, field: &str| {
        world
            .call(ELB, "DescribeInstanceHealth", &[("LoadBalancerName", "web")])
            .unwrap()
            .text(&format!("InstanceStates.0.{field}"))
    };
    world.pass().await;
    assert_eq!(state(&world, "Description"), "Instance registration is still in progress.");
    assert_eq!((state(&world, "State"), state(&world, "ReasonCode")), ("OutOfService".into(), "ELB".into()));
    world.cloud.proxy.set_health(&id, Some(true));
    world.until("in service", |world| state(world, "State") == "InService").await;
    assert_eq!((state(&world, "ReasonCode"), state(&world, "Description")), ("N/A".into(), "N/A".into()));
    world.cloud.proxy.set_health(&id, Some(false));
    world.change::<LoadBalancer>("web", |balancer| {
        for backend in balancer.backends.values_mut() {
            backend.registered = backend.registered.plus_secs(-600);
        }
    });
    world.until("out of service", |world| state(world, "ReasonCode") == "Instance").await;
    assert_eq!(
        state(&world, "Description"),
        "Instance has failed at least the UnhealthyThreshold number of health checks consecutively."
    );
    world.change::<LoadBalancer>("web", |balancer| {
        for backend in balancer.backends.values_mut() {
            backend.passing = true;
        }
    });
    assert_eq!(
        state(&world, "Description"),
        "Instance has not passed the configured HealthyThreshold number of health checks consecutively."
    );
    let unknown = [("LoadBalancerName", "web"), ("Instances.member.1.InstanceId", "i-0")];
    assert_eq!(world.refused(ELB, "DescribeInstanceHealth", &unknown), "InvalidInstance");
    world.call(ELB, "DeregisterInstancesFromLoadBalancer", &parameters).unwrap();
    let left = world.call(ELB, "DescribeInstanceHealth", &parameters).unwrap();
    assert_eq!(left.text("InstanceStates.0.State"), "OutOfService");
    assert_eq!(
        left.text("InstanceStates.0.Description"),
        "Instance is not currently registered with the LoadBalancer."
    );
}

#[tokio::test]
async fn without_draining_a_deregistered_instance_leaves_at_once() {
    let mut world = FakeWorld::new();
    call(&world, "CreateLoadBalancer", &create("web", "8080", &[])).unwrap();
    let id = instance(&mut world).await;
    let parameters = [("LoadBalancerName", "web"), ("Instances.member.1.InstanceId", id.as_str())];
    world.call(ELB, "RegisterInstancesWithLoadBalancer", &parameters).unwrap();
    world
        .until("the proxy has it", |world| {
            world.cloud.proxy.plan().is_some_and(|plan| !plan.balancers[0].backends.is_empty())
        })
        .await;
    for _ in 0..2 {
        let left = world.call(ELB, "DeregisterInstancesFromLoadBalancer", &parameters).unwrap();
        assert_eq!(left.count("Instances"), 0);
    }
    world
        .until("the proxy has let it go", |world| {
            world.cloud.proxy.plan().is_some_and(|plan| plan.balancers[0].backends.is_empty())
        })
        .await;
}

#[tokio::test]
async fn ports_that_the_world_may_reach_are_public() {
    let mut world = FakeWorld::new();
    instance(&mut world).await;
    let ports = |world: &FakeWorld| world.cloud.proxy.plan().map(|plan| plan.public_ports).unwrap_or_default();
    world.pass().await;
    assert!(ports(&world).is_empty());
    let group = world.call("ec2", "DescribeSecurityGroups", &[]).unwrap().text("securityGroupInfo.0.groupId");
    let rule = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    world.call("ec2", "AuthorizeSecurityGroupIngress", &rule).unwrap();
    world.until("port 22 is public", |world| ports(world).len() == 1).await;
    let port = ports(&world).pop_first().unwrap();
    assert_eq!((port.public_address.to_string(), port.port), ("127.77.0.10".into(), 22));
}
