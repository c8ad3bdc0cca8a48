//! Who should have been offered whom: no caller waits while an agent who may have them is free, and nobody is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_base::{AgentName, CallId, OfferId, TenantId, Timestamp};
use cti_switch::CallbackState;
use cti_switch::config::Tenant;
use cti_switch::desk::AgentState;

use crate::ledger::{Agent, Ledger};
use crate::media::Workers;

mod callbacks;
mod choice;
mod lengths;
mod order;
mod wishes;

pub use callbacks::Told;

use callbacks::Callbacks;
use choice::{Way, asks_records, preferred, queue_of, standing, step_begins, way};
use lengths::{Lengths, Stretch};
use order::{Rank, rank};

/// product.md, statement 2.
const FREE_MAX: Duration = Duration::from_millis(200);
/// The same of a callback that could be dialled: one that could not be is tried again after a second.
const CALLBACK_FREE_MAX: Duration = Duration::from_millis(1_000 + 200);
/// From the reservation to the frame: the records are waited for that long, and two groups of the journal are to be durable.
const RESERVED_MAX: Duration = Duration::from_millis(35 + 12);
/// Of an agent who is to be shown a call: the records are waited for.
const RECORDS_WAIT: Duration = Duration::from_millis(30);
/// A desk that is gone may still be offered calls for so long.
const DESK_GRACE: Duration = Duration::from_secs(25);

/// Where an agent's desk and phone are, as the world around the switch knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    pub desk: Option<Desk>,
    pub phone: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Desk {
    Connected,
    Gone(Timestamp),
}

/// An agent goes from ready to offered.
struct Reservation {
    number: u64,
    at: Timestamp,
    /// Who waited and could have been offered to the agent, and how they ranked.
    waiting: Vec<(CallId, Vec<Rank>)>,
    /// Other agents who could have been offered a call.
    others: Vec<AgentName>,
    /// For a callback, whose order is looked at already.
    is_checked: bool,
}

/// Files that an offer under way may still go by.
const RECENT: usize = 3;
/// Who has been free for so long was so when the switch chose.
const IDLE_MIN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Fairness {
    pub reach: BTreeMap<Agent, Reach>,
    pub tenants: BTreeMap<TenantId, std::sync::Arc<Tenant>>,
    /// Priorities that the switch was made to know nothing of.
    pub tampered: BTreeMap<CallId, i32>,
    /// Pairs that belong together and are not, and since when.
    free: BTreeMap<(CallId, Agent), Timestamp>,
    /// Reservations that no caller was told of yet.
    reserved: BTreeMap<Agent, Reservation>,
    /// The tenants' files of late, the newest last, and when it came.
    recent: BTreeMap<TenantId, (Vec<std::sync::Arc<Tenant>>, Timestamp)>,
    /// Agents who could be offered calls, and since when.
    idle: BTreeMap<Agent, Timestamp>,
    reservations: u64,
    pub lengths: Lengths,
    pub callbacks: Callbacks,
    /// Callbacks whose turn has come, by the agent who is reserved at this moment.
    chosen: BTreeMap<Agent, CallId>,
    /// When a tenant's last attempt began.
    last_attempt: BTreeMap<TenantId, Timestamp>,
    /// The program takes no new calls, and calls nobody.
    pub drained: bool,
    /// Callers who were passed over unless they are reserved for someone themselves: until when that must show.
    passed: BTreeMap<CallId, (Timestamp, String)>,
    /// Who declared a file while no program was there to take it.
    undelivered: Option<BTreeSet<TenantId>>,
    /// From the last moment of the program before to the first of this one.
    down: Option<(Timestamp, Timestamp)>,
}

impl Fairness {
    /// The program died: nobody is served until another takes up, and what was under way is begun anew.
    pub fn forget(&mut self) {
        self.free.clear();
        self.passed.clear();
        self.idle.clear();
        self.undelivered.get_or_insert_default();
    }

    /// Another takes up, at `now`, from what the one before left at `alive`.
    pub fn taken_up(&mut self, alive: Timestamp, now: Timestamp) {
        self.undelivered = None;
        self.down = Some((alive, now));
    }

    /// A tenant's file as it is from here on. Of those that come while no program is there only the last is ever in force.
    pub fn declare(&mut self, now: Timestamp, id: TenantId, tenant: std::sync::Arc<Tenant>) {
        let (recent, at) = self.recent.entry(id.clone()).or_default();
        if self.undelivered.as_mut().is_some_and(|tenants| !tenants.insert(id.clone())) {
            recent.pop();
        }
        recent.push(tenant.clone());
        let many = recent.len();
        recent.drain(..many.saturating_sub(RECENT));
        *at = now;
        self.tenants.insert(id, tenant);
    }

