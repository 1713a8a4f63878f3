//! What the gallery holds, counted as a visitor would: every row that it lists, and every picture that opens.

use futures::StreamExt;
use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::Failure;

/// Pictures opened at the same time.
const PARALLEL: usize = 8;

/// Rows, and pictures that open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The names that are listed.
    pub rows: Vec<String>,
    /// Those of them whose picture does not open.
    pub broken: Vec<String>,
}

impl Count {
    /// How many pictures open.
    pub fn pictures(&self) -> usize {
        self.rows.len() - self.broken.len()
    }
}

/// Counts.
pub async fn count(cloud: &Cloud, url: &str) -> Result<Count, Failure> {
    let doing = "counting the gallery's pictures";
    let site = reqwest::Url::parse(url).map_err(|error| Failure::new(doing, error))?;
    let mut next = Some("?limit=200".to_owned());
    let mut count = Count::default();
    while let Some(path) = next.take() {
        let page = site.join(&path).map_err(|error| Failure::new(doing, error))?;
        let answer = cloud.http.get(page).header("accept", "application/json").send().await;
        let answer =
            answer.and_then(reqwest::Response::error_for_status).map_err(|error| Failure::new(doing, error))?;
        let body: Value = answer.json().await.map_err(|error| Failure::new(doing, error))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let listed = body["pictures"].as_array().into_iter().flatten();
        let pictures: Vec<(String, String)> = listed.map(|p| (text(&p["name"]), text(&p["url"]))).collect();
        let looks = pictures.into_iter().map(|(name, picture)| async move { (opens(cloud, &picture).await, name) });
        let looked: Vec<(bool, String)> = futures::stream::iter(looks).buffer_unordered(PARALLEL).collect().await;
        for (opens, name) in looked {
            if !opens {
                count.broken.push(name.clone());
            }
            count.rows.push(name);
        }
        next = body["older"].as_str().map(str::to_owned);
    }
    count.rows.sort();
    count.broken.sort();
    Ok(count)
}

/// Whether a picture's first byte is there; its URL is signed for GET alone.
async fn opens(cloud: &Cloud, url: &str) -> bool {
    let answer = cloud.http.get(url).header("range", "bytes=0-0").send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
