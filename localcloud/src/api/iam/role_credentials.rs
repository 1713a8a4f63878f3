//! Temporary credentials of a role, for one instance. Instances ask for them again and again: the newest are given
//! while they last long enough, and those before them go on being valid to their end.

use crate::{
    model::{
        id,
        identity::{Credential, Role, Session},
        site::Site,
        time::Timestamp,
    },
    policy::{Context, Document, Kind, Request, evaluate::allow_other, principal::Asker},
    store::Transaction,
};

const LIFETIME_SECS: i64 = 6 * 3600;
/// The SDKs renew some minutes before the end; a shell script may hold on to what it read for longer.
const LEAST_LEFT_SECS: f64 = 3600.0;

/// Whether the role trusts instances. One that does not is not handed out, though a profile holds it
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html>).
pub fn trusts_instances(role: &Role) -> bool {
    let context = Context::default();
    let request = Request { action: "sts:AssumeRole", resource: "*", context: &context };
    Document::parse(&role.assume_role_policy, Kind::Trust)
        .is_ok_and(|trust| allow_other(Asker::Service("ec2.amazonaws.com"), Some(&trust), request).is_ok())
}

/// The instance's newest credential of the role, if an hour of it is left, else a new one. The S3 process knows a new one
/// only after [`crate::reconcile::credentials::write_for_s3`].
pub fn role_credential(
    tx: &mut Transaction<'_>,
    site: &Site,
    instance_id: &str,
    role_name: &str,
    now: Timestamp,
) -> Credential {
    let role_id = tx.get::<Role>(role_name).map_or_else(|| "AROA".to_owned(), |role| role.id.clone());
    let principal_id = format!("{role_id}:{instance_id}");
    let credentials = tx.list::<Credential>();
    let newest = credentials
        .iter()
        // By the role's own id: a role that was made anew under the same name is another.
        .filter(|known| known.instance_id.as_deref() == Some(instance_id) && known.principal_id == principal_id)
        .max_by_key(|known| known.expires);
    if let Some(known) = newest
        && known.expires.is_some_and(|expires| now.age_secs(expires) >= LEAST_LEFT_SECS)
    {
        return Credential::clone(known);
    }
    let credential = Credential {
        access_key: format!("ASIA{}", id::base32(16)),
        secret_key: id::base64(40),
        session_token: Some(id::base64(256)),
        created: now,
        expires: Some(now.plus_secs(LIFETIME_SECS)),
        principal_arn: format!("arn:aws:sts::{}:assumed-role/{role_name}/{instance_id}", site.account_id),
        principal_id,
        account_id: site.account_id.clone(),
        instance_id: Some(instance_id.to_owned()),
        role_name: Some(role_name.to_owned()),
        user_name: None,
        inactive: false,
        session: Session::default(),
    };
    tx.put(credential.clone());
    credential
}
