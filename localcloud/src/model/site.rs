//! Region, zones, default VPC and its subnets: what a cloud is born with.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{model::id, store::Record};

/// The one record of its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    pub account_id: String,
    pub region: String,
    /// Where things go that name no zone.
    #[serde(flatten)]
    pub home: Zone,
    #[serde(default)]
    pub other_zones: Vec<Zone>,
    /// Last part of every host name: `localhost` is resolved to loopback by browsers and curl (RFC 6761).
    pub dns_suffix: String,
    pub vpc_id: String,
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

/// A zone with its one subnet. All zones are this machine: they tell placement, and fail by themselves only in a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// `PARTI00`, as Eucalyptus names its first one.
    #[serde(rename = "zone")]
    pub name: String,
    pub subnet_id: String,
}

impl Zone {
    fn new(number: usize) -> Self {
        Self { name: Self::name_of(number), subnet_id: id::new("subnet") }
    }

    /// The zone of records that are older than zones.
    #[must_use]
    pub fn first_name() -> String {
        Self::name_of(0)
    }

    fn name_of(number: usize) -> String {
        format!("PARTI{number:02}")
    }
}

pub const DEFAULT_INSTANCE_LIMIT: u32 = 40;
pub const DEFAULT_ZONES: u8 = 2;
/// Each zone's subnet is a /20, as those of AWS's default VPC; the last one's end is the load balancers'.
pub const MOST_ZONES: u8 = 15;
const HOSTS_OF_A_ZONE: u16 = 4096;

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
            home: Zone::new(0),
            other_zones: Vec::new(),
            dns_suffix: "localhost".to_owned(),
            vpc_id: id::new("vpc"),
            subnet,
            public_subnet,
            port,
            instance_limit: DEFAULT_INSTANCE_LIMIT,
        }
    }

    /// The same with so many zones, if it has not more already: what is in a zone cannot lose it.
    #[must_use]
    pub fn with_zones(mut self, count: u8) -> Self {
        let known = 1 + self.other_zones.len();
        self.other_zones.extend((known..usize::from(count)).map(Zone::new));
        self
    }

    pub fn zones(&self) -> impl Iterator<Item = &Zone> {
        std::iter::once(&self.home).chain(&self.other_zones)
    }

    #[must_use]
    pub fn zone(&self, name: &str) -> Option<&Zone> {
        self.zones().find(|zone| zone.name == name)
    }

    #[must_use]
    pub fn zone_of_subnet(&self, subnet_id: &str) -> Option<&Zone> {
        self.zones().find(|zone| zone.subnet_id == subnet_id)
    }

    /// In which zone an address on the instances' network is.
    #[must_use]
    pub fn zone_at(&self, address: Ipv4Addr) -> &Zone {
        let [_, _, third, fourth] = address.octets();
        let place = u16::from_be_bytes([third, fourth]) / HOSTS_OF_A_ZONE;
        self.zones().nth(place.into()).unwrap_or(&self.home)
    }

    /// The subnet of what is in a zone.
    #[must_use]
    pub fn subnet_in(&self, zone: &str) -> &str {
        &self.zone(zone).unwrap_or(&self.home).subnet_id
    }

    /// The subnets of these zones.
    #[must_use]
    pub fn subnets_in(&self, zones: &[String]) -> Vec<String> {
        zones.iter().map(|zone| self.subnet_in(zone).to_owned()).collect()
    }

    /// The names of the zones, as sentences list them.
    #[must_use]
    pub fn zone_names(&self) -> String {
        self.zones().map(|zone| zone.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The VPC's.
    #[must_use]
    pub fn cidr(&self) -> String {
        format!("{}.{}.0.0/16", self.subnet.0, self.subnet.1)
    }

    /// The last two bytes of the addresses in a zone: the first and how many there are.
    #[must_use]
    pub fn hosts_in(&self, zone: &str) -> (u16, u16) {
        let place = self.zones().position(|known| known.name == zone).unwrap_or(0);
        (u16::try_from(place).unwrap_or(0) * HOSTS_OF_A_ZONE, HOSTS_OF_A_ZONE)
    }

    /// Of a zone's subnet.
    #[must_use]
    pub fn cidr_in(&self, zone: &str) -> String {
        format!("{}/20", self.address(self.hosts_in(zone).0))
    }

    /// The address on the instances' network with these last two bytes.
    #[must_use]
    pub fn address(&self, host: u16) -> Ipv4Addr {
        let [third, fourth] = host.to_be_bytes();
        Ipv4Addr::new(self.subnet.0, self.subnet.1, third, fourth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_zones_come_with_subnets_of_their_own_and_none_goes() {
        let site = Site::new((10, 77), (127, 77), 8773).with_zones(2);
        let more = site.clone().with_zones(3).with_zones(1);
        assert_eq!(more.zone_names(), "PARTI00, PARTI01, PARTI02");
        assert_eq!(more.other_zones[0], site.other_zones[0]);
        assert_eq!(more.cidr_in("PARTI01"), "10.77.16.0/20");
        assert_eq!(more.zone_of_subnet(more.subnet_in("PARTI02")).map(|zone| zone.name.as_str()), Some("PARTI02"));
    }

    #[test]
    fn a_record_from_before_there_were_zones_has_its_one_zone_and_subnet() {
        let mut record = serde_json::to_value(Site::new((10, 77), (127, 77), 8773)).expect("serialises");
        record.as_object_mut().expect("an object").remove("other_zones");
        assert!(record["subnet_id"].is_string() && record["zone"] == "PARTI00");
        let site: Site = serde_json::from_value(record).expect("reads");
        assert_eq!(site.zones().count(), 1);
    }
}
