//! Random runs: the ACD, a twin that is written down and read back now and then, and the naive model beside them.

use std::sync::Arc;
use std::time::Duration;

use cti_acd::{
    Acd, Activity, AgentRules, Decision, Entered, Entry, Left, OrderRules, OverflowRule, QueueRules, RelaxStep, Rules,
    ServiceLevel, Strategy,
};
use cti_base::{AgentName, CallId, QueueName, Rng, Timestamp};
use proptest::prelude::*;

use crate::bench::at;
use crate::model::Model;

const SKILLS: [&str; 2] = ["german", "repair"];

fn queue(rng: &mut Rng) -> QueueName {
    QueueName::from(["east", "north", "south", "west"][rng.below(4) as usize])
}

fn agent(rng: &mut Rng) -> AgentName {
    AgentName::from(["ada", "ben", "cem", "dora", "emil", "fay", "gus"][rng.below(7) as usize])
}

fn one_in(rng: &mut Rng, many: u64) -> bool {
    rng.below(many) == 0
}

fn queue_rules(rng: &mut Rng) -> QueueRules {
    let strategies = [
        Strategy::LongestIdle,
        Strategy::RoundRobin,
        Strategy::LeastCalls,
        Strategy::LeastTalkTime,
        Strategy::TopDown,
        Strategy::Random,
        Strategy::RingAll,
        Strategy::BestSkill,
        Strategy::Scored,
    ];
    let mut rules = QueueRules {
        strategy: strategies[rng.below(9) as usize],
        priority: rng.below(3) as i32 / 2,
        weight: [1.0, 1.0, 2.5][rng.below(3) as usize],
        order: OrderRules {
            value_points: [("gold".to_owned(), 3)].into(),
            age_points_per_s: [0.0, 0.0, 0.25][rng.below(3) as usize],
            deadline: one_in(rng, 3),
        },
        sticky_s: [0, 7][rng.below(2) as usize],
        ring_all_max: 1 + rng.below(4) as u32,
        service_level: ServiceLevel { seconds: 5 + rng.below(20) as u32, percent: 80 },
        max_wait_s: 30 + rng.below(60) as u32,
        max_waiting: 3 + rng.below(10) as u32,
        ..QueueRules::default()
    };
    if one_in(rng, 2) {
        rules.requires.insert(SKILLS[0].to_owned(), 1 + rng.below(2) as u8);
    }
    for _ in 0..rng.below(3) {
        let after_s = rng.below(20) as u32;
        let mut step = RelaxStep { after_s, ..RelaxStep::default() };
        match rng.below(4) {
            0 => drop(step.requires.insert(SKILLS[rng.below(2) as usize].to_owned(), rng.below(2) as u8)),
            1 => step.drop.push(SKILLS[rng.below(2) as usize].to_owned()),
            _ => step.queues.push(queue(rng)),
        }
        step.until_s = one_in(rng, 2).then(|| after_s + 1 + rng.below(10) as u32);
        rules.relax.push(step);
    }
    for _ in 0..rng.below(2) {
        rules.borrow.push(queue(rng));
    }
    for _ in 0..rng.below(3) {
        rules.overflow.push(match rng.below(3) {
            0 => OverflowRule::AfterS(10 + rng.below(30) as u32),
            1 => OverflowRule::Waiting(1 + rng.below(6) as u32),
            _ => OverflowRule::NoStaff,
        });
    }
    rules
}

fn agent_rules(rng: &mut Rng) -> AgentRules {
    let mut rules = AgentRules { rank: rng.below(3) as u32, weight: 1.0 + rng.unit() * 3.0, ..AgentRules::default() };
    for _ in 0..1 + rng.below(3) {
        rules.queues.push(queue(rng));
    }
    for skill in SKILLS {
        let level = rng.below(4) as u8;
        if level > 0 {
            rules.skills.insert(skill.to_owned(), level);
        }
    }
    rules
}

fn change(rules: &mut Rules, rng: &mut Rng) {
    match rng.below(6) {
        0 => drop(rules.queues.insert(queue(rng), queue_rules(rng))),
        1 => drop(rules.agents.insert(agent(rng), agent_rules(rng))),
        2 => drop(rules.agents.remove(&agent(rng))),
        3 if one_in(rng, 3) => drop(rules.queues.remove(&queue(rng))),
        _ => {
            if let Some(rules) = rules.agents.get_mut(&agent(rng)) {
                *rules = agent_rules(rng);
            }
        }
    }
}

