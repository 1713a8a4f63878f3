//! Fetch the index and N of its pictures at random: each one's page, then its bytes from where the page says they are.

use rand::seq::IndexedRandom;
use reqwest::{Client, Url, header};
use serde::Deserialize;

use super::http::{RequestError, Sent, client_for, parse_gallery_url, parse_url, patiently, send, unreachable};
use super::index::{self, Listed};
use super::pace;
use super::tally::Tally;
use crate::cli;

/// Pages of the index read before choosing.
const MAX_PAGES: usize = 50;

#[derive(Deserialize)]
struct Described {
    url: String,
    bytes: u64,
}

pub async fn many(arguments: cli::GetMany) -> anyhow::Result<()> {
    let gallery = parse_gallery_url(&arguments.url)?;
    let client = client_for(&gallery)?;
    let listed = listed(&client, &gallery).await?;
    if listed.is_empty() {
        anyhow::bail!("the index {gallery} lists no pictures\nhint: `imagecrud upload-many` uploads some");
    }
    let amount = &arguments.amount;
    let mut tally = Tally::new("fetching", amount.count.filter(|_| amount.duration.is_none()).map(u64::from));
    pace::run(amount, &mut tally, || {
        let url = listed.choose(&mut rand::rng()).map(|listed| index::picture(&gallery, &listed.name));
        let (client, url) = (&client, url.unwrap_or_else(|| gallery.clone()));
        async move {
            let (bytes, retries) = patiently(|| fetch(client, &url)).await?;
            Ok(Sent { bytes, retries })
        }
    })
    .await;
    tally.finish("fetched")
}

async fn listed(client: &Client, gallery: &Url) -> Result<Vec<Listed>, RequestError> {
    let mut listed = Vec::new();
    let mut url = index::first(gallery);
    for _ in 0..MAX_PAGES {
        let page = index::page(client, &url).await?;
        listed.extend(page.pictures);
        match page.older {
            Some(older) => url = index::follow(&url, &older)?,
            None => break,
        }
    }
    Ok(listed)
}

/// The bytes of one picture, counted.
async fn fetch(client: &Client, page: &Url) -> Result<u64, RequestError> {
    let doing = format!("fetching {page}");
    let wrong = |problem: &str| RequestError::Wrong {
        doing: doing.clone(),
        problem: problem.into(),
        hint: "is this an IMAGE CRUD gallery?",
    };
    let response = send(&doing, client.get(page.clone()).header(header::ACCEPT, "application/json")).await?;
    let text = response.text().await.map_err(|error| unreachable(&doing, &error))?;
    let described: Described = serde_json::from_str(&text).map_err(|_| wrong("the answer describes no picture"))?;
    let url = parse_url(&described.url).map_err(|error| wrong(&error.to_string()))?;
    // The URL is a permission: only its place is shown.
    let doing = format!("fetching the bytes of {page} from {}", url.origin().ascii_serialization());
    let response = send(&doing, client.get(url.clone())).await?;
    let picture =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"image/"));
    let bytes = response.bytes().await.map_err(|error| unreachable(&doing, &error))?;
    if !picture {
        return Err(wrong("what lies at its URL is no picture"));
    }
    if bytes.len() as u64 != described.bytes {
        return Err(wrong(&format!("{} bytes came instead of {}", bytes.len(), described.bytes)));
    }
    Ok(described.bytes)
}
