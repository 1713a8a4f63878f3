//! Calls by names that are the same in every run: what was asked of which API, without what is random in it.

use std::fmt;

use hyper::Method;
use hyper::header::HeaderMap;

/// What has no part in a name: random, or made of what is.
const LEFT_OUT: [&str; 7] =
    ["Action=", "Version=", "ClientToken=", "UserData=", "LaunchTemplateData.", "PolicyDocument=", "TagSpecification."];
/// A value longer than this is cut off.
const LONGEST: usize = 60;

/// A call, told from the others of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    /// `service.Action parameter=value&…`
    pub(crate) name: String,
    /// Counted from 1 where the same is asked again.
    pub(crate) nth: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.name, self.nth)
    }
}

impl Call {
    pub(crate) fn service(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    pub(crate) fn action(&self) -> &str {
        self.name.split([' ', '.']).nth(1).unwrap_or_default()
    }

    /// The name of a request.
    pub(crate) fn name_of(method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) -> String {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        // …Credential=KEY/DATE/REGION/SERVICE/aws4_request, …
        let service = authorization.split('/').nth(3).unwrap_or("unsigned");
        if service == "s3" {
            return format!("s3.{}", of_s3(method, target));
        }
        let body = String::from_utf8_lossy(body);
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or(target);
        let parameters: Vec<String> = body
            .split('&')
            .filter(|pair| !LEFT_OUT.iter().any(|name| pair.starts_with(name)))
            // Every cloud of the tests has ports of its own.
            .filter(|pair| !pair.split('=').next().is_some_and(|name| name.ends_with("Port")))
            .map(|pair| without_ids(&decoded(pair)))
            .collect();
        format!("{service}.{action} {}", parameters.join("&")).trim_end().to_owned()
    }
}

/// Whether an action changes nothing.
pub(crate) fn is_read(action: &str) -> bool {
    ["Describe", "Get", "List", "Head"].iter().any(|beginning| action.starts_with(beginning))
}

/// Whether it asks what a cloud can do, by what cannot succeed.
pub(crate) fn is_probe(call: &Call) -> bool {
    call.name.contains("-probe") || call.action() == "RunInstances" && call.name.contains("DryRun=true")
}

fn of_s3(method: &Method, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix("/services/objectstorage").unwrap_or(path).trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let asks = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let action = match (method.as_str(), bucket.is_empty(), key.is_empty()) {
        (_, true, _) => "ListBuckets",
        ("HEAD", _, true) => "HeadBucket",
        ("PUT", _, true) if asks("publicAccessBlock") => "PutPublicAccessBlock",
        ("PUT", _, true) if query.is_empty() || query.starts_with("x-id") => "CreateBucket",
        ("PUT", _, true) => "PutBucketConfiguration",
        ("DELETE", _, true) if query.is_empty() || query.starts_with("x-id") => "DeleteBucket",
        ("DELETE", _, true) => "DeleteBucketConfiguration",
        ("POST", _, true) => "DeleteObjects",
        ("GET", _, true) if asks("uploads") => "ListMultipartUploads",
        ("GET", _, true) if asks("list-type") => "ListObjects",
        ("GET", _, true) => "GetBucketConfiguration",
        ("HEAD", ..) => "HeadObject",
        ("PUT", ..) => "PutObject",
        ("DELETE", ..) => "DeleteObject",
        ("GET", ..) => "GetObject",
        _ => "PostObject",
    };
    format!("{action} {}", without_ids(key)).trim_end().to_owned()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let code: Vec<u8> = rest.by_ref().take(2).collect();
                std::str::from_utf8(&code).ok().and_then(|code| u8::from_str_radix(code, 16).ok()).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `vol-0123456789abcdef0` becomes `vol-*`, and a bucket's random part goes.
pub(crate) fn without_ids(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut result = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(is_word) {
        result.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        match word.rsplit_once('-') {
            Some((kind, id)) if is_random(id) => result.push_str(&format!("{kind}-*")),
            None if is_random(word) => result.push('*'),
            _ => result.push_str(word),
        }
        rest = &rest[end..];
    }
    result.push_str(rest);
    if result.chars().count() > LONGEST { result.chars().take(LONGEST).collect() } else { result }
}

/// An id: hexadecimal digits, eight or more.
fn is_random(word: &str) -> bool {
    word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_random_has_no_part_in_a_name() {
        for (text, name) in [
            ("VolumeId.1=vol-0123456789abcdef0", "VolumeId.1=vol-*"),
            ("GroupId=sg-1a2b3c4d", "GroupId=sg-*"),
            ("matrix-0123456789/x", "matrix-*/x"),
            ("bundle/1234567890abcdef/imagecrud", "bundle/*/imagecrud"),
            ("GroupName=matrix-load-balancer", "GroupName=matrix-load-balancer"),
            ("config/database.json", "config/database.json"),
        ] {
            assert_eq!(without_ids(text), name);
        }
    }
}
