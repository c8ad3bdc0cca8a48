//! Call history and figures folded from the journal's facts. Facts of one call may come in any order. A row of history is the
//! same however often its facts are applied; figures add up, and it is the journal's position that keeps a fact from counting
//! twice.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use cti_base::TenantId;
use cti_media::{Gap, LegStats, quality};
use cti_switch::figures::counts;
use cti_switch::{CallRecord, Fact, FactRecord, LegRole, SegmentKind};

use crate::callbacks;
use crate::calls::{CallLeg, CallSegment, LegQuality};
use crate::contacts::digits_of;
use crate::error::{Result, check_text};
use crate::figures;
use crate::recordings::{RecordingGap, RecordingState};
use crate::row::word;
use crate::statement::{Arg, Statement, args, statements};
use crate::store::{Batch, Store, Written};
use crate::{trace, voicemails};

/// Facts that one call of `apply` should be given at most: one transaction.
pub const BATCH_MAX: usize = 500;
/// Characters in a journal's name.
const JOURNAL_LEN_MAX: usize = 100;
/// The place of a call's wrap-up among its segments: after all that came before the end.
const WRAPUP_PLACE: u64 = 1_000_000;

statements! {
    POSITION = "SELECT name, seq FROM projections WHERE name = $1";
    /// The position never goes back, so that two projectors can not undo each other.
    ADVANCE = "INSERT INTO projections (name, seq) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq \
               WHERE projections.seq < excluded.seq";
    CALL = "INSERT INTO calls (tenant, id, direction, outcome, cause, from_number, from_digits, to_number, to_digits, trunk, \
            ivr_path, queue, agent, customer_id, started_ms, queued_ms, offered_ms, answered_ms, ended_ms, wait_ms, ring_ms, \
            talk_ms, hold_ms, legs, segments, quality, vars, recording_id, disposition) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
            $23, $24, $25, $26, $27, $28, $29) ON CONFLICT (tenant, id) DO NOTHING";
    SEGMENT = "INSERT INTO call_segments (tenant, call_id, place, kind, queue, agent, started_ms, ended_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, call_id, place) DO NOTHING";
    WRAPUP = "INSERT INTO call_wrapups (tenant, call_id, agent, wrapup_ms, disposition, at_ms) \
              VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, call_id) DO UPDATE SET agent = excluded.agent, \
              wrapup_ms = excluded.wrapup_ms, disposition = excluded.disposition, at_ms = excluded.at_ms";
    RECORDING_STARTED = "INSERT INTO recordings (tenant, id, call_id, state, started_ms) VALUES ($1, $2, $3, $4, $5) \
                         ON CONFLICT (tenant, id) DO NOTHING";
    RECORDING_ENDED = "INSERT INTO recordings (tenant, id, call_id, path, duration_ms, channels, sha256, bytes, state, reason, \
                       gaps, started_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                       ON CONFLICT (tenant, id) DO UPDATE SET path = excluded.path, duration_ms = excluded.duration_ms, \
                       channels = excluded.channels, sha256 = excluded.sha256, bytes = excluded.bytes, \
                       state = excluded.state, reason = excluded.reason, gaps = excluded.gaps";
    /// Every projected row of every tenant: history is made anew from the journal.
    FORGET_CALLS = "DELETE FROM calls";
    FORGET_SEGMENTS = "DELETE FROM call_segments";
    FORGET_WRAPUPS = "DELETE FROM call_wrapups";
    FORGET_RECORDINGS = "DELETE FROM recordings";
    FORGET_POSITIONS = "DELETE FROM projections";
}

/// The last seq of this journal that is in the history; `None` before the first. A journal is known by its own name, so that
/// one that begins anew (or another node's) is not taken for the one before.
pub async fn position(store: &Store, journal: &str) -> Result<Option<u64>> {
    store.one(&POSITION, args![journal]).await?.map(|row| row.of("projections", "name").int("seq")).transpose()
}

