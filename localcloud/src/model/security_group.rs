//! Security groups and their rules.

use serde::{Deserialize, Serialize};

use crate::{model::tag::Tags, store::Record};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// `sg-…`
    pub id: String,
    pub name: String,
    pub description: String,
    pub vpc_id: String,
    pub owner_id: String,
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
    #[serde(default)]
    pub tags: Tags,
}

/// What one source may reach. A permission with several sources is several rules, as AWS keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `sgr-…`
    pub id: String,
    /// `tcp`, `udp`, `icmp` or `-1` for all.
    pub protocol: String,
    /// `None` for all ports.
    pub ports: Option<(u16, u16)>,
    pub source: RuleSource,
    #[serde(default)]
    pub description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleSource {
    Cidr(String),
    /// The id of another group, or of the same one.
    Group(String),
}

impl Record for SecurityGroup {
    const KIND: &'static str = "security-group";

    fn key(&self) -> String {
        self.id.clone()
    }
}
