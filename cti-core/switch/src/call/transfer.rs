//! The call is handed on: to a queue, to one agent, into a menu, to an outside number, or to who is on it already. The caller
//! keeps the call and hears music meanwhile; a target that does not take them brings them back to the queue they came from.

use cti_base::{AgentName, CallId, NodeName, Pii, QueueName, Timestamp};
use cti_sip::{Refer, SessionId};

use super::guests::Way;
use super::room::{Floor, Guest, Role, Who};
use super::{Call, Stage, Talking, Wish};
use crate::acd::agent::Task;
use crate::commands::{busy, wrong_state};
use crate::config::{Route, Target};
use crate::desk::{AgentState, Event, Nack, NackCode, To};
use crate::engine::{Engine, Party};
use crate::fact::{Fact, LegRole, OfferEnd, Outcome, SegmentKind};
use crate::timer::{CallTimer, Timer};
use crate::trace::{Destination, TraceEntry};

/// What a phone is told where the desk would be refused.
pub(super) fn status_of(nack: &Nack) -> u16 {
    match nack.code {
        NackCode::Busy => 486,
        NackCode::Forbidden => 403,
        NackCode::BadFrame
        | NackCode::UnknownCommand
        | NackCode::NotYours
        | NackCode::WrongState
        | NackCode::AnswerOnPhone
        | NackCode::Conflict
        | NackCode::NotSupported => 404,
    }
}

/// Where a call is handed on to, checked.
pub(crate) enum Onward {
    Queue(QueueName),
    Agent(AgentName),
    Ivr { name: String, node: Option<NodeName> },
    Number(Box<Way>),
}

impl Onward {
    fn destination(&self) -> Destination {
        match self {
            Self::Queue(name) => Destination::Queue(name.clone()),
            Self::Agent(name) => Destination::Agent(name.clone()),
            Self::Ivr { name, node: _ } => Destination::Ivr(name.clone()),
            Self::Number(way) => Destination::Number(way.outside.number.expose().clone()),
        }
    }
}

impl Engine {
    /// The agent hands the call on, unseen by whoever gets it.
    pub(crate) fn transfer(&mut self, now: Timestamp, id: CallId, by: &AgentName, to: To) -> Result<(), Nack> {
        let onward = self.may_transfer(now, id, by, to)?;
        self.hand_on(now, id, onward, "transferred");
        Ok(())
    }

    /// The agent's phone hands the call on (RFC 3515): under the same rules as the desk. Nobody else's phone may, least of all
    /// a trunk's.
    pub(crate) fn referred(&mut self, now: Timestamp, session: SessionId, refer: &Refer) {
        if let Some(replaces) = &refer.replaces {
            return self.referred_to_line(now, session, replaces);
        }
        match self.may_refer(now, session, refer) {
            Ok((id, onward)) => {
                self.endpoint.answer_refer(now, session, 202);
                self.hand_on(now, id, onward, "transferred");
            }
            Err(code) => self.endpoint.answer_refer(now, session, code),
        }
    }

    fn may_refer(&self, now: Timestamp, session: SessionId, refer: &Refer) -> Result<(CallId, Onward), u16> {
        const DECLINED: u16 = 603;
        let Some((id, Party::Agent)) = self.sessions.get(&session).copied() else { return Err(DECLINED) };
        let talking = self.calls.get(&id).and_then(|call| call.talking()).ok_or(DECLINED)?;
        let by = talking.agent.clone().filter(|_| talking.leg.session == Some(session)).ok_or(DECLINED)?;
        let to = self.named_by_phone(id, &refer.target.user).ok_or(DECLINED)?;
        let onward = self.may_transfer(now, id, &by, to).map_err(|nack| status_of(&nack))?;
        Ok((id, onward))
    }

    /// Whom a phone of the call's tenant means by a user part: an agent, a queue, else a number.
    pub(super) fn named_by_phone(&self, id: CallId, user: &Pii<String>) -> Option<To> {
        let state = self.calls.get(&id).and_then(|call| self.tenants.get(&call.tenant))?;
        let name = user.expose().as_str();
        Some(if state.agents.contains_key(name) {
            To::Agent { agent: name.into() }
        } else if state.queues.contains_key(name) {
            To::Queue { queue: name.into() }
        } else {
            To::Number { number: user.clone() }
        })
    }

