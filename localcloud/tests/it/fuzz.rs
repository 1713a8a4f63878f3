//! Requests with small changes at random: no parser and no action panics, none takes long, and each answer can be read.
//! Two seconds each; `FUZZ_SECONDS` makes it more, `FUZZ_SEED` repeats a run.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use localcloud::wire::{
    cbor, json, query,
    sigv4::{self, Secret, SignedRequest},
    value::Node,
    xml::{self, Dialect},
};
use quick_xml::{Reader, events::Event};

use crate::fake_world::FakeWorld;

/// No single step may take longer, also on a busy machine.
const LONG: Duration = Duration::from_secs(5);

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// Runs `step` over and over, and says with which seed it went wrong.
fn fuzz(step: impl Fn(&mut Chance)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(2));
    let mut seed = number("FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 32);
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < time {
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| step(&mut Chance(seed))));
        assert!(outcome.is_ok(), "it panics: FUZZ_SEED={seed}");
        assert!(began.elapsed() < LONG, "it takes {:?}: FUZZ_SEED={seed}", began.elapsed());
        seed += 1;
        count += 1;
    }
    println!("{count} inputs");
}

const ODD: &[&[u8]] = &[
    b"",
    b"\0",
    b"\xff\xfe",
    b".",
    b"..",
    b"=",
    b"&",
    b"%",
    b"%zz",
    b"%00",
    b"+",
    b"/",
    b"-1",
    b"0",
    b"1",
    b"4294967296",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"1e308",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"\xc3\xa9",
    b"\xf0\x9f\xa6\x80",
    b"\xef\xbf\xbf",
    b"*",
    b"{",
    b"[",
    b"\"",
    b"member.1",
    b"9999999999",
    b"]]>",
    b"0.0.0.0/0",
    b"10.0.0.0/33",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// A few of: a bit, a piece more, a piece less, a piece twice.
fn changed(chance: &mut Chance, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(12)).min(bytes.len());
        match chance.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 => drop(bytes.splice(at..at, chance.of(ODD).iter().copied())),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..end, chance.of(ODD).iter().copied())),
            _ => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
    bytes
}

