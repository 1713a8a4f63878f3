//! What groups did, newest first.

use serde::{Deserialize, Serialize};

use super::{LARGEST_PAGE, find, page_size};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Operation},
        page::page,
    },
    model::{
        auto_scaling::{Activity, AutoScalingGroup},
        time::Timestamp,
    },
    store::Transaction,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeScalingActivities {
    #[serde(default)]
    activity_ids: Vec<String>,
    auto_scaling_group_name: Option<String>,
    include_deleted_groups: Option<bool>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeScalingActivitiesOutput {
    activities: Vec<ActivityDescription>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ActivityDescription {
    activity_id: String,
    auto_scaling_group_name: String,
    #[serde(rename = "AutoScalingGroupARN")]
    group_arn: Option<String>,
    description: String,
    cause: String,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
    status_code: String,
    status_message: Option<String>,
    progress: u32,
    details: String,
}

impl ActivityDescription {
    pub fn of(activity: &Activity, group_arn: Option<String>) -> Self {
        Self {
            activity_id: activity.id.clone(),
            auto_scaling_group_name: activity.group_name.clone(),
            group_arn,
            description: activity.description.clone(),
            cause: activity.cause.clone(),
            start_time: activity.start,
            end_time: activity.end,
            status_code: activity.status.clone(),
            status_message: activity.status_message.clone(),
            progress: activity.progress,
            details: activity.details.clone(),
        }
    }
}

impl Operation for DescribeScalingActivities {
    const ACTION: &'static str = "DescribeScalingActivities";
    type Output = DescribeScalingActivitiesOutput;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let size = page_size(self.max_records.or(Some(LARGEST_PAGE)))?;
        if self.include_deleted_groups == Some(true) {
            return Err(ApiError::unsupported("Activities of deleted groups are not kept by this cloud."));
        }
        if let Some(group) = &self.auto_scaling_group_name {
            find(tx, group)?;
        }
        let mut activities = match &self.auto_scaling_group_name {
            Some(group) => tx.list_below::<Activity>(&Activity::keys_of(group)),
            None => tx.list::<Activity>(),
        };
        activities.retain(|activity| self.activity_ids.is_empty() || self.activity_ids.contains(&activity.id));
        activities.sort_by_key(|activity| newest_first(activity));
        let (activities, next_token) =
            page(activities, |activity| newest_first(activity), self.next_token.as_deref(), size)?;
        let activities = activities
            .iter()
            .map(|activity| {
                let arn = tx.get::<AutoScalingGroup>(&activity.group_name).map(|group| group.arn.clone());
                ActivityDescription::of(activity, arn)
            })
            .collect();
        Ok(DescribeScalingActivitiesOutput { activities, next_token })
    }
}

fn newest_first(activity: &Activity) -> String {
    format!("{:020}/{}", i64::MAX - activity.start.millis(), activity.id)
}
