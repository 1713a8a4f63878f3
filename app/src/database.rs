//! The connection to MySQL. One task finds out where the database is, whether it answers, and brings its tables up to
//! date; everybody else asks for a pool and gets one, or a refusal within a short time. It knows no table of ours.
//!
//!     Waiting --(URL known, connected, migrated)--> Ready --(does not answer | URL changed)--> Waiting
//!
//! Each way into Ready makes a fresh pool, so that no connection to a database that is gone is ever used again.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{Connection, Executor};
use std::str::FromStr;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Bringing the tables up to date.
mod migrate;
/// Where the database is.
mod source;

pub use source::Source;

/// How long a request waits for a connection, and how long for a database that is just coming back.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_millis(1500);
/// The limit of what a request does with the database at a time: together with the rest, an answer within 3 s.
pub const QUICK: Duration = Duration::from_millis(2500);
/// A connection that was idle no longer than this is used without a look whether it is still there.
const TRUSTED: Duration = Duration::from_millis(100);
/// How long one look at the database's health may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How often to look while it answers, and while it does not.
const LOOK_WHEN_READY: Duration = Duration::from_secs(2);
const LOOK_WHEN_WAITING: Duration = Duration::from_millis(500);
/// How often the source is read again while it answers, and while it does not.
const READ_WHEN_READY: Duration = Duration::from_secs(15);
const READ_WHEN_WAITING: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("the database is not ready: {0}")]
    NotReady(Arc<str>),
    #[error("the database did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the database failed: {0}")]
    Sql(#[from] sqlx::Error),
}

impl DatabaseError {
    /// The MySQL error number, if the server sent one.
    fn number(&self) -> Option<u16> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => {
                error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
            }
            _ => None,
        }
    }

    /// Deadlock, lock wait timeout, or a unique key that another transaction was quicker to take: do it again.
    pub fn is_conflict(&self) -> bool {
        matches!(self.number(), Some(1213 | 1205 | 1062 | 1020))
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NotReady(_) | Self::TimedOut(_) => true,
            Self::Sql(sqlx::Error::Database(_)) => {
                // Too many connections, access denied (a password being changed), shutdown, connection killed, read only.
                self.is_conflict()
                    || matches!(
                        self.number(),
                        Some(1040 | 1044 | 1045 | 1053 | 1129 | 1158..=1161 | 1203 | 1290 | 1317 | 1927 | 3159)
                    )
            }
            Self::Sql(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
            ),
        }
    }
}

#[derive(Clone)]
enum Stage {
    Waiting(Arc<str>),
    Ready(MySqlPool),
}

/// The database as everybody else sees it.
#[derive(Clone)]
pub struct Database {
    stage: watch::Receiver<Stage>,
    trouble: Arc<Notify>,
}

impl Database {
    /// Starts the task that keeps the connection; it ends with `stop`.
    pub fn start(source: Source, connections: u32, stop: CancellationToken) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, stage) = watch::channel(Stage::Waiting("the server has just started".into()));
        let trouble = Arc::new(Notify::new());
        let keeper =
            Keeper { source, connections, stage: sender, trouble: trouble.clone(), url: None, pool: None, strikes: 0 };
        let task = tokio::spawn(keeper.run(stop));
        (Self { stage, trouble }, task)
    }

    /// Refuses at once, or after a short wait, where there is no use in trying.
    pub async fn ready(&self) -> Result<(), DatabaseError> {
        self.pool().await.map(|_| ())
    }

    /// How many are open, and how many of them idle.
    pub fn connections(&self) -> (u32, usize) {
        match &*self.stage.borrow() {
            Stage::Ready(pool) => (pool.size(), pool.num_idle()),
            Stage::Waiting(_) => (0, 0),
        }
    }

    async fn pool(&self) -> Result<MySqlPool, DatabaseError> {
        let mut stage = self.stage.clone();
        let ready = tokio::time::timeout(PATIENCE, stage.wait_for(|stage| matches!(stage, Stage::Ready(_)))).await;
        if let Ok(Ok(stage)) = ready
            && let Stage::Ready(pool) = &*stage
        {
            return Ok(pool.clone());
        }
        match &*self.stage.borrow() {
            Stage::Ready(pool) => Ok(pool.clone()),
            Stage::Waiting(reason) => Err(DatabaseError::NotReady(reason.clone())),
        }
    }

    /// Does something with the database within a limit.
    pub async fn run<T, W, F>(&self, limit: Duration, work: W) -> Result<T, DatabaseError>
    where
        W: FnOnce(MySqlPool) -> F,
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let outcome = tokio::time::timeout(limit, async { Ok(work(self.pool().await?).await?) }).await;
        let outcome = outcome.unwrap_or(Err(DatabaseError::TimedOut(limit)));
        if let Err(error) = &outcome
            && error.is_unavailable()
            && !error.is_conflict()
        {
            self.trouble.notify_one();
        }
        outcome
    }
}

