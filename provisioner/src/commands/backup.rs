//! `backup`: a snapshot of the data volume; with `--list` what there is, with `--delete` one less.

use std::time::Duration;

use aws_sdk_ec2::types::{Snapshot, SnapshotState, Volume};
use serde_json::json;

use crate::cli::BackupOptions;
use crate::cloud::Cloud;
use crate::cloud::retry::CloudError;
use crate::commands::Session;
use crate::error::{Exit, Failure, Left};
use crate::poll::{Look, Poll};
use crate::report::table;
use crate::resources::{backup, volume};
use crate::state::random_text;

/// Snapshots go into an object store at the cloud's leisure.
const LIMIT: Duration = Duration::from_secs(3600);

/// Runs it.
pub async fn run(session: Session, options: BackupOptions) -> Result<Exit, Failure> {
    let clients = session.running_clients("backing up").await?;
    if options.list {
        let (cloud, _state) = session.connect(clients).await?;
        return list(&session, &cloud, options.json).await;
    }
    let _lock = session.lock().await?;
    let (cloud, _state) = session.connect(clients).await?;
    match &options.delete {
        Some(id) => delete(&session, &cloud, id).await,
        None => create(&session, &cloud).await,
    }
}

async fn create(session: &Session, cloud: &Cloud) -> Result<Exit, Failure> {
    let doing = "backing up the data volume";
    let fail = |error: CloudError| Failure::cloud(doing, &error);
    let Some(volume) = volume::current(cloud).await.map_err(fail)? else {
        return Err(Failure::new(doing, "there is none").hint("`imagecrud-deploy up` creates it"));
    };
    let volume_id = volume.volume_id().unwrap_or_default();
    let nonce = random_text(8, b"0123456789abcdef");
    let description = format!("IMAGE CRUD {}: {volume_id}, backup {nonce}", cloud.stack);
    let step = session.report.step("backup/mysql-data", &format!("a snapshot of {volume_id}"));
    let id = match backup::create(cloud, volume_id, &description).await {
        Ok(id) => id,
        Err(error) => {
            step.failed();
            return Err(fail(error));
        }
    };
    let poll = Poll {
        session,
        step,
        doing,
        subject: &id,
        state: "complete",
        limit: LIMIT,
        left: Left::Something(id.clone()),
        hint: "`imagecrud-deploy backup --list` shows how far it is",
    };
    poll.until(|| async {
        let snapshot = backup::find(cloud, &id).await?;
        let snapshot = snapshot.as_ref();
        let why = snapshot.and_then(|s| s.state_message()).unwrap_or("the cloud gave no reason");
        let progress = snapshot.and_then(|s| s.progress()).unwrap_or_default();
        Ok(match snapshot.and_then(|s| s.state()) {
            Some(SnapshotState::Completed) => Look::Done(()),
            Some(SnapshotState::Error) => Look::Never(why.to_owned()),
            _ => Look::NotYet(progress.to_owned()),
        })
    })
    .await?;
    session.report.data(&id);
    session.report.say(format!(
        "it holds every committed row as of one moment, as after a power cut: InnoDB replays its log when a\n\
         restored database starts. The pictures stay in the bucket and are not in it.\n\
         next: `imagecrud-deploy restore {id}`"
    ));
    Ok(Exit::Done)
}

async fn delete(session: &Session, cloud: &Cloud, id: &str) -> Result<Exit, Failure> {
    let doing = format!("deleting the backup {id}");
    let fail = |error: CloudError| Failure::cloud(&doing, &error);
    match backup::find(cloud, id).await.map_err(fail)? {
        Some(snapshot) if backup::is_ours(cloud, &snapshot) => {
            backup::delete(cloud, id).await.map_err(fail)?;
            session.report.say(format!("{id} is deleted"));
            Ok(Exit::Done)
        }
        _ => Err(Failure::usage(format!("{id} is no backup of the stack {}", cloud.stack))
            .hint("`imagecrud-deploy backup --list` lists them")),
    }
}

async fn list(session: &Session, cloud: &Cloud, as_json: bool) -> Result<Exit, Failure> {
    let fail = |error: CloudError| Failure::cloud("listing the backups", &error);
    let (backups, former) = tokio::join!(backup::list(cloud), backup::former_volumes(cloud));
    let (backups, former) = (backups.map_err(fail)?, former.map_err(fail)?);
    let rows: Vec<Vec<String>> =
        backups.iter().rev().map(of_snapshot).chain(former.iter().rev().map(of_volume)).collect();
    if as_json {
        let list: Vec<_> = rows
            .iter()
            .map(|row| json!({ "id": row[0], "type": row[1], "created": row[2], "size": row[3], "state": row[4] }))
            .collect();
        session.report.data(format!("{:#}", json!({ "stack": cloud.stack, "backups": list })));
        return Ok(Exit::Done);
    }
    session.report.data(table(&["ID", "TYPE", "CREATED", "SIZE", "STATE"], &rows));
    if rows.is_empty() {
        session.report.say("there is no backup yet; `imagecrud-deploy backup` makes one");
    }
    Ok(Exit::Done)
}

fn when(time: Option<&aws_sdk_ec2::primitives::DateTime>) -> String {
    time.and_then(|time| jiff::Timestamp::from_second(time.secs()).ok())
        .map_or_else(String::new, |time| time.strftime("%FT%TZ").to_string())
}

fn of_snapshot(snapshot: &Snapshot) -> Vec<String> {
    let state = snapshot.state().map_or("", SnapshotState::as_str);
    vec![
        snapshot.snapshot_id().unwrap_or_default().to_owned(),
        "backup".to_owned(),
        when(snapshot.start_time()),
        format!("{} GiB", snapshot.volume_size().unwrap_or_default()),
        if state == "completed" { state.to_owned() } else { format!("{state} {}", snapshot.progress().unwrap_or("")) },
    ]
}

fn of_volume(volume: &Volume) -> Vec<String> {
    vec![
        volume.volume_id().unwrap_or_default().to_owned(),
        "former volume".to_owned(),
        when(volume.create_time()),
        format!("{} GiB", volume.size().unwrap_or_default()),
        volume.state().map_or("", |state| state.as_str()).to_owned(),
    ]
}
