//! Brings the tables up to date, one server at a time. sqlx's own lock waits with a timeout of -1, which MariaDB answers with
//! NULL, that is without a lock; so the lock is taken here, on the very connection that migrates, and must be 1.

use sqlx::{Connection, MySqlConnection};

use super::DatabaseError;

/// How long to wait for another server's migration before looking again where the database is.
const LOCK_WAIT_SECS: i64 = 10;

pub(super) async fn run(mut connection: MySqlConnection) -> Result<(), DatabaseError> {
    // Lock names belong to the whole server, so the database's name is part of it.
    let taken: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT('imagecrud_migrate.', LEFT(SHA1(DATABASE()), 20)), ?)")
            .bind(LOCK_WAIT_SECS)
            .fetch_one(&mut connection)
            .await?;
    if taken != Some(1) {
        return Err(DatabaseError::NotReady("another server is migrating it".into()));
    }
    // The lock goes with the connection, also when this returns early.
    migrate_locked(&mut connection).await?;
    sqlx::query("DO RELEASE_LOCK(CONCAT('imagecrud_migrate.', LEFT(SHA1(DATABASE()), 20)))")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

async fn migrate_locked(connection: &mut MySqlConnection) -> Result<(), DatabaseError> {
    let mut migrator = sqlx::migrate!("./migrations");
    // An older server runs beside newer ones during a rolling replacement; migrations only ever add.
    migrator.set_locking(false).set_ignore_missing(true);
    let outcome = migrator.run_direct(None, connection, false).await;
    let outcome = match outcome {
        Err(sqlx::migrate::MigrateError::Dirty(version)) => {
            // DDL commits by itself: a server died half-way. We hold the lock and every file may run twice.
            tracing::warn!(version, "an earlier migration was cut off; running it again");
            sqlx::query("DELETE FROM _sqlx_migrations WHERE success = FALSE").execute(&mut *connection).await?;
            migrator.run_direct(None, connection, false).await
        }
        other => other,
    };
    outcome.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error) => DatabaseError::Sql(error),
        other => DatabaseError::NotReady(format!("migrating it: {other}").into()),
    })
}
