//! The HTTP front: which service, whose signature, which codec; then decode, run, encode. One request is one transaction.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::Response,
};

use super::{
    cbor, compression, json, query,
    sigv4::{self, AuthError},
    value::{DecodeError, Node},
    xml::{self, Dialect},
};
use crate::{
    api::{
        authorization::{self, Call, Connection},
        error::ApiError,
        operation::{Caller, Observer, Service},
    },
    metrics::Metrics,
    model::{
        id,
        identity::{AccessKeyUse, Credential},
        site::Site,
        time::Timestamp,
    },
    store::{Store, StoreError},
};

/// The largest body of a request: RunInstances with 16 KiB of user-data is far below.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// Set by HAProxy; what a client sends under this name is removed there.
const SOURCE: &str = "x-localcloud-source";
/// A key's last use is told to this precision, so that not every request writes.
const USE_PRECISION_SECS: f64 = 60.0;

type Publish = Box<dyn Fn() + Send + Sync>;

/// What the front serves.
pub struct Front {
    store: Arc<Store>,
    services: Vec<Service>,
    observer: Arc<dyn Observer>,
    metrics: Arc<Metrics>,
    /// Tells S3 who may what.
    publish: Option<Publish>,
}

#[derive(Clone, Copy)]
enum Codec {
    Query,
    Json,
    Cbor,
}

impl Front {
    #[must_use]
    pub fn new(store: Arc<Store>, services: Vec<Service>, observer: Arc<dyn Observer>, metrics: Arc<Metrics>) -> Self {
        Self { store, services, observer, metrics, publish: None }
    }

    /// Runs after each action that may have changed who may what, and before it is answered: so that whoever is given a
    /// key can use it at once, with S3 too.
    #[must_use]
    pub fn publishing(mut self, publish: impl Fn() + Send + Sync + 'static) -> Self {
        self.publish = Some(Box::new(publish));
        self
    }

    /// The router of the API, to be served on a socket.
    pub fn router(self) -> Router {
        Router::new().fallback(handle).layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES)).with_state(Arc::new(self))
    }

    /// By path, as Eucalyptus has it; by the signature's scope, as an SDK without a path in its endpoint sends it.
    fn service(&self, path: &str, signing_name: Option<&str>) -> Option<&Service> {
        let by_path = path.strip_prefix("/services/").map(|rest| rest.trim_end_matches('/').to_ascii_lowercase());
        match by_path {
            Some(name) => {
                let first = name.split('/').next().unwrap_or_default().to_owned();
                self.services.iter().find(|service| service.paths.contains(&first.as_str()))
            }
            None => self.services.iter().find(|service| Some(service.signing_name) == signing_name),
        }
    }
}

async fn handle(
    State(front): State<Arc<Front>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request_id = id::uuid();
    // Store transactions wait for the disk; they must not hold up the sockets.
    let outcome = tokio::task::spawn_blocking(move || {
        let request = Request { method: &method, uri: &uri, headers: &headers, body: &body, request_id: &request_id };
        front.answer(&request)
    });
    outcome.await.unwrap_or_else(|error| {
        tracing::error!("answering a request: {error}");
        respond(500, "text/plain", b"internal error\n".to_vec(), "")
    })
}

struct Request<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a [u8],
    request_id: &'a str,
}

impl Request<'_> {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body without its compression. The signature is of the compressed one.
    fn content(&self) -> Result<Cow<'_, [u8]>, DecodeError> {
        compression::unpack(self.header("content-encoding"), self.body, BODY_LIMIT_BYTES)
    }

    fn connection(&self) -> Connection {
        Connection { source: self.header(SOURCE).parse().ok(), user_agent: self.header("user-agent").to_owned() }
    }

    /// Parameters of a query request: those of the URL and those of the form.
    fn parameters(&self, content: &[u8]) -> Vec<(String, String)> {
        let mut pairs = sigv4::parse_query(self.uri.query().unwrap_or_default());
        if self.method == Method::POST && self.header("content-type").starts_with("application/x-www-form-urlencoded") {
            pairs.extend(sigv4::parse_query(std::str::from_utf8(content).unwrap_or_default()));
        }
        pairs
    }
}

