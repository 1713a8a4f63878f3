//! Stands between the deployer and a cloud, S3 included: names and counts every call, and strikes one of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::calls::{Call, is_read};

/// How often a read may still answer as it did before the call that was struck by `Hidden`.
const STALE_LOOKS: u32 = 2;

/// What becomes of the call that is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// Fails without an effect, however often it is sent again.
    Before,
    /// Is carried out and never answered, however often it is sent again.
    After,
    /// Is carried out and not answered the first time.
    AfterOnce,
    /// Is refused as one of too many, however often it is sent again.
    Throttled,
    /// Is carried out, and for a while every look answers as if it had not been.
    Hidden,
    /// Is carried out, and the deployer ends before the answer.
    Killed,
    /// Is carried out, and answered when the test says so. No fault, and no part of the matrix.
    Held,
    /// Is refused as one more than the account may have. No part of the matrix, as nothing heals it.
    Quota,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Before, Self::After, Self::AfterOnce, Self::Throttled, Self::Hidden, Self::Killed];
}

/// Where calls go.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// The sockets of the local cloud's API and of its S3.
    Sockets { api: PathBuf, s3: PathBuf },
    /// A port of this machine.
    Port(u16),
}

/// Asked before a call goes on, told after it was carried out.
pub(crate) trait Hook: Send + Sync {
    fn before(&self, call: &Call, fault: Option<Fault>) -> impl Future<Output = ()> + Send;
    fn after(&self, call: &Call, status: StatusCode) -> impl Future<Output = ()> + Send;
    /// What else is asked is as far away.
    fn set_round_trip(&self, round_trip: Duration);
    /// Carries a call out in the cloud's place, if that is to be.
    fn instead(&self, call: &Call, body: &[u8]) -> impl Future<Output = Option<(StatusCode, String)>> + Send;
}

/// An answer, kept.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Default)]
struct State {
    /// Every call since the last `expect`, in order.
    calls: Vec<Call>,
    seen: HashMap<String, usize>,
    /// Those that the cloud itself refused.
    refused: BTreeSet<Call>,
    /// The attempts of one call have one id.
    attempts: HashMap<String, (Call, Option<Fault>, u32)>,
    strike: Option<(Call, Fault)>,
    struck: bool,
    under_way: usize,
    answers: HashMap<Vec<u8>, (String, Answer)>,
    stale: HashMap<Vec<u8>, (Answer, u32)>,
}

/// A connection to the cloud.
type Sender = SendRequest<Full<Bytes>>;

struct Shared<H> {
    upstream: Upstream,
    /// Those that wait for the next call, by their sockets: a new one for each call would cost as much as the call.
    kept: Mutex<HashMap<PathBuf, Vec<Sender>>>,
    hook: H,
    state: Mutex<State>,
    killed: Notify,
    released: Notify,
    idle: Notify,
    /// How long every call takes longer, as from far away.
    round_trip: Mutex<Duration>,
}

impl<H> Shared<H> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The proxy. Dropping it ends its listeners and connections.
pub(crate) struct FaultyProxy<H> {
    shared: Arc<Shared<H>>,
    _tasks: JoinSet<()>,
}

impl<H: Hook + 'static> FaultyProxy<H> {
    /// Listens on the two ports: calls on the first are counted and struck, those on the second pass.
    pub(crate) fn start(counted: TcpListener, plain: TcpListener, upstream: Upstream, hook: H) -> Self {
        let (killed, released, idle) = (Notify::new(), Notify::new(), Notify::new());
        let (state, round_trip) = Default::default();
        let kept = Mutex::default();
        let shared = Arc::new(Shared { upstream, kept, hook, state, killed, released, idle, round_trip });
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(counted, shared.clone(), true));
        tasks.spawn(listen(plain, shared.clone(), false));
        Self { shared, _tasks: tasks }
    }

    /// Begins to count anew, with one call to strike or none.
    pub(crate) fn expect(&self, strike: Option<(Call, Fault)>) {
        let mut state = self.shared.lock();
        *state = State { under_way: state.under_way, strike, ..State::default() };
    }

    /// The calls since then, and whether one was struck.
    pub(crate) fn calls(&self) -> (Vec<Call>, bool) {
        let state = self.shared.lock();
        (state.calls.clone(), state.struck)
    }

    /// The calls that were made again because the cloud had refused the one before: how often is its affair.
    pub(crate) fn repeated(&self) -> BTreeSet<Call> {
        let state = self.shared.lock();
        state.refused.iter().map(|call| Call { name: call.name.clone(), nth: call.nth + 1 }).collect()
    }

    /// Puts the cloud so far away.
    pub(crate) fn set_round_trip(&self, round_trip: Duration) {
        *self.shared.round_trip.lock().unwrap() = round_trip;
        self.shared.hook.set_round_trip(round_trip);
    }

    /// Answers the call that is held.
    pub(crate) fn release(&self) {
        self.shared.released.notify_waiters();
    }

    /// Returns when the deployer is to end, or stands in the call that is held.
    pub(crate) async fn killed(&self) {
        self.shared.killed.notified().await;
    }

    /// Returns when no call is under way, so that those of a killed run have had their effect.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.shared.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.shared.lock().under_way == 0 {
                return;
            }
            idle.await;
        }
    }
}

