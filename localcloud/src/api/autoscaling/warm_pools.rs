//! Warm pools: no group of this cloud has one, and that is what is said. An instance here boots in seconds.

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{find, find_changeable, lifecycle_hooks::Nothing};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PutWarmPool {
    auto_scaling_group_name: String,
    #[serde(rename = "MaxGroupPreparedCapacity")]
    _max_group_prepared_capacity: Option<i64>,
    #[serde(rename = "MinSize")]
    _min_size: Option<u32>,
    #[serde(rename = "PoolState")]
    _pool_state: Option<String>,
    #[serde(rename = "InstanceReusePolicy")]
    _instance_reuse_policy: Option<IgnoredAny>,
}

impl Operation for PutWarmPool {
    const ACTION: &'static str = "PutWarmPool";
    type Output = Nothing;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        find_changeable(tx, &self.auto_scaling_group_name)?;
        Err(ApiError::unsupported(
            "Warm pools are not supported by this cloud, where instances boot in seconds; raise MinSize or DesiredCapacity instead.",
        ))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeWarmPool {
    auto_scaling_group_name: String,
    #[serde(rename = "MaxRecords")]
    _max_records: Option<u32>,
    #[serde(rename = "NextToken")]
    _next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeWarmPoolOutput {
    instances: [String; 0],
}

impl Operation for DescribeWarmPool {
    const ACTION: &'static str = "DescribeWarmPool";
    type Output = DescribeWarmPoolOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        find(tx, &self.auto_scaling_group_name)?;
        Ok(DescribeWarmPoolOutput { instances: [] })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteWarmPool {
    auto_scaling_group_name: String,
    #[serde(rename = "ForceDelete")]
    _force_delete: Option<bool>,
}

impl Operation for DeleteWarmPool {
    const ACTION: &'static str = "DeleteWarmPool";
    type Output = Nothing;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Nothing, ApiError> {
        find_changeable(tx, &self.auto_scaling_group_name)?;
        Err(ApiError::validation(format!("No warm pool found for Auto Scaling group {}", self.auto_scaling_group_name)))
    }
}
