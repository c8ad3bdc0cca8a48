//! One schema in two databases.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;
use zongji_sql::Store;

use crate::{both, db};

/// Table to column to (type by meaning, may be null).
type Tables = BTreeMap<String, BTreeMap<String, (&'static str, bool)>>;
/// Table, unique, columns in order: what an index means, whatever its name.
type Indexes = BTreeSet<(String, bool, Vec<String>)>;

#[test]
fn every_statement_is_understood_by_both_databases() {
    both(|store| async move {
        let mut prepared = 0;
        for statement in zongji_sql::statements() {
            store.prepare(statement).await.unwrap_or_else(|e| panic!("{e}\n{}", statement.sql));
            prepared += 1;
        }
        assert!(prepared > 60, "only {prepared} statements are registered");
    });
}

#[test]
fn every_statement_names_its_tenant() {
    // What works across tenants, each for its reason.
    let across = [
        "sessions::END",        // the token is the key
        "sessions::SWEEP",      // what is over is over for everyone
        "idempotency::SWEEP",   // likewise
        "idempotency::ABANDON", // what an ended process left unfinished is free for everyone
        "projector::POSITION",  // the journal is the node's
        "projector::ADVANCE",   // likewise
        "projector::FORGET_",   // all history is made anew
        "figures::FORGET_",     // likewise
        "trace::FORGET",        // likewise
        "callbacks::FORGET",    // likewise
        "tenants::",            // the tenants themselves
    ];
    for statement in zongji_sql::statements() {
        let name = statement.name.trim_start_matches("zongji_sql::");
        let named = statement.sql.contains("tenant");
        assert!(named || across.iter().any(|a| name.starts_with(a)), "{name} names no tenant: {}", statement.sql);
    }
}

/// SQLite plans without knowing how many rows there are: what names more than its tenant must have an index for it.
#[test]
fn no_statement_reads_all_rows_of_a_tenant_but_lists_and_searches() {
    let lists = ["customers::", "audit::LIST", "callbacks::LIST", "cases::LIST", "voicemails::LIST", "users::"];
    db::runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::connect(&format!("sqlite:{}/a.db", folder.path().display())).await.expect("SQLite");
        let Store::Sqlite { read, .. } = &store else { panic!("the kind asked for") };
        let mut planned = 0;
        for statement in zongji_sql::statements() {
            let name = statement.name.trim_start_matches("zongji_sql::");
            if lists.iter().any(|l| name == *l || (l.ends_with("::") && name.starts_with(l))) {
                continue;
            }
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.sql));
            for row in sqlx::query(explain).fetch_all(read).await.expect(name) {
                let step: String = row.get("detail");
                assert!(!step.ends_with("(tenant=?)") && !step.ends_with("(tenant=? AND id<?)"), "{name}: {step}");
                planned += 1;
            }
        }
        assert!(planned > 60, "only {planned} steps");
    });
}

#[test]
fn migrations_run_twice_change_nothing_and_a_later_schema_is_refused() {
    both(|store| async move {
        store.migrate().await.expect("nothing to do");
        let later = "INSERT INTO migrations (number, name) VALUES (9999, 'from the future')";
        match &store {
            Store::Sqlite { write, .. } => sqlx::query(later).execute(write).await.map(|_| ()),
            Store::Postgres { pool, .. } => sqlx::query(later).execute(pool).await.map(|_| ()),
        }
        .expect("a row");
        let refused = store.migrate().await.expect_err("a later schema");
        assert!(refused.to_string().contains("9999"), "{refused}");
    });
}

#[test]
fn both_databases_have_the_same_tables_columns_and_indexes() {
    db::runtime().block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Store::connect(&format!("sqlite:{}/a.db", folder.path().display())).await.expect("SQLite");
        let postgres = Store::connect(&db::fresh_database()).await.expect("PostgreSQL");
        let (Store::Sqlite { read, .. }, Store::Postgres { pool, .. }) = (&sqlite, &postgres) else {
            panic!("the two kinds")
        };
        let (left, right) = (sqlite_tables(read).await, postgres_tables(pool).await);
        assert!(left.len() > 15, "{} tables", left.len());
        assert_eq!(left, right);
        assert_eq!(sqlite_indexes(read, &left).await, postgres_indexes(pool).await);
    });
}