/// A lie about what was decided, which the model must find out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tamper {
    Nothing,
    /// A free agent rings who is not the first by the strategy.
    WorseAgent,
    /// A busy agent rings.
    BusyAgent,
    /// Somebody further back is offered.
    LaterCaller,
    /// An offer never comes.
    NoOffer,
    /// A step comes a second time.
    StepTwice,
    /// A step, a preference or a limit is not told.
    NoStep,
    NoStickyOver,
    NoLimit,
}

struct Run {
    acd: Acd,
    twin: Acd,
    model: Model,
    now: Timestamp,
    ids: Vec<CallId>,
    tamper: Tamper,
    made: usize,
}

fn restored(acd: &Acd, now: Timestamp, rules: &Rules) -> Acd {
    let bytes = rmp_serde::to_vec_named(acd).expect("it is written down");
    let mut back: Acd = rmp_serde::from_slice(&bytes).expect("its own bytes");
    back.configure(now, Arc::new(rules.clone()));
    assert_eq!(rmp_serde::to_vec_named(&back).expect("it is written down"), bytes, "read back, it is what it was");
    back
}

impl Run {
    fn new(seed: u64, tamper: Tamper) -> Self {
        let mut rng = Rng::from_number(seed);
        let mut rules = Rules::default();
        for name in ["east", "north", "south", "west"] {
            rules.queues.insert(QueueName::from(name), queue_rules(&mut rng));
        }
        for name in ["ada", "ben", "cem", "dora", "emil", "fay", "gus"] {
            rules.agents.insert(AgentName::from(name), agent_rules(&mut rng));
        }
        let now = at(rng.below(1_000) as f64);
        let (mut acd, mut model) = (Acd::with_seed(seed), Model::default());
        acd.configure(now, Arc::new(rules.clone()));
        model.configure(rules.clone());
        let twin = restored(&acd, now, &rules);
        Self { acd, twin, model, now, ids: Vec::new(), tamper, made: 0 }
    }

    /// The same for both, and what comes out.
    fn both(&mut self, change: impl Fn(&mut Acd)) -> Result<(), String> {
        change(&mut self.acd);
        change(&mut self.twin);
        self.drain()
    }

    fn drain(&mut self) -> Result<(), String> {
        let now = self.now;
        while let Some(decision) = self.acd.poll(now) {
            let other = self.twin.poll(now);
            if other.as_ref() != Some(&decision) {
                return Err(format!("read back it decides {other:?}, not {decision:?}"));
            }
            self.made += 1;
            for told in self.tampered(decision) {
                self.model.decided(now, &told).map_err(|error| format!("{error}, at {told:?}"))?;
            }
        }
        if let Some(other) = self.twin.poll(now) {
            return Err(format!("read back it decides {other:?} as well"));
        }
        if self.acd.deadline() != self.twin.deadline() {
            return Err(format!("read back it looks up at {:?}, not {:?}", self.twin.deadline(), self.acd.deadline()));
        }
        self.acd.check_invariants(now)?;
        self.model.check_drained(now)?;
        for id in self.model.waiters.iter().filter(|waiter| waiter.entry.direct.is_none()).map(|waiter| waiter.id) {
            let (told, expect) = (self.acd.position(id), self.model.position(id));
            if told != expect {
                return Err(format!("{id} stands at {told:?}, not {expect:?}"));
            }
        }
        Ok(())
    }

    fn tampered(&self, decision: Decision) -> Vec<Decision> {
        let free = |name: &AgentName| self.acd.is_ready(name);
        match (self.tamper, decision) {
            (Tamper::WorseAgent, Decision::Offer { id, agents, queue, why }) => {
                let mut others = self.model.agents.iter().map(|agent| &agent.name);
                let other = others.rfind(|name| free(name)).cloned();
                vec![Decision::Offer { id, agents: other.map_or(agents, |other| vec![other]), queue, why }]
            }
            (Tamper::BusyAgent, Decision::Offer { id, agents, queue, why }) => {
                let busy = self.model.agents.iter().find(|agent| agent.offer.is_some()).map(|agent| agent.name.clone());
                vec![Decision::Offer { id, agents: busy.map_or(agents, |busy| vec![busy]), queue, why }]
            }
            (Tamper::LaterCaller, Decision::Offer { id, agents, queue, why }) => {
                let same = |waiter: &&crate::model::MWaiter| waiter.entry.queue == queue && waiter.id != id;
                let other = self.model.waiters.iter().filter(same).map(|waiter| waiter.id).next_back();
                vec![Decision::Offer { id: other.unwrap_or(id), agents, queue, why }]
            }
            (Tamper::StepTwice, decision @ Decision::Relaxed { .. }) => vec![decision.clone(), decision],
            (Tamper::NoOffer, Decision::Offer { .. })
            | (Tamper::NoStep, Decision::Relaxed { .. })
            | (Tamper::NoStickyOver, Decision::StickyOver { .. })
            | (Tamper::NoLimit, Decision::Limit { .. }) => Vec::new(),
            (_, decision) => vec![decision],
        }
    }

