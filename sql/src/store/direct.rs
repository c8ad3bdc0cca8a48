//! SQLite without a pool: a whole question, or a whole batch, is one visit to one thread. A pool's worker is woken for every
//! statement and wakes its asker for every answer, which costs many times what the statement does.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::health::Health;
use super::{Batch, SQLITE_BUSY_TIMEOUT, Written};
use crate::error::{Error, Result};
use crate::row::{Direct as DirectRow, Row};
use crate::statement::{Arg, Statement};

/// Questions that wait for the thread that answers.
pub const QUESTIONS_WAITING_MAX: usize = 256;
/// How long a question waits for another process that is putting the file right.
const READ_BUSY: Duration = Duration::from_secs(1);
/// Statements that a connection keeps ready.
const STATEMENTS_KEPT: usize = 64;
/// Pages (4 KiB) in the write-ahead log before a batch moves them into the file: pages that many batches touch are moved once.
const CHECKPOINT_PAGES: u32 = 4_000;

type Question = Box<dyn FnOnce(&mut Asker) + Send>;

/// Cheap to clone. The thread that answers begins with the first question and ends with the last clone.
#[derive(Clone, Debug)]
pub struct Direct(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    questions: Mutex<Option<SyncSender<Question>>>,
    writer: Mutex<Option<Connection>>,
}

/// What a question asks with.
pub(crate) struct Asker {
    path: PathBuf,
    health: Health,
    connection: Option<Connection>,
}

impl Direct {
    pub fn new(path: &Path) -> Self {
        Self(Arc::new(Inner { path: path.to_owned(), questions: Mutex::default(), writer: Mutex::default() }))
    }

    /// Has `question` asked on the thread that answers; never waits. Given back where too many wait, or no thread can be had.
    pub(crate) fn ask(&self, health: &Health, question: Question) -> std::result::Result<(), Question> {
        let mut questions = lock(&self.0.questions);
        let sender = match questions.as_ref() {
            Some(sender) => sender,
            None => match self.start(health) {
                Ok(sender) => questions.insert(sender),
                Err(error) => {
                    tracing::error!(%error, "the thread that asks the records can not be started");
                    return Err(question);
                }
            },
        };
        match sender.try_send(question) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(question)) => Err(question),
            Err(TrySendError::Disconnected(question)) => {
                *questions = None;
                Err(question)
            }
        }
    }

    fn start(&self, health: &Health) -> std::io::Result<SyncSender<Question>> {
        let (sender, questions) = sync_channel(QUESTIONS_WAITING_MAX);
        let asker = Asker { path: self.0.path.clone(), health: health.clone(), connection: None };
        std::thread::Builder::new().name("records".into()).spawn(move || asker.run(&questions))?;
        Ok(sender)
    }

    /// One transaction; blocks. Nothing of it is there after an error.
    pub(crate) fn write(&self, batch: &Batch) -> Result<Written> {
        let mut writer = lock(&self.0.writer);
        let mut connection = match writer.take() {
            Some(connection) => connection,
            None => open(&self.0.path, SQLITE_BUSY_TIMEOUT, false).map_err(failed("OPEN"))?,
        };
        let written = write(&mut connection, batch);
        // After an error it is opened anew.
        if written.is_ok() {
            *writer = Some(connection);
        }
        written
    }

    /// Closes what is open; the thread that answers ends after what it has.
    pub fn close(&self) {
        *lock(&self.0.questions) = None;
        *lock(&self.0.writer) = None;
    }
}

impl Asker {
    fn run(mut self, questions: &Receiver<Question>) {
        while let Ok(question) = questions.recv() {
            question(&mut self);
        }
    }

    /// All rows of a reading statement.
    pub(crate) fn all(&mut self, statement: &Statement, args: &[Arg]) -> Result<Vec<Row>> {
        let health = self.health.clone();
        let pass = health.reading()?;
        let rows = self.rows(statement, args).map_err(failed(statement.name));
        if rows.is_err() {
            self.connection = None;
        }
        pass.done(rows)
    }

    fn rows(&mut self, statement: &Statement, args: &[Arg]) -> rusqlite::Result<Vec<Row>> {
        let connection = match &self.connection {
            Some(connection) => connection,
            None => self.connection.insert(open(&self.path, READ_BUSY, true)?),
        };
        let mut prepared = connection.prepare_cached(statement.sql)?;
        bind(&mut prepared, args)?;
        let names: Arc<[String]> = prepared.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = prepared.raw_query();
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let cells = (0..names.len()).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<Value>>>()?;
            all.push(Row::Direct(DirectRow { names: names.clone(), cells }));
        }
        Ok(all)
    }
}

fn open(path: &Path, busy: Duration, only_reads: bool) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(busy)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", 1)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "query_only", i32::from(only_reads))?;
    Ok(connection)
}

fn write(connection: &mut Connection, batch: &Batch) -> Result<Written> {
    let begin = failed("BEGIN");
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(begin)?;
    let (guard, args, below) = &batch.guard;
    if let Some(found) = number(&tx, guard, args).map_err(failed(guard.name))?
        && found >= *below
    {
        return Ok(Written::Not { found });
    }
    for (statement, args) in &batch.statements {
        run(&tx, statement, args).map_err(failed(statement.name))?;
    }
    tx.commit().map_err(failed("COMMIT"))?;
    Ok(Written::All)
}

fn run(connection: &Connection, statement: &Statement, args: &[Arg]) -> rusqlite::Result<usize> {
    let mut prepared = connection.prepare_cached(statement.sql)?;
    bind(&mut prepared, args)?;
    prepared.raw_execute()
}

/// The column `seq` of the first row.
fn number(connection: &Connection, statement: &Statement, args: &[Arg]) -> rusqlite::Result<Option<u64>> {
    let mut prepared = connection.prepare_cached(statement.sql)?;
    bind(&mut prepared, args)?;
    let mut rows = prepared.raw_query();
    rows.next()?.map(|row| row.get::<_, i64>("seq").map(i64::unsigned_abs)).transpose()
}

/// SQLite takes `$1` for a name, numbered as it first comes up; here it is the argument's own number.
fn bind(prepared: &mut rusqlite::CachedStatement<'_>, args: &[Arg]) -> rusqlite::Result<()> {
    for place in 1..=prepared.parameter_count() {
        let named = prepared.parameter_name(place).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        match named.and_then(|number| args.get(number.checked_sub(1)?)) {
            Some(Arg::Text(text)) => prepared.raw_bind_parameter(place, text)?,
            Some(Arg::Int(number)) => prepared.raw_bind_parameter(place, number)?,
            None => return Err(rusqlite::Error::InvalidParameterCount(args.len(), prepared.parameter_count())),
        }
    }
    Ok(())
}

fn failed(statement: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| Error::Sqlite { statement, source }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
