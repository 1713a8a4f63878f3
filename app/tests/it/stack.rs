//! Database, object store and one server together, and what every test asks of them.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageFormat, RgbImage};

use crate::mariadb::MariaDb;
use crate::room::Room;
use crate::s3::S3;
use crate::server::Server;

/// Field order is drop order: the server ends before what it stands on.
pub(crate) struct Stack {
    pub(crate) server: Server,
    pub(crate) database: MariaDb,
    pub(crate) s3: S3,
    pub(crate) room: Room,
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(more: &[(&str, &str)]) -> Self {
        let room = Room::new();
        let database = MariaDb::start(&room, "database").await;
        let s3 = S3::start(&room).await;
        let server = Server::start(&room, &s3, ("DATABASE_URL", &database.url()), more);
        serving(&server).await;
        Self { server, database, s3, room }
    }

    pub(crate) fn another_server(&self, more: &[(&str, &str)]) -> Server {
        Server::start(&self.room, &self.s3, ("DATABASE_URL", &self.database.url()), more)
    }

    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let mut connection = self.database.connect().await;
        let sql = match table {
            "image" => "SELECT COUNT(*) FROM image",
            "gc" => "SELECT COUNT(*) FROM gc",
            "deleted_image" => "SELECT COUNT(*) FROM deleted_image",
            other => panic!("no such table {other}"),
        };
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    /// Every object is named by a row, every row's objects are there, and nothing waits to be swept.
    pub(crate) async fn nothing_is_orphaned(&self) {
        eventually("every object belongs to a row", async || {
            let mut connection = self.database.connect().await;
            let rows: Vec<(String, Option<String>)> =
                sqlx::query_as("SELECT okey, tkey FROM image").fetch_all(&mut connection).await.unwrap();
            let named: BTreeSet<String> =
                rows.into_iter().flat_map(|(original, thumbnail)| [Some(original), thumbnail]).flatten().collect();
            self.count("gc").await == 0 && named == self.s3.pictures()
        })
        .await;
    }
}

pub(crate) async fn serving(server: &Server) {
    eventually("the index answers", async || server.get("/imagecrud/").await.status() == 200).await;
}

/// Waits for a condition, with a limit.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "waited 30 s in vain until: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A picture unlike those of other seeds.
pub(crate) fn picture(format: ImageFormat, seed: u8) -> Vec<u8> {
    let pixels = RgbImage::from_fn(400, 300, |x, y| image::Rgb([seed, (x / 2) as u8, (y as u8).wrapping_mul(seed)]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(pixels).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn jpeg(seed: u8) -> Vec<u8> {
    picture(ImageFormat::Jpeg, seed)
}

/// A picture of one pixel, in which stripping finds nothing.
pub(crate) fn small_png(seed: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let pixel = RgbImage::from_pixel(1, 1, image::Rgb([seed, 0, 0]));
    DynamicImage::ImageRgb8(pixel).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A form as it goes over the wire, and its boundary.
pub(crate) fn form(bytes: &[u8]) -> (Vec<u8>, &'static str) {
    let mut body = b"--cut-here\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n--cut-here--\r\n");
    (body, "multipart/form-data; boundary=cut-here")
}
