//! What was recorded, and where its file is.

use cti_base::{CallId, TenantId};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::Store;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    Recording,
    Sealed,
    /// It ended before its call did; what it has is sealed.
    Incomplete,
    /// There is no file.
    Failed,
}

/// Silence in which the program was down, in milliseconds since the recording's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct RecordingGap {
    #[ts(type = "number")]
    pub from_ms: u64,
    #[ts(type = "number")]
    pub to_ms: u64,
}

/// A recording with what only the server may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    pub id: String,
    pub call_id: String,
    /// Below the store's root, once sealed.
    pub path: Option<String>,
    pub duration_ms: Option<u64>,
    pub channels: Option<u64>,
    pub sha256: Option<String>,
    pub bytes: Option<u64>,
    pub state: RecordingState,
    /// Why it failed, or is incomplete.
    pub reason: Option<String>,
    /// Oldest first.
    pub gaps: Vec<RecordingGap>,
    pub started_ms: u64,
}

macro_rules! columns {
    () => {
        "id, call_id, path, duration_ms, channels, sha256, bytes, state, reason, gaps, started_ms"
    };
}

statements! {
    GET = concat!("SELECT ", columns!(), " FROM recordings WHERE tenant = $1 AND id = $2");
    OF_CALL = concat!(
        "SELECT ", columns!(), " FROM recordings WHERE tenant = $1 AND call_id = $2 ORDER BY id LIMIT 100");
}

pub async fn get(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Recording>> {
    store.one(&GET, args![tenant, id]).await?.map(Recording::try_from).transpose()
}

/// All of a call, oldest first.
pub async fn of_call(store: &Store, tenant: &TenantId, call: &CallId) -> Result<Vec<Recording>> {
    store.all(&OF_CALL, args![tenant, call]).await?.into_iter().map(Recording::try_from).collect()
}

impl TryFrom<Row> for Recording {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("recordings", "id");
        Ok(Self {
            id: r.text("id")?,
            call_id: r.text("call_id")?,
            path: r.opt_text("path")?,
            duration_ms: r.opt_int("duration_ms")?,
            channels: r.opt_int("channels")?,
            sha256: r.opt_text("sha256")?,
            bytes: r.opt_int("bytes")?,
            state: r.word("state")?,
            reason: r.opt_text("reason")?,
            gaps: r.opt_json("gaps")?.unwrap_or_default(),
            started_ms: r.int("started_ms")?,
        })
    }
}
