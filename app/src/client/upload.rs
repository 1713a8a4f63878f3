//! Upload one picture, or many under random names. The same bytes under the same name change nothing, so a retry is harmless.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use rand::RngExt;
use rand::seq::IndexedRandom;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Url, header};

use super::http::{RequestError, client_for, parse_gallery_url, parse_picture_url, send, send_patiently};
use super::index::picture;
use super::tally::Tally;
use crate::cli;
use crate::photo::PictureKind;

pub async fn one(arguments: cli::Upload) -> anyhow::Result<()> {
    let url = parse_picture_url(&arguments.url)?;
    let client = client_for(&url)?;
    let doing = format!("uploading {} to {url}", arguments.file.display());
    send(&doing, request(&client, &url, &arguments.file).await?).await?;
    Ok(())
}

pub async fn many(arguments: cli::UploadMany) -> anyhow::Result<()> {
    let gallery = parse_gallery_url(&arguments.url)?;
    let files = pictures_of(&arguments.dir).await?;
    let client = client_for(&gallery)?;
    let mut tally = Tally::new("uploading", Some(arguments.count.into()));
    let uploads = (0..arguments.count).map(|_| {
        let name = format!("{:016x}", rand::rng().random::<u64>());
        let file = files.choose(&mut rand::rng()).cloned().unwrap_or_default();
        let (client, url) = (&client, picture(&gallery, &name));
        async move {
            let doing = format!("uploading {} to {url}", file.display());
            send_patiently(&doing, || request(client, &url, &file)).await.map(|_| ())
        }
    });
    let mut uploads = futures::stream::iter(uploads).buffer_unordered(arguments.jobs.into());
    while let Some(outcome) = uploads.next().await {
        tally.count(outcome);
    }
    tally.finish("uploaded")
}

/// The file is read as it is sent, never whole.
async fn request(client: &Client, url: &Url, file: &Path) -> Result<RequestBuilder, RequestError> {
    let wrong = |problem: String, hint: &'static str| RequestError::Wrong {
        doing: format!("reading {}", file.display()),
        problem,
        hint,
    };
    let opened = tokio::fs::File::open(file)
        .await
        .map_err(|error| wrong(error.to_string(), "give the path of a picture file"))?;
    let metadata =
        opened.metadata().await.map_err(|error| wrong(error.to_string(), "give the path of a picture file"))?;
    if !metadata.is_file() {
        return Err(wrong("it is no file".into(), "`imagecrud upload-many` takes a folder"));
    }
    let file_name = file.file_name().map_or_else(|| "picture".into(), |name| name.to_string_lossy().into_owned());
    let stream = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(opened, 64 * 1024));
    let part = Part::stream_with_length(stream, metadata.len()).file_name(file_name);
    Ok(client.post(url.clone()).header(header::ACCEPT, "application/json").multipart(Form::new().part("file", part)))
}

/// The picture files of a folder, decided by their first bytes.
async fn pictures_of(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let unreadable = |error: std::io::Error| {
        anyhow::anyhow!("reading the folder {}: {error}\nhint: give a folder with picture files", dir.display())
    };
    let mut entries = tokio::fs::read_dir(dir).await.map_err(unreadable)?;
    let mut files = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
        let path = entry.path();
        if path.is_file() && starts_like_a_picture(&path).await {
            files.push(path);
        }
    }
    if files.is_empty() {
        anyhow::bail!("the folder {} has no pictures\nhint: JPEG, PNG, GIF and WebP files count", dir.display());
    }
    files.sort();
    Ok(files)
}

async fn starts_like_a_picture(path: &Path) -> bool {
    use tokio::io::AsyncReadExt as _;
    let Ok(file) = tokio::fs::File::open(path).await else { return false };
    let mut head = Vec::new();
    file.take(16).read_to_end(&mut head).await.is_ok() && PictureKind::of(&head).is_some()
}
