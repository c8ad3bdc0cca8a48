//! The switch's figures, as `cti_switch::figures` folds them, against sums made here from the plainest facts: entering a queue,
//! offers and their ends, answers, states, and the calls' own records. Of a fact that was made for the figures nothing is used.

use std::collections::BTreeMap;

use cti_base::{CallId, QueueName, TenantId, Timestamp};
use cti_switch::desk::AgentState;
use cti_switch::figures::{self, AgentFigures, CallFigures, INTERVAL_MS, QueueFigures, Sink, StateTimes};
use cti_switch::{Fact, OfferEnd, Outcome};

use crate::ledger::Agent;
use crate::media::ensure;

type Queue = (TenantId, QueueName);

/// Both sums, of a whole seed.
#[derive(Default)]
pub struct Figures {
    folded: Folded,
    reckoned: Reckoned,
}

/// What the fold says, by interval.
#[derive(Default)]
struct Folded {
    queues: BTreeMap<(Queue, u64), QueueFigures>,
    agents: BTreeMap<(Agent, u64), (AgentFigures, StateTimes)>,
    calls: BTreeMap<(TenantId, u64), CallFigures>,
}

/// What is counted here, over all.
#[derive(Default)]
struct Reckoned {
    queues: BTreeMap<Queue, QueueFigures>,
    agents: BTreeMap<Agent, AgentFigures>,
    /// Milliseconds on duty.
    staffed: BTreeMap<Agent, u64>,
    states: BTreeMap<Agent, (AgentState, u64)>,
    offered: BTreeMap<(CallId, cti_base::OfferId), u64>,
    /// The queue that a call is in, and since when; whom it was answered for.
    inside: BTreeMap<CallId, (Queue, u64)>,
    served: BTreeMap<CallId, Queue>,
    outcomes: BTreeMap<TenantId, CallFigures>,
}

impl Figures {
    pub fn fact(&mut self, now: Timestamp, fact: &Fact) {
        figures::fold(now, fact, &mut self.folded);
        self.reckoned.fact(now.as_millis(), fact);
    }

    /// At the end, with nobody left in any queue.
    pub fn check(&self) -> Result<(), String> {
        let mut queues: BTreeMap<Queue, QueueFigures> = BTreeMap::new();
        for ((queue, start), figures) in &self.folded.queues {
            ensure(figures.waiting() == 0 && figures.left() == figures.offered, || {
                format!("figures: {queue:?} from {start}: offered and what became of them differ: {figures:?}")
            })?;
            queues.entry(queue.clone()).or_default().add(figures);
        }
        for (queue, reckoned) in &self.reckoned.queues {
            // How long those stayed whom a limit passed on is nobody's plain fact.
            let mut folded = queues.remove(queue).unwrap_or_default();
            let (in_time, short) = (folded.answered_in_time, folded.abandoned_short);
            ensure(in_time <= folded.answered && short <= folded.abandoned(), || format!("figures: {folded:?}"))?;
            ensure(folded.wait_max_ms >= reckoned.wait_max_ms, || format!("figures: the longest wait of {queue:?}"))?;
            (folded.answered_in_time, folded.abandoned_in_time, folded.abandoned_short) = (0, 0, 0);
            folded.wait_max_ms = reckoned.wait_max_ms;
            // Who is said goodbye to has left by a limit, though the program may end the call before the goodbye is over.
            ensure(folded.ended <= reckoned.ended, || format!("figures of {queue:?}: {folded:?}, {reckoned:?}"))?;
            let goodbyes = reckoned.ended - folded.ended;
            (folded.ended, folded.overflowed_out) = (reckoned.ended, folded.overflowed_out.saturating_sub(goodbyes));
            ensure(folded == *reckoned, || format!("figures of {queue:?}: {folded:?}, by the calls {reckoned:?}"))?;
        }
        ensure(queues.is_empty(), || format!("figures of queues that nobody entered: {queues:?}"))?;
        self.check_agents()?;
        let mut calls: BTreeMap<TenantId, CallFigures> = BTreeMap::new();
        for ((tenant, _), figures) in &self.folded.calls {
            ensure(figures.calls == figures.ended, || format!("figures: calls are left over: {figures:?}"))?;
            calls.entry(tenant.clone()).or_default().add(figures);
        }
        let reckoned = &self.reckoned.outcomes;
        ensure(calls == *reckoned, || format!("figures of the calls: {calls:?}, by the records {reckoned:?}"))
    }

