//! Certificates and policies of load balancers: what the API takes and refuses, and what the proxy is told.

use localcloud::drivers::{Balancer, BalancerProtocol, Stickiness};

use super::{fake_world::FakeWorld, haproxy::world::certificate};

const ELB: &str = "elasticloadbalancing";
const NAME: (&str, &str) = ("LoadBalancerName", "web");
const PORT: (&str, &str) = ("LoadBalancerPort", "8443");

/// Uploads a certificate and returns its ARN.
fn upload(world: &FakeWorld, name: &str) -> String {
    let pem = certificate(&format!("{name}.example")).0;
    let (body, key) = pem.split_at(pem.find("-----BEGIN PRIVATE KEY").expect("a key"));
    let parameters =
        [("ServerCertificateName", name), ("CertificateBody", body), ("PrivateKey", key), ("Path", "/elb/")];
    world.call("iam", "UploadServerCertificate", &parameters).unwrap().text("ServerCertificateMetadata.Arn")
}

fn create(world: &FakeWorld, certificate_id: &str) {
    let parameters = [
        NAME,
        ("AvailabilityZones.member.1", "PARTI00"),
        ("Listeners.member.1.Protocol", "https"),
        ("Listeners.member.1.LoadBalancerPort", "8443"),
        ("Listeners.member.1.InstanceProtocol", "http"),
        ("Listeners.member.1.InstancePort", "80"),
        ("Listeners.member.1.SSLCertificateId", certificate_id),
    ];
    for _ in 0..2 {
        world.call(ELB, "CreateLoadBalancer", &parameters).expect("the same again changes nothing");
    }
}

async fn planned(world: &mut FakeWorld) -> Balancer {
    world.pass().await;
    Balancer::clone(&world.cloud.proxy.plan().expect("a plan").balancers[0])
}

#[tokio::test]
async fn a_certificate_is_shown_by_its_listener_and_cannot_go_before_it() {
    let mut world = FakeWorld::new();
    let (first, second) = (upload(&world, "first"), upload(&world, "second"));
    assert_eq!(first, "arn:aws:iam::000000000001:server-certificate/elb/first");
    create(&world, &first);
    let listener = planned(&mut world).await.listeners.remove(0);
    assert_eq!((listener.protocol, listener.instance_protocol), (BalancerProtocol::Https, BalancerProtocol::Http));
    let encryption = listener.encryption.expect("encrypted");
    assert!(encryption.certificate.0.contains("BEGIN CERTIFICATE") && encryption.certificate.0.contains("PRIVATE KEY"));
    assert_eq!((encryption.oldest_version.as_str(), encryption.ciphers.len()), ("TLSv1.0", 18));
    assert!(!format!("{:?}", encryption.certificate).contains("PRIVATE"), "keys are not shown");

    let described = world.call(ELB, "DescribeLoadBalancers", &[]).unwrap();
    let described = described.text("LoadBalancerDescriptions.0.ListenerDescriptions.0.Listener.SSLCertificateId");
    assert_eq!(described, first);
    let delete = |name: &'static str| [("ServerCertificateName", name)];
    assert_eq!(world.refused("iam", "DeleteServerCertificate", &delete("first")), "DeleteConflict");
    let set =
        |arn: &str| world.call(ELB, "SetLoadBalancerListenerSSLCertificate", &[NAME, PORT, ("SSLCertificateId", arn)]);
    assert_eq!(set("arn:aws:iam::000000000001:server-certificate/x").unwrap_err().code, "CertificateNotFound");
    set(&second).unwrap();
    world.call("iam", "DeleteServerCertificate", &delete("first")).unwrap();
    assert_eq!(world.refused("iam", "GetServerCertificate", &delete("first")), "NoSuchEntity");

    // A certificate of another name stays with its listener.
    let rename = [("ServerCertificateName", "second"), ("NewServerCertificateName", "third"), ("NewPath", "/")];
    world.call("iam", "UpdateServerCertificate", &rename).unwrap();
    assert!(planned(&mut world).await.listeners[0].encryption.is_some());
    let got = world.call("iam", "GetServerCertificate", &delete("third")).unwrap();
    assert!(got.text("ServerCertificate.CertificateBody").starts_with("-----BEGIN CERTIFICATE"));
    assert_eq!(got.get("ServerCertificate.PrivateKey"), None);
    let listed = world.call("iam", "ListServerCertificates", &[]).unwrap();
    assert_eq!(listed.each("ServerCertificateMetadataList", "ServerCertificateName"), ["third"]);
}

