//! RevokeSecurityGroupIngress and -Egress, by permission or by rule id. All rules of a request go, or none.

use serde::{Deserialize, Serialize};

use super::permissions::{self, FlatPermission, PermissionParameter, wire_ports};
use crate::{
    api::{
        ec2::{dry_run, identifiers},
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::security_group::{Rule, RuleSource, SecurityGroup},
    store::Transaction,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    #[serde(rename = "return")]
    done: bool,
    revoked_security_group_rule_set: Vec<RevokedRule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokedRule {
    security_group_rule_id: String,
    group_id: String,
    is_egress: bool,
    ip_protocol: String,
    from_port: i32,
    to_port: i32,
    cidr_ipv4: Option<String>,
    cidr_ipv6: Option<String>,
    referenced_group_id: Option<String>,
    description: Option<String>,
}

struct Request {
    group_id: Option<String>,
    group_name: Option<String>,
    permissions: Vec<PermissionParameter>,
    flat: FlatPermission,
    rule_ids: Vec<String>,
    dry_run: Option<bool>,
    egress: bool,
}

fn revoke(tx: &mut Transaction<'_>, request: Request) -> Result<Revoked, ApiError> {
    let mut group = SecurityGroup::clone(&*identifiers::security_group(
        tx,
        request.group_id.as_deref(),
        request.group_name.as_deref(),
    )?);
    let rules: &mut Vec<Rule> = if request.egress { &mut group.egress } else { &mut group.ingress };
    let mut revoked: Vec<Rule> = Vec::new();
    for id in &request.rule_ids {
        match rules.iter().position(|rule| rule.id == *id) {
            Some(index) => revoked.push(rules.remove(index)),
            None => {
                return Err(ApiError::new(
                    "InvalidSecurityGroupRuleId.NotFound",
                    format!("The security group rule ID '{id}' does not exist"),
                ));
            }
        }
    }
    let mut wanted = request.permissions;
    wanted.extend(request.flat.permission());
    if request.rule_ids.is_empty() || !wanted.is_empty() {
        for rule in permissions::rules(tx, wanted)? {
            match rules.iter().position(|other| permissions::same(&rule, other)) {
                Some(index) => revoked.push(rules.remove(index)),
                None => {
                    return Err(ApiError::new(
                        "InvalidPermission.NotFound",
                        format!(
                            "The specified rule does not exist in this security group: {}",
                            permissions::describe(&rule)
                        ),
                    ));
                }
            }
        }
    }
    let lets_all_out = |rule: &Rule| rule.protocol == "-1" && rule.source == RuleSource::Cidr("0.0.0.0/0".to_owned());
    if request.egress && !rules.iter().any(lets_all_out) {
        return Err(ApiError::unsupported(
            "This cloud holds back what comes in, not what goes out: the egress rule for all traffic to 0.0.0.0/0 stays.",
        ));
    }
    dry_run::check(request.dry_run)?;
    let item = |rule: &Rule| {
        let (from_port, to_port) = wire_ports(rule);
        let (cidr_ipv4, cidr_ipv6, referenced_group_id) = match rule.source.clone() {
            RuleSource::Cidr(cidr) if cidr.contains(':') => (None, Some(cidr), None),
            RuleSource::Cidr(cidr) => (Some(cidr), None, None),
            RuleSource::Group(group) => (None, None, Some(group)),
        };
        RevokedRule {
            security_group_rule_id: rule.id.clone(),
            group_id: group.id.clone(),
            is_egress: request.egress,
            ip_protocol: rule.protocol.clone(),
            from_port: from_port.unwrap_or(-1),
            to_port: to_port.unwrap_or(-1),
            cidr_ipv4,
            cidr_ipv6,
            referenced_group_id,
            description: rule.description.clone(),
        }
    };
    let revoked_security_group_rule_set = revoked.iter().map(item).collect();
    tx.put(group);
    Ok(Revoked { done: true, revoked_security_group_rule_set })
}

macro_rules! revocation {
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
            #[serde(default, rename = "SecurityGroupRuleId")]
            security_group_rule_ids: Vec<String>,
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
            #[serde(default)]
            dry_run: Option<bool>,
        }

        impl Operation for $name {
            const ACTION: &'static str = stringify!($name);
            type Output = Revoked;

            fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<Revoked, ApiError> {
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
                    rule_ids: self.security_group_rule_ids,
                    dry_run: self.dry_run,
                    egress: $egress,
                };
                revoke(tx, request)
            }
        }
    };
}

// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RevokeSecurityGroupIngress.html>
revocation!(RevokeSecurityGroupIngress, false);
// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RevokeSecurityGroupEgress.html>
revocation!(RevokeSecurityGroupEgress, true);
