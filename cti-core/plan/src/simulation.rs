//! The switch's own ACD among drawn callers and agents who answer, talk and wrap up.
//!
//! **Call [`Simulation::next_ended`] until it gives `None`.** Same rules, load and seed: same calls, to the microsecond.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cti_acd::{Acd, Activity, Decision, Entered, Entry, Estimate, Left, LimitKind, Rules};
use cti_base::{AgentName, CallId, QueueName, Rng, Timestamp};

use crate::arrivals::{Caller, Stream};
use crate::desk::{Desk, Desks};
use crate::load::Load;
use crate::trace::{Event, Trace};

/// The midnight before the first day: some day, late enough that nothing comes before the epoch.
const MIDNIGHT: Timestamp = Timestamp::from_millis(10_000 * 86_400_000);
const DAY: Duration = Duration::from_secs(86_400);
/// Queues that pass a caller on, one after the other.
const MOVES_MAX: usize = 8;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    pub rules: Arc<Rules>,
    pub load: &'a Load,
    /// Where each queue's overflow rules lead, in their order; `None` (as for a queue that is not here): out of the queues.
    pub moves: BTreeMap<QueueName, Vec<Option<QueueName>>>,
    /// How long calls are counted for, after the warm-up.
    pub counted: Duration,
    pub seed: u64,
    pub broken: Broken,
}

/// A rule broken on purpose, so that a test can show that it would be noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broken {
    #[default]
    Nothing,
    /// The caller who came last is served first.
    NewestFirst,
    /// Agents stand idle for so long after each call.
    Idle(Duration),
}

/// One caller's story, from their own side.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Of the counted callers, from 0, in the order in which they came; `None`: not counted.
    pub number: Option<u64>,
    pub arrived: Timestamp,
    /// The queue that they came to.
    pub queue: QueueName,
    /// Until answered or gone.
    pub wait: Duration,
    pub outcome: Outcome,
    /// Drawn, whether they were answered or not: talk and wrap-up.
    pub handling: Duration,
    pub patience: Option<Duration>,
    /// What they were told on entering, where they had to wait; the first queue's.
    pub told: Option<Estimate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    Abandoned,
    /// Passed on by a limit to somewhere that is no queue.
    Overflowed(LimitKind),
}

/// Agents' time within the counted time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentTime {
    /// Talk and wrap-up.
    pub busy: Duration,
    /// Signed in.
    pub staffed: Duration,
}

pub struct Simulation<'a> {
    setting: Setting<'a>,
    acd: Acd,
    now: Timestamp,
    /// Calls that arrive in this time are counted.
    from: Timestamp,
    to: Timestamp,
    streams: Vec<Stream<'a>>,
    desks: Desks,
    events: BTreeMap<(Timestamp, u64), Due>,
    event_seq: u64,
    calls: BTreeMap<CallId, Call>,
    ended: Vec<Ended>,
    arrived: u64,
    counted: u64,
    counted_open: u64,
    /// Draws of phones, and ids.
    rng: Rng,
    trace: Option<Trace>,
}

/// A caller who waits or is being offered.
struct Call {
    number: Option<u64>,
    first: QueueName,
    caller: Caller,
    ringing: Vec<usize>,
    since: Timestamp,
    order: u64,
    told: Option<Estimate>,
    moves: usize,
}

enum Due {
    Arrives(usize, Caller),
    GivesUp(CallId),
    Answers(CallId, usize),
    Misses(CallId, usize),
    TalkEnds(usize),
    WrapupEnds(usize),
    /// Of [`Broken::Idle`].
    Wakes(usize),
    Shift,
}

