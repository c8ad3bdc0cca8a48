//! Callbacks by their facts: who asked keeps the place, nobody has two, each is dialled as often and as long as the file says and
//! not before its time, and ends once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cti_base::{AgentName, CallId, CallbackId, TenantId, Timestamp};
use cti_switch::config::{CallbackDecl, Tenant};
use cti_switch::desk::AgentState;
use cti_switch::{Callback, CallbackSource, CallbackState};

use super::Fairness;
use super::choice::{Way, way};
use super::lengths::Stretch;
use crate::ledger::{Ledger, Place};
use crate::media::ensure;

/// Why an attempt that is nobody's fault but the program's does not count, and is made again at once.
const OURS: [&str; 4] = ["shutdown", "restart", "media_failed", "agent_removed"];

pub struct Told {
    pub view: Callback,
    pub place: Place,
    /// The call that it became.
    pub call: Option<CallId>,
    /// Since when it stands in the line and could be dialled; the free agent's time counts from there.
    pub able: Option<Timestamp>,
}

#[derive(Default)]
pub struct Callbacks {
    pub open: BTreeMap<CallbackId, Told>,
    /// How each of the others ended.
    over: BTreeMap<CallbackId, CallbackState>,
    by_call: BTreeMap<CallId, CallbackId>,
}

impl Callbacks {
    pub fn of_call(&self, call: CallId) -> Option<&Told> {
        self.open.get(self.by_call.get(&call)?)
    }

    /// Waits for an agent, with nobody on the line.
    pub fn is_in_line(&self, now: Timestamp, call: CallId) -> bool {
        self.of_call(call).is_some_and(|told| told.is_in_line(now))
    }

    /// Asked for, or in other hands.
    pub fn requested(&mut self, now: Timestamp, ledger: &mut Ledger, view: &Callback) -> Result<(), String> {
        let id = view.id;
        ensure(!self.over.contains_key(&id), || format!("callback {id} is over and asked for again"))?;
        if let Some(told) = self.open.get_mut(&id) {
            ensure(view.agent.is_none() && view.state == told.view.state, || {
                format!("callback {id} is asked for twice")
            })?;
            // Into the others' line at this very moment.
            (told.view, told.able) = (view.clone(), None);
            if let Some(story) = told.call.and_then(|call| ledger.calls.get_mut(&call)) {
                story.direct = None;
            }
            return Ok(());
        }
        let key = |view: &Callback| (view.tenant.clone(), view.queue.clone(), view.number.expose().clone());
        let twice = self.open.values().any(|other| key(&other.view) == key(view));
        ensure(!twice, || format!("one number, one callback: {id} is another of the same"))?;
        ensure(view.state == CallbackState::Waiting && view.attempts == 0, || {
            format!("callback {id} begins {view:?}")
        })?;
        let place = match view.source {
            CallbackSource::Keypad => {
                let story = view.request_call.and_then(|call| ledger.calls.get(&call));
                let story = story.ok_or_else(|| format!("callback {id} was asked for in no call"))?;
                let keeps = view.place_ms == story.since().as_millis()
                    && story.queue.as_ref() == Some(&view.queue)
                    && story.from == *view.number.expose()
                    && story.direct == view.agent;
                ensure(keeps, || format!("a callback keeps the place: {view:?} of {story:?}"))?;
                Place { since: story.since(), entered: story.entered, value: story.known_value() }
            }
            CallbackSource::Scheduled | CallbackSource::Agent => {
                let due = Timestamp::from_millis(view.due_ms);
                let since = if due <= now { now } else { due };
                Place { since, entered: since, value: None }
            }
        };
        self.open.insert(id, Told { view: view.clone(), place, call: None, able: None });
        Ok(())
    }

    /// Its call stands in the line for the first time.
    pub fn lined_up(&mut self, ledger: &mut Ledger, call: CallId) -> Result<(), String> {
        let Some(story) = ledger.calls.get_mut(&call) else { return Ok(()) };
        let is_it = |told: &&mut Told| {
            let view = &told.view;
            view.tenant == story.tenant
                && story.queue.as_ref() == Some(&view.queue)
                && *view.number.expose() == story.to
        };
        let told = self.open.values_mut().find(is_it);
        let told = told.ok_or_else(|| format!("{call} is nobody's callback"))?;
        ensure(told.call.replace(call).is_none(), || format!("callback {} has two calls", told.view.id))?;
        self.by_call.insert(call, told.view.id);
        story.take_place(&told.place, told.view.agent.clone());
        Ok(())
    }

