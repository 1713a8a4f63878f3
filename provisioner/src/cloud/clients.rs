//! SDK clients, for AWS by the usual chain or for any cloud described by an eucarc.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation};

use crate::cloud::answers::Asked;
use crate::cloud::calls::Calls;
use crate::cloud::eucarc::Eucarc;
use crate::environment;
use crate::error::Failure;

/// The addresses that others than us need, and the region.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The region's name, as it stands in signatures.
    pub region: String,
    /// EC2's address, for people; empty for AWS's own.
    pub ec2: String,
    /// S3 as the VMs reach it, without a slash at the end.
    pub s3_for_vms: String,
    /// S3 as browsers reach it, where that is another address.
    pub s3_for_browsers: String,
    /// Whether buckets stand in the path rather than in the host name.
    pub s3_path_style: bool,
    /// What CreateBucket has to say about the place, where it must.
    pub s3_location: Option<String>,
}

/// One client per API.
#[derive(Clone)]
pub struct Clients {
    /// EC2.
    pub ec2: aws_sdk_ec2::Client,
    /// Classic load balancers.
    pub elb: aws_sdk_elasticloadbalancing::Client,
    /// Auto Scaling.
    pub autoscaling: aws_sdk_autoscaling::Client,
    /// CloudWatch.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// S3.
    pub s3: aws_sdk_s3::Client,
    /// Plain HTTP.
    pub http: reqwest::Client,
    /// Addresses.
    pub endpoints: Endpoints,
    /// The calls that were made.
    pub calls: Calls,
}

fn retries(most_attempts: u32) -> RetryConfig {
    let first_pause = crate::pace::pause(Duration::from_secs(1)); // the SDK's own
    RetryConfig::standard().with_max_attempts(most_attempts).with_initial_backoff(first_pause)
}

fn timeouts() -> TimeoutConfig {
    let of = |secs| crate::pace::answer(Duration::from_secs(secs));
    TimeoutConfig::builder().connect_timeout(of(3)).read_timeout(of(60)).build()
}

/// Clients for a region of AWS.
pub async fn for_aws(region: Option<&str>, profile: Option<&str>) -> Result<Clients, Failure> {
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).retry_config(retries(6)).timeout_config(timeouts());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    let Some(region) = config.region().map(ToString::to_string) else {
        return Err(Failure::new("choosing the region", "none is set")
            .hint("set AWS_REGION, a region in your AWS profile, or cloud.region in imagecrud.toml"));
    };
    if !region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(Failure::usage(format!("the region `{region}` is not possible"))
            .hint("regions are written as eu-west-1: see AWS_REGION, your AWS profile, --region or cloud.region"));
    }
    let endpoints = Endpoints {
        ec2: String::new(),
        s3_for_vms: format!("https://s3.{region}.amazonaws.com"),
        s3_for_browsers: String::new(),
        s3_path_style: false,
        // us-east-1 is the one region that must not be named.
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucketConfiguration.html
        s3_location: (region != "us-east-1").then(|| region.clone()),
        region,
    };
    clients(&config, endpoints, &Addresses::default(), aws_sdk_s3::config::Builder::from(&config))
}

/// Where the services are; none where the SDK knows.
#[derive(Default)]
struct Addresses {
    ec2: Option<String>,
    elb: Option<String>,
    autoscaling: Option<String>,
    cloudwatch: Option<String>,
    iam: Option<String>,
    s3: Option<String>,
}

/// All of them, with an ear for every call.
fn clients(
    config: &SdkConfig,
    endpoints: Endpoints,
    addresses: &Addresses,
    s3: aws_sdk_s3::config::Builder,
) -> Result<Clients, Failure> {
    let calls = Calls::default();
    let asked = |service: &str, address: &Option<String>| Asked(address.clone().unwrap_or(format!("AWS ({service})")));
    // Each crate has a builder of its own.
    macro_rules! client {
        ($sdk:ident, $address:expr) => {{
            let name = stringify!($sdk).trim_start_matches("aws_sdk_");
            let builder = $sdk::config::Builder::from(config);
            let mut builder = builder.interceptor(calls.clone()).interceptor(asked(name, &$address));
            builder.set_endpoint_url($address.clone().or_else(|| config.endpoint_url().map(str::to_owned)));
            $sdk::Client::from_conf(builder.build())
        }};
    }
    Ok(Clients {
        ec2: client!(aws_sdk_ec2, addresses.ec2),
        elb: client!(aws_sdk_elasticloadbalancing, addresses.elb),
        autoscaling: client!(aws_sdk_autoscaling, addresses.autoscaling),
        cloudwatch: client!(aws_sdk_cloudwatch, addresses.cloudwatch),
        iam: client!(aws_sdk_iam, addresses.iam),
        s3: aws_sdk_s3::Client::from_conf(
            s3.interceptor(calls.clone()).interceptor(asked("s3", &addresses.s3)).build(),
        ),
        http: http_client()?,
        endpoints,
        calls,
    })
}

