//! Region, zone, default VPC and subnet: what a cloud is born with.

use serde::{Deserialize, Serialize};

use crate::{model::id, store::Record};

/// The one record of its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    pub account_id: String,
    pub region: String,
    pub zone: String,
    /// Last part of every host name: `localhost` is resolved to loopback by browsers and curl (RFC 6761).
    pub dns_suffix: String,
    pub vpc_id: String,
    pub subnet_id: String,
    /// First two bytes of the instances' /16.
    pub subnet: (u8, u8),
    /// First two bytes of the public /16 within 127.0.0.0/8.
    pub public_subnet: (u8, u8),
    /// Port of the API, on 127.0.0.1 and on the gateway.
    pub port: u16,
    /// How many instances there may be at once; a machine has only so much memory.
    #[serde(default = "default_instance_limit")]
    pub instance_limit: u32,
}

pub const DEFAULT_INSTANCE_LIMIT: u32 = 40;

fn default_instance_limit() -> u32 {
    DEFAULT_INSTANCE_LIMIT
}

impl Record for Site {
    const KIND: &'static str = "site";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

impl Site {
    pub const KEY: &'static str = "site";

    /// A new cloud, with identifiers of its own.
    #[must_use]
    pub fn new(subnet: (u8, u8), public_subnet: (u8, u8), port: u16) -> Self {
        Self {
            account_id: "000000000001".to_owned(),
            region: "localcloud".to_owned(),
            zone: "PARTI00".to_owned(),
            dns_suffix: "localhost".to_owned(),
            vpc_id: id::new("vpc"),
            subnet_id: id::new("subnet"),
            subnet,
            public_subnet,
            port,
            instance_limit: DEFAULT_INSTANCE_LIMIT,
        }
    }

    #[must_use]
    pub fn cidr(&self) -> String {
        format!("{}.{}.0.0/16", self.subnet.0, self.subnet.1)
    }
}
