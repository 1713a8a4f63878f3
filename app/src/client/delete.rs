//! Delete one picture, or every one of the index, page after page until it is empty.

use futures::StreamExt;
use reqwest::{Client, StatusCode, Url, header};

use super::http::{RequestError, client_for, parse_gallery_url, parse_picture_url, send, send_patiently};
use super::index;
use super::tally::Tally;
use crate::cli;

pub async fn one(arguments: cli::Delete) -> anyhow::Result<()> {
    let url = parse_picture_url(&arguments.url)?;
    let client = client_for(&url)?;
    let request = client.delete(url.clone()).header(header::ACCEPT, "application/json");
    send(&format!("deleting {url}"), request).await?;
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
        let deletes = page.pictures.iter().map(|listed| delete(&client, index::picture(&gallery, &listed.name)));
        let mut deletes = futures::stream::iter(deletes).buffer_unordered(arguments.jobs.into());
        while let Some(outcome) = deletes.next().await {
            tally.count(outcome);
        }
        // What cannot be deleted stays on the first page for ever.
        if tally.failed() > 0 || tally.done() == before {
            return tally.finish("deleted");
        }
    }
}

/// Deleted by somebody else meanwhile is deleted.
async fn delete(client: &Client, url: Url) -> Result<(), RequestError> {
    let doing = format!("deleting {url}");
    let outcome =
        send_patiently(&doing, || async { Ok(client.delete(url.clone()).header(header::ACCEPT, "application/json")) })
            .await;
    match outcome {
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(()),
        other => other.map(|_| ()),
    }
}
