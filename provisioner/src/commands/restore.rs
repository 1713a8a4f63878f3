//! `restore`: a new volume, made of a backup, takes the data volume's place, and the database VM is replaced on it.
//! The former volume is kept until it is asked to go. Stopped anywhere, the same command goes on from there.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::{SnapshotState, Volume, VolumeState};

use crate::cli::RestoreOptions;
use crate::cloud::retry::{CloudError, found, gone};
use crate::cloud::{Cloud, site};
use crate::commands::{Session, heal};
use crate::error::{Exit, Failure, Left};
use crate::poll::{Look, Poll};
use crate::report::seconds;
use crate::resources::{backup, database_instance, gallery, keys, volume, web_endpoint};
use crate::state::StateFile;

const LIMIT: Duration = Duration::from_secs(600);
const GOES_ON: &str = "run the same command again: it goes on from here";

/// Runs it.
pub async fn run(session: Session, options: RestoreOptions) -> Result<Exit, Failure> {
    let began = Instant::now();
    let lock = session.lock().await?;
    let clients = session.running_clients("restoring").await?;
    let (cloud, state) = session.connect(clients).await?;
    let state = Mutex::new(StateFile::open(&session.global.state_dir, state, lock)?);
    if let Some(snapshot_id) = &options.snapshot {
        let new = restore(&session, &cloud, &state, snapshot_id).await?;
        count(&session, &cloud).await;
        session.report.say(format!("restored from {snapshot_id} ({})", seconds(began.elapsed())));
        session.report.data(new);
    }
    let fail = |error: CloudError| Failure::cloud("looking for former volumes", &error);
    for former in backup::former_volumes(&cloud).await.map_err(fail)? {
        let id = former.volume_id().unwrap_or_default();
        if options.delete_old {
            let deleted = cloud.ec2.delete_volume().volume_id(id).send().await.map_err(CloudError::from);
            gone(deleted).map_err(|error| Failure::cloud(format!("deleting the former volume {id}"), &error))?;
            session.report.say(format!("the former volume {id} is deleted"));
        } else {
            session.report.say(format!(
                "the former volume {id} is kept with its rows; `imagecrud-deploy restore --delete-old` removes it"
            ));
        }
    }
    Ok(Exit::Done)
}

async fn restore(
    session: &Session,
    cloud: &Cloud,
    state: &Mutex<StateFile>,
    snapshot_id: &str,
) -> Result<String, Failure> {
    let doing = format!("restoring from {snapshot_id}");
    let fail = |error: CloudError| Failure::cloud(&doing, &error);
    let snapshot = backup::find(cloud, snapshot_id).await.map_err(fail)?;
    let Some(snapshot) = snapshot.filter(|snapshot| backup::is_ours(cloud, snapshot)) else {
        return Err(Failure::usage(format!("{snapshot_id} is no backup of the stack {}", cloud.stack))
            .hint("`imagecrud-deploy backup --list` lists them"));
    };
    if snapshot.state() != Some(&SnapshotState::Completed) {
        return Err(
            Failure::new(&doing, "the backup is not complete").hint("`imagecrud-deploy backup --list` shows it")
        );
    }
    let old = volume::current(cloud).await.map_err(fail)?;
    let old_id = old.as_ref().and_then(|volume| volume.volume_id());
    let new = match backup::unfinished(cloud, snapshot_id, old_id).await.map_err(fail)? {
        Some(volume) => volume.volume_id().unwrap_or_default().to_owned(),
        None => create_volume(session, cloud, state, old.as_ref(), &snapshot).await?,
    };
    wait_for_volume(session, cloud, &new).await?;
    stop_database(session, cloud).await?;
    backup::give_key(cloud, &new, &keys::volume()).await.map_err(fail)?;
    if let Some(old_id) = old_id {
        backup::give_key(cloud, old_id, &backup::former_key()).await.map_err(fail)?;
    }
    heal::heal(session, cloud, state, &heal::database()).await?;
    Ok(new)
}

