//! A callback's call. It waits in the line without anybody on it, in the place of who asked for it; when its turn comes an
//! agent is kept free and the customer is dialled. What comes to nothing is tried again from the same place.

use std::time::Duration;

use cti_acd::{Entered, Entry, Left, LimitKind};
use cti_base::{AgentName, CallId, CallbackId, LegId, Pii, Timestamp};
use cti_media::{MediaCommand, sdp};
use cti_sip::Target;

use super::tally::QueueEntry;
use super::{Call, CallerInvite, Dial, Leg, Records, Stage, Waiting, Wish};
use crate::callback::{Callback, CallbackState, Past, Pending, Step};
use crate::config::{AnswerWhen, DialFirst};
use crate::desk::{CallerRecords, Direction};
use crate::effect::Effect;
use crate::engine::{Engine, OpenLeg};
use crate::fact::{CallRecord, Fact, Outcome, QueueLeave, SegmentKind, SegmentRecord};
use crate::limits::{CALLBACK_AGAIN, SEGMENTS_MAX};
use crate::outbound::{self, Room};
use crate::recover::RESTART;
use crate::timer::{CallbackTimer, Timer};

/// Why an attempt does not begin.
enum NotNow {
    Before(Timestamp),
    /// It can not be dialled at all; the cause.
    Never(&'static str),
    /// It was dialled as often as the tenant's file now allows.
    Spent,
}

/// How an attempt begins.
struct Way {
    trunk: String,
    host: String,
    target: Target,
    did: String,
    first: DialFirst,
}

impl Engine {
    /// Its time has come: into the line, at its place.
    pub(crate) fn line_up(&mut self, now: Timestamp, id: CallbackId) {
        let Some(pending) = self.callbacks.get_mut(id).filter(|pending| pending.step == Step::Later) else { return };
        pending.step = Step::InLine;
        self.timers.cancel(&Timer::Callback(id, CallbackTimer::Due));
        let (tenant, queue, call) = (pending.view.tenant.clone(), pending.view.queue.clone(), pending.call);
        let is_new = pending.started.is_none();
        if is_new {
            pending.started = Some(now);
            // Between two attempts it goes on waiting: the stretches of a call follow each other.
            pending.past.waiting_since = now;
        }
        pending.view.call_id = Some(call);
        let (number, priority) = (pending.view.number.expose().clone(), pending.priority);
        let did = pending.did.clone();
        let mut entry = Entry::new(queue.clone(), pending.since, pending.entered, pending.order);
        entry.priority = priority;
        entry.requires = pending.requires.clone();
        entry.value = pending.value.clone();
        entry.direct = pending.view.agent.clone();
        entry.callback = true;
        if is_new {
            let Some(state) = self.tenants.get(&tenant) else { return };
            let own = state.queues.get(&queue).map_or(0, |queue| queue.decl.priority);
            let from = outbound::caller_id(&state.tenant.doc, None, did.as_deref()).unwrap_or_default();
            self.fact(Fact::CallStarted {
                tenant: tenant.clone(),
                call,
                direction: Direction::Outbound,
                trunk: None,
                from: Pii::new(from),
                to: number,
            });
            let priority = own.saturating_add(priority);
            let entered = QueueEntry { queue: queue.clone(), entered_ms: now.as_millis(), from: None };
            if let Some(pending) = self.callbacks.get_mut(id) {
                pending.past.tally.queue = Some(entered);
            }
            self.fact(Fact::Queued { tenant: tenant.clone(), call, queue, priority, from: None });
        }
        self.enter_line(now, id, &tenant, call, entry);
        self.changed();
    }

    fn enter_line(
        &mut self,
        now: Timestamp,
        id: CallbackId,
        tenant: &cti_base::TenantId,
        call: CallId,
        mut entry: Entry,
    ) {
        let Some(acd) = self.acd_mut(tenant) else { return };
        let mut entered = acd.enter(now, call, entry.clone());
        if entered == Entered::NoSuchAgent {
            entry.direct = None;
            entered = acd.enter(now, call, entry);
        }
        match entered {
            Entered::Waiting => {}
            Entered::NoSuchQueue | Entered::NoSuchAgent | Entered::Overflow { .. } => {
                self.end_callback(now, id, CallbackState::Failed, "queue_removed");
            }
        }
    }

