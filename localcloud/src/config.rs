//! What the operator chose: where the cloud keeps its state, and which ports and addresses are its own.

use std::{net::Ipv4Addr, path::PathBuf};

use clap::Args;

use crate::model::site::{DEFAULT_INSTANCE_LIMIT, DEFAULT_ZONES, MOST_ZONES};

pub const DEFAULT_STATE_DIR: &str = "/var/lib/localcloud";

/// Settings of one cloud. Two clouds run side by side with different state directories, ports and public networks;
/// the instances' subnet may be the same, as each cloud has a network namespace of its own.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Directory of records, disks, volumes, objects and sockets
    #[arg(long, env = "LOCALCLOUD_STATE_DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// Directory of built VM images
    #[arg(long, env = "LOCALCLOUD_CACHE_DIR", default_value = "/var/cache/localcloud")]
    pub cache_dir: PathBuf,
    /// Port of the API on 127.0.0.1, and of S3
    #[arg(long, env = "LOCALCLOUD_PORT", default_value_t = 8773)]
    pub port: u16,
    /// First two bytes of the instances' /16 subnet, inside a namespace of its own
    #[arg(long, env = "LOCALCLOUD_SUBNET", default_value = "10.77", value_parser = parse_prefix)]
    pub subnet: Prefix,
    /// First two bytes of the instances' public /16, within 127.0.0.0/8
    #[arg(long, env = "LOCALCLOUD_PUBLIC_SUBNET", default_value = "127.77", value_parser = parse_prefix)]
    pub public_subnet: Prefix,
    /// How many instances there may be at once
    #[arg(long, env = "LOCALCLOUD_INSTANCE_LIMIT", default_value_t = DEFAULT_INSTANCE_LIMIT)]
    pub instance_limit: u32,
    /// How many availability zones there are, each with a subnet; a cloud that has more keeps them
    #[arg(long, env = "LOCALCLOUD_ZONES", default_value_t = DEFAULT_ZONES, value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_ZONES)))]
    pub zones: u8,
}

/// The first two bytes of a /16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix(pub u8, pub u8);

impl Prefix {
    /// The address with the two given last bytes.
    #[must_use]
    pub fn address(self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.0, self.1, third, fourth)
    }

    #[must_use]
    pub fn cidr(self) -> String {
        format!("{}.{}.0.0/16", self.0, self.1)
    }

    /// The gateway, DHCP server and door to the API: `.0.1`.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        self.address(0, 1)
    }
}

fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let expected = || format!("`{text}` is not two bytes such as 10.77");
    let (first, second) = text.split_once('.').ok_or_else(expected)?;
    Ok(Prefix(first.parse().map_err(|_| expected())?, second.parse().map_err(|_| expected())?))
}
