//! The end of a call: both sides let go, one outcome, one record.

use std::collections::BTreeSet;
use std::time::Duration;

use cti_acd::Left;
use cti_base::{AgentName, CallId, LegId, Pii, TenantId, Timestamp};
use cti_media::LegStats;

use super::tally::QueueEntry;
use super::{Call, CallerInvite, Stage, Talking};
use crate::desk::{CallView, Direction, Event};
use crate::engine::Engine;
use crate::fact::{CallRecord, Fact, Outcome};
use crate::limits::STATS_WAIT;
use crate::recover::RESTART;
use crate::timer::{CallTimer, Timer};
use crate::trace::TraceEntry;
use serde::{Deserialize, Serialize};

/// A call that is over. Its record goes out when its legs' counts are in, or have had their time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ending {
    record: Box<CallRecord>,
    open: BTreeSet<LegId>,
    /// A wrap-up that was over before the record went out follows it.
    wrapup: Option<EndedWrapup>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EndedWrapup {
    agent: AgentName,
    wrapup_ms: u64,
    disposition: Option<String>,
    #[serde(default)]
    served: Option<QueueEntry>,
}

impl Engine {
    /// Ends the call, whatever its stage. `cause` is a word or a status as `CallRecord::cause` says. A caller who goes while
    /// they hear goodbye was ended by the limit already: the call keeps that cause, and the leg has the one given.
    pub(crate) fn end_call(&mut self, now: Timestamp, id: CallId, outcome: Outcome, cause: &str) {
        if self.calls.get(&id).is_some_and(Call::is_dialing) {
            self.attempt_over(now, id, outcome, cause);
            return;
        }
        // What was said is kept, whatever ended it.
        let outcome = if self.leave_message(now, id, Duration::ZERO) { Outcome::Voicemail } else { outcome };
        let how = if cause == "caller_hangup" { "caller_hangup" } else { "call_over" };
        let left = match outcome {
            Outcome::AbandonedQueue | Outcome::AbandonedRinging => Left::Abandoned,
            _ => Left::Moved,
        };
        self.leave_acd(now, id, left);
        self.withdraw_offers(now, id, how);
        self.count_end(id, outcome);
        // Once an agent has talked on it, the call is answered, wherever it was handed on to.
        let was_answered = self.calls.get(&id).is_some_and(|call| call.answered.is_some());
        let outcome = match outcome {
            _ if was_answered => Outcome::Answered,
            // By an outside number alone, which a queue's limit had dialled.
            Outcome::Answered => Outcome::Overflowed,
            outcome => outcome,
        };
        self.trace(now, id, TraceEntry::Ended { outcome, cause: cause.to_owned() });
        self.leave_queue(now, id);
        let Some(mut call) = self.calls.remove(&id) else { return };
        self.timers.cancel_call(id);
        call.segment(now, None);
        self.give_back_trunk(&call);
        if let Some(recording) = call.recording {
            self.stop_recording(id, recording);
        }
        self.let_caller_go(now, &mut call, outcome, cause);
        let record = Self::leg_record(now, &call.customer, None, cause);
        Self::add_leg_record(&mut call.legs, record);
        self.close_media(call.customer.id);
        let stage = std::mem::replace(&mut call.stage, Stage::Goodbye { cause: String::new(), outcome });
        let limit = match &stage {
            Stage::Goodbye { cause, outcome: last } if *last == outcome || was_answered => Some(cause.clone()),
            Stage::Talking(_) | Stage::Sent(_) if outcome == Outcome::Overflowed => call.limit.take(),
            Stage::Answering(_)
            | Stage::Menu(_)
            | Stage::Waiting(_)
            | Stage::Talking(_)
            | Stage::Sent(_)
            | Stage::Goodbye { .. } => None,
            Stage::Voicemail(voicemail) if matches!(outcome, Outcome::Overflowed | Outcome::Voicemail) => {
                Some(voicemail.cause.clone())
            }
            Stage::Voicemail(_) => None,
        };
        let mut talked = None;
        match stage {
            Stage::Talking(mut talking) => {
                self.dismiss_guests(now, &mut call, &mut talking, cause);
                self.part_lead(now, &mut call, &mut talking, cause);
                let pop = call.pop(talking.wait_ms);
                let view = call.handed_view(now, &talking, pop, cause);
                talked = Some((talking, view));
            }
            Stage::Sent(sent) => self.let_sent_go(now, &mut call, *sent, cause),
            Stage::Answering(_) | Stage::Menu(_) | Stage::Waiting(_) | Stage::Goodbye { .. } | Stage::Voicemail(_) => {}
        }
        let record = Box::new(make_record(now, &mut call, outcome, limit.as_deref().unwrap_or(cause)));
        let open: BTreeSet<LegId> =
            record.legs.iter().map(|line| line.id).filter(|leg| self.legs.contains_key(leg)).collect();
        let no_leg_is_open = open.is_empty();
        self.endings.insert(id, Ending { record, open, wrapup: None });
        self.timers.set(Timer::Call(id, CallTimer::Stats), now + STATS_WAIT);
        self.changed();
        if let Some((talking, view)) = talked {
            self.end_talk(now, *talking, view);
        }
        if no_leg_is_open {
            self.emit_ending(now, id);
        }
    }

