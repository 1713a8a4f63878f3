//! The HTTP front: which service, whose signature, which codec; then decode, run, encode. One request is one transaction.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::Response,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{
    cbor, json,
    listener::Unanswered,
    query,
    sigv4::{self, AuthError},
    value::{DecodeError, Node},
    xml::{self, Dialect},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Observer, Service},
    },
    behaviour::Behaviour,
    faults::{self, Faults, Verdict, plan::Effect},
    metrics::Metrics,
    model::{id, identity::Credential, site::Site, time::Timestamp},
    store::{Store, StoreError},
};

/// The largest body of a request: RunInstances with 16 KiB of user-data is far below.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// How long a body may take: over loopback the largest takes no second.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// What the front serves.
pub struct Front {
    store: Arc<Store>,
    services: Vec<Service>,
    observer: Arc<dyn Observer>,
    metrics: Arc<Metrics>,
    behaviour: Behaviour,
    faults: Faults,
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
        Self { store, services, observer, metrics, behaviour: Behaviour::default(), faults: Faults::default() }
    }

    /// Lacks what that cloud lacks.
    #[must_use]
    pub fn like(self, behaviour: Behaviour) -> Self {
        Self { behaviour, ..self }
    }

    /// Counts calls there, and fails as it is said there.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// The router of the API, to be served on a socket.
    pub fn router(self) -> Router {
        Router::new().fallback(handle).with_state(Arc::new(self))
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

async fn handle(State(front): State<Arc<Front>>, request: axum::extract::Request) -> Response {
    let (head, body) = request.into_parts();
    let mut request = Request {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body: Bytes::new(),
        request_id: id::uuid(),
    };
    match tokio::time::timeout(BODY_LIMIT, body_of(body)).await {
        Ok(Ok(body)) => request.body = body,
        Ok(Err(refusal)) => return front.refuse_body(&request, refusal),
        Err(_) => return front.refuse_body(&request, body_refusal(408, "RequestTimeout", "did not come in time")),
    }
    let request_id = request.request_id.clone();
    // Store transactions wait for the disk; they must not hold up the sockets.
    let opening = Arc::clone(&front);
    let opened = tokio::task::spawn_blocking(move || match opening.open(request) {
        Ok(call) if call.verdict.delay.is_zero() => Err(Box::new(opening.answer(call))),
        opened => opened,
    })
    .await;
    let answered = match opened {
        Ok(Ok(call)) => {
            tokio::time::sleep(call.verdict.delay).await;
            tokio::task::spawn_blocking(move || front.answer(call)).await
        }
        Ok(Err(response)) => Ok(*response),
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(|error| {
        tracing::error!("answering a request: {error}");
        respond(500, "text/plain", b"internal error\n".to_vec(), &request_id)
    })
}

/// All of a body, if it is not too large.
async fn body_of(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(body_refusal(413, "RequestEntityTooLarge", &format!("is larger than {BODY_LIMIT_BYTES} bytes")))
        }
        Err(_) => Err(body_refusal(400, "IncompleteBody", "is incomplete, or not as its headers say")),
    }
}

fn body_refusal(status: u16, code: &str, why: &str) -> ApiError {
    ApiError::new(code, format!("The body of the request {why}")).status(status)
}

struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    request_id: String,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Parameters of a query request: those of the URL and those of the form.
    fn parameters(&self) -> Result<Vec<(String, String)>, DecodeError> {
        let mut pairs = sigv4::parse_query(self.query());
        if self.method == Method::POST && self.header("content-type").starts_with("application/x-www-form-urlencoded") {
            let form = std::str::from_utf8(&self.body)
                .map_err(|_| DecodeError::Invalid("the body of the request is not UTF-8".to_owned()))?;
            pairs.extend(sigv4::parse_query(form));
        }
        Ok(pairs)
    }
}

/// For whom a request is, and how it is written. It says nothing yet of whether the request may be.
struct Address<'a> {
    service: &'a Service,
    codec: Codec,
    /// In the other codecs than query, whose action is a parameter.
    action: Option<&'a str>,
}

/// A call that somebody may make, and what is to become of it.
struct Call {
    service: usize,
    codec: Codec,
    action: String,
    input: Node,
    credential: Credential,
    verdict: Verdict,
    request_id: String,
}

