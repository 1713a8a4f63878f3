//! "The gallery answers", asked as a browser would: through the load balancer, by its name. Nothing is
//! created here; to create it is to wait for it.

use std::time::Instant;

use async_trait::async_trait;
use futures::future::join_all;

use crate::cloud::Cloud;
use crate::cloud::clients::lead;
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey,
};
use crate::resources::{auto_scaling_group, keys, load_balancer};

/// The endpoint.
pub struct WebEndpoint;

/// Requests for each web server behind the load balancer: it chooses, so that one each might miss one.
const REQUESTS_PER_SERVER: usize = 2;
/// What a request for the gallery is called among the calls; it is none of the cloud's APIs.
pub(crate) const ASKED: &str = "GET the gallery";
/// A large group is not asked through.
const MOST_REQUESTS: usize = 20;

/// The gallery as the load balancer shows it.
struct Gallery {
    url: String,
    /// How many web servers are registered.
    servers: usize,
}

/// The gallery's URL, once the load balancer has a name.
pub async fn url(cloud: &Cloud) -> CloudResult<Option<String>> {
    Ok(gallery(cloud).await?.map(|gallery| gallery.url))
}

async fn gallery(cloud: &Cloud) -> CloudResult<Option<Gallery>> {
    let Some(description) = load_balancer::description(cloud).await? else { return Ok(None) };
    let listener = description.listener_descriptions().first().and_then(|description| description.listener());
    let (Some(name), Some(listener)) = (description.dns_name(), listener) else { return Ok(None) };
    let secure = listener.protocol().eq_ignore_ascii_case("https");
    let host = if secure { load_balancer::host(cloud).await? } else { None };
    if let Some(host) = &host {
        // Whoever owns the name may lead it here later: what answers is this balancer.
        lead(host, name);
    }
    let host = host.as_deref().unwrap_or(name);
    let url = match (secure, listener.load_balancer_port()) {
        (false, 80) => format!("http://{host}/imagecrud/"),
        (false, port) => format!("http://{host}:{port}/imagecrud/"),
        (true, 443) => format!("https://{host}/imagecrud/"),
        (true, port) => format!("https://{host}:{port}/imagecrud/"),
    };
    Ok(Some(Gallery { url, servers: description.instances().len() }))
}

/// One answer of the gallery.
pub(crate) struct Answer {
    /// What it is other than a 200.
    pub(crate) trouble: Option<String>,
    /// The instance id of the web VM that gave it, where it tells.
    pub(crate) served_by: Option<String>,
}

impl Answer {
    pub(crate) fn is_ok(&self) -> bool {
        self.trouble.is_none()
    }
}

/// Asks the gallery once.
pub(crate) async fn ask(cloud: &Cloud, url: &str) -> Answer {
    let begun = Instant::now();
    let answer = cloud.http.get(url).send().await;
    cloud.calls.note(ASKED, begun);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let trouble = if error.is_timeout() { "does not answer in time" } else { "does not answer" };
            return Answer { trouble: Some(trouble.to_owned()), served_by: None };
        }
    };
    let served_by = answer.headers().get("x-served-by").and_then(|value| value.to_str().ok());
    let served_by = served_by.and_then(|value| value.split('/').next()).map(str::to_owned);
    let status = answer.status();
    let trouble = (status != reqwest::StatusCode::OK).then(|| format!("answers {status}"));
    Answer { trouble, served_by }
}

#[async_trait]
impl Resource for WebEndpoint {
    fn key(&self) -> ResourceKey {
        keys::web_endpoint()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::load_balancer(), keys::database_endpoint()]
    }

    fn desired(&self, _known: &Outputs) -> Desired {
        Desired::default()
    }

    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::load_balancer())
    }

    fn is_awaited(&self) -> bool {
        true
    }

    fn patience(&self) -> Patience {
        Patience::secs(
            900,
            "the gallery to answer",
            "`imagecrud-deploy status` shows how far the instances are; /readyz of one says what it lacks",
        )
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let Some(Gallery { url, servers }) = gallery(cloud).await? else { return Ok(None) };
        let requests = (servers * REQUESTS_PER_SERVER).clamp(1, MOST_REQUESTS);
        let answers = join_all((0..requests).map(|_| ask(cloud, &url))).await;
        let right = answers.iter().filter(|answer| answer.is_ok()).count();
        let Some(mut trouble) = answers.into_iter().find_map(|answer| answer.trouble) else {
            return Ok(Some(Observed::ready(&url).detail("answers 200")));
        };
        if right > 0 {
            trouble.push_str(", but not always: some of the web servers are not ready");
        }
        Ok(Some(Observed::ready(&url).phase(Phase::Pending).detail(trouble)))
    }

    async fn create(&self, _: &Cloud, _: &Outputs, _: &ClientToken) -> CloudResult<()> {
        Ok(())
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    async fn explain(&self, cloud: &Cloud) -> Option<String> {
        auto_scaling_group::explain(cloud).await
    }

    async fn delete(&self, _: &Cloud, _: &Observed) -> CloudResult<()> {
        Ok(())
    }
}