/// Whether history shows something of this fact by itself; of the others it shows what the call's own record carries.
pub const fn is_shown(fact: &Fact) -> bool {
    counts(fact) || is_kept(fact)
}

const fn is_kept(fact: &Fact) -> bool {
    match fact {
        Fact::CallEnded { .. }
        | Fact::WrapupEnded { .. }
        | Fact::Traced { .. }
        | Fact::RecordingStarted { .. }
        | Fact::RecordingEnded { .. }
        | Fact::Supervised { .. }
        | Fact::VoicemailLeft { .. }
        | Fact::CallbackRequested { .. }
        | Fact::CallbackAttempt { .. }
        | Fact::CallbackEnded { .. } => true,
        Fact::CallStarted { .. }
        | Fact::NodeEntered { .. }
        | Fact::Queued { .. }
        | Fact::QueueLeft { .. }
        | Fact::Offered { .. }
        | Fact::OfferEnded { .. }
        | Fact::Answered { .. }
        | Fact::Held { .. }
        | Fact::TalkEnded { .. }
        | Fact::Transferred { .. }
        | Fact::AgentState { .. } => false,
    }
}

/// Applies a journal's facts (in order of seq, at most `BATCH_MAX`) and the position in one transaction. Facts up to the stored
/// position are skipped. Gives the number applied.
pub async fn apply<F: Borrow<FactRecord> + Sync>(store: &Store, journal: &str, facts: &[F]) -> Result<usize> {
    check_text("journal", journal, JOURNAL_LEN_MAX, false)?;
    // What is applied already is found out in the transaction, and then left out.
    let mut done = None;
    loop {
        let left = || facts.iter().map(Borrow::borrow).filter(|f: &&FactRecord| done.is_none_or(|done| f.seq > done));
        let seqs = || left().map(|fact| fact.seq);
        let (Some(first), Some(last)) = (seqs().min(), seqs().max()) else { return Ok(0) };
        let (mut rows, mut figures) = (Rows::default(), figures::Batch::default());
        for record in left() {
            apply_one(&mut rows, record)?;
            figures.add(record.at, &record.fact);
        }
        figures.write(&mut rows)?;
        rows.run(&ADVANCE, args![journal, last]);
        let guard = (&POSITION, args![journal], first);
        match store.write(Batch { guard, statements: rows.0 }).await? {
            Written::All => return Ok(left().count()),
            Written::Not { found } => done = Some(found),
        }
    }
}