#[tokio::test]
async fn a_listener_speaks_the_tls_of_its_policy() {
    let mut world = FakeWorld::new();
    let certificate = upload(&world, "web");
    create(&world, &certificate);
    let policies = world.call(ELB, "DescribeLoadBalancerPolicies", &[NAME]).unwrap();
    assert_eq!(policies.each("PolicyDescriptions", "PolicyName"), ["ELBSecurityPolicy-2016-08"]);
    let create = |name: &'static str, attributes: &[(&'static str, &'static str)]| {
        let mut parameters = vec![NAME, ("PolicyName", name), ("PolicyTypeName", "SSLNegotiationPolicyType")];
        let names = ["PolicyAttributes.member.1.AttributeName", "PolicyAttributes.member.2.AttributeName"];
        let values = ["PolicyAttributes.member.1.AttributeValue", "PolicyAttributes.member.2.AttributeValue"];
        for ((attribute, value), (name_key, value_key)) in attributes.iter().zip(names.into_iter().zip(values)) {
            parameters.extend([(name_key, *attribute), (value_key, *value)]);
        }
        world.call(ELB, "CreateLoadBalancerPolicy", &parameters).map_err(|error| error.code)
    };
    create("modern", &[("Reference-Security-Policy", "ELBSecurityPolicy-TLS-1-2-2017-01")]).unwrap();
    create("own", &[("Protocol-TLSv1.2", "true"), ("AES128-SHA", "true")]).unwrap();
    assert_eq!(
        create("own", &[("Protocol-TLSv1.2", "true"), ("AES128-SHA", "true")]).unwrap_err(),
        "DuplicatePolicyName"
    );
    assert_eq!(create("none", &[("Protocol-TLSv1.2", "true")]).unwrap_err(), "InvalidConfigurationRequest");
    assert_eq!(
        create("old", &[("Protocol-SSLv3", "true"), ("AES128-SHA", "true")]).unwrap_err(),
        "InvalidConfigurationRequest"
    );
    assert_eq!(
        create("x", &[("Reference-Security-Policy", "ELBSecurityPolicy-1999")]).unwrap_err(),
        "InvalidConfigurationRequest"
    );
    let set = |name: &str| {
        let parameters = [NAME, PORT, ("PolicyNames.member.1", name)];
        world.call(ELB, "SetLoadBalancerPoliciesOfListener", &parameters).map_err(|error| error.code)
    };
    assert_eq!(set("unknown").unwrap_err(), "PolicyNotFound");
    set("own").unwrap();
    let encryption = planned(&mut world).await.listeners.remove(0).encryption.expect("encrypted");
    assert_eq!((encryption.oldest_version.as_str(), encryption.ciphers), ("TLSv1.2", vec!["AES128-SHA".to_owned()]));
    let delete = [NAME, ("PolicyName", "own")];
    assert_eq!(world.refused(ELB, "DeleteLoadBalancerPolicy", &delete), "InvalidConfigurationRequest");
    let parameters = [NAME, PORT, ("PolicyNames.member.1", "modern")];
    world.call(ELB, "SetLoadBalancerPoliciesOfListener", &parameters).unwrap();
    world.call(ELB, "DeleteLoadBalancerPolicy", &delete).unwrap();
    assert_eq!(planned(&mut world).await.listeners[0].encryption.as_ref().expect("encrypted").ciphers.len(), 12);
}