    fn may_transfer(&self, now: Timestamp, id: CallId, by: &AgentName, to: To) -> Result<Onward, Nack> {
        let Some(talking) = self.calls.get(&id).and_then(|call| call.talking()) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        if talking.consulted().is_some() {
            return Err(wrong_state("Complete or cancel the consultation first."));
        }
        if talking.members().next().is_some() {
            return Err(wrong_state("Leave the conference instead: the others go on."));
        }
        self.check_target(now, id, by, to)
    }

    /// What the agent asked for, as far as it is there and may be.
    fn check_target(&self, now: Timestamp, id: CallId, by: &AgentName, to: To) -> Result<Onward, Nack> {
        let Some(call) = self.calls.get(&id) else { return Err(wrong_state("This call is over.")) };
        let Some(state) = self.tenants.get(&call.tenant) else { return Err(wrong_state("This call is over.")) };
        match to {
            To::Queue { queue } if state.queues.contains_key(&queue) => Ok(Onward::Queue(queue)),
            To::Queue { queue: _ } => Err(wrong_state("There is no such queue.")),
            To::Agent { agent } if agent == *by => Err(wrong_state("This is yourself.")),
            To::Agent { agent } => match state.agents.get(&agent).filter(|known| !known.removed) {
                None => Err(wrong_state("There is no such agent.")),
                Some(known) if known.decl.queues.is_empty() => Err(wrong_state("This agent takes no calls.")),
                Some(known) if !known.is_reachable() => Err(wrong_state("This agent's phone can not be rung.")),
                Some(known) => match known.state {
                    AgentState::Ready => Ok(Onward::Agent(agent)),
                    // The call would wait for them.
                    AgentState::Offered | AgentState::Talking | AgentState::Wrapup => Ok(Onward::Agent(agent)),
                    AgentState::Offline | AgentState::Break => Err(busy(format!("{} is away.", known.display()))),
                },
            },
            To::Ivr { ivr, node } => {
                let Some(script) = state.tenant.scripts.get(&ivr) else {
                    return Err(wrong_state("There is no such menu."));
                };
                if node.as_ref().is_some_and(|node| !script.has_node(node.as_str())) {
                    return Err(wrong_state("The menu has no such node."));
                }
                Ok(Onward::Ivr { name: ivr, node })
            }
            To::Number { number } => Ok(Onward::Number(Box::new(self.way_out(now, id, number.expose())?))),
        }
    }

    /// The agent leaves; the customer goes on.
    pub(super) fn hand_on(&mut self, now: Timestamp, id: CallId, onward: Onward, cause: &str) {
        let leg = match &onward {
            // Between the check and here nothing happens; to the queue they came from, if something does.
            Onward::Number(way) => self.dial_out(now, id, way).ok(),
            Onward::Queue(_) | Onward::Agent(_) | Onward::Ivr { .. } => None,
        };
        let Some(mut call) = self.calls.remove(&id) else { return };
        let Stage::Talking(mut talking) = call.take_stage() else {
            self.calls.insert(id, call);
            return;
        };
        self.timers.cancel_call(id);
        self.dismiss_guests(now, &mut call, &mut talking, cause);
        let pop = call.pop(talking.wait_ms);
        self.part_lead(now, &mut call, &mut talking, cause);
        call.back = talking.queue.clone().or_else(|| call.queue.clone());
        call.segment(now, None);
        call.playing = None;
        call.stage_since = now;
        let (tenant, destination) = (call.tenant.clone(), onward.destination());
        let view = talking.agent.as_ref().map(|_| call.handed_view(now, &talking, pop, cause));
        self.calls.insert(id, call);
        self.arrange_recording(id);
        if let Some(agent) = &talking.agent {
            let (agent, to) = (agent.clone(), destination.clone());
            self.fact(Fact::Transferred { tenant, call: id, agent: agent.clone(), to: to.clone() });
            self.trace(now, id, TraceEntry::Transferred { agent, to });
        }
        match (onward, leg) {
            (Onward::Queue(name), _) => self.enqueue(now, id, &name, Wish::default()),
            (Onward::Agent(name), _) => self.enqueue_for(now, id, &name, Wish::default()),
            (Onward::Ivr { name, node }, _) => self.enter_menu(now, id, &name, node),
            (Onward::Number(way), Some(leg)) => self.send_to(now, id, way.outside, leg, None),
            (Onward::Number(_), None) => self.bring_back(now, id, "not_dialled"),
        }
        // After the customer: who is free at once finds them in the line.
        if let Some(view) = view {
            self.end_talk(now, *talking, view);
        }
        self.changed();
    }