/// Clients for the cloud of an eucarc.
pub async fn for_eucarc(eucarc: &Eucarc, region: Option<&str>) -> Result<Clients, Failure> {
    let credentials = Credentials::new(
        eucarc.require(&["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "EC2_ACCESS_KEY"])?,
        eucarc.require(&["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "EC2_SECRET_KEY"])?,
        eucarc.first(&["AWS_SECURITY_TOKEN"]).map(str::to_owned),
        None,
        "eucarc",
    );
    // Eucalyptus does not compare the region in a signature with anything.
    let region = region.or_else(|| eucarc.first(&["AWS_AUTH_REGION"])).unwrap_or("eucalyptus").to_owned();
    let config: SdkConfig = aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(credentials)
        .region(Region::new(region.clone()))
        .retry_config(retries(4))
        .timeout_config(timeouts())
        .load()
        .await;
    let s3_url = &of_service(eucarc.require_url(&["S3_URL"])?, "objectstorage", eucarc);
    let ec2_url = &of_service(eucarc.require_url(&["EC2_URL"])?, "compute", eucarc);
    let endpoints = Endpoints {
        ec2: ec2_url.to_owned(),
        s3_for_vms: trimmed(eucarc.first(&["S3_VM_URL"]).unwrap_or(s3_url)),
        s3_for_browsers: trimmed(eucarc.first(&["S3_PUBLIC_URL"]).unwrap_or(s3_url)),
        s3_path_style: true,
        s3_location: None,
        region,
    };
    let s3 = aws_sdk_s3::config::Builder::from(&config)
        // The SDK glues the bucket to the last segment of a path that does not end in a slash.
        .endpoint_url(format!("{}/", trimmed(s3_url)))
        .force_path_style(true)
        // Walrus knows no CRC32 checksums.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    let address = |names: &[&str], service: &str| -> Result<Option<String>, Failure> {
        Ok(Some(of_service(eucarc.require_url(names)?, service, eucarc)))
    };
    let addresses = Addresses {
        ec2: Some(ec2_url.clone()),
        elb: address(&["AWS_ELB_URL"], "LoadBalancing")?,
        autoscaling: address(&["AWS_AUTO_SCALING_URL"], "AutoScaling")?,
        cloudwatch: address(&["AWS_CLOUDWATCH_URL"], "CloudWatch")?,
        iam: address(&["AWS_IAM_URL", "EUARE_URL"], "Euare")?,
        s3: Some(s3_url.clone()),
    };
    clients(&config, endpoints, &addresses, s3)
}

/// Eucalyptus 4 may give addresses without a path. Where its services have names of their own that is all; behind
/// one name the path tells them apart.
fn of_service(url: &str, service: &str, eucarc: &Eucarc) -> String {
    let parsed = |url: &str| reqwest::Url::parse(url).ok();
    let host = |url: reqwest::Url| url.host_str().map(str::to_owned);
    let hosts = [&["EC2_URL"], &["AWS_ELB_URL"]].map(|name| eucarc.first(name).and_then(parsed).and_then(host));
    match parsed(url) {
        Some(at) if at.path() == "/" && at.port() == Some(8773) && hosts[0] == hosts[1] => {
            format!("{}/services/{service}", trimmed(url))
        }
        _ => url.to_owned(),
    }
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// A client for plain HTTP that follows RFC 6761: names under `.localhost` are this machine, whatever the
/// system's resolver says, and never behind a proxy. Elsewhere `http_proxy` and `no_proxy` count, as for curl.
pub fn http_client() -> Result<reqwest::Client, Failure> {
    let fail = |error: reqwest::Error| Failure::new("setting up the HTTP client", error);
    let mut builder = reqwest::Client::builder()
        .dns_resolver(Arc::new(LocalhostAware))
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(4))
        .no_proxy();
    if let Some(address) = environment::text("http_proxy")? {
        let direct = format!("localhost,127.0.0.0/8,{}", environment::words("no_proxy").unwrap_or_default());
        let proxy = reqwest::Proxy::http(&address).map_err(|_| {
            Failure::usage(format!("the variable http_proxy: `{address}` is no address of a proxy"))
                .hint("write it as http://HOST:PORT, or `unset http_proxy`")
        })?;
        builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(&direct)));
    }
    builder.build().map_err(fail)
}

/// Hosts that lead elsewhere than their names say.
static LED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Has every client of plain HTTP find a host where another one is.
pub fn lead(host: &str, to: &str) {
    if let Ok(mut led) = LED.lock() {
        led.insert(host.to_owned(), to.to_owned());
    }
}

struct LocalhostAware;

impl reqwest::dns::Resolve for LocalhostAware {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let led = LED.lock().ok().and_then(|led| led.get(name.as_str()).cloned());
            let host = led.as_deref().unwrap_or(name.as_str());
            if is_localhost(host) {
                let here: reqwest::dns::Addrs = Box::new(std::iter::once(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
                return Ok(here);
            }
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Whether a host name is this machine by RFC 6761.
pub fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Whether an address is served on this machine's loopback.
pub fn is_loopback(url: &str) -> bool {
    reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).is_some_and(|host| {
        is_localhost(&host) || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_behind_one_name_are_told_apart_by_their_paths() {
        let at = |ec2: &str, elb: &str| {
            let text = format!("EC2_URL={ec2}\nAWS_ELB_URL={elb}\n");
            of_service(elb, "LoadBalancing", &Eucarc::parse(&text, "/"))
        };
        assert_eq!(at("http://10.1.1.1:8773/", "http://10.1.1.1:8773/"), "http://10.1.1.1:8773/services/LoadBalancing");
        for elb in ["http://loadbalancing.c:8773/", "http://compute.c:8773/services/LoadBalancing", "http://compute.c/"]
        {
            assert_eq!(at("http://compute.c:8773/", elb), elb);
        }
    }

    #[test]
    fn names_under_localhost_are_this_machine() {
        assert!(is_localhost("imagecrud-1.elb.localhost"));
        assert!(!is_localhost("localhost.example.com"));
        assert!(is_loopback("http://127.0.0.1:8773/services/compute"));
        assert!(!is_loopback("http://10.0.0.1:8773/"));
        assert!(!is_loopback(""));
    }
}
