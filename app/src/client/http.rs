//! HTTP as all tools need it: `*.localhost` is this machine, refusals become sentences, and what may pass is tried again.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How often a request that may pass is sent again.
pub const RETRIES: u32 = 3;

/// A request that did not do what it should, as a sentence.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{doing}: the server answers {status}: {message}{}", hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
    Refused { doing: String, status: StatusCode, message: String, hint: Option<String> },
    #[error("{doing}: {cause}\nhint: {hint}")]
    Unreachable { doing: String, cause: String, hint: &'static str },
    #[error("{doing}: {problem}\nhint: {hint}")]
    Wrong { doing: String, problem: String, hint: &'static str },
}

impl RequestError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.as_u16(), 502..=504),
            Self::Unreachable { .. } => true,
            Self::Wrong { .. } => false,
        }
    }

    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The server's own error, in JSON.
#[derive(Deserialize)]
struct ErrorBody {
    error: String,
    hint: Option<String>,
}

/// Reads a URL, with a sentence where it is none.
pub fn parse_url(text: &str) -> anyhow::Result<Url> {
    const HINT: &str = "hint: give the whole address, for example http://HOST:8080/imagecrud/";
    let url = Url::parse(text).map_err(|error| anyhow::anyhow!("`{text}` is no URL: {error}\n{HINT}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(anyhow::anyhow!("`{text}` is no http URL\n{HINT}")),
    }
}

/// The URL of a picture: its last part is a name.
pub fn parse_picture_url(text: &str) -> anyhow::Result<Url> {
    let url = parse_url(text)?;
    let named = url.path_segments().and_then(|mut segments| segments.next_back()).is_some_and(|last| !last.is_empty());
    if named {
        Ok(url)
    } else {
        Err(anyhow::anyhow!(
            "`{text}` names no picture\nhint: its last part is the picture's name, for example http://HOST/imagecrud/cat"
        ))
    }
}

/// The URL of a gallery, always with its last slash.
pub fn parse_gallery_url(text: &str) -> anyhow::Result<Url> {
    let mut url = parse_url(text)?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// A client for the server of this URL.
pub fn client_for(url: &Url) -> anyhow::Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("imagecrud/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(LocalhostIsHere))
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(READ_LIMIT);
    if is_this_machine(url.host_str().unwrap_or_default()) {
        // No proxy can reach what only this machine calls by that name.
        builder = builder.no_proxy();
    }
    Ok(builder.build()?)
}

/// A request that changes something, with the token that the server may ask for. Never sent where bytes are fetched from: that
/// is another server.
pub fn changing(request: RequestBuilder) -> RequestBuilder {
    match std::env::var("IMAGECRUD_TOKEN") {
        Ok(token) if !token.trim().is_empty() => request.bearer_auth(token.trim()),
        _ => request,
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "[::1]"
}

/// Names below `localhost` are this machine (RFC 6761, section 6.3); not every system's resolver knows.
struct LocalhostIsHere;

impl Resolve for LocalhostIsHere {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_string();
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = if is_this_machine(&host) {
                vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]
            } else {
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect()
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Sends once, and turns everything but success into a sentence.
pub async fn send(doing: &str, request: RequestBuilder) -> Result<Response, RequestError> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(unreachable(doing, &error)),
    };
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let (message, hint) = match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => (body.error, body.hint),
        Err(_) => (status.canonical_reason().unwrap_or("it does not say why").to_string(), hint_for(status)),
    };
    Err(RequestError::Refused { doing: doing.into(), status, message, hint })
}

/// Where the answer comes from something else, a load balancer for example.
fn hint_for(status: StatusCode) -> Option<String> {
    let hint = match status.as_u16() {
        404 | 405 => "is this the address of an IMAGE CRUD gallery? It ends in /imagecrud/",
        413 => "the file is too large",
        502..=504 => "no server behind the load balancer is ready; try again in a few seconds",
        _ => return None,
    };
    Some(hint.into())
}

/// What a success took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Of pictures, in whichever direction.
    pub bytes: u64,
    pub retries: u32,
}

/// Does something, and up to three times again where that may help: a server that is being replaced, a connection that was cut.
/// It must be something that may be done twice. Answers how often it was done again, too.
pub async fn patiently<T, F>(mut work: impl FnMut() -> F) -> Result<(T, u32), RequestError>
where
    F: Future<Output = Result<T, RequestError>>,
{
    let mut retries = 0;
    loop {
        match work().await {
            Ok(done) => return Ok((done, retries)),
            Err(error) if error.may_pass() && retries < RETRIES => {
                retries += 1;
                let pause = rand::rng().random_range(150..450u64) << (retries - 1);
                tracing::debug!("{error}; trying again in {pause} ms");
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

pub fn unreachable(doing: &str, error: &reqwest::Error) -> RequestError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let hint = if error.is_connect() {
        "is the server up, and is this its address and port? `imagecrud-deploy status` shows both"
    } else if error.is_timeout() {
        "the server took too long; try again"
    } else {
        "the connection was cut; try again"
    };
    RequestError::Unreachable { doing: doing.into(), cause: cause.to_string(), hint }
}
