//! The pages of the index, in JSON.

use reqwest::{Client, Url, header};
use serde::Deserialize;

use super::http::{RequestError, patiently, send, unreachable};

/// The server's largest page.
const PAGE: &str = "200";

#[derive(Debug, Clone, Deserialize)]
pub struct Listed {
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub struct Page {
    pub pictures: Vec<Listed>,
    pub older: Option<String>,
}

/// The first page.
pub fn first(gallery: &Url) -> Url {
    let mut url = gallery.clone();
    url.query_pairs_mut().append_pair("limit", PAGE);
    url
}

pub async fn page(client: &Client, url: &Url) -> Result<Page, RequestError> {
    let doing = format!("reading the index {url}");
    let (text, _) = patiently(|| async {
        let response = send(&doing, client.get(url.clone()).header(header::ACCEPT, "application/json")).await?;
        response.text().await.map_err(|error| unreachable(&doing, &error))
    })
    .await?;
    serde_json::from_str(&text).map_err(|_| RequestError::Wrong {
        doing,
        problem: "the answer is no index of pictures".into(),
        hint: "is this the address of an IMAGE CRUD gallery? It ends in /imagecrud/",
    })
}

/// Where a page's link leads.
pub fn follow(from: &Url, link: &str) -> Result<Url, RequestError> {
    from.join(link).map_err(|error| RequestError::Wrong {
        doing: format!("following the link {link:?}"),
        problem: error.to_string(),
        hint: "is this the address of an IMAGE CRUD gallery? It ends in /imagecrud/",
    })
}

/// The address of a picture of this gallery. Joined as a path segment: a name is never taken for a path.
pub fn picture(gallery: &Url, name: &str) -> Url {
    let mut url = gallery.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(name);
    }
    url
}
