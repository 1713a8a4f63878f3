//! Deleting, and taking it back. A deleted picture's objects stand in `gc` for a grace; as long as they do, `deleted_image`
//! says what the picture was. The sweeper takes only what is due, and whoever restores takes only what is not, each by a lock
//! on the key's row of `gc`: a picture whose bytes may be gone is never restored.

use std::time::Duration;

use sqlx::MySqlPool;

use super::{PhotosDb, WRITE_LIMIT, rfc3339, schedule};
use crate::database::{DatabaseError, QUICK};
use crate::photo::{ObjectKey, PhotoName};

/// How often, and after what pause, a key that somebody has in hand is looked at again.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// A deletion that may still be taken back.
#[derive(Debug, Clone)]
pub struct Deletion {
    pub key: ObjectKey,
    /// RFC 3339, UTC.
    pub until: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It is there, by this or by an earlier request.
    Back,
    /// Another picture has the name now.
    NameTaken,
    /// The sweeper has its objects, or may take them at any moment.
    Gone,
}

enum Look {
    Decided(Restored),
    InHand,
}

impl PhotosDb {
    /// None where there is no such picture. Its bytes go when the grace is over; S3 need not be there now.
    pub async fn delete(&self, name: &PhotoName) -> Result<Option<Deletion>, DatabaseError> {
        let grace = self.undo_grace;
        let work = |pool: MySqlPool| async move {
            let mut tx = pool.begin().await?;
            let found: Option<(u64, String)> = sqlx::query_as("SELECT id, okey FROM image WHERE name = ? FOR UPDATE")
                .bind(name.as_str())
                .fetch_optional(&mut *tx)
                .await?;
            let Some((id, key)) = found else {
                tx.rollback().await?;
                return Ok(None);
            };
            schedule(&mut tx, &key, grace).await?;
            sqlx::query(
                "INSERT INTO deleted_image (okey, id, name, tkey, ctype, bytes, w, h, sha256, created, updated) \
                 SELECT okey, id, name, tkey, ctype, bytes, w, h, sha256, created, updated FROM image WHERE id = ?",
            )
            .bind(id)
            .execute(&mut *tx)
            .await?;
            sqlx::query("DELETE FROM image WHERE id = ?").bind(id).execute(&mut *tx).await?;
            let until = sqlx::query_scalar("SELECT CAST(not_before AS CHAR) FROM gc WHERE okey = ?")
                .bind(&key)
                .fetch_one(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(ObjectKey::from_original(&key).map(|key| Deletion { key, until: rfc3339(until) }))
        };
        let mut tries = 0;
        loop {
            match self.database.run(QUICK, work).await {
                Err(error) if error.is_conflict() && tries < 3 => tries += 1,
                outcome => return outcome,
            }
        }
    }

    /// The last deletion of this name, if it may still be taken back.
    pub async fn last_deletion(&self, name: &PhotoName) -> Result<Option<Deletion>, DatabaseError> {
        let work = |pool: MySqlPool| async move {
            let found: Option<(String, String)> = sqlx::query_as(
                "SELECT deleted_image.okey, CAST(not_before AS CHAR) FROM deleted_image JOIN gc ON gc.okey = deleted_image.okey \
                 WHERE name = ? AND tries = 0 AND not_before > UTC_TIMESTAMP(3) ORDER BY not_before DESC LIMIT 1",
            )
            .bind(name.as_str())
            .fetch_optional(&pool)
            .await?;
            Ok(found.and_then(|(key, until)| {
                Some(Deletion { key: ObjectKey::from_original(&key)?, until: rfc3339(until) })
            }))
        };
        self.database.run(QUICK, work).await
    }

    /// Puts a deleted picture back where it was.
    pub async fn restore(&self, name: &PhotoName, key: &ObjectKey) -> Result<Restored, DatabaseError> {
        let mut looks = 0;
        loop {
            match self.database.run(WRITE_LIMIT, |pool| look(pool, name, key)).await {
                Ok(Look::Decided(restored)) => return Ok(restored),
                // Longer than another restoration takes: so it is the sweeper.
                Ok(Look::InHand) if looks >= LOOKS => return Ok(Restored::Gone),
                Err(error) if !error.is_conflict() || looks >= LOOKS => return Err(error),
                Ok(Look::InHand) | Err(_) => {
                    looks += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn look(pool: MySqlPool, name: &PhotoName, key: &ObjectKey) -> Result<Look, sqlx::Error> {
    let key = key.original();
    let mut tx = pool.begin().await?;
    let untouched: Option<i64> = sqlx::query_scalar(
        "SELECT CAST(tries = 0 AND not_before > UTC_TIMESTAMP(3) AS SIGNED) FROM gc WHERE okey = ? FOR UPDATE SKIP LOCKED",
    )
    .bind(&key)
    .fetch_optional(&mut *tx)
    .await?;
    let decided = match untouched {
        None => {
            let in_hand: Option<String> =
                sqlx::query_scalar("SELECT okey FROM gc WHERE okey = ?").bind(&key).fetch_optional(&mut *tx).await?;
            let back: Option<u64> = sqlx::query_scalar("SELECT id FROM image WHERE okey = ? AND name = ?")
                .bind(&key)
                .bind(name.as_str())
                .fetch_optional(&mut *tx)
                .await?;
            match (in_hand, back) {
                (_, Some(_)) => Restored::Back,
                (Some(_), None) => return Ok(Look::InHand),
                (None, None) => Restored::Gone,
            }
        }
        Some(0) => Restored::Gone,
        Some(_) => {
            let taken: Option<u64> = sqlx::query_scalar("SELECT id FROM image WHERE name = ? FOR UPDATE")
                .bind(name.as_str())
                .fetch_optional(&mut *tx)
                .await?;
            if taken.is_some() {
                Restored::NameTaken
            } else {
                let restored = sqlx::query(
                    "INSERT INTO image (id, name, okey, tkey, ctype, bytes, w, h, sha256, created, updated) \
                     SELECT id, name, okey, tkey, ctype, bytes, w, h, sha256, created, updated FROM deleted_image \
                     WHERE okey = ? AND name = ?",
                )
                .bind(&key)
                .bind(name.as_str())
                .execute(&mut *tx)
                .await?
                .rows_affected();
                if restored == 1 {
                    sqlx::query("DELETE FROM gc WHERE okey = ?").bind(&key).execute(&mut *tx).await?;
                    tx.commit().await?;
                    return Ok(Look::Decided(Restored::Back));
                }
                // A key that no deleted picture of this name had: an upload's intent, or a replaced picture's.
                Restored::Gone
            }
        }
    };
    tx.rollback().await?;
    Ok(Look::Decided(decided))
}
