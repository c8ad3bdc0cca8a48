//! The trace of a call: why it went where it went.

use cti_base::{CallId, TenantId};
use cti_switch::trace::TraceEntry;

use crate::error::Result;
use crate::projector::Rows;
use crate::statement::{args, statements};
use crate::store::{Store, Tx};

statements! {
    OF_CALL = "SELECT call_id, at_ms, entry FROM call_trace WHERE tenant = $1 AND call_id = $2 ORDER BY place";
    ADD = "INSERT INTO call_trace (tenant, call_id, place, at_ms, entry) VALUES ($1, $2, $3, $4, $5) \
           ON CONFLICT (tenant, call_id, place) DO NOTHING";
    FORGET = "DELETE FROM call_trace";
}

/// One decision, and when it was made, UTC milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    pub at_ms: u64,
    pub entry: TraceEntry,
}

/// In their order; empty where nothing is known of the call. At most `cti_switch::limits::TRACE_MAX`.
pub async fn of_call(store: &Store, tenant: &TenantId, call: &CallId) -> Result<Vec<Traced>> {
    let rows = store.all(&OF_CALL, args![tenant, call]).await?;
    let read = |row: crate::row::Row| {
        let r = row.of("call_trace", "call_id");
        Ok(Traced { at_ms: r.int("at_ms")?, entry: r.json("entry")? })
    };
    rows.into_iter().map(read).collect()
}

pub(crate) fn add(
    rows: &mut Rows,
    tenant: &TenantId,
    call: &CallId,
    place: u32,
    at_ms: u64,
    entry: &TraceEntry,
) -> Result<()> {
    let entry = serde_json::to_string(entry)?;
    rows.run(&ADD, args![tenant, call, u64::from(place), at_ms, entry]);
    Ok(())
}

pub(crate) async fn forget(tx: &mut Tx) -> Result<()> {
    tx.run(&FORGET, vec![]).await.map(|_| ())
}