impl Front {
    fn address<'a>(&'a self, request: &'a Request) -> Option<Address<'a>> {
        let (rpc_path, target) = if self.behaviour.has_rpc() {
            let rpc_path = request.uri.path().rsplit_once("/service/").map(|(_, rest)| rest);
            (rpc_path, request.header("x-amz-target"))
        } else {
            (None, "")
        };
        let named_by_rpc = self.services.iter().find(|service| {
            service.rpc_name.is_some_and(|name| {
                target.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
                    || rpc_path.is_some_and(|rest| rest.split('/').next() == Some(name))
            })
        });
        let scope = sigv4::signing_service(&request.headers, request.query());
        let service = named_by_rpc.or_else(|| self.service(request.uri.path(), scope.as_deref()))?;
        let speaks_rpc = service.rpc_name.is_some();
        Some(match rpc_path {
            Some(rest) if speaks_rpc => {
                Address { service, codec: Codec::Cbor, action: Some(rest.rsplit('/').next().unwrap_or_default()) }
            }
            _ if speaks_rpc && !target.is_empty() => {
                Address { service, codec: Codec::Json, action: Some(target.rsplit('.').next().unwrap_or_default()) }
            }
            _ => Address { service, codec: Codec::Query, action: None },
        })
    }

    /// Who calls what: without a valid signature nothing of the body is looked at.
    fn open(&self, request: Request) -> Result<Call, Box<Response>> {
        let Some(Address { service, codec, action }) = self.address(&request) else {
            return Err(Box::new(no_service(&request.request_id)));
        };
        let refused = |error: &ApiError| Box::new(encode_error(service, codec, error, &request.request_id));
        let credential = self.authenticate(&request, service).map_err(|error| refused(&error))?;
        let decoded = match codec {
            Codec::Query => request.parameters().and_then(decode_query).map_err(|error| in_words_of(service, error)),
            Codec::Json => json::to_node(&request.body).map_err(|error| not_serialised(&error)),
            Codec::Cbor => cbor::to_node(&request.body).map_err(|error| not_serialised(&error)),
        };
        let (action, input) = match (decoded, action) {
            (Ok(input), Some(action)) => (action.to_owned(), input),
            (Ok(mut input), None) => {
                (take_action(&mut input).map_err(|error| refused(&in_words_of(service, error)))?, input)
            }
            (Err(error), _) => return Err(refused(&error)),
        };
        let verdict = self.faults.meet(service.signing_name, &action, &request.request_id);
        let service = self.services.iter().position(|known| std::ptr::eq(known, service)).unwrap_or_default();
        Ok(Call { service, codec, action, input, credential, verdict, request_id: request.request_id.clone() })
    }

    fn answer(&self, call: Call) -> Response {
        let service = &self.services[call.service];
        let (codec, action, request_id, verdict) =
            (call.codec, call.action.clone(), call.request_id.clone(), call.verdict.clone());
        let failure = verdict.failure;
        let outcome = match failure {
            None | Some(Effect::DropAfter) => self.carry_out(service, call),
            Some(effect) => Err(injected(service, effect)),
        };
        let said = outcome.as_ref().map_or_else(|error| error.code.as_str(), |_| "OK");
        self.faults.note(verdict.number, said);
        let mut response = match outcome {
            Ok(output) => encode(service, codec, &action, &output, &request_id),
            Err(error) => {
                tracing::debug!(service = service.signing_name, action, code = error.code, "{}", error.message);
                encode_error(service, codec, &error, &request_id)
            }
        };
        if matches!(failure, Some(Effect::DropBefore | Effect::DropAfter)) {
            response.extensions_mut().insert(Unanswered);
        }
        response
    }

    fn carry_out(&self, service: &Service, call: Call) -> Result<Node, ApiError> {
        let (name, action, verdict) = (service.signing_name, call.action.as_str(), &call.verdict);
        let words = |error| in_query_words(service, error);
        let input = self.behaviour.take(name, action, call.input).map_err(words)?;
        self.faults.check_sight(name, action, &input)?;
        let kept = if Faults::keeps_input(verdict) { input.clone() } else { Node::Null };
        let mut output = self.run(service, action, input, &call.credential).map_err(words)?;
        self.faults.veil(name, action, &kept, &mut output, verdict);
        Ok(output)
    }

    /// A request whose body cannot be had is refused in its service's words, where it names one.
    fn refuse_body(&self, request: &Request, refusal: ApiError) -> Response {
        let mut response = match self.address(request) {
            Some(Address { service, codec, .. }) => encode_error(service, codec, &refusal, &request.request_id),
            None => no_service(&request.request_id),
        };
        // What is left of the body would be read as the next request.
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        response
    }

