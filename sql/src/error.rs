/// What can go wrong with the records.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the database URL `{url}` is not understood: use `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`")]
    Url { url: String },
    #[error("the folder of the database {path} can not be made: {source}")]
    Folder { path: String, source: std::io::Error },
    #[error("the database can not be opened: {0}")]
    Open(#[source] sqlx::Error),
    #[error("migration {number} ({name}) failed: {source}")]
    Migration { number: i64, name: &'static str, source: sqlx::Error },
    #[error(
        "the database was written by a later version (migration {found}, this program knows {known}): start that version, or restore a backup"
    )]
    FromTheFuture { found: i64, known: i64 },
    /// It did not answer before, and is not asked again just yet.
    #[error("the database has not answered for {seconds} s")]
    Away { seconds: u64 },
    /// A statement of the registry failed.
    #[error("{statement}: {source}")]
    Statement { statement: &'static str, source: sqlx::Error },
    /// The same, where SQLite was asked without a pool.
    #[error("{statement}: {source}")]
    Sqlite { statement: &'static str, source: rusqlite::Error },
    /// A row does not hold what its table promises.
    #[error("{table} row `{row}`, column {column}: {reason}")]
    Row { table: &'static str, row: String, column: &'static str, reason: String },
    /// A value that may not be stored; `field` is its name in the API.
    #[error("{field}: {detail}")]
    Invalid { field: &'static str, detail: String },
    #[error("a value can not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Whether the database was away or busy, so that the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        if let Self::Away { .. } = self {
            return true;
        }
        if let Self::Sqlite { source, .. } = self {
            return source.sqlite_error().is_some_and(|error| is_sqlite_transient(error.extended_code.unsigned_abs()));
        }
        let (Self::Open(source) | Self::Statement { source, .. } | Self::Migration { source, .. }) = self else {
            return false;
        };
        match source {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => true,
            // Classes 08 (connection), 40 (rollback), 53 (resources), 57 (operator) of PostgreSQL.
            sqlx::Error::Database(e) => e.code().is_some_and(|code| {
                ["08", "40", "53", "57"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                    || code.parse::<u32>().is_ok_and(|c| code.len() < 5 && is_sqlite_transient(c))
            }),
            _ => false,
        }
    }

    /// Whether the database itself did not answer, whatever it was asked.
    pub(crate) fn is_outage(&self) -> bool {
        let is_conflict = match self {
            // Class 40 of PostgreSQL: two transactions met, the database is well.
            Self::Statement { source: sqlx::Error::Database(e), .. } => {
                e.code().is_some_and(|code| code.len() == 5 && code.starts_with("40"))
            }
            _ => false,
        };
        self.is_transient() && !is_conflict
    }

    /// Whether a unique key was already taken.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Statement { source: sqlx::Error::Database(e), .. } if e.is_unique_violation())
    }
}

/// SQLITE_BUSY, _LOCKED, _READONLY, _IOERR, _FULL and _CANTOPEN, whatever follows in the upper bytes.
const fn is_sqlite_transient(code: u32) -> bool {
    matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14)
}

pub type Result<T> = std::result::Result<T, Error>;

/// What an update with a version came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<T> {
    /// The record as it is now.
    Done(T),
    /// Someone was faster; the record as it is now (409).
    Conflict(T),
    /// No such record (404).
    Missing,
}

/// Text beyond its limit, or empty where it must not be, is refused here and not by the database.
pub(crate) fn check_text(field: &'static str, text: &str, len_max: usize, may_be_empty: bool) -> Result<()> {
    if !may_be_empty && text.trim().is_empty() {
        return Err(Error::Invalid { field, detail: "must not be empty".into() });
    }
    if text.chars().count() > len_max {
        return Err(Error::Invalid { field, detail: format!("must have at most {len_max} characters") });
    }
    if text.contains('\0') {
        return Err(Error::Invalid { field, detail: "must not contain the character U+0000".into() });
    }
    Ok(())
}

/// Characters in a name, number, label or other one-line field.
pub const LINE_LEN_MAX: usize = 200;
/// Characters in a description, note or other running text.
pub const TEXT_LEN_MAX: usize = 20_000;
/// Bytes in a JSON value that users fill (case fields, drafts).
pub const JSON_LEN_MAX: usize = 64 * 1024;

pub(crate) fn check_line(field: &'static str, text: Option<&str>) -> Result<()> {
    text.map_or(Ok(()), |t| check_text(field, t, LINE_LEN_MAX, true))
}

pub(crate) fn check_long(field: &'static str, text: Option<&str>) -> Result<()> {
    text.map_or(Ok(()), |t| check_text(field, t, TEXT_LEN_MAX, true))
}

pub(crate) fn check_json(field: &'static str, json: &str) -> Result<()> {
    if json.len() > JSON_LEN_MAX {
        return Err(Error::Invalid { field, detail: format!("must be at most {JSON_LEN_MAX} bytes as JSON") });
    }
    if json.contains("\\u0000") {
        return Err(Error::Invalid { field, detail: "must not contain the character U+0000".into() });
    }
    Ok(())
}

/// A row that was just written and is not there.
pub(crate) fn vanished(table: &'static str, row: impl std::fmt::Display) -> Error {
    Error::Row { table, row: row.to_string(), column: "*", reason: "was written and did not come back".into() }
}
