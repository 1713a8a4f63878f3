//! Deletes the objects that no row names any more, from every server, never two for the same one. A key's row stays locked
//! from the look at `image` until its objects are gone: an upload that still wants it then waits, and finds it taken.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rand::RngExt;
use sqlx::MySqlPool;
use tokio_util::sync::CancellationToken;

use crate::database::DatabaseError;
use crate::metrics::Metrics;
use crate::object_store::{ObjectStore, ObjectStoreError};
use crate::photo::ObjectKey;
use crate::photos_db::PhotosDb;

const BATCH: u32 = 100;
const PARALLEL: usize = 8;
const BATCH_LIMIT: Duration = Duration::from_secs(120);

/// Runs until `stop`, which it obeys between batches.
pub async fn run(db: PhotosDb, store: ObjectStore, metrics: Arc<Metrics>, interval: Duration, stop: CancellationToken) {
    loop {
        let pause = interval.mul_f64(rand::rng().random_range(0.75..1.25));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        loop {
            match sweep(&db, &store, &metrics).await {
                Ok(swept) if swept == BATCH as usize && !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!("sweeping: {error}");
                    break;
                }
            }
        }
    }
}

/// One batch of what is due; how many keys it took in hand.
async fn sweep(db: &PhotosDb, store: &ObjectStore, metrics: &Metrics) -> Result<usize, DatabaseError> {
    db.database().run(BATCH_LIMIT, |pool| sweep_batch(pool, store, metrics)).await
}

async fn sweep_batch(pool: MySqlPool, store: &ObjectStore, metrics: &Metrics) -> Result<usize, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let due: Vec<(String, u32)> = sqlx::query_as(
        "SELECT okey, tries FROM gc WHERE not_before <= UTC_TIMESTAMP(3) ORDER BY not_before LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    let mut unnamed = Vec::new();
    for (key, tries) in &due {
        let named: Option<u64> =
            sqlx::query_scalar("SELECT id FROM image WHERE okey = ?").bind(key).fetch_optional(&mut *tx).await?;
        match (named, ObjectKey::from_original(key)) {
            (None, Some(object)) => unnamed.push((object, *tries)),
            // A live picture's key, or none of ours: the row alone goes.
            _ => forget(&mut tx, key).await?,
        }
    }
    let mut outcomes = futures::stream::iter(unnamed)
        .map(|(object, tries)| async move {
            let outcome = delete_both(store, &object).await;
            (object, tries, outcome)
        })
        .buffer_unordered(PARALLEL);
    let (mut deleted, mut last_failure) = (0, None);
    while let Some((object, tries, outcome)) = outcomes.next().await {
        match outcome {
            Ok(()) => {
                deleted += 1;
                forget(&mut tx, &object.original()).await?;
            }
            Err(error) => {
                let pause_secs = 60u64.saturating_mul(1 << tries.min(11)).min(86_400);
                sqlx::query(
                    "UPDATE gc SET tries = tries + 1, not_before = UTC_TIMESTAMP(3) + INTERVAL ? SECOND WHERE okey = ?",
                )
                .bind(pause_secs)
                .bind(object.original())
                .execute(&mut *tx)
                .await?;
                last_failure = Some(error);
                // A store that is away would hold this transaction open for every key in turn.
                break;
            }
        }
    }
    drop(outcomes);
    tx.commit().await?;
    if deleted > 0 {
        metrics.swept_objects.inc_by(deleted as u64);
        tracing::info!(deleted, "swept objects that no picture names");
    }
    if let Some(error) = last_failure {
        tracing::warn!("some objects could not be swept and are tried again later: {error}");
        return Ok(deleted);
    }
    Ok(due.len())
}

async fn delete_both(store: &ObjectStore, object: &ObjectKey) -> Result<(), ObjectStoreError> {
    store.delete(&object.thumbnail()).await?;
    store.delete(&object.original()).await
}

async fn forget(tx: &mut sqlx::MySqlConnection, key: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM gc WHERE okey = ?").bind(key).execute(tx).await?;
    Ok(())
}
