//! Tokens of programs (`zongji user token`), hashed at rest.

use cti_base::{TenantId, Timestamp};
use serde::Serialize;

use crate::LINE_LEN_MAX;
use crate::error::{Result, check_text};
use crate::row::Row;
use crate::sessions::TokenHash;
use crate::statement::{args, statements};
use crate::store::Store;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    pub tenant: TenantId,
    pub user: String,
    pub name: String,
    pub created_ms: u64,
}

statements! {
    ADD = "INSERT INTO tokens (token_hash, tenant, user_name, name, created_ms) VALUES ($1, $2, $3, $4, $5) \
           ON CONFLICT (tenant, user_name, name) DO UPDATE SET token_hash = excluded.token_hash, \
           created_ms = excluded.created_ms";
    /// The token is what tells the tenant.
    GET = "SELECT tenant, user_name, name, created_ms FROM tokens WHERE token_hash = $1";
    LIST = "SELECT tenant, user_name, name, created_ms FROM tokens WHERE tenant = $1 AND user_name = $2 ORDER BY name";
    REMOVE = "DELETE FROM tokens WHERE tenant = $1 AND user_name = $2 AND name = $3";
}

/// A token under a name; an earlier one of that name stops working.
pub async fn put(
    store: &Store,
    tenant: &TenantId,
    user: &str,
    name: &str,
    token: &TokenHash,
    now: Timestamp,
) -> Result<()> {
    check_text("name", name, LINE_LEN_MAX, false)?;
    store.run(&ADD, args![token.as_str(), tenant, user, name, now]).await.map(|_| ())
}

pub async fn get(store: &Store, token: &TokenHash) -> Result<Option<Token>> {
    store.one(&GET, args![token.as_str()]).await?.map(Token::try_from).transpose()
}

pub async fn list(store: &Store, tenant: &TenantId, user: &str) -> Result<Vec<Token>> {
    store.all(&LIST, args![tenant, user]).await?.into_iter().map(Token::try_from).collect()
}

/// True if there was such a token.
pub async fn remove(store: &Store, tenant: &TenantId, user: &str, name: &str) -> Result<bool> {
    store.run(&REMOVE, args![tenant, user, name]).await.map(|rows| rows > 0)
}

impl TryFrom<Row> for Token {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("tokens", "name");
        Ok(Self {
            tenant: r.text("tenant")?.into(),
            user: r.text("user_name")?,
            name: r.text("name")?,
            created_ms: r.int("created_ms")?,
        })
    }
}
