//! Requests that are signed as euca2ools signs them.

use localcloud::behaviour::Behaviour;

use super::{
    authorization::{Cloud, form, plain},
    signed::{Signer, signed},
};

/// A request as euca2ools signs it.
fn version2(service: &str, signer: &Signer, at: jiff::Timestamp) -> axum::http::Request<axum::body::Body> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use localcloud::wire::sigv4::canonical::encode;
    let (path, action) = match service {
        "ec2" => ("/services/compute/", "DescribeVpcs"),
        _ => ("/services/Euare/", "ListUsers"),
    };
    let time = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut pairs = vec![
        ("AWSAccessKeyId", signer.access_key.as_str()),
        ("Action", action),
        ("SignatureMethod", "HmacSHA256"),
        ("SignatureVersion", "2"),
        ("Timestamp", &time),
        ("Version", "2010-05-08"),
    ];
    pairs.extend(signer.token.as_deref().map(|token| ("SecurityToken", token)));
    pairs.sort_unstable();
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let query = query.join("&");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(signer.secret_key.as_bytes()).unwrap();
    mac.update(format!("GET\n127.0.0.1:8773\n{path}\n{query}").as_bytes());
    let signature = encode(&STANDARD.encode(mac.finalize().into_bytes()));
    axum::http::Request::get(format!("{path}?{query}&Signature={signature}"))
        .header("host", "127.0.0.1:8773")
        .body(axum::body::Body::empty())
        .unwrap()
}

#[tokio::test]
async fn version_2_is_taken_by_all_clouds_but_aws() {
    let cloud = Cloud::new();
    for (service, refusal) in [("ec2", (401, "AuthFailure")), ("iam", (403, "MissingAuthenticationToken"))] {
        for behaviour in [Behaviour::Everything, Behaviour::Eucalyptus44, Behaviour::Aws] {
            let reply = cloud.send_like(behaviour, version2(service, &cloud.root, jiff::Timestamp::now())).await;
            let expected = if behaviour == Behaviour::Aws { refusal } else { (200, "") };
            assert_eq!((reply.status, reply.code.as_str()), expected, "{service} {behaviour:?} {}", reply.body);
        }
    }
    let body = form("DescribeVpcs", &[]);
    cloud.send_like(Behaviour::Aws, signed(&plain("ec2", &body), &cloud.root)).await.ok();
}

#[tokio::test]
async fn version_2_is_refused_for_the_same_reasons_and_bound_by_the_same_policies() {
    let cloud = Cloud::new();
    let jo = cloud.user("jo", r#"{"Effect":"Allow","Action":"ec2:DescribeVpcs","Resource":"*"}"#).await;
    let now = jiff::Timestamp::now();
    let minutes = |minutes: i64| jiff::Timestamp::from_second(now.as_second() + minutes * 60).unwrap();
    let wrong = Signer { secret_key: "wrong".to_owned(), ..jo.clone() };
    let stray = Signer { token: Some("stray".to_owned()), ..jo.clone() };
    for (signer, at, ec2, iam) in [
        (&cloud.root, now, (200, ""), (200, "")),
        (&jo, now, (200, ""), (403, "AccessDenied")),
        (&jo, minutes(-16), (400, "RequestExpired"), (403, "SignatureDoesNotMatch")),
        (&jo, minutes(16), (400, "RequestExpired"), (403, "SignatureDoesNotMatch")),
        (&wrong, now, (401, "AuthFailure"), (403, "SignatureDoesNotMatch")),
        (&stray, now, (401, "AuthFailure"), (403, "InvalidClientTokenId")),
        (&Signer::new("AKIANOBODY", "x", None), now, (401, "AuthFailure"), (403, "InvalidClientTokenId")),
    ] {
        for (service, expected) in [("ec2", ec2), ("iam", iam)] {
            let reply = cloud.send(version2(service, signer, at)).await;
            assert_eq!((reply.status, reply.code.as_str()), expected, "{service} {signer:?} {at} {}", reply.body);
        }
    }
}
