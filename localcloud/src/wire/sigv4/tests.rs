use super::*;

/// The key pair and moment of AWS's published test suite
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-test-suite.html>).
const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const MOMENT: &str = "20150830T123600Z";

fn now() -> i64 {
    epoch_secs(MOMENT).expect("a time")
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().expect("a header value"));
    }
    map
}

fn secret(key: &str) -> Option<Secret> {
    (key == ACCESS_KEY).then(|| Secret {
        secret_key: SECRET_KEY.to_owned(),
        session_token: None,
        expires_epoch_secs: None,
    })
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, Signature={signature}"
    )
}

fn check(method: &str, path: &str, query: &str, map: &HeaderMap, body: &[u8]) -> Result<Verified> {
    verify(&SignedRequest { method, path, query, headers: map, body }, &secret, now())
}

fn suite(
    method: &str,
    path: &str,
    query: &str,
    extra: &[(&'static str, &str)],
    signed: &str,
    body: &[u8],
    signature: &str,
) {
    let authorization = authorization(signed, signature);
    let mut all =
        vec![("host", "example.amazonaws.com"), ("x-amz-date", MOMENT), ("authorization", authorization.as_str())];
    all.extend_from_slice(extra);
    let verified = check(method, path, query, &headers(&all), body).expect("AWS's own signature is accepted");
    assert_eq!(verified.access_key, ACCESS_KEY);
    assert_eq!((verified.region.as_str(), verified.service.as_str()), ("us-east-1", "service"));
}

#[test]
fn the_signatures_of_the_published_test_suite_are_accepted() {
    suite(
        "GET",
        "/",
        "",
        &[],
        "host;x-amz-date",
        b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    );
    suite(
        "POST",
        "/",
        "",
        &[],
        "host;x-amz-date",
        b"",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    );
    suite(
        "GET",
        "/",
        "Param2=value2&Param1=value1",
        &[],
        "host;x-amz-date",
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    );
    suite(
        "POST",
        "/",
        "",
        &[("content-type", "application/x-www-form-urlencoded")],
        "content-type;host;x-amz-date",
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    );
}

#[test]
fn a_changed_body_query_or_secret_is_refused() {
    let authorization =
        authorization("host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    let map = headers(&[("host", "example.amazonaws.com"), ("x-amz-date", MOMENT), ("authorization", &authorization)]);
    for (query, body) in [("", b"x".as_slice()), ("a=b", b"")] {
        assert_eq!(check("GET", "/", query, &map, body), Err(AuthError::Mismatch));
    }
    let request = SignedRequest { method: "GET", path: "/", query: "", headers: &map, body: b"" };
    let other =
        |_: &str| Some(Secret { secret_key: "other".to_owned(), session_token: None, expires_epoch_secs: None });
    assert_eq!(verify(&request, &other, now()), Err(AuthError::Mismatch));
    assert_eq!(verify(&request, &|_| None, now()), Err(AuthError::UnknownAccessKey(ACCESS_KEY.to_owned())));
}

#[test]
fn a_signature_over_the_root_path_is_accepted_for_any_path() {
    let authorization =
        authorization("host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    let map = headers(&[("host", "example.amazonaws.com"), ("x-amz-date", MOMENT), ("authorization", &authorization)]);
    check("GET", "/services/compute/", "", &map, b"").expect("signed over /");
}

#[test]
fn a_stale_or_future_request_is_refused() {
    let authorization =
        authorization("host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    let map = headers(&[("host", "example.amazonaws.com"), ("x-amz-date", MOMENT), ("authorization", &authorization)]);
    let request = SignedRequest { method: "GET", path: "/", query: "", headers: &map, body: b"" };
    let at = |offset: i64| verify(&request, &secret, now() + offset);
    at(MAX_SKEW_SECS).expect("within the limit");
    assert_eq!(at(MAX_SKEW_SECS + 1), Err(AuthError::Expired));
    assert_eq!(at(-MAX_SKEW_SECS - 1), Err(AuthError::Skewed { ahead_secs: MAX_SKEW_SECS + 1 }));
}

#[test]
fn incomplete_and_missing_signatures_are_told_apart() {
    let nothing = headers(&[("host", "h")]);
    assert_eq!(check("GET", "/", "", &nothing, b""), Err(AuthError::Missing));
    let partial = headers(&[
        ("host", "h"),
        ("x-amz-date", MOMENT),
        ("authorization", "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request"),
    ]);
    assert!(matches!(check("GET", "/", "", &partial, b""), Err(AuthError::Incomplete(_))));
    let dateless = headers(&[("host", "h"), ("authorization", &authorization("host", "00"))]);
    assert!(matches!(check("GET", "/", "", &dateless, b""), Err(AuthError::Incomplete(_))));
}

#[test]
fn a_temporary_credential_needs_its_own_token_and_ends() {
    let secret = Secret {
        secret_key: SECRET_KEY.to_owned(),
        session_token: Some("token".to_owned()),
        expires_epoch_secs: Some(100),
    };
    check_session(Some("token"), &secret, 99).expect("valid");
    assert_eq!(check_session(Some("other"), &secret, 99), Err(AuthError::InvalidToken));
    assert_eq!(check_session(None, &secret, 99), Err(AuthError::InvalidToken));
    assert_eq!(check_session(Some("token"), &secret, 100), Err(AuthError::TokenExpired));
}

/// The presigned URL of S3's documentation
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>).
#[test]
fn the_documented_presigned_url_is_accepted_until_it_expires() {
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                 &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                 &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let map = headers(&[("host", "examplebucket.s3.amazonaws.com")]);
    let request = SignedRequest { method: "GET", path: "/test.txt", query, headers: &map, body: b"" };
    let signature = Signature::parse(&map, query).expect("complete").expect("presigned");
    let secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    signature.check(&request, "UNSIGNED-PAYLOAD", secret_key).expect("the documented signature");
    let signed = epoch_secs("20130524T000000Z").expect("a time");
    assert_eq!(signature.service, "s3");
    signature.check_time(signed + 86_400).expect("the last second");
    assert_eq!(signature.check_time(signed + 86_401), Err(AuthError::Expired));
}

#[test]
fn paths_are_normalised_and_encoded_twice_but_for_s3() {
    assert_eq!(canonical_path("/a//b/../c d/", Encoding::NormalisedTwice), "/a/c%2520d/");
    assert_eq!(canonical_path("/a%20b/%E1%88%B4", Encoding::NormalisedTwice), "/a%2520b/%25E1%2588%25B4");
    assert_eq!(canonical_path("/a//b/../c%20d+", Encoding::Once), "/a//b/../c%20d%2B");
    assert_eq!(canonical_path("", Encoding::Once), "/");
}

#[test]
fn a_version_2_query_is_verified_over_its_sorted_parameters() {
    // Signed here by the documented recipe, so that the parameters' order and the path's choice are what is tested.
    let parameters = "AWSAccessKeyId=AKIDEXAMPLE&Action=DescribeInstances&SignatureMethod=HmacSHA256&SignatureVersion=2\
                      &Timestamp=2015-08-30T12%3A36%3A00Z&Version=2016-11-15";
    let text = format!("GET\nlocalhost:8773\n/services/compute\n{parameters}");
    let signature = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(hmac(SECRET_KEY.as_bytes(), text.as_bytes()))
    };
    let query = format!(
        "Version=2016-11-15&{}&Signature={}",
        parameters.replace("&Version=2016-11-15", ""),
        canonical::encode(&signature)
    );
    let map = headers(&[("host", "localhost:8773")]);
    let verified = check("GET", "/services/compute", &query, &map, b"").expect("signed by version 2");
    assert_eq!(verified.access_key, ACCESS_KEY);
    let forged = query.replace("DescribeInstances", "TerminateInstances");
    assert_eq!(check("GET", "/services/compute", &forged, &map, b""), Err(AuthError::Mismatch));
}
