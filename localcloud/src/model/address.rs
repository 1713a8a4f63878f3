//! Elastic addresses.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{model::tag::Tags, store::Record};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Address {
    /// `eipalloc-…`
    pub id: String,
    /// Within the public subnet, apart from those that instances have of themselves.
    pub public_ip: Ipv4Addr,
    #[serde(default)]
    pub association: Option<Association>,
    #[serde(default)]
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// `eipassoc-…`
    pub id: String,
    /// It may be gone by now: then there is no association any more.
    pub instance_id: String,
}

impl Record for Address {
    const KIND: &'static str = "address";

    fn key(&self) -> String {
        self.id.clone()
    }
}
