//! Upload one picture, or many under random names. The same bytes under the same name change nothing, so a retry is harmless.

use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::seq::IndexedRandom;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Url, header};

use super::http::{RequestError, Sent, changing, client_for, parse_gallery_url, parse_picture_url, patiently, send};
use super::index::picture;
use super::pace;
use super::tally::Tally;
use crate::cli;
use crate::photo::PictureKind;

pub async fn one(arguments: cli::Upload) -> anyhow::Result<()> {
    let url = parse_picture_url(&arguments.url)?;
    upload(&client_for(&url)?, &url, &arguments.file).await?;
    Ok(())
}

pub async fn many(arguments: cli::UploadMany) -> anyhow::Result<()> {
    let gallery = parse_gallery_url(&arguments.url)?;
    let files = pictures_of(&arguments.dir).await?;
    let client = client_for(&gallery)?;
    let amount = &arguments.amount;
    let mut tally = Tally::new("uploading", amount.count.filter(|_| amount.duration.is_none()).map(u64::from));
    pace::run(amount, &mut tally, || {
        let name = format!("{:016x}", rand::rng().random::<u64>());
        let file = files.choose(&mut rand::rng()).cloned().unwrap_or_default();
        let (client, url) = (&client, picture(&gallery, &name));
        async move { upload(client, &url, &file).await }
    })
    .await;
    tally.finish("uploaded")
}

async fn upload(client: &Client, url: &Url, file: &Path) -> Result<Sent, RequestError> {
    let doing = format!("uploading {} to {url}", file.display());
    let (bytes, retries) = patiently(|| async {
        let (request, bytes) = request(client, url, file).await?;
        send(&doing, request).await?;
        Ok(bytes)
    })
    .await?;
    Ok(Sent { bytes, retries })
}

/// The file is read as it is sent, never whole; with its size.
async fn request(client: &Client, url: &Url, file: &Path) -> Result<(RequestBuilder, u64), RequestError> {
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
    let form = Form::new().part("file", part);
    let request = changing(client.post(url.clone())).header(header::ACCEPT, "application/json").multipart(form);
    Ok((request, metadata.len()))
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
