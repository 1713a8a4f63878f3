//! Who may what: the policies of whoever signs, and those of buckets, are asked for each request.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>

use std::sync::Arc;

use http::{Extensions, HeaderMap};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    access::{S3Access, S3AccessContext},
    path::S3Path,
};

use super::{
    bucket_policies::BucketPolicy,
    credentials::{Key, Keys},
    fate::{Fate, expired_token},
    public_access::Setting,
    versions::{Versions, no_such_bucket, no_such_key},
};
use crate::{
    behaviour::Behaviour,
    faults::plan::S3,
    policy::{
        Connection, Context, Identity, Refusal, Request,
        evaluate::{allow, allow_other},
        principal::Asker,
    },
    wire::sigv4::{self, AuthError},
};

/// Operations whose right has another name.
const ACTIONS: &[(&str, &str)] = &[
    ("CompleteMultipartUpload", "PutObject"),
    ("CopyObject", "PutObject"),
    ("CreateMultipartUpload", "PutObject"),
    ("DeletePublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration"),
    ("GetBucketCors", "GetBucketCORS"),
    ("GetBucketEncryption", "GetEncryptionConfiguration"),
    ("GetBucketLifecycleConfiguration", "GetLifecycleConfiguration"),
    ("GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
    ("HeadBucket", "ListBucket"),
    ("HeadObject", "GetObject"),
    ("ListBuckets", "ListAllMyBuckets"),
    ("ListMultipartUploads", "ListBucketMultipartUploads"),
    ("ListObjectVersions", "ListBucketVersions"),
    ("ListObjects", "ListBucket"),
    ("ListObjectsV2", "ListBucket"),
    ("ListParts", "ListMultipartUploadParts"),
    ("PutPublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("UploadPart", "PutObject"),
    ("UploadPartCopy", "PutObject"),
];

/// Condition keys that are parameters of the URL, and such as are headers.
const PARAMETERS: &[(&str, &str)] = &[
    ("s3:delimiter", "delimiter"),
    ("s3:max-keys", "max-keys"),
    ("s3:prefix", "prefix"),
    ("s3:VersionId", "versionId"),
];
const HEADERS: &[&str] = &[
    "x-amz-acl",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
];

/// What the account's list of buckets is about.
const EVERY_BUCKET: &str = "arn:aws:s3:::*";

pub(super) struct Access {
    pub(super) keys: Arc<Keys>,
    pub(super) versions: Versions,
    pub(super) behaviour: Behaviour,
}

/// What is known of one request: by it, more may be asked while the request is carried out.
#[derive(Clone)]
pub(super) struct Judge(Arc<Facts>);

struct Facts {
    /// None when nobody has signed.
    key: Option<Arc<Key>>,
    bucket: Option<(String, Option<Arc<BucketPolicy>>)>,
    /// Of a public policy, only what it says of the account's own counts.
    is_restricted: bool,
    context: Context,
}

impl Judge {
    /// That of the request.
    ///
    /// # Errors
    /// When there is none: then nobody has looked who asks.
    pub(super) fn of(extensions: &Extensions) -> S3Result<Self> {
        extensions.get::<Self>().cloned().ok_or_else(denied)
    }

    pub(super) fn may_bucket(&self, action: &str, bucket: &str) -> S3Result<()> {
        self.may(action, &format!("arn:aws:s3:::{bucket}"), self.policy_of(bucket).as_deref())
    }

    pub(super) fn may_object(&self, action: &str, bucket: &str, key: &str) -> S3Result<()> {
        self.may(action, &format!("arn:aws:s3:::{bucket}/{key}"), self.policy_of(bucket).as_deref())
    }

    fn policy_of(&self, bucket: &str) -> Option<Arc<BucketPolicy>> {
        self.0.bucket.as_ref().filter(|(known, _)| known == bucket).and_then(|(_, policy)| policy.clone())
    }

    fn may(&self, action: &str, resource: &str, policy: Option<&BucketPolicy>) -> S3Result<()> {
        let request = Request { action, resource, context: &self.0.context };
        let document = policy.map(|policy| &policy.document);
        let Some(key) = &self.0.key else {
            if self.0.is_restricted {
                return Err(denied());
            }
            return allow_other(Asker::Anonymous, document, request).map_err(|_| denied());
        };
        let identity = &key.credential.identity;
        // The owner can always mend a policy that locks everybody out
        // (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketPolicy.html>).
        if identity.is_root() && action.ends_with("BucketPolicy") {
            return Ok(());
        }
        allow(identity, &key.documents, document, request)
            .map_err(|refusal| refused(&identity.arn, action, resource, refusal))
    }
}

fn denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html>
fn refused(principal: &str, action: &str, resource: &str, refusal: Refusal) -> S3Error {
    let reason = refusal.reason(action);
    let words =
        format!("User: {principal} is not authorized to perform: {action} on resource: \"{resource}\" {reason}");
    S3Error::with_message(S3ErrorCode::AccessDenied, words)
}

impl Access {
    fn signer(&self, context: &S3AccessContext<'_>) -> S3Result<Option<Arc<Key>>> {
        let Some(credentials) = context.credentials() else { return Ok(None) };
        // It was there when the signature was verified.
        let key = self.keys.find(&credentials.access_key).ok_or_else(denied)?;
        let token = header(context.headers(), "x-amz-security-token")
            .map(str::to_owned)
            .or_else(|| parameter(context, "x-amz-security-token"));
        let now = jiff::Timestamp::now().as_second();
        // `s3s` looks at the clocks of version 4 only.
        if header(context.headers(), "authorization").is_some_and(|value| value.starts_with("AWS "))
            && sigv4::signed_at_epoch_secs(context.headers())
                .is_none_or(|signed| (now - signed).abs() > sigv4::MAX_SKEW_SECS)
        {
            return Err(S3Error::with_message(
                S3ErrorCode::RequestTimeTooSkewed,
                "The difference between the request time and the current time is too large.",
            ));
        }
        sigv4::check_session(token.as_deref(), &key.credential.secret(), now).map_err(|error| match error {
            AuthError::TokenExpired => expired_token(),
            _ => S3Error::with_message(
                S3ErrorCode::InvalidToken,
                "The provided token is malformed or otherwise invalid.",
            ),
        })?;
        Ok(Some(key))
    }

    fn judge(&self, context: &S3AccessContext<'_>, bucket: Option<&str>, key: Option<Arc<Key>>) -> Judge {
        let mut keys = Context::default();
        match &key {
            Some(key) => key.credential.identity.describe(&mut keys),
            None => Identity::default().describe(&mut keys),
        }
        let connection = Connection {
            source: header(context.headers(), Connection::SOURCE).and_then(|source| source.parse().ok()),
            user_agent: header(context.headers(), "user-agent").unwrap_or_default().to_owned(),
        };
        connection.describe(&mut keys, jiff::Timestamp::now().as_second());
        for (name, of) in PARAMETERS {
            if let Some(value) = parameter(context, of) {
                keys.set(name, value);
            }
        }
        for name in HEADERS {
            if let Some(value) = header(context.headers(), name) {
                keys.set(&format!("s3:{name}"), value);
            }
        }
        if let Some(referer) = header(context.headers(), "referer") {
            keys.set("aws:Referer", referer);
        }
        if let Some(key) = &key {
            keys.set("s3:ResourceAccount", &key.credential.identity.account_id);
        }
        let bucket = bucket.map(|bucket| (bucket.to_owned(), self.versions.policies().find(bucket)));
        let is_restricted = bucket.as_ref().is_some_and(|(bucket, policy)| {
            policy.as_ref().is_some_and(|policy| policy.document.is_public())
                && self.versions.public_access().has(bucket, Setting::RestrictPublicBuckets)
        });
        Judge(Arc::new(Facts { key, bucket, is_restricted, context: keys }))
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let key = self.signer(context)?;
        let (bucket, object) = match context.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        let operation = context.s3_op().name().to_owned();
        let fate = context.extensions_mut().get::<Fate>().cloned().ok_or_else(denied)?;
        let is_there = |bucket: &str, key: Option<&str>| match key {
            Some(key) => self.versions.has_object(bucket, key),
            None => self.versions.has_bucket(bucket),
        };
        fate.meet(&operation, bucket.as_deref(), object.as_deref(), is_there).await?;
        if !self.behaviour.has_action(S3, &operation) {
            let words = format!("{operation} is not implemented");
            return Err(S3Error::with_message(S3ErrorCode::NotImplemented, words));
        }
        let judge = self.judge(context, bucket.as_deref(), key);
        context.extensions_mut().insert(judge.clone());
        let action = ACTIONS.iter().find(|(known, _)| *known == operation).map_or(operation.as_str(), |(_, name)| name);
        let versioned = parameter(context, "versionId").is_some();
        let action = match action {
            "GetObject" | "DeleteObject" if versioned => format!("s3:{action}Version"),
            action => format!("s3:{action}"),
        };
        // What does not exist is said not to exist, to everybody: names of buckets are nobody's secret.
        if bucket.as_ref().is_some_and(|bucket| !self.versions.has_bucket(bucket)) && operation != "CreateBucket" {
            return Ok(());
        }
        if let Some(bucket) = &bucket
            && operation != "CreateBucket"
            && !self.versions.shows(bucket, None)
        {
            return Err(no_such_bucket());
        }
        match (&bucket, &object) {
            // Each of its keys is asked for by itself.
            _ if operation == "DeleteObjects" => return Ok(()),
            (None, _) => judge.may(&action, EVERY_BUCKET, None)?,
            (Some(bucket), None) => judge.may_bucket(&action, bucket)?,
            (Some(bucket), Some(key)) => judge.may_object(&action, bucket, key)?,
        }
        if let (Some(bucket), Some(key)) = (&bucket, &object)
            && operation.starts_with("PutObject")
        {
            for (name, action) in [("x-amz-tagging", "s3:PutObjectTagging"), ("x-amz-acl", "s3:PutObjectAcl")] {
                if header(context.headers(), name).is_some() && !operation.ends_with(action.trim_start_matches("s3:")) {
                    judge.may_object(action, bucket, key)?;
                }
            }
        }
        // Who copies reads.
        if let Some(source) = header(context.headers(), "x-amz-copy-source") {
            let (bucket, key) = source_of(source).ok_or_else(denied)?;
            self.judge(context, Some(&bucket), judge.0.key.clone()).may_object("s3:GetObject", &bucket, &key)?;
            if !self.versions.shows(&bucket, Some(&key)) {
                return Err(no_such_key());
            }
        }
        if let (Some(bucket), Some(key)) = (&bucket, &object)
            && matches!(operation.as_str(), "GetObject" | "HeadObject")
            && !self.versions.shows(bucket, Some(key))
        {
            // As where there is no such object.
            return judge.may_bucket("s3:ListBucket", bucket).and(Err(no_such_key()));
        }
        if self.behaviour.has_bucket_acls() { Ok(()) } else { refuse_acls(context) }
    }
}

/// `/BUCKET/KEY?versionId=…`, encoded.
fn source_of(header: &str) -> Option<(String, String)> {
    let path = header.split_once("?versionId=").map_or(header, |(path, _)| path);
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8().ok()?.into_owned();
    let (bucket, key) = decoded.trim_start_matches('/').split_once('/')?;
    Some((bucket.to_owned(), key.to_owned()))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn parameter(context: &S3AccessContext<'_>, name: &str) -> Option<String> {
    sigv4::parse_query(context.uri().query().unwrap_or_default())
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// As buckets of AWS do whose objects belong to the bucket's owner, which is how new ones are.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>
fn refuse_acls(context: &S3AccessContext<'_>) -> S3Result<()> {
    let acl = context.headers().get("x-amz-acl").map(http::HeaderValue::as_bytes);
    let grants = context.headers().keys().any(|name| name.as_str().starts_with("x-amz-grant-"));
    match context.s3_op().name() {
        "CreateBucket" if grants || acl.is_some_and(|acl| acl != b"private") => Err(S3Error::with_message(
            S3ErrorCode::InvalidBucketAclWithObjectOwnership,
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )),
        "CreateBucket" => Ok(()),
        operation
            if grants
                || matches!(operation, "PutBucketAcl" | "PutObjectAcl")
                || acl.is_some_and(|acl| acl != b"bucket-owner-full-control") =>
        {
            Err(S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copys_source_is_read_as_it_is_carried_out() {
        let of = |header: &str| source_of(header).map(|(bucket, key)| format!("{bucket} {key}"));
        assert_eq!(of("/b/a%20c").as_deref(), Some("b a c"));
        assert_eq!(of("b/x/y?versionId=1").as_deref(), Some("b x/y"));
        assert_eq!(of("b"), None);
    }
}