#[tokio::test]
async fn stickiness_and_the_proxy_protocol_reach_the_proxy() {
    let mut world = FakeWorld::new();
    let certificate = upload(&world, "web");
    create(&world, &certificate);
    let call = |action: &str, parameters: &[(&str, &str)]| {
        let parameters: Vec<_> = [NAME].iter().chain(parameters).copied().collect();
        world.call(ELB, action, &parameters).map_err(|error| error.code)
    };
    call("CreateLBCookieStickinessPolicy", &[("PolicyName", "lb"), ("CookieExpirationPeriod", "60")]).unwrap();
    call("CreateAppCookieStickinessPolicy", &[("PolicyName", "app"), ("CookieName", "SESSION")]).unwrap();
    assert_eq!(
        call("CreateAppCookieStickinessPolicy", &[("PolicyName", "b"), ("CookieName", "a b")]).unwrap_err(),
        "ValidationError"
    );
    let proxy_protocol = [
        ("PolicyName", "proxy"),
        ("PolicyTypeName", "ProxyProtocolPolicyType"),
        ("PolicyAttributes.member.1.AttributeName", "ProxyProtocol"),
        ("PolicyAttributes.member.1.AttributeValue", "true"),
    ];
    call("CreateLoadBalancerPolicy", &proxy_protocol).unwrap();
    let keys = [("PolicyName", "keys"), ("PolicyTypeName", "PublicKeyPolicyType")];
    assert_eq!(call("CreateLoadBalancerPolicy", &keys).unwrap_err(), "UnsupportedOperation");
    let both = [PORT, ("PolicyNames.member.1", "lb"), ("PolicyNames.member.2", "app")];
    assert_eq!(call("SetLoadBalancerPoliciesOfListener", &both).unwrap_err(), "InvalidConfigurationRequest");
    let wrong = [PORT, ("PolicyNames.member.1", "proxy")];
    assert_eq!(call("SetLoadBalancerPoliciesOfListener", &wrong).unwrap_err(), "InvalidConfigurationRequest");
    let nowhere = [("LoadBalancerPort", "1"), ("PolicyNames.member.1", "lb")];
    assert_eq!(call("SetLoadBalancerPoliciesOfListener", &nowhere).unwrap_err(), "ListenerNotFound");
    call("SetLoadBalancerPoliciesOfListener", &[PORT, ("PolicyNames.member.1", "lb")]).unwrap();
    call("SetLoadBalancerPoliciesForBackendServer", &[("InstancePort", "80"), ("PolicyNames.member.1", "proxy")])
        .unwrap();

    let described = call("DescribeLoadBalancers", &[]).unwrap_err();
    assert_eq!(described, "ValidationError");
    let described = world.call(ELB, "DescribeLoadBalancers", &[]).unwrap();
    let field = |path: &str| described.text(&format!("LoadBalancerDescriptions.0.{path}"));
    assert_eq!(field("Policies.LBCookieStickinessPolicies.0.CookieExpirationPeriod"), "60");
    assert_eq!(field("Policies.AppCookieStickinessPolicies.0.CookieName"), "SESSION");
    assert_eq!(field("ListenerDescriptions.0.PolicyNames.0"), "lb");
    assert_eq!(field("BackendServerDescriptions.0.PolicyNames.0"), "proxy");
    let balancer = planned(&mut world).await;
    assert_eq!(balancer.listeners[0].stickiness, Some(Stickiness::Balancer { expires_secs: Some(60) }));
    assert!(balancer.proxy_protocol_ports.contains(&80));
    assert!(balancer.listeners[0].encryption.is_some(), "without a policy for TLS the default one holds");

    let off = [NAME, ("InstancePort", "80"), ("PolicyNames.member.1", "")];
    world.call(ELB, "SetLoadBalancerPoliciesForBackendServer", &off).unwrap();
    let app = [NAME, PORT, ("PolicyNames.member.1", "app")];
    world.call(ELB, "SetLoadBalancerPoliciesOfListener", &app).unwrap();
    let balancer = planned(&mut world).await;
    assert_eq!(balancer.listeners[0].stickiness, Some(Stickiness::Application { cookie: "SESSION".into() }));
    assert!(balancer.proxy_protocol_ports.is_empty());
}

#[test]
fn policies_of_aws_and_their_types_are_described_without_a_balancer() {
    let world = FakeWorld::new();
    let policies = world.call(ELB, "DescribeLoadBalancerPolicies", &[]).unwrap();
    assert!(policies.each("PolicyDescriptions", "PolicyName").contains(&"ELBSecurityPolicy-2016-08".to_owned()));
    let types = world.call(ELB, "DescribeLoadBalancerPolicyTypes", &[]).unwrap();
    assert_eq!(types.count("PolicyTypeDescriptions"), 4);
    let unknown = [("PolicyTypeNames.member.1", "Other")];
    assert_eq!(world.refused(ELB, "DescribeLoadBalancerPolicyTypes", &unknown), "PolicyTypeNotFound");
    let limits = world.call(ELB, "DescribeAccountLimits", &[]).unwrap();
    assert_eq!(limits.text("Limits.1.Name"), "classic-load-balancers");
}
