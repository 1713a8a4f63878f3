//! DescribeVpcAttribute.

use serde::{Deserialize, Serialize};

use super::{dry_run, identifiers};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    store::Transaction,
};

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcAttribute.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeVpcAttribute {
    vpc_id: String,
    attribute: String,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    vpc_id: String,
    enable_dns_support: Option<Value>,
    enable_dns_hostnames: Option<Value>,
    enable_network_address_usage_metrics: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Value {
    value: bool,
}

impl Operation for DescribeVpcAttribute {
    const ACTION: &'static str = "DescribeVpcAttribute";
    type Output = Attribute;

    fn run(self, _: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Attribute, ApiError> {
        let mut answer = Attribute::default();
        match self.attribute.as_str() {
            // As a default VPC is: it has a resolver, and machines with public addresses have public names.
            "enableDnsSupport" => answer.enable_dns_support = Some(Value { value: true }),
            "enableDnsHostnames" => answer.enable_dns_hostnames = Some(Value { value: true }),
            "enableNetworkAddressUsageMetrics" => {
                answer.enable_network_address_usage_metrics = Some(Value { value: false });
            }
            other => {
                let words = format!("Value ({other}) for parameter attribute is invalid. Unknown attribute.");
                return Err(ApiError::invalid_parameter_value(words));
            }
        }
        if self.vpc_id != caller.site.vpc_id {
            return Err(identifiers::not_found("InvalidVpcID", "vpc ID", &self.vpc_id));
        }
        dry_run::check(self.dry_run)?;
        Ok(Attribute { vpc_id: self.vpc_id, ..answer })
    }
}
