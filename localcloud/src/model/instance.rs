//! Instances, their states and their network identity.
//!
//! ```text
//! pending → running ⇄ stopping → stopped
//!    └────────┴───────────┴─────────┴──→ shutting-down → terminated → (forgotten after an hour)
//! ```

use std::{net::Ipv4Addr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    model::{site::Zone, tag::Tags, time::Timestamp},
    store::Record,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    pub reservation_id: String,
    /// Place among those launched by the same request.
    pub launch_index: u32,
    pub image_id: String,
    pub instance_type: String,
    pub state: InstanceState,
    pub launched: Timestamp,
    /// Its zone, and by that its subnet.
    #[serde(default = "Zone::first_name")]
    pub zone: String,
    pub private_ip: Ipv4Addr,
    /// Within 127.0.0.0/8, given back at termination.
    pub public_ip: Ipv4Addr,
    pub mac_address: String,
    pub key_name: Option<String>,
    pub security_group_ids: Vec<String>,
    /// Name of the instance profile.
    pub instance_profile: Option<String>,
    /// As decoded from the request; up to 16 KiB.
    #[serde(default)]
    pub user_data: Option<Vec<u8>>,
    #[serde(default)]
    pub client_token: Option<String>,
    /// Digest of the request's parameters, by which a repeated client token is told from a misused one.
    #[serde(default)]
    pub request_digest: Option<String>,
    /// `required` refuses IMDSv1.
    pub metadata_tokens_required: bool,
    /// `terminate` or `stop`, when the guest shuts itself down.
    pub shutdown_terminates: bool,
    /// When it last changed state.
    pub state_changed: Timestamp,
    /// AWS's StateReason: code and message, such as `Client.UserInitiatedShutdown`.
    #[serde(default)]
    pub state_reason: Option<(String, String)>,
    /// Asked for by RebootInstances and not yet carried out.
    #[serde(default)]
    pub reboot_requested: bool,
    /// Detailed monitoring asked for.
    #[serde(default)]
    pub monitoring: bool,
    #[serde(default)]
    pub attributes: InstanceAttributes,
    #[serde(default)]
    pub tags: Tags,
    /// Why its last step is being tried again.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// What most instances leave as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceAttributes {
    /// The tree that it boots from: its image may be deregistered meanwhile.
    pub image_root: Option<PathBuf>,
    /// TerminateInstances is refused.
    pub disable_api_termination: bool,
    /// StopInstances is refused.
    pub disable_api_stop: bool,
    pub source_dest_check_off: bool,
    pub ebs_optimized: bool,
    /// `iip-assoc-…`, and since when the instance has its profile.
    pub profile_association: Option<(String, Timestamp)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    /// Code and name (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html>).
    #[must_use]
    pub fn wire(self) -> (u16, &'static str) {
        match self {
            Self::Pending => (0, "pending"),
            Self::Running => (16, "running"),
            Self::ShuttingDown => (32, "shutting-down"),
            Self::Terminated => (48, "terminated"),
            Self::Stopping => (64, "stopping"),
            Self::Stopped => (80, "stopped"),
        }
    }

    /// Whether it holds addresses and may hold volumes.
    #[must_use]
    pub fn is_alive(self) -> bool {
        !matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

impl Record for Instance {
    const KIND: &'static str = "instance";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexed(&self) -> Vec<(&'static str, String)> {
        let presence = if self.state == InstanceState::Terminated { Self::REMEMBERED } else { Self::PRESENT };
        let mut entries = vec![
            (Self::BY_PRESENCE, presence.to_owned()),
            (Self::BY_ADDRESS_BLOCK, Self::address_block(self.private_ip)),
        ];
        entries.extend(self.client_token.iter().map(|token| (Self::BY_CLIENT_TOKEN, token.clone())));
        entries
    }
}

impl Instance {
    pub const BY_CLIENT_TOKEN: &'static str = "client-token";
    /// Whether it is still there, or terminated and only remembered.
    pub const BY_PRESENCE: &'static str = "presence";
    pub const PRESENT: &'static str = "present";
    pub const REMEMBERED: &'static str = "remembered";
    /// The 256 addresses of which its own is one.
    pub const BY_ADDRESS_BLOCK: &'static str = "address-block";

    #[must_use]
    pub fn address_block(address: Ipv4Addr) -> String {
        let [first, second, third, _] = address.octets();
        format!("{first}.{second}.{third}")
    }
}
