//! Credentials: temporary ones end with their time, their instance, their role or their user, and the S3 process, which
//! reads no records, is told of all, and of what their policies say, by a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use async_trait::async_trait;

use super::runner::{Context, Progress, Reconciler};
use crate::{
    api::iam::identity::identity_of,
    host::file,
    model::{
        identity::{Credential, Group, Role, User},
        instance::{Instance, InstanceState},
        managed_policy::ManagedPolicy,
        time::Timestamp,
    },
    object_storage::{S3Credential, S3Credentials},
    paths::Paths,
    store::{
        Store, StoreError, Transaction,
        changes::{Changes, Cursor},
    },
};

/// Expiry is a matter of hours; what is expired is refused anyway.
const PERIOD: Duration = Duration::from_secs(30);
/// What has expired is known for a while, so that its owner is told that it has expired, and not that it is unknown.
const REMEMBERED_SECS: i64 = 24 * 3600;

#[derive(Default)]
pub struct Credentials {
    followed: Cursor,
    /// When all were looked at.
    swept: Option<Instant>,
}

#[async_trait]
impl Reconciler for Credentials {
    fn name(&self) -> &'static str {
        "credentials"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn reconcile(&mut self, cx: &Context) -> anyhow::Result<Progress> {
        let changes = cx.store.changes(&mut self.followed);
        let sweep = self.swept.is_none_or(|time| time.elapsed() >= PERIOD);
        // Policies are part of what S3 is told.
        let touched = changes.touch::<Credential>()
            || changes.touch::<Role>()
            || changes.touch::<User>()
            || changes.touch::<Group>()
            || changes.touch::<ManagedPolicy>();
        if !(sweep || touched || has_ended(&cx.store, &changes)?) {
            return Ok(Progress::Settled);
        }
        // Set only when all is well: what fails is tried again.
        self.swept = None;
        let (store, paths) = (Arc::clone(&cx.store), cx.paths.clone());
        tokio::task::spawn_blocking(move || {
            remove_ended(&store, Timestamp::now())?;
            write_for_s3(&store, &paths)
        })
        .await??;
        self.swept = Some(Instant::now());
        Ok(Progress::Settled)
    }
}

/// Whether an instance has ended.
fn has_ended(store: &Store, changes: &Changes) -> Result<bool, StoreError> {
    let Some(changed) = changes.of::<Instance>() else { return Ok(true) };
    if changed.is_empty() {
        return Ok(false);
    }
    store.read(|tx| {
        let mut states = changed.iter().map(|id| tx.get::<Instance>(id).map(|instance| instance.state));
        states.any(|state| state.is_none_or(|state| state == InstanceState::Terminated))
    })
}

fn remove_ended(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    store.transact(|tx| {
        let instances: BTreeMap<String, InstanceState> =
            tx.list::<Instance>().iter().map(|instance| (instance.id.clone(), instance.state)).collect();
        // A role that was made anew under the name of another is another.
        let principals = Principals {
            role_ids: tx.list::<Role>().iter().map(|role| (role.name.clone(), role.id.clone())).collect(),
            users: tx.list::<User>().iter().map(|user| user.name.clone()).collect(),
        };
        for credential in tx.list::<Credential>() {
            if is_ended(&credential, &instances, &principals, now) {
                tx.delete::<Credential>(&credential.access_key);
            }
        }
        Ok(())
    })
}

/// Whom credentials may belong to.
struct Principals {
    role_ids: BTreeMap<String, String>,
    users: BTreeSet<String>,
}

/// Whether nobody may use it any more. An instance that is shutting down may still write to S3.
fn is_ended(
    credential: &Credential,
    instances: &BTreeMap<String, InstanceState>,
    principals: &Principals,
    now: Timestamp,
) -> bool {
    let expired = credential.expires.is_some_and(|expires| expires.plus_secs(REMEMBERED_SECS) <= now);
    let instance_gone = credential
        .instance_id
        .as_ref()
        .is_some_and(|id| instances.get(id).is_none_or(|state| *state == InstanceState::Terminated));
    let role_gone = credential.role_name.as_ref().is_some_and(|name| {
        principals.role_ids.get(name).is_none_or(|id| credential.principal_id.split(':').next() != Some(id))
    });
    let user_gone = credential.user_name.as_ref().is_some_and(|name| !principals.users.contains(name));
    expired || instance_gone || role_gone || user_gone
}

/// Who writes has read within the same lock, so that an older list never replaces a newer one.
static PUBLISHING: Mutex<()> = Mutex::new(());

