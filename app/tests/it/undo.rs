//! A deletion can be taken back, for as long as the bytes are there, and never longer.

use serde_json::Value;

use crate::stack::{Stack, eventually, jpeg};

async fn delete(stack: &Stack, name: &str) -> String {
    let response = stack
        .server
        .request(reqwest::Method::DELETE, &format!("/imagecrud/{name}"))
        .header("accept", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let deletion: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    deletion["undo"].as_str().unwrap().to_string()
}

async fn undo(stack: &Stack, address: &str) -> u16 {
    stack.server.post_raw(address, &[], "").await.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_deletion_is_as_if_it_had_never_been() {
    let stack = Stack::start_with(&[("UNDO_SECONDS", "600")]).await;
    for (seed, name) in ["a", "b", "c"].into_iter().enumerate() {
        stack.server.post(name, jpeg(seed as u8)).await;
    }
    let (before, index) = (stack.server.json("/imagecrud/b").await, stack.server.json("/imagecrud/").await);
    let address = delete(&stack, "b").await;
    assert_eq!(stack.server.get("/imagecrud/b").await.status(), 404);
    assert_eq!(undo(&stack, &address).await, 200);
    // A second click, or a retry.
    assert_eq!(undo(&stack, &address).await, 200);
    assert_eq!(stack.server.json("/imagecrud/b").await, before);
    assert_eq!(stack.server.json("/imagecrud/").await, index, "in its old place");
    for url in [&before["url"], &before["thumbnail"]["url"]] {
        assert_eq!(stack.server.fetch(url.as_str().unwrap()).await.status(), 200);
    }
    assert_eq!((stack.count("gc").await, stack.count("deleted_image").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_says_that_the_name_is_taken_and_works_once_it_is_free() {
    let stack = Stack::start_with(&[("UNDO_SECONDS", "600")]).await;
    stack.server.post("cat", jpeg(1)).await;
    let first = stack.server.json("/imagecrud/cat").await["sha256"].clone();
    let undo_first = delete(&stack, "cat").await;
    stack.server.post("cat", jpeg(2)).await;
    assert_eq!(undo(&stack, &undo_first).await, 409);
    let undo_second = delete(&stack, "cat").await;
    assert_ne!(undo_first, undo_second, "each deletion has its own");
    assert_eq!(undo(&stack, &undo_first).await, 200);
    assert_eq!(stack.server.json("/imagecrud/cat").await["sha256"], first);
    // Another name does not become this picture's.
    assert_eq!(undo(&stack, &undo_second.replace("/cat/", "/dog/")).await, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_comes_too_late_says_so() {
    let stack = Stack::start_with(&[("UNDO_SECONDS", "1")]).await;
    stack.server.post("cat", jpeg(1)).await;
    let address = delete(&stack, "cat").await;
    stack.nothing_is_orphaned().await;
    assert_eq!(undo(&stack, &address).await, 410);
    assert_eq!(stack.count("deleted_image").await, 0, "what it was is forgotten with its bytes");
    let page = stack.server.get_as("/imagecrud/?deleted=cat", "text/html").await.text().await.unwrap();
    assert!(page.contains("is deleted for good") && !page.contains("Undo"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sweeper_has_claimed_is_not_restored() {
    let stack = Stack::start_with(&[("UNDO_SECONDS", "1")]).await;
    stack.server.post("cat", jpeg(1)).await;
    let address = delete(&stack, "cat").await;
    // The sweeper waits for S3 in the middle of its work.
    stack.s3.hold(true);
    eventually("the deletion is due", async || {
        let mut connection = stack.database.connect().await;
        let due: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM gc WHERE not_before <= UTC_TIMESTAMP(3)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        due == 1
    })
    .await;
    assert_eq!(undo(&stack, &address).await, 410);
    stack.s3.hold(false);
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.count("image").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_undos_uploads_and_deletions_leave_rows_and_objects_in_agreement() {
    let stack = std::sync::Arc::new(Stack::start_with(&[("UNDO_SECONDS", "2")]).await);
    let moves = (0..24u8).map(|turn| {
        let stack = stack.clone();
        async move {
            if stack.server.post("cat", jpeg(turn)).await.status() != 200 {
                return;
            }
            let deleted = stack.server.post_raw("/imagecrud/cat/delete", &[("accept", "application/json")], "").await;
            if deleted.status() == 200 {
                let deletion: Value = serde_json::from_str(&deleted.text().await.unwrap()).unwrap();
                let address = deletion["undo"].as_str().unwrap();
                let (one, other) = tokio::join!(undo(&stack, address), undo(&stack, address));
                assert!([one, other].iter().all(|status| matches!(status, 200 | 409 | 410)), "{one} {other}");
            }
        }
    });
    futures::future::join_all(moves).await;
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.count("image").await as usize * 2, stack.s3.pictures().len());
}