struct Keeper {
    source: Source,
    connections: u32,
    stage: watch::Sender<Stage>,
    trouble: Arc<Notify>,
    url: Option<String>,
    pool: Option<MySqlPool>,
    /// Looks in a row at which the pool was stuck while a fresh connection was not.
    strikes: u32,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let mut last_read: Option<Instant> = None;
        loop {
            let every = if self.pool.is_some() { READ_WHEN_READY } else { READ_WHEN_WAITING };
            if self.url.is_none() || last_read.is_none_or(|at| at.elapsed() >= every) {
                self.read_source().await;
                last_read = Some(Instant::now());
            }
            if self.pool.is_some() {
                self.look().await;
            } else if let Some(url) = self.url.clone() {
                self.connect(&url).await;
            }
            let pause = match (&self.url, &self.pool) {
                (_, Some(_)) => LOOK_WHEN_READY,
                (Some(_), None) => LOOK_WHEN_WAITING,
                (None, None) => READ_WHEN_WAITING,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.trouble.notified(), if self.pool.is_some() => {}
                () = stop.cancelled() => break,
            }
        }
        if let Some(pool) = self.pool.take() {
            let _ = tokio::time::timeout(Duration::from_secs(2), pool.close()).await;
        }
    }

    async fn read_source(&mut self) {
        match self.source.read().await {
            Ok(url) => {
                if self.url.as_ref() != Some(&url) {
                    tracing::info!(database = %address(&url), "the database is at");
                    self.url = Some(url);
                    self.wait("connecting to it");
                }
            }
            // A URL that was good stays good while the object that held it cannot be read.
            Err(error) if self.url.is_some() => tracing::debug!("reading the database's address: {error}"),
            Err(error) => self.wait_because(&format!("its address is not known: {error}")),
        }
    }

    async fn connect(&mut self, url: &str) {
        match open(url, self.connections).await {
            Ok(pool) => {
                tracing::info!(database = %address(url), "the database is ready");
                self.strikes = 0;
                self.pool = Some(pool.clone());
                self.stage.send_replace(Stage::Ready(pool));
            }
            Err(error) => self.wait_because(&error.to_string()),
        }
    }

    /// A busy pool is not a dead database: only a fresh connection decides.
    async fn look(&mut self) {
        let (Some(pool), Some(url)) = (self.pool.clone(), self.url.clone()) else { return };
        let ping = async { pool.acquire().await?.ping().await };
        if matches!(tokio::time::timeout(Duration::from_secs(1), ping).await, Ok(Ok(()))) {
            self.strikes = 0;
            return;
        }
        match fresh_connection(&url).await {
            Ok(connection) => {
                drop(connection);
                self.strikes += 1;
                if self.strikes >= 3 {
                    self.wait_because("its connections are stuck; opening new ones");
                }
            }
            Err(error) => self.wait_because(&error.to_string()),
        }
    }

    fn wait_because(&mut self, reason: &str) {
        let known = matches!(&*self.stage.borrow(), Stage::Waiting(known) if **known == *reason);
        if !known {
            tracing::warn!("waiting for the database: {reason}");
        }
        self.wait(reason);
    }

    /// Lets nobody use the present connections any more.
    fn wait(&mut self, reason: &str) {
        self.stage.send_replace(Stage::Waiting(reason.into()));
        if let Some(pool) = self.pool.take() {
            tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(5), pool.close()).await });
        }
    }
}

/// Host, port and database of a URL: what of it may be logged.
fn address(url: &str) -> String {
    MySqlConnectOptions::from_str(url)
        .map(|options| {
            format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default())
        })
        .unwrap_or_else(|_| "an invalid URL".into())
}

async fn fresh_connection(url: &str) -> Result<sqlx::MySqlConnection, DatabaseError> {
    let options = MySqlConnectOptions::from_str(url)?;
    match tokio::time::timeout(CONNECT_LIMIT, sqlx::MySqlConnection::connect_with(&options)).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(DatabaseError::TimedOut(CONNECT_LIMIT)),
    }
}

async fn open(url: &str, connections: u32) -> Result<MySqlPool, DatabaseError> {
    migrate::run(fresh_connection(url).await?).await?;
    let options = MySqlConnectOptions::from_str(url)?;
    Ok(MySqlPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT)
        // A round trip for each use is much of what a page costs; a connection that was in use just now is there.
        .test_before_acquire(false)
        .before_acquire(|connection, now| {
            Box::pin(async move {
                if now.idle_for > TRUSTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                // Without gap locks two uploads of a new name wait for each other instead of deadlocking.
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                Ok(())
            })
        })
        .connect_lazy_with(options))
}
