//! Signed-in browsers. The cookie's token is known only as its hash.

use std::time::Duration;

use cti_base::{TenantId, Timestamp};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::Store;

/// SHA-256 of a token in lower-case hex. Tokens are random, so a fast hash without salt is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(String);

impl TokenHash {
    pub fn of(token: &str) -> Self {
        Self(hex::encode(Sha256::digest(token.as_bytes())))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub tenant: TenantId,
    pub user: String,
    pub created_ms: u64,
    pub expires_ms: u64,
    pub seen_ms: u64,
}

macro_rules! columns {
    () => {
        "token_hash, tenant, user_name, created_ms, expires_ms, seen_ms"
    };
}

statements! {
    ADD = concat!("INSERT INTO sessions (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $4)");
    /// The token is what tells the tenant.
    GET = concat!("SELECT ", columns!(), " FROM sessions WHERE token_hash = $1 AND expires_ms > $2");
    TOUCH = "UPDATE sessions SET seen_ms = $3, expires_ms = $4 WHERE tenant = $1 AND token_hash = $2";
    END = "DELETE FROM sessions WHERE token_hash = $1";
    END_USER = "DELETE FROM sessions WHERE tenant = $1 AND user_name = $2";
    SWEEP = "DELETE FROM sessions WHERE expires_ms <= $1";
}

pub async fn create(
    store: &Store,
    tenant: &TenantId,
    user: &str,
    token: &TokenHash,
    life: Duration,
    now: Timestamp,
) -> Result<()> {
    store.run(&ADD, args![token.as_str(), tenant, user, now, now + life]).await.map(|_| ())
}

/// The session of a token, unless it is over.
pub async fn get(store: &Store, token: &TokenHash, now: Timestamp) -> Result<Option<Session>> {
    store.one(&GET, args![token.as_str(), now]).await?.map(Session::try_from).transpose()
}

/// Seen again: lives `life` longer from now.
pub async fn touch(store: &Store, tenant: &TenantId, token: &TokenHash, life: Duration, now: Timestamp) -> Result<()> {
    store.run(&TOUCH, args![tenant, token.as_str(), now, now + life]).await.map(|_| ())
}

/// Signs out; true if there was such a session.
pub async fn end(store: &Store, token: &TokenHash) -> Result<bool> {
    store.run(&END, args![token.as_str()]).await.map(|rows| rows > 0)
}

/// Signs a user out everywhere (a new password, a disabled account).
pub async fn end_all_of(store: &Store, tenant: &TenantId, user: &str) -> Result<u64> {
    store.run(&END_USER, args![tenant, user]).await
}

/// Removes what is over; the number removed.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<u64> {
    store.run(&SWEEP, args![now]).await
}

impl TryFrom<Row> for Session {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("sessions", "user_name");
        Ok(Self {
            tenant: r.text("tenant")?.into(),
            user: r.text("user_name")?,
            created_ms: r.int("created_ms")?,
            expires_ms: r.int("expires_ms")?,
            seen_ms: r.int("seen_ms")?,
        })
    }
}
