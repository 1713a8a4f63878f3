//! The object store fails every third upload of an object, in each way that there is. No acknowledged picture is lost, no
//! object is left over.

use futures::future::join_all;

use crate::s3::Strike;
use crate::stack::{Stack, jpeg};

const UPLOADS: u8 = 20;

async fn uploads_under(strike: Strike, uploads: u8) {
    let stack = Stack::start_with(&[("UPLOAD_INTENT_SECONDS", "20")]).await;
    stack.s3.strike(Some(strike));
    let posts = (0..uploads).map(|seed| {
        let server = &stack.server;
        async move {
            let name = format!("p{seed}");
            let status = server.post(&name, jpeg(seed)).await.status().as_u16();
            assert!(matches!(status, 200 | 503), "{name}: {status}");
            (status == 200).then_some(name)
        }
    });
    let kept: Vec<String> = join_all(posts).await.into_iter().flatten().collect();
    stack.s3.strike(None);
    let struck = stack.s3.struck();
    assert!(struck > 0, "nothing was struck");
    for name in &kept {
        let described = stack.server.json(&format!("/imagecrud/{name}")).await;
        let original = stack.server.fetch(described["url"].as_str().unwrap()).await;
        assert_eq!(original.status(), 200, "{name} was acknowledged");
        assert_eq!(original.bytes().await.unwrap().len() as u64, described["bytes"].as_u64().unwrap(), "{name}");
    }
    // What was refused can be sent again at once.
    for seed in (0..uploads).filter(|seed| !kept.contains(&format!("p{seed}"))) {
        assert_eq!(stack.server.post(&format!("p{seed}"), jpeg(seed)).await.status(), 200);
    }
    // What is due only when its upload must be over; make it due.
    let mut connection = stack.database.connect().await;
    sqlx::query("UPDATE gc SET not_before = UTC_TIMESTAMP(3)").execute(&mut connection).await.unwrap();
    stack.nothing_is_orphaned().await;
    assert_eq!(stack.count("image").await, i64::from(uploads));
    println!(
        "{strike:?}: {uploads} uploads, {struck} of their objects struck, {} acknowledged, 0 lost, 0 orphans",
        kept.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_fails_loses_nothing() {
    uploads_under(Strike::Fails, UPLOADS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_resets_at_half_the_body_loses_nothing() {
    uploads_under(Strike::ResetsAtHalf, UPLOADS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_loses_its_answers_loses_nothing() {
    uploads_under(Strike::LosesItsAnswer, UPLOADS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_that_hangs_loses_nothing() {
    uploads_under(Strike::Hangs, 1).await;
}
