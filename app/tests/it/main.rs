//! The app as its users meet it: the real binary, a real MariaDB of each test's own, real S3 semantics by s3s-fs.
#![allow(clippy::unwrap_used, reason = "a test ends where its expectation does")]

mod browser;
mod client_tools;
mod consistency;
mod database_faults;
mod faults;
mod gallery;
mod gallery_in_a_browser;
mod hostile_pictures;
mod kept_pages;
mod mariadb;
mod migrations;
mod names;
mod object_store_faults;
mod observability;
mod openapi;
mod refusals;
mod room;
mod routes;
mod s3;
mod server;
mod shutdown;
mod stack;
mod undo;