    /// The line let the callback go: its queue or its agent is no longer declared.
    pub(crate) fn callback_limit(&mut self, now: Timestamp, call: CallId, why: LimitKind) {
        let Some(pending) = self.callbacks.of_call(call) else { return };
        let (id, tenant) = (pending.view.id, pending.view.tenant.clone());
        let stands = self.tenants.get(&tenant).is_some_and(|state| {
            state.tenant.doc.queue.iter().any(|decl| decl.name == pending.view.queue) && why == LimitKind::Gone
        });
        if let Some(acd) = self.acd_mut(&tenant) {
            acd.leave(now, call, Left::Moved);
        }
        if !stands {
            self.end_callback(now, id, CallbackState::Failed, "queue_removed");
            return;
        }
        if let Some(pending) = self.callbacks.get_mut(id) {
            pending.step = Step::Later;
            pending.view.agent = None;
        }
        self.line_up(now, id);
    }

    /// Its turn has come: this agent is free for it. Whether the attempt began; its call is there from here on.
    pub(crate) fn begin_attempt(&mut self, now: Timestamp, call: CallId, agents: &[AgentName]) -> bool {
        let Some(pending) = self.callbacks.of_call(call) else { return false };
        let (id, tenant) = (pending.view.id, pending.view.tenant.clone());
        let last_cause = pending.view.last_cause.clone().unwrap_or_default();
        let way = self.find_way(now, pending);
        let port = way.and_then(|way| {
            let port = self.ports.take(now).ok_or(NotNow::Before(now + CALLBACK_AGAIN))?;
            Ok((way, port))
        });
        match port {
            Ok((way, port)) => {
                self.start_attempt(now, id, way, port);
                return true;
            }
            Err(NotNow::Before(until)) => {
                if let Some(acd) = self.acd_mut(&tenant) {
                    acd.pause(now, call, until);
                    agents.iter().for_each(|agent| acd.offer_ended(now, call, agent, false));
                }
            }
            Err(NotNow::Never(cause)) => {
                self.end_callback(now, id, CallbackState::Failed, cause);
            }
            Err(NotNow::Spent) => {
                self.end_callback(now, id, CallbackState::Failed, &last_cause);
            }
        }
        for agent in agents {
            self.reindex(now, &tenant, agent);
        }
        false
    }

    /// Every check before anything else happens; a port is not taken yet.
    fn find_way(&self, now: Timestamp, pending: &Pending) -> Result<Way, NotNow> {
        let again = || NotNow::Before(now + CALLBACK_AGAIN);
        let Callback { tenant, queue, number, .. } = &pending.view;
        let state = self.tenants.get(tenant).ok_or_else(again)?;
        let doc = &state.tenant.doc;
        let decl = &state.queues.get(queue).ok_or_else(again)?.decl.callback;
        if pending.view.attempts >= decl.attempts {
            return Err(NotNow::Spent);
        }
        let rules = &doc.tenant.outbound;
        let number = outbound::permit(rules, state.tenant.country, number.expose());
        let number = number.map_err(|_| NotNow::Never("not_allowed"))?;
        let trunk = outbound::trunk(doc, decl.trunk.as_deref()).ok_or(NotNow::Never("no_trunk"))?;
        let (host, address) = outbound::host(trunk, &state.hosts_down, &[], now).ok_or(NotNow::Never("no_trunk"))?;
        let target = self.endpoint.target_of(&format!("sip:{number}@{address}")).ok_or(NotNow::Never("no_trunk"))?;
        let did = outbound::caller_id(doc, Some(&trunk.name), pending.did.as_deref());
        let did = did.ok_or(NotNow::Never("no_caller_id"))?;
        if self.draining || self.closing {
            return Err(again());
        }
        match state.outbound.room(now, rules) {
            Room::Now => {}
            Room::At(at) => return Err(NotNow::Before(at)),
            Room::Full => return Err(again()),
        }
        let trunk_use = state.trunks.get(&trunk.name).copied().unwrap_or_default();
        let legs = (2 * self.calls.len() + 2).max(self.legs.len() + 2);
        if legs > self.config.legs_max.min(self.ports.capacity()) || trunk_use.refusal(now, trunk).is_some() {
            return Err(again());
        }
        let (trunk, host) = (trunk.name.clone(), host.to_owned());
        Ok(Way { trunk, host, target, did, first: decl.first })
    }

