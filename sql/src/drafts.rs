//! What an agent has typed and not yet sent, by call and kind.

use cti_base::{CallId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::LINE_LEN_MAX;
use crate::error::{Change, Result, check_json, check_text, vanished};
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::Store;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Draft {
    pub call_id: String,
    /// A kind of case, or what else the desk lets people fill.
    pub kind: String,
    #[ts(type = "Record<string, unknown>")]
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// +1 with each save.
    #[ts(type = "number")]
    pub rev: u64,
    #[ts(type = "number")]
    pub updated_ms: u64,
}

/// Drafts of one agent that are given back at once.
pub const DRAFTS_MAX: i64 = 100;

statements! {
    OF_USER = "SELECT call_id, kind, fields, rev, updated_ms FROM drafts WHERE tenant = $1 AND user_name = $2 \
               ORDER BY updated_ms DESC LIMIT $3";
    GET = "SELECT call_id, kind, fields, rev, updated_ms FROM drafts \
           WHERE tenant = $1 AND user_name = $2 AND call_id = $3 AND kind = $4";
    PUT = "INSERT INTO drafts (tenant, user_name, call_id, kind, fields, rev, updated_ms) \
           VALUES ($1, $2, $3, $4, $5, 1, $6) ON CONFLICT (tenant, user_name, call_id, kind) DO UPDATE SET \
           fields = excluded.fields, rev = drafts.rev + 1, updated_ms = excluded.updated_ms \
           WHERE CAST($7 AS BIGINT) IS NULL OR drafts.rev = $7 \
           RETURNING call_id, kind, fields, rev, updated_ms";
    REMOVE = "DELETE FROM drafts WHERE tenant = $1 AND user_name = $2 AND call_id = $3 AND kind = $4";
    REMOVE_CALL = "DELETE FROM drafts WHERE tenant = $1 AND user_name = $2 AND call_id = $3";
}

/// The newest `DRAFTS_MAX` of an agent.
pub async fn of_user(store: &Store, tenant: &TenantId, user: &str) -> Result<Vec<Draft>> {
    store.all(&OF_USER, args![tenant, user, DRAFTS_MAX]).await?.into_iter().map(Draft::try_from).collect()
}

pub async fn get(store: &Store, tenant: &TenantId, user: &str, call: &CallId, kind: &str) -> Result<Option<Draft>> {
    store.one(&GET, args![tenant, user, call, kind]).await?.map(Draft::try_from).transpose()
}

/// Which draft of a tenant: drafts are kept by agent, call and kind.
#[derive(Clone, Copy, Debug)]
pub struct DraftKey<'a> {
    pub user: &'a str,
    pub call: &'a CallId,
    pub kind: &'a str,
}

/// Saves over revision `rev` (0 where the writer knows of none). Another tab was faster: `Conflict` with what it saved, so
/// that the desk can show both. `rev: None` overwrites whatever there is.
pub async fn save(
    store: &Store,
    tenant: &TenantId,
    key: DraftKey<'_>,
    fields: &serde_json::Map<String, serde_json::Value>,
    rev: Option<u64>,
    now: Timestamp,
) -> Result<Change<Draft>> {
    check_text("kind", key.kind, LINE_LEN_MAX, false)?;
    let json = serde_json::to_string(fields)?;
    check_json("fields", &json)?;
    let mut tx = store.begin().await?;
    if let Some(row) = tx.one(&PUT, args![tenant, key.user, key.call, key.kind, json, now, rev]).await? {
        let draft = Draft::try_from(row)?;
        tx.commit().await?;
        return Ok(Change::Done(draft));
    }
    let row = tx.one(&GET, args![tenant, key.user, key.call, key.kind]).await?;
    row.map(Draft::try_from).transpose()?.map(Change::Conflict).ok_or_else(|| vanished("drafts", key.call))
}

/// Of one kind, or all of the call where `kind` is `None`; true if there was one.
pub async fn remove(store: &Store, tenant: &TenantId, user: &str, call: &CallId, kind: Option<&str>) -> Result<bool> {
    let rows = match kind {
        Some(kind) => store.run(&REMOVE, args![tenant, user, call, kind]).await?,
        None => store.run(&REMOVE_CALL, args![tenant, user, call]).await?,
    };
    Ok(rows > 0)
}

impl TryFrom<Row> for Draft {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("drafts", "call_id");
        Ok(Self {
            call_id: r.text("call_id")?,
            kind: r.text("kind")?,
            fields: r.json("fields")?,
            rev: r.int("rev")?,
            updated_ms: r.int("updated_ms")?,
        })
    }
}
