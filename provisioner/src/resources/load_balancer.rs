//! The classic load balancer in front of the web VMs.

use async_trait::async_trait;
use aws_sdk_elasticloadbalancing::types::{
    ConnectionDraining, CrossZoneLoadBalancing, HealthCheck, Listener, LoadBalancerAttributes, LoadBalancerDescription,
    Tag,
};

use crate::cloud::retry::{CloudError, found, found_if_known, gone};
use crate::cloud::{Cloud, RESOURCE_TAG, STACK_TAG};
use crate::resource::{Changes, ClientToken, CloudResult, Desired, Observed, Outputs, Patience, Resource, ResourceKey};
use crate::resources::keys;

/// How long requests under way may still take on an instance that goes.
const DRAINING_SECS: i32 = 20;
/// Said by a tag where the cloud has the call but keeps draining off, as Eucalyptus LoadBalancer.java does.
const NO_DRAINING_TAG: &str = "imagecrud:no-draining";

/// The host name by which browsers know it, where that is not its own.
const HOST_TAG: &str = "imagecrud:host";

/// The host name that leads to the stack's load balancer, by its tag.
pub(crate) async fn host(cloud: &Cloud) -> CloudResult<Option<String>> {
    Ok(host_in(&tags(cloud).await?))
}

/// The load balancer as the cloud shows it.
pub(crate) async fn description(cloud: &Cloud) -> CloudResult<Option<LoadBalancerDescription>> {
    let ask = async {
        let request = cloud.elb.describe_load_balancers().load_balancer_names(&cloud.stack);
        let answer = found(request.send().await.map_err(CloudError::from))?;
        Ok(answer.and_then(|answer| answer.load_balancer_descriptions().first().cloned()))
    };
    cloud.once("load balancer", ask).await
}

async fn tags(cloud: &Cloud) -> CloudResult<Vec<Tag>> {
    let ask = async {
        let answer = cloud.elb.describe_tags().load_balancer_names(&cloud.stack).send().await;
        let answer = found_if_known(answer.map_err(CloudError::from))?;
        Ok(answer.iter().flat_map(|answer| answer.tag_descriptions()).flat_map(|d| d.tags()).cloned().collect())
    };
    cloud.once("load balancer's tags", ask).await
}

fn host_in(tags: &[Tag]) -> Option<String> {
    let tag = tags.iter().find(|tag| tag.key() == HOST_TAG)?;
    tag.value().filter(|host| !host.is_empty()).map(str::to_owned)
}

/// The load balancer.
pub struct LoadBalancer {
    /// Where it listens.
    pub port: u16,
    /// The certificate with which it speaks HTTPS.
    pub certificate: Option<String>,
    /// The host name in the certificate.
    pub host: Option<String>,
    /// Its subnets, one per zone.
    pub subnets: Vec<String>,
    /// Whether the cloud knows connection draining.
    pub draining: bool,
}

impl LoadBalancer {
    fn listener(&self) -> CloudResult<Listener> {
        Listener::builder()
            .protocol(if self.certificate.is_some() { "HTTPS" } else { "HTTP" })
            .set_ssl_certificate_id(self.certificate.clone())
            .load_balancer_port(i32::from(self.port))
            .instance_protocol("HTTP")
            .instance_port(80)
            .build()
            .map_err(|error| CloudError::other(error.to_string()))
    }

    /// For how long it drains, or that it does not; nothing where the cloud knows no draining.
    async fn draining_of(&self, cloud: &Cloud) -> CloudResult<Option<String>> {
        if !self.draining {
            return Ok(None);
        }
        let request = cloud.elb.describe_load_balancer_attributes().load_balancer_name(&cloud.stack);
        let answer = found(request.send().await.map_err(CloudError::from))?;
        let draining = answer
            .as_ref()
            .and_then(|answer| answer.load_balancer_attributes())
            .and_then(|attributes| attributes.connection_draining())
            .filter(|draining| draining.enabled());
        Ok(Some(draining.map_or_else(|| "off".to_owned(), |d| format!("{}s", d.timeout().unwrap_or_default()))))
    }

