//! The journal: every input of the switch and every fact, on disk before anything of them is seen outside, in SQLite (WAL) of
//! its own under `DIR/journal/`, never in the records' database.
//!
//! What the switch took in one go is a [`Group`]: its inputs (sealed: numbers and digests are in them), its facts (plain JSON,
//! for the [`projector`]) and now and then a snapshot of the engine (sealed), in one transaction. Groups are numbered +1. The
//! switch task hands groups to the [`Appender`], which never waits, and carries their effects out once
//! [`Appender::durable`] says so; [`hold`] is that order. One thread of its own writes them: each to the [`tail`] first, by one
//! write, which makes it durable, and some times a second what has gathered there into SQLite, in one transaction. Another
//! moves SQLite's write-ahead log into its file.
//!
//! At a start [`open`] reads what was kept, [`take_up`] makes an engine of it, and [`Opened::start`] goes on from there. What
//! of the tail is broken is cut at the last whole group and told: [`Cut`].
//!
//! A fact's seq is +1 within the journal, but goes on from above where facts may have been lost that the history has seen.

mod checkpoint;
pub mod hold;
mod mark;
pub mod projector;
mod reader;
mod repair;
mod seal;
mod store;
mod tail;
pub mod take_up;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as threads;
use std::time::Duration;

use cti_base::Timestamp;
use cti_switch::Fact;
use tokio::sync::watch;

use crate::config::Durability;
use mark::{Mark, Marked};
use store::{Store, StoreError};
use tail::Tail;

pub use reader::{Journal, Read};

/// Groups that wait for the writer, beside the one that it writes. The switch gathers the next meanwhile.
pub const GROUPS_WAITING_MAX: usize = 2;
/// How long projected facts are kept, for making history anew.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// By how much seqs of facts go on where the machine lost its power under `process`: more than it can have lost.
const SEQ_JUMP: u64 = 1_000_000;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the journal's folder {path} can not be made: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the journal {path} can not be opened: {reason}")]
    Open { path: PathBuf, reason: String },
    #[error(
        "the journal {path} was written with another node.key: put the right key back, or move the journal's folder away \
         and lose the calls in it"
    )]
    Key { path: PathBuf },
    #[error("the journal can not be read: {0}")]
    Read(String),
    #[error("the journal's thread can not be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// The writer has more groups than it can hold, or is gone: the group comes back.
#[derive(Debug)]
pub struct Full(pub Box<Group>);

/// What the switch took in one go.
#[derive(Debug, Default)]
pub struct Group {
    /// When its last input was handled.
    pub at: Timestamp,
    /// The inputs as [`take_up`] reads them, one after the other.
    pub inputs: Vec<u8>,
    pub facts: Vec<(Timestamp, Fact)>,
    /// The engine after these inputs.
    pub snapshot: Option<Vec<u8>>,
    /// Inputs between the group before and this one were not kept: only from its snapshot can be gone on.
    pub gap: bool,
}

/// A snapshot as it was kept.
#[derive(Debug)]
pub struct KeptSnapshot {
    /// The last group that is in it.
    pub number: u64,
    pub at: Timestamp,
    pub fact_last: u64,
    pub state: Vec<u8>,
}

/// A group as it was kept.
#[derive(Debug)]
pub struct KeptGroup {
    pub number: u64,
    pub at: Timestamp,
    /// How many facts it had, the last of them `fact_last`.
    pub facts: u64,
    pub fact_last: u64,
    pub inputs: Vec<u8>,
}

/// What was kept: the last snapshot, and the groups after it, each following the one before.
#[derive(Debug, Default)]
pub struct Kept {
    pub snapshot: Option<KeptSnapshot>,
    pub groups: Vec<KeptGroup>,
    /// When the last input kept was handled: the clock must not read less.
    pub last_at: Timestamp,
    /// The last fact's seq.
    pub last_fact: u64,
    pub cut: Option<Cut>,
    /// Where the file was moved to that could not be made sense of; what was readable of it is here.
    pub moved_aside: Option<PathBuf>,
}

/// What had been there and is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Groups are whole up to this one.
    pub whole: u64,
    /// So many after it are lost.
    pub groups: u64,
}

