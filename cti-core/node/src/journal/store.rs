use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cti_base::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::seal::{Kind, Sealer};
use super::tail::Tail;
use super::{KeptGroup, KeptSnapshot};
use crate::config::Durability;

/// The file in the journal's folder; SQLite keeps `-wal` and `-shm` beside it.
pub(super) const FILE: &str = "journal.db";
/// How long a commit waits for a checkpoint that ends the write-ahead log's growth.
const BUSY: Duration = Duration::from_secs(5);
/// Blobs and facts that are deleted in one transaction: about a millisecond.
pub(super) const PRUNE_STEP: i64 = 200;

const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS facts (seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, fact TEXT NOT NULL);\
    CREATE TABLE IF NOT EXISTS journal (name TEXT NOT NULL, pruned INTEGER NOT NULL);\
    CREATE TABLE IF NOT EXISTS seals (sealed BLOB NOT NULL);\
    CREATE TABLE IF NOT EXISTS boots (id TEXT NOT NULL);\
    CREATE TABLE IF NOT EXISTS groups (number INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, facts INTEGER NOT NULL, \
        fact_last INTEGER NOT NULL, gap INTEGER NOT NULL, inputs BLOB NOT NULL);\
    CREATE TABLE IF NOT EXISTS snapshots (number INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, fact_last INTEGER NOT NULL, \
        state BLOB NOT NULL);";
const NAME: &str = "INSERT INTO journal (name, pruned) SELECT COALESCE(?1, lower(hex(randomblob(16)))), 0 \
                    WHERE NOT EXISTS (SELECT 1 FROM journal)";
/// After pruning there may be no fact left, and yet the numbers go on.
const LAST_FACT: &str = "SELECT max(pruned, COALESCE((SELECT MAX(seq) FROM facts), 0)) FROM journal";
const LAST_GROUP: &str = "SELECT max(COALESCE((SELECT MAX(number) FROM groups), 0), \
                          COALESCE((SELECT MAX(number) FROM snapshots), 0))";
/// A group that is written again after an error may be there already.
const ADD_GROUP: &str = "INSERT OR REPLACE INTO groups (number, at_us, facts, fact_last, gap, inputs) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const ADD_FACT: &str = "INSERT OR REPLACE INTO facts (seq, at_us, fact) VALUES (?1, ?2, ?3)";
const ADD_SNAPSHOT: &str = "INSERT OR REPLACE INTO snapshots (number, at_us, fact_last, state) VALUES (?1, ?2, ?3, ?4)";
const SNAPSHOTS: &str = "SELECT number, at_us, fact_last, state FROM snapshots ORDER BY number DESC";
const GROUPS_AFTER: &str =
    "SELECT number, at_us, facts, fact_last, gap, inputs FROM groups WHERE number > ?1 ORDER BY number";
const CUT_GROUPS: &str = "DELETE FROM groups WHERE number >= ?1";
const CUT_SNAPSHOTS: &str = "DELETE FROM snapshots WHERE number >= ?1";
const PRUNE_FACTS: &str = "DELETE FROM facts WHERE seq IN \
                           (SELECT seq FROM facts WHERE seq <= ?1 AND at_us < ?2 ORDER BY seq LIMIT ?3)";
const PRUNED: &str = "UPDATE journal SET pruned = max(pruned, ?1)";
/// What is older than the last snapshot but one is never replayed.
const PRUNE_GROUPS: &str = "DELETE FROM groups WHERE number IN (SELECT number FROM groups WHERE number <= \
    (SELECT number FROM snapshots ORDER BY number DESC LIMIT 1 OFFSET 1) ORDER BY number LIMIT ?1)";
const PRUNE_SNAPSHOT: &str = "DELETE FROM snapshots WHERE number IN (SELECT number FROM snapshots WHERE number < \
    (SELECT number FROM snapshots ORDER BY number DESC LIMIT 1 OFFSET 1) ORDER BY number LIMIT 1)";

thread_local! {
    /// Pages in the write-ahead log after this thread's last commit, as SQLite tells it: its hook takes no state.
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it was written with another node.key")]
    Key,
}

impl StoreError {
    /// Whether the file is no database, or one that SQLite can not make sense of.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Sqlite(error) if is_malformed(error))
    }
}

