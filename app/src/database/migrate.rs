//! Brings the tables up to date, one server at a time. sqlx's own lock waits with a timeout of -1, which MariaDB answers with
//! NULL, that is without a lock; so the lock is taken here, on the very connection that migrates, and must be 1.

use sqlx::{
    Connection, MySqlConnection, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::DatabaseError;

/// Listed by hand: sqlx's macro for it would build the database drivers a second time, for the compiler.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "image and gc", include_str!("../../migrations/0001_image_and_gc.sql")),
    (2, "undo and names", include_str!("../../migrations/0002_undo_and_names.sql")),
];
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

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(version, description, sql)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

async fn migrate_locked(connection: &mut MySqlConnection) -> Result<(), DatabaseError> {
    let mut migrator = migrator();
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_file_of_the_migrations_is_listed_as_it_is() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).expect("is there");
        let files: BTreeMap<String, String> = files
            .map(|file| file.expect("readable").path())
            .map(|path| {
                let name = path.file_name().expect("a file").to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).expect("a text"))
            })
            .collect();
        let listed = MIGRATIONS.iter().map(|(version, description, sql)| {
            (format!("{version:04}_{}.sql", description.replace(' ', "_")), (*sql).to_owned())
        });
        assert_eq!(listed.collect::<BTreeMap<_, _>>(), files);
    }
}
