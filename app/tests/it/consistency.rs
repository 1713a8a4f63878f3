//! Rows and objects agree, whatever happens at once or in between.

use std::sync::Arc;

use futures::future::join_all;
use tokio::io::AsyncWriteExt;

use crate::stack::{Stack, eventually, form, jpeg, serving};

#[tokio::test(flavor = "multi_thread")]
async fn racing_uploads_of_one_name_leave_one_row_and_no_orphan() {
    let stack = Arc::new(Stack::start().await);
    let uploads = (0..200u8).map(|seed| {
        let stack = stack.clone();
        async move { stack.server.post("cat", jpeg(seed)).await.status().as_u16() }
    });
    let statuses = join_all(uploads).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(stack.count("image").await, 1);
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.s3.pictures().len(), 2);
    let url = stack.server.json("/imagecrud/cat").await["url"].as_str().unwrap().to_string();
    assert_eq!(stack.server.fetch(&url).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_times_two_uploads_of_one_name_leave_one_of_the_two() {
    const LANES: usize = 10;
    const ROUNDS: usize = 100;
    let stack = Stack::start_with(&[("THUMBNAILS", "false")]).await;
    let pictures: Vec<Vec<u8>> = (0..=ROUNDS as u8 + 1).map(crate::stack::small_png).collect();
    let lanes = (0..LANES).map(|lane| {
        let (stack, pictures) = (&stack, &pictures);
        async move {
            let name = format!("lane{lane}");
            for round in 0..ROUNDS {
                let [one, other] = [&pictures[round], &pictures[round + 1]];
                let (first, second) =
                    tokio::join!(stack.server.post(&name, one.clone()), stack.server.post(&name, other.clone()));
                assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200), "round {round}");
                let described = stack.server.json(&format!("/imagecrud/{name}")).await;
                let kept = stack.server.fetch(described["url"].as_str().unwrap()).await;
                assert_eq!(kept.status(), 200, "round {round}");
                let kept = kept.bytes().await.unwrap();
                assert!(kept == **one || kept == **other, "round {round}: neither of the two");
            }
        }
    });
    join_all(lanes).await;
    let rows = stack.count("image").await;
    assert_eq!(rows, LANES as i64);
    stack.nothing_is_orphaned().await;
    println!("{} pairs of uploads: {rows} names, {rows} rows, 0 orphans", LANES * ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_deletes_of_one_name_never_leave_a_row_without_object() {
    let stack = Arc::new(Stack::start().await);
    let moves = (0..60u8).map(|turn| {
        let stack = stack.clone();
        async move {
            if turn % 2 == 0 {
                assert_eq!(stack.server.post("cat", jpeg(turn)).await.status(), 200);
            } else {
                assert!(matches!(stack.server.delete("cat").await.status().as_u16(), 200 | 404));
            }
        }
    });
    join_all(moves).await;
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.count("image").await as usize * 2, stack.s3.pictures().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let stack = Stack::start_with(&[("UPLOAD_INTENT_SECONDS", "2")]).await;
    let (body, content_type) = form(&jpeg(1));
    for (name, sent) in [("half", body.len() / 2), ("whole", body.len())] {
        let mut stream = tokio::net::TcpStream::connect(&stack.server.address).await.unwrap();
        let head = format!(
            "POST /imagecrud/{name} HTTP/1.1\r\nHost: h\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body[..sent]).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
    }
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.server.get("/imagecrud/half").await.status(), 404);
    assert_eq!(stack.server.get("/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_killed_server_and_the_rest_is_swept() {
    let mut stack = Stack::start_with(&[("UPLOAD_INTENT_SECONDS", "3")]).await;
    let kept = {
        let stack = &stack;
        let uploads = (0..40u8).map(|seed| async move {
            let outcome = stack.server.try_post(&format!("p{seed}"), jpeg(seed)).await;
            outcome.is_ok_and(|response| response.status() == 200).then_some(seed)
        });
        let killer = async {
            eventually("some uploads are done", async || stack.count("image").await >= 5).await;
            stack.server.signal("KILL");
        };
        let (kept, ()) = tokio::join!(join_all(uploads), killer);
        kept.into_iter().flatten().collect::<Vec<_>>()
    };
    stack.server = stack.another_server(&[("UPLOAD_INTENT_SECONDS", "3")]);
    serving(&stack.server).await;
    for seed in kept {
        assert_eq!(stack.server.get(&format!("/imagecrud/p{seed}")).await.status(), 200, "p{seed} was acknowledged");
    }
    stack.nothing_is_orphaned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_intent_is_swept_and_a_foreign_key_is_left_alone() {
    let stack = Stack::start_with(&[("SWEEP_INTERVAL_SECONDS", "600")]).await;
    // An intent that is due, as a second server's sweeper sees it, and one that is not ours to delete.
    let mut connection = stack.database.connect().await;
    stack.s3.write("config/stack.json", "{}");
    sqlx::query("INSERT INTO gc (okey, not_before) VALUES ('p/aaaaaaaaaaaaaaaaaaaaaaaaaa', '2020-01-01'), ('config/stack.json', '2020-01-01')")
        .execute(&mut connection)
        .await
        .unwrap();
    stack.s3.write("p/aaaaaaaaaaaaaaaaaaaaaaaaaa", "lost");
    let _sweeping = stack.another_server(&[]);
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.s3.bytes("config/stack.json"), b"{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_intent_was_swept_makes_no_row() {
    let stack = Stack::start().await;
    stack.s3.hold(true);
    let sweep_meanwhile = async {
        eventually("the intent stands", async || stack.count("gc").await == 1).await;
        let mut connection = stack.database.connect().await;
        sqlx::query("DELETE FROM gc").execute(&mut connection).await.unwrap();
        stack.s3.hold(false);
    };
    let (response, ()) = tokio::join!(stack.server.post("late", jpeg(1)), sweep_meanwhile);
    assert_eq!(response.status(), 503);
    assert_eq!(stack.count("image").await, 0);
    assert_eq!(stack.server.post("late", jpeg(1)).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_between_object_and_row_leaves_the_picture_that_was() {
    let intent = [("UPLOAD_INTENT_SECONDS", "3")];
    let mut stack = Stack::start_with(&intent).await;
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    let before = stack.server.json("/imagecrud/cat").await;
    // Whoever holds the row keeps the upload from its commit.
    let mut connection = stack.database.connect().await;
    sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
    sqlx::query("SELECT id FROM image WHERE name = 'cat' FOR UPDATE").execute(&mut connection).await.unwrap();
    let kill = async {
        eventually("both objects are written", async || stack.s3.pictures().len() == 4).await;
        stack.server.signal("KILL");
    };
    let (outcome, ()) = tokio::join!(stack.server.try_post("cat", jpeg(2)), kill);
    assert!(outcome.is_err(), "nobody was told that it was kept");
    sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
    stack.server = stack.another_server(&intent);
    serving(&stack.server).await;
    stack.nothing_is_orphaned().await;
    let after = stack.server.json("/imagecrud/cat").await;
    assert_eq!((&after["sha256"], &after["updated"]), (&before["sha256"], &before["updated"]));
    assert_eq!(stack.s3.pictures().len(), 2);
}
