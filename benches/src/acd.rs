//! The ACD alone: what it costs that an agent becomes free and meets a caller, and how many inputs a core takes.
//!
//! Instructions are counted by valgrind's callgrind around [`became_free`] and [`came_in`], which this program runs under it by
//! itself: the processor's own counters are not there in most virtual machines.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cti_acd::{Acd, Activity, AgentRules, Decision, Entered, Entry, Left, QueueRules, Rules, Strategy};
use cti_base::{AgentName, CallId, QueueName, Rng, Timestamp};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const QUEUES: usize = 200;
const WAITING: usize = 5_000;
/// Of each agent.
const QUEUES_EACH: usize = 5;
/// The variable that makes this program the one that is counted: `free` or `come`, and the number of agents.
const COUNTED: &str = "ZONGJI_BENCH_ACD";
const ROUNDS: u32 = 2_000;

pub fn acd() -> Result<()> {
    if let Ok(what) = std::env::var(COUNTED) {
        return counted(&what);
    }
    println!("acd: {QUEUES} queues, {WAITING} waiting, each agent serves {QUEUES_EACH} queues");
    for agents in [100, 1_000, 10_000] {
        let free = instructions("free", "became_free", agents)?;
        let come = instructions("come", "came_in", agents)?;
        println!(
            "acd: {agents} agents: {free} instructions for an agent who becomes free and is matched, one of {WAITING}; \
             {come} for a caller who comes to one queue with all of them ready, and is matched"
        );
    }
    for agents in [100, 1_000, 10_000] {
        throughput(agents, &[Strategy::LongestIdle])?;
    }
    let all = [
        Strategy::LongestIdle,
        Strategy::RoundRobin,
        Strategy::LeastCalls,
        Strategy::LeastTalkTime,
        Strategy::TopDown,
        Strategy::Random,
        Strategy::BestSkill,
        Strategy::Scored,
    ];
    throughput(10_000, &all)
}

/// A centre under full load, or one in which all are idle.
struct Centre {
    acd: Acd,
    now: Timestamp,
    rng: Rng,
    calls: u64,
    queues: Vec<QueueName>,
    agents: Vec<AgentName>,
}

impl Centre {
    fn new(agents: usize, queues: usize, strategies: &[Strategy]) -> Self {
        let queue = |n: usize| QueueName::from(format!("queue-{n:03}"));
        let mut rules = Rules::default();
        for n in 0..queues {
            let strategy = strategies[n % strategies.len()];
            rules.queues.insert(queue(n), QueueRules { strategy, ..QueueRules::default() });
        }
        let each = QUEUES_EACH.min(queues);
        for n in 0..agents {
            let queues = (0..each).map(|k| queue((n * 7 + k * 41) % queues)).collect();
            rules.agents.insert(AgentName::from(format!("{n:05}")), AgentRules { queues, ..AgentRules::default() });
        }
        let names = rules.agents.keys().cloned().collect();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut acd = Acd::with_seed(1);
        let queues = rules.queues.keys().cloned().collect();
        acd.configure(now, Arc::new(rules));
        Self { acd, now, rng: Rng::from_number(1), calls: 0, queues, agents: names }
    }

    fn tick(&mut self) {
        self.now = self.now + Duration::from_micros(1_000);
    }

    /// Queues in turn, so that as many wait in each.
    fn caller(&mut self) -> (CallId, Entry) {
        let queue = self.queues[self.calls as usize % self.queues.len()].clone();
        self.caller_of(queue)
    }

    fn caller_of(&mut self, queue: QueueName) -> (CallId, Entry) {
        self.calls += 1;
        (CallId::new(self.now, &mut self.rng), Entry::new(queue, self.now, self.now, self.calls))
    }

    fn enter(&mut self) -> Result<()> {
        let caller = self.caller();
        self.enter_as(caller)
    }

    fn enter_as(&mut self, (id, entry): (CallId, Entry)) -> Result<()> {
        match self.acd.enter(self.now, id, entry) {
            Entered::Waiting => Ok(()),
            Entered::Overflow { .. } | Entered::NoSuchQueue | Entered::NoSuchAgent => Err("turned away".into()),
        }
    }

    fn offer(&mut self) -> Option<(CallId, AgentName, QueueName)> {
        match self.acd.poll(self.now)? {
            Decision::Offer { id, mut agents, queue, .. } => Some((id, agents.pop()?, queue)),
            Decision::Limit { .. } | Decision::Relaxed { .. } | Decision::StickyOver { .. } => None,
        }
    }
}

/// What is counted: the agent is ready, and the decision is there.
#[inline(never)]
fn became_free(acd: &mut Acd, now: Timestamp, agent: &AgentName) -> Option<Decision> {
    acd.set_agent(now, agent, Activity::Ready, true, now);
    acd.poll(now)
}

