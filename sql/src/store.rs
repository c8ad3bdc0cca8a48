mod direct;
mod health;
mod migrate;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Executor as _, PgPool, Postgres, Sqlite, SqlitePool};

use crate::error::{Error, Result};
use crate::row::Row;
use crate::statement::{Arg, Statement};
use direct::Direct;
use health::{Health, Pass};

pub(crate) use direct::Asker;

/// Connections that read from SQLite at once.
pub const SQLITE_READERS_MAX: u32 = 4;
/// Connections to PostgreSQL.
pub const POSTGRES_CONNECTIONS_MAX: u32 = 16;
/// How long a statement waits for another process's write before it fails.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection before it fails: the records' callers show an error rather than hang. For
/// PostgreSQL this is also how long a server that is away is looked for.
const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const POSTGRES_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The records, in one of two databases. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// One writer and several readers on one file (WAL): readers never wait for the writer. What comes with every call goes
    /// past the pools.
    Sqlite {
        write: SqlitePool,
        read: SqlitePool,
        direct: Direct,
        health: Health,
    },
    Postgres {
        pool: PgPool,
        health: Health,
    },
}

impl Store {
    /// Opens `sqlite:PATH` (the file and its folders are made where missing) or `postgres://...` and brings its schema up to
    /// date.
    pub async fn connect(url: &str) -> Result<Self> {
        let store = Self::open(url).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Opens without touching the schema.
    pub async fn open(url: &str) -> Result<Self> {
        let store = Self::prepare_pools(url, true)?;
        // A database that is away is told at once.
        match &store {
            Self::Sqlite { write, read, .. } => {
                drop(write.acquire().await.map_err(Error::Open)?);
                drop(read.acquire().await.map_err(Error::Open)?);
            }
            Self::Postgres { pool, .. } => drop(pool.acquire().await.map_err(Error::Open)?),
        }
        Ok(store)
    }

    /// Connects when it is first asked. Until [`Store::migrate`] has succeeded every question fails at once with
    /// [`Error::Away`]. Fails where the URL is wrong.
    pub fn open_lazily(url: &str) -> Result<Self> {
        Self::prepare_pools(url, false)
    }

    fn prepare_pools(url: &str, ready: bool) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return sqlite_pools(path.strip_prefix("//").unwrap_or(path), ready);
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(Error::Open)?;
            let pool = PgPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS_MAX)
                .acquire_timeout(POSTGRES_ACQUIRE_TIMEOUT)
                .connect_lazy_with(options);
            return Ok(Self::Postgres { pool, health: Health::new(ready) });
        }
        Err(Error::Url { url: url.to_owned() })
    }

    /// Brings the schema up to date; nothing happens where it is.
    pub async fn migrate(&self) -> Result<()> {
        migrate::run(self).await?;
        self.health().set_ready();
        Ok(())
    }

    /// Returns once the schema is right; at once where it was when the store was opened.
    pub async fn until_ready(&self) {
        self.health().until_ready().await;
    }

    /// How long the database has not answered, if it does not.
    pub fn away(&self) -> Option<Duration> {
        self.health().away()
    }

    /// Since when (UTC milliseconds) the database does not answer, if it does not.
    pub fn away_since_ms(&self) -> Option<u64> {
        self.health().away_since_ms()
    }

    fn health(&self) -> &Health {
        match self {
            Self::Sqlite { health, .. } | Self::Postgres { health, .. } => health,
        }
    }

    /// SQLite's readers and its writer fail apart.
    fn writing(&self) -> Result<Pass<'_>> {
        match self {
            Self::Sqlite { health, .. } => health.writing(),
            Self::Postgres { health, .. } => health.reading(),
        }
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { write, read, direct, .. } => {
                direct.close();
                read.close().await;
                write.close().await;
            }
            Self::Postgres { pool, .. } => pool.close().await,
        }
    }

    /// Has the database check a statement against its schema, without running it.
    pub async fn prepare(&self, statement: &'static Statement) -> Result<()> {
        let sql = sqlx::SqlSafeStr::into_sql_str(statement.sql);
        match self {
            Self::Sqlite { write, .. } => match write.acquire().await {
                Ok(mut connection) => connection.prepare(sql).await.map(|_| ()),
                Err(e) => Err(e),
            },
            Self::Postgres { pool, .. } => match pool.acquire().await {
                Ok(mut connection) => connection.prepare(sql).await.map(|_| ()),
                Err(e) => Err(e),
            },
        }
        .map_err(|source| Error::Statement { statement: statement.name, source })
    }

    /// All rows of a reading statement.
    pub(crate) async fn all(&self, statement: &Statement, args: Vec<Arg>) -> Result<Vec<Row>> {
        let pass = self.health().reading()?;
        let result = match self {
            Self::Sqlite { read, .. } => sqlite_query(statement, args)
                .fetch_all(read)
                .await
                .map(|rows| rows.into_iter().map(Row::Sqlite).collect()),
            Self::Postgres { pool, .. } => pg_query(statement, args)
                .fetch_all(pool)
                .await
                .map(|rows| rows.into_iter().map(Row::Postgres).collect()),
        }
        .map_err(|source| Error::Statement { statement: statement.name, source });
        pass.done(result)
    }

    /// The first row of a reading statement.
    pub(crate) async fn one(&self, statement: &Statement, args: Vec<Arg>) -> Result<Option<Row>> {
        let pass = self.health().reading()?;
        let result = match self {
            Self::Sqlite { read, .. } => {
                sqlite_query(statement, args).fetch_optional(read).await.map(|r| r.map(Row::Sqlite))
            }
            Self::Postgres { pool, .. } => {
                pg_query(statement, args).fetch_optional(pool).await.map(|r| r.map(Row::Postgres))
            }
        }
        .map_err(|source| Error::Statement { statement: statement.name, source });
        pass.done(result)
    }

    /// Runs a writing statement by itself and gives the number of rows it touched.
    pub(crate) async fn run(&self, statement: &Statement, args: Vec<Arg>) -> Result<u64> {
        let pass = self.writing()?;
        let result = match self {
            Self::Sqlite { write, .. } => sqlite_query(statement, args).execute(write).await.map(|r| r.rows_affected()),
            Self::Postgres { pool, .. } => pg_query(statement, args).execute(pool).await.map(|r| r.rows_affected()),
        }
        .map_err(|source| Error::Statement { statement: statement.name, source });
        pass.done(result)
    }

    /// Has `question` asked on a thread of SQLite's own, which it must not hold up; never waits. False where the database is
    /// another, or too many wait: it is not asked then.
    pub(crate) fn ask<Q: FnOnce(&mut Asker) + Send + 'static>(&self, question: Q) -> bool {
        match self {
            Self::Sqlite { direct, health, .. } => direct.ask(health, Box::new(question)).is_ok(),
            Self::Postgres { .. } => false,
        }
    }

    /// Runs all of a batch in one transaction, or nothing where its guard finds what should not be there yet.
    pub(crate) async fn write(&self, batch: Batch) -> Result<Written> {
        let pass = self.writing()?;
        let result = match self {
            Self::Sqlite { direct, .. } => {
                let direct = direct.clone();
                let written = tokio::task::spawn_blocking(move || direct.write(&batch)).await;
                let ended = |_| Error::Statement { statement: "COMMIT", source: sqlx::Error::WorkerCrashed };
                written.map_err(ended).flatten()
            }
            Self::Postgres { pool, .. } => write_postgres(pool, batch).await,
        };
        pass.done(result)
    }

    /// Begins a writing transaction; dropped without `commit` it is rolled back.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        let pass = self.writing()?;
        let result = match self {
            // The write lock is taken at once: a transaction that reads first could else fail when it comes to write.
            Self::Sqlite { write, .. } => write.begin_with("BEGIN IMMEDIATE").await.map(Tx::Sqlite),
            Self::Postgres { pool, .. } => pool.begin().await.map(Tx::Postgres),
        }
        .map_err(|source| Error::Statement { statement: "BEGIN", source });
        pass.done(result)
    }
}