impl Front {
    fn answer(&self, request: &Request<'_>) -> Response {
        let scope = sigv4::signing_service(request.headers, request.uri.query().unwrap_or_default());
        let rpc_path = request.uri.path().rsplit_once("/service/").map(|(_, rest)| rest);
        let target = request.header("x-amz-target");
        let named_by_rpc = self.services.iter().find(|service| {
            service.rpc_name.is_some_and(|name| {
                target.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
                    || rpc_path.is_some_and(|rest| rest.split('/').next() == Some(name))
            })
        });
        let Some(service) = named_by_rpc.or_else(|| self.service(request.uri.path(), scope.as_deref())) else {
            let text = "There is no service at this path; see /services/{compute,AutoScaling,LoadBalancing,CloudWatch,Euare,Tokens}.\n";
            return respond(404, "text/plain", text.into(), request.request_id);
        };
        let content = request.content();
        let (codec, decoded) = match (rpc_path, target) {
            (Some(rest), _) if service.rpc_name.is_some() => (
                Codec::Cbor,
                content
                    .and_then(|content| cbor::to_node(&content))
                    .map(|node| (rest.rsplit('/').next().unwrap_or_default().to_owned(), node)),
            ),
            (_, target) if !target.is_empty() && service.rpc_name.is_some() => (
                Codec::Json,
                content
                    .and_then(|content| json::to_node(&content))
                    .map(|node| (target.rsplit('.').next().unwrap_or_default().to_owned(), node)),
            ),
            _ => (Codec::Query, content.and_then(|content| decode_query(request.parameters(&content)))),
        };
        let action = decoded.as_ref().map(|(action, _)| action.clone()).unwrap_or_default();
        let outcome = self.authenticate(request, service).and_then(|credential| {
            let (action, input) = decoded.map_err(|error| in_words_of(service, error))?;
            self.note_use(&credential, service);
            let output = self.run(request, service, &action, input, &credential)?;
            if let Some(publish) = &self.publish
                && changes_identities(service, &action)
            {
                publish();
            }
            Ok(output)
        });
        match outcome {
            Ok(output) => encode(service, codec, &action, &output, request.request_id),
            Err(error) => {
                tracing::debug!(service = service.signing_name, action, code = error.code, "{}", error.message);
                encode_error(service, codec, &error, request.request_id)
            }
        }
    }

    fn authenticate(&self, request: &Request<'_>, service: &Service) -> Result<Credential, ApiError> {
        let lookup = |access_key: &str| {
            self.store
                .read(|tx| tx.get::<Credential>(access_key).map(|credential| Credential::clone(&credential)))
                .ok()
                .flatten()
                // One that is switched off is to the world as if it were not there.
                .filter(|credential| !credential.inactive)
        };
        let verified = sigv4::verify(
            &sigv4::SignedRequest {
                method: request.method.as_str(),
                path: request.uri.path(),
                query: request.uri.query().unwrap_or_default(),
                headers: request.headers,
                body: request.body,
            },
            &|access_key| {
                lookup(access_key).map(|credential| sigv4::Secret {
                    secret_key: credential.secret_key,
                    session_token: credential.session_token,
                    expires_epoch_secs: credential.expires.map(|time| time.millis() / 1000),
                })
            },
            Timestamp::now().millis() / 1000,
        );
        match verified {
            Ok(verified) => lookup(&verified.access_key)
                .ok_or_else(|| refusal(service, &AuthError::UnknownAccessKey(verified.access_key.clone()))),
            Err(error) => Err(refusal(service, &error)),
        }
    }

