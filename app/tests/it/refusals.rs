//! Uploads that are refused, and that the client gets to read why.

use std::io::Cursor;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stack::{Stack, form, jpeg};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_is_415_whatever_it_calls_itself() {
    let stack = Stack::start().await;
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec();
    let half = jpeg(1)[..20].to_vec();
    for bytes in [b"hello".to_vec(), svg, b"<html>".to_vec(), Vec::new(), half, b"\x89PNG\r\n\x1a\nrubbish".to_vec()] {
        let response = stack.server.post("cat", bytes).await;
        assert_eq!(response.status(), 415);
        assert!(response.text().await.unwrap().contains("hint: "));
    }
    assert_eq!(stack.count("image").await, 0);
    assert!(stack.s3.pictures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_too_large_is_413_and_the_client_reads_it() {
    let stack = Stack::start().await;
    let mut large = jpeg(1);
    large.resize(60 * 1024 * 1024, 0x55);
    // Its length told in advance, and not.
    let response = stack.server.post("cat", large.clone()).await;
    assert_eq!(response.status(), 413);
    let (body, content_type) = form(&large);
    let chunks: Vec<std::io::Result<Vec<u8>>> = body.chunks(64 * 1024).map(|chunk| Ok(chunk.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(chunks).boxed());
    let response = stack.server.post_raw("/imagecrud/cat", &[("content-type", content_type)], stream).await;
    assert_eq!(response.status(), 413);
    assert!(response.text().await.unwrap().contains("25 MB"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_everything_before_it_reads_still_reads_the_refusal() {
    let stack = Stack::start().await;
    let mut large = jpeg(1);
    large.resize(40 * 1024 * 1024, 0x55);
    let (body, content_type) = form(&large);
    let mut stream = tokio::net::TcpStream::connect(&stack.server.address).await.unwrap();
    let head = format!(
        "POST /imagecrud/cat HTTP/1.1\r\nHost: h\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.expect("the server reads to the end");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tiny_file_that_claims_to_be_enormous_is_413() {
    let stack = Stack::start().await;
    let mut bytes = Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(1, 1).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let mut png = bytes.into_inner();
    png[16..20].copy_from_slice(&100_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&100_000u32.to_be_bytes());
    let crc = !png[12..29].iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let response = stack.server.post("huge", png).await;
    assert_eq!(response.status(), 413);
    assert!(response.text().await.unwrap().contains("100000 x 100000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_form_is_400_with_how_to_do_it() {
    let stack = Stack::start().await;
    let no_form = stack.server.post_raw("/imagecrud/cat", &[("content-type", "image/jpeg")], jpeg(1)).await;
    assert_eq!(no_form.status(), 400);
    assert!(no_form.text().await.unwrap().contains("curl -F file="));
    let no_file = "--cut-here\r\nContent-Disposition: form-data; name=\"photo\"\r\n\r\nx\r\n--cut-here--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=cut-here")];
    assert_eq!(stack.server.post_raw("/imagecrud/cat", &kind, no_file).await.status(), 400);
    assert_eq!(stack.server.post_raw("/imagecrud/cat", &kind, "rubbish").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_form_is_403() {
    let stack = Stack::start().await;
    let (body, content_type) = form(&jpeg(1));
    for more in [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")] {
        let response =
            stack.server.post_raw("/imagecrud/cat", &[("content-type", content_type), more], body.clone()).await;
        assert_eq!(response.status(), 403);
    }
    let own = ("origin", stack.server.url(""));
    let response =
        stack.server.post_raw("/imagecrud/cat", &[("content-type", content_type), (own.0, &own.1)], body).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_token_lets_all_read_and_only_its_holders_change() {
    let hash = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
    for variable in [("WRITE_TOKEN", "open-sesame"), ("WRITE_TOKEN_SHA256", hash)] {
        let stack = Stack::start_with(&[variable]).await;
        only_holders_of_the_token_change(&stack).await;
    }
}

async fn only_holders_of_the_token_change(stack: &Stack) {
    let refused = stack.server.post("cat", jpeg(1)).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["www-authenticate"]), (401, &"Bearer".parse().unwrap()));
    assert!(refused.text().await.unwrap().contains("hint: send `Authorization: Bearer TOKEN`"));
    let (body, content_type) = form(&jpeg(1));
    let headers = [("content-type", content_type), ("authorization", "Bearer open-sesame")];
    assert_eq!(stack.server.post_raw("/imagecrud/cat", &headers, body).await.status(), 200);
    assert_eq!(stack.server.delete("cat").await.status(), 401);
    assert_eq!(stack.server.get("/imagecrud/cat").await.status(), 200);
    assert_eq!(stack.server.get("/imagecrud/").await.status(), 200);
    assert!(!stack.server.log().contains("open-sesame"), "the token stays out of the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_changes_too_much_is_429_and_others_are_served() {
    let stack = Stack::start_with(&[("WRITES_PER_MINUTE", "3")]).await;
    let from = async |addresses: &str| {
        let (body, content_type) = form(&jpeg(1));
        let headers = [("content-type", content_type), ("x-forwarded-for", addresses)];
        stack.server.post_raw("/imagecrud/cat", &headers, body).await
    };
    for _ in 0..3 {
        assert_eq!(from("198.51.100.7").await.status(), 200);
    }
    let refused = from("203.0.113.9, 198.51.100.7").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 20);
    assert_eq!(from("198.51.100.8").await.status(), 200);
    // Without a load balancer, the other end of the connection counts.
    for _ in 0..3 {
        assert_eq!(stack.server.post("dog", jpeg(2)).await.status(), 200);
    }
    assert_eq!(stack.server.post("dog", jpeg(2)).await.status(), 429);
    assert_eq!(stack.server.get("/imagecrud/dog").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_in_the_form_that_was_asked_for() {
    let stack = Stack::start().await;
    let json = stack.server.get_as("/imagecrud/nobody", "application/json").await;
    assert_eq!((json.status().as_u16(), json.headers()["content-type"].to_str().unwrap()), (404, "application/json"));
    assert!(json.text().await.unwrap().contains("\"hint\""));
    let html = stack.server.get_as("/imagecrud/nobody", "text/html,*/*;q=0.8").await;
    assert!(html.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let text = stack.server.get("/imagecrud/nobody").await.text().await.unwrap();
    assert!(text.contains("there is no picture named \"nobody\"\nhint: "), "{text}");
    assert_eq!(stack.server.get("/elsewhere").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_beyond_the_slots_is_503_and_readers_are_served() {
    let stack = Stack::start_with(&[("UPLOAD_SLOTS", "1")]).await;
    let (body, content_type) = form(&jpeg(1));
    let mut stream = tokio::net::TcpStream::connect(&stack.server.address).await.unwrap();
    let head = format!(
        "POST /imagecrud/slow HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The permission to send comes once the server reads, that is once the slot is taken.
    let mut permission = [0; 25];
    stream.read_exact(&mut permission).await.unwrap();
    assert_eq!(&permission, b"HTTP/1.1 100 Continue\r\n\r\n");
    let (refused, read) = tokio::join!(stack.server.post("cat", jpeg(2)), stack.server.get("/imagecrud/"));
    assert_eq!((refused.status().as_u16(), read.status().as_u16()), (503, 200));
    stream.write_all(&body).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(stack.server.post("cat", jpeg(2)).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_asks_is_closed() {
    let stack = Stack::start().await;
    let mut stream = tokio::net::TcpStream::connect(&stack.server.address).await.unwrap();
    stream.write_all(b"GET /imagecrud/ HTTP/1.1\r\nHost: h\r\nX-Slow: ").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "it was still open after 20 s");
}