    /// An attempt begins, goes on, or came to nothing. What it was before is returned.
    pub fn attempted(
        &mut self,
        now: Timestamp,
        decls: &[CallbackDecl],
        view: &Callback,
    ) -> Result<CallbackState, String> {
        use CallbackState::{Dialing, Reserved, Waiting};
        let id = view.id;
        let told = self.open.get_mut(&id).ok_or_else(|| format!("callback {id} is unknown or over: {view:?}"))?;
        let (before, attempts) = (told.view.state, told.view.attempts);
        ensure(view.call_id.is_some() && view.call_id == told.call, || format!("callback {id} has another call"))?;
        let cause = view.last_cause.as_deref().unwrap_or_default();
        let may = match (before, view.state) {
            (Waiting, Reserved) => told.view.due_ms <= now.as_millis() && view.attempts == attempts,
            (Reserved, Dialing) => {
                view.attempts == attempts + 1 && decls.iter().any(|decl| view.attempts <= decl.attempts)
            }
            (Reserved, Waiting) => view.attempts == attempts,
            (Dialing, Waiting) if OURS.contains(&cause) => view.attempts + 1 == attempts,
            (Dialing, Waiting) => {
                let due = |decl: &CallbackDecl| (now + Duration::from_secs(u64::from(decl.retry_after_s))).as_millis();
                view.attempts == attempts && decls.iter().any(|decl| view.due_ms == due(decl))
            }
            _ => false,
        };
        ensure(may, || format!("callback {id} goes from {:?} to {view:?}", told.view))?;
        (told.view, told.able) = (view.clone(), None);
        Ok(before)
    }

    pub fn ended(&mut self, view: &Callback) -> Result<Option<CallId>, String> {
        let id = view.id;
        let told = self.open.remove(&id).ok_or_else(|| format!("callback {id} ends twice or was never asked for"))?;
        ensure(view.state.is_over(), || format!("callback {id} ends {:?}", view.state))?;
        let was_dialled = told.view.state == CallbackState::Dialing;
        ensure(was_dialled || view.state != CallbackState::Done, || {
            format!("callback {id} was not dialled and is done")
        })?;
        self.over.insert(id, view.state);
        Ok(told.call)
    }

    pub fn close(&self) -> Result<(), String> {
        ensure(self.open.is_empty(), || format!("callbacks are left: {:?}", self.open.keys().collect::<Vec<_>>()))
    }

    /// How many ended in which way.
    pub fn ends(&self) -> impl Iterator<Item = CallbackState> {
        self.over.values().copied()
    }
}

impl Told {
    pub fn is_in_line(&self, now: Timestamp) -> bool {
        self.call.is_some() && self.view.state == CallbackState::Waiting && self.view.due_ms <= now.as_millis()
    }
}

/// Calls at once that leave room for another in any case.
const CALLS_FEW: usize = 40;
/// Attempts that come sooner after each other may have to wait for the tenant's calls a second.
const ATTEMPTS_APART: Duration = Duration::from_secs(1);

impl Fairness {
    pub fn attempted(&mut self, now: Timestamp, ledger: &mut Ledger, view: &Callback) -> Result<(), String> {
        let decls = self.callback_decls(view);
        let before = self.callbacks.attempted(now, &decls, view)?;
        let dialling = Stretch::Dialling(view.id);
        if before == CallbackState::Dialing {
            self.lengths.end(now, &dialling)?;
        }
        match view.state {
            CallbackState::Reserved => {
                self.last_attempt.insert(view.tenant.clone(), now);
                if let Some(call) = view.call_id {
                    self.passed.remove(&call);
                    if let Some(story) = ledger.calls.get_mut(&call) {
                        story.known = None;
                    }
                }
            }
            CallbackState::Dialing => {
                let most = decls.iter().map(|decl| decl.dial_timeout_s).max().unwrap_or_default();
                let most = Duration::from_secs(u64::from(most));
                self.lengths.begin(now, dialling, most);
                // Asked first, the agent hears the customer's phone ring.
                let asked_first = view.call_id.and_then(|call| ledger.calls.get(&call)).map(|story| &story.offers);
                for offer in asked_first.into_iter().flat_map(|offers| offers.keys()) {
                    self.rings_no_more(now, *offer)?;
                    self.lengths.begin(now, Stretch::Ring(*offer), most);
                }
            }
            CallbackState::Waiting if view.due_ms > now.as_millis() => {
                // The next attempt knows nothing of who missed this one.
                if let Some(story) = view.call_id.and_then(|call| ledger.calls.get_mut(&call)) {
                    story.missed.clear();
                    story.skipped.clear();
                }
            }
            CallbackState::Waiting | CallbackState::Done | CallbackState::Failed | CallbackState::Cancelled => {}
        }
        Ok(())
    }

