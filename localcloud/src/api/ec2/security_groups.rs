//! Security groups: made, described and deleted here; their rules in the files below.

use serde::{Deserialize, Serialize};

use super::{
    dry_run, identifiers,
    tag_specifications::{TagItem, TagSpecification, tag_set, tags_for},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    model::{
        id,
        instance::{Instance, InstanceState},
        load_balancer::LoadBalancer,
        security_group::{Rule, RuleSource, SecurityGroup},
    },
    store::Transaction,
};

/// AuthorizeSecurityGroupIngress and -Egress.
pub mod authorize;
/// DescribeSecurityGroups, DescribeSecurityGroupRules.
pub mod describe;
/// Permissions as requests and answers word them.
pub mod permissions;
/// RevokeSecurityGroupIngress and -Egress.
pub mod revoke;

/// What every new group lets out.
pub(super) fn allow_all_egress() -> Rule {
    Rule {
        id: permissions::rule_id(),
        protocol: "-1".to_owned(),
        ports: None,
        source: RuleSource::Cidr("0.0.0.0/0".to_owned()),
        description: None,
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateSecurityGroup {
    group_name: String,
    group_description: String,
    #[serde(default)]
    vpc_id: Option<String>,
    #[serde(default, rename = "TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSecurityGroup {
    #[serde(rename = "return")]
    done: bool,
    group_id: String,
    tag_set: Vec<TagItem>,
    security_group_arn: String,
}

fn check_text(what: &str, text: &str) -> Result<(), ApiError> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(character);
    if text.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
        return Err(ApiError::invalid_parameter_value(format!(
            "Value ({text}) for parameter {what} is invalid: 1 to 255 characters out of a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{{}}!$*"
        )));
    }
    Ok(())
}

impl Operation for CreateSecurityGroup {
    const ACTION: &'static str = "CreateSecurityGroup";
    type Output = NewSecurityGroup;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<NewSecurityGroup, ApiError> {
        check_text("groupName", &self.group_name)?;
        check_text("groupDescription", &self.group_description)?;
        if self.group_name.starts_with("sg-") {
            return Err(ApiError::invalid_parameter_value("A group's name cannot start with sg-"));
        }
        let site = caller.site;
        if let Some(vpc_id) = self.vpc_id.as_ref().filter(|vpc_id| **vpc_id != site.vpc_id) {
            return Err(identifiers::not_found("InvalidVpcID", "vpc ID", vpc_id));
        }
        if self.group_name == "default" || tx.list::<SecurityGroup>().iter().any(|group| group.name == self.group_name)
        {
            return Err(ApiError::new(
                "InvalidGroup.Duplicate",
                format!("The security group '{}' already exists for VPC '{}'", self.group_name, site.vpc_id),
            ));
        }
        let tags = tags_for(&self.tag_specifications, "security-group", &[])?;
        dry_run::check(self.dry_run)?;
        let group = SecurityGroup {
            id: id::new("sg"),
            name: self.group_name,
            description: self.group_description,
            vpc_id: site.vpc_id.clone(),
            owner_id: site.account_id.clone(),
            ingress: Vec::new(),
            egress: vec![allow_all_egress()],
            tags,
        };
        let answer = NewSecurityGroup {
            done: true,
            group_id: group.id.clone(),
            tag_set: tag_set(&group.tags),
            security_group_arn: arn(&caller.region, &group),
        };
        tx.put(group);
        Ok(answer)
    }
}

fn arn(region: &str, group: &SecurityGroup) -> String {
    format!("arn:aws:ec2:{region}:{}:security-group/{}", group.owner_id, group.id)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSecurityGroup.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteSecurityGroup {
    #[serde(default)]
    group_id: Option<String>,
    #[serde(default)]
    group_name: Option<String>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedSecurityGroup {
    #[serde(rename = "return")]
    done: bool,
    group_id: String,
}

impl Operation for DeleteSecurityGroup {
    const ACTION: &'static str = "DeleteSecurityGroup";
    type Output = DeletedSecurityGroup;

    fn run(self, tx: &mut Transaction<'_>, _: &Caller<'_>) -> Result<DeletedSecurityGroup, ApiError> {
        let group = identifiers::security_group(tx, self.group_id.as_deref(), self.group_name.as_deref())?;
        if group.name == "default" {
            return Err(ApiError::new(
                "CannotDelete",
                format!("the specified group: \"{}\" name: \"default\" cannot be deleted by a user", group.id),
            ));
        }
        if let Some(user) = user_of(tx, &group.id) {
            return Err(ApiError::new(
                "DependencyViolation",
                format!("resource {} has a dependent object: {user}", group.id),
            ));
        }
        dry_run::check(self.dry_run)?;
        tx.delete::<SecurityGroup>(&group.id);
        Ok(DeletedSecurityGroup { done: true, group_id: group.id.clone() })
    }
}

/// What would lack the group.
fn user_of(tx: &mut Transaction<'_>, id: &str) -> Option<String> {
    let names = |ids: &[String]| ids.iter().any(|other| other == id);
    let instances = tx.list::<Instance>();
    let instance = instances
        .iter()
        .find(|instance| instance.state != InstanceState::Terminated && names(&instance.security_group_ids));
    if let Some(instance) = instance {
        return Some(format!("instance {}", instance.id));
    }
    let balancers = tx.list::<LoadBalancer>();
    if let Some(balancer) = balancers.iter().find(|balancer| names(&balancer.security_group_ids)) {
        return Some(format!("load balancer {}", balancer.name));
    }
    let groups = tx.list::<SecurityGroup>();
    let refers = |group: &SecurityGroup| {
        group
            .ingress
            .iter()
            .chain(&group.egress)
            .any(|rule| matches!(&rule.source, RuleSource::Group(source) if source == id))
    };
    groups.iter().find(|group| group.id != id && refers(group)).map(|group| format!("a rule of {}", group.id))
}