    fn to(&mut self, now: Timestamp) -> Result<(), String> {
        while let Some(due) = self.acd.deadline().filter(|due| *due <= now) {
            self.now = due.max(self.now);
            self.model.tick(self.now);
            let due = self.now;
            self.both(|acd| acd.handle_deadline(due))?;
        }
        self.now = now;
        self.model.tick(now);
        Ok(())
    }

    fn enter(&mut self, rng: &mut Rng) -> Result<(), String> {
        let now = self.now;
        let id = CallId::new(now, rng);
        let mut entry = Entry::new(queue(rng), now - Duration::from_secs(rng.below(4) * 10), now, self.model.number);
        entry.priority = rng.below(4) as i32 / 3;
        if one_in(rng, 4) {
            entry.requires.insert(SKILLS[rng.below(2) as usize].to_owned(), 1 + rng.below(3) as u8);
        }
        entry.value = one_in(rng, 4).then(|| "gold".to_owned());
        entry.prefer = one_in(rng, 4).then(|| agent(rng));
        entry.direct = one_in(rng, 8).then(|| agent(rng));
        for _ in 0..rng.below(5) / 4 {
            entry.also.push(queue(rng));
        }
        if one_in(rng, 3) {
            entry.related.push(agent(rng));
        }
        let entered = self.acd.enter(now, id, entry.clone());
        if self.twin.enter(now, id, entry.clone()) != entered {
            return Err("read back it answers otherwise".to_owned());
        }
        let known = self.model.rules.queues.contains_key(&entry.queue);
        let has_agent = entry.direct.as_ref().is_none_or(|name| self.model.rules.agents.contains_key(name));
        self.model.enter(now, id, entry);
        let expect = match self.model.limit_on_entry(now, id) {
            _ if !known => Entered::NoSuchQueue,
            _ if !has_agent => Entered::NoSuchAgent,
            Some((rule, why)) => Entered::Overflow { rule, why },
            None => Entered::Waiting,
        };
        if entered != expect {
            return Err(format!("{id} enters: {entered:?}, not {expect:?}"));
        }
        if entered == Entered::Waiting {
            self.ids.push(id);
        } else {
            self.model.waiters.retain(|waiter| waiter.id != id);
        }
        self.drain()
    }

    /// Somebody who waits and is offered or not.
    fn caller(&self, rng: &mut Rng, offered: bool) -> Option<(CallId, Option<AgentName>)> {
        let found: Vec<_> = self.model.waiters.iter().filter(|waiter| waiter.offers.is_empty() != offered).collect();
        let waiter = found.get(rng.below(found.len() as u64) as usize)?;
        let agent = waiter.offers.get(rng.below(waiter.offers.len() as u64) as usize).cloned();
        Some((waiter.id, agent))
    }

    fn set(&mut self, name: &AgentName, activity: Activity, offerable: bool, idle: Timestamp) -> Result<(), String> {
        let now = self.now;
        if let Some(agent) = self.model.agent(name) {
            (agent.activity, agent.offerable, agent.idle_since) = (activity, offerable, idle);
        }
        self.both(|acd| acd.set_agent(now, name, activity, offerable, idle))
    }

    fn leave(&mut self, id: CallId, how: &Left) -> Result<(), String> {
        let now = self.now;
        self.model.leave(now, id, how);
        self.both(|acd| acd.leave(now, id, how.clone()))
    }

