//! SIGTERM, and starting under wrong settings.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stack::{Stack, eventually, form, jpeg};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_a_slow_upload_of_20_mb_lets_it_complete() {
    let mut stack = Stack::start_with(&[("DRAIN_SECONDS", "1")]).await;
    let mut large = jpeg(1);
    large.resize(20_000_000, 0x55);
    let (body, content_type) = form(&large);
    let mut stream = tokio::net::TcpStream::connect(&stack.server.address).await.unwrap();
    let head = format!(
        "POST /imagecrud/slow HTTP/1.1\r\nHost: h\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body[..100]).await.unwrap();
    stack.server.signal("TERM");
    eventually("it says that it drains", async || stack.server.get("/healthz").await.status() == 503).await;
    assert_eq!(stack.server.get("/imagecrud/").await.status(), 200, "it serves while it drains");
    eventually("it no longer accepts", async || stack.server.log().contains("no longer accepting")).await;
    for part in body[100..].chunks(body.len() / 4) {
        stream.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(stack.server.ended().await, Some(0));
    assert_eq!(stack.count("image").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_ends_at_once_with_0() {
    let mut stack = Stack::start().await;
    stack.server.signal("TERM");
    assert_eq!(stack.server.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_is_cut_at_the_limit() {
    let mut stack = Stack::start_with(&[("SHUTDOWN_SECONDS", "1")]).await;
    let mut stream = tokio::net::TcpStream::connect(&stack.server.address).await.unwrap();
    let head = "POST /imagecrud/never HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n--b";
    stream.write_all(head.as_bytes()).await.unwrap();
    // Only a request that is in hand is waited for.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stack.server.signal("TERM");
    assert_eq!(stack.server.ended().await, Some(0));
    assert!(stack.server.log().contains("were cut"), "{}", stack.server.log());
}

#[test]
fn a_wrong_setting_is_named_and_ends_with_1() {
    let serve = |variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_imagecrud"))
            .arg("serve")
            .env_clear()
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = serve(&[("AWS_REGION", "r"), ("S3_BUCKET", "b")]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DATABASE_URL: is not set") && text.contains("hint: "), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = serve(&[
        ("AWS_REGION", "r"),
        ("S3_BUCKET", "b"),
        ("DATABASE_URL", "mysql://u@127.0.0.1/d"),
        ("LISTEN_ADDRESS", &address),
    ]);
    assert_eq!(code, Some(1));
    assert!(text.contains("LISTEN_ADDRESS") && text.contains("hint: "), "{text}");
}