    /// Remembers when and where a user's key was used. A failure to do so is no reason to refuse the request.
    fn note_use(&self, credential: &Credential, service: &Service) {
        if credential.user_name.is_none() || credential.expires.is_some() {
            return;
        }
        let now = Timestamp::now();
        let noted = self.store.transact(|tx| {
            let known = tx.get::<AccessKeyUse>(&credential.access_key);
            let is_recent = known.is_some_and(|known| {
                known.service == service.signing_name && known.time.age_secs(now) < USE_PRECISION_SECS
            });
            if !is_recent && let Some(site) = tx.get::<Site>(Site::KEY) {
                tx.put(AccessKeyUse {
                    access_key: credential.access_key.clone(),
                    time: now,
                    service: service.signing_name.to_owned(),
                    region: site.region.clone(),
                });
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = noted {
            tracing::warn!("noting the use of an access key: {error}");
        }
    }

    fn run(
        &self,
        request: &Request<'_>,
        service: &Service,
        action: &str,
        input: Node,
        credential: &Credential,
    ) -> Result<Node, ApiError> {
        let run = service.find(action)?;
        let connection = request.connection();
        self.store
            .transact(|tx| {
                let site = tx
                    .get::<Site>(Site::KEY)
                    .ok_or_else(|| ApiError::from(StoreError::Commit("the cloud has no site record".to_owned())))?;
                let call = Call {
                    signing_name: service.signing_name,
                    dialect: service.dialect,
                    action,
                    input: &input,
                    connection: &connection,
                };
                authorization::check(tx, &site, credential, &call, Timestamp::now())?;
                let caller = Caller {
                    account_id: credential.account_id.clone(),
                    principal_arn: credential.principal_arn.clone(),
                    principal_id: credential.principal_id.clone(),
                    access_key: credential.access_key.clone(),
                    region: site.region.clone(),
                    site: &site,
                    observer: &*self.observer,
                    metrics: &self.metrics,
                };
                run(input, tx, &caller)
            })
            .map_err(|error: ApiError| match (service.dialect, error.code.as_str()) {
                // The query services have another word for what EC2 calls an invalid or missing parameter.
                (Dialect::Query, "UnknownParameter" | "MissingParameter") => {
                    ApiError { code: "ValidationError".to_owned(), ..error }
                }
                _ => error,
            })
    }
}

/// Reading changes nothing, but for the tokens that STS gives.
fn changes_identities(service: &Service, action: &str) -> bool {
    match service.signing_name {
        "iam" => !action.starts_with("Get") && !action.starts_with("List"),
        "sts" => action != "GetCallerIdentity",
        _ => false,
    }
}

fn in_words_of(service: &Service, error: DecodeError) -> ApiError {
    let error = ApiError::from(error);
    match service.dialect {
        Dialect::Ec2 => error,
        Dialect::Query => ApiError { code: "ValidationError".to_owned(), ..error },
    }
}

/// The action and its parameters, without what belongs to the protocol and the signature.
fn decode_query(parameters: Vec<(String, String)>) -> Result<(String, Node), DecodeError> {
    const PROTOCOL: &[&str] = &[
        "Version",
        "AWSAccessKeyId",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
        "Timestamp",
        "Expires",
        "SecurityToken",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "Action",
    ];
    // CloudWatch has a parameter Timestamp of its own only below a list (`MetricData.member.1.Timestamp`).
    let action = parameters.iter().find(|(name, _)| name == "Action").map(|(_, value)| value.clone());
    let action = action.filter(|action| !action.is_empty()).ok_or_else(|| DecodeError::Missing("Action".to_owned()))?;
    let rest: BTreeMap<String, String> =
        parameters.into_iter().filter(|(name, _)| !PROTOCOL.contains(&name.as_str())).collect();
    Ok((action, query::to_node(rest)?))
}

/// Words and codes differ between EC2 and the others
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>,
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>).
fn refusal(service: &Service, error: &AuthError) -> ApiError {
    const NOT_VALIDATED: &str = "AWS was not able to validate the provided access credentials";
    let ec2 = service.dialect == Dialect::Ec2;
    let (code, status, words) = match error {
        AuthError::Incomplete(words) => ("IncompleteSignature", 400, words.as_str()),
        AuthError::Missing if ec2 => ("AuthFailure", 401, "The request must contain an access key and a signature"),
        AuthError::Missing => ("MissingAuthenticationToken", 403, "Request is missing Authentication Token"),
        AuthError::UnknownAccessKey(_) | AuthError::InvalidToken | AuthError::Mismatch if ec2 => {
            ("AuthFailure", 401, NOT_VALIDATED)
        }
        AuthError::UnknownAccessKey(_) | AuthError::InvalidToken => {
            ("InvalidClientTokenId", 403, "The security token included in the request is invalid.")
        }
        AuthError::Mismatch => (
            "SignatureDoesNotMatch",
            403,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ),
        AuthError::Skewed { .. } | AuthError::Expired | AuthError::TokenExpired if ec2 => {
            ("RequestExpired", 400, "Request has expired.")
        }
        AuthError::TokenExpired => ("ExpiredToken", 403, "The security token included in the request is expired"),
        AuthError::Expired => ("SignatureDoesNotMatch", 403, "Signature expired: the request is older than 15 minutes"),
        AuthError::Skewed { .. } => (
            "SignatureDoesNotMatch",
            403,
            "Signature not yet current: the request's time is more than 15 minutes ahead",
        ),
    };
    ApiError::new(code, words).status(status)
}

fn encode(service: &Service, codec: Codec, action: &str, output: &Node, request_id: &str) -> Response {
    match codec {
        Codec::Query => {
            let body = xml::response(service.dialect, service.namespace, action, output, request_id);
            respond(200, "text/xml;charset=UTF-8", body, request_id)
        }
        Codec::Json => respond(200, "application/x-amz-json-1.0", json::from_node(output), request_id),
        Codec::Cbor => cbor_response(200, cbor::from_node(output), request_id),
    }
}

fn encode_error(service: &Service, codec: Codec, error: &ApiError, request_id: &str) -> Response {
    if matches!(codec, Codec::Query) {
        let body =
            xml::error(service.dialect, service.namespace, &error.code, &error.message, error.is_senders(), request_id);
        return respond(error.status, "text/xml;charset=UTF-8", body, request_id);
    }
    let node = Node::Map(vec![
        ("__type".to_owned(), Node::Text(error.code.clone())),
        ("message".to_owned(), Node::Text(error.message.clone())),
    ]);
    let mut response = match codec {
        Codec::Cbor => cbor_response(error.status, cbor::from_node(&node), request_id),
        _ => respond(error.status, "application/x-amz-json-1.0", json::from_node(&node), request_id),
    };
    // Clients that ask for it by `x-amzn-query-mode` find the query protocol's code here.
    let fault = if error.is_senders() { "Sender" } else { "Receiver" };
    if let Ok(value) = format!("{};{fault}", error.code).parse() {
        response.headers_mut().insert("x-amzn-query-error", value);
    }
    response
}

fn cbor_response(status: u16, body: Vec<u8>, request_id: &str) -> Response {
    let mut response = respond(status, "application/cbor", body, request_id);
    response.headers_mut().insert("smithy-protocol", header::HeaderValue::from_static("rpc-v2-cbor"));
    response
}

fn respond(status: u16, content_type: &'static str, body: Vec<u8>, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    if let Ok(value) = request_id.parse() {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}