impl<'a> Simulation<'a> {
    /// The load must have passed [`Load::check`] with these rules.
    pub fn new(setting: Setting<'a>) -> Self {
        let load = setting.load;
        let warm_up = load.warm_up();
        let before = DAY * (load.warm_up_s / DAY.as_secs() as u32 + 1);
        let from = MIDNIGHT + before + Duration::from_secs(load.start.0.into());
        let begin = from - warm_up;
        let mut rng = Rng::from_number(setting.seed);
        let mut acd = Acd::with_seed(rng.next_u64());
        acd.configure(begin, setting.rules.clone());
        let streams = load.arrivals.iter();
        let streams = streams.map(|of| Stream::new(of, MIDNIGHT, begin, Rng::from_number(rng.next_u64()))).collect();
        let mut simulation = Self {
            desks: Desks::new(&setting.rules, (from, from + setting.counted), begin),
            to: from + setting.counted,
            setting,
            acd,
            now: begin,
            from,
            streams,
            events: BTreeMap::new(),
            event_seq: 0,
            calls: BTreeMap::new(),
            ended: Vec::new(),
            arrived: 0,
            counted: 0,
            counted_open: 0,
            rng,
            trace: None,
        };
        simulation.shift();
        (0..simulation.streams.len()).for_each(|stream| simulation.next_arrival(stream));
        simulation
    }

    /// Writes down what happens to the counted caller of this number.
    pub fn follow(&mut self, number: u64) {
        self.trace = Some(Trace::new(number));
    }

    /// The next caller who is done with waiting, in the order of that; `None` when every counted caller is.
    pub fn next_ended(&mut self) -> Option<Ended> {
        loop {
            if let Some(ended) = self.ended.pop() {
                return Some(ended);
            }
            if self.now >= self.to && self.counted_open == 0 {
                return None;
            }
            self.step()?;
        }
    }

    /// The part of the counted time that is over, 0 to 1.
    pub fn progress(&self) -> f64 {
        (self.now.since(self.from).as_secs_f64() / self.setting.counted.as_secs_f64()).min(1.0)
    }

    pub fn agent_time(&self) -> AgentTime {
        self.desks.time(self.now)
    }

    pub fn into_trace(self) -> Option<Trace> {
        self.trace
    }

    /// The figures that the ACD itself keeps.
    pub fn acd(&self) -> &Acd {
        &self.acd
    }

