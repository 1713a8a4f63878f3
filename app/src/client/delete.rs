//! Delete one picture, or every one of the index, page after page until it is empty.

use futures::StreamExt;
use reqwest::{Client, RequestBuilder, StatusCode, Url, header};

use super::http::{RequestError, Sent, changing, client_for, parse_gallery_url, parse_picture_url, patiently, send};
use super::index;
use super::pace::timed;
use super::tally::Tally;
use crate::cli;

pub async fn one(arguments: cli::Delete) -> anyhow::Result<()> {
    let url = parse_picture_url(&arguments.url)?;
    let client = client_for(&url)?;
    // Not tried again: a second one could not tell its own success from a picture that never was.
    send(&format!("deleting {url}"), request(&client, &url)).await?;
    Ok(())
}

pub async fn all(arguments: cli::DeleteAll) -> anyhow::Result<()> {
    let gallery = parse_gallery_url(&arguments.url)?;
    let client = client_for(&gallery)?;
    let mut tally = Tally::new("deleting", None);
    loop {
        // Always the first page: what stood on it is gone.
        let page = index::page(&client, &index::first(&gallery)).await?;
        if page.pictures.is_empty() {
            return tally.finish("deleted");
        }
        let before = tally.done();
        let deletes = page.pictures.iter().map(|listed| timed(delete(&client, index::picture(&gallery, &listed.name))));
        let mut deletes = futures::stream::iter(deletes).buffer_unordered(arguments.jobs.into());
        while let Some((took, outcome)) = deletes.next().await {
            tally.count(took, outcome);
        }
        // What cannot be deleted stays on the first page for ever.
        if tally.failed() > 0 || tally.done() == before {
            return tally.finish("deleted");
        }
    }
}

/// Deleted by somebody else meanwhile is deleted.
async fn delete(client: &Client, url: Url) -> Result<Sent, RequestError> {
    let doing = format!("deleting {url}");
    match patiently(|| send(&doing, request(client, &url))).await {
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(Sent::default()),
        outcome => outcome.map(|(_, retries)| Sent { bytes: 0, retries }),
    }
}

fn request(client: &Client, url: &Url) -> RequestBuilder {
    changing(client.delete(url.clone())).header(header::ACCEPT, "application/json")
}