/// Writes the S3 process's file of credentials, if it is not up to date. After this the S3 process knows every credential
/// there is: call it before one is handed out. It waits for the disk.
///
/// # Errors
/// When the records cannot be read or the file cannot be written.
pub fn write_for_s3(store: &Store, paths: &Paths) -> anyhow::Result<()> {
    let _one_at_a_time = PUBLISHING.lock().unwrap_or_else(PoisonError::into_inner);
    let credentials = store.read(|tx| {
        let mut credentials = tx.list::<Credential>();
        credentials.retain(|credential| !credential.inactive);
        credentials.iter().map(|credential| for_s3(tx, credential)).collect()
    })?;
    let mut text = serde_json::to_vec_pretty(&S3Credentials { credentials })?;
    text.push(b'\n');
    let path = paths.s3_credentials();
    if fs::read(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    file::replace_secret(&path, &text).with_context(|| format!("writing the credentials for S3 to {}", path.display()))
}

fn for_s3(tx: &mut Transaction<'_>, credential: &Credential) -> S3Credential {
    S3Credential {
        access_key: credential.access_key.clone(),
        secret_key: credential.secret_key.clone(),
        session_token: credential.session_token.clone(),
        expires_at_epoch_secs: credential.expires.map(|expires| expires.millis() / 1000),
        identity: identity_of(tx, credential),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{api::iam::role_credentials::role_credential, model::site::Site};

    fn credential(instance_id: Option<&str>, role_name: Option<&str>, expires: Option<Timestamp>) -> Credential {
        Credential {
            access_key: "ASIA1".into(),
            secret_key: "secret".into(),
            session_token: None,
            created: Timestamp::from_seconds(0.0),
            expires,
            principal_arn: "arn".into(),
            principal_id: "AROA1:i-1".into(),
            account_id: "1".into(),
            instance_id: instance_id.map(Into::into),
            role_name: role_name.map(Into::into),
            user_name: None,
            inactive: false,
            session: crate::model::identity::Session::default(),
        }
    }

    #[test]
    fn credentials_end_with_their_time_their_instance_or_their_role() {
        let now = Timestamp::from_seconds(1000.0);
        let instances = BTreeMap::from([
            ("i-1".to_owned(), InstanceState::ShuttingDown),
            ("i-2".to_owned(), InstanceState::Terminated),
        ]);
        let principals = Principals {
            role_ids: BTreeMap::from([("web".to_owned(), "AROA1".to_owned()), ("new".to_owned(), "AROA2".to_owned())]),
            users: BTreeSet::from(["jo".to_owned()]),
        };
        let ended = |credential: &Credential| is_ended(credential, &instances, &principals, now);
        assert!(!ended(&credential(None, None, None)));
        assert!(!ended(&credential(Some("i-1"), Some("web"), Some(now.plus_secs(1)))));
        assert!(!ended(&credential(Some("i-1"), Some("web"), Some(now))), "its owner is told that it has expired");
        assert!(ended(&credential(Some("i-1"), Some("web"), Some(now.plus_secs(-REMEMBERED_SECS)))));
        assert!(ended(&credential(Some("i-1"), Some("new"), None)), "another role of the same name");
        let of_user = |name: &str| Credential { user_name: Some(name.into()), ..credential(None, None, None) };
        assert!(!ended(&of_user("jo")) && ended(&of_user("gone")));
        assert!(ended(&credential(Some("i-2"), Some("web"), None)));
        assert!(ended(&credential(Some("i-3"), Some("web"), None)));
        assert!(ended(&credential(Some("i-1"), Some("other"), None)));
    }

    #[test]
    fn a_minted_credential_is_reused_until_an_hour_is_left_and_published_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = Paths::new(dir.path());
        let store = Store::open(&paths.records()).expect("opens");
        let site = Site::new((10, 77), (127, 77), 8773);
        let now = Timestamp::now();
        let mint = |now: Timestamp| {
            store.transact(|tx| Ok::<_, StoreError>(role_credential(tx, &site, "i-1", "web", now))).expect("commits")
        };
        let first = mint(now);
        assert!(first.access_key.starts_with("ASIA") && first.session_token.is_some());
        assert_eq!(mint(now.plus_secs(5 * 3600)), first);
        let second = mint(now.plus_secs(5 * 3600 + 1));
        assert_ne!(second, first);
        write_for_s3(&store, &paths).expect("written");
        let file = paths.s3_credentials();
        assert_eq!(fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);
        let read: S3Credentials = serde_json::from_slice(&fs::read(&file).expect("readable")).expect("JSON");
        let mut keys: Vec<String> = read.credentials.into_iter().map(|credential| credential.access_key).collect();
        keys.sort();
        let mut expected = vec![first.access_key, second.access_key];
        expected.sort();
        assert_eq!(keys, expected);
    }
}
