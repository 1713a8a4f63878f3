//! Where in the cloud the stack goes: network, zone and image, each as configured or by a plain rule.
//! An unknown one is refused with a list of what exists.

use aws_sdk_ec2::types::{Filter, ImageState};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found};
use crate::config::{CloudKind, Config};
use crate::error::Failure;

/// Debian's account on AWS. https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm
const DEBIAN_OWNER: &str = "136693071363";

/// The place. Commands that only look do without one: then everything in it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The VPC.
    pub vpc_id: String,
    /// The zone of the volume and the database.
    pub zone: String,
    /// A subnet in that zone.
    pub subnet_id: String,
    /// Subnets of the load balancer and the group, one per zone.
    pub subnets: Vec<String>,
    /// The image both kinds of VM boot.
    pub image_id: String,
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// Looks the place up.
pub async fn survey(cloud: &Cloud, config: &Config, volume_zone: Option<&str>) -> Result<Site, Failure> {
    let (zone, image_id) = tokio::join!(network(cloud, config, volume_zone), image(cloud, config));
    let mut site = zone?;
    site.image_id = image_id?;
    Ok(site)
}

async fn network(cloud: &Cloud, config: &Config, volume_zone: Option<&str>) -> Result<Site, Failure> {
    let doing = "looking for the network";
    let fail = |error: CloudError| Failure::cloud(doing, &error);
    let zones = cloud.ec2.describe_availability_zones();
    let (zones, vpc_id) = tokio::join!(async { zones.send().await.map_err(CloudError::from) }, vpc(cloud, config));
    let zones = zones.map_err(fail)?;
    let zones: Vec<&str> = zones.availability_zones().iter().filter_map(|zone| zone.zone_name()).collect();
    let vpc_id = vpc_id?;
    let answer =
        cloud.ec2.describe_subnets().filters(filter("vpc-id", &vpc_id)).send().await.map_err(|e| fail(e.into()))?;
    let mut subnets: Vec<(String, String)> = answer
        .subnets()
        .iter()
        .filter(|subnet| {
            config.network.subnets.is_empty() && subnet.default_for_az().unwrap_or(true)
                || subnet.subnet_id().is_some_and(|id| config.network.subnets.iter().any(|wanted| wanted == id))
        })
        .filter_map(|subnet| Some((subnet.availability_zone()?.to_owned(), subnet.subnet_id()?.to_owned())))
        .collect();
    subnets.sort();
    subnets.dedup_by(|a, b| a.0 == b.0);
    if subnets.is_empty() {
        return Err(Failure::new(doing, format!("{vpc_id} has no subnet to use"))
            .hint("name subnets of it under network.subnets, or create default ones in your cloud"));
    }
    let zone = match config.cloud.zone.as_deref().or(volume_zone) {
        Some(zone) if !zones.contains(&zone) => {
            return Err(Failure::usage(format!("the zone {zone} is unknown to this cloud"))
                .hint(format!("it has {}", zones.join(", "))));
        }
        Some(zone) => zone.to_owned(),
        None => subnets[0].0.clone(),
    };
    let Some((_, subnet_id)) = subnets.iter().find(|(of, _)| *of == zone) else {
        let with: Vec<&str> = subnets.iter().map(|(of, _)| of.as_str()).collect();
        return Err(Failure::usage(format!("no subnet to use is in the zone {zone}"))
            .hint(format!("zones with one: {}; or add one to network.subnets", with.join(", "))));
    };
    Ok(Site {
        vpc_id,
        subnet_id: subnet_id.clone(),
        zone,
        subnets: subnets.into_iter().map(|(_, id)| id).collect(),
        image_id: String::new(),
    })
}

async fn vpc(cloud: &Cloud, config: &Config) -> Result<String, Failure> {
    let doing = "looking for the network";
    if let Some(vpc) = &config.network.vpc {
        let answer = cloud.ec2.describe_vpcs().vpc_ids(vpc).send().await.map_err(CloudError::from);
        return match found(answer).map_err(|e| Failure::cloud(doing, &e))? {
            Some(_) => Ok(vpc.clone()),
            None => Err(Failure::usage(format!("the VPC {vpc} is unknown to this cloud")).hint("see network.vpc")),
        };
    }
    let answer = cloud
        .ec2
        .describe_vpcs()
        .filters(filter("isDefault", "true"))
        .send()
        .await
        .map_err(|error| Failure::cloud(doing, &error.into()))?;
    answer.vpcs().first().and_then(|vpc| vpc.vpc_id()).map(str::to_owned).ok_or_else(|| {
        Failure::new(doing, "this cloud has no default VPC")
            .hint("create one (`aws ec2 create-default-vpc`), or name one: network.vpc and network.subnets")
    })
}

async fn image(cloud: &Cloud, config: &Config) -> Result<String, Failure> {
    let doing = "looking for the image";
    if let Some(image) = &config.cloud.image {
        let answer = cloud.ec2.describe_images().image_ids(image).send().await.map_err(CloudError::from);
        let known = match answer {
            // What can be no id is as unknown as an id that is not there.
            Err(error) if error.code() == "InvalidAMIID.Malformed" => None,
            answer => found(answer).map_err(|error| Failure::cloud(doing, &error))?,
        };
        if known.is_some_and(|answer| !answer.images().is_empty()) {
            return Ok(image.clone());
        }
        let others = candidates(cloud, config).await.unwrap_or_default();
        let others: Vec<String> = others.iter().rev().take(5).map(|(_, id, name)| format!("{id} ({name})")).collect();
        let hint = if others.is_empty() {
            "it shows no other of your own".to_owned()
        } else {
            format!("it has {}", others.join(", "))
        };
        return Err(Failure::usage(format!("the image {image} is unknown to this cloud")).hint(hint));
    }
    let mut images = candidates(cloud, config).await.map_err(|error| Failure::cloud(doing, &error))?;
    // An image that came out since does not roll every VM: the one in use stays while it exists.
    let in_use = crate::resources::launch_template::image_in_use(cloud).await;
    if let Some(in_use) = in_use.map_err(|error| Failure::cloud(doing, &error))?
        && images.iter().any(|(_, id, _)| *id == in_use)
    {
        return Ok(in_use);
    }
    images.pop().map(|(_, id, _)| id).ok_or_else(|| {
        Failure::new(doing, "this cloud has no image to boot")
            .hint("register one (local cloud: `localcloud image build`), or name one: cloud.image or --image")
    })
}

/// Images that could be booted, oldest first: (date, id, name).
async fn candidates(cloud: &Cloud, config: &Config) -> Result<Vec<(String, String, String)>, CloudError> {
    let request = match config.cloud.kind {
        CloudKind::Aws => cloud
            .ec2
            .describe_images()
            .owners(DEBIAN_OWNER)
            .filters(filter("name", "debian-12-amd64-*"))
            .filters(filter("state", "available")),
        CloudKind::Local | CloudKind::Eucalyptus => cloud.ec2.describe_images().owners("self"),
    };
    let answer = request.send().await?;
    let mut images: Vec<(String, String, String)> = answer
        .images()
        .iter()
        .filter(|image| image.state().is_none_or(|state| *state == ImageState::Available))
        // Eucalyptus lists kernels and ramdisks beside the machine images.
        .filter(|image| image.image_type().is_none_or(|kind| kind.as_str() == "machine"))
        .filter_map(|image| {
            Some((
                image.creation_date().unwrap_or_default().to_owned(),
                image.image_id()?.to_owned(),
                image.name().unwrap_or_default().to_owned(),
            ))
        })
        .collect();
    images.sort();
    Ok(images)
}