#[test]
fn a_url_of_neither_database_is_refused_with_what_to_write() {
    db::runtime().block_on(async {
        let refused = Store::connect("mysql://localhost/zongji").await.expect_err("no such database");
        assert!(refused.to_string().contains("sqlite:PATH"), "{refused}");
        let refused = Store::connect("sqlite:").await.expect_err("no path");
        assert!(refused.to_string().contains("sqlite:PATH"), "{refused}");
    });
}

fn meaning(declared: &str) -> &'static str {
    match declared.to_ascii_lowercase().as_str() {
        "text" => "text",
        "bigint" => "number",
        other => panic!("a column of type {other}: only TEXT and BIGINT are used"),
    }
}

async fn sqlite_tables(pool: &sqlx::SqlitePool) -> Tables {
    let rows = sqlx::query(
        "SELECT m.name AS t, c.name AS c, c.type AS ty, c.\"notnull\" AS nn FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue");
    let mut tables = Tables::new();
    for row in rows {
        let kind = meaning(row.get::<String, _>("ty").as_str());
        tables.entry(row.get("t")).or_default().insert(row.get("c"), (kind, row.get::<i64, _>("nn") == 0));
    }
    tables
}

async fn postgres_tables(pool: &sqlx::PgPool) -> Tables {
    let rows = sqlx::query(
        "SELECT table_name::text AS t, column_name::text AS c, data_type::text AS ty, is_nullable::text AS n \
         FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue");
    let mut tables = Tables::new();
    for row in rows {
        let kind = meaning(row.get::<String, _>("ty").as_str());
        tables.entry(row.get("t")).or_default().insert(row.get("c"), (kind, row.get::<String, _>("n") == "YES"));
    }
    tables
}

async fn sqlite_indexes(pool: &sqlx::SqlitePool, tables: &Tables) -> Indexes {
    let mut indexes = Indexes::new();
    for table in tables.keys() {
        let rows = sqlx::query(
            "SELECT l.name AS i, l.\"unique\" AS u, c.name AS c FROM pragma_index_list($1) l, pragma_index_info(l.name) c \
             ORDER BY l.name, c.seqno",
        )
        .bind(table)
        .fetch_all(pool)
        .await
        .expect("the catalogue");
        let mut columns: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
        for row in rows {
            columns.entry((row.get("i"), row.get::<i64, _>("u") == 1)).or_default().push(row.get("c"));
        }
        if table == "migrations" {
            // SQLite keeps a single number that is the primary key outside of any index.
            columns.retain(|_, c| c.as_slice() != ["number"]);
        }
        indexes.extend(columns.into_iter().map(|((_, unique), c)| (table.clone(), unique, c)));
    }
    indexes.retain(|(table, ..)| table != "migrations");
    indexes
}

async fn postgres_indexes(pool: &sqlx::PgPool) -> Indexes {
    let rows = sqlx::query(
        "SELECT t.relname::text AS t, i.indexrelid::bigint AS i, i.indisunique AS u, a.attname::text AS c \
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
         CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum \
         WHERE n.nspname = 'public' AND t.relname <> 'migrations' ORDER BY i.indexrelid, k.place",
    )
    .fetch_all(pool)
    .await
    .expect("the catalogue");
    let mut columns: BTreeMap<(String, bool, i64), Vec<String>> = BTreeMap::new();
    for row in rows {
        columns.entry((row.get("t"), row.get("u"), row.get("i"))).or_default().push(row.get("c"));
    }
    columns.into_iter().map(|((table, unique, _), c)| (table, unique, c)).collect()
}