    async fn configure_health_check(&self, cloud: &Cloud, name: &str) -> CloudResult<()> {
        let check = HealthCheck::builder()
            .target("HTTP:80/healthz")
            .interval(5)
            .timeout(3)
            .healthy_threshold(2)
            .unhealthy_threshold(2)
            .build()
            .map_err(|error| CloudError::other(error.to_string()))?;
        cloud.elb.configure_health_check().load_balancer_name(name).health_check(check).send().await?;
        Ok(())
    }

    async fn configure_draining(&self, cloud: &Cloud, name: &str) -> CloudResult<()> {
        if !self.draining {
            return Ok(());
        }
        let draining = ConnectionDraining::builder().enabled(true).timeout(DRAINING_SECS).build();
        // Off by default in this API; zones with fewer web servers would have each of theirs work harder.
        let cross_zone = CrossZoneLoadBalancing::builder().enabled(true).build();
        let attributes = LoadBalancerAttributes::builder()
            .connection_draining(draining)
            .set_cross_zone_load_balancing((self.subnets.len() > 1).then_some(cross_zone))
            .build();
        let modify = cloud.elb.modify_load_balancer_attributes().load_balancer_name(name);
        modify.load_balancer_attributes(attributes).send().await?;
        let now = cloud.elb.describe_load_balancer_attributes().load_balancer_name(name).send().await?;
        let took = now.load_balancer_attributes().and_then(|a| a.connection_draining()).is_some_and(|d| d.enabled());
        if !took {
            let tag = tag(NO_DRAINING_TAG, "true")?;
            cloud.elb.add_tags().load_balancer_names(name).tags(tag).send().await?;
        }
        Ok(())
    }
}

fn tag(key: &str, value: &str) -> CloudResult<Tag> {
    Tag::builder().key(key).value(value).build().map_err(|error| CloudError::other(error.to_string()))
}

fn flatten_listeners(description: &LoadBalancerDescription) -> String {
    let mut listeners: Vec<String> = description
        .listener_descriptions()
        .iter()
        .filter_map(|description| description.listener())
        .map(|l| {
            let to = l.instance_protocol().unwrap_or(l.protocol());
            let certificate = l.ssl_certificate_id().map(|arn| format!(" by {arn}")).unwrap_or_default();
            format!("{} {} -> {to} {}{certificate}", l.protocol(), l.load_balancer_port(), l.instance_port())
        })
        .collect();
    listeners.sort();
    listeners.join(", ")
}

fn flatten_health_check(description: &LoadBalancerDescription) -> String {
    description.health_check().map_or_else(String::new, |check| {
        format!(
            "{} every {}s within {}s, {} up, {} down",
            check.target(),
            check.interval(),
            check.timeout(),
            check.healthy_threshold(),
            check.unhealthy_threshold()
        )
    })
}

#[async_trait]
impl Resource for LoadBalancer {
    fn key(&self) -> ResourceKey {
        keys::load_balancer()
    }

    fn needs(&self) -> Vec<ResourceKey> {
        vec![keys::security_group("load-balancer")]
    }

    fn desired(&self, known: &Outputs) -> Desired {
        let listener = match &self.certificate {
            Some(arn) => format!("HTTPS {} -> HTTP 80 by {arn}", self.port),
            None => format!("HTTP {} -> HTTP 80", self.port),
        };
        let desired = Desired::default()
            .with("listeners", listener)
            .with("health_check", "HTTP:80/healthz every 5s within 3s, 2 up, 2 down")
            .with_value("security_groups", known.id(&keys::security_group("load-balancer")));
        let desired = desired.with("host", self.host.as_deref().unwrap_or_default());
        if self.draining { desired.with("draining", format!("{DRAINING_SECS}s")) } else { desired }
    }

    fn patience(&self) -> Patience {
        Patience::secs(180, "the load balancer to appear", "is another program listening on its port?")
    }

