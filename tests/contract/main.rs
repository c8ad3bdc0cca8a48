//! What the records promise, on SQLite and on PostgreSQL alike. Every store test is written once, takes an empty [`Store`] and
//! runs on both: one PostgreSQL server for the whole run, a fresh database a test.

mod callbacks;
mod calls;
mod cases;
mod customers;
mod db;
mod figures;
mod people;

mod schema;
mod voicemails;

use std::collections::BTreeMap;

pub use db::both;

/// The tenant that tests work in, and one that must see nothing of it.
pub fn acme() -> cti_base::TenantId {
    "acme".into()
}

pub fn other() -> cti_base::TenantId {
    "other".into()
}

pub fn cn() -> cti_base::Country {
    cti_base::Country::parse("CN").expect("CN is a country")
}

/// A moment so many milliseconds after the tests' beginning.
pub fn at(ms: u64) -> cti_base::Timestamp {
    cti_base::Timestamp::from_millis(1_700_000_000_000 + ms)
}

pub fn no_vars() -> BTreeMap<String, String> {
    BTreeMap::new()
}
