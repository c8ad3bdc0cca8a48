use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc as threads;
use std::time::{Duration, Instant};

use cti_base::Timestamp;
use cti_switch::FactRecord;
use tokio::sync::watch;

use super::checkpoint::Checkpointer;
use super::mark::{Mark, Marked};
use super::reader::Shared;
use super::seal::{Kind, Sealer};
use super::store::{self, Sealed, Store, StoreError};
use super::tail::Tail;
use super::{Group, JournalCounters};
use crate::config::Durability;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How long the first group in the tail waits until all there are taken into SQLite,
const FOLD_EVERY: Duration = Duration::from_millis(200);
/// if they are not more than so many bytes,
const FOLD_BYTES: usize = 1 << 20;
/// or so many facts: fewer than are kept in memory, since whoever reads SQLite does not find them yet.
const FOLD_FACTS: usize = 4_096;
/// A group of more facts goes straight to SQLite, as does a snapshot.
const TAIL_FACTS: usize = 1_024;

/// A group and where it stands.
pub(super) struct Numbered {
    pub number: u64,
    pub fact_first: u64,
    pub group: Group,
}

/// Whoever waits for what is on disk.
pub(super) struct Told {
    /// The last group's number.
    pub durable: watch::Sender<u64>,
    /// The last fact's seq.
    pub appended: watch::Sender<u64>,
    pub shared: Arc<Shared>,
}

/// Where the journal is, for opening it again.
pub(super) struct Files {
    pub folder: PathBuf,
    pub durability: Durability,
    pub key: [u8; 32],
    pub mark: Mark,
    pub tail: Tail,
}

impl Files {
    pub fn path(&self) -> PathBuf {
        self.folder.join(store::FILE)
    }
}

struct Writer {
    /// `None` after an error.
    store: Option<Store>,
    sealer: Arc<Sealer>,
    files: Files,
    /// What is in the tail and not in SQLite.
    waiting: Waiting,
    checkpointer: Checkpointer,
    told: Told,
    counters: Arc<JournalCounters>,
    /// There may be groups to prune.
    prune_groups: bool,
    mark_failed: bool,
}

#[derive(Default)]
struct Waiting {
    groups: Vec<Sealed>,
    bytes: usize,
    facts: usize,
    since: Option<Instant>,
}

impl Waiting {
    fn push(&mut self, group: Sealed) {
        self.since.get_or_insert_with(Instant::now);
        self.bytes += group.inputs.len() + group.facts.iter().map(|(.., fact)| fact.len()).sum::<usize>();
        self.facts += group.facts.len();
        self.groups.push(group);
    }

    /// When it is to be taken into SQLite.
    fn fold_at(&self) -> Option<Instant> {
        let is_much = self.bytes > FOLD_BYTES || self.facts > FOLD_FACTS;
        self.since.map(|since| if is_much { since } else { since + FOLD_EVERY })
    }
}

/// The writer's thread: until the inbox is closed and empty.
pub(super) fn run(
    store: Store,
    files: Files,
    checkpointer: Checkpointer,
    groups: threads::Receiver<Numbered>,
    told: Told,
    counters: Arc<JournalCounters>,
) {
    let sealer = store.sealer.clone();
    let mut writer = Writer {
        store: Some(store),
        sealer,
        files,
        waiting: Waiting::default(),
        checkpointer,
        told,
        counters,
        prune_groups: true,
        mark_failed: false,
    };
    while let Some(group) = writer.next(&groups) {
        writer.append(group);
        writer.fold_if_due();
    }
    writer.fold();
    if let Err(error) = writer.files.tail.clear() {
        tracing::warn!(%error, "the journal's tail could not be emptied; what is in it is in the journal");
    }
    while writer.prune() {}
}

impl Writer {
    /// Waits for the next group; prunes while there is none, and takes the tail into SQLite in its time.
    fn next(&mut self, groups: &threads::Receiver<Numbered>) -> Option<Numbered> {
        loop {
            match groups.try_recv() {
                Ok(group) => return Some(group),
                Err(threads::TryRecvError::Disconnected) => return None,
                Err(threads::TryRecvError::Empty) if self.prune() => continue,
                Err(threads::TryRecvError::Empty) => {}
            }
            let Some(fold_at) = self.waiting.fold_at() else { return groups.recv().ok() };
            match groups.recv_timeout(fold_at.saturating_duration_since(Instant::now())) {
                Ok(group) => return Some(group),
                Err(threads::RecvTimeoutError::Disconnected) => return None,
                Err(threads::RecvTimeoutError::Timeout) => self.fold_if_due(),
            }
        }
    }

    fn append(&mut self, numbered: Numbered) {
        let number = numbered.number;
        let (sealed, records) = match self.seal(numbered) {
            Ok(sealed) => sealed,
            Err(error) => {
                self.counters.errors.fetch_add(1, Ordering::Relaxed);
                return tracing::error!(%error, group = number, "a group of the journal can not be sealed and is lost");
            }
        };
        if self.told.shared.take_malformed() {
            self.store = None;
            self.make_anew();
        }
        let is_large = sealed.snapshot.is_some() || sealed.facts.len() > TAIL_FACTS;
        if !is_large {
            self.persist(|writer| Ok(writer.files.tail.add(&sealed)?));
        }
        let (fact_last, counted) = (sealed.fact_last, counted(&sealed));
        self.prune_groups |= sealed.snapshot.is_some();
        self.waiting.push(sealed);
        if is_large {
            self.fold();
        }
        self.mark(number, fact_last);
        if !records.is_empty() {
            self.told.shared.push(records);
            self.told.appended.send_replace(fact_last);
        }
        self.told.durable.send_replace(number);
        self.count(counted);
    }

