//! "The gallery answers", asked as a browser would: through the load balancer, by its name. Nothing is
//! created here; to create it is to wait for it.

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey,
};
use crate::resources::keys;

/// The endpoint.
pub struct WebEndpoint;

/// The gallery's URL, once the load balancer has a name.
pub async fn url(cloud: &Cloud) -> CloudResult<Option<String>> {
    let request = cloud.elb.describe_load_balancers().load_balancer_names(&cloud.stack);
    let Some(answer) = found(request.send().await.map_err(CloudError::from))? else { return Ok(None) };
    let Some(description) = answer.load_balancer_descriptions().first() else { return Ok(None) };
    let listener = description.listener_descriptions().first().and_then(|description| description.listener());
    let (Some(name), Some(listener)) = (description.dns_name(), listener) else { return Ok(None) };
    Ok(Some(match listener.load_balancer_port() {
        80 => format!("http://{name}/imagecrud/"),
        port => format!("http://{name}:{port}/imagecrud/"),
    }))
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
        let Some(url) = url(cloud).await? else { return Ok(None) };
        let observed = Observed::ready(&url);
        Ok(Some(match cloud.http.get(&url).send().await {
            Ok(answer) if answer.status() == reqwest::StatusCode::OK => observed.detail("answers 200"),
            Ok(answer) => observed.phase(Phase::Pending).detail(format!("answers {}", answer.status())),
            Err(error) if error.is_timeout() => observed.phase(Phase::Pending).detail("does not answer in time"),
            Err(_) => observed.phase(Phase::Pending).detail("does not answer"),
        }))
    }

    async fn create(&self, _: &Cloud, _: &Outputs, _: &ClientToken) -> CloudResult<()> {
        Ok(())
    }

    async fn update(&self, _: &Cloud, _: &Outputs, _: &Observed, _: &Changes) -> CloudResult<()> {
        Ok(())
    }

    async fn delete(&self, _: &Cloud, _: &Observed) -> CloudResult<()> {
        Ok(())
    }
}
