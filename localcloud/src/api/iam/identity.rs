//! Whose request it is, and what their policies say, out of the records.

use super::{holder::Holder, managed_policies::find_policy};
use crate::{
    model::{
        identity::{Credential, Group, Role, User},
        site::Site,
        tag::Tags,
    },
    policy::Identity,
    store::Transaction,
};

/// The identity of whoever signs with the credential. What no longer exists has no policies.
pub fn identity_of(tx: &mut Transaction<'_>, credential: &Credential) -> Identity {
    let mut identity = Identity {
        arn: credential.principal_arn.clone(),
        account_id: credential.account_id.clone(),
        principal_id: credential.principal_id.clone(),
        session_policies: credential.session.policies.clone(),
        issued_epoch_secs: credential.expires.map(|_| credential.created.millis() / 1000),
        source_identity: credential.session.source_identity.clone(),
        ..Identity::default()
    };
    if let Some(role) = credential.role_name.as_ref().and_then(|name| tx.get::<Role>(name)) {
        identity.role_arn = Some(role.arn(&credential.account_id));
        identity.policies = documents(tx, &*role);
        identity.tags.clone_from(&role.tags);
    }
    if let Some(user) = credential.user_name.as_ref().and_then(|name| tx.get::<User>(name)) {
        identity.policies = documents(tx, &*user);
        for group in user.groups.iter().filter_map(|name| tx.get::<Group>(name)).collect::<Vec<_>>() {
            identity.policies.extend(documents(tx, &*group));
        }
        identity.tags.clone_from(&user.tags);
        // A federated user is begun by a user, and is none.
        identity.user_name = (credential.principal_id == user.id).then(|| user.name.clone());
    }
    overlay(&mut identity.tags, &credential.session.tags);
    if let Some(instance) = &credential.instance_id
        && let Some(site) = tx.get::<Site>(Site::KEY)
    {
        let arn = format!("arn:aws:ec2:{}:{}:instance/{instance}", site.region, credential.account_id);
        identity.source_instance_arn = Some(arn);
    }
    identity
}

/// A session's tags take the place of those of its role whose keys are the same but for upper and lower case
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>).
fn overlay(tags: &mut Tags, session: &Tags) {
    tags.retain(|key, _| !session.keys().any(|other| other.eq_ignore_ascii_case(key)));
    tags.extend(session.clone());
}

fn documents<H: Holder>(tx: &mut Transaction<'_>, holder: &H) -> Vec<String> {
    let managed = holder.attached().iter().filter_map(|arn| find_policy(tx, arn).ok());
    let managed: Vec<String> = managed.map(|policy| policy.document().to_owned()).collect();
    holder.inline().values().cloned().chain(managed).collect()
}