    fn check_agents(&self) -> Result<(), String> {
        let mut agents: BTreeMap<Agent, (AgentFigures, u64)> = BTreeMap::new();
        for ((agent, start), (figures, times)) in &self.folded.agents {
            ensure(times.staffed() <= INTERVAL_MS, || format!("figures: {agent:?} from {start}: {times:?}"))?;
            let hold = figures.hold_ms;
            ensure(hold <= times.of(AgentState::Talking), || format!("figures: {agent:?} holds longer than talks"))?;
            let sum = agents.entry(agent.clone()).or_default();
            sum.0.add(figures);
            sum.1 += times.staffed();
        }
        for (agent, (folded, staffed)) in agents {
            let reckoned = self.reckoned.agents.get(&agent).copied().unwrap_or_default();
            ensure(folded == reckoned, || format!("figures of {agent:?}: {folded:?}, by the facts {reckoned:?}"))?;
            let counted = self.reckoned.staffed.get(&agent).copied().unwrap_or_default();
            ensure(staffed == counted, || format!("figures: {agent:?} on duty {staffed} ms, by the states {counted}"))?;
        }
        Ok(())
    }
}

impl Reckoned {
    fn fact(&mut self, now_ms: u64, fact: &Fact) {
        match fact {
            Fact::Queued { tenant, call, queue, .. } => {
                let before = self.inside.get(call).map(|(queue, _)| queue.clone());
                self.leave(now_ms, *call, None);
                let queue = (tenant.clone(), queue.clone());
                let figures = self.queues.entry(queue.clone()).or_default();
                figures.offered += 1;
                figures.overflowed_in += u64::from(before.is_some());
                self.inside.insert(*call, (queue, now_ms));
            }
            Fact::NodeEntered { call, .. } => self.leave(now_ms, *call, None),
            Fact::Answered { call, .. } => {
                if let Some((queue, _)) = self.inside.get(call) {
                    self.served.insert(*call, queue.clone());
                }
                self.leave(now_ms, *call, Some(Outcome::Answered));
            }
            Fact::Offered { tenant, call, offer, agent } => {
                self.offered.insert((*call, *offer), now_ms);
                self.agents.entry((tenant.clone(), agent.clone())).or_default().offers += 1;
            }
            Fact::OfferEnded { tenant, call, offer, agent, how, .. } => {
                let since = self.offered.remove(&(*call, *offer)).unwrap_or(now_ms);
                let figures = self.agents.entry((tenant.clone(), agent.clone())).or_default();
                figures.ring_ms += now_ms - since;
                *match how {
                    OfferEnd::Accepted => &mut figures.answered,
                    OfferEnd::Rejected => &mut figures.rejected,
                    OfferEnd::Timeout => &mut figures.missed,
                    OfferEnd::Withdrawn => &mut figures.withdrawn,
                    OfferEnd::Failed => &mut figures.failed,
                } += 1;
            }
            Fact::AgentState { tenant, agent, state, .. } => {
                let agent = (tenant.clone(), agent.clone());
                let before = self.states.insert(agent.clone(), (*state, now_ms));
                let (was, since) = before.unwrap_or((AgentState::Offline, now_ms));
                if was != AgentState::Offline {
                    *self.staffed.entry(agent).or_default() += now_ms - since;
                }
            }
            Fact::WrapupEnded { call, wrapup_ms, .. } => {
                if let Some(queue) = self.served.get(call) {
                    self.queues.entry(queue.clone()).or_default().wrapup_ms += wrapup_ms;
                }
            }
            Fact::CallEnded { record } => self.ended(record),
            Fact::CallbackRequested { .. }
            | Fact::CallbackAttempt { .. }
            | Fact::CallbackEnded { .. }
            | Fact::CallStarted { .. }
            | Fact::QueueLeft { .. }
            | Fact::Held { .. }
            | Fact::TalkEnded { .. }
            | Fact::Transferred { .. }
            | Fact::Supervised { .. }
            | Fact::VoicemailLeft { .. }
            | Fact::RecordingStarted { .. }
            | Fact::RecordingEnded { .. }
            | Fact::Traced { .. } => {}
        }
    }

