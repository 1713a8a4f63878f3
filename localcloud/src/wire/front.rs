//! The HTTP front: which service, whose signature, which codec; then decode, run, encode. One request is one transaction.

/// Answers as they are written: query, JSON or CBOR.
mod answer;
/// Why a request comes to nothing, in the words of its service.
mod refusal;

use std::{borrow::Cow, cell::RefCell, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::Response,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use self::{
    answer::{Codec, encode, encode_error, no_service, respond},
    refusal::{in_query_words, injected, not_serialised, refusal},
};
use super::{
    cbor, compression, json,
    listener::Unanswered,
    query,
    sigv4::{self, AuthError},
    value::{DecodeError, Node},
};
use crate::{
    api::{
        authorization,
        error::ApiError,
        operation::{Caller, Observer, Service},
    },
    behaviour::Behaviour,
    faults::{Faults, Verdict, plan::Effect},
    metrics::Metrics,
    model::{
        id,
        identity::{AccessKeyUse, Credential},
        site::Site,
        time::Timestamp,
    },
    policy::Connection,
    store::{Store, StoreError},
};

/// The largest body of a request: RunInstances with 16 KiB of user-data is far below.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// How long a body may take: over loopback the largest takes no second.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// A key's last use is told to this precision, so that not every request writes.
const USE_PRECISION_SECS: f64 = 60.0;

type Publish = Box<dyn Fn() + Send + Sync>;

/// What the front serves.
pub struct Front {
    store: Arc<Store>,
    services: Vec<Service>,
    observer: Arc<dyn Observer>,
    metrics: Arc<Metrics>,
    behaviour: Behaviour,
    faults: Faults,
    /// Tells S3 who may what.
    publish: Option<Publish>,
}

impl Front {
    #[must_use]
    pub fn new(store: Arc<Store>, services: Vec<Service>, observer: Arc<dyn Observer>, metrics: Arc<Metrics>) -> Self {
        let (behaviour, faults) = (Behaviour::default(), Faults::default());
        Self { store, services, observer, metrics, behaviour, faults, publish: None }
    }

    /// Runs after each action that may have changed who may what, and before it is answered: so that whoever is given a
    /// key can use it at once, with S3 too.
    #[must_use]
    pub fn publishing(self, publish: impl Fn() + Send + Sync + 'static) -> Self {
        Self { publish: Some(Box::new(publish)), ..self }
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
    let broken = |()| respond(500, "text/plain", b"internal error\n".to_vec(), &request_id);
    // On the spot, though a commit waits for the disk: to hand a request to another thread and back takes longer than that.
    let call = match unharmed(|| front.open(request)) {
        Ok(Ok(call)) => call,
        Ok(Err(response)) => return *response,
        Err(panicked) => return broken(panicked),
    };
    if !call.verdict.delay.is_zero() {
        tokio::time::sleep(call.verdict.delay).await;
    }
    unharmed(|| front.answer(call)).unwrap_or_else(broken)
}

/// A request whose handling panics costs nobody but itself; what it was about to write is dropped with its transaction.
fn unharmed<T>(work: impl FnOnce() -> T) -> Result<T, ()> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        tracing::error!("answering a request: {}", text.unwrap_or("it panicked"));
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

    /// The body without its compression. The signature is of the compressed one.
    fn content(&self) -> Result<Cow<'_, [u8]>, DecodeError> {
        compression::unpack(self.header("content-encoding"), &self.body, BODY_LIMIT_BYTES)
    }

    fn connection(&self) -> Connection {
        Connection {
            source: self.header(Connection::SOURCE).parse().ok(),
            user_agent: self.header("user-agent").to_owned(),
        }
    }

    /// Parameters of a query request: those of the URL and those of the form.
    fn parameters(&self, content: &[u8]) -> Result<Vec<(String, String)>, DecodeError> {
        let mut pairs = sigv4::parse_query(self.query());
        if self.method == Method::POST && self.header("content-type").starts_with("application/x-www-form-urlencoded") {
            let form = std::str::from_utf8(content)
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
    credential: Arc<Credential>,
    verdict: Verdict,
    connection: Connection,
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
        let unreadable = |error| service.words_of("", error);
        let content = request.content().map_err(|error| refused(&unreadable(error)))?;
        let decoded = match codec {
            Codec::Query => request.parameters(&content).and_then(decode_query).map_err(unreadable),
            Codec::Json => json::to_node(&content).map_err(|error| not_serialised(&error)),
            Codec::Cbor => cbor::to_node(&content).map_err(|error| not_serialised(&error)),
        };
        let (action, input) = match (decoded, action) {
            (Ok(input), Some(action)) => (action.to_owned(), input),
            (Ok(mut input), None) => (take_action(&mut input).map_err(|error| refused(&error))?, input),
            (Err(error), _) => return Err(refused(&error)),
        };
        let verdict = self.faults.meet(service.signing_name, &action, &request.request_id);
        self.note_use(&credential, service);
        let service = self.services.iter().position(|known| std::ptr::eq(known, service)).unwrap_or_default();
        let (connection, request_id) = (request.connection(), request.request_id.clone());
        Ok(Call { service, codec, action, input, credential, verdict, connection, request_id })
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
        let taken = self.behaviour.take(name, action, call.input);
        let input = taken.map_err(|error| in_query_words(service, error))?;
        self.faults.check_sight(name, action, &input)?;
        let kept = if Faults::keeps_input(verdict) { input.clone() } else { Node::Null };
        let mut output = self.run(service, action, input, &call.credential, &call.connection)?;
        if let Some(publish) = &self.publish
            && changes_identities(service, action)
        {
            publish();
        }
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

    fn authenticate(&self, request: &Request, service: &Service) -> Result<Arc<Credential>, ApiError> {
        // Looked up once: who it is must not be another than whose secret was held against the signature.
        let found = RefCell::new(None);
        let lookup = |access_key: &str| {
            let known = self.store.read(|tx| tx.get::<Credential>(access_key)).ok().flatten();
            // One that is switched off is to the world as if it were not there.
            let known = known.filter(|credential| !credential.inactive)?;
            let secret = sigv4::Secret {
                secret_key: known.secret_key.clone(),
                session_token: known.session_token.clone(),
                expires_epoch_secs: known.expires.map(|time| time.millis() / 1000),
            };
            found.replace(Some(known));
            Some(secret)
        };
        let signed = sigv4::SignedRequest {
            method: request.method.as_str(),
            path: request.uri.path(),
            query: request.query(),
            headers: &request.headers,
            body: &request.body,
        };
        if !self.behaviour.has_signature_version_2() && sigv4::is_version_2(&signed) {
            return Err(refusal(service, &AuthError::Version2));
        }
        let verified = sigv4::verify(&signed, &lookup, Timestamp::now().millis() / 1000);
        let access_key = verified.map_err(|error| refusal(service, &error))?.access_key;
        found.into_inner().ok_or_else(|| refusal(service, &AuthError::UnknownAccessKey(access_key)))
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
        service: &Service,
        action: &str,
        input: Node,
        credential: &Credential,
        connection: &Connection,
    ) -> Result<Node, ApiError> {
        let run = service.find(action)?;
        self.store.transact(|tx| {
            let site = tx
                .get::<Site>(Site::KEY)
                .ok_or_else(|| ApiError::from(StoreError::Commit("the cloud has no site record".to_owned())))?;
            let call = authorization::Call {
                signing_name: service.signing_name,
                dialect: service.dialect,
                action,
                input: &input,
                connection,
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

fn take_action(input: &mut Node) -> Result<String, ApiError> {
    if let Node::Map(entries) = input
        && let Some(at) = entries.iter().position(|(name, _)| name == "Action")
        && let (_, Node::Text(action)) = entries.remove(at)
        && !action.is_empty()
    {
        return Ok(action);
    }
    Err(ApiError::missing_action())
}
