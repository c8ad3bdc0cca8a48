use std::time::Duration;

use cti_base::Timestamp;
use cti_switch::FactRecord;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::{GROUP_MAX, GROUP_WITHIN, Message};

/// Facts deleted in one step, so that pruning never keeps new facts waiting for long.
const PRUNE_STEP: i64 = 2_000;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS facts (seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, fact TEXT NOT NULL);\
    CREATE TABLE IF NOT EXISTS journal (name TEXT NOT NULL, pruned INTEGER NOT NULL);\
    INSERT INTO journal (name, pruned) SELECT lower(hex(randomblob(16))), 0 WHERE NOT EXISTS (SELECT 1 FROM journal);";
/// After pruning there may be no fact left, and yet the numbers go on.
const NAME_AND_LAST: &str = "SELECT name, max(pruned, COALESCE((SELECT MAX(seq) FROM facts), 0)) FROM journal";
/// A group in one statement: an array of `[seq, at_us, fact]`.
const APPEND: &str = "INSERT OR IGNORE INTO facts (seq, at_us, fact) \
                      SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)";
const PRUNE: &str = "DELETE FROM facts WHERE seq IN \
                     (SELECT seq FROM facts WHERE seq <= $1 AND at_us < $2 ORDER BY seq LIMIT $3)";
const PRUNED: &str = "UPDATE journal SET pruned = max(pruned, $1)";

/// Makes the tables and gives the journal's own name and last seq.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> sqlx::Result<(String, u64)> {
    connection.execute(sqlx::raw_sql(SCHEMA)).await?;
    let (name, last): (String, i64) = sqlx::query_as(NAME_AND_LAST).fetch_one(connection).await?;
    Ok((name, last.unsigned_abs()))
}

/// The writer's thread: until the inbox is closed and empty.
pub(super) fn run(options: SqliteConnectOptions, messages: mpsc::Receiver<Message>, appended: watch::Sender<u64>) {
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(Writer { options, connection: None, appended }.write(messages)),
        Err(error) => tracing::error!(%error, "the journal's thread has no runtime: facts are not kept"),
    }
}

struct Writer {
    options: SqliteConnectOptions,
    /// `None` before the first group and after an error.
    connection: Option<SqliteConnection>,
    appended: watch::Sender<u64>,
}

impl Writer {
    async fn write(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        let mut received = Vec::with_capacity(GROUP_MAX);
        while messages.recv_many(&mut received, GROUP_MAX).await > 0 {
            let until = Instant::now() + GROUP_WITHIN;
            while received.len() < GROUP_MAX {
                let room = GROUP_MAX - received.len();
                match timeout_at(until, messages.recv_many(&mut received, room)).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            let mut prune = None;
            for message in received.drain(..) {
                match message {
                    Message::Append(record) => group.push(record),
                    Message::Prune { through, before } => prune = Some((through, before)),
                }
            }
            self.append(&group).await;
            group.clear();
            if let Some((through, before)) = prune {
                self.prune(through, before, &messages).await;
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the journal was not closed cleanly; nothing written is lost");
        }
    }

    /// Until it succeeds: facts are not thrown away because the disk is full for a minute. The bounded inbox is what gives.
    async fn append(&mut self, group: &[FactRecord]) {
        let Some(last) = group.last() else { return };
        let rows: Vec<(u64, u64, String)> = group.iter().filter_map(row).collect();
        let json = serde_json::to_string(&rows).unwrap_or_else(|_| "[]".into());
        let mut retry = RETRY_FIRST;
        loop {
            let error = match self.connected().await {
                Ok(connection) => match sqlx::query(APPEND).bind(&json).execute(connection).await {
                    Ok(_) => break,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if retry == RETRY_FIRST {
                tracing::error!(%error, facts = group.len(), "the journal can not be written: trying again until it can");
            }
            self.connection = None;
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
        if retry > RETRY_FIRST {
            tracing::info!("the journal is written again");
        }
        self.appended.send_replace(last.seq);
    }

    /// In steps, and only while no fact waits.
    async fn prune(&mut self, through: u64, before: Timestamp, messages: &mpsc::Receiver<Message>) {
        let bound = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        while messages.is_empty() {
            let done = async {
                let connection = self.connected().await?;
                sqlx::query(PRUNED).bind(bound(through)).execute(&mut *connection).await?;
                let step = sqlx::query(PRUNE).bind(bound(through)).bind(bound(before.as_micros())).bind(PRUNE_STEP);
                step.execute(connection).await
            };
            match done.await {
                Ok(done) if done.rows_affected() == PRUNE_STEP.unsigned_abs() => {}
                Ok(_) => return,
                Err(error) => return tracing::warn!(%error, "the journal was not pruned; it is tried again later"),
            }
        }
    }

    async fn connected(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)
    }
}

fn row(record: &FactRecord) -> Option<(u64, u64, String)> {
    match serde_json::to_string(&record.fact) {
        Ok(fact) => Some((record.seq, record.at.as_micros(), fact)),
        Err(error) => {
            tracing::error!(%error, seq = record.seq, "a fact can not be written as JSON and is lost");
            None
        }
    }
}
