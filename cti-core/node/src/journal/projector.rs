//! The task that folds the journal's facts into the records' call history. When the database is away it waits and calls go
//! on; when it is back it goes on from the position stored in the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cti_base::Timestamp;
use cti_switch::FactRecord;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zongji_sql::{Store, projector};

use super::{Journal, JournalCounters, KEPT, Read};
use crate::clock;

/// How long the first fact of a batch waits for company: a call's history is asked for by people, and each write costs.
const GATHER: Duration = Duration::from_millis(100);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How often facts beyond their time are let go.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);

/// How far the projector is, for metrics and for those who wait for a call's row.
#[derive(Clone)]
pub struct Progress {
    position: watch::Receiver<u64>,
    /// When the oldest fact known to be unprojected happened, in microseconds; 0 is none.
    oldest: Arc<AtomicU64>,
    counters: Arc<JournalCounters>,
}

impl Progress {
    /// The figures of the journal itself.
    pub fn journal(&self) -> &JournalCounters {
        &self.counters
    }

    /// The seq of the last fact in the history.
    pub fn position(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    /// Age of the oldest fact that is not in the history, in seconds: `zongji_journal_lag_seconds`.
    pub fn lag_seconds(&self, now: Timestamp) -> f64 {
        match self.oldest.load(Ordering::Relaxed) {
            0 => 0.0,
            oldest => now.since(Timestamp::from_micros(oldest)).as_secs_f64(),
        }
    }
}

/// Starts the task. It ends by itself when the journal is drained and projected, or at once when `stop` is cancelled.
pub fn start(journal: Journal, store: Store, stop: CancellationToken) -> (Progress, tokio::task::JoinHandle<()>) {
    let (sender, position) = watch::channel(0);
    let (oldest, counters) = (Arc::new(AtomicU64::new(0)), journal.counters());
    let task = Projector { journal, store, position: sender, oldest: oldest.clone(), retry: RETRY_FIRST };
    let handle = tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = task.run() => {}
        }
    });
    (Progress { position, oldest, counters }, handle)
}

struct Projector {
    journal: Journal,
    store: Store,
    position: watch::Sender<u64>,
    oldest: Arc<AtomicU64>,
    retry: Duration,
}

impl Projector {
    async fn run(mut self) {
        self.store.until_ready().await;
        let mut appended = self.journal.appended();
        let mut position = loop {
            match projector::position(&self.store, self.journal.name()).await {
                Ok(position) => break position.unwrap_or(0),
                Err(error) => self.wait(&error).await,
            }
        };
        self.position.send_replace(position);
        let mut pruned = tokio::time::Instant::now();
        let mut many = true;
        loop {
            if position < *appended.borrow_and_update() {
                if !many {
                    tokio::time::sleep(GATHER).await;
                }
                (position, many) = self.step(position).await;
                self.position.send_replace(position);
                continue;
            }
            many = false;
            self.oldest.store(0, Ordering::Relaxed);
            if pruned.elapsed() >= PRUNE_EVERY {
                self.journal.prune(position, clock::now() - KEPT);
                pruned = tokio::time::Instant::now();
            }
            if let Ok(Err(_)) = tokio::time::timeout(PRUNE_EVERY, appended.changed()).await {
                return;
            }
        }
    }

    /// One batch. Gives the position after it, unchanged where it failed, and whether the next should follow at once.
    async fn step(&mut self, position: u64) -> (u64, bool) {
        let read = match self.journal.read(position, projector::BATCH_MAX).await {
            Ok(read) => read,
            Err(error) => {
                self.wait(&error).await;
                return (position, true);
            }
        };
        let Some(through) = read.through else {
            // Pruned, or a gap: nothing between here and what is on disk.
            return (*self.journal.appended().borrow(), true);
        };
        let full = read.facts.len() == projector::BATCH_MAX;
        let shown = read.facts.iter().find(|fact| projector::is_shown(&fact.fact));
        // What history does not show is passed over in memory; a restart passes over it again.
        if shown.is_none() && !full {
            return (through, false);
        }
        let oldest = shown.or(read.facts.first()).map_or(0, |fact| fact.at.as_micros());
        self.oldest.store(oldest, Ordering::Relaxed);
        match self.apply(&read, through).await {
            Ok(()) => {
                self.retry = RETRY_FIRST;
                self.oldest.store(0, Ordering::Relaxed);
                (through, full)
            }
            Err(error) => {
                self.wait(&error).await;
                // Some of the batch may be in: the database knows.
                (position, true)
            }
        }
    }

    async fn apply(&self, read: &Read, through: u64) -> zongji_sql::Result<()> {
        let name = self.journal.name();
        match projector::apply(&self.store, name, &read.facts).await {
            Err(error) if !error.is_transient() => self.one_by_one(name, &read.facts).await?,
            result => {
                result?;
            }
        }
        if read.facts.last().map(|fact| fact.seq) == Some(through) {
            return Ok(());
        }
        projector::skip(&self.store, name, through).await
    }

    /// A fact that no database takes must not keep back those after it.
    async fn one_by_one(&self, journal: &str, facts: &[Arc<FactRecord>]) -> zongji_sql::Result<()> {
        for fact in facts {
            match projector::apply(&self.store, journal, std::slice::from_ref(fact)).await {
                Ok(_) => {}
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::error!(seq = fact.seq, %error, "a fact can not be put into the history and is passed over");
                    projector::skip(&self.store, journal, fact.seq).await?;
                }
            }
        }
        Ok(())
    }

    async fn wait(&mut self, error: &(dyn std::error::Error + Sync)) {
        if self.retry == RETRY_FIRST {
            tracing::warn!(%error, "call history waits for its database; calls go on");
        }
        tokio::time::sleep(self.retry).await;
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }
}
