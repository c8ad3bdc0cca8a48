//! Migrations, paired by number: the same step in each database's own words. A step is applied once, in its transaction.

use sqlx::{AssertSqlSafe, Executor as _};

use super::Store;
use crate::error::{Error, Result};

struct Migration {
    number: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal;)*) => {
        const MIGRATIONS: &[Migration] = &[$(Migration {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        }),*];
    };
}

migrations! {
    1 "0001_records";
    2 "0002_recording_gaps";
    3 "0003_figures";
    4 "0004_callbacks";
    5 "0005_voicemails";
}

const DONE_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS migrations (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)";
const DONE_LAST: &str = "SELECT COALESCE(MAX(number), 0) FROM migrations";
const DONE_ADD: &str = "INSERT INTO migrations (number, name) VALUES ($1, $2)";
/// Two programs that start at once on one PostgreSQL take turns. The number only has to be our own.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7061102)";

pub(super) async fn run(store: &Store) -> Result<()> {
    let known = MIGRATIONS.last().map_or(0, |m| m.number);
    // One arm a driver: the statements are the same, the transaction's type is not.
    macro_rules! apply {
        ($begin:expr, $lock:expr, $text:ident) => {{
            let failed = |number, name| move |source| Error::Migration { number, name, source };
            let mut tx = $begin.await.map_err(failed(0, "begin"))?;
            if let Some(lock) = $lock {
                tx.execute(sqlx::raw_sql(lock)).await.map_err(failed(0, "lock"))?;
            }
            tx.execute(sqlx::raw_sql(DONE_TABLE)).await.map_err(failed(0, "migrations"))?;
            let found: i64 =
                sqlx::query_scalar(DONE_LAST).fetch_one(&mut *tx).await.map_err(failed(0, "migrations"))?;
            if found > known {
                return Err(Error::FromTheFuture { found, known });
            }
            for migration in MIGRATIONS.iter().filter(|m| m.number > found) {
                let failed = || failed(migration.number, migration.name);
                tx.execute(sqlx::raw_sql(AssertSqlSafe(migration.$text))).await.map_err(failed())?;
                sqlx::query(DONE_ADD)
                    .bind(migration.number)
                    .bind(migration.name)
                    .execute(&mut *tx)
                    .await
                    .map_err(failed())?;
            }
            tx.commit().await.map_err(failed(known, "commit"))
        }};
    }
    match store {
        Store::Sqlite { write, .. } => apply!(write.begin_with("BEGIN IMMEDIATE"), None::<&'static str>, sqlite),
        Store::Postgres { pool, .. } => apply!(pool.begin(), Some(LOCK), postgres),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_a_migration() {
        let names: Vec<String> = MIGRATIONS.iter().map(|migration| format!("{}.sql", migration.name)).collect();
        for folder in ["sqlite", "postgres"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
            let files = std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").file_name());
            let mut files: Vec<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
            files.sort();
            assert_eq!(files, names, "{}", folder.display());
        }
    }
}
