//! Groups, and who is in them.

use serde::{Deserialize, Serialize};

use super::{
    already_exists, check_name, check_path, delete_conflict,
    holder::Holder as _,
    listing,
    users::{self, UserDescription},
};
use crate::{
    api::{
        error::ApiError,
        operation::{Caller, Done, Operation},
    },
    model::{
        id,
        identity::{Group, Policies, User},
        time::Timestamp,
    },
    store::Transaction,
};

const MOST_GROUPS_OF_A_USER: usize = 10;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupDescription {
    path: String,
    group_name: String,
    group_id: String,
    arn: String,
    create_date: Timestamp,
}

impl GroupDescription {
    pub fn of(group: &Group, account_id: &str) -> Self {
        Self {
            path: group.path.clone(),
            group_name: group.name.clone(),
            group_id: group.id.clone(),
            arn: group.arn(account_id),
            create_date: group.created,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateGroup {
    group_name: String,
    path: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateGroupOutput {
    group: GroupDescription,
}

impl Operation for CreateGroup {
    const ACTION: &'static str = "CreateGroup";
    type Output = CreateGroupOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        check_name("groupName", &self.group_name, 128)?;
        if Group::is_taken(tx, &self.group_name) {
            return Err(already_exists(format!("Group with name {} already exists.", self.group_name)));
        }
        let group = Group {
            name: self.group_name,
            id: format!("AGPA{}", id::base32(17)),
            path: check_path(self.path)?,
            created: Timestamp::now(),
            policies: Policies::default(),
        };
        let output = CreateGroupOutput { group: GroupDescription::of(&group, &caller.account_id) };
        tx.put(group);
        Ok(output)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetGroup {
    group_name: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetGroupOutput {
    group: GroupDescription,
    users: Vec<UserDescription>,
    is_truncated: bool,
    marker: Option<String>,
}

impl Operation for GetGroup {
    const ACTION: &'static str = "GetGroup";
    type Output = GetGroupOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let group = Group::find(tx, &self.group_name)?;
        let mut members = tx.list::<User>();
        members.retain(|user| user.groups.contains(&group.name));
        let (members, is_truncated, marker) =
            listing(members, |user| user.name.clone(), self.marker.as_deref(), self.max_items)?;
        let users = members.iter().map(|user| UserDescription::of(user, &caller.account_id)).collect();
        Ok(GetGroupOutput { group: GroupDescription::of(&group, &caller.account_id), users, is_truncated, marker })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupsOutput {
    groups: Vec<GroupDescription>,
    is_truncated: bool,
    marker: Option<String>,
}

fn list(
    tx: &mut Transaction<'_>,
    caller: &Caller<'_>,
    wanted: impl Fn(&Group) -> bool,
    marker: Option<&str>,
    max_items: Option<usize>,
) -> Result<GroupsOutput, ApiError> {
    let mut groups = tx.list::<Group>();
    groups.retain(|group| wanted(group));
    let (groups, is_truncated, marker) = listing(groups, |group| group.name.clone(), marker, max_items)?;
    let groups = groups.iter().map(|group| GroupDescription::of(group, &caller.account_id)).collect();
    Ok(GroupsOutput { groups, is_truncated, marker })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListGroups {
    path_prefix: Option<String>,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for ListGroups {
    const ACTION: &'static str = "ListGroups";
    type Output = GroupsOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let prefix = self.path_prefix.unwrap_or_else(|| "/".to_owned());
        list(tx, caller, |group| group.path.starts_with(&prefix), self.marker.as_deref(), self.max_items)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListGroupsForUser {
    user_name: String,
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Operation for ListGroupsForUser {
    const ACTION: &'static str = "ListGroupsForUser";
    type Output = GroupsOutput;

    fn run(self, tx: &mut Transaction<'_>, caller: &Caller<'_>) -> Result<Self::Output, ApiError> {
        let user = users::require(tx, &self.user_name)?;
        list(tx, caller, |group| user.groups.contains(&group.name), self.marker.as_deref(), self.max_items)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateGroup {
    group_name: String,
    new_path: Option<String>,
    new_group_name: Option<String>,
}

impl Operation for UpdateGroup {
    const ACTION: &'static str = "UpdateGroup";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let mut group = Group::clone(&*Group::find(tx, &self.group_name)?);
        if let Some(name) = self.new_group_name.filter(|name| *name != group.name) {
            check_name("newGroupName", &name, 128)?;
            if !name.eq_ignore_ascii_case(&group.name) && Group::is_taken(tx, &name) {
                return Err(already_exists(format!("Group with name {name} already exists.")));
            }
            for user in tx.list::<User>() {
                if user.groups.contains(&group.name) {
                    let mut user = User::clone(&user);
                    user.groups.remove(&group.name);
                    user.groups.insert(name.clone());
                    tx.put(user);
                }
            }
            tx.delete::<Group>(&group.name);
            group.name = name;
        }
        if let Some(path) = self.new_path {
            group.path = check_path(Some(path))?;
        }
        tx.put(group);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteGroup {
    group_name: String,
    /// Eucalyptus' own (`euare-groupdel -R`): the group's policies go, and its users leave it.
    #[serde(default)]
    is_recursive: bool,
}

impl Operation for DeleteGroup {
    const ACTION: &'static str = "DeleteGroup";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let group = Group::find(tx, &self.group_name)?;
        let members: Vec<_> = tx.list::<User>().into_iter().filter(|user| user.groups.contains(&group.name)).collect();
        let conflict = [
            (!members.is_empty(), "remove users from group"),
            (!group.policies.inline.is_empty(), "delete policies"),
            (!group.policies.attached.is_empty(), "detach all policies"),
        ];
        if let Some((_, what)) = conflict.iter().find(|(has, _)| *has && !self.is_recursive) {
            return Err(delete_conflict(&format!("Cannot delete entity, must {what} first.")));
        }
        for member in members {
            let mut member = User::clone(&member);
            member.groups.retain(|name| *name != group.name);
            tx.put(member);
        }
        tx.delete::<Group>(&self.group_name);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AddUserToGroup {
    group_name: String,
    user_name: String,
}

impl Operation for AddUserToGroup {
    const ACTION: &'static str = "AddUserToGroup";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let group = Group::find(tx, &self.group_name)?;
        let mut user = users::require(tx, &self.user_name)?;
        user.groups.insert(group.name.clone());
        if user.groups.len() > MOST_GROUPS_OF_A_USER {
            let quota = format!("Cannot exceed quota for GroupsPerUser: {MOST_GROUPS_OF_A_USER}");
            return Err(ApiError::new("LimitExceeded", quota).status(409));
        }
        tx.put(user);
        Ok(Done {})
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RemoveUserFromGroup {
    group_name: String,
    user_name: String,
}

impl Operation for RemoveUserFromGroup {
    const ACTION: &'static str = "RemoveUserFromGroup";
    type Output = Done;

    fn run(self, tx: &mut Transaction<'_>, _caller: &Caller<'_>) -> Result<Done, ApiError> {
        let group = Group::find(tx, &self.group_name)?;
        let mut user = users::require(tx, &self.user_name)?;
        if !user.groups.remove(&group.name) {
            return Err(super::no_such_entity(format!(
                "User {} is not a member of group {}.",
                self.user_name, self.group_name
            )));
        }
        tx.put(user);
        Ok(Done {})
    }
}