    fn authenticate(&self, request: &Request, service: &Service) -> Result<Credential, ApiError> {
        let lookup = |access_key: &str| {
            self.store
                .read(|tx| tx.get::<Credential>(access_key).map(|credential| Credential::clone(&credential)))
                .ok()
                .flatten()
        };
        let verified = sigv4::verify(
            &sigv4::SignedRequest {
                method: request.method.as_str(),
                path: request.uri.path(),
                query: request.query(),
                headers: &request.headers,
                body: &request.body,
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

    fn run(&self, service: &Service, action: &str, input: Node, credential: &Credential) -> Result<Node, ApiError> {
        let run = service.find(action)?;
        self.store.transact(|tx| {
            let site = tx
                .get::<Site>(Site::KEY)
                .ok_or_else(|| ApiError::from(StoreError::Commit("the cloud has no site record".to_owned())))?;
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
    }
}

fn no_service(request_id: &str) -> Response {
    let text = "There is no service at this path; see /services/{compute,AutoScaling,LoadBalancing,CloudWatch,Euare,Tokens}.\n";
    respond(404, "text/plain", text.into(), request_id)
}

/// The query services have another word for what EC2 calls an unknown or missing parameter.
fn in_query_words(service: &Service, error: ApiError) -> ApiError {
    match (service.dialect, error.code.as_str()) {
        (Dialect::Query, "UnknownParameter" | "MissingParameter") => {
            ApiError { code: "ValidationError".to_owned(), ..error }
        }
        _ => error,
    }
}

/// A body that is no JSON, or no CBOR.
fn not_serialised(error: &DecodeError) -> ApiError {
    ApiError::new("SerializationException", error.to_string())
}

/// What a fault on purpose says. Codes and statuses differ between EC2 and the others
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>,
/// <https://docs.aws.amazon.com/AutoScaling/latest/APIReference/CommonErrors.html>).
fn injected(service: &Service, effect: Effect) -> ApiError {
    let ec2 = service.dialect == Dialect::Ec2;
    match effect {
        Effect::Throttle if ec2 => ApiError::new("RequestLimitExceeded", "Request limit exceeded.").status(503),
        Effect::Throttle => ApiError::new("Throttling", "Rate exceeded"),
        Effect::Unavailable => {
            let code = if ec2 { "Unavailable" } else { "ServiceUnavailable" };
            ApiError::new(code, "The service is unavailable. Please try again shortly.").status(503)
        }
        Effect::InsufficientCapacity => faults::insufficient_capacity(),
        Effect::DependencyViolation => match service.signing_name {
            "iam" => {
                ApiError::new("DeleteConflict", "Cannot delete entity: something still depends on it.").status(409)
            }
            "autoscaling" => ApiError::new("ResourceInUse", "The resource is in use: something still depends on it."),
            _ => ApiError::new("DependencyViolation", "The resource has a dependent object and cannot be deleted."),
        },
        Effect::ExpiredToken => refusal(service, &AuthError::TokenExpired),
        Effect::InternalError | Effect::DropBefore | Effect::DropAfter | Effect::Delay | Effect::Hide => {
            let code = if ec2 { "InternalError" } else { "InternalFailure" };
            ApiError::new(code, "An internal error has occurred.").status(500)
        }
    }
}

fn in_words_of(service: &Service, error: DecodeError) -> ApiError {
    let error = ApiError::from(error);
    match service.dialect {
        Dialect::Ec2 => error,
        Dialect::Query => ApiError { code: "ValidationError".to_owned(), ..error },
    }
}

/// The parameters, without what belongs to the protocol and the signature; the action is still among them.
fn decode_query(parameters: Vec<(String, String)>) -> Result<Node, DecodeError> {
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
    ];
    // CloudWatch has a parameter Timestamp of its own only below a list (`MetricData.member.1.Timestamp`).
    query::to_node(parameters.into_iter().filter(|(name, _)| !PROTOCOL.contains(&name.as_str())))
}

fn take_action(input: &mut Node) -> Result<String, DecodeError> {
    if let Node::Map(entries) = input
        && let Some(at) = entries.iter().position(|(name, _)| name == "Action")
        && let (_, Node::Text(action)) = entries.remove(at)
        && !action.is_empty()
    {
        return Ok(action);
    }
    Err(DecodeError::Missing("Action".to_owned()))
}

/// Words and codes differ between EC2 and the others
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>,
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html>).
fn refusal(service: &Service, error: &AuthError) -> ApiError {
    let ec2 = service.dialect == Dialect::Ec2;
    let (code, status) = match error {
        AuthError::Missing => {
            (if ec2 { "AuthFailure" } else { "MissingAuthenticationToken" }, if ec2 { 401 } else { 403 })
        }
        AuthError::Incomplete(_) => ("IncompleteSignature", 400),
        AuthError::UnknownAccessKey(_) => {
            (if ec2 { "AuthFailure" } else { "InvalidClientTokenId" }, if ec2 { 401 } else { 403 })
        }
        AuthError::Mismatch => (if ec2 { "AuthFailure" } else { "SignatureDoesNotMatch" }, if ec2 { 401 } else { 403 }),
        AuthError::Skewed { .. } | AuthError::Expired => ("RequestExpired", 400),
        AuthError::InvalidToken => (if ec2 { "AuthFailure" } else { "InvalidClientTokenId" }, 403),
        AuthError::TokenExpired => (if ec2 { "RequestExpired" } else { "ExpiredToken" }, 400),
    };
    ApiError::new(code, error.to_string()).status(status)
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
