//! Messages that callers left. A fact brings one; what people do with it afterwards is kept here.

use cti_base::{TenantId, Timestamp};
use cti_switch::VoicemailRecord;
use serde::{Deserialize, Serialize};

use crate::contacts::digits_of;
use crate::error::{Change, Error, Result, TEXT_LEN_MAX, check_line, check_text};
use crate::page::{AFTER_NOTHING, Listing, Page};
use crate::projector::Rows;
use crate::row::{Row, word};
use crate::statement::{Arg, args, statements};
use crate::store::Store;

/// A message as everyone sees it. Times are UTC milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ts_rs::TS)]
pub struct Voicemail {
    /// The call's in which it was left.
    pub id: String,
    pub queue: String,
    pub recording_id: String,
    /// The caller's.
    pub number: String,
    pub customer_id: Option<String>,
    #[ts(type = "number")]
    pub received_ms: u64,
    /// Where in the recording it begins, and how long it is.
    #[ts(type = "number")]
    pub from_ms: u64,
    #[ts(type = "number")]
    pub length_ms: u64,
    pub state: VoicemailState,
    /// Who has it, or has dealt with it.
    pub agent: Option<String>,
    /// When the state last changed.
    #[ts(type = "number | null")]
    pub changed_ms: Option<u64>,
    pub note: Option<String>,
    #[ts(type = "number")]
    pub version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum VoicemailState {
    /// For somebody of the queue.
    Waiting,
    /// Somebody deals with it.
    Taken,
    Done,
}

/// What is done with one: `version` must be the current one. Taking and finishing name who does it; giving back names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
pub struct VoicemailPatch {
    #[ts(type = "number")]
    pub version: u64,
    pub state: VoicemailState,
    /// Absent: as it was.
    #[serde(default)]
    #[ts(optional)]
    pub note: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct VoicemailFilter {
    #[serde(default)]
    pub state: Option<VoicemailState>,
    #[serde(default)]
    pub queue: Option<String>,
    #[serde(default)]
    pub agent: Option<String>,
    /// Part of it, in any way of writing it.
    #[serde(default)]
    pub number: Option<String>,
}

macro_rules! columns {
    () => {
        "id, queue, recording_id, number, customer_id, received_ms, from_ms, length_ms, state, agent, changed_ms, note, version"
    };
}

statements! {
    LIST = concat!(
        "SELECT ", columns!(), " FROM voicemails WHERE tenant = $1 AND id < $2 \
         AND (CAST($4 AS TEXT) IS NULL OR state = $4) AND (CAST($5 AS TEXT) IS NULL OR queue = $5) \
         AND (CAST($6 AS TEXT) IS NULL OR agent = $6) AND (CAST($7 AS TEXT) IS NULL OR digits LIKE $7) \
         ORDER BY id DESC LIMIT $3");
    GET = concat!("SELECT ", columns!(), " FROM voicemails WHERE tenant = $1 AND id = $2");
    /// History made anew leaves what people have done with it.
    PUT = "INSERT INTO voicemails (tenant, id, queue, recording_id, number, digits, customer_id, received_ms, from_ms, \
           length_ms, state, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1) \
           ON CONFLICT (tenant, id) DO NOTHING";
    CHANGE = concat!(
        "UPDATE voicemails SET state = $4, agent = $5, changed_ms = $6, note = $7, version = version + 1 \
         WHERE tenant = $1 AND id = $2 AND version = $3 RETURNING ", columns!());
}

/// Newest first.
pub async fn list(
    store: &Store,
    tenant: &TenantId,
    filter: &VoicemailFilter,
    page: &Page,
) -> Result<Listing<Voicemail>> {
    let rows = page.rows()?;
    check_line("number", filter.number.as_deref())?;
    let number = filter.number.as_deref().map(digits_of);
    if number.as_deref() == Some("") && filter.number.as_deref().is_some_and(|n| !n.trim().is_empty()) {
        return Err(Error::Invalid { field: "number", detail: "must have digits".into() });
    }
    let args = args![
        tenant,
        page.after.as_deref().unwrap_or(AFTER_NOTHING),
        rows,
        filter.state.map(|state| word(&state)).transpose()?,
        &filter.queue,
        &filter.agent,
        number.filter(|n| !n.is_empty()).map(|n| format!("%{n}%")),
    ];
    let found = store.all(&LIST, args).await?;
    let all: Vec<Voicemail> = found.into_iter().map(Voicemail::try_from).collect::<Result<_>>()?;
    Ok(Listing::of(all, rows, |voicemail| voicemail.id.clone()))
}

pub async fn get(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Voicemail>> {
    store.one(&GET, args![tenant, id]).await?.map(Voicemail::try_from).transpose()
}

/// Takes it, gives it back, or finishes it, as `actor`.
pub async fn update(
    store: &Store,
    tenant: &TenantId,
    id: &str,
    actor: &str,
    patch: &VoicemailPatch,
    now: Timestamp,
) -> Result<Change<Voicemail>> {
    if let Some(note) = &patch.note {
        check_text("note", note, TEXT_LEN_MAX, true)?;
    }
    let mut tx = store.begin().await?;
    let Some(row) = tx.one(&GET, args![tenant, id]).await? else { return Ok(Change::Missing) };
    let before = Voicemail::try_from(row)?;
    if before.version != patch.version {
        return Ok(Change::Conflict(before));
    }
    let agent = (patch.state != VoicemailState::Waiting).then(|| actor.to_owned());
    let note = patch.note.clone().or(before.note);
    let args = args![tenant, id, patch.version, word(&patch.state)?, agent, now, note];
    let Some(row) = tx.one(&CHANGE, args).await? else {
        drop(tx);
        return Ok(get(store, tenant, id).await?.map_or(Change::Missing, Change::Conflict));
    };
    let after = Voicemail::try_from(row)?;
    tx.commit().await?;
    Ok(Change::Done(after))
}

/// The message as its fact tells it.
pub(crate) fn put(rows: &mut Rows, left: &VoicemailRecord) -> Result<()> {
    let number = left.number.expose();
    let mut args: Vec<Arg> = args![&left.tenant, &left.call, &left.queue, &left.recording, number, digits_of(number)];
    args.extend(args![&left.customer_id, left.received_ms, left.from_ms, left.length_ms]);
    args.extend(args![word(&VoicemailState::Waiting)?]);
    rows.run(&PUT, args);
    Ok(())
}

impl TryFrom<Row> for Voicemail {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("voicemails", "id");
        Ok(Self {
            id: r.text("id")?,
            queue: r.text("queue")?,
            recording_id: r.text("recording_id")?,
            number: r.text("number")?,
            customer_id: r.opt_text("customer_id")?,
            received_ms: r.int("received_ms")?,
            from_ms: r.int("from_ms")?,
            length_ms: r.int("length_ms")?,
            state: r.word("state")?,
            agent: r.opt_text("agent")?,
            changed_ms: r.opt_int("changed_ms")?,
            note: r.opt_text("note")?,
            version: r.int("version")?,
        })
    }
}