    fn ended(&mut self, record: &cti_switch::CallRecord) {
        self.leave(record.ended_ms, record.id, Some(record.outcome));
        if let Some(queue) = self.served.get(&record.id) {
            let figures = self.queues.entry(queue.clone()).or_default();
            figures.handled += 1;
            figures.talk_ms += record.talk_ms;
            figures.hold_ms += record.hold_ms;
        }
        if let Some(agent) = &record.agent {
            self.agents.entry((record.tenant.clone(), agent.clone())).or_default().hold_ms += record.hold_ms;
        }
        let all = self.outcomes.entry(record.tenant.clone()).or_default();
        (all.calls, all.ended) = (all.calls + 1, all.ended + 1);
        (all.talk_ms, all.hold_ms) = (all.talk_ms + record.talk_ms, all.hold_ms + record.hold_ms);
        *match record.outcome {
            Outcome::Answered => &mut all.answered,
            Outcome::AbandonedIvr => &mut all.abandoned_ivr,
            Outcome::AbandonedQueue => &mut all.abandoned_queue,
            Outcome::AbandonedRinging => &mut all.abandoned_ringing,
            Outcome::Overflowed => &mut all.overflowed,
            Outcome::Voicemail => &mut all.voicemail,
            Outcome::Callback => &mut all.callback,
            Outcome::CompletedIvr => &mut all.completed_ivr,
            Outcome::Rejected | Outcome::Failed | Outcome::Interrupted | Outcome::NoAnswer | Outcome::Busy => {
                &mut all.failed
            }
        } += 1;
    }

    /// The call is no longer in its queue: with an outcome, or passed on.
    fn leave(&mut self, now_ms: u64, call: CallId, outcome: Option<Outcome>) {
        let Some((queue, entered_ms)) = self.inside.remove(&call) else { return };
        let figures = self.queues.entry(queue).or_default();
        let wait_ms = now_ms - entered_ms;
        match outcome {
            Some(Outcome::Answered) => {
                figures.answered += 1;
                figures.wait_answered_ms += wait_ms;
                figures.wait_max_ms = figures.wait_max_ms.max(wait_ms);
            }
            Some(Outcome::AbandonedQueue | Outcome::AbandonedRinging) => {
                let ringing = outcome == Some(Outcome::AbandonedRinging);
                figures.abandoned_ringing += u64::from(ringing);
                figures.abandoned_waiting += u64::from(!ringing);
                figures.wait_abandoned_ms += wait_ms;
                figures.wait_max_ms = figures.wait_max_ms.max(wait_ms);
            }
            None | Some(Outcome::Overflowed | Outcome::Voicemail) => figures.overflowed_out += 1,
            Some(_) => figures.ended += 1,
        }
    }
}

impl Sink for Folded {
    fn queue(&mut self, tenant: &TenantId, queue: &QueueName, start_ms: u64, add: &QueueFigures) {
        self.queues.entry(((tenant.clone(), queue.clone()), start_ms)).or_default().add(add);
    }

    fn agent(&mut self, tenant: &TenantId, agent: &cti_base::AgentName, start_ms: u64, add: &AgentFigures) {
        self.agents.entry(((tenant.clone(), agent.clone()), start_ms)).or_default().0.add(add);
    }

    fn state(
        &mut self,
        tenant: &TenantId,
        agent: &cti_base::AgentName,
        start_ms: u64,
        state: (AgentState, Option<&str>),
        ms: u64,
    ) {
        self.agents.entry(((tenant.clone(), agent.clone()), start_ms)).or_default().1.add(state, ms);
    }

    fn calls(&mut self, tenant: &TenantId, start_ms: u64, add: &CallFigures) {
        self.calls.entry((tenant.clone(), start_ms)).or_default().add(add);
    }
}
