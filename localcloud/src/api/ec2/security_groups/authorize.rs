//! AuthorizeSecurityGroupIngress and -Egress: all rules of a request are added, or none.

use serde::{Deserialize, Serialize};

use super::{
    describe::{RuleItem, rule_item},
    permissions::{self, FlatPermission, PermissionParameter},
};
use crate::{
    api::{
        ec2::{dry_run, identifiers, tag_specifications::TagSpecification},
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::security_group::{Rule, SecurityGroup},
    store::Transaction,
};

/// Rules in each direction (<https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html>).
const MOST_RULES: usize = 60;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorized {
    #[serde(rename = "return")]
    done: bool,
    security_group_rule_set: Vec<RuleItem>,
}

struct Request {
    group_id: Option<String>,
    group_name: Option<String>,
    permissions: Vec<PermissionParameter>,
    flat: FlatPermission,
    tag_specifications: Vec<TagSpecification>,
    dry_run: Option<bool>,
    egress: bool,
}

fn authorize(tx: &mut Transaction<'_>, request: Request) -> Result<Authorized, ApiError> {
    if !request.tag_specifications.is_empty() {
        return Err(ApiError::unsupported("Rules of security groups have no tags in this cloud (TagSpecification)."));
    }
    let mut group = SecurityGroup::clone(&*identifiers::security_group(
        tx,
        request.group_id.as_deref(),
        request.group_name.as_deref(),
    )?);
    let mut wanted = request.permissions;
    wanted.extend(request.flat.permission());
    let new = permissions::rules(tx, wanted)?;
    let rules: &mut Vec<Rule> = if request.egress { &mut group.egress } else { &mut group.ingress };
    for rule in &new {
        if rules.iter().any(|other| permissions::same(rule, other)) {
            return Err(ApiError::new(
                "InvalidPermission.Duplicate",
                format!("the specified rule \"{}\" already exists", permissions::describe(rule)),
            ));
        }
        rules.push(rule.clone());
    }
    if rules.len() > MOST_RULES {
        return Err(ApiError::new(
            "RulesPerSecurityGroupLimitExceeded",
            format!("The maximum number of rules per security group has been reached: {MOST_RULES}."),
        ));
    }
    dry_run::check(request.dry_run)?;
    let security_group_rule_set = new.iter().map(|rule| rule_item(&group, rule, request.egress)).collect();
    tx.put(group);
    Ok(Authorized { done: true, security_group_rule_set })
}

macro_rules! authorization {
    ($name:ident, $egress:literal) => {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "PascalCase", deny_unknown_fields)]
        pub struct $name {
            #[serde(default)]
            group_id: Option<String>,
            #[serde(default)]
            group_name: Option<String>,
            #[serde(default)]
            ip_permissions: Vec<PermissionParameter>,
            #[serde(default)]
            ip_protocol: Option<String>,
            #[serde(default)]
            from_port: Option<i32>,
            #[serde(default)]
            to_port: Option<i32>,
            #[serde(default)]
            cidr_ip: Option<String>,
            #[serde(default)]
            source_security_group_name: Option<String>,
            #[serde(default)]
            source_security_group_owner_id: Option<String>,
            #[serde(default, rename = "TagSpecification")]
            tag_specifications: Vec<TagSpecification>,
            #[serde(default)]
            dry_run: Option<bool>,
        }

        impl Operation for $name {
            const ACTION: &'static str = stringify!($name);
            type Output = Authorized;

            fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Authorized, ApiError> {
                let flat = FlatPermission {
                    ip_protocol: self.ip_protocol,
                    from_port: self.from_port,
                    to_port: self.to_port,
                    cidr_ip: self.cidr_ip,
                    source_security_group_name: self.source_security_group_name,
                    source_security_group_owner_id: self.source_security_group_owner_id,
                };
                let request = Request {
                    group_id: self.group_id,
                    group_name: self.group_name,
                    permissions: self.ip_permissions,
                    flat,
                    tag_specifications: self.tag_specifications,
                    dry_run: self.dry_run,
                    egress: $egress,
                };
                authorize(tx, request)
            }
        }
    };
}

// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html>
authorization!(AuthorizeSecurityGroupIngress, false);
// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupEgress.html>
authorization!(AuthorizeSecurityGroupEgress, true);