    fn fold_if_due(&mut self) {
        if self.waiting.fold_at().is_some_and(|at| at <= Instant::now()) {
            self.fold();
        }
    }

    /// Takes what waits into SQLite, and begins the tail anew.
    fn fold(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.groups.is_empty() {
            return;
        }
        self.persist(|writer| writer.commit(&waiting.groups));
        self.files.tail.begin_anew();
        self.checkpointer.committed(Store::wal_pages());
    }

    /// Until it succeeds: a full disk has room again some day. Meanwhile the switch knows what to do without.
    fn persist(&mut self, write: impl Fn(&mut Self) -> Result<(), StoreError>) {
        let mut retry = RETRY_FIRST;
        while let Err(error) = write(self) {
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
            if retry == RETRY_FIRST {
                tracing::error!(%error, "the journal can not be written: trying again until it can");
            }
            self.store = None;
            if error.is_malformed() {
                self.make_anew();
            }
            std::thread::park_timeout(retry);
            retry = (retry * 2).min(RETRY_MAX);
        }
        if retry > RETRY_FIRST {
            tracing::info!("the journal is written again");
        }
    }

    fn seal(&self, numbered: Numbered) -> std::io::Result<(Sealed, Vec<Arc<FactRecord>>)> {
        let Numbered { number, fact_first, group } = numbered;
        let records: Vec<Arc<FactRecord>> =
            (fact_first..).zip(group.facts).map(|(seq, (at, fact))| Arc::new(FactRecord { seq, at, fact })).collect();
        let sealed = Sealed {
            number,
            at: group.at,
            gap: group.gap,
            inputs: self.sealer.seal(Kind::Group, number, &group.inputs)?,
            facts: records.iter().filter_map(|record| row(record)).collect(),
            fact_last: fact_first + records.len() as u64 - 1,
            snapshot: group.snapshot.map(|state| self.sealer.seal(Kind::Snapshot, number, &state)).transpose()?,
        };
        Ok((sealed, records))
    }

    fn commit(&mut self, groups: &[Sealed]) -> Result<(), StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            None => {
                let files = &self.files;
                self.store.insert(Store::open(&files.path(), files.durability, &files.key, Some(&self.sealer.journal))?)
            }
        };
        Ok(store.commit(groups)?)
    }

    /// SQLite can not make sense of the file any more.
    fn make_anew(&mut self) {
        let files = &self.files;
        match super::make_anew(&files.folder, files.durability, &files.key, Some(&self.sealer.journal)) {
            Ok(_aside) => {
                self.checkpointer.reopen();
                self.told.shared.file_replaced();
            }
            Err(error) => tracing::error!(%error, "a new journal can not be begun"),
        }
    }

    fn mark(&mut self, group: u64, fact: u64) {
        let marked = Marked { journal: self.sealer.journal.clone(), group, fact };
        if let Err(error) = self.files.mark.write(&marked)
            && !std::mem::replace(&mut self.mark_failed, true)
        {
            tracing::warn!(%error, "the journal's mark can not be written: a lost tail would not be told");
        }
    }

    fn count(&self, (content, snapshot): (usize, usize)) {
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        self.counters.bytes.fetch_add((content + snapshot) as u64, Ordering::Relaxed);
        if snapshot > 0 {
            self.counters.snapshots.fetch_add(1, Ordering::Relaxed);
            self.counters.snapshot_bytes.store(snapshot as u64, Ordering::Relaxed);
        }
    }

    /// One small step of what there is to prune; whether there may be more.
    fn prune(&mut self) -> bool {
        self.prune_groups_step() || self.prune_facts_step()
    }

    fn prune_groups_step(&mut self) -> bool {
        if self.prune_groups {
            self.prune_groups = self.step(Store::prune_groups).unwrap_or(false);
        }
        self.prune_groups
    }

    fn prune_facts_step(&mut self) -> bool {
        let Some((through, before)) = self.told.shared.to_prune() else { return false };
        let more = self.step(|store| store.prune_facts(through, before));
        if more == Some(false) {
            self.told.shared.pruned();
        }
        more.unwrap_or(false)
    }

    /// `None` where it failed.
    fn step(&mut self, step: impl FnOnce(&mut Store) -> rusqlite::Result<bool>) -> Option<bool> {
        match step(self.store.as_mut()?) {
            Ok(more) => {
                self.checkpointer.committed(Store::wal_pages());
                Some(more)
            }
            Err(error) => {
                tracing::warn!(%error, "the journal was not pruned; it is tried again later");
                None
            }
        }
    }
}

/// Bytes of inputs and facts, and of the snapshot.
fn counted(sealed: &Sealed) -> (usize, usize) {
    let facts: usize = sealed.facts.iter().map(|(.., fact)| fact.len()).sum();
    (sealed.inputs.len() + facts, sealed.snapshot.as_ref().map_or(0, Vec::len))
}

fn row(record: &FactRecord) -> Option<(u64, Timestamp, String)> {
    match serde_json::to_string(&record.fact) {
        Ok(fact) => Some((record.seq, record.at, fact)),
        Err(error) => {
            tracing::error!(%error, seq = record.seq, "a fact can not be written as JSON and is lost");
            None
        }
    }
}