/// What is counted: the caller enters, and the decision is there.
#[inline(never)]
fn came_in(acd: &mut Acd, now: Timestamp, id: CallId, entry: Entry) -> Option<Decision> {
    acd.enter(now, id, entry);
    acd.poll(now)
}

/// The program under callgrind.
fn counted(what: &str) -> Result<()> {
    let (what, agents) = what.split_once(' ').ok_or("what and how many")?;
    let agents = agents.parse()?;
    let mut matched = 0;
    if what == "free" {
        let mut centre = Centre::new(agents, QUEUES, &[Strategy::LongestIdle]);
        for _ in 0..WAITING {
            centre.enter()?;
        }
        let names = centre.agents.clone();
        for name in names.iter().cycle().take(ROUNDS as usize) {
            centre.tick();
            let decision = became_free(&mut centre.acd, centre.now, name);
            if let Some(Decision::Offer { id, queue, .. }) = decision {
                matched += 1;
                centre.acd.leave(centre.now, id, Left::Answered { agent: name.clone() });
                let next = centre.caller_of(queue);
                centre.enter_as(next)?;
            }
        }
    } else {
        let mut centre = Centre::new(agents, 1, &[Strategy::LongestIdle]);
        for name in centre.agents.clone() {
            centre.tick();
            centre.acd.set_agent(centre.now, &name, Activity::Ready, true, centre.now);
        }
        // The first caller of a kind makes a class of all agents; it is not counted.
        centre.enter()?;
        let first = centre.offer().ok_or("nobody is ready")?;
        centre.acd.leave(centre.now, first.0, Left::Abandoned);
        for _ in 0..ROUNDS {
            centre.tick();
            let (id, entry) = centre.caller();
            if let Some(Decision::Offer { id, agents, .. }) = came_in(&mut centre.acd, centre.now, id, entry) {
                matched += 1;
                centre.acd.leave(centre.now, id, Left::Answered { agent: agents[0].clone() });
                centre.acd.set_agent(centre.now, &agents[0], Activity::Ready, true, centre.now);
            }
        }
    }
    if matched == ROUNDS { Ok(()) } else { Err(format!("{matched} of {ROUNDS} matched").into()) }
}

/// Instructions of one call of the function, all that it calls included, as callgrind counts them.
fn instructions(what: &str, function: &str, agents: usize) -> Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &format!("--toggle-collect=*{function}*")])
        .arg(std::env::current_exe()?)
        .arg("acd")
        .env(COUNTED, format!("{what} {agents}"))
        .output()?;
    let told = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        return Err(format!("{what} {agents}: {told}").into());
    }
    let line = told.lines().find(|line| line.contains("Collected :")).ok_or("callgrind counted nothing")?;
    let count: u64 = line.rsplit(' ').next().ok_or("a number")?.parse()?;
    Ok(count / u64::from(ROUNDS))
}

/// Every agent in turn is free, takes the first caller, talks and is handled, while as many callers come as are taken: six
/// inputs a call, the decisions taken out after each.
fn throughput(agents: usize, strategies: &[Strategy]) -> Result<()> {
    let mut centre = Centre::new(agents, QUEUES, strategies);
    for _ in 0..WAITING {
        centre.enter()?;
    }
    let mut busy: VecDeque<AgentName> = centre.agents.iter().cloned().collect();
    let (talk, wrapup) = (Duration::from_secs(180), Duration::from_secs(20));
    let (mut inputs, mut took) = (0u64, Duration::ZERO);
    while took < Duration::from_secs(3) {
        let started = cpu()?;
        for _ in 0..10_000 {
            centre.tick();
            let now = centre.now;
            let Some(name) = busy.pop_front() else { return Err("nobody is left".into()) };
            centre.acd.add_handled(now, &name, None, talk, wrapup);
            centre.acd.set_agent(now, &name, Activity::Ready, true, now);
            let (id, agent, queue) = centre.offer().ok_or("nobody waits")?;
            centre.acd.set_agent(now, &agent, Activity::Offered, false, now);
            centre.acd.leave(now, id, Left::Answered { agent: agent.clone() });
            centre.acd.set_agent(now, &agent, Activity::Talking, false, now);
            let next = centre.caller_of(queue);
            centre.enter_as(next)?;
            while centre.offer().is_some() {}
            busy.push_back(agent);
            inputs += 6;
        }
        took += cpu()?.saturating_sub(started);
    }
    println!(
        "acd: {agents} agents, {} strategies: {:.0} inputs/s on one core (CPU time of the thread)",
        strategies.len(),
        inputs as f64 / took.as_secs_f64()
    );
    Ok(())
}

/// What this thread has had of a core.
fn cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns = text.split(' ').next().ok_or("no figure")?.parse()?;
    Ok(Duration::from_nanos(ns))
}
