//! `bake`: an image off a running VM, with all that it has installed. Later launches of its kind boot that image.

use std::time::Duration;

use aws_sdk_ec2::types::{Image, ImageState, Instance};

use crate::cli::{BakeOptions, Baked};
use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;
use crate::commands::Session;
use crate::error::{Exit, Failure, Left};
use crate::poll::{Look, Poll};
use crate::report::table;
use crate::resources::auto_scaling_group::{current, in_service_at_load_balancer, serves};
use crate::resources::{baked_image, database_instance};

const LIMIT: Duration = Duration::from_secs(3600);

/// Runs it.
pub async fn run(session: Session, options: BakeOptions) -> Result<Exit, Failure> {
    let doing = "baking an image";
    let fail = |error: CloudError| Failure::cloud(doing, &error);
    let clients = session.running_clients(doing).await?;
    let _lock = session.lock().await?;
    let (cloud, _state) = session.connect(clients).await?;
    if options.list {
        return list(&session, &cloud).await;
    }
    if let Some(id) = &options.delete {
        return delete(&session, &cloud, id).await;
    }
    let Some(kind) = options.kind else { return Err(Failure::usage("name the kind of VM: web or db")) };
    let instance = match kind {
        Baked::Web => web_server(&cloud).await.map_err(fail)?,
        Baked::Db => database_instance::current(&cloud).await.map_err(fail)?,
    };
    let Some(instance) = instance.filter(|instance| database_instance::state_of(instance) == "running") else {
        return Err(Failure::new(doing, "no such VM is running").hint("`imagecrud-deploy up` brings the stack up"));
    };
    let image = instance.image_id().unwrap_or_default();
    // Baked on a baked one: the image under both is what an image for the other kind of VM is made of.
    let baked = baked_image::list(&cloud).await.map_err(fail)?;
    let under = baked.iter().find(|baked| baked.image_id() == Some(image)).and_then(baked_image::base_of);
    let base = under.unwrap_or(image).to_owned();
    let id = instance.instance_id().unwrap_or_default();
    let name = format!("{}-{}-{}", cloud.stack, kind.of(), jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let step = session.report.step(baked_image::key(kind.of()).as_str(), &format!("an image off {id}"));
    let image_id = match baked_image::create(&cloud, kind.of(), &name, &instance, &base).await {
        Ok(image_id) => image_id,
        Err(error) => {
            step.failed();
            return Err(fail(error));
        }
    };
    let poll = Poll {
        session: &session,
        step,
        doing,
        subject: &image_id,
        state: "available",
        limit: LIMIT,
        left: Left::Something(image_id.clone()),
        hint: "`imagecrud-deploy bake --list` shows it",
    };
    let image = poll.until(|| async {
        let image = baked_image::find(&cloud, &image_id).await?;
        Ok(match (image.as_ref().and_then(|image| image.state()), image.as_ref()) {
            (Some(ImageState::Available), Some(image)) => Look::Done(image.clone()),
            (Some(ImageState::Failed | ImageState::Error | ImageState::Invalid), image) => {
                let why = image.and_then(|image| image.state_reason()).and_then(|reason| reason.message());
                Look::Never(why.unwrap_or("the cloud gave no reason").to_owned())
            }
            _ => Look::NotYet(String::new()),
        })
    });
    let image = image.await?;
    baked_image::tag_snapshots(&cloud, kind.of(), &image).await.map_err(fail)?;
    session.report.data(&image_id);
    session.report.say(match kind {
        Baked::Web => "next: `imagecrud-deploy up` moves the web servers on to it, one after the other",
        Baked::Db => "the next database VM that is launched boots it",
    });
    Ok(Exit::Done)
}

async fn web_server(cloud: &Cloud) -> Result<Option<Instance>, CloudError> {
    let (group, serving) = tokio::join!(current(cloud), in_service_at_load_balancer(cloud));
    let (Some(group), serving) = (group?, serving?) else { return Ok(None) };
    let Some(id) = group.instances().iter().find(|i| serves(i, &serving)).and_then(|i| i.instance_id()) else {
        return Ok(None);
    };
    let answer = cloud.ec2.describe_instances().instance_ids(id).send().await?;
    Ok(answer.reservations().first().and_then(|r| r.instances().first()).cloned())
}

async fn list(session: &Session, cloud: &Cloud) -> Result<Exit, Failure> {
    let images = baked_image::list(cloud).await.map_err(|error| Failure::cloud("listing the images", &error))?;
    let row = |image: &Image| {
        vec![
            image.image_id().unwrap_or_default().to_owned(),
            baked_image::kind_of(image).to_owned(),
            image.creation_date().unwrap_or_default().to_owned(),
            image.state().map_or("", ImageState::as_str).to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = images.iter().rev().map(row).collect();
    session.report.data(table(&["ID", "KIND", "CREATED", "STATE"], &rows));
    Ok(Exit::Done)
}

async fn delete(session: &Session, cloud: &Cloud, id: &str) -> Result<Exit, Failure> {
    let doing = format!("deleting the image {id}");
    let fail = |error: CloudError| Failure::cloud(&doing, &error);
    let ours = baked_image::list(cloud).await.map_err(fail)?;
    if !ours.iter().any(|image| image.image_id() == Some(id)) {
        return Err(Failure::usage(format!("{id} was not baked off a VM of the stack {}", cloud.stack))
            .hint("`imagecrud-deploy bake --list` lists what was"));
    }
    baked_image::delete(cloud, id).await.map_err(fail)?;
    session.report.say(format!("{id} is deleted; the next `imagecrud-deploy up` goes back to the image before it"));
    Ok(Exit::Done)
}
