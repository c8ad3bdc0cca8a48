use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cti_base::Timestamp;
use cti_switch::FactRecord;
use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::watch;

use super::store::{int, is_malformed, uint};
use super::{JournalCounters, JournalError};

/// The youngest facts, kept in memory so that whoever follows the journal needs not read it.
const RECENT_MAX: usize = 8_192;
const READ: &str = "SELECT seq, at_us, fact FROM facts WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// The journal as its followers have it. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    file: Arc<Mutex<File>>,
    shared: Arc<Shared>,
    name: String,
    appended: watch::Receiver<u64>,
    counters: Arc<JournalCounters>,
}

/// Facts in order of seq.
#[derive(Debug, Default)]
pub struct Read {
    pub facts: Vec<Arc<FactRecord>>,
    /// Rows that are no facts as this program knows them; logged.
    pub unreadable: usize,
    /// The last seq read, readable or not; `None` where there was nothing more.
    pub through: Option<u64>,
}

/// What followers and the writer share.
#[derive(Default)]
pub(super) struct Shared {
    recent: Mutex<VecDeque<Arc<FactRecord>>>,
    /// Facts up to the seq and older than the time may go.
    prune: Mutex<Option<(u64, Timestamp)>>,
    /// Goes up when the file is replaced by another.
    files: AtomicU64,
    /// A reader found that SQLite can not make sense of the file.
    malformed: AtomicBool,
}

/// The connection that reads, opened when it is first needed.
struct File {
    path: PathBuf,
    open: Option<(u64, Connection)>,
}

impl Read {
    /// Goes on with what is younger, where there is room.
    fn and(mut self, youngest: &[Arc<FactRecord>], seq: u64, limit: usize) -> Self {
        let room = limit.saturating_sub(self.facts.len() + self.unreadable);
        let through = self.through.unwrap_or(seq);
        let from = youngest.partition_point(|fact| fact.seq <= through);
        self.facts.extend(youngest.iter().skip(from).take(room).cloned());
        self.through = self.through.max(self.facts.last().map(|fact| fact.seq));
        self
    }
}

impl Journal {
    pub(super) fn new(
        path: PathBuf,
        name: String,
        appended: watch::Receiver<u64>,
        counters: Arc<JournalCounters>,
    ) -> Self {
        let file = Arc::new(Mutex::new(File { path, open: None }));
        Self { file, shared: Arc::default(), name, appended, counters }
    }

    pub fn counters(&self) -> Arc<JournalCounters> {
        self.counters.clone()
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
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
        if let Some(read) = self.shared.read(seq, limit) {
            return Ok(read);
        }
        let (file, shared) = (self.file.clone(), self.shared.clone());
        let read = tokio::task::spawn_blocking(move || {
            // The youngest may not be in the file yet. Looked at first: what goes there meanwhile is not missed.
            let youngest = shared.after(seq);
            let read = lock(&file).read(seq, limit, shared.files.load(Ordering::Acquire));
            if read.as_ref().is_err_and(is_malformed) {
                shared.malformed.store(true, Ordering::Release);
            }
            read.map(|read| read.and(&youngest, seq, limit))
        });
        match read.await {
            Ok(read) => read.map_err(|error| JournalError::Read(error.to_string())),
            Err(error) => Err(JournalError::Read(error.to_string())),
        }
    }

    /// Lets facts go that are projected (up to `through`) and older than `before`; done by the writer when it has time.
    pub fn prune(&self, through: u64, before: Timestamp) {
        *lock(&self.shared.prune) = Some((through, before));
    }

    /// Returns when the appender is gone and everything it took is on disk.
    pub async fn drained(&self) {
        let mut appended = self.appended.clone();
        while appended.changed().await.is_ok() {}
    }
}

impl Shared {
    pub fn push(&self, facts: Vec<Arc<FactRecord>>) {
        let mut recent = lock(&self.recent);
        let beyond = (recent.len() + facts.len()).saturating_sub(RECENT_MAX).min(recent.len());
        recent.drain(..beyond);
        recent.extend(facts);
    }

    /// All in memory after `seq`.
    fn after(&self, seq: u64) -> Vec<Arc<FactRecord>> {
        let recent = lock(&self.recent);
        let from = recent.partition_point(|fact| fact.seq <= seq);
        recent.iter().skip(from).cloned().collect()
    }

    pub fn to_prune(&self) -> Option<(u64, Timestamp)> {
        *lock(&self.prune)
    }

    pub fn pruned(&self) {
        *lock(&self.prune) = None;
    }

    /// Whether a reader could make no sense of the file since this was last asked.
    pub fn take_malformed(&self) -> bool {
        self.malformed.swap(false, Ordering::AcqRel)
    }

    pub fn file_replaced(&self) {
        self.files.fetch_add(1, Ordering::Release);
    }

    /// From memory; `None` where it does not reach back far enough.
    fn read(&self, seq: u64, limit: usize) -> Option<Read> {
        let recent = lock(&self.recent);
        if recent.front()?.seq > seq + 1 {
            return None;
        }
        let from = recent.partition_point(|fact| fact.seq <= seq);
        let facts: Vec<Arc<FactRecord>> = recent.iter().skip(from).take(limit).cloned().collect();
        Some(Read { through: facts.last().map(|fact| fact.seq), facts, unreadable: 0 })
    }
}

impl File {
    fn read(&mut self, seq: u64, limit: usize, files: u64) -> rusqlite::Result<Read> {
        let open = self.open.take().filter(|(of, _)| *of == files);
        let connection = match open {
            Some((_, connection)) => connection,
            None => connect(&self.path)?,
        };
        let read = rows(&connection, seq, limit)?;
        self.open = Some((files, connection));
        Ok(read)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "query_only", 1)?;
    Ok(connection)
}

fn rows(connection: &Connection, seq: u64, limit: usize) -> rusqlite::Result<Read> {
    let mut statement = connection.prepare_cached(READ)?;
    let mut rows = statement.query(params![int(seq), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut read = Read::default();
    while let Some(row) = rows.next()? {
        let (seq, at) = (uint(row, 0)?, Timestamp::from_micros(uint(row, 1)?));
        read.through = Some(seq);
        match serde_json::from_str(row.get_ref(2)?.as_str().unwrap_or_default()) {
            Ok(fact) => read.facts.push(Arc::new(FactRecord { seq, at, fact })),
            Err(error) => {
                tracing::error!(seq, %error, "a fact of the journal is not understood and is passed over");
                read.unreadable += 1;
            }
        }
    }
    Ok(read)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
