//! A naive ACD of plain lists, written from the rules and sharing no code with the real one. It does not decide: it follows
//! what happened, holds every decision against the rules, and says what should have been decided and was not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_acd::{
    Activity, By, Decision, Entry, Left, LimitKind, Line, OverflowRule, QueueRules, Rules, StickyEnd, Strategy,
};
use cti_base::{AgentName, CallId, QueueName, Timestamp};

const PAUSE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct MAgent {
    pub name: AgentName,
    pub activity: Activity,
    pub offerable: bool,
    pub idle_since: Timestamp,
    pub offer: Option<CallId>,
    pub calls: u32,
    pub talk: Duration,
    /// The number of each queue's last offer.
    pub offered: BTreeMap<QueueName, u64>,
    /// Became free in this step, and has not been passed over yet.
    pub fresh: bool,
}

#[derive(Clone, Debug)]
pub struct MWaiter {
    pub id: CallId,
    pub entry: Entry,
    pub number: u64,
    pub offers: Vec<AgentName>,
    pub tried: Vec<(AgentName, Timestamp)>,
    pub paused_until: Option<Timestamp>,
    pub limited: bool,
    pub sticky_over: bool,
    pub steps: BTreeSet<usize>,
}

#[derive(Default)]
pub struct Model {
    pub rules: Rules,
    pub agents: Vec<MAgent>,
    pub waiters: Vec<MWaiter>,
    /// Of each queue: when a call ended in it, and whether in time.
    pub ended: Vec<(QueueName, Timestamp, bool)>,
    pub number: u64,
    pub offers: u64,
}

/// How an agent may come to a caller: the number orders the caller's preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Asked(usize),
    Lent(usize),
}

