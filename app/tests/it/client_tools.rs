//! The client tools against a real server: what they do, what they say, and their exit codes.

use std::fs;
use std::process::Output;

use image::ImageFormat;

use crate::room::Room;
use crate::server::imagecrud;
use crate::stack::{Stack, eventually, jpeg, picture};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder(room: &Room) -> String {
    let dir = room.path("pictures");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.jpeg"), jpeg(1)).unwrap();
    fs::write(dir.join("b"), picture(ImageFormat::Png, 2)).unwrap();
    fs::write(dir.join("README.md"), "no picture").unwrap();
    dir.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_picture_is_uploaded_and_deleted() {
    let stack = Stack::start().await;
    let dir = folder(&stack.room);
    // By a name that only this machine knows, as the local cloud's load balancers have.
    let port = stack.server.address.rsplit_once(':').unwrap().1;
    let url = format!("http://imagecrud-1.elb.localhost:{port}/imagecrud/afdef75e0376bddfd");
    let uploaded = imagecrud(&["upload", &format!("{dir}/a.jpeg"), &url]).await;
    assert!(uploaded.status.success(), "{}", said(&uploaded));
    assert_eq!(stack.server.get("/imagecrud/afdef75e0376bddfd").await.status(), 200);
    let deleted = imagecrud(&["delete", &url]).await;
    assert!(deleted.status.success(), "{}", said(&deleted));
    assert_eq!(stack.server.get("/imagecrud/afdef75e0376bddfd").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pictures_are_uploaded_fetched_and_deleted() {
    let stack = Stack::start().await;
    let dir = folder(&stack.room);
    let url = stack.server.url("/imagecrud/");
    let empty = imagecrud(&["get-many", "-c", "3", &url]).await;
    assert_eq!(empty.status.code(), Some(1));
    assert!(said(&empty).contains("lists no pictures"), "{}", said(&empty));

    let uploaded = imagecrud(&["upload-many", "-c", "10", &dir, &url]).await;
    assert!(uploaded.status.success(), "{}", said(&uploaded));
    let summary = String::from_utf8_lossy(&uploaded.stdout).into_owned();
    let (first, second) = summary.split_once('\n').unwrap();
    assert_eq!(first, "uploaded 10 pictures");
    assert!(second.contains(" MB/s; p50 ") && second.ends_with("; 0 retries, 0 failed\n"), "{second}");
    let index = stack.server.json("/imagecrud/").await;
    let names: Vec<&str> =
        index["pictures"].as_array().unwrap().iter().map(|picture| picture["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 10);
    assert!(
        names.iter().all(|name| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{names:?}"
    );

    let fetched = imagecrud(&["get-many", "-c", "25", "-j", "8", &url]).await;
    assert!(fetched.status.success(), "{}", said(&fetched));
    stack.s3.go_away();
    let without_bytes = imagecrud(&["get-many", "-c", "1", &url]).await;
    assert_eq!(without_bytes.status.code(), Some(1), "a picture whose bytes cannot be opened is no success");
    stack.s3.come_back();

    let deleted = imagecrud(&["delete-all", url.trim_end_matches('/')]).await;
    assert!(deleted.status.success(), "{}", said(&deleted));
    assert!(String::from_utf8_lossy(&deleted.stdout).starts_with("deleted 10 pictures\n"));
    assert_eq!(stack.count("image").await, 0);
    let nothing = imagecrud(&["delete-all", &url]).await;
    assert!(nothing.status.success(), "{}", said(&nothing));
    stack.nothing_is_orphaned().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_a_sentence_with_a_hint_and_exit_code_1() {
    let stack = Stack::start().await;
    let dir = folder(&stack.room);
    let cat = stack.server.url("/imagecrud/cat");
    let index = stack.server.url("/imagecrud/");
    let (text, jpeg_file, large) = (format!("{dir}/README.md"), format!("{dir}/a.jpeg"), format!("{dir}/large"));
    let mut bytes = jpeg(1);
    bytes.resize(26 * 1024 * 1024, 0);
    fs::write(&large, bytes).unwrap();
    let empty = stack.room.path("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.display().to_string();
    let bad_name = stack.server.url("/imagecrud/a%20b");
    // A port that was just given back: nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{closed}/imagecrud/cat");
    for (arguments, expected) in [
        (vec!["upload", &text, &cat], "415"),
        (vec!["upload", &large, &cat], "413"),
        (vec!["upload", "/nonexistent.jpeg", &cat], "No such file"),
        (vec!["upload", &jpeg_file, &bad_name], "400"),
        (vec!["upload", &jpeg_file, &index], "names no picture"),
        (vec!["upload", &jpeg_file, "cat"], "is no URL"),
        (vec!["upload", &jpeg_file, "ftp://h/cat"], "is no http URL"),
        (vec!["upload", &jpeg_file, &nobody], "Connection refused"),
        (vec!["upload-many", "-c", "2", &empty, &index], "has no pictures"),
        (vec!["upload-many", "-c", "2", "/nonexistent", &index], "No such file"),
        (vec!["delete", &cat], "there is no picture named \"cat\""),
        (vec!["delete-all", &cat], "there is no such page"),
    ] {
        let output = imagecrud(&arguments).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(expected) && said.contains("hint: "), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(imagecrud(&["upload-many", &dir, &index]).await.status.code(), Some(2), "-c and --duration are missing");
    assert_eq!(stack.count("image").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_many_tells_how_many_failed() {
    let stack = Stack::start().await;
    let dir = folder(&stack.room);
    stack.s3.go_away();
    let output = imagecrud(&["upload-many", "-c", "2", &dir, &stack.server.url("/imagecrud/")]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("uploaded 0 pictures, 2 failed"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duration_ends_uploading_and_fetching() {
    let stack = Stack::start().await;
    let dir = folder(&stack.room);
    let url = stack.server.url("/imagecrud/");
    let uploaded = imagecrud(&["upload-many", "--duration", "1s", "-j", "2", &dir, &url]).await;
    assert!(uploaded.status.success(), "{}", said(&uploaded));
    assert!(stack.count("image").await > 0);
    let fetched = imagecrud(&["get-many", "--duration", "1", &url]).await;
    assert!(fetched.status.success(), "{}", said(&fetched));
    assert!(String::from_utf8_lossy(&fetched.stdout).contains("p99 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again_and_told() {
    let stack = Stack::start().await;
    let dir = folder(&stack.room);
    stack.s3.go_away();
    let url = stack.server.url("/imagecrud/");
    let arguments = ["upload-many", "-c", "1", "-j", "1", &dir, &url];
    let come_back = async {
        eventually("the server has answered 503", async || stack.server.log().contains("status=503")).await;
        stack.s3.come_back();
    };
    let (uploaded, ()) = tokio::join!(imagecrud(&arguments), come_back);
    assert!(uploaded.status.success(), "{}", said(&uploaded));
    let summary = String::from_utf8_lossy(&uploaded.stdout).into_owned();
    assert!(summary.contains(" retries, 0 failed") && !summary.contains(" 0 retries"), "{summary}");
}
