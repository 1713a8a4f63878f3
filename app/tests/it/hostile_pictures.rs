//! Files that want to do harm: each is refused with the right status or kept as nothing but a picture, and the server goes on.

use std::io::Cursor;

use futures::StreamExt;
use image::{DynamicImage, ImageFormat};
use rand::{RngExt, SeedableRng};

use crate::stack::{Stack, jpeg, picture};

async fn stored(stack: &Stack, name: &str) -> (String, Vec<u8>) {
    let described = stack.server.json(&format!("/imagecrud/{name}")).await;
    let fetched = stack.server.fetch(described["url"].as_str().unwrap()).await;
    let kind = fetched.headers()["content-type"].to_str().unwrap().to_string();
    (kind, fetched.bytes().await.unwrap().to_vec())
}

fn encoded(pixels: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = (body.len() as u32).to_be_bytes().to_vec();
    chunk.extend_from_slice(kind);
    chunk.extend_from_slice(body);
    let crc = !chunk[4..].iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    chunk.extend_from_slice(&crc.to_be_bytes());
    chunk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_a_page_or_an_archive_too_is_kept_as_a_picture_alone() {
    let stack = Stack::start().await;
    let script = b"<html><script>alert(document.domain)</script>";
    let mut appended = jpeg(1);
    appended.extend_from_slice(script);
    let mut commented = jpeg(2);
    let comment = [[0xFF, 0xFE].as_slice(), ((script.len() + 2) as u16).to_be_bytes().as_slice(), script].concat();
    commented.splice(2..2, comment);
    let mut archive = picture(ImageFormat::Png, 3);
    archive.extend_from_slice(b"PK\x03\x04evil.sh<script>");
    let mut gif = picture(ImageFormat::Gif, 4);
    gif.extend_from_slice(b"*/=1;alert(1)//<script>");
    for (name, bytes, kind) in [
        ("appended", appended, "image/jpeg"),
        ("commented", commented, "image/jpeg"),
        ("archive", archive, "image/png"),
        ("gif", gif, "image/gif"),
    ] {
        assert_eq!(stack.server.post(name, bytes).await.status(), 200, "{name}");
        let (stored_kind, stored) = stored(&stack, name).await;
        assert_eq!(stored_kind, kind, "{name}");
        assert!(!stored.windows(7).any(|window| window == b"<script"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_of_text_in_a_picture_is_dropped() {
    let stack = Stack::start().await;
    let mut png = picture(ImageFormat::Png, 1);
    let text = png_chunk(b"iTXt", &[b"Comment\0\0\0\0\0".as_slice(), "x".repeat(1024 * 1024).as_bytes()].concat());
    png.splice(33..33, text);
    assert_eq!(stack.server.post("talkative", png).await.status(), 200);
    let (kind, bytes) = stored(&stack, "talkative").await;
    assert_eq!(kind, "image/png");
    assert!(bytes.len() < 500_000, "{} bytes were kept", bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_unpacks_to_a_hundred_times_its_size_is_held_to_the_limits() {
    let stack = Stack::start().await;
    let blank = |width, height| encoded(&DynamicImage::new_luma8(width, height), ImageFormat::Png);
    let within = blank(8_000, 5_000);
    assert!(within.len() < 400_000, "{}", within.len());
    assert_eq!(stack.server.post("within", within).await.status(), 200);
    for (width, height) in [(8_001, 5_000), (12_001, 1)] {
        let response = stack.server.post("beyond", blank(width, height)).await;
        assert_eq!(response.status(), 413, "{width} x {height}");
        assert!(response.text().await.unwrap().contains(&format!("{width} x {height}")));
    }
    assert_eq!(stack.count("image").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_file_is_kept_and_one_byte_more_is_413() {
    let stack = Stack::start_with(&[("THUMBNAILS", "false")]).await;
    // What stands behind the picture's end counts as sent, and is not kept.
    let mut largest = jpeg(1);
    largest.resize(25 * 1024 * 1024, 0x55);
    assert_eq!(stack.server.post("largest", largest.clone()).await.status(), 200);
    largest.push(0x55);
    let refused = stack.server.post("beyond", largest).await;
    assert_eq!(refused.status(), 413);
    assert!(refused.text().await.unwrap().contains("25 MB"));
    assert_eq!(stack.count("image").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_changed_and_random_bytes_are_kept_or_refused_and_nothing_is_left_over() {
    let stack = Stack::start_with(&[("UPLOAD_INTENT_SECONDS", "5")]).await;
    // Always the same, so that a failure can be seen again.
    let mut rng = rand::rngs::StdRng::seed_from_u64(0x1c);
    let mut files = Vec::new();
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP] {
        let large = DynamicImage::ImageRgb8(image::RgbImage::from_fn(900, 700, |x, y| {
            image::Rgb([x as u8, y as u8, (x * y) as u8])
        }));
        for whole in [picture(format, 9), encoded(&large, format)] {
            for _ in 0..12 {
                files.push(whole[..rng.random_range(0..whole.len())].to_vec());
                let mut changed = whole.clone();
                for _ in 0..rng.random_range(1..20) {
                    let at = rng.random_range(0..changed.len());
                    changed[at] = rng.random();
                }
                files.push(changed);
            }
        }
        let mut random: Vec<u8> = (0..5000).map(|_| rng.random()).collect();
        random.splice(..12, picture(format, 9)[..12].iter().copied());
        files.push(random);
    }
    let (server, count) = (&stack.server, files.len());
    let posts = files.into_iter().enumerate().map(|(index, bytes)| async move {
        let status = server.post(&format!("p{index}"), bytes).await.status().as_u16();
        assert!(matches!(status, 200 | 413 | 415), "file {index}: {status}");
        status
    });
    let statuses: Vec<u16> = futures::stream::iter(posts).buffer_unordered(8).collect().await;
    let kept = statuses.iter().filter(|status| **status == 200).count();
    println!("{count} files, {kept} kept, {} refused", count - kept);
    assert_eq!(stack.server.get("/imagecrud/").await.status(), 200);
    assert_eq!(stack.count("image").await, kept as i64);
    stack.nothing_is_orphaned().await;
}