async fn create_volume(
    session: &Session,
    cloud: &Cloud,
    state: &Mutex<StateFile>,
    old: Option<&Volume>,
    snapshot: &aws_sdk_ec2::types::Snapshot,
) -> Result<String, Failure> {
    let key = backup::restored_key();
    let doing = format!("creating {key}");
    let zone = match old.and_then(|volume| volume.availability_zone()) {
        Some(zone) => zone.to_owned(),
        None => site::survey(cloud, &session.config).await?.zone,
    };
    let configured = i32::try_from(session.config.volume_gib()).unwrap_or(i32::MAX);
    let size_gib = old.and_then(|volume| volume.size()).unwrap_or(configured);
    let size_gib = size_gib.max(snapshot.volume_size().unwrap_or_default());
    let snapshot_id = snapshot.snapshot_id().unwrap_or_default();
    let with_state = |work: &dyn Fn(&mut StateFile) -> Result<crate::resource::ClientToken, Failure>| {
        let mut state = state.lock().map_err(|_| Failure::new("writing the state", "an earlier write panicked"))?;
        work(&mut state)
    };
    let token = with_state(&|state| state.begin(&key, &format!("{snapshot_id} {zone} {size_gib}")))?;
    let made = backup::create_volume(cloud, snapshot_id, &zone, size_gib, &token).await;
    let id = made.map_err(|error| {
        let left = if error.answer_lost() { Left::Unknown } else { Left::Nothing };
        Failure::cloud(&doing, &error).left(left)
    })?;
    with_state(&|state| state.finish(&key).map(|()| token.clone()))?;
    Ok(id)
}

async fn wait_for_volume(session: &Session, cloud: &Cloud, id: &str) -> Result<(), Failure> {
    let doing = format!("waiting for {id}");
    let step = session.report.step(id, "a volume of the backup");
    let poll = Poll {
        session,
        step,
        doing: &doing,
        subject: id,
        state: "available",
        limit: LIMIT,
        left: Left::Something(id.to_owned()),
        hint: GOES_ON,
    };
    poll.until(|| async {
        let answer = cloud.ec2.describe_volumes().volume_ids(id).send().await.map_err(CloudError::from);
        let answer = found(answer)?;
        let state = answer.as_ref().and_then(|answer| answer.volumes().first()).and_then(Volume::state).cloned();
        Ok(match state {
            Some(VolumeState::Available | VolumeState::InUse) => Look::Done(()),
            Some(state @ (VolumeState::Error | VolumeState::Deleted | VolumeState::Deleting)) => {
                Look::Never(format!("its state is {}", state.as_str()))
            }
            _ => Look::NotYet(String::new()),
        })
    })
    .await
}

/// Terminates the database VM and waits until it is gone, so that nobody writes to either volume.
async fn stop_database(session: &Session, cloud: &Cloud) -> Result<(), Failure> {
    let doing = "replacing the database VM";
    let fail = |error: CloudError| Failure::cloud(doing, &error);
    let Some(instance) = database_instance::current(cloud).await.map_err(fail)? else { return Ok(()) };
    let id = instance.instance_id().unwrap_or_default();
    let step = session.report.step("instance/database", &format!("terminating {id}"));
    let terminated = cloud.ec2.terminate_instances().instance_ids(id).send().await.map_err(CloudError::from);
    gone(terminated).map_err(fail)?;
    let poll = Poll {
        session,
        step,
        doing,
        subject: id,
        state: "terminated",
        limit: LIMIT,
        left: Left::Nothing,
        hint: GOES_ON,
    };
    poll.until(|| async {
        let answer = cloud.ec2.describe_instances().instance_ids(id).send().await.map_err(CloudError::from);
        let answer = found(answer)?;
        let instance = answer.as_ref().and_then(|a| a.reservations().first()).and_then(|r| r.instances().first());
        Ok(match instance.map_or("terminated", database_instance::state_of) {
            "terminated" => Look::Done(()),
            state => Look::NotYet(state.to_owned()),
        })
    })
    .await
}

/// Says what the restored rows show, as pictures deleted since the backup are not in the bucket any more.
async fn count(session: &Session, cloud: &Cloud) {
    let Ok(Some(url)) = web_endpoint::url(cloud).await else { return };
    match gallery::count(cloud, &url).await {
        Ok(count) if count.broken.is_empty() => {
            session.report.say(format!("{} rows, and every picture of them opens", count.rows.len()));
        }
        Ok(count) => session.report.say(format!(
            "{} rows; {} pictures of them were deleted since the backup and do not open: {}",
            count.rows.len(),
            count.broken.len(),
            count.broken.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
        )),
        Err(failure) => session.report.say(format!("{failure}")),
    }
}