async fn listen<H: Hook + 'static>(listener: TcpListener, shared: Arc<Shared<H>>, counted: bool) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                stream.set_nodelay(true).ok();
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let shared = shared.clone();
                        // A call goes on when its client is gone, as in a cloud.
                        let task = tokio::spawn(async move { serve(&shared, request, counted).await });
                        async move { task.await.unwrap_or(Err(NoAnswer)) }
                    });
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

/// A call that is under way until this is dropped.
struct UnderWay<'a, H>(&'a Shared<H>);

impl<H> Drop for UnderWay<'_, H> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.idle.notify_waiters();
    }
}

async fn serve<H: Hook>(
    shared: &Shared<H>,
    request: Request<Incoming>,
    counted: bool,
) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let (parts, body) = request.into_parts();
    shared.lock().under_way += 1;
    let under_way = UnderWay(shared);
    let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
    if !counted {
        return forward(shared, parts, body).await.map(Answer::into_response);
    }
    let round_trip = *shared.round_trip.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    tokio::time::sleep(round_trip).await;
    let name =
        Call::name_of(&parts.method, parts.uri.path_and_query().map_or("/", |p| p.as_str()), &parts.headers, &body);
    let id = parts.headers.get("amz-sdk-invocation-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let question = [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body].concat();
    let (call, fault, attempt) = {
        let mut state = shared.lock();
        let (call, fault, attempt) = state.meet(&id, name);
        if let Some((answer, looks)) = state.stale.get_mut(&question)
            && *looks > 0
        {
            *looks -= 1;
            return Ok(answer.clone().into_response());
        }
        (call, fault, attempt)
    };
    let is_head = parts.method == Method::HEAD;
    match fault {
        Some(Fault::Before) => return Ok(refusal(&call, StatusCode::INTERNAL_SERVER_ERROR, "InternalError", is_head)),
        Some(Fault::Throttled) => {
            let code = if call.service() == "s3" { "SlowDown" } else { "Throttling" };
            return Ok(refusal(&call, StatusCode::SERVICE_UNAVAILABLE, code, is_head));
        }
        Some(Fault::Quota) => return Ok(refusal(&call, StatusCode::BAD_REQUEST, quota_code(&call), is_head)),
        _ => {}
    }
    shared.hook.before(&call, fault).await;
    if fault == Some(Fault::Hidden) && !is_read(call.action()) {
        let mut state = shared.lock();
        let before = state.answers.iter().filter(|(_, (service, _))| service == call.service());
        state.stale = before.map(|(question, (_, answer))| (question.clone(), (answer.clone(), STALE_LOOKS))).collect();
    }
    let answer = match shared.hook.instead(&call, &body).await {
        Some((status, text)) => Answer { status, headers: HeaderMap::new(), body: Bytes::from(text) },
        None => forward(shared, parts, body).await?,
    };
    shared.hook.after(&call, answer.status).await;
    if !answer.status.is_success() {
        shared.lock().refused.insert(call.clone());
    }
    if is_read(call.action()) {
        shared.lock().answers.insert(question, (call.service().to_owned(), answer.clone()));
    }
    match fault {
        Some(Fault::After) => Err(NoAnswer),
        Some(Fault::AfterOnce) if attempt == 1 => Err(NoAnswer),
        Some(Fault::Killed) => {
            shared.killed.notify_one();
            drop(under_way);
            std::future::pending().await
        }
        Some(Fault::Held) => {
            let released = shared.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            shared.killed.notify_one();
            released.await;
            Ok(answer.into_response())
        }
        _ => Ok(answer.into_response()),
    }
}

