//! Pages of the index. A page begins behind a row that is named by what it is sorted by, never by its number, so no row is
//! skipped or shown twice while others come and go, and the thousandth page costs as much as the first.

use std::fmt;
use std::str::FromStr;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySql, MySqlPool, Row as _};

use super::{COLUMNS, PhotosDb, photo};
use crate::database::{DatabaseError, QUICK};
use crate::photo::{Listed, Photo};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Newest,
    Oldest,
    /// Without regard to case and accents.
    Name,
}

impl Order {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Name => "name",
        }
    }
}

impl FromStr for Order {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Newest, Self::Oldest, Self::Name].into_iter().find(|order| order.as_str() == text).ok_or(())
    }
}

/// The last row of a page. Written as `ID`, or as `ID-NAME` where the name decides the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub id: u64,
    pub name: String,
}

impl Cursor {
    pub fn behind(id: u64, name: &str, order: Order) -> Self {
        Self { id, name: if order == Order::Name { name.into() } else { String::new() } }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{}", self.id),
            name => write!(f, "{}-{name}", self.id),
        }
    }
}

impl FromStr for Cursor {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, name) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { id: id.parse()?, name: name.into() })
    }
}

/// What of the pictures is asked for.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    pub order: Order,
    /// Names begin with it, without regard to case and accents.
    pub prefix: String,
    pub behind: Option<Cursor>,
    pub limit: u32,
}

impl PhotosDb {
    /// A page, with all that there is to know.
    pub async fn list(&self, listing: &Listing) -> Result<Vec<Photo>, DatabaseError> {
        self.page(listing, COLUMNS, photo).await
    }

    /// The same page, with what the index shows.
    pub async fn list_shown(&self, listing: &Listing) -> Result<Vec<Listed>, DatabaseError> {
        self.page(listing, "id, name, COALESCE(tkey, okey), w, h", listed).await
    }

    async fn page<T>(
        &self,
        listing: &Listing,
        columns: &'static str,
        read: fn(&MySqlRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, DatabaseError> {
        let behind = listing.behind.clone();
        let mut conditions = Vec::new();
        if !listing.prefix.is_empty() {
            conditions.push("folded LIKE ? ESCAPE '!'");
        }
        let by = match listing.order {
            Order::Newest => "id DESC",
            Order::Oldest => "id",
            Order::Name => "folded, id",
        };
        if behind.is_some() {
            conditions.push(match listing.order {
                Order::Newest => "id < ?",
                Order::Oldest => "id > ?",
                // Two ranges of one index, side by side; a row comparison would be none to MySQL.
                Order::Name => "(folded > ? OR (folded = ? AND id > ?))",
            });
        }
        let conditions = if conditions.is_empty() { "TRUE".into() } else { conditions.join(" AND ") };
        // Made of the constants above; all that comes from outside is bound.
        let sql = format!("SELECT {columns} FROM image WHERE {conditions} ORDER BY {by} LIMIT ?");
        let work = |pool: MySqlPool| async move {
            let mut query = sqlx::query::<MySql>(AssertSqlSafe(sql));
            if !listing.prefix.is_empty() {
                query = query.bind(format!("{}%", escaped(&listing.prefix)));
            }
            if let Some(Cursor { id, name }) = behind {
                query = match listing.order {
                    Order::Newest | Order::Oldest => query.bind(id),
                    Order::Name => query.bind(name.clone()).bind(name).bind(id),
                };
            }
            let rows = query.bind(listing.limit).fetch_all(&pool).await?;
            rows.iter().map(read).collect()
        };
        self.database.run(QUICK, work).await
    }

    /// The pictures that were uploaded next after and before this one.
    pub async fn neighbours(&self, id: u64) -> Result<(Option<String>, Option<String>), DatabaseError> {
        let work = |pool: MySqlPool| async move {
            let newer = sqlx::query_scalar("SELECT name FROM image WHERE id > ? ORDER BY id LIMIT 1")
                .bind(id)
                .fetch_optional(&pool)
                .await?;
            let older = sqlx::query_scalar("SELECT name FROM image WHERE id < ? ORDER BY id DESC LIMIT 1")
                .bind(id)
                .fetch_optional(&pool)
                .await?;
            Ok((newer, older))
        };
        self.database.run(QUICK, work).await
    }
}

fn listed(row: &MySqlRow) -> Result<Listed, sqlx::Error> {
    Ok(Listed {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        shown_key: row.try_get(2)?,
        width: row.try_get(3)?,
        height: row.try_get(4)?,
    })
}

/// Text in which LIKE finds no sign of its own.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if matches!(c, '%' | '_' | '!') {
            escaped.push('!');
        }
        escaped.push(c);
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_way_through_an_address() {
        for (id, name) in [(7, ""), (u64::MAX, "a-b-c"), (0, "写真"), (3, "1")] {
            let cursor = Cursor { id, name: name.into() };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert!("x".parse::<Cursor>().is_err());
    }

    #[test]
    fn a_search_for_signs_of_like_finds_only_themselves() {
        assert_eq!(escaped("100%_a!"), "100!%!_a!!");
    }
}