    async fn find(&self, cloud: &Cloud) -> CloudResult<Option<Observed>> {
        let name = &cloud.stack;
        let (description, tags, draining) = tokio::join!(description(cloud), tags(cloud), self.draining_of(cloud));
        let Some(description) = &description? else { return Ok(None) };
        let tags = tags?;
        cloud.check_ours(
            &format!("the load balancer {name}"),
            tags.iter().map(|tag| (tag.key(), tag.value().unwrap_or_default())),
        )?;
        let mut groups = description.security_groups().to_vec();
        groups.sort();
        let dns_name = description.dns_name().unwrap_or_default();
        let port =
            description.listener_descriptions().first().and_then(|d| d.listener()).map(|l| l.load_balancer_port());
        let mut observed = Observed::ready(name)
            .with("listeners", flatten_listeners(description))
            .with("health_check", flatten_health_check(description))
            .with("security_groups", groups.join(", "))
            .with("dns_name", dns_name)
            .with("port", port.unwrap_or_default())
            .with("host", host_in(&tags).unwrap_or_default())
            .detail(dns_name);
        if let Some(draining) = draining?.filter(|_| !tags.iter().any(|tag| tag.key() == NO_DRAINING_TAG)) {
            observed = observed.with("draining", draining);
        }
        Ok(Some(observed))
    }

    async fn create(&self, cloud: &Cloud, known: &Outputs, _token: &ClientToken) -> CloudResult<()> {
        let name = &cloud.stack;
        let create = cloud
            .elb
            .create_load_balancer()
            .load_balancer_name(name)
            .listeners(self.listener()?)
            .set_subnets(Some(self.subnets.clone()))
            .security_groups(known.require(&keys::security_group("load-balancer"))?)
            .tags(tag(STACK_TAG, name)?)
            .tags(tag(RESOURCE_TAG, self.key().as_str())?);
        let create = match &self.host {
            Some(host) => create.tags(tag(HOST_TAG, host)?),
            None => create,
        };
        if let Err(error) = create.send().await.map_err(CloudError::from) {
            // Made by a run whose answer was lost: what differs is changed by the next plan.
            let ours = error.code() == "DuplicateLoadBalancerName" && self.find(cloud).await?.is_some();
            if !ours {
                return Err(error);
            }
        }
        let (checks, draining) =
            tokio::join!(self.configure_health_check(cloud, name), self.configure_draining(cloud, name));
        checks.and(draining)
    }

    async fn update(&self, cloud: &Cloud, known: &Outputs, observed: &Observed, changes: &Changes) -> CloudResult<()> {
        let name = &observed.id;
        let other_certificate = self.certificate.as_ref().filter(|_| {
            let same = format!("HTTPS {} -> HTTP 80 by ", self.port);
            changes.0.get("listeners").is_some_and(|(from, _)| from.starts_with(&same) && !from.contains(", "))
        });
        if let Some(arn) = other_certificate {
            let set = cloud.elb.set_load_balancer_listener_ssl_certificate().load_balancer_name(name);
            set.load_balancer_port(i32::from(self.port)).ssl_certificate_id(arn).send().await?;
        } else if changes.to("listeners").is_some() {
            if let Ok(port) = observed.attributes.get("port").parse::<i32>() {
                let delete = cloud.elb.delete_load_balancer_listeners().load_balancer_name(name);
                gone(delete.load_balancer_ports(port).send().await.map_err(CloudError::from))?;
            }
            let create = cloud.elb.create_load_balancer_listeners().load_balancer_name(name);
            create.listeners(self.listener()?).send().await?;
        }
        if changes.to("health_check").is_some() {
            self.configure_health_check(cloud, name).await?;
        }
        if changes.to("security_groups").is_some() {
            let apply = cloud.elb.apply_security_groups_to_load_balancer().load_balancer_name(name);
            apply.security_groups(known.require(&keys::security_group("load-balancer"))?).send().await?;
        }
        if changes.to("draining").is_some() {
            self.configure_draining(cloud, name).await?;
        }
        if changes.to("host").is_some() {
            // An empty one is none: so no right to remove tags is needed.
            let host = tag(HOST_TAG, self.host.as_deref().unwrap_or_default())?;
            cloud.elb.add_tags().load_balancer_names(name).tags(host).send().await?;
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Cloud, observed: &Observed) -> CloudResult<()> {
        gone(cloud.elb.delete_load_balancer().load_balancer_name(&observed.id).send().await.map_err(CloudError::from))
    }
}
