//! Users, groups and roles alike: who has policies, inline and attached.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::no_such_entity;
use crate::{
    api::error::ApiError,
    model::identity::{Group, Role, User},
    store::{Record, Transaction},
};

/// Who has policies.
pub trait Holder: Record {
    /// As messages have it.
    const NOUN: &'static str;
    /// What all inline policies together may have of characters
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
    const INLINE_CHARACTERS: usize;

    fn id(&self) -> &str;
    fn path(&self) -> &str;
    fn inline(&self) -> &BTreeMap<String, String>;
    fn inline_mut(&mut self) -> &mut BTreeMap<String, String>;
    fn attached(&self) -> &BTreeSet<String>;
    fn attached_mut(&mut self) -> &mut BTreeSet<String>;

    /// # Errors
    /// `NoSuchEntity`.
    fn find(tx: &mut Transaction<'_>, name: &str) -> Result<Arc<Self>, ApiError> {
        tx.get::<Self>(name)
            .ok_or_else(|| no_such_entity(format!("The {} with name {name} cannot be found.", Self::NOUN)))
    }

    /// Names differ by more than upper and lower case.
    fn is_taken(tx: &mut Transaction<'_>, name: &str) -> bool {
        tx.list::<Self>().iter().any(|known| known.key().eq_ignore_ascii_case(name))
    }

    /// `LimitExceeded` names it: `AttachedPoliciesPerRole`.
    fn title() -> String {
        let (first, rest) = Self::NOUN.split_at(1);
        format!("{}{rest}", first.to_ascii_uppercase())
    }
}

impl Holder for User {
    const NOUN: &'static str = "user";
    const INLINE_CHARACTERS: usize = 2048;

    fn id(&self) -> &str {
        &self.id
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn inline(&self) -> &BTreeMap<String, String> {
        &self.policies.inline
    }
    fn inline_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.policies.inline
    }
    fn attached(&self) -> &BTreeSet<String> {
        &self.policies.attached
    }
    fn attached_mut(&mut self) -> &mut BTreeSet<String> {
        &mut self.policies.attached
    }
}

impl Holder for Group {
    const NOUN: &'static str = "group";
    const INLINE_CHARACTERS: usize = 5120;

    fn id(&self) -> &str {
        &self.id
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn inline(&self) -> &BTreeMap<String, String> {
        &self.policies.inline
    }
    fn inline_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.policies.inline
    }
    fn attached(&self) -> &BTreeSet<String> {
        &self.policies.attached
    }
    fn attached_mut(&mut self) -> &mut BTreeSet<String> {
        &mut self.policies.attached
    }
}

impl Holder for Role {
    const NOUN: &'static str = "role";
    const INLINE_CHARACTERS: usize = 10_240;

    fn id(&self) -> &str {
        &self.id
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn inline(&self) -> &BTreeMap<String, String> {
        &self.inline_policies
    }
    fn inline_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.inline_policies
    }
    fn attached(&self) -> &BTreeSet<String> {
        &self.attached_policies
    }
    fn attached_mut(&mut self) -> &mut BTreeSet<String> {
        &mut self.attached_policies
    }
}
