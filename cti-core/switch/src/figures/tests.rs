//! Random streams of facts, as a switch would tell them: whatever comes, the sums over intervals are the day's and the calls'.

use std::collections::BTreeMap;

use cti_base::{AgentName, CallId, OfferId, Pii, QueueName, Rng, TenantId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::desk::Direction;
use crate::fact::{Fact, OfferEnd, QueueLeave, StateSpan};
use crate::trace::Destination;

const TARGET_MS: u64 = 20_000;
const SHORT_MS: u64 = 5_000;
const QUEUES: [&str; 2] = ["repair", "general"];
const AGENTS: usize = 4;
/// Shanghai's midnight between two days of the stream.
const MIDNIGHT_MS: u64 = 1_800_028_800_000;

/// What a switch knows of one call and one agent, to tell facts that fit.
struct Waiting {
    call: CallId,
    queue: usize,
    entered: u64,
    agent: Option<(usize, OfferId, u64)>,
}

struct Talk {
    call: CallId,
    agent: usize,
    queue: usize,
    entered: u64,
    answered: u64,
    held: Option<u64>,
    hold_ms: u64,
}

#[derive(Default)]
struct Truth {
    queues: [QueueFigures; 2],
    agents: [AgentFigures; AGENTS],
    talking_ms: [u64; AGENTS],
}

struct Switch {
    now: u64,
    rng: Rng,
    facts: Vec<(Timestamp, Fact)>,
    waiting: Vec<Waiting>,
    talks: Vec<Talk>,
    states: [(AgentState, u64); AGENTS],
    truth: Truth,
}

fn tenant() -> TenantId {
    "acme".into()
}

fn agent_name(n: usize) -> AgentName {
    format!("100{n}").into()
}

impl Switch {
    fn new(from_ms: u64) -> Self {
        Self {
            now: from_ms,
            rng: Rng::from_number(1),
            facts: Vec::new(),
            waiting: Vec::new(),
            talks: Vec::new(),
            states: [(AgentState::Offline, from_ms); AGENTS],
            truth: Truth::default(),
        }
    }

    fn tell(&mut self, fact: Fact) {
        self.facts.push((Timestamp::from_millis(self.now), fact));
    }

    fn state(&mut self, n: usize, state: AgentState) {
        let (was, since_ms) = std::mem::replace(&mut self.states[n], (state, self.now));
        if was == AgentState::Talking {
            self.truth.talking_ms[n] += self.now - since_ms;
        }
        let was = Some(StateSpan { state: was, reason: None, since_ms });
        let reason = (state == AgentState::Break).then(|| "meal".to_owned());
        self.tell(Fact::AgentState { tenant: tenant(), agent: agent_name(n), state, reason, was });
    }

    fn step(&mut self, what: u8, pick: usize, passed_ms: u64) {
        self.now += passed_ms;
        match what {
            0..=2 => self.arrive(pick),
            3..=4 => self.offer(pick),
            5..=6 if !self.waiting.is_empty() => self.answer_or_not(pick),
            7 if !self.waiting.is_empty() => self.leave(pick),
            8 if !self.talks.is_empty() => self.hold(pick),
            9 if !self.talks.is_empty() => self.end(pick),
            _ => {
                let n = pick % AGENTS;
                let next = match self.states[n].0 {
                    AgentState::Offline | AgentState::Break => AgentState::Ready,
                    AgentState::Ready if pick.is_multiple_of(3) => AgentState::Offline,
                    AgentState::Ready => AgentState::Break,
                    AgentState::Wrapup => AgentState::Ready,
                    AgentState::Offered | AgentState::Talking => return,
                };
                self.state(n, next);
            }
        }
    }

    fn arrive(&mut self, pick: usize) {
        let call = CallId::new(Timestamp::from_millis(self.now), &mut self.rng);
        let from = Pii::new(String::new());
        let direction = Direction::Inbound;
        self.tell(Fact::CallStarted { tenant: tenant(), call, direction, trunk: None, from, to: String::new() });
        self.enter(call, pick % 2, None);
    }

    fn enter(&mut self, call: CallId, queue: usize, from: Option<usize>) {
        self.truth.queues[queue].offered += 1;
        self.truth.queues[queue].overflowed_in += u64::from(from.is_some());
        let from = from.map(|from| QUEUES[from].into());
        self.tell(Fact::Queued { tenant: tenant(), call, queue: QUEUES[queue].into(), priority: 0, from });
        self.waiting.push(Waiting { call, queue, entered: self.now, agent: None });
    }

    fn left(&mut self, waiting: &Waiting, how: QueueLeave) {
        let (call, queue, entered_ms) = (waiting.call, QUEUES[waiting.queue].into(), waiting.entered);
        let (target_ms, short_ms) = (TARGET_MS, SHORT_MS);
        self.tell(Fact::QueueLeft { tenant: tenant(), call, queue, entered_ms, how, target_ms, short_ms });
    }

    fn offer(&mut self, pick: usize) {
        let Some(n) = (0..AGENTS).find(|n| self.states[*n].0 == AgentState::Ready) else { return };
        let free: Vec<usize> = (0..self.waiting.len()).filter(|i| self.waiting[*i].agent.is_none()).collect();
        let Some(index) = free.get(pick % free.len().max(1)).copied() else { return };
        let offer = OfferId::new(Timestamp::from_millis(self.now), &mut self.rng);
        self.waiting[index].agent = Some((n, offer, self.now));
        let call = self.waiting[index].call;
        self.truth.agents[n].offers += 1;
        self.state(n, AgentState::Offered);
        self.tell(Fact::Offered { tenant: tenant(), call, offer, agent: agent_name(n) });
    }

    fn end_offer(&mut self, waiting: &mut Waiting, how: OfferEnd) -> Option<usize> {
        let (n, offer, since) = waiting.agent.take()?;
        let truth = &mut self.truth.agents[n];
        truth.ring_ms += self.now - since;
        match how {
            OfferEnd::Accepted => truth.answered += 1,
            OfferEnd::Rejected => truth.rejected += 1,
            OfferEnd::Timeout => truth.missed += 1,
            OfferEnd::Withdrawn => truth.withdrawn += 1,
            OfferEnd::Failed => truth.failed += 1,
        }
        let (call, agent, offered_ms) = (waiting.call, agent_name(n), Some(since));
        self.tell(Fact::OfferEnded { tenant: tenant(), call, offer, agent, how, offered_ms });
        Some(n)
    }

    fn answer_or_not(&mut self, pick: usize) {
        let index = pick % self.waiting.len();
        if self.waiting[index].agent.is_none() {
            return;
        }
        let mut waiting = self.waiting.swap_remove(index);
        if pick.is_multiple_of(4) {
            let how = if pick.is_multiple_of(8) { OfferEnd::Timeout } else { OfferEnd::Rejected };
            if let Some(n) = self.end_offer(&mut waiting, how) {
                self.state(n, AgentState::Ready);
            }
            self.waiting.push(waiting);
            return;
        }
        let Some(n) = self.end_offer(&mut waiting, OfferEnd::Accepted) else { return };
        self.left(&waiting, QueueLeave::Answered { agent: agent_name(n) });
        let truth = &mut self.truth.queues[waiting.queue];
        let wait_ms = self.now - waiting.entered;
        truth.answered += 1;
        truth.answered_in_time += u64::from(wait_ms <= TARGET_MS);
        truth.wait_answered_ms += wait_ms;
        truth.wait_max_ms = truth.wait_max_ms.max(wait_ms);
        let Waiting { call, queue, entered, .. } = waiting;
        self.talks.push(Talk { call, agent: n, queue, entered, answered: self.now, held: None, hold_ms: 0 });
        self.state(n, AgentState::Talking);
    }

    fn leave(&mut self, pick: usize) {
        let mut waiting = self.waiting.swap_remove(pick % self.waiting.len());
        let ringing = waiting.agent.is_some();
        if let Some(n) = self.end_offer(&mut waiting, OfferEnd::Withdrawn) {
            self.state(n, AgentState::Ready);
        }
        let wait_ms = self.now - waiting.entered;
        let overflows = pick.is_multiple_of(3);
        let other = 1 - waiting.queue;
        let truth = &mut self.truth.queues[waiting.queue];
        truth.wait_max_ms = truth.wait_max_ms.max(wait_ms);
        if overflows {
            truth.overflowed_out += 1;
            let to = Destination::Queue(QUEUES[other].into());
            self.left(&waiting, QueueLeave::Overflowed { why: "after_s".into(), to });
            self.enter(waiting.call, other, Some(waiting.queue));
        } else {
            truth.abandoned_ringing += u64::from(ringing);
            truth.abandoned_waiting += u64::from(!ringing);
            truth.abandoned_in_time += u64::from(wait_ms <= TARGET_MS);
            truth.abandoned_short += u64::from(wait_ms < SHORT_MS);
            truth.wait_abandoned_ms += wait_ms;
            self.left(&waiting, QueueLeave::Abandoned { ringing });
        }
    }

    fn hold(&mut self, pick: usize) {
        let index = pick % self.talks.len();
        let (now, talk) = (self.now, &mut self.talks[index]);
        let since_ms = talk.held.take();
        match since_ms {
            Some(since) => talk.hold_ms += now - since,
            None => talk.held = Some(now),
        }
        let (call, agent) = (talk.call, Some(agent_name(talk.agent)));
        self.tell(Fact::Held { tenant: tenant(), call, held: since_ms.is_none(), agent, since_ms });
    }

    fn end(&mut self, pick: usize) {
        let mut talk = self.talks.swap_remove(pick % self.talks.len());
        let held_since_ms = talk.held.take();
        talk.hold_ms += held_since_ms.map_or(0, |since| self.now - since);
        let talk_ms = self.now - talk.answered - talk.hold_ms;
        let wrapup_ms = (pick as u64) * 997;
        let truth = &mut self.truth.queues[talk.queue];
        (truth.handled, truth.talk_ms) = (truth.handled + 1, truth.talk_ms + talk_ms);
        (truth.hold_ms, truth.wrapup_ms) = (truth.hold_ms + talk.hold_ms, truth.wrapup_ms + wrapup_ms);
        self.truth.agents[talk.agent].hold_ms += talk.hold_ms;
        let (queue, entered_ms) = (Some(QueueName::from(QUEUES[talk.queue])), Some(talk.entered));
        self.tell(Fact::TalkEnded {
            tenant: tenant(),
            call: talk.call,
            agent: agent_name(talk.agent),
            queue: queue.clone(),
            entered_ms,
            answered_ms: talk.answered,
            talk_ms,
            hold_ms: talk.hold_ms,
            held_since_ms,
        });
        self.state(talk.agent, AgentState::Wrapup);
        let (call, agent, disposition) = (talk.call, agent_name(talk.agent), None);
        self.tell(Fact::WrapupEnded { tenant: tenant(), call, agent, wrapup_ms, disposition, queue, entered_ms });
    }

    /// Everyone goes.
    fn close(&mut self) {
        while !self.waiting.is_empty() {
            self.leave(1);
        }
        while !self.talks.is_empty() {
            self.end(0);
        }
        for n in 0..AGENTS {
            if self.states[n].0 != AgentState::Offline {
                self.state(n, AgentState::Offline);
            }
        }
    }
}

#[derive(Default)]
struct Intervals {
    queues: BTreeMap<(QueueName, u64), QueueFigures>,
    agents: BTreeMap<(AgentName, u64), AgentToday>,
}

impl Sink for Intervals {
    fn queue(&mut self, _: &TenantId, queue: &QueueName, start_ms: u64, add: &QueueFigures) {
        self.queues.entry((queue.clone(), start_ms)).or_default().add(add);
    }

    fn agent(&mut self, _: &TenantId, agent: &AgentName, start_ms: u64, add: &AgentFigures) {
        self.agents.entry((agent.clone(), start_ms)).or_default().figures.add(add);
    }

    fn state(&mut self, _: &TenantId, agent: &AgentName, start_ms: u64, state: (AgentState, Option<&str>), ms: u64) {
        self.agents.entry((agent.clone(), start_ms)).or_default().times.add(state, ms);
    }

    fn calls(&mut self, _: &TenantId, _: u64, _: &CallFigures) {}
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, u64)>> {
    let passed = prop_oneof![3 => 0u64..8_000, 2 => 8_000u64..60_000, 1 => 60_000u64..4_000_000];
    prop::collection::vec((0u8..12, 0usize..1_000, passed), 1..300)
}

fn run(from_ms: u64, steps: Vec<(u8, usize, u64)>) -> Switch {
    let mut switch = Switch::new(from_ms);
    for (what, pick, passed_ms) in steps {
        switch.step(what, pick, passed_ms);
    }
    switch
}

proptest! {
    #[test]
    fn intervals_add_up_to_what_happened(steps in steps()) {
        let mut switch = run(MIDNIGHT_MS, steps);
        switch.close();
        let mut intervals = Intervals::default();
        for (at, fact) in &switch.facts {
            fold(*at, fact, &mut intervals);
            prop_assert!(counts(fact) != matches!(fact, Fact::Held { since_ms: None, .. }), "{:?}", fact);
        }
        for (n, name) in QUEUES.iter().enumerate() {
            let mut sum = QueueFigures::default();
            for (_, figures) in intervals.queues.iter().filter(|((queue, _), _)| queue.as_str() == *name) {
                prop_assert_eq!((figures.left(), figures.waiting()), (figures.offered, 0), "{}: {:?}", name, figures);
                prop_assert!(figures.levels().of_offered.is_none_or(|level| level <= 1.0));
                sum.add(figures);
            }
            prop_assert_eq!(sum, switch.truth.queues[n]);
        }
        for n in 0..AGENTS {
            let (mut sum, mut times) = (AgentFigures::default(), StateTimes::default());
            for (_, interval) in intervals.agents.iter().filter(|((agent, _), _)| *agent == agent_name(n)) {
                prop_assert!(interval.times.staffed() <= INTERVAL_MS);
                sum.add(&interval.figures);
                times.add_all(&interval.times);
            }
            prop_assert_eq!(sum, switch.truth.agents[n]);
            prop_assert_eq!(times.of(AgentState::Talking), switch.truth.talking_ms[n]);
            let by_state: u64 = times.iter().map(|(_, _, ms)| ms).sum();
            prop_assert_eq!(by_state, times.staffed());
            prop_assert_eq!(times.breaks().values().sum::<u64>(), times.of(AgentState::Break));
        }
    }

    /// With callers still waiting, and over a midnight: what is shown live is the sum of the day's intervals.
    #[test]
    fn the_day_is_the_sum_of_its_intervals(steps in steps(), before_ms in 0u64..3_600_000) {
        let switch = run(MIDNIGHT_MS - before_ms, steps);
        let zone = chrono_tz::Asia::Shanghai;
        let (mut today, mut intervals) = (Today::default(), Intervals::default());
        for (at, fact) in &switch.facts {
            today.take(*at, zone, fact);
            fold(*at, fact, &mut intervals);
        }
        let Some((last, _)) = switch.facts.last() else { return Ok(()) };
        let (from_ms, _) = crate::hours::day_of(*last, zone);
        for name in QUEUES {
            let mut sum = QueueFigures::default();
            let of_day = |((queue, start), _): &(&(QueueName, u64), _)| queue.as_str() == name && *start >= from_ms;
            intervals.queues.iter().filter(of_day).for_each(|(_, figures)| sum.add(figures));
            prop_assert_eq!(today.queue(*last, &name.into()), sum);
            let entered = |w: &&Waiting| QUEUES[w.queue] == name && w.entered >= from_ms;
            prop_assert_eq!(sum.waiting(), switch.waiting.iter().filter(entered).count() as u64);
        }
        for n in 0..AGENTS {
            let mut sum = AgentToday::default();
            let name = agent_name(n);
            for (_, interval) in intervals.agents.iter().filter(|((a, start), _)| *a == name && *start >= from_ms) {
                sum.figures.add(&interval.figures);
                sum.times.add_all(&interval.times);
            }
            prop_assert_eq!(today.agent(*last, &name), sum);
        }
    }
}

#[test]
fn a_span_is_divided_at_the_quarters() {
    let of = |from, to| by_interval(from, to).collect::<Vec<_>>();
    let quarter = INTERVAL_MS;
    assert_eq!(of(5, 5), []);
    assert_eq!(of(quarter - 1, 2 * quarter + 2), [(0, 1), (quarter, quarter), (2 * quarter, 2)]);
    assert_eq!(of(0, 2 * SPAN_MS_MAX).len() as u64, SPAN_MS_MAX / quarter, "only the last month counts");
}