    fn step(&mut self, what: u8, number: u64) -> Result<(), String> {
        let rng = &mut Rng::from_number(number);
        self.to(self.now + Duration::from_millis(rng.below(6) * rng.below(400)))?;
        let now = self.now;
        match what {
            0..=5 => self.enter(rng),
            6..=11 => {
                // As the switch does it: who rings or talks for a caller is not taken away from them by a change of state.
                let name = agent(rng);
                let busy = self.model.agent(&name).is_some_and(|agent| agent.offer.is_some());
                let activity = match rng.below(10) {
                    0 => Activity::Offline,
                    1 => Activity::Break,
                    2 => Activity::Wrapup,
                    _ => Activity::Ready,
                };
                let offerable = activity == Activity::Ready && !one_in(rng, 8);
                let idle = now - Duration::from_secs(rng.below(5));
                if busy && !one_in(rng, 4) { Ok(()) } else { self.set(&name, activity, offerable, idle) }
            }
            12..=14 => {
                let Some((id, Some(name))) = self.caller(rng, true) else { return Ok(()) };
                let missed = !one_in(rng, 4);
                self.model.offer_ended(now, id, &name, missed);
                self.both(|acd| acd.offer_ended(now, id, &name, missed))?;
                self.model.tick(now);
                if one_in(rng, 3) { Ok(()) } else { self.set(&name, Activity::Ready, true, now) }
            }
            15..=17 => {
                let Some((id, Some(name))) = self.caller(rng, true) else { return Ok(()) };
                self.leave(id, &Left::Answered { agent: name.clone() })?;
                let (talk, wrapup) = (Duration::from_secs(rng.below(60)), Duration::from_secs(rng.below(20)));
                if let Some(agent) = self.model.agent(&name) {
                    agent.calls += 1;
                    agent.talk += talk;
                }
                let queue = queue(rng);
                self.both(|acd| acd.add_handled(now, &name, Some(&queue), talk, wrapup))
            }
            18 => {
                let ringing = one_in(rng, 2);
                let Some((id, _)) = self.caller(rng, ringing) else { return Ok(()) };
                let how = if one_in(rng, 3) { Left::Moved } else { Left::Abandoned };
                self.leave(id, &how)
            }
            19 => {
                let Some((id, _)) = self.caller(rng, false) else { return Ok(()) };
                let until = now + Duration::from_millis(1 + rng.below(3_000));
                if let Some(waiter) = self.model.waiter(id) {
                    waiter.paused_until = Some(until);
                }
                self.both(|acd| acd.pause(now, id, until))
            }
            20..=21 => self.to(now + Duration::from_secs(rng.below(25))),
            22 => {
                let mut rules = self.model.rules.clone();
                change(&mut rules, rng);
                let before = self.model.waiters.len();
                self.model.configure(rules.clone());
                let rules = Arc::new(rules);
                self.both(|acd| acd.configure(now, rules.clone()))?;
                let still = self.model.waiters.iter().filter(|waiter| self.acd.is_waiting(waiter.id)).count();
                if still == before { Ok(()) } else { Err(format!("{before} waited, {still} do")) }
            }
            23 => {
                for agent in &mut self.model.agents {
                    (agent.calls, agent.talk) = (0, Duration::ZERO);
                }
                self.both(|acd| acd.new_day(now))
            }
            24 => {
                // Whoever was passed on is carried away.
                let limited: Vec<_> =
                    self.model.waiters.iter().filter(|waiter| waiter.limited).map(|waiter| waiter.id).collect();
                limited.into_iter().try_for_each(|id| self.leave(id, &Left::Moved))
            }
            _ => {
                self.twin = restored(&self.acd, now, &self.model.rules);
                Ok(())
            }
        }
    }
}

fn run(seed: u64, steps: &[(u8, u64)], tamper: Tamper) -> Result<usize, String> {
    let mut run = Run::new(seed, tamper);
    for (n, (what, number)) in steps.iter().enumerate() {
        run.step(*what, *number).map_err(|error| format!("step {n}, {what}: {error}"))?;
    }
    Ok(run.made)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_follows_the_rules(seed: u64, steps in prop::collection::vec((0u8..26, any::<u64>()), 1..160)) {
        let made = run(seed, &steps, Tamper::Nothing);
        prop_assert!(made.is_ok(), "{}", made.unwrap_err());
    }
}

/// Steps that follow from a number alone.
fn steps(seed: u64) -> Vec<(u8, u64)> {
    let mut rng = Rng::from_number(seed);
    (0..150).map(|_| (rng.below(26) as u8, rng.next_u64())).collect()
}

#[test]
fn a_false_decision_is_found_out() {
    let lies = [
        Tamper::WorseAgent,
        Tamper::BusyAgent,
        Tamper::LaterCaller,
        Tamper::NoOffer,
        Tamper::StepTwice,
        Tamper::NoStep,
        Tamper::NoStickyOver,
        Tamper::NoLimit,
    ];
    for lie in lies {
        let found = (0..1_000).find(|seed| run(*seed, &steps(*seed), lie).is_err());
        assert!(found.is_some(), "{lie:?} is not found");
    }
}

const SEEDS: u64 = 2_000;

#[test]
fn seeds_keep_every_rule_and_decide_much() {
    let told = |seed| run(seed, &steps(seed), Tamper::Nothing).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let made: usize = (0..SEEDS).map(told).sum();
    assert!(made > 20 * SEEDS as usize, "only {made} decisions");
}
