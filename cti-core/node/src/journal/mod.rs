//! The journal: every fact, on disk within a few milliseconds, in SQLite (WAL) of its own under `DIR/journal/`, never in the
//! records' database.
//!
//! The switch task holds the [`Appender`]: [`Appender::append`] never waits. One thread of its own writes what came within
//! [`GROUP_WITHIN`] in one transaction and then publishes the position. Whoever follows the facts (the [`projector`]) holds a
//! [`Journal`], reads from a seq and waits for [`Journal::appended`].

pub mod projector;
mod reader;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cti_base::Timestamp;
use cti_switch::{Fact, FactRecord};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, watch};

use crate::config::Durability;

pub use reader::{Journal, Read};

/// Facts that wait for the writer. At 50 calls a second (some 600 facts) a disk may stand still for minutes.
pub const INBOX_MAX: usize = 262_144;
/// Facts that are written in one transaction.
pub const GROUP_MAX: usize = 1_024;
/// How long the first fact of a group waits for company.
pub const GROUP_WITHIN: Duration = Duration::from_millis(5);
/// How long projected facts are kept, for taking up and for making history anew.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal's folder {path} can not be made: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the journal {path} can not be opened: {source}")]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("the journal can not be read: {0}")]
    Read(#[source] sqlx::Error),
    #[error("the journal's thread can not be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// The inbox is full or the writer is gone: the fact was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not keep up: {INBOX_MAX} facts wait for the disk")]
pub struct Full;

enum Message {
    Append(FactRecord),
    Prune { through: u64, before: Timestamp },
}

/// The one that adds facts: the switch task's.
pub struct Appender {
    inbox: mpsc::Sender<Message>,
    last: u64,
}

impl Appender {
    /// Hands a fact to the writer and gives its seq; never waits. A fact that was not taken leaves no gap.
    pub fn append(&mut self, at: Timestamp, fact: Fact) -> Result<u64, Full> {
        let seq = self.last + 1;
        self.inbox.try_send(Message::Append(FactRecord { seq, at, fact })).map_err(|_| Full)?;
        self.last = seq;
        Ok(seq)
    }

    /// The seq of the last fact taken; 0 before the first.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Facts that wait for the writer.
    pub fn waiting(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }
}

/// Opens the journal in `folder` (made where missing) and starts its thread, which ends when the [`Appender`] is dropped and
/// everything is written: [`Journal::drained`] waits for that.
pub async fn open(folder: &Path, durability: Durability) -> Result<(Appender, Journal), JournalError> {
    std::fs::create_dir_all(folder).map_err(|source| JournalError::Folder { path: folder.to_owned(), source })?;
    let path = folder.join("journal.db");
    let failed = |source| JournalError::Open { path: path.clone(), source };
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match durability {
            Durability::Process => SqliteSynchronous::Normal,
            Durability::Power => SqliteSynchronous::Full,
        })
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(failed)?;
    let (name, last) = writer::prepare(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    let (inbox, messages) = mpsc::channel(INBOX_MAX);
    let (appended, seen) = watch::channel(last);
    // The reader never keeps the writer alive: its way to prune is weak.
    let journal = Journal::open(options.clone(), name, seen, inbox.downgrade()).await.map_err(failed)?;
    std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || writer::run(options, messages, appended))
        .map_err(JournalError::Thread)?;
    Ok((Appender { inbox, last }, journal))
}

#[cfg(test)]
mod tests;
