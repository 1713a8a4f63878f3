//! Pages of the index. A page begins behind a row that is named by what it is sorted by, never by its number, so no row is
//! skipped or shown twice while others come and go, and the thousandth page costs as much as the first. Whether a page's rows
//! are still those that it was made of is told by their version, which costs no more than finding them.

use std::fmt;
use std::str::FromStr;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, MySqlPool, Row as _};

use super::{COLUMNS, PhotosDb, photo};
use crate::database::{DatabaseError, QUICK};
use crate::photo::{Listed, Photo};

/// What the index shows, and what there is to know: what is read, and what of it the version is made of. Names hold no slash,
/// and keys are never used twice.
const SHOWN: Columns =
    Columns { read: "id, name, COALESCE(tkey, okey), w, h", hashed: "id, name, COALESCE(tkey, okey), w, h" };
const ALL: Columns =
    Columns { read: COLUMNS, hashed: "id, name, okey, tkey, ctype, bytes, w, h, HEX(sha256), created, updated" };

struct Columns {
    read: &'static str,
    hashed: &'static str,
}

impl Columns {
    /// Of a row, 64 bits. MD5 is about to leave MySQL.
    fn hash(&self) -> String {
        format!("CAST(CONV(LEFT(SHA2(CONCAT_WS('/', {}), 256), 16), 16, 10) AS UNSIGNED)", self.hashed)
    }
}

/// Which rows a page is made of, and what of them it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version {
    rows: i64,
    hash: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Listing {
    pub order: Order,
    /// Names begin with it, without regard to case and accents.
    pub prefix: String,
    pub behind: Option<Cursor>,
    pub limit: u32,
}

impl Listing {
    /// Made of constants; all that comes from outside is bound.
    fn select(&self, columns: &str) -> String {
        let mut conditions = Vec::new();
        if !self.prefix.is_empty() {
            conditions.push("folded LIKE ? ESCAPE '!'");
        }
        let by = match self.order {
            Order::Newest => "id DESC",
            Order::Oldest => "id",
            Order::Name => "folded, id",
        };
        if self.behind.is_some() {
            conditions.push(match self.order {
                Order::Newest => "id < ?",
                Order::Oldest => "id > ?",
                // Two ranges of one index, side by side; a row comparison would be none to MySQL.
                Order::Name => "(folded > ? OR (folded = ? AND id > ?))",
            });
        }
        let conditions = if conditions.is_empty() { "TRUE".into() } else { conditions.join(" AND ") };
        format!("SELECT {columns} FROM image WHERE {conditions} ORDER BY {by} LIMIT ?")
    }

    fn query(&self, sql: String) -> Query<'static, MySql, MySqlArguments> {
        let mut query = sqlx::query::<MySql>(AssertSqlSafe(sql));
        if !self.prefix.is_empty() {
            query = query.bind(format!("{}%", escaped(&self.prefix)));
        }
        if let Some(Cursor { id, name }) = &self.behind {
            query = match self.order {
                Order::Newest | Order::Oldest => query.bind(*id),
                Order::Name => query.bind(name.clone()).bind(name.clone()).bind(*id),
            };
        }
        query.bind(self.limit)
    }
}

impl PhotosDb {
    /// A page, with all that there is to know.
    pub async fn list(&self, listing: &Listing) -> Result<(Vec<Photo>, Version), DatabaseError> {
        self.page(listing, &ALL, photo).await
    }

    /// The same page, with what the index shows.
    pub async fn list_shown(&self, listing: &Listing) -> Result<(Vec<Listed>, Version), DatabaseError> {
        self.page(listing, &SHOWN, listed).await
    }

    /// What `list` would answer as the version.
    pub async fn version(&self, listing: &Listing) -> Result<Version, DatabaseError> {
        self.version_of(listing, &ALL).await
    }

    /// What `list_shown` would answer as the version.
    pub async fn version_shown(&self, listing: &Listing) -> Result<Version, DatabaseError> {
        self.version_of(listing, &SHOWN).await
    }

    /// Rows and version are of one moment, and each row is hashed where it was read.
    async fn page<T>(
        &self,
        listing: &Listing,
        columns: &Columns,
        read: fn(&MySqlRow) -> Result<T, sqlx::Error>,
    ) -> Result<(Vec<T>, Version), DatabaseError> {
        let query = listing.query(listing.select(&format!("{}, {} AS hash", columns.read, columns.hash())));
        let work = |pool: MySqlPool| async move {
            let rows = query.fetch_all(&pool).await?;
            let mut version = Version { rows: rows.len() as i64, hash: 0 };
            for row in &rows {
                version.hash ^= row.try_get::<u64, _>("hash")?;
            }
            Ok((rows.iter().map(read).collect::<Result<_, _>>()?, version))
        };
        self.database.run(QUICK, work).await
    }

    async fn version_of(&self, listing: &Listing, columns: &Columns) -> Result<Version, DatabaseError> {
        let rows = listing.select(&format!("{} AS hash", columns.hash()));
        let query = listing.query(format!("SELECT COUNT(*), BIT_XOR(hash) FROM ({rows}) pictures"));
        let work = |pool: MySqlPool| async move {
            let row = query.fetch_one(&pool).await?;
            Ok(Version { rows: row.try_get(0)?, hash: row.try_get(1)? })
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
