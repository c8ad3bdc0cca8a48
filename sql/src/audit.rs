//! Who did what: appended, never changed.

use cti_base::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::new_id;
use crate::error::Result;
use crate::page::{AFTER_NOTHING, Listing, Page};
use crate::projector::Rows;
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::Store;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct AuditEntry {
    pub id: String,
    /// The user, or the program's part that acted.
    pub actor: String,
    /// A word such as `session.create`, `customer.update`, `recording.play`.
    pub action: String,
    /// What it was done to, `customer/ID`.
    pub object: String,
    #[ts(type = "unknown")]
    pub detail: serde_json::Value,
    #[ts(type = "number")]
    pub at_ms: u64,
}

statements! {
    ADD = "INSERT INTO audit (tenant, id, actor, action, object, detail, at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    ADD_ONCE = "INSERT INTO audit (tenant, id, actor, action, object, detail, at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                ON CONFLICT DO NOTHING";
    LIST = "SELECT id, actor, action, object, detail, at_ms FROM audit WHERE tenant = $1 AND id < $2 \
            ORDER BY id DESC LIMIT $3";
}

pub async fn add(
    store: &Store,
    tenant: &TenantId,
    actor: &str,
    action: &str,
    object: &str,
    detail: &serde_json::Value,
    now: Timestamp,
) -> Result<()> {
    store.run(&ADD, args![tenant, new_id(now)?, actor, action, object, detail.to_string(), now]).await.map(|_| ())
}

/// Of a journal's fact: told again, as when history is made anew, it is the same entry.
#[expect(clippy::too_many_arguments, reason = "an entry's parts, and the fact's number")]
pub(crate) fn add_fact(
    rows: &mut Rows,
    tenant: &TenantId,
    seq: u64,
    actor: &str,
    action: &str,
    object: &str,
    detail: &serde_json::Value,
    at: Timestamp,
) {
    let id = cti_base::CallId::new(at, &mut cti_base::Rng::from_number(seq)).to_string();
    rows.run(&ADD_ONCE, args![tenant, id, actor, action, object, detail.to_string(), at]);
}

/// Newest first.
pub async fn list(store: &Store, tenant: &TenantId, page: &Page) -> Result<Listing<AuditEntry>> {
    let rows = page.rows()?;
    let found = store.all(&LIST, args![tenant, page.after.as_deref().unwrap_or(AFTER_NOTHING), rows]).await?;
    let entries: Vec<AuditEntry> = found.into_iter().map(AuditEntry::try_from).collect::<Result<_>>()?;
    Ok(Listing::of(entries, rows, |e| e.id.clone()))
}

impl TryFrom<Row> for AuditEntry {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("audit", "id");
        Ok(Self {
            id: r.text("id")?,
            actor: r.text("actor")?,
            action: r.text("action")?,
            object: r.text("object")?,
            detail: r.json("detail")?,
            at_ms: r.int("at_ms")?,
        })
    }
}