/// What a batch of facts writes, in order.
#[derive(Default)]
pub(crate) struct Rows(Vec<(&'static Statement, Vec<Arg>)>);

impl Rows {
    pub(crate) fn run(&mut self, statement: &'static Statement, args: Vec<Arg>) {
        self.0.push((statement, args));
    }
}

/// Goes past a fact that can not be applied, so that those after it can.
pub async fn skip(store: &Store, journal: &str, seq: u64) -> Result<()> {
    store.run(&ADVANCE, args![journal, seq]).await.map(|_| ())
}

/// Forgets all projected history, so that the journal's facts can be applied from the first. Facts that the journal no longer
/// holds are lost by this: keep a backup.
pub async fn reset(store: &Store) -> Result<()> {
    let mut tx = store.begin().await?;
    for statement in [&FORGET_CALLS, &FORGET_SEGMENTS, &FORGET_WRAPUPS, &FORGET_RECORDINGS, &FORGET_POSITIONS] {
        tx.run(statement, vec![]).await?;
    }
    figures::forget(&mut tx).await?;
    trace::forget(&mut tx).await?;
    callbacks::forget(&mut tx).await?;
    tx.commit().await
}

fn apply_one(rows: &mut Rows, record: &FactRecord) -> Result<()> {
    match &record.fact {
        Fact::CallEnded { record: call } => insert_call(rows, call),
        Fact::WrapupEnded { tenant, call, agent, wrapup_ms, disposition, .. } => {
            let ended_ms = record.at.as_millis();
            rows.run(&WRAPUP, args![tenant, call, agent, *wrapup_ms, disposition, ended_ms]);
            let segment = CallSegment {
                kind: SegmentKind::Wrapup,
                queue: None,
                agent: Some(agent.to_string()),
                started_ms: ended_ms.saturating_sub(*wrapup_ms),
                ended_ms,
            };
            insert_segment(rows, tenant, &call.to_string(), WRAPUP_PLACE, &segment)
        }
        Fact::Traced { tenant, call, place, entry } => {
            trace::add(rows, tenant, call, *place, record.at.as_millis(), entry)
        }
        Fact::RecordingStarted { tenant, call, recording } => {
            let state = word(&RecordingState::Recording)?;
            rows.run(&RECORDING_STARTED, args![tenant, recording, call, state, record.at]);
            Ok(())
        }
        Fact::RecordingEnded { tenant, call, recording, result, gaps } => {
            let (file, state, reason) = match result {
                Ok(file) if file.incomplete.is_some() => {
                    (Some(file), RecordingState::Incomplete, file.incomplete.clone())
                }
                Ok(file) => (Some(file), RecordingState::Sealed, None),
                Err(reason) => (None, RecordingState::Failed, Some(reason.clone())),
            };
            let args = args![
                tenant,
                recording,
                call,
                file.map(|f| f.path.clone()),
                file.map(|f| f.duration_ms),
                file.map(|f| u64::from(f.channels)),
                file.map(|f| f.sha256.clone()),
                file.map(|f| f.bytes),
                word(&state)?,
                reason,
                gaps_json(gaps)?,
                record.at
            ];
            rows.run(&RECORDING_ENDED, args);
            Ok(())
        }
        Fact::Supervised { tenant, call, supervisor, agent, listen } => {
            let mode = listen.as_ref().map(word).transpose()?;
            let detail = serde_json::json!({ "agent": agent, "mode": mode });
            let action = if listen.is_some() { "call.supervise" } else { "call.supervise_end" };
            let (at, object) = (record.at, format!("call/{call}"));
            crate::audit::add_fact(rows, tenant, record.seq, supervisor.as_str(), action, &object, &detail, at);
            Ok(())
        }
        Fact::CallbackRequested { callback }
        | Fact::CallbackAttempt { callback }
        | Fact::CallbackEnded { callback } => callbacks::put(rows, callback),
        Fact::VoicemailLeft { voicemail } => voicemails::put(rows, voicemail),
        // The call's own record carries what history shows of these, and the figures count them.
        Fact::CallStarted { .. }
        | Fact::NodeEntered { .. }
        | Fact::Queued { .. }
        | Fact::QueueLeft { .. }
        | Fact::Offered { .. }
        | Fact::OfferEnded { .. }
        | Fact::Answered { .. }
        | Fact::Held { .. }
        | Fact::TalkEnded { .. }
        | Fact::Transferred { .. }
        | Fact::AgentState { .. } => Ok(()),
    }
}

/// Null where there are none.
fn gaps_json(gaps: &[Gap]) -> Result<Option<String>> {
    if gaps.is_empty() {
        return Ok(None);
    }
    let gaps: Vec<RecordingGap> =
        gaps.iter().map(|Gap { from_ms, to_ms }| RecordingGap { from_ms: *from_ms, to_ms: *to_ms }).collect();
    Ok(Some(serde_json::to_string(&gaps)?))
}

fn insert_call(rows: &mut Rows, call: &CallRecord) -> Result<()> {
    let from = call.from.expose();
    let (legs, quality) = legs_of(call)?;
    let segments: Vec<CallSegment> = call
        .segments
        .iter()
        .map(|s| CallSegment {
            kind: s.kind,
            queue: s.queue.as_ref().map(ToString::to_string),
            agent: s.agent.as_ref().map(ToString::to_string),
            started_ms: s.started_ms,
            ended_ms: s.ended_ms,
        })
        .collect();
    let args = args![
        &call.tenant,
        &call.id,
        word(&call.direction)?,
        word(&call.outcome)?,
        storable(&call.cause),
        storable(from),
        digits_of(from),
        storable(&call.to),
        digits_of(&call.to),
        &call.trunk,
        serde_json::to_string(&call.ivr_path)?,
        call.queue.as_ref(),
        call.agent.as_ref(),
        &call.customer_id,
        call.started_ms,
        call.queued_ms,
        call.offered_ms,
        call.answered_ms,
        call.ended_ms,
        call.wait_ms,
        call.ring_ms,
        call.talk_ms,
        call.hold_ms,
        serde_json::to_string(&legs)?,
        serde_json::to_string(&segments)?,
        serde_json::to_string(&quality)?,
        serde_json::to_string(&call.vars)?,
        call.recording.as_ref(),
        call.disposition.as_deref().map(storable)
    ];
    rows.run(&CALL, args);
    let id = call.id.to_string();
    for (place, segment) in (0..).zip(&segments) {
        insert_segment(rows, &call.tenant, &id, place, segment)?;
    }
    Ok(())
}

fn insert_segment(rows: &mut Rows, tenant: &TenantId, call: &str, place: u64, segment: &CallSegment) -> Result<()> {
    let args = args![
        tenant,
        call,
        place,
        word(&segment.kind)?,
        &segment.queue,
        &segment.agent,
        segment.started_ms,
        segment.ended_ms
    ];
    rows.run(&SEGMENT, args);
    Ok(())
}

/// The legs as history shows them, and the quality of the last leg of each role that had audio.
fn legs_of(call: &CallRecord) -> Result<(Vec<CallLeg>, BTreeMap<String, LegQuality>)> {
    let mut legs = Vec::with_capacity(call.legs.len());
    let mut quality = BTreeMap::new();
    for leg in &call.legs {
        legs.push(CallLeg {
            id: leg.id.to_string(),
            role: leg.role,
            agent: leg.agent.as_ref().map(ToString::to_string),
            started_ms: leg.started_ms,
            answered_ms: leg.answered_ms,
            ended_ms: leg.ended_ms,
            cause: leg.cause.clone(),
            codec: leg.codec.map(|c| word(&c)).transpose()?,
        });
        let Some(stats) = leg.stats else { continue };
        let role = match leg.role {
            LegRole::Customer => "customer",
            LegRole::Agent => "agent",
            LegRole::Outside => "outside",
            LegRole::Supervisor => "supervisor",
        };
        quality.insert(role.to_owned(), quality_of(stats));
    }
    Ok((legs, quality))
}

/// A leg's counts as scores; a stream without a packet has none.
fn quality_of(stats: LegStats) -> LegQuality {
    /// RTP timestamp units in a millisecond at 8,000 Hz (RFC 3551).
    const UNITS_PER_MS: f64 = 8.0;
    let round_trip_ms = stats.round_trip_us.map(|us| f64::from(us) / 1_000.0);
    let score = |came: u64, lost: u64, jitter_ms: f64| {
        let sent = came + lost;
        (sent > 0).then(|| hundredths(quality::mos(lost as f64 / sent as f64, jitter_ms, round_trip_ms)))
    };
    let jitter_ms = f64::from(stats.jitter) / UNITS_PER_MS;
    let jitter_out_ms = stats.jitter_out.map(|jitter| f64::from(jitter) / UNITS_PER_MS);
    let lost_out = stats.lost_out.map(u64::from);
    let mos_out = lost_out
        .zip(jitter_out_ms)
        .and_then(|(lost, jitter_ms)| score(stats.packets_out.saturating_sub(lost), lost, jitter_ms));
    LegQuality {
        packets_in: stats.packets_in,
        packets_out: stats.packets_out,
        lost_in: stats.lost_in,
        jitter_ms,
        mos_in: score(stats.packets_in, stats.lost_in, jitter_ms),
        lost_out,
        jitter_out_ms,
        round_trip_ms,
        mos_out,
    }
}

fn hundredths(score: f64) -> f64 {
    (score * 100.0).round() / 100.0
}

/// What came over the wire as both databases can hold it: PostgreSQL knows no U+0000.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
