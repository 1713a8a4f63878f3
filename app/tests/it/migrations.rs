//! The tables come to be once, whoever comes first and whatever dies half-way.

use crate::mariadb::MariaDb;
use crate::room::Room;
use crate::s3::S3;
use crate::server::Server;
use crate::stack::{Stack, jpeg, serving};

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_that_migrate_at_once_all_come_up() {
    let room = Room::new();
    let database = MariaDb::start(&room, "database").await;
    let s3 = S3::start(&room).await;
    let url = database.url();
    let servers: Vec<Server> = (0..3).map(|_| Server::start(&room, &s3, ("DATABASE_URL", &url), &[])).collect();
    for (seed, server) in servers.iter().enumerate() {
        serving(server).await;
        assert_eq!(server.post(&format!("p{seed}"), jpeg(seed as u8)).await.status(), 200);
    }
    let mut connection = database.connect().await;
    let (applied, good): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), CAST(COALESCE(SUM(success), 0) AS SIGNED) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((applied, good), (2, 2));
    for server in &servers {
        assert!(!server.log().contains("WARN"), "{}", server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_was_cut_off_is_run_again() {
    let mut stack = Stack::start().await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    stack.server.kill();
    let mut connection = stack.database.connect().await;
    for sql in ["DROP TABLE deleted_image", "DROP TABLE gc", "UPDATE _sqlx_migrations SET success = FALSE"] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    stack.server = stack.another_server(&[]);
    serving(&stack.server).await;
    assert_eq!(stack.server.get("/imagecrud/cat").await.status(), 200);
    assert_eq!(stack.server.post("dog", jpeg(2)).await.status(), 200);
}