/// Statements that are run together.
pub(crate) struct Batch {
    /// Nothing is run where this finds a row whose `seq` is the number or above.
    pub guard: (&'static Statement, Vec<Arg>, u64),
    pub statements: Vec<(&'static Statement, Vec<Arg>)>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    Not { found: u64 },
}

async fn write_postgres(pool: &PgPool, batch: Batch) -> Result<Written> {
    let begun = pool.begin().await.map_err(|source| Error::Statement { statement: "BEGIN", source })?;
    let mut tx = Tx::Postgres(begun);
    let (guard, args, below) = batch.guard;
    let row = tx.one(guard, args).await?;
    match row.map(|row| row.of("guard", "seq").int("seq")).transpose()? {
        Some(found) if found >= below => return Ok(Written::Not { found }),
        Some(_) | None => {}
    }
    for (statement, args) in batch.statements {
        tx.run(statement, args).await?;
    }
    tx.commit().await?;
    Ok(Written::All)
}

/// A writing transaction.
pub(crate) enum Tx {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    pub async fn one(&mut self, statement: &Statement, args: Vec<Arg>) -> Result<Option<Row>> {
        match self {
            Self::Sqlite(tx) => {
                sqlite_query(statement, args).fetch_optional(&mut **tx).await.map(|r| r.map(Row::Sqlite))
            }
            Self::Postgres(tx) => {
                pg_query(statement, args).fetch_optional(&mut **tx).await.map(|r| r.map(Row::Postgres))
            }
        }
        .map_err(|source| Error::Statement { statement: statement.name, source })
    }

    pub async fn run(&mut self, statement: &Statement, args: Vec<Arg>) -> Result<u64> {
        match self {
            Self::Sqlite(tx) => sqlite_query(statement, args).execute(&mut **tx).await.map(|r| r.rows_affected()),
            Self::Postgres(tx) => pg_query(statement, args).execute(&mut **tx).await.map(|r| r.rows_affected()),
        }
        .map_err(|source| Error::Statement { statement: statement.name, source })
    }

    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
        .map_err(|source| Error::Statement { statement: "COMMIT", source })
    }
}

fn sqlite_pools(path: &str, ready: bool) -> Result<Store> {
    if path.is_empty() || path.contains(":memory:") {
        return Err(Error::Url { url: format!("sqlite:{path}") });
    }
    let path = Path::new(path);
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Folder { path: folder.display().to_string(), source })?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .foreign_keys(true)
        .pragma("mmap_size", "268435456")
        .pragma("temp_store", "memory");
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(SQLITE_ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.clone());
    let read = SqlitePoolOptions::new()
        .max_connections(SQLITE_READERS_MAX)
        .acquire_timeout(SQLITE_ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.pragma("query_only", "1"));
    Ok(Store::Sqlite { write, read, direct: Direct::new(path), health: Health::new(ready) })
}

/// The same for both drivers: bind every argument in order.
macro_rules! bound {
    ($statement:expr, $args:expr) => {{
        let mut query = sqlx::query($statement.sql);
        for arg in $args {
            query = match arg {
                Arg::Text(value) => query.bind(value),
                Arg::Int(value) => query.bind(value),
            };
        }
        query
    }};
}

fn sqlite_query(
    statement: &Statement,
    args: Vec<Arg>,
) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
    bound!(statement, args)
}

fn pg_query(
    statement: &Statement,
    args: Vec<Arg>,
) -> sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments> {
    bound!(statement, args)
}
