//! IMAGE CRUD: pictures by name. Rows live in MySQL, bytes in S3, and browsers fetch the bytes from S3
//! themselves by presigned URLs. This crate knows HTTP, MySQL and S3; it must not know who deployed it.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test ends where its expectation does"))]

/// The files that pages need.
pub mod assets;
/// The commands and their help.
pub mod cli;
/// The client tools: upload, upload-many, get-many, delete, delete-all.
pub mod client;
/// The server's settings, from the environment.
pub mod config;
/// The connection to MySQL: where it is, whether it answers, migrations.
pub mod database;
/// What goes wrong on the way to an HTTP answer.
pub mod error;
/// Who may change pictures, and how often.
pub mod guard;
/// What each route does.
pub mod handlers;
/// Finished pages that are given again.
pub mod kept_pages;
/// Taking what must not be published (a camera's position) out of a picture, without loss.
pub mod metadata;
/// What this server counts.
pub mod metrics;
/// Objects in S3 and presigned URLs to them.
pub mod object_store;
/// What a picture is to us: its name, its kind, its keys.
pub mod photo;
/// All SQL about pictures.
pub mod photos_db;
/// Telling requests apart in logs.
pub mod request_id;
/// Every route, and what is done around each.
pub mod router;
/// Listening, draining, ending.
pub mod serve;
/// Deletes the objects that no row names any more.
pub mod sweeper;
/// Proving that bytes are a picture, and its small version.
pub mod thumbnail;
/// Reading a multipart upload within its limits.
pub mod upload_body;
/// What uploads may hold at once.
pub mod upload_memory;
/// The pages.
pub mod views;
