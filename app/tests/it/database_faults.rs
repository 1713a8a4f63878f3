//! The database goes away in the middle of fifty uploads. No picture that was acknowledged is lost, no object is left over, no
//! name is there twice.

use futures::future::join_all;

use crate::mariadb::MariaDb;
use crate::room::Room;
use crate::s3::{BUCKET, S3};
use crate::server::Server;
use crate::stack::{Stack, eventually, jpeg, serving};

const UPLOADS: u8 = 50;
/// So that what a fault leaves behind is swept while the test looks on.
const SOON: &[(&str, &str)] = &[("UPLOAD_INTENT_SECONDS", "8")];

/// Uploads at once while `disturb` does its worst; the names that were acknowledged.
async fn uploads_during(stack: &mut Stack, disturb: impl AsyncFnOnce(&mut MariaDb)) -> Vec<String> {
    let Stack { server, database, .. } = stack;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let uploads = (0..UPLOADS).map(|seed| {
        let (server, done) = (&*server, &done);
        async move {
            let name = format!("p{seed}");
            let outcome = server.try_post(&name, jpeg(seed)).await;
            done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let status = outcome.map_or(0, |response| response.status().as_u16());
            assert!(matches!(status, 200 | 503), "{name}: {status}");
            (status == 200).then_some(name)
        }
    });
    let disturbance = async {
        eventually("some uploads are done", async || done.load(std::sync::atomic::Ordering::SeqCst) >= 5).await;
        disturb(database).await;
    };
    let (kept, ()) = tokio::join!(join_all(uploads), disturbance);
    kept.into_iter().flatten().collect()
}

async fn nothing_is_lost(stack: &Stack, how: &str, kept: &[String]) {
    serving(&stack.server).await;
    for name in kept {
        let described = stack.server.json(&format!("/imagecrud/{name}")).await;
        for url in [&described["url"], &described["thumbnail"]["url"]] {
            assert_eq!(stack.server.fetch(url.as_str().unwrap()).await.status(), 200, "{name} was acknowledged");
        }
    }
    stack.nothing_is_orphaned().await;
    let (rows, objects) = (stack.count("image").await, stack.s3.pictures().len());
    // An upload whose answer was lost may have been kept all the same.
    assert!(rows as usize >= kept.len() && objects == 2 * rows as usize, "{rows} rows, {objects} objects");
    println!(
        "{how}: {UPLOADS} uploads, {} acknowledged, {rows} rows, {objects} objects, 0 lost, 0 orphans",
        kept.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_database_is_killed_during_uploads() {
    let mut stack = Stack::start_with(SOON).await;
    let kept = uploads_during(&mut stack, async |database: &mut MariaDb| {
        database.kill();
        database.run().await;
    })
    .await;
    nothing_is_lost(&stack, "killed", &kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_database_is_restarted_in_order_during_uploads() {
    let mut stack = Stack::start_with(SOON).await;
    let kept = uploads_during(&mut stack, async |database: &mut MariaDb| {
        database.shut_down().await;
        database.run().await;
    })
    .await;
    nothing_is_lost(&stack, "restarted", &kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_database_stands_still_during_uploads() {
    let mut stack = Stack::start_with(SOON).await;
    let started = std::time::Instant::now();
    let kept = uploads_during(&mut stack, async |database: &mut MariaDb| {
        database.freeze().await;
        // Longer than any request waits.
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        database.thaw();
    })
    .await;
    assert!(started.elapsed().as_secs() < 25, "no upload waits for a database without end: {:?}", started.elapsed());
    nothing_is_lost(&stack, "stopped", &kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_database_moves_during_uploads() {
    let room = Room::new();
    let (database, s3) = (MariaDb::start(&room, "database").await, S3::start(&room).await);
    let location = format!("s3://{BUCKET}/config/database.json");
    let tell = |s3: &S3, url: &str| s3.write("config/database.json", &format!("{{\"url\":\"{url}\"}}"));
    tell(&s3, &database.url());
    let server = Server::start(&room, &s3, ("DATABASE_CONFIG", &location), SOON);
    serving(&server).await;
    let mut stack = Stack { server, database, s3, room };
    let before = stack.database.url();
    // The object store is told as the database's new machine tells it.
    let root = stack.s3.writer();
    let kept = uploads_during(&mut stack, async |database: &mut MariaDb| {
        database.move_elsewhere().await;
        root("config/database.json", &format!("{{\"url\":\"{}\"}}", database.url()));
    })
    .await;
    assert_ne!(stack.database.url(), before);
    nothing_is_lost(&stack, "moved", &kept).await;
}
