//! A journal that SQLite can not make sense of: moved aside, and what is readable of it taken over into a new one.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::store::FILE;

/// What was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub facts: usize,
    pub groups: usize,
    pub snapshots: usize,
}

/// The file under its other name.
pub(super) fn move_aside(folder: &Path) -> std::io::Result<PathBuf> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut time = since_epoch.as_secs();
    let mut aside = folder.join(format!("{FILE}.broken-{time}"));
    while aside.exists() {
        time += 1;
        aside = folder.join(format!("{FILE}.broken-{time}"));
    }
    std::fs::rename(folder.join(FILE), &aside)?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::rename(with_suffix(&folder.join(FILE), suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}

/// Takes over into the new journal at `to` what can be read of the one at `aside`.
pub(super) fn take_over(aside: &Path, to: &Path) -> rusqlite::Result<Saved> {
    let into = Connection::open(to)?;
    into.busy_timeout(std::time::Duration::from_secs(5))?;
    let from = Connection::open_with_flags(aside, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let stored: rusqlite::Result<(String, i64)> =
        from.query_row("SELECT name, pruned FROM journal", [], |row| Ok((row.get(0)?, row.get(1)?)));
    // Sealed blobs open only under the name that they were sealed under.
    if let Ok((name, pruned)) = stored {
        into.execute("UPDATE journal SET name = ?1, pruned = ?2", (name, pruned))?;
    }
    let mut saved = Saved::default();
    let tx = into.unchecked_transaction()?;
    tx.execute("DELETE FROM seals", [])?;
    copy(&from, &tx, "seals", "rowid", &["sealed"]);
    saved.snapshots = copy(&from, &tx, "snapshots", "number", &["number", "at_us", "fact_last", "state"]);
    saved.groups = copy(&from, &tx, "groups", "number", &["number", "at_us", "facts", "fact_last", "gap", "inputs"]);
    saved.facts = copy(&from, &tx, "facts", "seq", &["seq", "at_us", "fact"]);
    tx.commit()?;
    Ok(saved)
}

/// Row by row from the first on, and where that breaks off, from the last back: what lies between is lost.
fn copy(from: &Connection, to: &Connection, table: &str, key: &str, columns: &[&str]) -> usize {
    let named = columns.join(", ");
    let places: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    let insert = format!("INSERT OR IGNORE INTO {table} ({named}) VALUES ({})", places.join(", "));
    let mut copied = 0;
    for order in ["ASC", "DESC"] {
        let select = format!("SELECT {named} FROM {table} ORDER BY {key} {order}");
        let done = (|| -> rusqlite::Result<()> {
            let (mut select, mut insert) = (from.prepare(&select)?, to.prepare(&insert)?);
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let values: Vec<Value> =
                    (0..columns.len()).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
                copied += insert.execute(rusqlite::params_from_iter(values))?;
            }
            Ok(())
        })();
        if done.is_ok() {
            break;
        }
    }
    copied
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