    fn start_attempt(&mut self, now: Timestamp, id: CallbackId, way: Way, port: u16) {
        let Some(pending) = self.callbacks.get_mut(id) else { return };
        pending.step = Step::Trying;
        pending.view.state = CallbackState::Reserved;
        let Past { waiting_since, offered, ring, segments, legs, tally, trunk: _ } = std::mem::take(&mut pending.past);
        let tenant = pending.view.tenant.clone();
        let (call, number) = (pending.call, pending.view.number.clone());
        let wish =
            Wish { priority: pending.priority, requires: pending.requires.clone(), agent: pending.view.agent.clone() };
        let (started, since) = (pending.started.unwrap_or(now), pending.since);
        let waiting = Waiting {
            queue: pending.view.queue.clone(),
            entered: pending.entered,
            wish,
            stood: false,
            entering: false,
            comfort_next: None,
            comfort: None,
            offers: Vec::new(),
        };
        let (locale, vars, order) = (pending.locale.clone(), pending.vars.clone(), pending.order);
        let dial = Dial { callback: id, first: way.first, host: way.host, tried: Vec::new(), progressed: false };
        let leg = LegId::new(now, &mut self.rng);
        let rtp = std::net::SocketAddr::new(self.media_ip_for(&way.target.flow), port);
        let local = sdp::Local {
            rtp,
            session_id: self.rng.next_u64() >> 2,
            version: 1,
            srtp: None,
            wideband: false,
            webrtc: None,
        };
        if let Some(state) = self.tenants.get_mut(&tenant) {
            state.outbound.begin(now, &state.tenant.doc.tenant.outbound);
            if let Some(decl) = outbound::trunk(&state.tenant.doc, Some(&way.trunk)) {
                state.trunks.entry(way.trunk.clone()).or_default().begin(now, decl);
            }
        }
        let call = Call {
            id: call,
            tenant: tenant.clone(),
            direction: Direction::Outbound,
            dial: Some(dial),
            trunk: way.trunk,
            from: number.clone(),
            to: way.did,
            started,
            customer: Leg {
                id: leg,
                session: None,
                started: now,
                answered: None,
                local,
                media: None,
                awaits_answer: false,
            },
            invite: CallerInvite::Dialing,
            answer_when: AnswerWhen::Entry,
            queue: Some(waiting.queue.clone()),
            stage: Stage::Waiting(Box::new(waiting)),
            stage_since: now,
            locale,
            path: Vec::new(),
            vars,
            records: Records::Known(CallerRecords::default()),
            queued: Some(started),
            place: Some(since),
            order,
            offered,
            answered: None,
            agent: None,
            overflows: 0,
            ring,
            segments,
            open_segment: Some((SegmentKind::Queue, waiting_since)),
            legs,
            recording: None,
            recorded_from: None,
            talk_ms: 0,
            hold_ms: 0,
            back: None,
            limit: None,
            unreached: Vec::new(),
            plays: 0,
            playing: None,
            setup_measured: true,
            tally,
            ver: 0,
        };
        let id = call.id;
        self.calls.insert(id, call);
        self.legs.insert(leg, OpenLeg { call: id, port: Some(port), closing: false });
        if let Some(call) = self.calls.get_mut(&id) {
            call.records = Records::Asked(now);
        }
        self.effect(Effect::LookUp { tenant, call: id, number });
        self.media(id, MediaCommand::Open { leg, call: id, rtp_port: port });
        self.tell_attempt(id);
        self.changed();
    }

    /// The callback as it stands, to the journal.
    pub(crate) fn tell_attempt(&mut self, call: CallId) {
        if let Some(pending) = self.callbacks.of_call(call) {
            let callback = Box::new(pending.view.clone());
            self.fact(Fact::CallbackAttempt { callback });
        }
    }

    /// The attempt came to nothing: the agent is let go and has missed nothing. The customer is dialled again later, or the
    /// callback and its call are over. What the program itself is to blame for does not count.
    pub(crate) fn attempt_over(&mut self, now: Timestamp, id: CallId, outcome: Outcome, cause: &str) {
        let Some(dial) = self.calls.get_mut(&id).and_then(|call| call.dial.take()) else { return };
        let ours = matches!(cause, "shutdown" | RESTART | "media_failed" | "agent_removed");
        let Some(pending) = self.callbacks.get_mut(dial.callback) else { return };
        let was_dialled = pending.view.state == CallbackState::Dialing;
        if ours && was_dialled {
            pending.view.attempts = pending.view.attempts.saturating_sub(1);
        }
        pending.view.last_cause = Some(cause.to_owned());
        let (tenant, queue, attempts) =
            (pending.view.tenant.clone(), pending.view.queue.clone(), pending.view.attempts);
        let decl = self.queue_decl(&tenant, queue.as_str()).map(|decl| decl.callback.clone());
        let in_time = self.timers.is_set(&Timer::Callback(dial.callback, CallbackTimer::Over));
        let Some(decl) = decl.filter(|decl| in_time && attempts < decl.attempts) else {
            self.end_callback(now, dial.callback, CallbackState::Failed, cause);
            self.end_call(now, id, outcome, cause);
            return;
        };
        self.withdraw_offers(now, id, cause);
        let Some(call) = self.take_call_away(now, id, was_dialled.then_some(cause)) else { return };
        let retry = if ours { CALLBACK_AGAIN } else { Duration::from_secs(u64::from(decl.retry_after_s)) };
        let Some(pending) = self.callbacks.get_mut(dial.callback) else { return };
        pending.past = Past::of(now, call);
        pending.step = Step::Later;
        pending.view.state = CallbackState::Waiting;
        pending.view.due_ms = (now + retry).as_millis();
        self.timers.set(Timer::Callback(dial.callback, CallbackTimer::Due), now + retry);
        self.tell_attempt(id);
        self.changed();
    }

