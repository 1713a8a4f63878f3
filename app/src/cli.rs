//! The commands, their arguments and their help. Only clap types; what a command does stands elsewhere.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// IMAGE CRUD: a photo web application on MySQL and S3, and its client tools
#[derive(Debug, Parser)]
#[command(name = "imagecrud", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the web server; its settings come from the environment
    ///
    /// LISTEN_ADDRESS (0.0.0.0:80), DATABASE_URL or DATABASE_CONFIG (s3://BUCKET/KEY of a JSON file with `url`), S3_BUCKET, AWS_REGION,
    /// S3_ENDPOINT, S3_PUBLIC_ENDPOINT, S3_FORCE_PATH_STYLE (false), DATABASE_CONNECTIONS (5), UPLOAD_SLOTS (16), DRAIN_SECONDS (10),
    /// SHUTDOWN_SECONDS (90), SWEEP_INTERVAL_SECONDS (30), SWEEP_GRACE_SECONDS (3660), UPLOAD_INTENT_SECONDS (3600), and the AWS SDK's own.
    Serve,
    /// Upload one picture; the URL ends in the picture's name
    Upload(Upload),
    /// Upload N pictures, picked at random from a folder, under random names
    UploadMany(UploadMany),
    /// Fetch the index and N of its pictures, with their bytes
    GetMany(GetMany),
    /// Delete one picture
    Delete(Delete),
    /// Delete every picture of the index
    DeleteAll(DeleteAll),
}

#[derive(Debug, Args)]
pub struct Upload {
    /// The picture: JPEG, PNG, GIF or WebP
    pub file: PathBuf,
    /// Where it goes, for example http://HOST/imagecrud/NAME
    pub url: String,
}

#[derive(Debug, Args)]
pub struct UploadMany {
    /// How many pictures to upload
    #[arg(short = 'c', long = "count", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// How many at once
    #[arg(short = 'j', long = "jobs", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// The folder to pick from
    pub dir: PathBuf,
    /// The gallery, for example http://HOST/imagecrud/
    pub url: String,
}

#[derive(Debug, Args)]
pub struct GetMany {
    /// How many pictures to fetch; the same one may come twice
    #[arg(short = 'c', long = "count", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// How many at once
    #[arg(short = 'j', long = "jobs", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// The gallery, for example http://HOST/imagecrud/
    pub url: String,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The picture, for example http://HOST/imagecrud/NAME
    pub url: String,
}

#[derive(Debug, Args)]
pub struct DeleteAll {
    /// How many at once
    #[arg(short = 'j', long = "jobs", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// The gallery, for example http://HOST/imagecrud/
    pub url: String,
}
