//! AttachVolume and DetachVolume.

use serde::Deserialize;

use super::AttachmentItem;
use crate::{
    api::{
        ec2::{dry_run, identifiers},
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        instance::InstanceState,
        time::Timestamp,
        volume::{Attachment, AttachmentState, Volume, VolumeState},
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AttachVolume.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachVolume {
    volume_id: String,
    instance_id: String,
    device: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

/// `/dev/vdf`, `/dev/sdf`, `/dev/xvdf`, with or without `/dev/`. The first letter is the root's.
pub(in super::super) fn device_name(device: &str) -> Result<String, ApiError> {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let letters = ["xvd", "vd", "sd"].iter().find_map(|prefix| name.strip_prefix(prefix));
    match letters {
        Some(letters)
            if (1..=2).contains(&letters.len())
                && letters.bytes().all(|byte| byte.is_ascii_lowercase())
                && letters != "a" =>
        {
            Ok(format!("/dev/{name}"))
        }
        _ => Err(ApiError::invalid_parameter_value(format!(
            "Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name: use such as /dev/vdf."
        ))),
    }
}

impl Operation for AttachVolume {
    const ACTION: &'static str = "AttachVolume";
    type Output = AttachmentItem;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<AttachmentItem, ApiError> {
        let volume = identifiers::volume(tx, &self.volume_id)?;
        let instance = identifiers::instance(tx, &self.instance_id)?;
        let device = device_name(&self.device)?;
        if let Some(attachment) = &volume.attachment {
            return Err(ApiError::new(
                "VolumeInUse",
                format!("{} is already attached to {}", volume.id, attachment.instance_id),
            ));
        }
        if volume.state != VolumeState::Available {
            return Err(ApiError::new("IncorrectState", format!("The volume '{}' is not 'available'.", volume.id)));
        }
        if !matches!(instance.state, InstanceState::Running | InstanceState::Stopped) {
            let (_, state) = instance.state.wire();
            return Err(ApiError::new(
                "IncorrectState",
                format!("Instance '{}' is not 'running': it is {state}.", instance.id),
            ));
        }
        if volume.zone != instance.zone {
            return Err(ApiError::new(
                "InvalidVolume.ZoneMismatch",
                format!(
                    "The volume '{}' is not in the same availability zone as instance '{}': {} and {}",
                    volume.id, instance.id, volume.zone, instance.zone
                ),
            ));
        }
        let taken = tx.list::<Volume>().iter().any(|other| {
            other
                .attachment
                .as_ref()
                .is_some_and(|attachment| attachment.instance_id == instance.id && attachment.device == device)
        });
        if taken {
            return Err(ApiError::invalid_parameter_value(format!(
                "Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
            )));
        }
        dry_run::check(self.dry_run)?;
        let attachment = Attachment {
            instance_id: instance.id.clone(),
            device,
            state: AttachmentState::Attaching,
            since: Timestamp::now(),
            delete_on_termination: false,
            force: false,
        };
        let item = AttachmentItem::new(&volume.id, &attachment);
        tx.update::<Volume>(&volume.id, |volume| {
            volume.state = VolumeState::InUse;
            volume.attachment = Some(attachment);
        });
        Ok(item)
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachVolume.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachVolume {
    volume_id: String,
    #[serde(default)]
    instance_id: Option<String>,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    force: Option<bool>,
    #[serde(default)]
    dry_run: Option<bool>,
}

impl Operation for DetachVolume {
    const ACTION: &'static str = "DetachVolume";
    type Output = AttachmentItem;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<AttachmentItem, ApiError> {
        let volume = identifiers::volume(tx, &self.volume_id)?;
        if let Some(id) = &self.instance_id {
            identifiers::instance(tx, id)?;
        }
        let Some(attachment) = &volume.attachment else {
            return Err(ApiError::new(
                "IncorrectState",
                format!("Volume '{}' is in the 'available' state.", volume.id),
            ));
        };
        let elsewhere = self.instance_id.as_ref().is_some_and(|id| *id != attachment.instance_id);
        if elsewhere
            || self.device.as_ref().is_some_and(|device| device_name(device).ok().as_ref() != Some(&attachment.device))
        {
            return Err(ApiError::new(
                "InvalidAttachment.NotFound",
                format!(
                    "The volume '{}' is attached to instance '{}' as device '{}'.",
                    volume.id, attachment.instance_id, attachment.device
                ),
            ));
        }
        dry_run::check(self.dry_run)?;
        let detaching = Attachment {
            state: AttachmentState::Detaching,
            force: attachment.force || self.force == Some(true),
            ..attachment.clone()
        };
        let item = AttachmentItem::new(&volume.id, &detaching);
        tx.update::<Volume>(&volume.id, |volume| volume.attachment = Some(detaching));
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_of_all_kinds_pass_except_the_roots() {
        for (asked, name) in [("/dev/vdf", "/dev/vdf"), ("sdf", "/dev/sdf"), ("/dev/xvdba", "/dev/xvdba")] {
            assert_eq!(device_name(asked).expect(asked), name);
        }
        for asked in ["/dev/sda", "/dev/vd", "/dev/vdf1", "/dev/../vdf", "vdF", ""] {
            assert!(device_name(asked).is_err(), "{asked}");
        }
    }
}
