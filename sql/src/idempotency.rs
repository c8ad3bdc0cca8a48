//! `Idempotency-Key`: a write that is sent again gets the answer of the first time.
//!
//! What must not be done twice keeps its answer in its own transaction (`Key`): then no crash falls between the two.

use std::time::Duration;

use cti_base::{TenantId, Timestamp};
use serde::Serialize;

use crate::error::{Result, check_text};
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::{Store, Tx};

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Characters in a key.
pub const KEY_LEN_MAX: usize = 255;
/// A request that began and did not finish within this time (the program stopped) may be begun again.
const UNFINISHED: Duration = Duration::from_secs(60);

/// What a key means when a request comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Carry the request out, then call `finish` (or `abandon`).
    Fresh,
    /// The first one is not finished: 409.
    Running,
    /// The answer of the first time.
    Done { status: u16, body: String },
    /// The key was used for another request: 422.
    OtherRequest,
}

/// The key of the request that a write belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub user: &'a str,
    pub key: &'a str,
}

statements! {
    BEGIN = "INSERT INTO idempotency (tenant, user_name, key, fingerprint, status, body, expires_ms) \
             VALUES ($1, $2, $3, $4, NULL, NULL, $5) ON CONFLICT (tenant, user_name, key) DO UPDATE SET \
             fingerprint = excluded.fingerprint, status = NULL, body = NULL, expires_ms = excluded.expires_ms \
             WHERE idempotency.expires_ms <= $6";
    GET = "SELECT key, fingerprint, status, body FROM idempotency WHERE tenant = $1 AND user_name = $2 AND key = $3";
    FINISH = "UPDATE idempotency SET status = $4, body = $5, expires_ms = $6 \
              WHERE tenant = $1 AND user_name = $2 AND key = $3";
    ABANDON = "DELETE FROM idempotency WHERE tenant = $1 AND user_name = $2 AND key = $3 AND status IS NULL";
    ABANDON_BEFORE = "DELETE FROM idempotency WHERE status IS NULL AND expires_ms < $1";
    SWEEP = "DELETE FROM idempotency WHERE expires_ms <= $1";
}

/// Takes the key for this request. `fingerprint` is a hash of method, path and body.
pub async fn begin(
    store: &Store,
    tenant: &TenantId,
    user: &str,
    key: &str,
    fingerprint: &str,
    now: Timestamp,
) -> Result<Begun> {
    check_text("Idempotency-Key", key, KEY_LEN_MAX, false)?;
    if store.run(&BEGIN, args![tenant, user, key, fingerprint, now + UNFINISHED, now]).await? > 0 {
        return Ok(Begun::Fresh);
    }
    let Some(row) = store.one(&GET, args![tenant, user, key]).await? else { return Ok(Begun::Running) };
    let stored = Stored::try_from(row)?;
    Ok(match stored {
        Stored { fingerprint: first, .. } if first != fingerprint => Begun::OtherRequest,
        Stored { answer: Some((status, body)), .. } => Begun::Done { status, body },
        Stored { answer: None, .. } => Begun::Running,
    })
}

/// Keeps the answer for `KEPT`.
pub async fn finish(
    store: &Store,
    tenant: &TenantId,
    user: &str,
    key: &str,
    status: u16,
    body: &str,
    now: Timestamp,
) -> Result<()> {
    store.run(&FINISH, args![tenant, user, key, u64::from(status), body, now + KEPT]).await.map(|_| ())
}

/// Frees a key whose request failed before it changed anything.
pub async fn abandon(store: &Store, tenant: &TenantId, user: &str, key: &str) -> Result<()> {
    store.run(&ABANDON, args![tenant, user, key]).await.map(|_| ())
}

/// Keeps the answer in the transaction of what was done.
pub(crate) async fn finish_in(
    tx: &mut Tx,
    tenant: &TenantId,
    key: Option<Key<'_>>,
    status: u16,
    answer: &impl Serialize,
    now: Timestamp,
) -> Result<()> {
    let Some(Key { user, key }) = key else { return Ok(()) };
    let body = serde_json::to_string(answer)?;
    tx.run(&FINISH, args![tenant, user, key, u64::from(status), body, now + KEPT]).await.map(|_| ())
}

/// Frees the keys of requests that an earlier process did not finish; `start` is when this one started.
pub async fn abandon_before(store: &Store, start: Timestamp) -> Result<u64> {
    store.run(&ABANDON_BEFORE, args![start + UNFINISHED]).await
}

/// Removes what is over; the number removed.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<u64> {
    store.run(&SWEEP, args![now]).await
}

struct Stored {
    fingerprint: String,
    answer: Option<(u16, String)>,
}

impl TryFrom<Row> for Stored {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("idempotency", "key");
        let answer = match r.opt_int("status")? {
            None => None,
            Some(status) => {
                let status = u16::try_from(status).map_err(|e| r.error("status", e))?;
                Some((status, r.opt_text("body")?.unwrap_or_default()))
            }
        };
        Ok(Self { fingerprint: r.text("fingerprint")?, answer })
    }
}