const QUERIES: &[&str] = &[
    "ec2 RunInstances ImageId=ami-1&MinCount=1&MaxCount=2&InstanceType=t3.micro&ClientToken=a&UserData=IyEvYmluL3No&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=web",
    "ec2 DescribeInstances Filter.1.Name=tag:Name&Filter.1.Value.1=w*b&MaxResults=5",
    "ec2 DescribeInstances InstanceId.1=i-0123456789abcdef0",
    "ec2 CreateVolume AvailabilityZone=PARTI00&Size=1&VolumeType=gp3&TagSpecification.1.ResourceType=volume",
    "ec2 AttachVolume VolumeId=vol-0123456789abcdef0&InstanceId=i-0123456789abcdef0&Device=/dev/sdf",
    "ec2 CreateSecurityGroup GroupName=web&GroupDescription=Web&VpcId=vpc-1",
    "ec2 AuthorizeSecurityGroupIngress GroupName=default&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0",
    "ec2 DescribeSecurityGroups Filter.1.Name=ip-permission.cidr&Filter.1.Value.1=0.0.0.0/0",
    "ec2 CreateLaunchTemplate LaunchTemplateName=web&LaunchTemplateData.ImageId=ami-1&LaunchTemplateData.InstanceType=t3.micro&LaunchTemplateData.BlockDeviceMapping.1.DeviceName=/dev/sda1&LaunchTemplateData.BlockDeviceMapping.1.Ebs.VolumeSize=8",
    "ec2 CreateTags ResourceId.1=i-0123456789abcdef0&Tag.1.Key=a&Tag.1.Value=b",
    "ec2 ImportKeyPair KeyName=k&PublicKeyMaterial=c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUE=",
    "ec2 DescribeVolumes Filter.1.Name=attachment.status&Filter.1.Value.1=attached&NextToken=abc",
    "elasticloadbalancing CreateLoadBalancer LoadBalancerName=lb&AvailabilityZones.member.1=PARTI00&Listeners.member.1.Protocol=HTTP&Listeners.member.1.LoadBalancerPort=80&Listeners.member.1.InstancePort=80&Tags.member.1.Key=k",
    "elasticloadbalancing ConfigureHealthCheck LoadBalancerName=lb&HealthCheck.Target=HTTP:80/x&HealthCheck.Interval=10&HealthCheck.Timeout=5&HealthCheck.UnhealthyThreshold=2&HealthCheck.HealthyThreshold=2",
    "elasticloadbalancing ModifyLoadBalancerAttributes LoadBalancerName=lb&LoadBalancerAttributes.ConnectionDraining.Enabled=true&LoadBalancerAttributes.ConnectionDraining.Timeout=30",
    "autoscaling CreateLaunchConfiguration LaunchConfigurationName=lc&ImageId=ami-1&InstanceType=t3.micro&SecurityGroups.member.1=default&InstanceMonitoring.Enabled=true",
    "autoscaling CreateAutoScalingGroup AutoScalingGroupName=web&LaunchConfigurationName=lc&MinSize=1&MaxSize=3&DesiredCapacity=2&AvailabilityZones.member.1=PARTI00&HealthCheckGracePeriod=30&Tags.member.1.Key=Name&Tags.member.1.Value=web&Tags.member.1.PropagateAtLaunch=true",
    "autoscaling PutScalingPolicy AutoScalingGroupName=web&PolicyName=up&AdjustmentType=PercentChangeInCapacity&ScalingAdjustment=50&MinAdjustmentMagnitude=1&Cooldown=60",
    "autoscaling SetDesiredCapacity AutoScalingGroupName=web&DesiredCapacity=2&HonorCooldown=true",
    "monitoring PutMetricAlarm AlarmName=high&Namespace=AWS/EC2&MetricName=CPUUtilization&Statistic=Average&Period=60&EvaluationPeriods=2&Threshold=70.5&ComparisonOperator=GreaterThanThreshold&Dimensions.member.1.Name=AutoScalingGroupName&Dimensions.member.1.Value=web&AlarmActions.member.1=arn:aws:autoscaling:x",
    "monitoring DescribeAlarms AlarmNamePrefix=h&MaxRecords=10",
    "iam CreateRole RoleName=web&AssumeRolePolicyDocument=%7B%22Version%22%3A%222012-10-17%22%7D&Path=/",
    "iam PutRolePolicy RoleName=web&PolicyName=p&PolicyDocument=%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%7D%5D%7D",
    "sts GetCallerIdentity ",
];

