//! What the facts say, folded by other code than the switch's: the story of each call and the day of each agent. A fact that
//! does not fit the story so far, or a record that does not add up, is a broken promise.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_base::{AgentName, CallId, OfferId, QueueName, TenantId, Timestamp};
use cti_switch::desk::{AgentState, CallerRecords, Direction};
use cti_switch::trace::TraceEntry;
use cti_switch::{CallRecord, Fact, OfferEnd, Outcome};

use crate::media::ensure;

mod record;
mod story;

pub use story::{CallStory, Known, Place};

pub type Agent = (TenantId, AgentName);

#[derive(Debug)]
pub struct AgentDay {
    pub state: AgentState,
    pub reason: Option<String>,
    pub offer: Option<CallId>,
    talk: Option<CallId>,
    wrapup: Option<CallId>,
    /// When offers failed, the last four.
    failed: Vec<Timestamp>,
}

impl Default for AgentDay {
    fn default() -> Self {
        Self { state: AgentState::Offline, reason: None, offer: None, talk: None, wrapup: None, failed: Vec::new() }
    }
}

impl AgentDay {
    /// While four offers failed within a minute.
    pub fn is_blocked(&self, now: Timestamp) -> bool {
        self.failed.len() >= 4 && self.failed[self.failed.len() - 4] + Duration::from_secs(60) > now
    }
}

#[derive(Default)]
pub struct Ledger {
    pub calls: BTreeMap<CallId, CallStory>,
    pub agents: BTreeMap<Agent, AgentDay>,
    pub by_number: BTreeMap<String, CallId>,
    /// Queued, answered, abandoned by tenant and queue.
    pub queues: BTreeMap<(TenantId, QueueName), (u32, u32, u32)>,
    pub offer_ends: BTreeSet<String>,
    /// Calls that wait, by the facts.
    pub waiting: BTreeSet<CallId>,
    /// Queues that may ring several agents for one caller.
    pub ring_all: BTreeSet<(TenantId, QueueName)>,
    /// When a process last took up the state of another.
    pub restarted: Timestamp,
}

/// How long the same caller need not be offered to the agent who missed them.
const SKIP: Duration = Duration::from_secs(5);
/// Phones that ring at once for one caller.
const RING_ALL_MAX: usize = 20;
/// How long a caller is left alone whose offer found no port.
const PAUSE: Duration = Duration::from_millis(100);

impl Ledger {
    /// What a call's end waited for may have been told of by nobody until now.
    pub fn restarted(&mut self, now: Timestamp) {
        self.restarted = now;
    }

    /// Whether the caller is in the menu, by the facts.
    pub fn is_in_menu(&self, call: &CallId) -> bool {
        self.calls
            .get(call)
            .is_some_and(|story| story.nodes > 0 && !story.waits && story.offers.is_empty() && story.answered.is_none())
    }

    /// The records' answer has come to the switch; `None`: they could not be asked.
    pub fn records(&mut self, call: &CallId, records: Option<&CallerRecords>) {
        if let (Some(story), Some(records)) = (self.calls.get_mut(call), records) {
            story.known = Known::of(records);
        }
    }