    /// To the queue that the call was handed on from; goodbye where there is none any more.
    pub(crate) fn bring_back(&mut self, now: Timestamp, id: CallId, cause: &str) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let back = call.back.take();
        let Some(queue) = back else { return self.say_goodbye(now, id, cause) };
        self.trace(now, id, TraceEntry::BroughtBack { queue: queue.clone(), cause: cause.to_owned() });
        self.enqueue(now, id, &queue, Wish::default());
    }

    /// The one agent that a call was handed to does not take it: back to the queue it came from. Whether it was one.
    pub(crate) fn transfer_refused(&mut self, now: Timestamp, id: CallId, cause: &str) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let is_direct = call.waiting().is_some_and(|waiting| waiting.wish.agent.is_some());
        if !is_direct {
            return false;
        }
        let Some(queue) = call.back.take() else { return false };
        self.overflow_waiting(now, id, cause, Some(Target::Queue(queue)));
        true
    }

    /// Who has the call leaves it to somebody who is on it already.
    pub(super) fn succeed(&mut self, now: Timestamp, id: CallId, number: u32, cause: &str) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        let Stage::Talking(mut talking) = call.take_stage() else {
            self.calls.insert(id, call);
            return;
        };
        let at = talking.guests.iter().position(|guest| guest.number == number && guest.on().is_some());
        let Some(guest) = at.map(|at| talking.guests.remove(at)) else {
            call.stage = Stage::Talking(talking);
            self.calls.insert(id, call);
            return;
        };
        let super::room::Step::On(leg) = guest.step else { return };
        let pop = call.pop(talking.wait_ms);
        if let Some(at) = talking.guests.iter().position(|guest| guest.role == Role::Line) {
            let (line, left) = (talking.guests.remove(at), call.left_view(now, &talking, cause));
            self.close_guest(now, &mut call, line, left, OfferEnd::Withdrawn, cause);
        }
        self.part_lead(now, &mut call, &mut talking, cause);
        let view = talking.agent.as_ref().map(|_| call.handed_view(now, &talking, pop, cause));
        let (agent, outside) = match guest.who {
            Who::Agent(agent) => (Some(agent), None),
            Who::Outside(outside) => (None, Some(outside)),
            Who::Lead => (None, None),
        };
        let mut next = Talking::new(now, agent.clone(), *leg, talking.queue.clone());
        next.outside = outside;
        next.case_kind = talking.case_kind.clone();
        next.wait_ms = talking.wait_ms;
        next.recording = talking.recording;
        next.muted = guest.muted;
        next.heard = std::mem::take(&mut talking.heard);
        next.guests_ever = talking.guests_ever;
        // Whoever the former agent had asked comes or stays with the next one.
        next.guests = std::mem::take(&mut talking.guests);
        for other in next.guests.iter_mut().filter(|other| other.role == Role::Consulted) {
            other.role = Role::Member;
        }
        if let Some(agent) = &agent {
            call.agent = Some(agent.clone());
        }
        call.segment(now, Some(if agent.is_some() { SegmentKind::Talk } else { SegmentKind::Outside }));
        call.stage = Stage::Talking(Box::new(next));
        call.stage_since = now;
        let tenant = call.tenant.clone();
        self.calls.insert(id, call);
        self.timers.cancel(&Timer::Call(id, CallTimer::BrowserAway));
        let former = talking.agent.clone();
        if let Some(agent) = &agent {
            if let Some(known) = self.agent_mut(&tenant, agent) {
                known.served = None;
            }
            self.fact(Fact::Answered { tenant: tenant.clone(), call: id, agent: agent.clone() });
        }
        if let Some(by) = former {
            let to = agent.map_or_else(
                || Destination::Number(self.calls.get(&id).map(Call::outside_number).unwrap_or_default()),
                Destination::Agent,
            );
            self.fact(Fact::Transferred { tenant: tenant.clone(), call: id, agent: by.clone(), to: to.clone() });
            self.trace(now, id, TraceEntry::Transferred { agent: by, to });
        }
        self.arrange(id);
        self.follow_browser(now, id);
        self.tell_parties(id);
        if let Some(view) = view {
            self.end_talk(now, *talking, view);
        }
        self.changed();
    }

    /// Whoever is to have the call next if the one who has it goes: who is consulted, an agent of the conference, anybody of it.
    pub(super) fn next_lead(&self, id: CallId) -> Option<u32> {
        let talking = self.calls.get(&id)?.talking()?;
        let on = |guest: &&Guest| guest.on().is_some() && !matches!(guest.role, Role::Supervisor(_) | Role::Line);
        let rank = |guest: &&Guest| (guest.role != Role::Consulted, matches!(guest.who, Who::Outside(_)), guest.number);
        talking.guests.iter().filter(on).min_by_key(rank).map(|guest| guest.number)
    }

    /// The dialog of whoever has the call is over, or they hung up at the desk: the others go on; a customer who is on hold
    /// for somebody who is still being rung comes back to their queue.
    pub(crate) fn lead_gone(&mut self, now: Timestamp, id: CallId, cause: &str) {
        let Some(talking) = self.calls.get(&id).and_then(|call| call.talking()) else { return };
        let is_aside = talking.floor == Floor::Aside;
        if let Some(next) = self.next_lead(id) {
            self.succeed(now, id, next, cause);
            return;
        }
        let back = talking.queue.clone().filter(|_| is_aside);
        match back {
            Some(queue) => self.hand_on(now, id, Onward::Queue(queue), cause),
            None => self.end_call(now, id, Outcome::Answered, cause),
        }
    }

    /// All guests leave with the talk. The call is not among the calls.
    pub(super) fn dismiss_guests(&mut self, now: Timestamp, call: &mut Call, talking: &mut Talking, cause: &str) {
        for guest in std::mem::take(&mut talking.guests) {
            let left = call.left_view(now, talking, cause);
            self.close_guest(now, call, guest, left, OfferEnd::Withdrawn, cause);
        }
    }

    /// The leg, the dialog and the counts of who has had the call. The call is not among the calls.
    pub(super) fn part_lead(&mut self, now: Timestamp, call: &mut Call, talking: &mut Talking, cause: &str) {
        let session = talking.leg.session.take();
        let mut record = Self::leg_record(now, &talking.leg, talking.agent.as_ref(), cause);
        if talking.agent.is_none() {
            record.role = LegRole::Outside;
        }
        Self::add_leg_record(&mut call.legs, record);
        self.end_session(now, session, None);
        self.close_media(talking.leg.id);
        let held_since = talking.held_since.take();
        if let Some(since) = held_since {
            talking.hold += super::hold::held_for(now, since);
        }
        self.count_talk(now, call, talking, held_since);
        if let Some(outside) = talking.outside.take() {
            let tenant = call.tenant.clone();
            self.give_back(&tenant, &outside);
        }
    }

    /// Everyone on the call but who has it sees who is on it; so does who has it.
    pub(crate) fn tell_parties(&mut self, id: CallId) {
        self.tell_desk(id, Event::CallParties);
    }

    /// Whether the agent's task is to be on this call, as who has it.
    pub(crate) fn leads(&self, id: CallId, agent: &AgentName) -> bool {
        self.calls.get(&id).and_then(|call| call.talking()).is_some_and(|talking| talking.agent.as_ref() == Some(agent))
    }

    /// The agent's number as a guest of the call.
    pub(crate) fn guest_number(&self, id: CallId, agent: &AgentName) -> Option<u32> {
        self.calls.get(&id)?.guest_of(agent).map(|guest| guest.number)
    }

    /// The target of a consultation of a queue: whoever of it has been idle for longest and may be rung at this moment.
    pub(super) fn free_of_queue(&self, now: Timestamp, id: CallId, queue: &QueueName) -> Result<AgentName, Nack> {
        let state = self.calls.get(&id).and_then(|call| self.tenants.get(&call.tenant));
        let Some(state) = state else { return Err(wrong_state("This call is over.")) };
        let Some(decl) = state.queues.get(queue).map(|queue| &queue.decl) else {
            return Err(wrong_state("There is no such queue."));
        };
        let has = |agent: &crate::acd::agent::Agent| {
            let level = |skill: &String| agent.decl.skills.get(skill).copied().unwrap_or_default();
            agent.decl.queues.contains(queue) && decl.requires.iter().all(|(skill, least)| level(skill) >= *least)
        };
        let free = state.agents.values().filter(|agent| agent.is_offerable(now) && matches!(agent.task, Task::Idle));
        let longest = free.filter(|agent| has(agent)).min_by_key(|agent| (agent.idle_since, agent.decl.name.clone()));
        longest.map(|agent| agent.decl.name.clone()).ok_or_else(|| busy("Nobody of this queue is free.".to_owned()))
    }
}

impl Call {
    /// The stage, out of the call: another is to be put there at once. What stands there meanwhile says where it would go.
    pub(super) fn take_stage(&mut self) -> Stage {
        let route = Route::Queue(self.queue.clone().unwrap_or_else(|| QueueName::from("")));
        std::mem::replace(&mut self.stage, Stage::Answering(route))
    }
}
