//! "The database serves": the database VM says so itself, by writing its address and instance id into the
//! bucket. Nothing is created here; to create it is to wait for it.

use async_trait::async_trait;

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found};
use crate::resource::{
    Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Phase, Resource, ResourceKey, Retention,
};
use crate::resources::{database_instance, keys};

const OBJECT_KEY: &str = "config/database.json";

/// The endpoint.
pub struct DatabaseEndpoint;

/// What the VM wrote: its id and the URL.
async fn published(cloud: &Cloud) -> CloudResult<Option<(String, String)>> {
    let get = cloud.s3.get_object().bucket(cloud.bucket()).key(OBJECT_KEY).send().await;
    let Some(object) = found(get.map_err(CloudError::from))? else { return Ok(None) };
    let body = object.body.collect().await.map_err(|error| CloudError::Transport(error.to_string()))?;
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&body.into_bytes()) else { return Ok(None) };
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    Ok(Some((text("instance_id"), text("url"))))
}

/// Host and port of a URL, without its password.
fn host_of(url: &str) -> String {
    let rest = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[async_trait]
impl Resource for DatabaseEndpoint {
    fn key(&self) -> ResourceKey {
        keys::database_endpoint()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::bucket(), keys::database_instance(), keys::volume_attachment()]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        Desired::default().with_value("instance", known.id(&keys::database_instance()))
    }

    fn is_awaited(&self) -> bool {
        true
    }

    fn retention(&self) -> Retention {
        Retention::Data
    }

    /// Not with the VM: that writes its address once, at its boot, and a teardown that is cut off leaves it running.
    fn goes_with(&self) -> Option<ResourceKey> {
        Some(keys::bucket())
    }

    fn patience(&self) -> Patience {
        Patience::secs(
            600,
            "MariaDB to serve",
            "its console output tells more; terminate the VM and run `up` again for a new one on the same volume",
        )
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let (published, instance) = tokio::join!(published(cloud), database_instance::current(cloud));
        let (Some((writer, url)), Some(instance)) = (published?, instance?) else { return Ok(None) };
        let instance_id = instance.instance_id().unwrap_or_default();
        Ok((writer == instance_id)
            .then(|| Observed::ready(OBJECT_KEY).with("instance", instance_id).detail(host_of(&url))))
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

    /// Stops the wait where the VM we wait for is gone.
    async fn poll(&self, cloud: &Cloud, known: &Outputs) -> CloudResult<Option<Observed>> {
        let instance_id = known.require(&keys::database_instance())?;
        let (published, death) = tokio::join!(published(cloud), database_instance::death(cloud, instance_id));
        if let Some((writer, url)) = published?
            && writer == instance_id
        {
            return Ok(Some(Observed::ready(OBJECT_KEY).with("instance", instance_id).detail(host_of(&url))));
        }
        let pending = Observed::ready(OBJECT_KEY).phase(Phase::Pending);
        Ok(Some(match death? {
            None => pending.detail("the VM runs"),
            Some(why) => pending.phase(Phase::Failed).detail(why),
        }))
    }

    async fn explain(&self, cloud: &Cloud) -> Option<String> {
        let instance = database_instance::current(cloud).await.ok()??;
        super::console_tail(cloud, instance.instance_id()?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        assert_eq!(host_of("mysql://euca:p@ss@10.77.0.12:3306/eucapp"), "10.77.0.12:3306");
        assert_eq!(host_of(""), "");
    }
}
