//! A small centre to try rules on: agents and queues by short names, time in seconds.

use std::collections::BTreeMap;
use std::sync::Arc;

use cti_acd::{Acd, Activity, AgentRules, Decision, Entered, Entry, Left, QueueRules, Rules, Why};
use cti_base::{AgentName, CallId, QueueName, Rng, Timestamp};

pub fn at(s: f64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + (s * 1e6) as u64)
}

pub fn queue(name: &str) -> QueueName {
    QueueName::from(name)
}

pub fn agent(name: &str) -> AgentName {
    AgentName::from(name)
}

/// An id that is the same for the same number.
pub fn id(number: u64) -> CallId {
    CallId::new(at(0.0), &mut Rng::from_number(number))
}

/// What came out, short: `Offer(1, "a b")`.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Offer(u64, String),
    Other(u64, Decision),
}

pub struct Bench {
    pub acd: Acd,
    pub rules: Rules,
    pub now: Timestamp,
    calls: u64,
    ids: BTreeMap<CallId, u64>,
    pub whys: Vec<Why>,
}

impl Bench {
    /// Queues, and agents with their queues and skills: `("a", "q r", "german=3")`.
    pub fn new(queues: Vec<(&str, QueueRules)>, agents: &[(&str, &str, &str)]) -> Self {
        let mut rules = Rules::default();
        for (name, of) in queues {
            rules.queues.insert(queue(name), of);
        }
        for (name, queues, skills) in agents {
            let skills = skills.split_whitespace().map(|skill| {
                let (name, level) = skill.split_once('=').expect("skill=level");
                (name.to_owned(), level.parse().expect("a level"))
            });
            let queues = queues.split_whitespace().map(QueueName::from).collect();
            rules.agents.insert(agent(name), AgentRules { queues, skills: skills.collect(), ..AgentRules::default() });
        }
        let mut acd = Acd::with_seed(1);
        acd.configure(at(0.0), Arc::new(rules.clone()));
        Self { acd, rules, now: at(0.0), calls: 0, ids: BTreeMap::new(), whys: Vec::new() }
    }

    /// Applies a change of `self.rules`.
    pub fn configure(&mut self) -> Vec<Out> {
        self.acd.configure(self.now, Arc::new(self.rules.clone()));
        self.drain()
    }

    pub fn to(&mut self, s: f64) -> Vec<Out> {
        while let Some(due) = self.acd.deadline().filter(|due| *due <= at(s)) {
            self.acd.handle_deadline(due);
            self.acd.check_invariants(due).expect("it holds");
        }
        self.now = at(s);
        self.drain()
    }

    pub fn entry(&self, queue_name: &str) -> Entry {
        Entry::new(queue(queue_name), self.now, self.now, self.calls)
    }

    pub fn try_enter(&mut self, entry: Entry) -> (u64, Entered, Vec<Out>) {
        self.calls += 1;
        self.ids.insert(id(self.calls), self.calls);
        let entered = self.acd.enter(self.now, id(self.calls), entry);
        (self.calls, entered, self.drain())
    }

    pub fn enter_with(&mut self, entry: Entry) -> Vec<Out> {
        let (_, entered, out) = self.try_enter(entry);
        assert_eq!(entered, Entered::Waiting);
        out
    }

    pub fn enter(&mut self, queue_name: &str) -> Vec<Out> {
        self.enter_with(self.entry(queue_name))
    }

    pub fn ready(&mut self, name: &str) -> Vec<Out> {
        self.acd.set_agent(self.now, &agent(name), Activity::Ready, true, self.now);
        self.drain()
    }

    pub fn set(&mut self, name: &str, activity: Activity) -> Vec<Out> {
        self.acd.set_agent(self.now, &agent(name), activity, false, self.now);
        self.drain()
    }

    pub fn missed(&mut self, call: u64, name: &str) -> Vec<Out> {
        self.acd.offer_ended(self.now, id(call), &agent(name), true);
        self.drain()
    }

    pub fn answer(&mut self, call: u64, name: &str) -> Vec<Out> {
        self.acd.leave(self.now, id(call), Left::Answered { agent: agent(name) });
        self.drain()
    }

    pub fn hang_up(&mut self, call: u64) -> Vec<Out> {
        self.acd.leave(self.now, id(call), Left::Abandoned);
        self.drain()
    }

    pub fn number(&self, call: CallId) -> u64 {
        *self.ids.get(&call).expect("a call of ours")
    }

    pub fn drain(&mut self) -> Vec<Out> {
        let mut out = Vec::new();
        while let Some(decision) = self.acd.poll(self.now) {
            out.push(match decision {
                Decision::Offer { id, agents, why, .. } => {
                    self.whys.push(*why);
                    let names: Vec<&str> = agents.iter().map(|name| name.as_str()).collect();
                    Out::Offer(self.number(id), names.join(" "))
                }
                Decision::Limit { id, .. } | Decision::Relaxed { id, .. } | Decision::StickyOver { id, .. } => {
                    Out::Other(self.number(id), decision)
                }
            });
        }
        self.acd.check_invariants(self.now).expect("it holds");
        out
    }
}

pub fn offer(call: u64, agents: &str) -> Out {
    Out::Offer(call, agents.to_owned())
}
