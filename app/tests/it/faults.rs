//! The database or the object store is away, or elsewhere.

use std::time::{Duration, Instant};

use crate::mariadb::MariaDb;
use crate::room::Room;
use crate::s3::{BUCKET, S3};
use crate::server::Server;
use crate::stack::{Stack, eventually, jpeg, serving};

const LIMIT: Duration = Duration::from_secs(3);

async fn everything_is_503_in_time(server: &Server) {
    let started = Instant::now();
    let response = server.get("/imagecrud/").await;
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert!(started.elapsed() < LIMIT, "index: {:?}", started.elapsed());
    let text = response.text().await.unwrap();
    assert!(text.contains("the database does not answer") && !text.contains("127.0.0.1"), "{text}");
    let started = Instant::now();
    assert_eq!(server.post("dog", jpeg(2)).await.status(), 503);
    assert!(started.elapsed() < LIMIT, "upload: {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(server.delete("cat").await.status(), 503);
    assert!(started.elapsed() < LIMIT, "delete: {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(server.get("/healthz").await.status(), 200);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(server.get("/readyz").await.status(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_503_in_time_and_comes_back() {
    let mut stack = Stack::start().await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    stack.database.kill();
    everything_is_503_in_time(&stack.server).await;
    stack.database.run().await;
    serving(&stack.server).await;
    assert_eq!(stack.server.get("/imagecrud/cat").await.status(), 200);
    assert_eq!(stack.server.post("dog", jpeg(2)).await.status(), 200);
    stack.nothing_is_orphaned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_503_in_time_and_comes_back() {
    let stack = Stack::start().await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    stack.database.freeze().await;
    everything_is_503_in_time(&stack.server).await;
    stack.database.thaw();
    serving(&stack.server).await;
    assert_eq!(stack.server.get("/imagecrud/cat").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_after_a_database_restart_succeeds() {
    let mut stack = Stack::start().await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    stack.database.kill();
    stack.database.run().await;
    assert_eq!(stack.server.get("/imagecrud/cat").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_is_away_stops_uploads_alone() {
    let stack = Stack::start_with(&[("UPLOAD_INTENT_SECONDS", "3")]).await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    assert_eq!(stack.server.post("cow", jpeg(3)).await.status(), 200);
    stack.s3.go_away();
    let refused = stack.server.post("dog", jpeg(2)).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.text().await.unwrap().contains("the object store does not answer"));
    assert_eq!(stack.server.get("/imagecrud/").await.status(), 200);
    assert_eq!(stack.server.get("/imagecrud/cat").await.status(), 200);
    assert_eq!(stack.server.delete("cow").await.status(), 200);
    assert_eq!(stack.server.get("/healthz").await.status(), 200);
    stack.s3.come_back();
    assert_eq!(stack.server.post("dog", jpeg(2)).await.status(), 200);
    // What could not be deleted meanwhile is tried again after a minute; make it due.
    let mut connection = stack.database.connect().await;
    eventually("all is swept", async || {
        sqlx::query("UPDATE gc SET not_before = UTC_TIMESTAMP(3)").execute(&mut connection).await.unwrap();
        stack.count("gc").await == 0
    })
    .await;
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.count("image").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_a_new_address_is_found_without_a_restart() {
    let room = Room::new();
    let s3 = S3::start(&room).await;
    let location = format!("s3://{BUCKET}/config/database.json");
    let server = Server::start(&room, &s3, ("DATABASE_CONFIG", &location), &[]);
    assert_eq!(server.get("/healthz").await.status(), 200);
    assert_eq!(server.get("/imagecrud/").await.status(), 503);

    let mut first = MariaDb::start(&room, "first").await;
    s3.write("config/database.json", &format!("{{\"instance_id\":\"i-1\",\"url\":\"{}\"}}", first.url()));
    serving(&server).await;
    assert_eq!(server.post("cat", jpeg(1)).await.status(), 200);

    first.kill();
    let second = MariaDb::start(&room, "second").await;
    s3.write("config/database.json", &format!("{{\"instance_id\":\"i-2\",\"url\":\"{}\"}}", second.url()));
    eventually("the second database serves", async || server.get("/imagecrud/cat").await.status() == 404).await;
    assert_eq!(server.post("dog", jpeg(2)).await.status(), 200);
    assert!(!server.log().contains("se-cret"), "the password stays out of the log");
}