impl State {
    /// Notes a call, or another attempt of it, and tells what is to become of it.
    fn meet(&mut self, id: &str, name: String) -> (Call, Option<Fault>, u32) {
        if let Some((call, fault, attempts)) = self.attempts.get_mut(id) {
            *attempts += 1;
            return (call.clone(), *fault, *attempts);
        }
        let nth = self.seen.entry(name.clone()).or_default();
        *nth += 1;
        let call = Call { name, nth: *nth };
        let fault = self.strike.as_ref().filter(|(wanted, _)| *wanted == call).map(|(_, fault)| *fault);
        self.struck |= fault.is_some();
        self.calls.push(call.clone());
        self.attempts.insert(id.to_owned(), (call.clone(), fault, 1));
        (call, fault, 1)
    }
}

impl Answer {
    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// Headers that belong to one connection, or that the next one computes by itself.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let hop = HashSet::from(["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"]);
    headers.iter().filter(|(name, _)| !hop.contains(name.as_str())).map(|(n, v)| (n.clone(), v.clone())).collect()
}

async fn forward<H>(
    shared: &Shared<H>,
    mut parts: hyper::http::request::Parts,
    body: Bytes,
) -> Result<Answer, NoAnswer> {
    parts.headers.remove("expect");
    let request = Request::from_parts(parts, Full::new(body));
    match &shared.upstream {
        Upstream::Sockets { api, s3 } => {
            let socket = if request.uri().path().starts_with("/services/objectstorage") { s3 } else { api };
            let (answer, sender) = sent_by_kept(shared, socket, request).await?;
            kept(shared).entry(socket.clone()).or_default().push(sender);
            Ok(answer)
        }
        Upstream::Port(port) => {
            let stream = TcpStream::connect(("127.0.0.1", *port)).await.map_err(|_| NoAnswer)?;
            sent(&mut handshaken(stream).await?, request).await
        }
    }
}

fn kept<H>(shared: &Shared<H>) -> MutexGuard<'_, HashMap<PathBuf, Vec<Sender>>> {
    shared.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Sends over a kept connection, or over a new one where the cloud has closed all of those.
async fn sent_by_kept<H>(
    shared: &Shared<H>,
    socket: &Path,
    mut request: Request<Full<Bytes>>,
) -> Result<(Answer, Sender), NoAnswer> {
    loop {
        let Some(mut sender) = kept(shared).get_mut(socket).and_then(Vec::pop) else { break };
        if sender.ready().await.is_err() {
            continue;
        }
        match sender.try_send_request(request).await {
            Ok(response) => return Ok((whole(response).await?, sender)),
            // It is given back where nothing of it was sent.
            Err(mut error) => request = error.take_message().ok_or(NoAnswer)?,
        }
    }
    let stream = UnixStream::connect(socket).await.map_err(|_| NoAnswer)?;
    let mut sender = handshaken(stream).await?;
    Ok((sent(&mut sender, request).await?, sender))
}

/// The connection lives as long as its sender.
async fn handshaken<S>(stream: S) -> Result<Sender, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| NoAnswer)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn sent(sender: &mut Sender, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
    whole(sender.send_request(request).await.map_err(|_| NoAnswer)?).await
}

async fn whole(response: Response<Incoming>) -> Result<Answer, NoAnswer> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
    Ok(Answer { status: parts.status, headers: end_to_end(&parts.headers), body })
}

/// How each API says that an account has as many as it may have.
/// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_CreateLoadBalancer.html
/// https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
/// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
fn quota_code(call: &Call) -> &'static str {
    match (call.service(), call.action()) {
        ("elasticloadbalancing", _) => "TooManyLoadBalancers",
        ("s3", _) => "TooManyBuckets",
        ("ec2", "CreateVolume") => "VolumeLimitExceeded",
        ("ec2", "CreateSecurityGroup") => "SecurityGroupLimitExceeded",
        _ => "LimitExceeded",
    }
}

/// A refusal in the form of the call's API.
fn refusal(call: &Call, status: StatusCode, code: &str, is_head: bool) -> Response<Full<Bytes>> {
    let error = format!("<Code>{code}</Code><Message>a fault on purpose</Message>");
    let body = match call.service() {
        "ec2" => format!("<Response><Errors><Error>{error}</Error></Errors><RequestID>0</RequestID></Response>"),
        "s3" => format!("<Error>{error}<RequestId>0</RequestId></Error>"),
        _ => {
            format!("<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>0</RequestId></ErrorResponse>")
        }
    };
    let mut response = Response::new(Full::new(if is_head { Bytes::new() } else { Bytes::from(body) }));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/xml"));
    response
}
