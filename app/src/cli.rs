//! The commands, their arguments and their help. Only clap types; what a command does stands elsewhere.

use std::path::PathBuf;
use std::time::Duration;

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
    /// SHUTDOWN_SECONDS (90), SWEEP_INTERVAL_SECONDS (30), SWEEP_GRACE_SECONDS (3660), UNDO_SECONDS (300), UPLOAD_INTENT_SECONDS (3600),
    /// SERVED_BY and SERVED_IN (the instance and its zone, for the pages' foot), LOG_FORMAT (text or json), and the AWS SDK's own.
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

/// How often, or for how long; with both, whichever ends first.
#[derive(Debug, Args)]
pub struct Amount {
    /// How many pictures; the same one may come twice
    #[arg(short = 'c', long = "count", value_name = "N", required_unless_present = "duration", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: Option<u32>,
    /// For how long: 90, 90s, 5m or 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How many at once
    #[arg(short = 'j', long = "jobs", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("`{unit}` is no unit of time; use s, m or h")),
    };
    match number.parse::<u64>() {
        Ok(number) if (1..=86_400).contains(&number) => Ok(Duration::from_secs(number * seconds)),
        _ => Err("give a whole number from 1 to 86400, and s, m or h".into()),
    }
}

#[derive(Debug, Args)]
pub struct UploadMany {
    #[command(flatten)]
    pub amount: Amount,
    /// The folder to pick from
    pub dir: PathBuf,
    /// The gallery, for example http://HOST/imagecrud/
    pub url: String,
}

#[derive(Debug, Args)]
pub struct GetMany {
    #[command(flatten)]
    pub amount: Amount,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_originals_form_and_a_time_both_say_how_much() {
        let many = |arguments: &[&str]| {
            let all = ["imagecrud", "upload-many"].iter().chain(arguments).copied();
            Cli::try_parse_from(all).map(|cli| match cli.command {
                Command::UploadMany(many) => many.amount,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(many(&["-c", "10", "sample/", "http://h/"]).unwrap().count, Some(10));
        let timed = many(&["--duration", "5m", "-j", "16", "sample/", "http://h/"]).unwrap();
        assert_eq!((timed.duration, timed.jobs), (Some(Duration::from_secs(300)), 16));
        assert!(many(&["sample/", "http://h/"]).is_err());
        for bad in ["5d", "0", "m", "-1s", "1.5h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
