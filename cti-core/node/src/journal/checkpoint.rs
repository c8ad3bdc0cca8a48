use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::store;
use crate::config::Durability;

/// Pages (4 KiB) added to the write-ahead log between two checkpoints: 4 MiB.
const CHECKPOINT_PAGES: u32 = 1_024;
/// A write-ahead log of so many pages (64 MiB) is ended even if commits must wait for that: a restart reads all of it.
const WAL_PAGES_MAX: u32 = 16_384;
/// How long such an end waits for readers and for a commit.
const RESTART_WAIT: Duration = Duration::from_secs(1);

/// Moves the write-ahead log into the file on a thread of its own, whose syncs no commit waits for: SQLite's passive
/// checkpoint takes no lock that a writer wants. The log begins anew with the first commit after one that caught up.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    pages: u32,
    /// At so many pages the thread is woken.
    due: u32,
    ended: bool,
    /// The file was replaced.
    reopen: bool,
}

impl Checkpointer {
    pub fn start(path: PathBuf, durability: Durability) -> std::io::Result<Self> {
        let state = State { due: CHECKPOINT_PAGES, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), woken: Condvar::new() });
        let of_thread = shared.clone();
        let run = move || run(&path, durability, &of_thread);
        let thread = std::thread::Builder::new().name("journal-checkpoint".into()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Told after each commit.
    pub fn committed(&self, wal_pages: u32) {
        let mut state = self.shared.lock();
        state.pages = wal_pages;
        // The log began anew.
        if wal_pages < state.due.saturating_sub(CHECKPOINT_PAGES) {
            state.due = CHECKPOINT_PAGES;
        }
        if wal_pages >= state.due {
            self.shared.woken.notify_one();
        }
    }

    /// There is another file at the path.
    pub fn reopen(&self) {
        let mut state = self.shared.lock();
        (state.reopen, state.pages, state.due) = (true, 0, CHECKPOINT_PAGES);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(path: &std::path::Path, durability: Durability, shared: &Shared) {
    let mut connection = None;
    loop {
        let mut state = shared.lock();
        while !state.ended && state.pages < state.due {
            state = shared.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended {
            return;
        }
        if std::mem::take(&mut state.reopen) {
            connection = None;
        }
        drop(state);
        let done = match connection.take() {
            Some(open) => Ok(open),
            None => open(path, durability),
        }
        .and_then(|open| checkpoint(&open).map(|pages| (open, pages)));
        let mut state = shared.lock();
        match done {
            Ok((open, pages)) => {
                connection = Some(open);
                state.due = pages.max(state.pages) + CHECKPOINT_PAGES;
            }
            Err(error) => {
                tracing::warn!(%error, "the journal's write-ahead log could not be moved into its file; it is tried again");
                state.due = state.pages + CHECKPOINT_PAGES;
            }
        }
    }
}

fn open(path: &std::path::Path, durability: Durability) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    store::configure(&connection, durability)?;
    connection.busy_timeout(RESTART_WAIT)?;
    Ok(connection)
}

/// Gives the pages that are in the log. A second round has next to nothing to do, and often catches up with the writer.
fn checkpoint(connection: &Connection) -> rusqlite::Result<u32> {
    let (mut log, mut moved) = pragma(connection, "PASSIVE")?;
    if moved < log {
        (log, moved) = pragma(connection, "PASSIVE")?;
    }
    if moved < log && log >= WAL_PAGES_MAX {
        (log, _) = pragma(connection, "RESTART")?;
    }
    Ok(log)
}

fn pragma(connection: &Connection, mode: &str) -> rusqlite::Result<(u32, u32)> {
    let pages = |row: &rusqlite::Row<'_>, column| row.get::<_, i64>(column).map(|pages| pages.max(0) as u32);
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok((pages(row, 1)?, pages(row, 2)?)))
}
