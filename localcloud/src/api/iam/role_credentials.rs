//! Temporary credentials of a role, for one instance. Instances ask for them again and again: the newest are given
//! while they last long enough.

use crate::{
    model::{
        id,
        identity::{Credential, Role, Session},
        site::Site,
        time::Timestamp,
    },
    store::Transaction,
};

const LIFETIME_SECS: i64 = 6 * 3600;
/// The SDKs renew some minutes before the end; a shell script may hold on to what it read for longer.
const LEAST_LEFT_SECS: f64 = 3600.0;

/// The instance's newest credential of the role, if an hour of it is left, else a new one. The S3 process knows a new one
/// only after [`crate::reconcile::credentials::write_for_s3`].
pub fn role_credential(
    tx: &mut Transaction<'_>,
    site: &Site,
    instance_id: &str,
    role_name: &str,
    now: Timestamp,
) -> Credential {
    let credentials = tx.list::<Credential>();
    let newest = credentials
        .iter()
        .filter(|known| {
            known.instance_id.as_deref() == Some(instance_id) && known.role_name.as_deref() == Some(role_name)
        })
        .max_by_key(|known| known.expires);
    if let Some(known) = newest
        && known.expires.is_some_and(|expires| now.age_secs(expires) >= LEAST_LEFT_SECS)
    {
        return Credential::clone(known);
    }
    let role_id = tx.get::<Role>(role_name).map_or_else(|| "AROA".to_owned(), |role| role.id.clone());
    let credential = Credential {
        access_key: format!("ASIA{}", id::base32(16)),
        secret_key: id::base64(40),
        session_token: Some(id::base64(256)),
        created: now,
        expires: Some(now.plus_secs(LIFETIME_SECS)),
        principal_arn: format!("arn:aws:sts::{}:assumed-role/{role_name}/{instance_id}", site.account_id),
        principal_id: format!("{role_id}:{instance_id}"),
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