    /// Before anything happens at `now`: what has been true until now.
    pub fn before(&mut self, now: Timestamp, ledger: &Ledger, workers: &Workers) -> Result<(), String> {
        for ((call, (_, agent)), since) in &self.free {
            let length = now.since(*since);
            let is_callback = ledger.calls[call].dialing;
            // The world is asked anew: time alone may have ended it.
            let is_broken = if is_callback {
                length > CALLBACK_FREE_MAX && self.may_be_called(now, ledger, *call, agent)
            } else {
                length > FREE_MAX && self.may_have(now, ledger, workers, call, agent)
            };
            if is_broken {
                let what = if is_callback { "callback" } else { "call" };
                return Err(format!(
                    "no {what} waits while an agent is free: {call} waits and {agent} is free for {length:?}"
                ));
            }
        }
        // Their end was told of first, and their legs were closed after.
        self.passed.retain(|call, _| !workers.is_closed(*call) && !workers.goodbyes.contains(call));
        let late = self.passed.iter().find(|(_, (until, _))| *until < now).map(|(call, _)| *call);
        if let Some(call) = late {
            let (_, text) = self.passed.remove(&call).expect("just found");
            return Err(text);
        }
        Ok(())
    }

    /// The switch says whom it has chosen; an agent who is kept free for a callback is told of it much later.
    pub fn chosen(&mut self, ledger: &Ledger, call: CallId, agent: Agent) {
        if ledger.calls[&call].dialing {
            self.chosen.insert(agent, call);
        }
    }

    /// After each input: which pairs belong together.
    pub fn after(&mut self, now: Timestamp, ledger: &Ledger, workers: &Workers) {
        let ready: Vec<&Agent> =
            ledger.agents.iter().filter(|(_, day)| day.state == AgentState::Ready).map(|(agent, _)| agent).collect();
        let idle = ready.iter().filter(|agent| self.is_there(now, ledger, agent));
        self.idle = idle.map(|agent| ((*agent).clone(), self.idle.get(*agent).copied().unwrap_or(now))).collect();
        let ready: Vec<Agent> = ready.into_iter().cloned().collect();
        self.after_callbacks(now, ledger);
        if ready.is_empty() || ledger.waiting.is_empty() && self.callbacks.open.is_empty() {
            self.free.clear();
            return;
        }
        let mut free = BTreeMap::new();
        for call in &ledger.waiting {
            for agent in &ready {
                if ledger.calls[call].tenant == agent.0 && self.may_have(now, ledger, workers, call, &agent.1) {
                    let key = (*call, (*agent).clone());
                    let since = self.free.get(&key).copied().unwrap_or(now);
                    free.insert(key, since);
                }
            }
        }
        for told in self.callbacks.open.values().filter(|told| told.able.is_some()) {
            let Some(call) = told.call else { continue };
            for agent in ready.iter().filter(|agent| agent.0 == told.view.tenant) {
                if self.may_be_called(now, ledger, call, &agent.1) {
                    let since = self.free.get(&(call, agent.clone())).copied().unwrap_or(now);
                    free.insert((call, agent.clone()), since.max(told.able.unwrap_or(now)));
                }
            }
        }
        self.free = free;
    }

    /// The agent goes from ready to offered: some caller was chosen, who is told soon.
    pub fn reserved(
        &mut self,
        now: Timestamp,
        ledger: &Ledger,
        workers: &Workers,
        agent: &Agent,
    ) -> Result<(), String> {
        let waiting = ledger
            .waiting
            .iter()
            .filter(|call| ledger.calls[call].tenant == agent.0 && self.fits(now, ledger, workers, call, &agent.1));
        // Whoever comes into the line at this very moment does so after what was decided before.
        let stands = |call: &&CallId| {
            let story = &ledger.calls[*call];
            let queue = self.tenants.get(&story.tenant).and_then(|tenant| queue_of(tenant, ledger, **call));
            story.lines_up(queue.is_some_and(asks_records), ledger.restarted) < now
        };
        let waiting = waiting.filter(stands).copied();
        let called_back = self.callbacks.open.values().filter(|told| {
            told.able.is_some_and(|since| since + CALLBACK_FREE_MAX < now) && told.view.tenant == agent.0
        });
        // The file of this very moment may leave no room.
        let called_back = called_back.filter(|told| self.may_dial(now, ledger, &told.view.tenant));
        let called_back = called_back.filter_map(|told| told.call);
        let called_back = called_back.filter(|call| self.fits_callback(now, ledger, *call, &agent.1));
        let waiting: Vec<_> = waiting.chain(called_back).map(|call| (call, self.ranks(now, ledger, call))).collect();
        self.reservations += 1;
        let others = self.idle.iter().filter(|((tenant, name), since)| {
            let ready =
                ledger.agents.get(&(tenant.clone(), name.clone())).is_some_and(|day| day.state == AgentState::Ready);
            *tenant == agent.0 && *name != agent.1 && ready && **since + IDLE_MIN <= now
        });
        let others = others.map(|((_, name), _)| name.clone()).collect();
        let (number, callback) = (self.reservations, self.chosen.remove(agent));
        let is_checked = callback.is_some();
        let reservation = Reservation { number, at: now, waiting, others, is_checked };
        let mut most = RECORDS_WAIT;
        if let Some(call) = callback {
            most += self.dial_timeout(call);
            self.check_order(now, ledger, call, agent, &reservation)?;
        }
        self.reserved.insert(agent.clone(), reservation);
        self.lengths.begin(now, Stretch::Reservation(agent.clone()), most);
        Ok(())
    }