    /// One event, or one deadline of the ACD's, whichever is first. `None`: nothing will ever happen.
    fn step(&mut self) -> Option<()> {
        let next = self.events.first_key_value().map(|((at, _), _)| *at);
        match self.acd.deadline() {
            Some(at) if next.is_none_or(|next| at <= next) => {
                self.now = self.now.max(at);
                self.acd.handle_deadline(self.now);
            }
            Some(_) | None => {
                let ((at, _), due) = self.events.pop_first()?;
                self.now = at;
                self.happens(due);
            }
        }
        self.carry_out();
        Some(())
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Arrives(stream, caller) => {
                self.next_arrival(stream);
                self.arrives(caller);
            }
            Due::GivesUp(id) => {
                if self.calls.contains_key(&id) {
                    self.leaves(id, Left::Abandoned);
                    self.end(id, Outcome::Abandoned);
                }
            }
            Due::Answers(id, desk) => {
                if self.desks.rings_for(desk, id) {
                    self.answers(id, desk);
                }
            }
            Due::Misses(id, desk) => {
                if self.desks.rings_for(desk, id) {
                    let name = self.desks.name(desk).clone();
                    self.note(id, || Event::Missed { agent: name.clone() });
                    self.desks.set(self.now, desk, Desk::Free);
                    self.acd.offer_ended(self.now, id, &name, true);
                    self.free(desk);
                }
            }
            Due::TalkEnds(desk) => self.talk_ends(desk),
            Due::WrapupEnds(desk) => self.wrapup_ends(desk),
            Due::Wakes(desk) => self.free(desk),
            Due::Shift => self.shift(),
        }
    }

    fn arrives(&mut self, caller: Caller) {
        let id = CallId::new(self.now, &mut self.rng);
        self.arrived += 1;
        let counted = self.from <= self.now && self.now < self.to;
        let number = counted.then_some(self.counted);
        self.counted += u64::from(counted);
        self.counted_open += u64::from(counted);
        let (queue, patience) = (caller.queue.clone(), caller.patience);
        let call = Call {
            number,
            first: queue.clone(),
            caller,
            ringing: Vec::new(),
            since: self.now,
            order: self.arrived,
            told: None,
            moves: 0,
        };
        self.calls.insert(id, call);
        self.note(id, || Event::Arrived { queue: queue.clone() });
        self.enter(id, queue);
        if let Some(patience) = patience
            && self.calls.contains_key(&id)
        {
            self.at(self.now + patience, Due::GivesUp(id));
        }
    }

    fn enter(&mut self, id: CallId, queue: QueueName) {
        let Some(call) = self.calls.get(&id) else { return };
        let mut entry = Entry::new(queue.clone(), call.since, self.now, call.order);
        entry.priority = call.caller.priority;
        if self.setting.broken == Broken::NewestFirst {
            entry.priority = entry.priority.saturating_add(i32::try_from(call.order).unwrap_or(i32::MAX));
        }
        match self.acd.enter(self.now, id, entry) {
            Entered::Waiting => {
                self.carry_out();
                self.tell(id);
            }
            Entered::Overflow { rule, why } => self.passed_on(id, rule, why),
            // The load was checked against the rules, and nobody here asks for one agent.
            Entered::NoSuchQueue | Entered::NoSuchAgent => self.end(id, Outcome::Overflowed(LimitKind::Gone)),
        }
    }

    /// What a caller who was not offered at once would be told.
    fn tell(&mut self, id: CallId) {
        let estimate = self.acd.estimate(self.now, id);
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.ringing.is_empty()) else { return };
        if call.moves == 0 {
            call.told = estimate;
        }
        if let Some(Estimate { wait, position, naive, estimator }) = estimate {
            let (wait_ms, naive_ms) = (wait.as_millis() as u64, naive.as_millis() as u64);
            self.note(id, || Event::Waits { position, wait_ms, naive_ms, estimator: estimator.to_owned() });
        }
    }

    /// Carries out what the ACD has decided, until it wants nothing more.
    fn carry_out(&mut self) {
        while let Some(decision) = self.acd.poll(self.now) {
            match decision {
                Decision::Offer { id, agents, queue, why } => {
                    self.note(id, || Event::Offered { agents: agents.clone(), queue: queue.clone(), why: why.clone() });
                    self.ring(id, &agents);
                }
                Decision::Limit { id, rule, why } => self.passed_on(id, rule, why),
                Decision::Relaxed { id, step, over, requires, queues } => {
                    self.note(id, || Event::Relaxed { step, over, requires: requires.clone(), queues: queues.clone() });
                }
                Decision::StickyOver { id, agent, .. } => self.note(id, || Event::StickyOver { agent: agent.clone() }),
            }
        }
    }

    fn ring(&mut self, id: CallId, agents: &[AgentName]) {
        for agent in agents {
            let Some(desk) = self.desks.find(agent) else { continue };
            self.desks.set(self.now, desk, Desk::Rings(id));
            if let Some(call) = self.calls.get_mut(&id) {
                call.ringing.push(desk);
            }
            let misses = self.setting.load.miss > 0.0 && self.rng.unit() < self.setting.load.miss;
            let rings = self.setting.load.ring.draw(&mut self.rng);
            let timeout = Duration::from_secs(self.setting.load.ring_timeout_s.into());
            if misses || rings > timeout {
                self.at(self.now + timeout, Due::Misses(id, desk));
            } else if rings.is_zero() && agents.len() == 1 {
                self.answers(id, desk);
            } else {
                self.at(self.now + rings, Due::Answers(id, desk));
            }
        }
    }

    fn answers(&mut self, id: CallId, desk: usize) {
        let Some(call) = self.calls.get(&id) else { return };
        let (talk, wrapup, queue) = (call.caller.talk, call.caller.wrapup, call.caller.queue.clone());
        let agent = self.desks.name(desk).clone();
        self.note(id, || Event::Answered { agent: agent.clone() });
        self.desks.set(self.now, desk, Desk::Talks { queue, talk, wrapup });
        self.leaves(id, Left::Answered { agent });
        self.at(self.now + talk, Due::TalkEnds(desk));
        self.end(id, Outcome::Answered);
    }

    fn talk_ends(&mut self, desk: usize) {
        let Desk::Talks { wrapup, .. } = *self.desks.state(desk) else { return };
        if wrapup.is_zero() {
            self.wrapup_ends(desk);
        } else {
            self.acd.set_agent(self.now, self.desks.name(desk), Activity::Wrapup, false, self.now);
            self.at(self.now + wrapup, Due::WrapupEnds(desk));
        }
    }

    fn wrapup_ends(&mut self, desk: usize) {
        let Desk::Talks { queue, talk, wrapup } = self.desks.state(desk).clone() else { return };
        self.acd.add_handled(self.now, self.desks.name(desk), Some(&queue), talk, wrapup);
        self.desks.set(self.now, desk, Desk::Free);
        match self.setting.broken {
            Broken::Idle(idle) => self.at(self.now + idle, Due::Wakes(desk)),
            Broken::Nothing | Broken::NewestFirst => self.free(desk),
        }
    }

    /// Phones that still ring for the caller fall silent.
    fn leaves(&mut self, id: CallId, how: Left) {
        let rang = self.calls.get_mut(&id).map(|call| std::mem::take(&mut call.ringing)).unwrap_or_default();
        self.acd.leave(self.now, id, how);
        for desk in rang {
            if self.desks.rings_for(desk, id) {
                self.desks.set(self.now, desk, Desk::Free);
                self.free(desk);
            }
        }
    }

    /// Who has nothing to do is ready, or goes home.
    fn free(&mut self, desk: usize) {
        let works = self.desks.works(desk);
        if *self.desks.state(desk) != Desk::Free && *self.desks.state(desk) != Desk::Home {
            return;
        }
        self.desks.set(self.now, desk, if works { Desk::Free } else { Desk::Home });
        let activity = if works { Activity::Ready } else { Activity::Offline };
        self.acd.set_agent(self.now, self.desks.name(desk), activity, works, self.now);
    }

    /// Who comes and who goes at this moment, and when that is to be asked next.
    fn shift(&mut self) {
        let second = (self.now.since(MIDNIGHT).as_secs() % DAY.as_secs()) as u32;
        let midnight =
            self.now - Duration::from_micros(self.now.since(MIDNIGHT).as_micros() as u64 % DAY.as_micros() as u64);
        for desk in self.desks.shift(&self.setting.load.staff, second) {
            self.free(desk);
        }
        let bounds: BTreeSet<u32> =
            self.setting.load.staff.iter().flat_map(|staff| [staff.from.0, staff.to.0]).collect();
        let next = bounds.iter().find(|at| **at > second).copied();
        let next = next.or_else(|| bounds.first().map(|at| at + DAY.as_secs() as u32));
        if let Some(next) = next {
            self.at(midnight + Duration::from_secs(next.into()), Due::Shift);
        }
    }

    fn passed_on(&mut self, id: CallId, rule: Option<usize>, why: LimitKind) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let to = rule.and_then(|rule| self.setting.moves.get(&call.caller.queue)?.get(rule)?.clone());
        let to = to.filter(|_| call.moves < MOVES_MAX);
        call.moves += 1;
        self.note(id, || Event::PassedOn { why, to: to.clone() });
        match to {
            Some(queue) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.caller.queue = queue.clone();
                }
                self.enter(id, queue);
            }
            None => {
                self.acd.leave(self.now, id, Left::Moved);
                self.end(id, Outcome::Overflowed(why));
            }
        }
    }

    fn end(&mut self, id: CallId, outcome: Outcome) {
        if outcome == Outcome::Abandoned {
            self.note(id, || Event::Abandoned);
        }
        let Some(Call { number, first, caller, since, told, .. }) = self.calls.remove(&id) else { return };
        self.counted_open -= u64::from(number.is_some());
        self.ended.push(Ended {
            number,
            arrived: since,
            queue: first,
            wait: self.now.since(since),
            outcome,
            handling: caller.talk + caller.wrapup,
            patience: caller.patience,
            told,
        });
    }

    fn next_arrival(&mut self, stream: usize) {
        if let Some(caller) = self.streams[stream].next() {
            self.at(caller.at, Due::Arrives(stream, caller));
        }
    }

    fn at(&mut self, at: Timestamp, due: Due) {
        self.event_seq += 1;
        self.events.insert((at, self.event_seq), due);
    }

    fn note(&mut self, id: CallId, event: impl Fn() -> Event) {
        let Some(trace) = &mut self.trace else { return };
        if self.calls.get(&id).is_some_and(|call| call.number == Some(trace.number)) {
            trace.push(self.now.since(MIDNIGHT).as_millis() as u64, event());
        }
    }
}
