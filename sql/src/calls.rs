//! Call history: contract.md's "A call", folded from facts by the projector.

use std::collections::BTreeMap;

use cti_base::{CallId, TenantId};
use cti_switch::desk::Direction;
use cti_switch::{LegRole, Outcome, SegmentKind};
use serde::{Deserialize, Serialize};

use crate::contacts::digits_of;
use crate::error::{Error, Result, check_line};
use crate::page::{Listing, Page};
use crate::recordings::{RecordingGap, RecordingState};
use crate::row::{Row, word};
use crate::statement::{args, statements};
use crate::store::Store;

/// Times are UTC milliseconds, lengths milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Call {
    pub id: String,
    pub tenant: TenantId,
    pub direction: Direction,
    pub outcome: Outcome,
    pub cause: String,
    /// E.164 where it is a telephone number, else as it came.
    pub from: String,
    pub to: String,
    pub trunk: Option<String>,
    pub ivr_path: Vec<String>,
    pub queue: Option<String>,
    pub agent: Option<String>,
    pub customer_id: Option<String>,
    pub case_ids: Vec<String>,
    #[ts(type = "number")]
    pub started_ms: u64,
    #[ts(type = "number | null")]
    pub queued_ms: Option<u64>,
    /// The first offer.
    #[ts(type = "number | null")]
    pub offered_ms: Option<u64>,
    #[ts(type = "number | null")]
    pub answered_ms: Option<u64>,
    #[ts(type = "number")]
    pub ended_ms: u64,
    /// Queued to answered, or to the end.
    #[ts(type = "number")]
    pub wait_ms: u64,
    #[ts(type = "number")]
    pub ring_ms: u64,
    /// Without hold.
    #[ts(type = "number")]
    pub talk_ms: u64,
    #[ts(type = "number")]
    pub hold_ms: u64,
    /// Null until wrap-up is done.
    #[ts(type = "number | null")]
    pub wrapup_ms: Option<u64>,
    pub legs: Vec<CallLeg>,
    pub segments: Vec<CallSegment>,
    pub recording: Option<CallRecording>,
    pub disposition: Option<String>,
    /// By `customer`, `agent`, `outside` and `supervisor`: what came over the leg that was last there.
    pub quality: BTreeMap<String, LegQuality>,
    /// What the menu collected.
    pub vars: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct CallLeg {
    pub id: String,
    pub role: LegRole,
    pub agent: Option<String>,
    #[ts(type = "number")]
    pub started_ms: u64,
    #[ts(type = "number | null")]
    pub answered_ms: Option<u64>,
    #[ts(type = "number")]
    pub ended_ms: u64,
    pub cause: String,
    /// `pcmu` or `pcma`.
    pub codec: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct CallSegment {
    pub kind: SegmentKind,
    pub queue: Option<String>,
    pub agent: Option<String>,
    #[ts(type = "number")]
    pub started_ms: u64,
    #[ts(type = "number")]
    pub ended_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct CallRecording {
    pub id: String,
    #[ts(type = "number | null")]
    pub duration_ms: Option<u64>,
    #[ts(type = "number | null")]
    pub channels: Option<u64>,
    pub sha256: Option<String>,
    pub state: RecordingState,
    /// Why it failed, or is incomplete.
    pub reason: Option<String>,
    /// Oldest first; mostly none.
    pub gaps: Vec<RecordingGap>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct LegQuality {
    #[ts(type = "number")]
    pub packets_in: u64,
    #[ts(type = "number")]
    pub packets_out: u64,
    #[ts(type = "number")]
    pub lost_in: u64,
    /// Interarrival jitter (RFC 3550 6.4.1) in milliseconds.
    pub jitter_ms: f64,
    /// As we hear the peer: the mean opinion score by the E-model (ITU-T G.107), 1 to 4.5.
    #[serde(default)]
    pub mos_in: Option<f64>,
    /// What the peer's RTCP reports say of our stream; none where it sends no reports.
    #[serde(default)]
    #[ts(type = "number | null")]
    pub lost_out: Option<u64>,
    #[serde(default)]
    pub jitter_out_ms: Option<f64>,
    #[serde(default)]
    pub round_trip_ms: Option<f64>,
    /// As the peer hears us.
    #[serde(default)]
    pub mos_out: Option<f64>,
}

/// Which calls. Times are UTC milliseconds of the start: `from_ms` inclusive, `to_ms` exclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CallFilter {
    #[serde(default)]
    pub from_ms: Option<u64>,
    #[serde(default)]
    pub to_ms: Option<u64>,
    #[serde(default)]
    pub outcome: Option<Outcome>,
    #[serde(default)]
    pub queue: Option<String>,
    #[serde(default)]
    pub agent: Option<String>,
    /// Part of either number, in any way of writing it.
    #[serde(default)]
    pub number: Option<String>,
    #[serde(default)]
    pub customer_id: Option<String>,
}

macro_rules! select {
    () => {
        "SELECT c.id, c.tenant, c.direction, c.outcome, c.cause, c.from_number, c.to_number, c.trunk, c.ivr_path, c.queue, \
         c.agent, c.customer_id, c.started_ms, c.queued_ms, c.offered_ms, c.answered_ms, c.ended_ms, c.wait_ms, c.ring_ms, \
         c.talk_ms, c.hold_ms, c.legs, c.segments, c.quality, c.vars, c.recording_id, \
         COALESCE(w.disposition, c.disposition) AS disposition, w.wrapup_ms, \
         r.duration_ms, r.channels, r.sha256, r.state AS recording_state, \
         r.reason AS recording_reason, r.gaps AS recording_gaps, \
         (SELECT string_agg(k.id, ',') FROM cases k WHERE k.tenant = c.tenant AND k.call_id = c.id) AS case_ids \
         FROM calls c \
         LEFT JOIN call_wrapups w ON w.tenant = c.tenant AND w.call_id = c.id \
         LEFT JOIN recordings r ON r.tenant = c.tenant AND r.id = c.recording_id "
    };
}

macro_rules! list {
    ($start:literal, $by:literal) => {
        concat!(
            select!(),
            "WHERE c.tenant = $1 AND ",
            $start,
            " >= $2 AND ",
            $start,
            " < $3 AND (",
            $start,
            ", c.id) < ($4, $5) ",
            $by,
            " AND (CAST($7 AS TEXT) IS NULL OR c.outcome = $7) AND (CAST($8 AS TEXT) IS NULL OR c.queue = $8) \
             AND (CAST($9 AS TEXT) IS NULL OR c.agent = $9) \
             AND (CAST($10 AS TEXT) IS NULL OR c.from_digits LIKE $10 OR c.to_digits LIKE $10) \
             ORDER BY c.started_ms DESC, c.id DESC LIMIT $6"
        )
    };
}

statements! {
    LIST = list!("c.started_ms", "");
    /// The plus keeps SQLite from the index by start: one customer has few calls, a span of time has many.
    LIST_CUSTOMER = list!("+c.started_ms", "AND c.customer_id = $11");
    GET = concat!(select!(), "WHERE c.tenant = $1 AND c.id = $2");
}

/// Newest first.
pub async fn list(store: &Store, tenant: &TenantId, filter: &CallFilter, page: &Page) -> Result<Listing<Call>> {
    let rows = page.rows()?;
    let (after_ms, after_id) = match &page.after {
        None => (i64::MAX.unsigned_abs(), String::new()),
        Some(after) => cursor(after)?,
    };
    check_line("number", filter.number.as_deref())?;
    let number = filter.number.as_deref().map(digits_of);
    if number.as_deref() == Some("") && filter.number.as_deref().is_some_and(|n| !n.trim().is_empty()) {
        return Err(Error::Invalid { field: "number", detail: "must have digits".into() });
    }
    let mut args = args![
        tenant,
        filter.from_ms.unwrap_or(0),
        filter.to_ms.unwrap_or(i64::MAX.unsigned_abs()),
        after_ms,
        after_id,
        rows,
        filter.outcome.map(|o| word(&o)).transpose()?,
        &filter.queue,
        &filter.agent,
        number.filter(|n| !n.is_empty()).map(|n| format!("%{n}%")),
    ];
    let statement = match &filter.customer_id {
        None => &LIST,
        Some(customer) => {
            args.push(customer.into());
            &LIST_CUSTOMER
        }
    };
    let found = store.all(statement, args).await?;
    let calls: Vec<Call> = found.into_iter().map(Call::try_from).collect::<Result<_>>()?;
    Ok(Listing::of(calls, rows, |c| format!("{}.{}", c.started_ms, c.id)))
}

pub async fn get(store: &Store, tenant: &TenantId, id: &CallId) -> Result<Option<Call>> {
    store.one(&GET, args![tenant, id]).await?.map(Call::try_from).transpose()
}

fn cursor(after: &str) -> Result<(u64, String)> {
    after
        .split_once('.')
        .and_then(|(at_ms, id)| Some((at_ms.parse().ok()?, CallId::parse(id)?.to_string())))
        .ok_or_else(|| Error::Invalid { field: "after", detail: "must be the `next` of the answer before".into() })
}

impl TryFrom<Row> for Call {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("calls", "id");
        let mut case_ids: Vec<String> =
            r.opt_text("case_ids")?.map(|ids| ids.split(',').map(str::to_owned).collect()).unwrap_or_default();
        case_ids.sort_unstable();
        let recording = match r.opt_text("recording_id")? {
            None => None,
            Some(id) => Some(CallRecording {
                id,
                duration_ms: r.opt_int("duration_ms")?,
                channels: r.opt_int("channels")?,
                sha256: r.opt_text("sha256")?,
                state: match r.opt_text("recording_state")? {
                    None => RecordingState::Recording,
                    Some(_) => r.word("recording_state")?,
                },
                reason: r.opt_text("recording_reason")?,
                gaps: r.opt_json("recording_gaps")?.unwrap_or_default(),
            }),
        };
        Ok(Self {
            id: r.text("id")?,
            tenant: r.text("tenant")?.into(),
            direction: r.word("direction")?,
            outcome: r.word("outcome")?,
            cause: r.text("cause")?,
            from: r.text("from_number")?,
            to: r.text("to_number")?,
            trunk: r.opt_text("trunk")?,
            ivr_path: r.json("ivr_path")?,
            queue: r.opt_text("queue")?,
            agent: r.opt_text("agent")?,
            customer_id: r.opt_text("customer_id")?,
            case_ids,
            started_ms: r.int("started_ms")?,
            queued_ms: r.opt_int("queued_ms")?,
            offered_ms: r.opt_int("offered_ms")?,
            answered_ms: r.opt_int("answered_ms")?,
            ended_ms: r.int("ended_ms")?,
            wait_ms: r.int("wait_ms")?,
            ring_ms: r.int("ring_ms")?,
            talk_ms: r.int("talk_ms")?,
            hold_ms: r.int("hold_ms")?,
            wrapup_ms: r.opt_int("wrapup_ms")?,
            legs: r.json("legs")?,
            segments: r.json("segments")?,
            recording,
            disposition: r.opt_text("disposition")?,
            quality: r.json("quality")?,
            vars: r.json("vars")?,
        })
    }
}
