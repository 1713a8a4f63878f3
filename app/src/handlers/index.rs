//! The index. It asks S3 nothing: URLs are signed here. Pages are kept once they are made, but for those that tell of a deletion.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use icu_normalizer::ComposingNormalizerBorrowed;

use crate::error::HttpError;
use crate::handlers::photos::described;
use crate::kept_pages::Maker;
use crate::object_store::Presigner;
use crate::photo::{MAX_NAME_CHARS, PhotoName, percent_encoded};
use crate::photos_db::{Cursor, Listing, Order, PhotosDb, Version};
use crate::router::{App, Form};
use crate::views::{self, IndexPage, Notice, Page, Picture, Site, Tile};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 200;

/// What the address asks for. A field that a form sent empty is one that was not sent.
type Parameters = HashMap<String, String>;

pub async fn index(
    State(app): State<Arc<App>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let Query(parameters) = parameters.map_err(|_| bad_query("what stands behind the `?`"))?;
    let form = if Form::of(&headers) == Form::Json { IndexForm::Json } else { IndexForm::Html };
    let address = Address::of(&parameters, form)?;
    let deleted = text(&parameters, "deleted").filter(|_| form == IndexForm::Html).map(PhotoName::parse);
    let page = match deleted {
        Some(Ok(name)) => {
            let notice = Notice::new(&name, app.db.last_deletion(&name).await?);
            app.index.maker().make(&address, Some(notice)).await?.1
        }
        _ => app.index.get(address).await?,
    };
    Ok(page.into_response())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum IndexForm {
    Html,
    Json,
}

/// Of a page of the index, in one of its forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    form: IndexForm,
    order: Order,
    prefix: String,
    behind: Option<Cursor>,
    limit: u32,
}

impl Address {
    fn of(parameters: &Parameters, form: IndexForm) -> Result<Self, HttpError> {
        let limit = parameter(parameters, "limit")?.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(bad_query("limit"));
        }
        let order: Order = match text(parameters, "sort") {
            Some(sort) => sort.parse().map_err(|()| bad_query("sort"))?,
            None => Order::default(),
        };
        let prefix = text(parameters, "q").map(search_text).unwrap_or_default();
        let behind: Option<Cursor> = parameter(parameters, "before")?;
        Ok(Self { form, order, prefix, behind, limit })
    }

    /// One row more than shown tells whether there is another page.
    fn listing(&self) -> Listing {
        Listing { order: self.order, prefix: self.prefix.clone(), behind: self.behind.clone(), limit: self.limit + 1 }
    }

    /// Where it is not the usual one.
    fn limit(&self) -> Option<u32> {
        (self.limit != DEFAULT_LIMIT).then_some(self.limit)
    }

    /// Of the same list, the page behind this row.
    fn page(&self, behind: Option<&Cursor>) -> String {
        let mut address = Vec::new();
        if let Some(limit) = self.limit() {
            address.push(format!("limit={limit}"));
        }
        if self.order != Order::default() {
            address.push(format!("sort={}", self.order.as_str()));
        }
        if !self.prefix.is_empty() {
            address.push(format!("q={}", percent_encoded(&self.prefix)));
        }
        if let Some(cursor) = behind {
            address.push(format!("before={}", percent_encoded(&cursor.to_string())));
        }
        if address.is_empty() { "/imagecrud/".into() } else { format!("/imagecrud/?{}", address.join("&")) }
    }

    /// Cuts off the row that is not shown, and answers where the next page begins: behind the last that is.
    fn next<T>(&self, rows: &mut Vec<T>, of: impl Fn(&T) -> (u64, &str)) -> Option<String> {
        let more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let (id, name) = rows.last().filter(|_| more).map(of)?;
        Some(self.page(Some(&Cursor::behind(id, name, self.order))))
    }
}

/// What pages of the index are made of: the rows, and who signs the URLs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    rows: Version,
    signer: u64,
}

/// Makes them.
pub struct IndexPages {
    pub db: PhotosDb,
    pub presigner: Presigner,
    pub site: Site,
}

impl IndexPages {
    async fn make(&self, address: &Address, notice: Option<Notice>) -> Result<(Stamp, Page), HttpError> {
        let signer = self.presigner.signer().await?;
        let listing = address.listing();
        if address.form == IndexForm::Json {
            let (mut photos, version) = self.db.list(&listing).await?;
            let next = address.next(&mut photos, |photo| (photo.id, &photo.name));
            let pictures: Vec<Picture> = photos.iter().map(|photo| described(&signer, photo)).collect();
            let page = views::index_json(&pictures, next.as_deref())?;
            return Ok((Stamp { rows: version, signer: signer.number() }, page));
        }
        let (mut rows, version) = self.db.list_shown(&listing).await?;
        let next = address.next(&mut rows, |row| (row.id, &row.name));
        let tiles = rows.into_iter().map(|row| {
            let url = signer.url(&row.shown_key);
            Tile::new(row, url)
        });
        let page = IndexPage {
            site: &self.site,
            tiles: tiles.collect(),
            next,
            first_page: address.behind.as_ref().map(|_| address.page(None)),
            order: address.order,
            prefix: &address.prefix,
            limit: address.limit(),
            notice,
        };
        let page = views::with_images_from(signer.origin(), &page)?;
        Ok((Stamp { rows: version, signer: signer.number() }, page))
    }
}

impl Maker for IndexPages {
    type Address = Address;
    type Stamp = Stamp;

    async fn stamp(&self, address: &Address) -> Result<Stamp, HttpError> {
        let signer = self.presigner.signer().await?.number();
        let listing = address.listing();
        let rows = match address.form {
            IndexForm::Html => self.db.version_shown(&listing).await?,
            IndexForm::Json => self.db.version(&listing).await?,
        };
        Ok(Stamp { rows, signer })
    }

    async fn page(&self, address: &Address) -> Result<(Stamp, Page), HttpError> {
        self.make(address, None).await
    }
}

/// As names are spelt. What no name can hold finds nothing.
fn search_text(text: &str) -> String {
    let text: String = text.trim().chars().take(MAX_NAME_CHARS).collect();
    ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned()
}

fn text<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn parameter<T: FromStr>(parameters: &Parameters, name: &str) -> Result<Option<T>, HttpError> {
    text(parameters, name).map(str::parse).transpose().map_err(|_| bad_query(name))
}

fn bad_query(name: &str) -> HttpError {
    HttpError::new(StatusCode::BAD_REQUEST, format!("`{name}` in the address cannot be used"))
        .hint("`limit` is 1 to 200, `sort` is newest, oldest or name, `q` is how a name begins, `before` comes from the link to the next page")
}