fn s(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

macro_rules! ensure {
    ($what:expr, $($text:tt)*) => {
        if !$what {
            return Err(format!($($text)*));
        }
    };
}

impl Model {
    pub fn agent(&mut self, name: &AgentName) -> Option<&mut MAgent> {
        self.agents.iter_mut().find(|agent| agent.name == *name)
    }

    pub fn waiter(&mut self, id: CallId) -> Option<&mut MWaiter> {
        self.waiters.iter_mut().find(|waiter| waiter.id == id)
    }

    fn of(&self, name: &AgentName) -> Option<&MAgent> {
        self.agents.iter().find(|agent| agent.name == *name)
    }

    fn queue(&self, name: &QueueName) -> Option<&QueueRules> {
        self.rules.queues.get(name)
    }

    pub fn configure(&mut self, rules: Rules) {
        for name in rules.agents.keys() {
            if self.of(name).is_none() {
                self.agents.push(MAgent {
                    name: name.clone(),
                    activity: Activity::Offline,
                    offerable: false,
                    idle_since: Timestamp::default(),
                    offer: None,
                    calls: 0,
                    talk: Duration::ZERO,
                    offered: BTreeMap::new(),
                    fresh: false,
                });
            }
        }
        let waiters = &self.waiters;
        let remembered = |name: &AgentName| {
            waiters.iter().any(|waiter| {
                let prefers =
                    !waiter.sticky_over && waiter.entry.direct.is_none() && waiter.entry.prefer.as_ref() == Some(name);
                prefers || waiter.tried.iter().any(|(tried, _)| tried == name)
            })
        };
        self.agents.retain(|agent| {
            let is_busy = agent.activity != Activity::Offline || agent.offer.is_some();
            is_busy || rules.agents.contains_key(&agent.name) || remembered(&agent.name)
        });
        // A queue that went, and came back when nobody waited any more, begins anew.
        let kept = |queue: &QueueName| {
            rules.queues.contains_key(queue) || waiters.iter().any(|waiter| waiter.entry.queue == *queue)
        };
        self.ended.retain(|(queue, _, _)| kept(queue));
        for agent in &mut self.agents {
            agent.offered.retain(|queue, _| kept(queue));
        }
        for waiter in &mut self.waiters {
            let steps = rules.queues.get(&waiter.entry.queue).map_or(0, |queue| queue.relax.len());
            waiter.steps.retain(|step| *step < steps);
        }
        self.rules = rules;
    }

    pub fn enter(&mut self, now: Timestamp, id: CallId, entry: Entry) {
        self.number += 1;
        let number = self.number;
        self.waiters.push(MWaiter {
            id,
            entry,
            number,
            offers: Vec::new(),
            tried: Vec::new(),
            paused_until: None,
            limited: false,
            sticky_over: false,
            steps: BTreeSet::new(),
        });
        // What is required of the preferred agent is what the first steps leave.
        let steps = self.steps_due(now, &self.waiters[self.waiters.len() - 1]);
        self.waiters.last_mut().expect("just put in").steps = steps;
        let sticky_over = self.sticky(now, &self.waiters[self.waiters.len() - 1]).is_none();
        self.waiters.last_mut().expect("just put in").sticky_over = sticky_over;
    }

    pub fn leave(&mut self, now: Timestamp, id: CallId, how: &Left) {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.id == id) else { return };
        let waiter = self.waiters.remove(at);
        for name in &waiter.offers {
            if let Some(agent) = self.agent(name) {
                (agent.offer, agent.fresh) = (None, true);
            }
        }
        if let Left::Answered { agent } = how
            && let Some(agent) = self.agent(agent)
        {
            (agent.activity, agent.offerable) = (Activity::Talking, false);
        }
        let Some(rules) = self.queue(&waiter.entry.queue) else { return };
        let in_time = now.since(waiter.entry.entered) <= s(rules.service_level.seconds);
        match how {
            Left::Answered { .. } => self.ended.push((waiter.entry.queue, now, in_time)),
            Left::Abandoned if !in_time => self.ended.push((waiter.entry.queue, now, false)),
            Left::Abandoned | Left::Moved => {}
        }
    }

    pub fn offer_ended(&mut self, now: Timestamp, id: CallId, name: &AgentName, missed: bool) {
        let Some(waiter) = self.waiter(id).filter(|waiter| waiter.offers.contains(name)) else { return };
        waiter.offers.retain(|other| other != name);
        if missed {
            waiter.tried.retain(|(other, until)| other != name && *until > now);
            waiter.tried.push((name.clone(), now + PAUSE));
        }
        let agent = self.agent(name).expect("who is offered is known");
        agent.offer = None;
        agent.fresh = true;
    }

    /// What time alone changes without a word.
    pub fn tick(&mut self, now: Timestamp) {
        for waiter in &mut self.waiters {
            waiter.paused_until = waiter.paused_until.filter(|until| *until > now);
        }
        for agent in &mut self.agents {
            agent.fresh = false;
        }
    }

    // The rules, each as a plain question.

    fn steps_due(&self, now: Timestamp, waiter: &MWaiter) -> BTreeSet<usize> {
        let Some(rules) = self.queue(&waiter.entry.queue) else { return BTreeSet::new() };
        if waiter.entry.direct.is_some() {
            return BTreeSet::new();
        }
        let waited = now.since(waiter.entry.entered);
        let due =
            |step: &cti_acd::RelaxStep| waited >= s(step.after_s) && step.until_s.is_none_or(|until| waited < s(until));
        rules.relax.iter().enumerate().filter(|(_, step)| due(step)).map(|(number, _)| number).collect()
    }

    fn requires(&self, waiter: &MWaiter) -> BTreeMap<String, u8> {
        let mut requires = BTreeMap::new();
        let Some(rules) = self.queue(&waiter.entry.queue) else { return requires };
        if waiter.entry.direct.is_some() {
            return requires;
        }
        for (skill, level) in rules.requires.iter().chain(&waiter.entry.requires) {
            let known = requires.get(skill).copied().unwrap_or(0);
            requires.insert(skill.clone(), known.max(*level));
        }
        for number in &waiter.steps {
            let Some(step) = rules.relax.get(*number) else { continue };
            for (skill, enough) in &step.requires {
                if let Some(level) = requires.get(skill).copied() {
                    requires.insert(skill.clone(), level.min(*enough));
                }
            }
            requires.retain(|skill, level| *level > 0 && !step.drop.contains(skill));
        }
        requires
    }

    fn has_skills(&self, agent: &MAgent, waiter: &MWaiter) -> bool {
        let Some(rules) = self.rules.agents.get(&agent.name) else { return false };
        self.requires(waiter).iter().all(|(skill, needs)| rules.skills.get(skill).copied().unwrap_or(0) >= *needs)
    }

    fn serves(&self, agent: &MAgent, queue: &QueueName) -> bool {
        self.rules.agents.get(&agent.name).is_some_and(|rules| rules.queues.contains(queue))
    }

    /// The agent who is to be asked alone at this moment.
    fn sticky<'a>(&self, now: Timestamp, waiter: &'a MWaiter) -> Option<&'a AgentName> {
        let name = waiter.entry.prefer.as_ref().filter(|_| !waiter.sticky_over && waiter.entry.direct.is_none())?;
        let rules = self.queue(&waiter.entry.queue)?;
        let agent = self.of(name)?;
        let is_there = !matches!(agent.activity, Activity::Offline | Activity::Break);
        let fits = is_there && self.serves(agent, &waiter.entry.queue) && self.has_skills(agent, waiter);
        (fits && now < waiter.entry.entered + s(rules.sticky_s)).then_some(name)
    }

    fn asked(&self, waiter: &MWaiter) -> Vec<QueueName> {
        let mut asked = vec![waiter.entry.queue.clone()];
        asked.extend(waiter.entry.also.iter().cloned());
        if let Some(rules) = self.queue(&waiter.entry.queue) {
            waiter.steps.iter().filter_map(|n| rules.relax.get(*n)).for_each(|step| asked.extend(step.queues.clone()));
        }
        let mut known = Vec::new();
        for queue in asked {
            if self.queue(&queue).is_some() && !known.contains(&queue) {
                known.push(queue);
            }
        }
        known
    }

    fn stands(&self, waiter: &MWaiter) -> bool {
        waiter.offers.is_empty() && !waiter.limited && waiter.paused_until.is_none()
    }

    fn can_lend(&self, now: Timestamp, lender: &QueueName) -> bool {
        let Some(rules) = self.queue(lender) else { return false };
        let waits = self.waiters.iter().any(|waiter| {
            let stands = self.stands(waiter)
                && waiter.entry.direct.is_none()
                && (waiter.sticky_over || waiter.entry.prefer.is_none());
            waiter.entry.queue == *lender && (stands || waiter.limited)
        });
        let minute = |at: Timestamp| at.as_micros() / 60_000_000;
        let recent: Vec<bool> = self
            .ended
            .iter()
            .filter(|(queue, at, _)| queue == lender && minute(*at) + 30 > minute(now))
            .map(|(_, _, good)| *good)
            .collect();
        let good = recent.iter().filter(|good| **good).count();
        !waits && (recent.len() < 10 || good * 100 >= recent.len() * usize::from(rules.service_level.percent))
    }

    /// By which ways the agent may take the caller, if free; lent ways only where the lender can spare them.
    fn ways(&self, now: Timestamp, agent: &MAgent, waiter: &MWaiter) -> Vec<Way> {
        if !self.rules.agents.contains_key(&agent.name) {
            return Vec::new();
        }
        if let Some(direct) = &waiter.entry.direct {
            return if *direct == agent.name { vec![Way::Asked(0)] } else { Vec::new() };
        }
        if let Some(sticky) = waiter.entry.prefer.as_ref().filter(|_| !waiter.sticky_over) {
            return if *sticky == agent.name { vec![Way::Asked(0)] } else { Vec::new() };
        }
        if !self.has_skills(agent, waiter) {
            return Vec::new();
        }
        let asked = self.asked(waiter);
        let mut ways: Vec<Way> = asked
            .iter()
            .enumerate()
            .filter(|(_, queue)| self.serves(agent, queue))
            .map(|(n, _)| Way::Asked(n))
            .collect();
        let Some(rules) = self.queue(&waiter.entry.queue) else { return ways };
        if !self.serves(agent, &waiter.entry.queue) {
            let lenders = rules.borrow.iter().filter(|lender| !asked.contains(lender)).enumerate();
            let lent = lenders.filter(|(_, lender)| self.serves(agent, lender) && self.can_lend(now, lender));
            ways.extend(lent.map(|(n, _)| Way::Lent(n)));
        }
        ways
    }

    fn is_free(&self, agent: &MAgent) -> bool {
        self.rules.agents.contains_key(&agent.name)
            && agent.activity == Activity::Ready
            && agent.offerable
            && agent.offer.is_none()
    }

    fn missed_just_now(now: Timestamp, agent: &MAgent, waiter: &MWaiter) -> bool {
        waiter.tried.iter().any(|(name, until)| *name == agent.name && *until > now)
    }

    fn missed_last(now: Timestamp, agent: &MAgent, waiter: &MWaiter) -> bool {
        let newest = waiter.tried.iter().map(|(_, until)| *until).max();
        waiter.tried.iter().any(|(name, until)| *name == agent.name && *until > now && Some(*until) == newest)
    }

    /// Whether `a` comes before `b`.
    fn before(&self, now: Timestamp, a: &MWaiter, b: &MWaiter) -> bool {
        let rank = |waiter: &MWaiter| {
            let rules = self.queue(&waiter.entry.queue).cloned().unwrap_or_default();
            let value = waiter.entry.value.as_ref().and_then(|value| rules.order.value_points.get(value));
            let waited_us = i128::from(now.as_micros()) - i128::from(waiter.entry.since.as_micros());
            let age_milli = (rules.order.age_points_per_s * 1e3).round() as i128;
            let base =
                i128::from(rules.priority) + i128::from(waiter.entry.priority) + i128::from(*value.unwrap_or(&0));
            let late = match rules.order.deadline {
                true => waited_us as i64 - i64::from(rules.service_level.seconds) * 1_000_000,
                false => (waited_us as f64 * rules.weight) as i64,
            };
            (
                -(base * 1_000_000_000 + age_milli * waited_us),
                -late,
                waiter.entry.since,
                waiter.entry.order,
                waiter.number,
            )
        };
        rank(a) < rank(b)
    }

    /// Lower is better. `None` where the choice is by lot.
    fn key(&self, agent: &MAgent, waiter: &MWaiter) -> Option<(i64, Timestamp, AgentName)> {
        let rules = self.queue(&waiter.entry.queue)?;
        let of = self.rules.agents.get(&agent.name)?;
        let levels = || {
            self.requires(waiter).keys().map(|skill| i64::from(of.skills.get(skill).copied().unwrap_or(0))).sum::<i64>()
        };
        let main = match rules.strategy {
            Strategy::LongestIdle | Strategy::RingAll => 0,
            Strategy::RoundRobin => agent.offered.get(&waiter.entry.queue).map_or(0, |number| *number as i64),
            Strategy::LeastCalls => i64::from(agent.calls),
            Strategy::LeastTalkTime => agent.talk.as_micros() as i64,
            Strategy::TopDown => i64::from(of.rank),
            Strategy::BestSkill => -levels(),
            // Tables look at these two.
            Strategy::Random | Strategy::Scored => return None,
        };
        Some((main, agent.idle_since, agent.name.clone()))
    }

    pub fn decided(&mut self, now: Timestamp, decision: &Decision) -> Result<(), String> {
        match decision {
            Decision::Offer { id, agents, queue, why } => {
                self.check_offer(now, *id, agents, why.by, &why.line)?;
                ensure!(self.waiter(*id).is_some_and(|waiter| waiter.entry.queue == *queue), "{id} of another queue");
                for name in agents {
                    self.offers += 1;
                    let number = self.offers;
                    let agent = self.agent(name).expect("looked at");
                    agent.offer = Some(*id);
                    (agent.activity, agent.offerable, agent.fresh) = (Activity::Offered, false, false);
                    agent.offered.insert(queue.clone(), number);
                }
                let waiter = self.waiter(*id).expect("looked at");
                waiter.offers.clone_from(agents);
            }
            Decision::Limit { id, rule, why } => {
                let waiter = self.waiter(*id).ok_or("a limit of nobody")?;
                ensure!(!waiter.limited, "{id} is passed on twice");
                waiter.limited = true;
                let waiter = waiter.clone();
                let expect = self.limit(now, &waiter);
                ensure!(expect == Some((*rule, *why)), "{id}: {rule:?} {why:?}, expected {expect:?}");
            }
            Decision::Relaxed { id, step, over, requires, queues: _ } => {
                let waiter = self.waiter(*id).ok_or("a step of nobody")?;
                let changed = if *over { waiter.steps.remove(step) } else { waiter.steps.insert(*step) };
                ensure!(changed, "{id}: step {step} again");
                let waiter = waiter.clone();
                let due = self.steps_due(now, &waiter);
                ensure!(due.contains(step) != *over, "{id}: step {step}, over {over}, in force {due:?}");
                if due == waiter.steps {
                    ensure!(self.requires(&waiter) == *requires, "{id} requires {:?}", self.requires(&waiter));
                }
            }
            Decision::StickyOver { id, agent, why } => {
                // On the way in it is told before the caller stands.
                let Some(waiter) = self.waiter(*id) else { return Ok(()) };
                ensure!(waiter.entry.prefer.as_ref() == Some(agent), "{id} did not prefer {agent}");
                let missed = waiter.tried.last().is_some_and(|(name, _)| name == agent);
                waiter.sticky_over = true;
                let mut before = waiter.clone();
                before.sticky_over = false;
                let holds = self.sticky(now, &before).is_some();
                ensure!(!holds || (*why == StickyEnd::Missed && missed), "{id} gives up {agent}: {why:?}");
            }
        }
        Ok(())
    }

    fn check_offer(&self, now: Timestamp, id: CallId, agents: &[AgentName], by: By, line: &Line) -> Result<(), String> {
        let waiter = self.waiters.iter().find(|waiter| waiter.id == id).ok_or("an offer of nobody")?;
        ensure!(self.stands(waiter), "{id} may not be offered");
        let rules = self.queue(&waiter.entry.queue).ok_or("an offer of a queue that is gone")?;
        let rings_all = rules.strategy == Strategy::RingAll && !matches!(line, Line::Direct | Line::Sticky);
        let many = if rings_all { (rules.ring_all_max as usize).clamp(1, 20) } else { 1 };
        ensure!(!agents.is_empty() && agents.len() <= many, "{id} rings {} agents", agents.len());
        for (n, name) in agents.iter().enumerate() {
            let agent = self.of(name).ok_or("an unknown agent")?;
            ensure!(!agents[..n].contains(name), "{name} rings twice");
            ensure!(self.is_free(agent), "{name} is not free");
            let way = self.ways(now, agent, waiter).first().copied().ok_or(format!("{name} may not take {id}"))?;
            ensure!(!Self::missed_last(now, agent, waiter), "{name} just missed {id}");
            for other in self.waiters.iter().filter(|other| self.stands(other) && self.before(now, other, waiter)) {
                let other_way = self.ways(now, agent, other).first().copied();
                let could = other_way
                    .is_some_and(|other_way| matches!(other_way, Way::Asked(_)) || matches!(way, Way::Lent(_)));
                ensure!(!could || Self::missed_last(now, agent, other), "{name} takes {id} before {}", other.id);
            }
            if matches!(way, Way::Lent(_)) {
                let own = self.waiters.iter().any(|other| {
                    self.stands(other)
                        && !Self::missed_last(now, agent, other)
                        && matches!(self.ways(now, agent, other).first(), Some(Way::Asked(_)))
                });
                ensure!(!own, "{name} is lent to {id} while their own wait");
            }
        }
        if by == By::Caller { self.check_choice(now, waiter, &agents[0]) } else { Ok(()) }
    }

    /// Nobody else would have been the better choice for the caller.
    fn check_choice(&self, now: Timestamp, waiter: &MWaiter, chosen: &AgentName) -> Result<(), String> {
        let chosen = self.of(chosen).ok_or("an unknown agent")?;
        let way = self.ways(now, chosen, waiter).first().copied();
        let was_tried = Self::missed_just_now(now, chosen, waiter);
        for other in self.agents.iter().filter(|other| other.name != chosen.name && self.is_free(other) && !other.fresh)
        {
            let ways = self.ways(now, other, waiter);
            let Some(other_way) = ways.first().copied() else { continue };
            if Self::missed_just_now(now, other, waiter) {
                let place = |name: &AgentName| waiter.tried.iter().position(|(tried, _)| tried == name);
                let last = Self::missed_last(now, other, waiter);
                ensure!(
                    !was_tried || last || place(&chosen.name) < place(&other.name),
                    "{} was tried before",
                    other.name
                );
                continue;
            }
            ensure!(!was_tried, "{} was not tried, {} was", other.name, chosen.name);
            ensure!(Some(other_way) >= way, "{} is nearer to {}", other.name, waiter.id);
            // Equally near by the way that is taken.
            if way.is_some_and(|way| ways.contains(&way))
                && let (Some(a), Some(b)) = (self.key(chosen, waiter), self.key(other, waiter))
            {
                ensure!(a < b, "{} is the better choice: {b:?} against {a:?}", other.name);
            }
        }
        Ok(())
    }

    /// The limit that is past, as it stands.
    fn limit(&self, now: Timestamp, waiter: &MWaiter) -> Option<(Option<usize>, LimitKind)> {
        let direct_gone = waiter.entry.direct.as_ref().is_some_and(|name| !self.rules.agents.contains_key(name));
        let Some(rules) = self.queue(&waiter.entry.queue).filter(|_| !direct_gone) else {
            return Some((None, LimitKind::Gone));
        };
        let waited = now.since(waiter.entry.entered);
        let staffed = || {
            self.agents.iter().any(|agent| {
                agent.activity != Activity::Offline
                    && self.ways(now, agent, waiter).iter().any(|way| matches!(way, Way::Asked(_)))
            })
        };
        let past = rules.overflow.iter().enumerate().find_map(|(number, rule)| {
            let kind = match rule {
                OverflowRule::AfterS(after) => (waited >= s(*after)).then_some(LimitKind::After),
                OverflowRule::NoStaff => (!staffed()).then_some(LimitKind::NoStaff),
                OverflowRule::Waiting(_) | OverflowRule::EstimateS(_) => None,
            };
            kind.map(|kind| (Some(number), kind))
        });
        past.or((waited >= s(rules.max_wait_s)).then_some((None, LimitKind::MaxWait)))
    }

    /// What turns the caller, who was just put in, away.
    pub fn limit_on_entry(&self, now: Timestamp, id: CallId) -> Option<(Option<usize>, LimitKind)> {
        let waiter = self.waiters.iter().find(|waiter| waiter.id == id)?;
        let rules = self.queue(&waiter.entry.queue)?;
        let line = self.position(id)? + self.behind(id) - 1;
        let mut past = None;
        for (number, rule) in rules.overflow.iter().enumerate().rev() {
            let alone = QueueRules { overflow: vec![*rule], max_wait_s: u32::MAX, ..rules.clone() };
            let mut trial = Self { rules: self.rules.clone(), agents: self.agents.clone(), ..Self::default() };
            trial.rules.queues.insert(waiter.entry.queue.clone(), alone);
            let kind = match rule {
                OverflowRule::Waiting(many) => (line >= *many as usize).then_some(LimitKind::Waiting),
                _ => trial.limit(now, waiter).map(|(_, kind)| kind),
            };
            past = kind.map(|kind| (Some(number), kind)).or(past);
        }
        past.or((line >= rules.max_waiting as usize).then_some((None, LimitKind::Full)))
    }

    fn behind(&self, id: CallId) -> usize {
        let Some(me) = self.waiters.iter().find(|waiter| waiter.id == id) else { return 0 };
        let in_line = self.waiters.iter().filter(|other| match &me.entry.direct {
            Some(agent) => other.entry.direct.as_ref() == Some(agent),
            None => other.entry.direct.is_none() && other.entry.queue == me.entry.queue,
        });
        in_line.count() - self.position(id).unwrap_or(0)
    }

    /// When all decisions are taken out, nothing is left to decide.
    pub fn check_drained(&self, now: Timestamp) -> Result<(), String> {
        for waiter in self.waiters.iter().filter(|waiter| !waiter.limited) {
            let id = waiter.id;
            let due = self.steps_due(now, waiter);
            ensure!(due == waiter.steps, "{id}: steps {:?}, in force should be {due:?}", waiter.steps);
            // Paused for a moment: looked at when that is over.
            if !waiter.offers.is_empty() || waiter.paused_until.is_some() {
                continue;
            }
            let prefers = waiter.entry.prefer.is_some() && !waiter.sticky_over && waiter.entry.direct.is_none();
            ensure!(!prefers || self.sticky(now, waiter).is_some(), "{id} still waits for {:?}", waiter.entry.prefer);
            let limit = self.limit(now, waiter);
            ensure!(limit.is_none(), "{id} is not passed on: {limit:?}");
            for agent in self.agents.iter().filter(|agent| self.is_free(agent)) {
                let could = !self.ways(now, agent, waiter).is_empty() && !Self::missed_last(now, agent, waiter);
                ensure!(!could, "{id} waits while {} is free: {waiter:?}", agent.name);
            }
        }
        Ok(())
    }

    pub fn position(&self, id: CallId) -> Option<usize> {
        let me = self.waiters.iter().find(|waiter| waiter.id == id)?;
        let same_line = |other: &&MWaiter| match &me.entry.direct {
            Some(agent) => other.entry.direct.as_ref() == Some(agent),
            None => other.entry.direct.is_none() && other.entry.queue == me.entry.queue,
        };
        let ahead = self.waiters.iter().filter(same_line).filter(|other| self.before(me.entry.since, other, me));
        Some(ahead.count() + 1)
    }
}
