//! DescribeSecurityGroups and DescribeSecurityGroupRules.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    arn,
    permissions::{PermissionItem, permissions, wire_ports},
};
use crate::{
    api::{
        ec2::{
            dry_run,
            filters::{self, Column, Filter},
            identifiers, pagination,
            tag_specifications::{TagItem, tag_set},
        },
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::security_group::{Rule, RuleSource, SecurityGroup},
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSecurityGroups.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeSecurityGroups {
    #[serde(default, rename = "GroupId")]
    group_ids: Vec<String>,
    #[serde(default, rename = "GroupName")]
    group_names: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroups {
    security_group_info: Vec<GroupItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupItem {
    owner_id: String,
    group_id: String,
    group_name: String,
    group_description: String,
    vpc_id: String,
    security_group_arn: String,
    ip_permissions: Vec<PermissionItem>,
    ip_permissions_egress: Vec<PermissionItem>,
    tag_set: Vec<TagItem>,
}

/// One value of each rule in one direction.
fn each(rules: &[Rule], of: impl Fn(&Rule) -> Option<String>) -> Vec<String> {
    rules.iter().filter_map(of).collect()
}

fn cidr(rule: &Rule, six: bool) -> Option<String> {
    match &rule.source {
        RuleSource::Cidr(cidr) if cidr.contains(':') == six => Some(cidr.clone()),
        _ => None,
    }
}

fn source_group(rule: &Rule) -> Option<String> {
    match &rule.source {
        RuleSource::Group(group) => Some(group.clone()),
        RuleSource::Cidr(_) => None,
    }
}

fn from_port(rule: &Rule) -> Option<String> {
    wire_ports(rule).0.map(|port| port.to_string())
}

fn to_port(rule: &Rule) -> Option<String> {
    wire_ports(rule).1.map(|port| port.to_string())
}

const COLUMNS: &[Column<Arc<SecurityGroup>>] = &[
    ("description", |group| vec![group.description.clone()]),
    ("egress.ip-permission.cidr", |group| each(&group.egress, |rule| cidr(rule, false))),
    ("egress.ip-permission.from-port", |group| each(&group.egress, from_port)),
    ("egress.ip-permission.group-id", |group| each(&group.egress, source_group)),
    ("egress.ip-permission.ipv6-cidr", |group| each(&group.egress, |rule| cidr(rule, true))),
    ("egress.ip-permission.prefix-list-id", |_| Vec::new()),
    ("egress.ip-permission.protocol", |group| each(&group.egress, |rule| Some(rule.protocol.clone()))),
    ("egress.ip-permission.to-port", |group| each(&group.egress, to_port)),
    ("group-id", |group| vec![group.id.clone()]),
    ("group-name", |group| vec![group.name.clone()]),
    ("ip-permission.cidr", |group| each(&group.ingress, |rule| cidr(rule, false))),
    ("ip-permission.from-port", |group| each(&group.ingress, from_port)),
    ("ip-permission.group-id", |group| each(&group.ingress, source_group)),
    ("ip-permission.ipv6-cidr", |group| each(&group.ingress, |rule| cidr(rule, true))),
    ("ip-permission.prefix-list-id", |_| Vec::new()),
    ("ip-permission.protocol", |group| each(&group.ingress, |rule| Some(rule.protocol.clone()))),
    ("ip-permission.user-id", |group| each(&group.ingress, |rule| source_group(rule).map(|_| group.owner_id.clone()))),
    ("ip-permission.to-port", |group| each(&group.ingress, to_port)),
    ("owner-id", |group| vec![group.owner_id.clone()]),
    ("vpc-id", |group| vec![group.vpc_id.clone()]),
];

impl Operation for DescribeSecurityGroups {
    const ACTION: &'static str = "DescribeSecurityGroups";
    type Output = SecurityGroups;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<SecurityGroups, ApiError> {
        dry_run::check(self.dry_run)?;
        let mut groups = tx.list::<SecurityGroup>();
        for id in &self.group_ids {
            identifiers::security_group(tx, Some(id), None)?;
        }
        for name in &self.group_names {
            identifiers::security_group(tx, None, Some(name))?;
        }
        if !self.group_ids.is_empty() || !self.group_names.is_empty() {
            groups.retain(|group| self.group_ids.contains(&group.id) || self.group_names.contains(&group.name));
        }
        let groups = filters::retain(&self.filters, COLUMNS, Some(|group| &group.tags), groups)?;
        let (groups, next_token) =
            pagination::page(groups, |group| group.id.clone(), self.max_results, self.next_token.as_deref())?;
        let item = |group: &Arc<SecurityGroup>| GroupItem {
            owner_id: group.owner_id.clone(),
            group_id: group.id.clone(),
            group_name: group.name.clone(),
            group_description: group.description.clone(),
            vpc_id: group.vpc_id.clone(),
            security_group_arn: arn(&caller.region, group),
            ip_permissions: permissions(&group.ingress, group),
            ip_permissions_egress: permissions(&group.egress, group),
            tag_set: tag_set(&group.tags),
        };
        Ok(SecurityGroups { security_group_info: groups.iter().map(item).collect(), next_token })
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSecurityGroupRules.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeSecurityGroupRules {
    #[serde(default, rename = "SecurityGroupRuleId")]
    rule_ids: Vec<String>,
    #[serde(default, rename = "Filter")]
    filters: Vec<Filter>,
    #[serde(default)]
    max_results: Option<u32>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroupRules {
    security_group_rule_set: Vec<RuleItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleItem {
    security_group_rule_id: String,
    group_id: String,
    group_owner_id: String,
    is_egress: bool,
    ip_protocol: String,
    /// -1 where there is none, unlike in permissions.
    from_port: i32,
    to_port: i32,
    cidr_ipv4: Option<String>,
    cidr_ipv6: Option<String>,
    referenced_group_info: Option<ReferencedGroup>,
    description: Option<String>,
    tag_set: Vec<TagItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferencedGroup {
    group_id: String,
    user_id: String,
}

pub(super) fn rule_item(group: &SecurityGroup, rule: &Rule, is_egress: bool) -> RuleItem {
    let (from_port, to_port) = wire_ports(rule);
    RuleItem {
        security_group_rule_id: rule.id.clone(),
        group_id: group.id.clone(),
        group_owner_id: group.owner_id.clone(),
        is_egress,
        ip_protocol: rule.protocol.clone(),
        from_port: from_port.unwrap_or(-1),
        to_port: to_port.unwrap_or(-1),
        cidr_ipv4: cidr(rule, false),
        cidr_ipv6: cidr(rule, true),
        referenced_group_info: source_group(rule)
            .map(|group_id| ReferencedGroup { group_id, user_id: group.owner_id.clone() }),
        description: rule.description.clone(),
        tag_set: Vec::new(),
    }
}

const RULE_COLUMNS: &[Column<RuleItem>] = &[
    ("group-id", |rule| vec![rule.group_id.clone()]),
    ("security-group-rule-id", |rule| vec![rule.security_group_rule_id.clone()]),
];

impl Operation for DescribeSecurityGroupRules {
    const ACTION: &'static str = "DescribeSecurityGroupRules";
    type Output = SecurityGroupRules;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<SecurityGroupRules, ApiError> {
        dry_run::check(self.dry_run)?;
        let groups = tx.list::<SecurityGroup>();
        let mut rules: Vec<RuleItem> = Vec::new();
        for group in &groups {
            rules.extend(group.ingress.iter().map(|rule| rule_item(group, rule, false)));
            rules.extend(group.egress.iter().map(|rule| rule_item(group, rule, true)));
        }
        for id in &self.rule_ids {
            if !rules.iter().any(|rule| rule.security_group_rule_id == *id) {
                return Err(ApiError::new(
                    "InvalidSecurityGroupRuleId.NotFound",
                    format!("The security group rule ID '{id}' does not exist"),
                ));
            }
        }
        if !self.rule_ids.is_empty() {
            rules.retain(|rule| self.rule_ids.contains(&rule.security_group_rule_id));
        }
        let rules = filters::retain(&self.filters, RULE_COLUMNS, None, rules)?;
        let key = |rule: &RuleItem| rule.security_group_rule_id.clone();
        let (security_group_rule_set, next_token) =
            pagination::page(rules, key, self.max_results, self.next_token.as_deref())?;
        Ok(SecurityGroupRules { security_group_rule_set, next_token })
    }
}