/// The journal's figures, counted by its threads and by [`hold`].
#[derive(Debug, Default)]
pub struct JournalCounters {
    pub groups: AtomicU64,
    /// Bytes given to it: inputs, facts and snapshots.
    pub bytes: AtomicU64,
    pub snapshots: AtomicU64,
    /// The size of the last snapshot.
    pub snapshot_bytes: AtomicU64,
    /// Writes that failed.
    pub errors: AtomicU64,
    pub cut_groups: AtomicU64,
    /// Groups whose effects went out before they were on disk, because the disk did not take them in time.
    pub undurable_groups: AtomicU64,
    /// How often the switch stopped taking inputs until the journal had room.
    pub waits: AtomicU64,
    /// Facts that were lost because too many waited.
    pub lost_facts: AtomicU64,
    /// Since when (microseconds) effects go out undurable; 0 while all is well.
    pub undurable_since: AtomicU64,
}

/// The one that adds groups: the switch task's.
pub struct Appender {
    inbox: threads::SyncSender<writer::Numbered>,
    group: u64,
    fact: u64,
    last_at: Timestamp,
    durable: watch::Receiver<u64>,
    counters: Arc<JournalCounters>,
}

impl Appender {
    /// Hands a group to the writer and gives its number; never waits. A group that was not taken leaves no gap.
    pub fn append(&mut self, group: Group) -> Result<u64, Full> {
        let (number, fact_first) = (self.group + 1, self.fact + 1);
        let (facts, at) = (group.facts.len() as u64, group.at);
        let numbered = writer::Numbered { number, fact_first, group };
        match self.inbox.try_send(numbered) {
            Ok(()) => {
                (self.group, self.fact, self.last_at) = (number, self.fact + facts, at);
                Ok(number)
            }
            Err(threads::TrySendError::Full(numbered) | threads::TrySendError::Disconnected(numbered)) => {
                Err(Full(Box::new(numbered.group)))
            }
        }
    }

    /// The number of the last group on disk, as durable as asked for.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// The number of the last group taken.
    pub const fn last_group(&self) -> u64 {
        self.group
    }

    /// The seq of the last fact taken.
    pub const fn last_fact(&self) -> u64 {
        self.fact
    }

    /// When the last input kept was handled.
    pub const fn last_at(&self) -> Timestamp {
        self.last_at
    }

    pub fn counters(&self) -> Arc<JournalCounters> {
        self.counters.clone()
    }
}

/// A journal that is open and not yet written to.
pub struct Opened {
    pub kept: Kept,
    folder: PathBuf,
    durability: Durability,
    key: [u8; 32],
    store: Store,
    tail: Tail,
    mark: Mark,
    last_group: u64,
    counters: Arc<JournalCounters>,
}

/// Opens the journal in `folder` (made where missing) for the node's key and reads what was kept. Reads the whole write-ahead
/// log and tail, the last snapshot and what follows it: milliseconds.
pub fn open(folder: &Path, durability: Durability, key: &[u8; 32]) -> Result<Opened, JournalError> {
    let path = folder.join(store::FILE);
    let no_folder = |source| JournalError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(no_folder)?;
    let (mark, marked) = Mark::open(folder).map_err(no_folder)?;
    let mut moved_aside = None;
    let name = marked.as_ref().map(|marked| marked.journal.as_str());
    let read = match read(folder, durability, key, name) {
        Err(error) if error.is_malformed() => {
            tracing::error!(%error, path = %path.display(), "the journal is no whole database: it is moved aside");
            let aside = make_anew(folder, durability, key, name).map_err(|error| open_error(&path, error))?;
            moved_aside = Some(aside);
            read(folder, durability, key, name)
        }
        read => read,
    };
    let (store, tail, mut kept, mut last_group) = read.map_err(|error| open_error(&path, error))?;
    kept.moved_aside = moved_aside;
    // The history may have seen facts that are lost: their numbers are not given again.
    let marked = marked.filter(|marked| marked.journal == store.sealer.journal);
    if let Some(Marked { group, fact, .. }) = marked {
        kept.last_fact = kept.last_fact.max(fact);
        last_group = last_group.max(group);
    }
    let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    let same_boot = store.same_boot(boot.trim()).map_err(|error| open_error(&path, error.into()))?;
    if !same_boot && durability == Durability::Process {
        kept.last_fact += SEQ_JUMP;
    }
    let whole = kept.groups.last().map(|group| group.number).or(kept.snapshot.as_ref().map(|s| s.number)).unwrap_or(0);
    let counters = Arc::new(JournalCounters::default());
    let (folder, key) = (folder.to_owned(), *key);
    let mut opened = Opened { kept, folder, durability, key, store, tail, mark, last_group, counters };
    if whole < last_group {
        opened.cut_after(whole)?;
    }
    Ok(opened)
}