    /// The agent's offer is over, or was never made.
    pub fn released(&mut self, now: Timestamp, agent: &Agent) -> Result<(), String> {
        self.reserved.remove(agent);
        self.lengths.end(now, &Stretch::Reservation(agent.clone()))
    }

    /// The agent is shown the call: so long their phone may ring.
    pub fn rings(
        &mut self,
        now: Timestamp,
        ledger: &Ledger,
        call: CallId,
        offer: OfferId,
        agent: &Agent,
    ) -> Result<(), String> {
        self.lengths.end(now, &Stretch::Reservation(agent.clone()))?;
        let recent = self.recent.get(&agent.0).map_or(&[][..], |(recent, _)| recent);
        let most = recent.iter().filter_map(|tenant| Some(queue_of(tenant, ledger, call)?.ring_timeout_s)).max();
        let mut most = Duration::from_secs(u64::from(most.unwrap_or_default()));
        if self.callbacks.of_call(call).is_some_and(|told| told.view.state == CallbackState::Dialing) {
            // In place of an agent who hung up on the customer's ringing.
            most += self.dial_timeout(call);
        }
        self.lengths.begin(now, Stretch::Ring(offer), most);
        Ok(())
    }

    pub fn rings_no_more(&mut self, now: Timestamp, offer: OfferId) -> Result<(), String> {
        self.lengths.end(now, &Stretch::Ring(offer))
    }

    /// The caller is told: everyone who came before them must be someone else's. Whoever is offered to an agent reserved
    /// earlier was theirs when this one was reserved, though that offer may be over again by the time this one is told.
    pub fn offered(&mut self, now: Timestamp, ledger: &Ledger, call: CallId, agent: &Agent) -> Result<(), String> {
        self.passed.remove(&call);
        let Some(reservation) = self.reserved.remove(agent) else { return Ok(()) };
        let number = reservation.number;
        for later in self.reserved.values_mut().filter(|later| later.number > number) {
            later.waiting.retain(|(other, _)| *other != call);
        }
        if reservation.is_checked { Ok(()) } else { self.check_order(now, ledger, call, agent, &reservation) }
    }

    /// The agent may have the call, is the one to be chosen, and nobody comes before it.
    fn check_order(
        &mut self,
        now: Timestamp,
        ledger: &Ledger,
        call: CallId,
        agent: &Agent,
        Reservation { at, waiting, others, .. }: &Reservation,
    ) -> Result<(), String> {
        let Some((at, way)) = self.decided(*at, ledger, call, &agent.1) else {
            return Err(format!("{} may not have {call}, and is offered them", agent.1));
        };
        self.check_choice(at, ledger, call, agent, others)?;
        let is_lent = way == Way::Lent;
        let own = waiting.iter().find(|(other, _)| *other == call);
        let own = own.map_or_else(|| self.ranks(at, ledger, call), |(_, ranks)| ranks.clone());
        for (earlier, ranks) in waiting {
            let waits = ledger.waiting.contains(earlier) || self.callbacks.is_in_line(now, *earlier);
            let is_before = ranks.iter().zip(&own).all(|(theirs, own)| theirs.is_before(own));
            if waits && *earlier != call && (is_lent || is_before) {
                let is_callback = ledger.calls[&call].dialing;
                let rule = if is_callback { "callbacks never jump the line" } else { "first come, first served" };
                let text = format!("{rule}: {} is offered {call} before {earlier}", agent.1);
                self.passed.entry(*earlier).or_insert((now + RESERVED_MAX, text));
            }
        }
        Ok(())
    }

    /// The caller is over, offered, or elsewhere.
    pub fn gone(&mut self, call: CallId) {
        self.passed.remove(&call);
    }

    /// The files that may be in force at the moment: the last, or where it is new, those before it too.
    fn files(&self, at: Timestamp, tenant: &TenantId) -> &[std::sync::Arc<Tenant>] {
        let Some((recent, declared)) = self.recent.get(tenant) else { return &[] };
        let is_old = *declared + IDLE_MIN <= at;
        if is_old { &recent[recent.len().saturating_sub(1)..] } else { recent }
    }