pub(super) fn is_malformed(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// A group as it is written: private parts sealed, facts as JSON.
pub(super) struct Sealed {
    pub number: u64,
    pub at: Timestamp,
    pub gap: bool,
    pub inputs: Vec<u8>,
    /// Seq, time, JSON.
    pub facts: Vec<(u64, Timestamp, String)>,
    /// The last fact's seq, of this group or one before.
    pub fact_last: u64,
    pub snapshot: Option<Vec<u8>>,
}

/// The journal's file: one connection that writes, made and used by one thread at a time.
pub(super) struct Store {
    connection: Connection,
    pub sealer: Arc<Sealer>,
}

impl Store {
    /// Opens the file, made where missing, for the one who holds `key`; `name` is the new one's, where there had been one.
    ///
    /// `process` syncs nothing at a commit (`synchronous=NORMAL`): what is written is the kernel's, and a killed process
    /// takes nothing back. `OFF` would save one more sync, of the log's header each time the log begins anew; but without it
    /// a loss of power could lay old pages over newer ones and ruin the whole file, where now it costs the last seconds.
    /// `power` (`FULL`) syncs the log at each commit, and a group is what one sync carries.
    pub fn open(path: &Path, durability: Durability, key: &[u8; 32], name: Option<&str>) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        configure(&connection, durability)?;
        connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(pages.unsigned_abs());
            Ok(())
        }));
        connection.execute_batch(SCHEMA)?;
        connection.execute(NAME, [name])?;
        let name: String = connection.query_row("SELECT name FROM journal", [], |row| row.get(0))?;
        let sealer = Sealer::new(key, &name);
        let sealed: Option<Vec<u8>> =
            connection.query_row("SELECT sealed FROM seals", [], |row| row.get(0)).optional()?;
        match sealed {
            Some(sealed) => {
                sealer.open(Kind::Check, 0, &sealed).map_err(|_| StoreError::Key)?;
            }
            None => {
                let sealed = sealer.seal(Kind::Check, 0, b"")?;
                connection.execute("INSERT INTO seals (sealed) VALUES (?1)", [sealed])?;
            }
        }
        Ok(Self { connection, sealer: Arc::new(sealer) })
    }

    /// Opens the file beside the one who writes it, to read; `None` where there is none yet.
    pub fn open_to_read(path: &Path, key: &[u8; 32]) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(BUSY)?;
        let name: String = connection.query_row("SELECT name FROM journal", [], |row| row.get(0))?;
        Ok(Some(Self { connection, sealer: Arc::new(Sealer::new(key, &name)) }))
    }

    /// All in one transaction.
    pub fn commit<'a>(&mut self, groups: impl IntoIterator<Item = &'a Sealed>) -> rusqlite::Result<()> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for group in groups {
            let (at_us, fact_last) = (micros(group.at), int(group.fact_last));
            tx.prepare_cached(ADD_GROUP)?.execute(params![
                int(group.number),
                at_us,
                int(group.facts.len() as u64),
                fact_last,
                group.gap,
                group.inputs
            ])?;
            let mut add = tx.prepare_cached(ADD_FACT)?;
            for (seq, at, fact) in &group.facts {
                add.execute(params![int(*seq), micros(*at), fact])?;
            }
            if let Some(state) = &group.snapshot {
                tx.prepare_cached(ADD_SNAPSHOT)?.execute(params![int(group.number), at_us, fact_last, state])?;
            }
        }
        tx.commit()
    }

    /// Takes in what the tail has beyond it. Those that do not follow are taken too: their facts are facts.
    pub fn take_in(&mut self, tail: &mut Tail) -> Result<(), StoreError> {
        let groups = tail.groups(self.last_group()? + 1)?;
        if !groups.is_empty() {
            self.commit(&groups)?;
        }
        tail.begin_anew();
        Ok(())
    }

    /// Pages in the write-ahead log after the last commit of this thread.
    pub fn wal_pages() -> u32 {
        WAL_PAGES.get()
    }

    /// Takes away a step of the facts up to `through` that are older than `before`; whether there may be more.
    pub fn prune_facts(&mut self, through: u64, before: Timestamp) -> rusqlite::Result<bool> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(PRUNED, [int(through)])?;
        let gone = tx.prepare_cached(PRUNE_FACTS)?.execute(params![int(through), micros(before), PRUNE_STEP])?;
        tx.commit()?;
        Ok(gone == PRUNE_STEP as usize)
    }

    /// Takes away a step of what is older than the last snapshot but one; whether there may be more.
    pub fn prune_groups(&mut self) -> rusqlite::Result<bool> {
        let gone = self.connection.prepare_cached(PRUNE_GROUPS)?.execute([PRUNE_STEP])?;
        if gone > 0 {
            return Ok(true);
        }
        Ok(self.connection.prepare_cached(PRUNE_SNAPSHOT)?.execute([])? > 0)
    }

    pub fn last_fact(&self) -> rusqlite::Result<u64> {
        self.connection.query_row(LAST_FACT, [], |row| uint(row, 0))
    }

    pub fn last_group(&self) -> rusqlite::Result<u64> {
        self.connection.query_row(LAST_GROUP, [], |row| uint(row, 0))
    }

    /// Whether the file was last opened since this machine started; said once, and remembered.
    pub fn same_boot(&self, boot: &str) -> rusqlite::Result<bool> {
        let last: Option<String> =
            self.connection.query_row("SELECT id FROM boots", [], |row| row.get(0)).optional()?;
        if last.as_deref() == Some(boot) {
            return Ok(true);
        }
        self.connection.execute("DELETE FROM boots", [])?;
        self.connection.execute("INSERT INTO boots (id) VALUES (?1)", [boot])?;
        Ok(last.is_none())
    }

    /// The youngest snapshot that opens, and how many younger ones do not.
    pub fn snapshot(&self) -> rusqlite::Result<(Option<KeptSnapshot>, u64)> {
        let mut statement = self.connection.prepare(SNAPSHOTS)?;
        let mut rows = statement.query([])?;
        let mut broken = 0;
        while let Some(row) = rows.next()? {
            let number = uint(row, 0)?;
            match self.sealer.open(Kind::Snapshot, number, row.get_ref(3)?.as_blob().unwrap_or_default()) {
                Ok(state) => {
                    let at = Timestamp::from_micros(uint(row, 1)?);
                    return Ok((Some(KeptSnapshot { number, at, fact_last: uint(row, 2)?, state }), broken));
                }
                Err(_) => broken += 1,
            }
        }
        Ok((None, broken))
    }

    /// Every group after `number`, as far as they follow each other and open.
    pub fn groups_after(&self, number: u64) -> rusqlite::Result<Vec<KeptGroup>> {
        let mut statement = self.connection.prepare(GROUPS_AFTER)?;
        let mut rows = statement.query([int(number)])?;
        let mut groups = Vec::new();
        let mut next = number + 1;
        while let Some(row) = rows.next()? {
            let (number, gap) = (uint(row, 0)?, row.get(4)?);
            if number != next || gap {
                break;
            }
            let sealed = row.get_ref(5)?.as_blob().unwrap_or_default();
            let Ok(inputs) = self.sealer.open(Kind::Group, number, sealed) else { break };
            groups.push(KeptGroup {
                number,
                at: Timestamp::from_micros(uint(row, 1)?),
                facts: uint(row, 2)?,
                fact_last: uint(row, 3)?,
                inputs,
            });
            next += 1;
        }
        Ok(groups)
    }

    /// The JSON of the facts after `seq`, up to `through`.
    pub fn facts_between(&self, seq: u64, through: u64) -> rusqlite::Result<Vec<(u64, String)>> {
        let mut statement =
            self.connection.prepare("SELECT seq, fact FROM facts WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
        let rows = statement.query_map([int(seq), int(through)], |row| Ok((uint(row, 0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Takes away every group and snapshot from `number` on.
    pub fn cut_from(&mut self, number: u64) -> rusqlite::Result<()> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(CUT_GROUPS, [int(number)])?;
        tx.execute(CUT_SNAPSHOTS, [int(number)])?;
        tx.commit()
    }
}

/// What every connection to the file is told first.
pub(super) fn configure(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let synchronous = match durability {
        Durability::Process => "normal",
        Durability::Power => "full",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(())
}

pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn uint(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn micros(at: Timestamp) -> i64 {
    int(at.as_micros())
}
