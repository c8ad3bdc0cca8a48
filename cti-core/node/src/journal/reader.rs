use cti_base::Timestamp;
use cti_switch::FactRecord;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tokio::sync::{mpsc, watch};

use super::{JournalError, Message};

/// Connections that read at once.
const READERS_MAX: u32 = 2;
const READ: &str = "SELECT seq, at_us, fact FROM facts WHERE seq > $1 ORDER BY seq LIMIT $2";

/// The journal as its followers have it. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    pool: SqlitePool,
    name: String,
    appended: watch::Receiver<u64>,
    writer: mpsc::WeakSender<Message>,
}

/// Facts in order of seq.
#[derive(Debug, Default)]
pub struct Read {
    pub facts: Vec<FactRecord>,
    /// Rows that are no facts as this program knows them; logged.
    pub unreadable: usize,
    /// The last seq read, readable or not; `None` where there was nothing more.
    pub through: Option<u64>,
}

impl Journal {
    pub(super) async fn open(
        options: SqliteConnectOptions,
        name: String,
        appended: watch::Receiver<u64>,
        writer: mpsc::WeakSender<Message>,
    ) -> sqlx::Result<Self> {
        let options = options.pragma("query_only", "1");
        let pool = SqlitePoolOptions::new().max_connections(READERS_MAX).connect_with(options).await?;
        Ok(Self { pool, name, appended, writer })
    }

    /// Made once with the journal: tells one that began anew from the one before.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seq of the last fact on disk (as durable as asked for); 0 before the first.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.appended.clone()
    }

    /// Up to `limit` facts after `seq`.
    pub async fn read(&self, seq: u64, limit: usize) -> Result<Read, JournalError> {
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(READ)
            .bind(i64::try_from(seq).unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(JournalError::Read)?;
        let mut read = Read { through: rows.last().map(|(seq, ..)| seq.unsigned_abs()), ..Read::default() };
        for (seq, at_us, fact) in rows {
            match serde_json::from_str(&fact) {
                Ok(fact) => {
                    let at = Timestamp::from_micros(at_us.unsigned_abs());
                    read.facts.push(FactRecord { seq: seq.unsigned_abs(), at, fact });
                }
                Err(error) => {
                    tracing::error!(seq, %error, "a fact of the journal is not understood and is passed over");
                    read.unreadable += 1;
                }
            }
        }
        Ok(read)
    }

    /// Lets facts go that are projected (up to `through`) and older than `before`; done by the writer when it has time.
    pub fn prune(&self, through: u64, before: Timestamp) {
        if let Some(writer) = self.writer.upgrade() {
            // A full inbox means that the writer has no time for this: it is asked again later.
            let _ = writer.try_send(Message::Prune { through, before });
        }
    }

    /// Returns when the appender is gone and everything it took is on disk.
    pub async fn drained(&self) {
        let mut appended = self.appended.clone();
        while appended.changed().await.is_ok() {}
    }
}
