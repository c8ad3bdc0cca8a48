//! The records: tenants, people, customers, cases and call history, in SQLite or PostgreSQL.
//!
//! [`Store::connect`] opens either by URL; every statement is one text for both. **Every function takes the tenant, and a
//! record of another tenant does not exist for it.** Not found is `Ok(None)`; an update takes the record's version and
//! answers with a [`Change`]. Call history is folded from facts by [`projector`] and can be made anew from the journal.
//! Nothing here is in a call's path.
//!
//! JSON is text in both databases: nothing is asked of its inside in SQL, and one type binds and reads the same way in both.

mod clock;
mod error;
mod page;
mod row;
mod statement;
mod store;

pub mod audit;
pub mod callbacks;
pub mod callers;
pub mod calls;
pub mod cases;
pub mod contacts;
pub mod customers;
pub mod drafts;
pub mod figures;
pub mod idempotency;
pub mod products;
pub mod projector;
pub mod recordings;
pub mod sessions;
pub mod tenants;
pub mod tokens;
pub mod trace;
pub mod users;
pub mod voicemails;

pub use clock::{new_id, now};
pub use error::{Change, Error, JSON_LEN_MAX, LINE_LEN_MAX, Result, TEXT_LEN_MAX};
pub use page::{LIMIT_DEFAULT, LIMIT_MAX, Listing, Page};
pub use statement::{Arg, Statement};
pub use store::{POSTGRES_CONNECTIONS_MAX, SQLITE_READERS_MAX, Store};

/// Every statement this crate runs.
pub fn statements() -> impl Iterator<Item = &'static Statement> {
    [
        audit::ALL,
        callbacks::ALL,
        callers::ALL,
        calls::ALL,
        cases::ALL,
        contacts::ALL,
        customers::ALL,
        drafts::ALL,
        figures::ALL,
        idempotency::ALL,
        products::ALL,
        projector::ALL,
        recordings::ALL,
        sessions::ALL,
        tenants::ALL,
        tokens::ALL,
        voicemails::ALL,
        trace::ALL,
        users::ALL,
    ]
    .into_iter()
    .flatten()
}
