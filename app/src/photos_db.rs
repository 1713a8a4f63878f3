//! All SQL about pictures, by the database's own clock. Rows and objects are kept consistent without a transaction over
//! both: a key stands in `gc` before its object is written; the transaction that names the key in `image` takes it out
//! of `gc`, and puts the replaced one in. Whatever dies in between, each object is named by a row or stands in `gc`.

use std::time::Duration;

use rand::RngExt;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row};

use crate::database::{Database, DatabaseError, QUICK};
use crate::photo::{NewPhoto, ObjectKey, Photo, PhotoName};

/// Deleting, and taking it back.
mod deletion;
/// Pages of the index.
mod listing;

pub use deletion::{Deletion, Restored};
pub use listing::{Cursor, Listing, Order, Version};

/// What `photo` reads.
const COLUMNS: &str =
    "id, name, okey, tkey, ctype, bytes, w, h, sha256, CAST(created AS CHAR) created, CAST(updated AS CHAR) updated";
/// A transaction that writes may wait for others of the same name.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
const CONFLICT_TRIES: u32 = 10;

#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("the upload took so long that its object was swept")]
    Swept,
    #[error("another picture has this name")]
    NameTaken,
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

#[derive(Clone)]
pub struct PhotosDb {
    database: Database,
    sweep_grace: Duration,
    upload_intent: Duration,
    undo_grace: Duration,
}

impl PhotosDb {
    pub fn new(database: Database, sweep_grace: Duration, upload_intent: Duration, undo_grace: Duration) -> Self {
        Self { database, sweep_grace, upload_intent, undo_grace }
    }

    pub async fn ready(&self) -> Result<(), DatabaseError> {
        self.database.ready().await
    }

    pub async fn answers(&self) -> Result<(), DatabaseError> {
        self.database.run(QUICK, |pool| async move { sqlx::query("SELECT 1").execute(&pool).await.map(|_| ()) }).await
    }

    /// How many are open, and how many of them idle.
    pub fn connections(&self) -> (u32, usize) {
        self.database.connections()
    }

    pub async fn find(&self, name: &PhotoName) -> Result<Option<Photo>, DatabaseError> {
        let work = |pool| async move {
            let sql = format!("SELECT {COLUMNS} FROM image WHERE name = ?");
            let row = sqlx::query::<MySql>(AssertSqlSafe(sql)).bind(name.as_str()).fetch_optional(&pool).await?;
            row.as_ref().map(photo).transpose()
        };
        self.database.run(QUICK, work).await
    }

    /// Says that an object is about to be written.
    pub async fn record_intent(&self, key: &ObjectKey) -> Result<(), DatabaseError> {
        let work = |pool| async move {
            sqlx::query("INSERT INTO gc (okey, not_before, tries) VALUES (?, UTC_TIMESTAMP(3) + INTERVAL ? SECOND, 0)")
                .bind(key.original())
                .bind(self.upload_intent.as_secs())
                .execute(&pool)
                .await
                .map(|_| ())
        };
        self.database.run(QUICK, work).await
    }

    /// Makes an uploaded object the picture of its name. Of two at once the last to commit wins; the other's object is swept.
    pub async fn commit(&self, new: &NewPhoto) -> Result<(), CommitError> {
        let mut tries = 0;
        loop {
            let grace = self.sweep_grace;
            let work = |pool: sqlx::MySqlPool| async move {
                let mut tx = pool.begin().await?;
                let outcome = commit_within(&mut tx, new, grace).await?;
                if let Outcome::Kept = outcome {
                    tx.commit().await?
                } else {
                    tx.rollback().await?
                }
                Ok(outcome)
            };
            match self.database.run(WRITE_LIMIT, work).await {
                Ok(Outcome::Kept) => return Ok(()),
                Ok(Outcome::Swept) => return Err(CommitError::Swept),
                Ok(Outcome::NameTaken) => return Err(CommitError::NameTaken),
                Err(error) if error.is_conflict() && tries < CONFLICT_TRIES => {
                    tries += 1;
                    let pause = rand::rng().random_range(0..20u64 << tries.min(5));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }
}

enum Outcome {
    Kept,
    Swept,
    NameTaken,
}

async fn commit_within(tx: &mut MySqlConnection, new: &NewPhoto, grace: Duration) -> Result<Outcome, sqlx::Error> {
    let replaced: Option<(u64, String)> = sqlx::query_as("SELECT id, okey FROM image WHERE name = ? FOR UPDATE")
        .bind(new.name.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    if replaced.is_some() && !new.may_replace {
        // Its objects are an intent that is never fulfilled: swept.
        return Ok(Outcome::NameTaken);
    }
    let thumbnail_key = new.has_thumbnail.then(|| new.key.thumbnail());
    let write = match &replaced {
        Some((id, _)) => sqlx::query(
            "UPDATE image SET okey = ?, tkey = ?, ctype = ?, bytes = ?, w = ?, h = ?, sha256 = ?, updated = UTC_TIMESTAMP(3) WHERE id = ?",
        )
        .bind(new.key.original())
        .bind(thumbnail_key)
        .bind(new.kind.content_type())
        .bind(new.bytes)
        .bind(new.width)
        .bind(new.height)
        .bind(new.sha256.as_slice())
        .bind(id),
        None => sqlx::query(
            "INSERT INTO image (okey, tkey, ctype, bytes, w, h, sha256, name, created, updated) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
        )
        .bind(new.key.original())
        .bind(thumbnail_key)
        .bind(new.kind.content_type())
        .bind(new.bytes)
        .bind(new.width)
        .bind(new.height)
        .bind(new.sha256.as_slice())
        .bind(new.name.as_str()),
    };
    write.execute(&mut *tx).await?;
    let intents =
        sqlx::query("DELETE FROM gc WHERE okey = ?").bind(new.key.original()).execute(&mut *tx).await?.rows_affected();
    if intents != 1 {
        // The sweeper was quicker: the object is gone, so the row must not come to be.
        return Ok(Outcome::Swept);
    }
    if let Some((_, key)) = replaced {
        schedule(tx, &key, grace).await?;
    }
    Ok(Outcome::Kept)
}

/// An object that no row names from now on goes after a grace: pages that show it may still be open.
async fn schedule(tx: &mut MySqlConnection, key: &str, grace: Duration) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO gc (okey, not_before, tries) VALUES (?, UTC_TIMESTAMP(3) + INTERVAL ? SECOND, 0)")
        .bind(key)
        .bind(grace.as_secs())
        .execute(tx)
        .await?;
    Ok(())
}

fn photo(row: &sqlx::mysql::MySqlRow) -> Result<Photo, sqlx::Error> {
    Ok(Photo {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        original_key: row.try_get("okey")?,
        thumbnail_key: row.try_get("tkey")?,
        content_type: row.try_get("ctype")?,
        bytes: row.try_get("bytes")?,
        width: row.try_get("w")?,
        height: row.try_get("h")?,
        sha256: row.try_get("sha256")?,
        created: rfc3339(row.try_get("created")?),
        updated: rfc3339(row.try_get("updated")?),
    })
}

/// The session's time zone is UTC and the columns hold UTC.
fn rfc3339(text: String) -> String {
    format!("{}Z", text.replace(' ', "T"))
}