impl Opened {
    /// Cuts what was kept after the group `whole`: it is not there, does not open or is not understood.
    pub fn cut_after(&mut self, whole: u64) -> Result<(), JournalError> {
        let groups = self.last_group.saturating_sub(whole);
        let path = self.folder.join(store::FILE);
        // Their numbers are given again: none of before may be read as one of them.
        self.tail.clear().map_err(|error| open_error(&path, error.into()))?;
        self.store.cut_from(whole + 1).map_err(|error| open_error(&path, error.into()))?;
        let marked = Marked { journal: self.store.sealer.journal.clone(), group: whole, fact: self.kept.last_fact };
        self.mark.write(&marked).map_err(|error| open_error(&path, error.into()))?;
        self.kept.groups.retain(|group| group.number <= whole);
        self.last_group = whole;
        let before = self.kept.cut.map_or(0, |cut| cut.groups);
        self.kept.cut = Some(Cut { whole, groups: before + groups });
        self.counters.cut_groups.fetch_add(groups, Ordering::Relaxed);
        tracing::error!(whole, lost = groups, "the journal's tail is broken: cut after its last whole group");
        Ok(())
    }

    /// What the journal holds as the facts of a group, as JSON.
    pub(crate) fn facts_of(&self, group: &KeptGroup) -> Vec<(u64, String)> {
        self.store.facts_between(group.fact_last - group.facts, group.fact_last).unwrap_or_default()
    }

    pub fn counters(&self) -> Arc<JournalCounters> {
        self.counters.clone()
    }

    /// Starts the journal's threads, which end when the [`Appender`] is dropped and everything is written:
    /// [`Journal::drained`] waits for that.
    pub fn start(self) -> Result<(Appender, Journal), JournalError> {
        let Self { kept, folder, durability, key, store, tail, mark, last_group, counters } = self;
        let (inbox, messages) = threads::sync_channel(GROUPS_WAITING_MAX);
        let (durable_in, durable) = watch::channel(last_group);
        let (appended_in, appended) = watch::channel(kept.last_fact);
        let files = writer::Files { folder, durability, key, mark, tail };
        let journal = Journal::new(files.path(), store.sealer.journal.clone(), appended, counters.clone());
        let told = writer::Told { durable: durable_in, appended: appended_in, shared: journal.shared() };
        let of_writer = counters.clone();
        let checkpointer = checkpoint::Checkpointer::start(files.path(), durability).map_err(JournalError::Thread)?;
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer::run(store, files, checkpointer, messages, told, of_writer))
            .map_err(JournalError::Thread)?;
        let (fact, last_at) = (kept.last_fact, kept.last_at);
        Ok((Appender { inbox, group: last_group, fact, last_at, durable, counters }, journal))
    }
}

fn read(
    folder: &Path,
    durability: Durability,
    key: &[u8; 32],
    name: Option<&str>,
) -> Result<(Store, Tail, Kept, u64), StoreError> {
    let mut store = Store::open(&folder.join(store::FILE), durability, key, name)?;
    let mut tail = Tail::open(folder, &store.sealer.journal, durability)?;
    store.take_in(&mut tail)?;
    let (snapshot, _broken) = store.snapshot()?;
    let groups = store.groups_after(snapshot.as_ref().map_or(0, |snapshot| snapshot.number))?;
    let last_at = groups.last().map(|group| group.at).or(snapshot.as_ref().map(|snapshot| snapshot.at));
    let kept = Kept {
        last_at: last_at.unwrap_or_default(),
        last_fact: store.last_fact()?,
        snapshot,
        groups,
        ..Kept::default()
    };
    let last_group = store.last_group()?;
    Ok((store, tail, kept, last_group))
}

/// Moves the file aside and makes a new one of what is readable of it. Gives where the old one is.
fn make_anew(folder: &Path, durability: Durability, key: &[u8; 32], name: Option<&str>) -> Result<PathBuf, StoreError> {
    let aside = repair::move_aside(folder)?;
    let path = folder.join(store::FILE);
    drop(Store::open(&path, durability, key, name)?);
    match repair::take_over(&aside, &path) {
        Ok(saved) => tracing::error!(
            saved.facts,
            saved.groups,
            saved.snapshots,
            aside = %aside.display(),
            "a new journal was begun with what was readable of the old one"
        ),
        Err(error) => tracing::error!(
            %error,
            aside = %aside.display(),
            "a new journal was begun; nothing was readable of the old one"
        ),
    }
    Ok(aside)
}

fn open_error(path: &Path, error: StoreError) -> JournalError {
    let path = path.to_owned();
    match error {
        StoreError::Key => JournalError::Key { path },
        StoreError::Sqlite(error) => JournalError::Open { path, reason: error.to_string() },
        StoreError::Io(error) => JournalError::Open { path, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
