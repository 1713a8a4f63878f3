//! "The gallery answers", asked as a browser would: through the load balancer, by its name. Nothing is
//! created here; to create it is to wait for it.

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey,
};
use crate::resources::{auto_scaling_group, keys};

/// The endpoint.
pub struct WebEndpoint;

/// Requests for each web server behind the load balancer: it chooses, so that one each might miss one.
const REQUESTS_PER_SERVER: usize = 2;
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
    let request = cloud.elb.describe_load_balancers().load_balancer_names(&cloud.stack);
    let Some(answer) = found(request.send().await.map_err(CloudError::from))? else { return Ok(None) };
    let Some(description) = answer.load_balancer_descriptions().first() else { return Ok(None) };
    let listener = description.listener_descriptions().first().and_then(|description| description.listener());
    let (Some(name), Some(listener)) = (description.dns_name(), listener) else { return Ok(None) };
    let url = match listener.load_balancer_port() {
        80 => format!("http://{name}/imagecrud/"),
        port => format!("http://{name}:{port}/imagecrud/"),
    };
    Ok(Some(Gallery { url, servers: description.instances().len() }))
}

/// What the gallery does other than answer 200, if anything.
async fn trouble(cloud: &Cloud, url: &str) -> Option<String> {
    match cloud.http.get(url).send().await {
        Ok(answer) if answer.status() == reqwest::StatusCode::OK => None,
        Ok(answer) => Some(format!("answers {}", answer.status())),
        Err(error) if error.is_timeout() => Some("does not answer in time".to_owned()),
        Err(_) => Some("does not answer".to_owned()),
    }
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
        for answered in 0..requests {
            if let Some(mut trouble) = trouble(cloud, &url).await {
                if answered > 0 {
                    trouble.push_str(", but not always: some of the web servers are not ready");
                }
                return Ok(Some(Observed::ready(&url).phase(Phase::Pending).detail(trouble)));
            }
        }
        Ok(Some(Observed::ready(&url).detail("answers 200")))
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