fn split(line: &str) -> (&str, &str, &str) {
    let mut parts = line.splitn(3, ' ');
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn actions_and_the_query_parser() {
    let world = FakeWorld::new();
    fuzz(|chance| {
        let (service, action, parameters) = split(chance.of(QUERIES));
        let (_, other, _) = split(chance.of(QUERIES));
        let action = if chance.below(8) == 0 { other } else { action };
        let parameters = parameters.replace("ami-1", &world.image_id);
        let bytes = changed(chance, parameters.as_bytes());
        let pairs = sigv4::parse_query(&String::from_utf8_lossy(&bytes));
        let _ = query::to_node(pairs.clone());
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match world.call(service, action, &pairs) {
            Ok(answer) => check_xml(answer.tree()),
            Err(error) => {
                assert!(error.status < 500, "{service} {action} {pairs:?}: {error}");
                assert!(!error.code.is_empty() && !error.message.is_empty(), "{service} {action} {pairs:?}");
            }
        }
    });
}

fn check_xml(node: &Node) {
    for dialect in [Dialect::Ec2, Dialect::Query] {
        let bytes = xml::response(dialect, "http://example.com/", "Fuzz", node, "r-1");
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        let mut reader = Reader::from_str(text);
        while reader.read_event().unwrap_or_else(|error| panic!("{error}: {text}")) != Event::Eof {}
        let has_form = |c: char| matches!(c, '\n' | '\r' | '\t' | ' '..='\u{fffd}' | '\u{10000}'..);
        assert!(text.chars().all(has_form), "a character that XML has no form for: {text:?}");
    }
}

#[test]
fn json_and_cbor() {
    let text = |value: &str| Node::Text(value.to_owned());
    let sample = Node::Map(vec![
        ("AlarmNames".into(), Node::List(vec![text("a"), text("ü\u{1f980}\u{ffff}\u{1}")])),
        ("Threshold".into(), Node::Float(70.5)),
        ("Period".into(), Node::Integer(-60)),
        ("Enabled".into(), Node::Bool(true)),
        ("Since".into(), Node::Timestamp(1.5)),
        ("Nothing".into(), Node::Null),
        ("Bytes".into(), Node::Blob(vec![0, 255])),
        ("Deep".into(), Node::Map(vec![("A".into(), Node::List(vec![Node::Map(Vec::new())]))])),
    ]);
    let (as_json, as_cbor) = (json::from_node(&sample), cbor::from_node(&sample));
    assert!(json::to_node(&as_json).is_ok());
    assert_eq!(cbor::to_node(&as_cbor).unwrap(), sample);
    fuzz(|chance| {
        if let Ok(node) = json::to_node(&changed(chance, &as_json)) {
            check_xml(&node_with_names_of_xml(node));
        }
        if let Ok(node) = cbor::to_node(&changed(chance, &as_cbor)) {
            let again = cbor::to_node(&cbor::from_node(&node)).expect("what was read can be written and read");
            assert_eq!(format!("{again:?}"), format!("{node:?}"));
            let _ = json::from_node(&node);
            check_xml(&node_with_names_of_xml(node));
        }
    });
}

/// Answers have the names that we give them, never those of a request.
fn node_with_names_of_xml(node: Node) -> Node {
    match node {
        Node::Map(entries) => {
            Node::Map(entries.into_iter().map(|(_, value)| ("Name".into(), node_with_names_of_xml(value))).collect())
        }
        Node::List(items) => Node::List(items.into_iter().map(node_with_names_of_xml).collect()),
        other => other,
    }
}

#[test]
fn signatures() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    let queries = [
        "Action=DescribeRegions&AWSAccessKeyId=AKIA&SignatureVersion=2&SignatureMethod=HmacSHA256&Timestamp=2026-01-01T00%3A00%3A00Z&Signature=i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf%2FMj6vPxyYIs%3D",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
    ];
    let secret = |key: &str| {
        (key == "AKIA").then(|| Secret { secret_key: "s".to_owned(), session_token: None, expires_epoch_secs: None })
    };
    fuzz(|chance| {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        for (name, value) in [("authorization", authorization), ("x-amz-date", "20260101T000000Z")] {
            let value =
                if chance.below(3) == 0 { changed(chance, value.as_bytes()) } else { value.as_bytes().to_vec() };
            if let Ok(value) = HeaderValue::from_bytes(&value)
                && chance.below(4) > 0
            {
                headers.insert(name, value);
            }
        }
        let query = chance.of(&queries);
        let query = changed(chance, query.as_bytes());
        let query = String::from_utf8_lossy(&query).into_owned();
        let path = String::from_utf8_lossy(&changed(chance, b"/services/compute/../a//b")).into_owned();
        let form = changed(chance, queries[0].as_bytes());
        if chance.below(2) == 0 {
            headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        for query in [query.as_str(), ""] {
            let request = SignedRequest { method: "POST", path: &path, query, headers: &headers, body: &form };
            let _ = sigv4::signing_service(&headers, query);
            assert!(sigv4::verify(&request, &secret, 1_767_225_600).is_err(), "a signature of nobody's was taken");
        }
    });
}
