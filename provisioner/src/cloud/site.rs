//! Where in the cloud the stack goes: network, zone and image, each as configured or by a plain rule.
//! An unknown one is refused with a list of what exists.

use aws_sdk_ec2::types::{Filter, Image, ImageState};

use crate::cloud::Cloud;
use crate::cloud::retry::{CloudError, found};
use crate::config::{CloudKind, Config};
use crate::error::Failure;
use crate::resources::{baked_image, volume};

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
    /// The image that the web VMs boot.
    pub image_id: String,
    /// The image that the database VM boots; another one only where either was baked.
    pub database_image_id: String,
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// Looks the place up.
pub async fn survey(cloud: &Cloud, config: &Config) -> Result<Site, Failure> {
    let cloud = &cloud.at_a_glance();
    let (subnets, volume, image_ids) =
        tokio::join!(subnets(cloud, config), volume::current(cloud), images(cloud, config));
    let volume = volume.map_err(|error| Failure::cloud("looking for the volume", &error))?;
    let wanted = config.cloud.zone.as_deref().or(volume.as_ref().and_then(|volume| volume.availability_zone()));
    let (vpc_id, subnets) = subnets?;
    let zone = wanted.unwrap_or(&subnets[0].0);
    let Some((_, subnet_id)) = subnets.iter().find(|(of, _)| of == zone) else {
        return Err(no_subnet_in(cloud, zone, &subnets).await);
    };
    let (image_id, database_image_id) = image_ids?;
    Ok(Site {
        vpc_id,
        zone: zone.to_owned(),
        subnet_id: subnet_id.clone(),
        subnets: subnets.iter().map(|(_, id)| id.clone()).collect(),
        image_id,
        database_image_id,
    })
}

/// What to say of a zone that has no subnet, or that is not there at all.
async fn no_subnet_in(cloud: &Cloud, zone: &str, subnets: &[(String, String)]) -> Failure {
    let answer = cloud.ec2.describe_availability_zones().send().await;
    let zones: Vec<&str> = answer.iter().flat_map(|a| a.availability_zones()).filter_map(|z| z.zone_name()).collect();
    if !zones.is_empty() && !zones.contains(&zone) {
        return Failure::usage(format!("the zone {zone} is unknown to this cloud"))
            .hint(format!("it has {}", zones.join(", ")));
    }
    let with: Vec<&str> = subnets.iter().map(|(of, _)| of.as_str()).collect();
    Failure::usage(format!("no subnet to use is in the zone {zone}"))
        .hint(format!("zones with one: {}; or add one to network.subnets", with.join(", ")))
}

/// The VPC, and a subnet of it in each zone that has one: (zone, id).
async fn subnets(cloud: &Cloud, config: &Config) -> Result<(String, Vec<(String, String)>), Failure> {
    let doing = "looking for the network";
    let vpc_id = vpc(cloud, config).await?;
    let request = cloud.ec2.describe_subnets().filters(filter("vpc-id", &vpc_id));
    let answer = request.send().await.map_err(|error| Failure::cloud(doing, &error.into()))?;
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
    Ok((vpc_id, subnets))
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

/// The images of the web VMs and of the database VM: as configured, else as baked, else one for both.
async fn images(cloud: &Cloud, config: &Config) -> Result<(String, String), Failure> {
    if config.cloud.image.is_some() {
        let image = image(cloud, config).await?;
        return Ok((image.clone(), image));
    }
    let baked = match config.cloud.kind {
        CloudKind::Aws => baked_image::list(cloud).await,
        // They are among those that are looked through for a base anyway.
        CloudKind::Local | CloudKind::Eucalyptus => own_images(cloud).await.map(|own| baked_image::among(cloud, own)),
    };
    let baked = baked.map_err(|error| Failure::cloud("looking for the image", &error))?;
    let (web, database) = (baked_image::newest(&baked, "web"), baked_image::newest(&baked, "database"));
    // An image baked off one kind of VM is none for the other, but the one under it is.
    let base = match web.iter().chain(&database).find_map(|image| baked_image::base_of(image)) {
        Some(base) => base.to_owned(),
        None => image(cloud, config).await?,
    };
    let id = |image: Option<&Image>| image.and_then(Image::image_id).map_or_else(|| base.clone(), str::to_owned);
    Ok((id(web), id(database)))
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
    let in_use = crate::resources::launch_template::image_in_use(cloud);
    let (images, in_use) = tokio::join!(candidates(cloud, config), in_use);
    let mut images = images.map_err(|error| Failure::cloud(doing, &error))?;
    // An image that came out since does not roll every VM: the one in use stays while it exists.
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

/// All images of the account.
async fn own_images(cloud: &Cloud) -> Result<Vec<Image>, CloudError> {
    let ask = async { Ok(cloud.ec2.describe_images().owners("self").send().await?.images().to_vec()) };
    cloud.once("own images", ask).await
}

/// Images that could be booted, oldest first: (date, id, name).
async fn candidates(cloud: &Cloud, config: &Config) -> Result<Vec<(String, String, String)>, CloudError> {
    let images = match config.cloud.kind {
        CloudKind::Aws => {
            let named = filter("name", "debian-12-amd64-*");
            let request = cloud.ec2.describe_images().owners(DEBIAN_OWNER).filters(named);
            request.filters(filter("state", "available")).send().await?.images().to_vec()
        }
        CloudKind::Local | CloudKind::Eucalyptus => own_images(cloud).await?,
    };
    let mut images: Vec<(String, String, String)> = images
        .iter()
        .filter(|image| image.state().is_none_or(|state| *state == ImageState::Available))
        // Eucalyptus lists kernels and ramdisks beside the machine images.
        .filter(|image| image.image_type().is_none_or(|kind| kind.as_str() == "machine"))
        .filter(|image| !baked_image::is_baked(image))
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