    /// By each of those files.
    fn ranks(&self, at: Timestamp, ledger: &Ledger, call: CallId) -> Vec<Rank> {
        let extra = self.tampered.get(&call).copied().unwrap_or(0);
        let files = self.files(at, &ledger.calls[&call].tenant).iter();
        files.map(|tenant| rank(tenant, at, ledger, call, extra)).collect()
    }

    fn may_have(&self, now: Timestamp, ledger: &Ledger, workers: &Workers, call: &CallId, agent: &AgentName) -> bool {
        let key = (ledger.calls[call].tenant.clone(), agent.clone());
        let is_ready = ledger.agents.get(&key).is_some_and(|day| day.state == AgentState::Ready);
        is_ready && self.is_there(now, ledger, &key) && self.fits(now, ledger, workers, call, agent)
    }

    /// Whether the agent's desk and phone are there, and not too many offers failed.
    fn is_there(&self, now: Timestamp, ledger: &Ledger, key: &Agent) -> bool {
        let Some(day) = ledger.agents.get(key) else { return false };
        let Some(tenant) = self.tenants.get(&key.0) else { return false };
        let Some(decl) = tenant.doc.agent.iter().find(|a| a.name == key.1) else { return false };
        let reach = self.reach.get(key).copied().unwrap_or_default();
        let at_desk = match reach.desk {
            Some(Desk::Connected) => true,
            Some(Desk::Gone(since)) => now.since(since) < DESK_GRACE,
            None => false,
        };
        reach.phone && (decl.always_ready || at_desk) && !day.is_blocked(now)
    }

    /// Whether the agent serves a queue that the caller asks, with the skills for it, and the caller still waits.
    fn fits(&self, now: Timestamp, ledger: &Ledger, workers: &Workers, call: &CallId, agent: &AgentName) -> bool {
        let story = &ledger.calls[call];
        let Some(tenant) = self.tenants.get(&story.tenant) else { return false };
        let skipped = story.skipped.get(agent).is_some_and(|until| *until > now);
        matches!(way(tenant, now, ledger, *call, agent), Some(Way::Asked(_)))
            && !skipped
            && story.paused_until <= now
            && !workers.is_closed(*call)
            && !workers.goodbyes.contains(call)
    }

    /// How the agent may have come to the caller, by a file of late.
    fn way(&self, at: Timestamp, ledger: &Ledger, call: CallId, agent: &AgentName) -> Option<Way> {
        let (recent, _) = self.recent.get(&ledger.calls[&call].tenant)?;
        recent.iter().filter_map(|tenant| way(tenant, at, ledger, call, agent)).min()
    }

    /// When the agent was chosen, and how they may have come to the caller: at that moment; or, by a program that has just
    /// taken up, when a step began while nobody was there, for what fell due by then is decided as of its own time.
    fn decided(&self, at: Timestamp, ledger: &Ledger, call: CallId, agent: &AgentName) -> Option<(Timestamp, Way)> {
        let (alive, _) = self.down.filter(|(_, since)| *since == at).unwrap_or((at, at));
        let (recent, _) = self.recent.get(&ledger.calls[&call].tenant)?;
        let began = recent.iter().flat_map(|tenant| step_begins(tenant, ledger, call));
        let began = began.filter(|begin| alive <= *begin && *begin < at);
        std::iter::once(at).chain(began).find_map(|at| Some((at, self.way(at, ledger, call, agent)?)))
    }

    /// No other agent who was free all the while came before by the queue's strategy, where that is a matter of the file.
    fn check_choice(
        &self,
        at: Timestamp,
        ledger: &Ledger,
        call: CallId,
        agent: &Agent,
        others: &[AgentName],
    ) -> Result<(), String> {
        let story = &ledger.calls[&call];
        let Some((recent, declared)) = self.recent.get(&agent.0) else { return Ok(()) };
        // What is chosen under one file is not held against another.
        let Some(tenant) = recent.last().filter(|_| *declared + IDLE_MIN <= at) else { return Ok(()) };
        let (Some(queue), Some(chosen)) =
            (queue_of(tenant, ledger, call), standing(tenant, at, ledger, call, &agent.1))
        else {
            return Ok(());
        };
        if preferred(tenant, at, ledger, call).is_some() || story.direct.is_some() {
            return Ok(());
        }
        if story.missed.iter().any(|(name, _)| *name == agent.1) || story.offers.len() > 1 {
            return Ok(());
        }
        for other in others.iter().filter(|other| story.skipped.get(*other).is_none_or(|until| *until <= at)) {
            let before = standing(tenant, at, ledger, call, other).is_some_and(|other| other < chosen);
            if before {
                let text = format!("{} is offered {call}, and {other} is free", agent.1);
                return Err(format!("the better choice by {:?}: {text}", queue.strategy));
            }
        }
        Ok(())
    }
}
