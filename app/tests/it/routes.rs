//! The routes and what they mean.

use image::ImageFormat;

use crate::stack::{Stack, jpeg, picture};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_listed_shown_opened_and_deleted() {
    let stack = Stack::start().await;
    let server = &stack.server;

    let empty = server.get("/imagecrud/").await.text().await.unwrap();
    assert!(!empty.contains("<img"), "{empty}");

    let posted = server.post("cat", jpeg(1)).await;
    assert_eq!(posted.status(), 200);
    assert_eq!(posted.text().await.unwrap(), "");

    let index = server.get("/imagecrud/").await;
    let policy = index.headers()["content-security-policy"].to_str().unwrap().to_string();
    assert!(policy.contains(&format!("img-src 'self' {};", stack.s3.endpoint)), "{policy}");
    assert_eq!(index.headers()["referrer-policy"], "no-referrer");
    let html = index.text().await.unwrap();
    assert_eq!(html.matches("<a href=\"cat\">").count(), 1, "{html}");
    assert_eq!(html.matches("<a href=").count(), 1, "old clients take each of these for a picture: {html}");
    assert_eq!(html.matches("<img ").count(), 1);
    assert!(html.contains("alt=\"cat\"") && html.contains("width=\"320\" height=\"240\""), "{html}");

    let page = server.get("/imagecrud/cat").await.text().await.unwrap();
    assert!(page.contains("<img "), "{page}");

    let json = server.json("/imagecrud/cat").await;
    assert_eq!((json["width"].as_u64(), json["height"].as_u64()), (Some(400), Some(300)));
    assert_eq!(json["content_type"], "image/jpeg");
    let original = server.fetch(json["url"].as_str().unwrap()).await;
    assert_eq!(original.status(), 200);
    assert_eq!(original.headers()["content-type"], "image/jpeg");
    assert_eq!(original.bytes().await.unwrap().len() as u64, json["bytes"].as_u64().unwrap());
    let thumbnail = server.fetch(json["thumbnail"]["url"].as_str().unwrap()).await.bytes().await.unwrap();
    let thumbnail = image::load_from_memory(&thumbnail).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (320, 240));

    let raw = server.get("/imagecrud/cat?raw").await;
    assert_eq!(raw.status(), 302);
    assert_eq!(server.fetch(raw.headers()["location"].to_str().unwrap()).await.status(), 200);

    let deleted = server.delete("cat").await;
    assert_eq!((deleted.status().as_u16(), deleted.text().await.unwrap().as_str()), (200, ""));
    assert_eq!(server.delete("cat").await.status(), 404);
    assert_eq!(server.get("/imagecrud/cat").await.status(), 404);
    stack.nothing_is_orphaned().await;
    assert!(stack.s3.pictures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_replaces_and_the_old_object_goes() {
    let stack = Stack::start().await;
    stack.server.post("cat", jpeg(1)).await;
    let before = stack.server.json("/imagecrud/cat").await;
    let objects = stack.s3.pictures();

    // The same bytes again change nothing.
    assert_eq!(stack.server.post("cat", jpeg(1)).await.status(), 200);
    assert_eq!(stack.s3.pictures(), objects);
    assert_eq!(stack.server.json("/imagecrud/cat").await["updated"], before["updated"]);

    let second = picture(ImageFormat::Png, 2);
    assert_eq!(stack.server.post("cat", second).await.status(), 200);
    let after = stack.server.json("/imagecrud/cat").await;
    assert_eq!(after["content_type"], "image/png");
    assert_ne!(after["sha256"], before["sha256"]);
    assert_eq!(after["created"], before["created"]);
    assert_eq!(stack.count("image").await, 1);
    stack.nothing_is_orphaned().await;
    assert!(stack.s3.pictures().is_disjoint(&objects));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_is_kept_as_what_its_bytes_say() {
    let stack = Stack::start().await;
    for (format, content_type) in [
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::WebP, "image/webp"),
    ] {
        let name = format!("a.{}", format.extensions_str()[0]);
        assert_eq!(stack.server.post(&name, picture(format, 3)).await.status(), 200);
        let json = stack.server.json(&format!("/imagecrud/{name}")).await;
        assert_eq!(json["content_type"], content_type);
        assert_eq!(stack.server.fetch(json["url"].as_str().unwrap()).await.headers()["content-type"], content_type);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_in_a_photo_is_not_published() {
    let stack = Stack::start().await;
    let mut bytes = jpeg(4);
    let mut exif = vec![0xFF, 0xE1, 0, 0];
    exif.extend_from_slice(
        b"Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0SECRET POSITION",
    );
    let length = (exif.len() as u16 - 2).to_be_bytes();
    exif[2..4].copy_from_slice(&length);
    bytes.splice(2..2, exif);
    assert_eq!(stack.server.post("here", bytes).await.status(), 200);
    let json = stack.server.json("/imagecrud/here").await;
    assert_eq!(
        (json["width"].as_u64(), json["height"].as_u64()),
        (Some(300), Some(400)),
        "stored turned, shown upright"
    );
    assert_eq!((json["thumbnail"]["width"].as_u64(), json["thumbnail"]["height"].as_u64()), (Some(240), Some(320)));
    for key in stack.s3.pictures() {
        assert!(!String::from_utf8_lossy(&stack.s3.bytes(&key)).contains("SECRET"), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_paged_newest_first_without_gap_or_repetition() {
    let stack = Stack::start().await;
    for seed in 0..7 {
        assert_eq!(stack.server.post(&format!("p{seed}"), jpeg(seed)).await.status(), 200);
    }
    let mut seen = Vec::new();
    let mut path = "/imagecrud/?limit=3".to_string();
    loop {
        let page = stack.server.json(&path).await;
        let pictures = page["pictures"].as_array().unwrap();
        assert!(pictures.len() <= 3);
        seen.extend(pictures.iter().map(|picture| picture["name"].as_str().unwrap().to_string()));
        match page["older"].as_str() {
            Some(older) => path = older.to_string(),
            None => break,
        }
    }
    assert_eq!(seen, ["p6", "p5", "p4", "p3", "p2", "p1", "p0"]);
    let html = stack.server.get("/imagecrud/?limit=3").await.text().await.unwrap();
    assert!(html.contains("Older") && html.matches("<img ").count() == 3, "{html}");
    for bad in ["limit=0", "limit=201", "limit=many", "before=x"] {
        assert_eq!(stack.server.get(&format!("/imagecrud/?{bad}")).await.status(), 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_readiness_and_the_way_in_answer() {
    let stack = Stack::start().await;
    assert_eq!(stack.server.get("/healthz").await.status(), 200);
    let ready = stack.server.json("/readyz").await;
    assert_eq!(ready["ready"], true, "{ready}");
    for (from, to) in [("/", "/imagecrud/"), ("/imagecrud", "/imagecrud/")] {
        let response = stack.server.get(from).await;
        assert!(response.status().is_redirection());
        assert_eq!(response.headers()["location"], to);
    }
    assert_eq!(stack.server.get("/static/style.css").await.status(), 200);
}
