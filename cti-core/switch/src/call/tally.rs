//! What a call must remember to be counted: one `QueueLeft` for each `Queued`, one `TalkEnded` for each `Answered`.

use cti_base::{AgentName, CallId, QueueName, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Talking;
use crate::engine::Engine;
use crate::fact::{Fact, Outcome, QueueLeave};
use crate::trace::{Destination, TraceEntry};

/// Of a live call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// The queue that counts the call as waiting.
    pub queue: Option<QueueEntry>,
    /// The queue whose limit has just passed it on.
    pub from: Option<QueueName>,
    /// Entries of its trace.
    pub traced: u32,
}

/// A queue, and since when a call is, or was, in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueEntry {
    pub queue: QueueName,
    pub entered_ms: u64,
    /// The queue that passed it on to this one.
    #[serde(default)]
    pub from: Option<QueueName>,
}

impl Engine {
    /// The queue counts the call from here on.
    pub(crate) fn count_entry(&mut self, now: Timestamp, id: CallId, queue: &QueueName, priority: i32) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (tenant, from) = (call.tenant.clone(), call.tally.from.take());
        call.tally.queue = Some(QueueEntry { queue: queue.clone(), entered_ms: now.as_millis(), from: from.clone() });
        self.fact(Fact::Queued { tenant, call: id, queue: queue.clone(), priority, from });
    }

    /// The queue that counts the call, if any, counts how it left.
    pub(crate) fn count_leave(&mut self, id: CallId, how: QueueLeave) -> Option<QueueEntry> {
        let call = self.calls.get_mut(&id)?;
        let entry = call.tally.queue.take()?;
        if matches!(how, QueueLeave::Overflowed { to: Destination::Queue(_), .. }) {
            call.tally.from = Some(entry.queue.clone());
        }
        let tenant = call.tenant.clone();
        self.queue_left(&tenant, id, &entry, how);
        Some(entry)
    }

    /// The fact of it, with what the queue is held against at this moment.
    pub(crate) fn queue_left(&mut self, tenant: &TenantId, call: CallId, entry: &QueueEntry, how: QueueLeave) {
        let decl = self.queue_decl(tenant, entry.queue.as_str());
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        let (target_ms, short_ms) =
            decl.map_or((0, 0), |decl| (ms(decl.service_level.seconds), ms(decl.short_abandon_s)));
        let (queue, entered_ms) = (entry.queue.clone(), entry.entered_ms);
        self.fact(Fact::QueueLeft { tenant: tenant.clone(), call, queue, entered_ms, how, target_ms, short_ms });
    }

    /// A limit of the queue, whose word is `why`, passes the call on.
    pub(crate) fn count_overflow(&mut self, now: Timestamp, id: CallId, why: &str, to: Destination) {
        let how = QueueLeave::Overflowed { why: why.to_owned(), to: to.clone() };
        if let Some(QueueEntry { queue, entered_ms, from: _ }) = self.count_leave(id, how) {
            let waited_ms = now.as_millis().saturating_sub(entered_ms);
            self.trace(now, id, TraceEntry::Overflowed { queue, why: why.to_owned(), to, waited_ms });
        }
    }

    /// The caller leaves the queue by their own wish.
    pub(crate) fn count_move(&mut self, now: Timestamp, id: CallId, to: Destination) {
        if let Some(entry) = self.count_leave(id, QueueLeave::Moved { to: to.clone() }) {
            let waited_ms = now.as_millis().saturating_sub(entry.entered_ms);
            self.trace(now, id, TraceEntry::Moved { queue: entry.queue, to, waited_ms });
        }
    }

    /// The call ends while a queue counts it.
    pub(crate) fn count_end(&mut self, id: CallId, outcome: Outcome) {
        let how = match outcome {
            Outcome::AbandonedQueue => QueueLeave::Abandoned { ringing: false },
            Outcome::AbandonedRinging => QueueLeave::Abandoned { ringing: true },
            outcome => QueueLeave::Ended { outcome },
        };
        self.count_leave(id, how);
    }

    /// The agent answers: what follows is counted for the queue that the call came from.
    pub(crate) fn count_answer(&mut self, id: CallId, agent: &AgentName) {
        let served = self.count_leave(id, QueueLeave::Answered { agent: agent.clone() });
        let Some(tenant) = self.calls.get(&id).map(|call| call.tenant.clone()) else { return };
        if let Some(agent) = self.agent_mut(&tenant, agent) {
            agent.served = served;
        }
    }

    /// `talking.hold` is whole already. What is counted is added to the call's own.
    pub(crate) fn count_talk(
        &mut self,
        now: Timestamp,
        call: &mut super::Call,
        talking: &Talking,
        held_since: Option<Timestamp>,
    ) {
        // An outside number's talk is nobody's here.
        let Some(agent) = talking.agent.clone() else { return };
        let served = self.agent(&call.tenant, &agent).and_then(|agent| agent.served.clone());
        let (queue, entered_ms) = served.map_or((None, None), |entry| (Some(entry.queue), Some(entry.entered_ms)));
        let answered = talking.since.or(call.answered);
        let (talk_ms, hold_ms) = talk_and_hold(now, answered, talking.hold);
        call.talk_ms += talk_ms;
        call.hold_ms += hold_ms;
        self.fact(Fact::TalkEnded {
            tenant: call.tenant.clone(),
            call: call.id,
            agent,
            queue,
            entered_ms,
            answered_ms: answered.unwrap_or(now).as_millis(),
            talk_ms,
            hold_ms,
            held_since_ms: held_since.map(Timestamp::as_millis),
        });
    }
}

/// Talk without hold, and hold, in milliseconds: together exactly from answer to end as the record shows both.
pub(crate) fn talk_and_hold(now: Timestamp, answered: Option<Timestamp>, hold: std::time::Duration) -> (u64, u64) {
    let hold_ms = hold.as_millis() as u64;
    let together_ms = answered.map_or(0, |answered| now.as_millis().saturating_sub(answered.as_millis()));
    (together_ms.saturating_sub(hold_ms), hold_ms)
}