    pub(crate) fn give_back_trunk(&mut self, call: &Call) {
        let Some(state) = self.tenants.get_mut(&call.tenant) else { return };
        if let Some(used) = state.trunks.get_mut(&call.trunk) {
            used.calls = used.calls.saturating_sub(1);
        }
        if call.direction == Direction::Outbound {
            state.outbound.end();
        }
    }

    /// BYE, or the final answer of an INVITE that had none.
    fn let_caller_go(&mut self, now: Timestamp, call: &mut Call, outcome: Outcome, cause: &str) {
        let Some(session) = call.customer.session.take() else { return };
        match &call.invite {
            CallerInvite::Accepted | CallerInvite::Dialing => self.end_session(now, Some(session), None),
            CallerInvite::Open { .. } => {
                let code = match (outcome, cause) {
                    (Outcome::Overflowed, _) => 480,
                    (Outcome::Busy, _) => 486,
                    (_, "media_failed" | RESTART) => 503,
                    _ => 500,
                };
                self.sessions.remove(&session);
                self.endpoint.reject(now, session, code);
            }
        }
    }

    /// The agent's side of the end: the desk is told, wrap-up begins.
    pub(crate) fn end_talk(&mut self, now: Timestamp, talking: Talking, view: CallView) {
        let Some(agent) = talking.agent else { return };
        let talked_ms = view.answered_ms.map_or(0, |answered_ms| now.as_millis().saturating_sub(answered_ms));
        let Some(tenant) = self.tenant_of(view.call_id) else { return };
        self.desk(&tenant, &agent, Event::CallEnded(Box::new(view.clone())));
        self.start_wrapup(now, &tenant, &agent, talking.queue, view, Duration::from_millis(talked_ms));
    }

    /// Of a call that lives or has just ended.
    fn tenant_of(&self, id: CallId) -> Option<TenantId> {
        let ending = || self.endings.get(&id).map(|ending| &ending.record.tenant);
        self.calls.get(&id).map(|call| &call.tenant).or_else(ending).cloned()
    }

    pub(crate) fn ending_leg_closed(&mut self, now: Timestamp, id: CallId, leg: LegId, stats: Option<LegStats>) {
        let Some(ending) = self.endings.get_mut(&id) else { return };
        if let Some(record) = ending.record.legs.iter_mut().find(|record| record.id == leg) {
            record.stats = stats;
        }
        ending.open.remove(&leg);
        if ending.open.is_empty() {
            self.emit_ending(now, id);
        }
    }

    /// The call's record, and the wrap-up that was quicker than it.
    pub(crate) fn emit_ending(&mut self, _now: Timestamp, id: CallId) {
        let Some(ending) = self.endings.remove(&id) else { return };
        self.timers.cancel(&Timer::Call(id, CallTimer::Stats));
        let tenant = ending.record.tenant.clone();
        self.fact(Fact::CallEnded { record: ending.record });
        if let Some(wrapup) = ending.wrapup {
            self.fact(wrapup.fact(tenant, id));
        }
    }

    /// The wrap-up's fact, after the call's own.
    pub(crate) fn wrapup_fact(
        &mut self,
        tenant: &TenantId,
        call: CallId,
        agent: &AgentName,
        wrapup: Duration,
        disposition: Option<String>,
    ) {
        let served = self.agent_mut(tenant, agent).and_then(|agent| agent.served.take());
        let ended = EndedWrapup { agent: agent.clone(), wrapup_ms: wrapup.as_millis() as u64, disposition, served };
        match self.endings.get_mut(&call) {
            Some(ending) => ending.wrapup = Some(ended),
            None => self.fact(ended.fact(tenant.clone(), call)),
        }
    }
}

impl EndedWrapup {
    fn fact(self, tenant: TenantId, call: CallId) -> Fact {
        let Self { agent, wrapup_ms, disposition, served } = self;
        let (queue, entered_ms) = served.map_or((None, None), |entry| (Some(entry.queue), Some(entry.entered_ms)));
        Fact::WrapupEnded { tenant, call, agent, wrapup_ms, disposition, queue, entered_ms }
    }
}

fn make_record(now: Timestamp, call: &mut Call, outcome: Outcome, cause: &str) -> CallRecord {
    let ms = |duration: Duration| duration.as_millis() as u64;
    let waited = call.queued.map_or(Duration::ZERO, |queued| call.answered.unwrap_or(now).since(queued));
    let (from, to) = call.ends();
    CallRecord {
        id: call.id,
        tenant: call.tenant.clone(),
        direction: call.direction,
        outcome,
        cause: cause.to_owned(),
        from: Pii::new(from),
        to,
        trunk: Some(call.trunk.clone()).filter(|trunk| !trunk.is_empty()),
        ivr_path: std::mem::take(&mut call.path),
        queue: call.queue.clone(),
        agent: call.agent.clone(),
        customer_id: call.customer_id(),
        started_ms: call.started.as_millis(),
        queued_ms: call.queued.map(Timestamp::as_millis),
        offered_ms: call.offered.map(Timestamp::as_millis),
        answered_ms: call.answered.map(Timestamp::as_millis),
        ended_ms: now.as_millis(),
        wait_ms: ms(waited),
        ring_ms: ms(call.ring),
        talk_ms: call.talk_ms,
        hold_ms: call.hold_ms,
        legs: std::mem::take(&mut call.legs),
        segments: std::mem::take(&mut call.segments),
        recording: call.recording,
        disposition: None,
        vars: std::mem::take(&mut call.vars),
    }
}
