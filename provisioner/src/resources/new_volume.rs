//! CreateVolume, so that one volume comes of it also where the answer is lost: by a client token, and by looking where the
//! cloud knows none.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_sdk_ec2::operation::create_volume::builders::CreateVolumeFluentBuilder;
use aws_sdk_ec2::types::{Filter, Volume, VolumeState};

use crate::cloud::Cloud;
use crate::cloud::client_token::WithoutClientToken;
use crate::cloud::retry::CloudError;
use crate::pace;
use crate::resource::{ClientToken, CloudResult};

/// How often, and after what pause, a volume is looked for whose making was not answered.
const LOOKS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(500);

/// Sends it, and returns the volume's id.
pub(crate) async fn create(
    cloud: &Cloud,
    create: CreateVolumeFluentBuilder,
    token: &ClientToken,
) -> CloudResult<String> {
    if !cloud.capabilities.volume_tokens {
        return create_once(cloud, create).await;
    }
    let volume = create.client_token(&token.0).send().await?;
    Ok(volume.volume_id().unwrap_or_default().to_owned())
}

/// Never sent twice. Where no answer comes, the one volume is taken that fits, has no tags, and was not there before.
async fn create_once(cloud: &Cloud, create: CreateVolumeFluentBuilder) -> CloudResult<String> {
    let before: BTreeSet<String> = like(cloud, &create).await?.into_iter().collect();
    let once = aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled());
    let sent = create.clone().customize().config_override(once).interceptor(WithoutClientToken).send().await;
    let error = match sent.map_err(CloudError::from) {
        Ok(volume) => return Ok(volume.volume_id().unwrap_or_default().to_owned()),
        Err(error) if error.answer_lost() => error,
        Err(error) => return Err(error),
    };
    for _ in 0..LOOKS {
        let mut new = like(cloud, &create).await?;
        new.retain(|id| !before.contains(id));
        match new.as_slice() {
            [] => tokio::time::sleep(pace::pause(PAUSE)).await,
            [id] => return Ok(id.clone()),
            _ => {
                return Err(CloudError::with_hint(
                    format!("{error}; meanwhile {} came, of which one may be ours", new.join(" and ")),
                    "delete those of them that nobody knows, then run the command again",
                ));
            }
        }
    }
    Err(error)
}

/// The volumes without tags that are as one would be that is asked for.
async fn like(cloud: &Cloud, create: &CreateVolumeFluentBuilder) -> CloudResult<Vec<String>> {
    let wanted = create.as_input().clone().build().map_err(|error| CloudError::other(error.to_string()))?;
    let zone = Filter::builder().name("availability-zone").values(wanted.availability_zone().unwrap_or_default());
    let answer = cloud.ec2.describe_volumes().filters(zone.build()).send().await?;
    let fits = |volume: &&Volume| {
        let from = volume.snapshot_id().unwrap_or_default();
        volume.tags().is_empty()
            && volume.size() == wanted.size()
            && from == wanted.snapshot_id().unwrap_or_default()
            && matches!(volume.state(), Some(VolumeState::Creating | VolumeState::Available))
    };
    Ok(answer.volumes().iter().filter(fits).filter_map(|volume| volume.volume_id().map(str::to_owned)).collect())
}