    pub fn callback_over(&mut self, now: Timestamp, ledger: &mut Ledger, view: &Callback) -> Result<(), String> {
        self.lengths.end(now, &Stretch::Dialling(view.id))?;
        let call = self.callbacks.ended(view)?;
        if let Some(call) = call {
            self.passed.remove(&call);
            if view.state == CallbackState::Done {
                ledger.on_the_line(call);
            }
        }
        Ok(())
    }

    /// What the files of late say of it.
    fn callback_decls(&self, view: &Callback) -> Vec<CallbackDecl> {
        let recent = self.recent.get(&view.tenant).map_or(&[][..], |(recent, _)| recent);
        let decl = |tenant: &Arc<Tenant>| {
            let queue = tenant.doc.queue.iter().find(|queue| queue.name == view.queue);
            queue.map(|queue| queue.callback.clone())
        };
        recent.iter().filter_map(decl).collect()
    }

    /// How long the call's customer may be dialled.
    pub fn dial_timeout(&self, call: CallId) -> Duration {
        let decls = self.callbacks.of_call(call).map(|told| self.callback_decls(&told.view)).unwrap_or_default();
        let most = decls.iter().map(|decl| decl.dial_timeout_s).max();
        Duration::from_secs(u64::from(most.unwrap_or_default()))
    }

    /// Notes which callbacks could be dialled, and since when.
    pub fn after_callbacks(&mut self, now: Timestamp, ledger: &Ledger) {
        if self.callbacks.open.is_empty() {
            return;
        }
        let may_dial: BTreeMap<&TenantId, bool> =
            self.tenants.keys().map(|tenant| (tenant, self.may_dial(now, ledger, tenant))).collect();
        for told in self.callbacks.open.values_mut() {
            if told.is_in_line(now) && may_dial.get(&told.view.tenant) == Some(&true) {
                told.able.get_or_insert(now);
            } else {
                told.able = None;
            }
        }
    }

    /// Whether the tenant has room for one more call to a customer, in any case.
    pub fn may_dial(&self, now: Timestamp, ledger: &Ledger, id: &TenantId) -> bool {
        let Some(tenant) = self.tenants.get(id) else { return false };
        let live = ledger.calls.values().filter(|story| story.record.is_none());
        let (all, mine) = live.fold((0, 0), |(all, mine), story| (all + 1, mine + usize::from(story.tenant == *id)));
        let outbound = ledger.calls.values().filter(|story| story.tenant == *id && story.outbound && !story.dialing);
        let talking = outbound.filter(|story| story.record.is_none()).count();
        let trying = |told: &&Told| told.view.tenant == *id && told.view.state != CallbackState::Waiting;
        let used = talking + self.callbacks.open.values().filter(trying).count();
        let is_rare = self.last_attempt.get(id).is_none_or(|at| *at + ATTEMPTS_APART < now);
        let trunk = tenant.doc.trunk.first().is_some_and(|trunk| mine + 1 < trunk.max_calls as usize);
        let has_room = used < tenant.doc.tenant.outbound.max_calls as usize && trunk && all < CALLS_FEW;
        !tenant.doc.tenant.outbound.prefixes.is_empty() && has_room && is_rare && !self.drained
    }

    pub fn may_be_called(&self, now: Timestamp, ledger: &Ledger, call: CallId, agent: &AgentName) -> bool {
        let key = (ledger.calls[&call].tenant.clone(), agent.clone());
        let is_ready = ledger.agents.get(&key).is_some_and(|day| day.state == AgentState::Ready);
        let waits = self.callbacks.is_in_line(now, call);
        waits && is_ready && self.is_there(now, ledger, &key) && self.fits_callback(now, ledger, call, agent)
    }

    pub fn fits_callback(&self, now: Timestamp, ledger: &Ledger, call: CallId, agent: &AgentName) -> bool {
        let story = &ledger.calls[&call];
        let Some(tenant) = self.tenants.get(&story.tenant) else { return false };
        let skipped = story.skipped.get(agent).is_some_and(|until| *until > now);
        matches!(way(tenant, now, ledger, call, agent), Some(Way::Asked(_))) && !skipped && story.paused_until <= now
    }
}