    /// The agent who was asked first does not take it, and nobody was dialled: it waits in the line as before.
    pub(crate) fn rest_in_line(&mut self, now: Timestamp, id: CallId) {
        let call = self.calls.get(&id);
        let rests = call.is_some_and(|call| call.is_dialing() && call.customer.session.is_none() && !call.is_offered());
        if !rests {
            return;
        }
        let Some(mut call) = self.take_call_away(now, id, None) else { return };
        let Some(dial) = call.dial.take() else { return };
        let Some(pending) = self.callbacks.get_mut(dial.callback) else { return };
        pending.past = Past::of(now, call);
        pending.step = Step::InLine;
        pending.view.state = CallbackState::Waiting;
        self.tell_attempt(id);
        self.changed();
    }

    /// Out of the calls, without an end. `dialled`: why the customer, who was dialled, is let go.
    fn take_call_away(&mut self, now: Timestamp, id: CallId, dialled: Option<&str>) -> Option<Call> {
        let mut call = self.calls.remove(&id)?;
        self.timers.cancel_call(id);
        call.segment(now, None);
        self.give_back_trunk(&call);
        let session = call.customer.session.take();
        if let Some(cause) = dialled {
            let record = Self::leg_record(now, &call.customer, None, cause);
            Self::add_leg_record(&mut call.legs, record);
        }
        self.end_session(now, session, None);
        self.close_media(call.customer.id);
        Some(call)
    }

    /// A callback that is over while nobody is dialled for it: its call, if it had begun, is over with it.
    pub(crate) fn end_virtual_call(&mut self, now: Timestamp, pending: Pending, cause: &str) {
        let Pending { view, call, started, did, mut past, .. } = pending;
        if let Some(acd) = self.acd_mut(&view.tenant) {
            acd.leave(now, call, Left::Moved);
        }
        let Some(started) = started else { return };
        let Some(state) = self.tenants.get(&view.tenant) else { return };
        let from = outbound::caller_id(&state.tenant.doc, past.trunk.as_deref(), did.as_deref()).unwrap_or_default();
        if let Some(entry) = past.tally.queue.take() {
            self.queue_left(&view.tenant, call, &entry, QueueLeave::Ended { outcome: Outcome::Failed });
        }
        let record = virtual_record(now, &view, call, started, from, past, cause);
        self.fact(Fact::CallEnded { record: Box::new(record) });
    }
}

impl Past {
    /// What is kept of an attempt's call.
    fn of(now: Timestamp, call: Call) -> Self {
        Self {
            waiting_since: now,
            offered: call.offered,
            ring: call.ring,
            segments: call.segments,
            legs: call.legs,
            tally: call.tally,
            trunk: Some(call.trunk).filter(|trunk| !trunk.is_empty()),
        }
    }
}

/// The record of a call that was never under way at its end.
fn virtual_record(
    now: Timestamp,
    view: &Callback,
    call: CallId,
    started: Timestamp,
    from: String,
    past: Past,
    cause: &str,
) -> CallRecord {
    let waited = now.since(started).as_millis() as u64;
    let mut segments = past.segments;
    if segments.len() < SEGMENTS_MAX {
        segments.push(SegmentRecord {
            kind: SegmentKind::Queue,
            queue: Some(view.queue.clone()),
            agent: None,
            started_ms: past.waiting_since.as_millis(),
            ended_ms: now.as_millis(),
        });
    }
    CallRecord {
        id: call,
        tenant: view.tenant.clone(),
        direction: Direction::Outbound,
        outcome: Outcome::Failed,
        cause: cause.to_owned(),
        from: Pii::new(from),
        to: view.number.expose().clone(),
        trunk: past.trunk,
        ivr_path: Vec::new(),
        queue: Some(view.queue.clone()),
        agent: None,
        customer_id: view.customer_id.clone(),
        started_ms: started.as_millis(),
        queued_ms: Some(started.as_millis()),
        offered_ms: past.offered.map(Timestamp::as_millis),
        answered_ms: None,
        ended_ms: now.as_millis(),
        wait_ms: waited,
        ring_ms: past.ring.as_millis() as u64,
        talk_ms: 0,
        hold_ms: 0,
        legs: past.legs,
        segments,
        recording: None,
        disposition: None,
        vars: std::collections::BTreeMap::new(),
    }
}