    pub fn fact(&mut self, now: Timestamp, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::CallStarted { tenant, call, from, to, direction, .. } => {
                let story = CallStory {
                    tenant: tenant.clone(),
                    from: from.expose().clone(),
                    to: to.clone(),
                    started: now,
                    nodes: 0,
                    queue: None,
                    queued: None,
                    entered: now,
                    lined_up: None,
                    known: None,
                    value: None,
                    prefer: None,
                    direct: None,
                    outbound: *direction == Direction::Outbound,
                    dialing: *direction == Direction::Outbound,
                    place: None,
                    missed: Vec::new(),
                    waits: false,
                    offers: BTreeMap::new(),
                    ringing: None,
                    offered: None,
                    ring: Duration::ZERO,
                    answered: None,
                    held_since: None,
                    hold: Duration::ZERO,
                    recording: None,
                    recording_over: false,
                    message: false,
                    record: None,
                    wrapup_over: false,
                    skipped: BTreeMap::new(),
                    paused_until: now,
                };
                if !story.outbound {
                    self.by_number.insert(story.from.clone(), *call);
                }
                ensure(self.calls.insert(*call, story).is_none(), || format!("{call} started twice"))
            }
            Fact::NodeEntered { tenant, call, .. } => {
                let story = self.live(tenant, call)?;
                story.nodes += 1;
                story.waits = false;
                ensure(story.answered.is_none(), || format!("{call} is in the menu and was answered"))?;
                self.waiting.remove(call);
                Ok(())
            }
            Fact::Queued { tenant, call, queue, priority: _, from: _ } => {
                let story = self.live(tenant, call)?;
                ensure(story.answered.is_none(), || format!("{call} is queued and was answered"))?;
                ensure(story.offers.is_empty(), || format!("{call} is queued anew while an agent rings"))?;
                (story.queue, story.waits) = (Some(queue.clone()), true);
                story.queued.get_or_insert(now);
                story.skipped.clear();
                story.missed.clear();
                story.entered = now;
                story.lined_up = None;
                (story.value, story.prefer, story.direct) = (None, None, None);
                if !story.dialing {
                    self.waiting.insert(*call);
                }
                self.queues.entry((tenant.clone(), queue.clone())).or_default().0 += 1;
                Ok(())
            }
            Fact::Offered { tenant, call, offer, agent } => self.offered(now, tenant, call, offer, agent),
            Fact::OfferEnded { tenant, call, offer, agent, how, offered_ms: _ } => {
                self.offer_ended(now, tenant, call, offer, agent, *how)
            }
            Fact::Answered { tenant, call, agent } => {
                let day = self.agents.entry((tenant.clone(), agent.clone())).or_default();
                ensure(day.talk.replace(*call).is_none(), || {
                    format!("one agent, one call: {agent} answers {call} too")
                })?;
                let story = self.live(tenant, call)?;
                ensure(story.answered.is_none(), || format!("one call, one winner: {call} is answered twice"))?;
                ensure(!story.offers.values().any(|name| name == agent), || {
                    format!("{call} is answered while its offer stands")
                })?;
                ensure(story.skipped.get(agent) == Some(&now), || {
                    format!("{call}: {agent} answers and accepted nothing")
                })?;
                story.answered = Some((agent.clone(), now));
                story.waits = false;
                let queue = story.queue.clone();
                self.waiting.remove(call);
                if let Some(queue) = queue {
                    self.queues.entry((tenant.clone(), queue)).or_default().1 += 1;
                }
                Ok(())
            }
            Fact::Held { tenant, call, held, .. } => {
                let story = self.live(tenant, call)?;
                ensure(story.answered.is_some(), || format!("{call} is held and was not answered"))?;
                ensure(story.held_since.is_some() != *held, || format!("{call}: held {held} twice"))?;
                match story.held_since.take() {
                    Some(since) => story.hold += now.since(since),
                    None => story.held_since = Some(now),
                }
                Ok(())
            }
            Fact::RecordingStarted { tenant, call, recording } => {
                let story = self.live(tenant, call)?;
                ensure(story.recording.replace(*recording).is_none(), || format!("{call} is recorded twice"))
            }
            Fact::RecordingEnded { tenant, call, recording, .. } => {
                let story = self.calls.get_mut(call).filter(|s| s.tenant == *tenant);
                let Some(story) = story else { return Err(format!("a recording of {call}, which is unknown, ended")) };
                ensure(story.recording == Some(*recording), || format!("{recording} ended and is not {call}'s"))?;
                ensure(!std::mem::replace(&mut story.recording_over, true), || format!("{recording} ended twice"))
            }
            Fact::CallEnded { record } => self.ended(now, record),
            Fact::WrapupEnded { tenant, call, agent, .. } => {
                let story = self.calls.get_mut(call).filter(|s| s.tenant == *tenant);
                let Some(story) = story else { return Err(format!("wrap-up of {call}, which is unknown, ended")) };
                let is_theirs = story.answered.as_ref().is_some_and(|(name, _)| name == agent);
                ensure(is_theirs, || format!("{agent} ends the wrap-up of {call}, which they did not answer"))?;
                ensure(!std::mem::replace(&mut story.wrapup_over, true), || format!("{call}'s wrap-up ended twice"))?;
                ensure(story.record.is_some(), || format!("{call}'s wrap-up ended before the call"))?;
                let day = self.agents.entry((tenant.clone(), agent.clone())).or_default();
                day.wrapup.take_if(|wrapup| wrapup == call);
                Ok(())
            }
            Fact::Traced { tenant, call, entry, place: _ } => {
                if let TraceEntry::Entered { queue, .. } = &**entry {
                    let story = self.live(tenant, call)?;
                    ensure(story.queue.as_ref() == Some(queue), || format!("{call} stands in line for {queue}"))?;
                    story.lined_up.get_or_insert(now);
                }
                Ok(())
            }
            Fact::VoicemailLeft { voicemail } => {
                let story = self.live(&voicemail.tenant, &voicemail.call)?;
                let is_its =
                    story.recording == Some(voicemail.recording) && story.queue.as_ref() == Some(&voicemail.queue);
                ensure(is_its, || format!("the message of {} is not its own: {voicemail:?}", voicemail.call))?;
                ensure(!std::mem::replace(&mut story.message, true), || "one call, two messages".into())
            }
            Fact::QueueLeft { .. } | Fact::TalkEnded { .. } | Fact::Transferred { .. } | Fact::Supervised { .. } => {
                Ok(())
            }
            Fact::AgentState { tenant, agent, state, reason, was: _ } => {
                self.state(tenant, agent, *state, reason.clone())
            }
            Fact::CallbackRequested { .. } | Fact::CallbackAttempt { .. } | Fact::CallbackEnded { .. } => Ok(()),
        }
    }

    /// As if the callback were asked for at this moment only.
    pub fn comes_at(&mut self, call: CallId, now: Timestamp) {
        if let Some(story) = self.calls.get_mut(&call) {
            story.place = Some(now);
        }
    }

    fn live(&mut self, tenant: &TenantId, call: &CallId) -> Result<&mut CallStory, String> {
        match self.calls.get_mut(call) {
            Some(story) if story.tenant != *tenant => {
                Err(format!("{call} of {} is told of as {tenant}'s", story.tenant))
            }
            Some(story) if story.record.is_some() => Err(format!("exactly one end: {call} goes on after its end")),
            Some(story) => Ok(story),
            None => Err(format!("{call} is told of and never started")),
        }
    }

    fn offered(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        call: &CallId,
        offer: &OfferId,
        agent: &AgentName,
    ) -> Result<(), String> {
        let day = self.agents.entry((tenant.clone(), agent.clone())).or_default();
        ensure(day.offer.is_none(), || format!("one agent, one offer: {agent} is offered {call} and {:?}", day.offer))?;
        ensure(day.talk.is_none(), || format!("one agent, one offer: {agent} is offered {call} while talking"))?;
        ensure(day.wrapup.is_none(), || format!("one agent, one offer: {agent} is offered {call} in wrap-up"))?;
        ensure(day.state == AgentState::Offered, || format!("{agent} is offered {call} while {:?}", day.state))?;
        day.offer = Some(*call);
        let queue = self.calls.get(call).and_then(|story| Some((tenant.clone(), story.queue.clone()?)));
        let rings_all = queue.is_some_and(|queue| self.ring_all.contains(&queue));
        let story = self.live(tenant, call)?;
        let rings = rings_all && !story.offers.is_empty();
        ensure(story.waits || rings, || format!("{call} is offered to {agent} and does not wait"))?;
        ensure(story.offers.is_empty() || rings, || format!("one call, one winner: {call} is offered to two"))?;
        ensure(story.offers.len() < RING_ALL_MAX, || format!("{call} rings more than {RING_ALL_MAX} agents"))?;
        let last = story.missed.last().map_or(now, |(_, at)| *at);
        let missed_last = story.missed.iter().any(|(name, at)| name == agent && *at == last);
        ensure(!missed_last || now >= last + SKIP, || format!("not the same again: {agent} just missed {call}"))?;
        story.offers.insert(*offer, agent.clone());
        story.ringing.get_or_insert(now);
        story.offered.get_or_insert(now);
        story.waits = false;
        self.waiting.remove(call);
        Ok(())
    }

    fn offer_ended(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        call: &CallId,
        offer: &OfferId,
        agent: &AgentName,
        how: OfferEnd,
    ) -> Result<(), String> {
        self.offer_ends.insert(format!("{how:?}"));
        let day = self.agents.entry((tenant.clone(), agent.clone())).or_default();
        ensure(day.offer.take() == Some(*call), || format!("{agent}'s offer of {call} ends and was not made"))?;
        if matches!(how, OfferEnd::Rejected | OfferEnd::Timeout | OfferEnd::Failed) {
            day.failed.push(now);
        }
        let story = self.live(tenant, call)?;
        let Some(name) = story.offers.remove(offer) else {
            return Err(format!("an offer of {call} ends and there is none"));
        };
        ensure(name == *agent, || format!("the offer of {call} to {agent} ends as another"))?;
        if (story.offers.is_empty() || how == OfferEnd::Accepted)
            && let Some(since) = story.ringing.take()
        {
            story.ring += now.since(since);
        }
        // The phones that did not win are told after the answer.
        story.waits = how != OfferEnd::Accepted && story.offers.is_empty() && story.answered.is_none();
        if matches!(how, OfferEnd::Rejected | OfferEnd::Timeout | OfferEnd::Failed) {
            story.missed.push((agent.clone(), now));
            story.prefer.take_if(|first| first == agent);
        }
        let until = match how {
            // The answer that must follow at once.
            OfferEnd::Accepted => now,
            OfferEnd::Rejected | OfferEnd::Timeout | OfferEnd::Failed => now + SKIP,
            OfferEnd::Withdrawn => now,
        };
        if how == OfferEnd::Withdrawn {
            // Where it was for want of a port, nobody is rung for a moment.
            story.paused_until = now + PAUSE;
        }
        story.skipped.insert(agent.clone(), until);
        if story.waits && !story.dialing {
            self.waiting.insert(*call);
        }
        Ok(())
    }

    /// The customer of a callback is on the line: from here on they wait like any other caller.
    pub fn on_the_line(&mut self, call: CallId) {
        if let Some(story) = self.calls.get_mut(&call) {
            story.dialing = false;
            if story.waits {
                self.waiting.insert(call);
            }
        }
    }

    fn state(
        &mut self,
        tenant: &TenantId,
        agent: &AgentName,
        state: AgentState,
        reason: Option<String>,
    ) -> Result<(), String> {
        if matches!(state, AgentState::Break | AgentState::Offline) {
            // Who is away once is no longer waited for.
            for call in &self.waiting {
                if let Some(story) = self.calls.get_mut(call).filter(|story| story.tenant == *tenant) {
                    story.prefer.take_if(|first| first == agent);
                }
            }
        }
        let day = self.agents.entry((tenant.clone(), agent.clone())).or_default();
        let before = day.state;
        use AgentState::{Break, Offered, Offline, Ready, Talking, Wrapup};
        let may = match (before, state) {
            (Ready, Offered) | (Offered, Talking) | (Talking, Wrapup) => true,
            (_, Offered | Talking | Wrapup) => false,
            (Offered, Ready | Break | Offline) => day.offer.is_none(),
            (_, Ready | Break | Offline) => true,
        };
        ensure(may, || format!("{agent} goes from {before:?} to {state:?}"))?;
        if state == Wrapup {
            day.wrapup = day.talk;
        }
        if before == Talking {
            day.talk = None;
        }
        if before == Wrapup {
            // Its own fact may still wait for the call's record.
            day.wrapup = None;
        }
        (day.state, day.reason) = (state, reason);
        Ok(())
    }

    fn ended(&mut self, now: Timestamp, record: &CallRecord) -> Result<(), String> {
        let (id, restarted) = (record.id, self.restarted);
        let story = self.live(&record.tenant, &id)?;
        record::check_record(now, restarted, story, record)
            .map_err(|what| format!("{id} ({:?}): {what}", record.outcome))?;
        story.record = Some(Box::new(record.clone()));
        story.waits = false;
        self.waiting.remove(&id);
        let abandoned = matches!(record.outcome, Outcome::AbandonedQueue | Outcome::AbandonedRinging);
        if let Some(queue) = record.queue.clone().filter(|_| abandoned) {
            self.queues.entry((record.tenant.clone(), queue)).or_default().2 += 1;
        }
        Ok(())
    }

    /// After everything: nobody is left over, and every story is whole.
    pub fn close(&self) -> Result<(), String> {
        for (id, story) in &self.calls {
            ensure(story.record.is_some(), || format!("exactly one end: {id} has none"))?;
            ensure(story.offers.is_empty(), || format!("{id} is over and an agent still rings"))?;
            ensure(story.recording.is_none() || story.recording_over, || format!("the recording of {id} never ended"))?;
            let talked = story.answered.is_some();
            ensure(talked == story.wrapup_over, || format!("{id}: answered {talked}, wrap-up {}", story.wrapup_over))?;
        }
        for ((_, agent), day) in &self.agents {
            let free = day.offer.is_none() && day.talk.is_none() && day.wrapup.is_none();
            ensure(free, || format!("{agent} is still busy: {day:?}"))?;
        }
        Ok(())
    }
}
