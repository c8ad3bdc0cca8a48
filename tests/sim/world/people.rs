//! Callers, phones and desks: what they do, and what they hear of.

use std::time::Duration;

use bytes::Bytes;
use cti_base::{CallId, Timestamp};
use cti_sip::{Flow, Packet, SessionId, Transmit, Transport};
use cti_switch::desk::{Command, WantedState};
use cti_switch::{CommandId, Input, Presence};

use super::{CALM, Due, START_MS, World};
use crate::checks::Desk;
use crate::desk;
use crate::ledger::Agent;
use crate::profile::SWITCH;
use crate::ua::Happened;

impl World {
    // The callers.

    pub(super) fn dial(&mut self, n: usize) {
        let caller = self.profile.callers[n].clone();
        let now = self.now;
        let session = self.uas[caller.tenant].dial(now, caller.did, SWITCH, &caller.number, caller.offer);
        self.dialled.insert(n, session);
        self.pump(caller.tenant);
        self.later(caller.patience, Due::GiveUp(n));
        for (after, digit) in caller.digits {
            self.later(after, Due::Digit(n, digit));
        }
    }

    pub(super) fn caller_hangs_up(&mut self, n: usize) {
        if let Some(session) = self.dialled.get(&n).copied() {
            let ua = self.profile.callers[n].tenant;
            self.uas[ua].endpoint.hangup(self.now, session, None);
            self.pump(ua);
        }
    }

    /// Where the customer's side of a call is, called or calling.
    pub(super) fn customer_of(&self, call: CallId) -> Option<(usize, SessionId)> {
        let story = &self.ledger.calls[&call];
        if story.outbound {
            return self.called(call);
        }
        let caller = *self.callers.get(&story.from)?;
        Some((self.profile.callers[caller].tenant, *self.dialled.get(&caller)?))
    }

    pub(super) fn customer_hangs_up(&mut self, call: CallId) {
        if let Some((n, session)) = self.customer_of(call) {
            self.uas[n].endpoint.hangup(self.now, session, None);
            self.pump(n);
        }
    }

    // The phones.

    /// The phone and the session in which the call's agent talks.
    pub(super) fn phone_of(&self, call: CallId) -> Option<(usize, SessionId)> {
        let story = &self.ledger.calls[&call];
        let (name, _) = story.answered.as_ref()?;
        let agent = (story.tenant.clone(), name.clone());
        let n = self.uas.iter().position(|ua| ua.agent.as_ref() == Some(&agent))?;
        let is_it = |id: &String| self.wire.invites.get(id).is_some_and(|known| *known == call.to_string());
        let (session, _) = self.uas[n].calls.iter().find(|(_, ua_call)| ua_call.answered && is_it(&ua_call.call_id))?;
        Some((n, *session))
    }

    pub(super) fn ringing(&mut self, n: usize, session: SessionId) {
        if n < self.profile.carriers.len() {
            return self.customer_rings(n, session);
        }
        let ms = Duration::from_millis;
        let odd = self.rng.below(1_000) < self.profile.bad_phones;
        let ring = ms(self.rng.below(60));
        if !odd {
            let after = ms(300 + self.rng.below(5_000));
            self.later(ring, Due::Ring(n, session));
            self.later(ring + after, Due::Answer(n, session, false));
            return;
        }
        match self.rng.below(8) {
            0 | 1 => {
                let code = [486, 480, 603, 500][self.rng.below(4) as usize];
                let after = ms(self.rng.below(3_000));
                self.later(after, Due::Refuse(n, session, code));
            }
            2 => self.later(ring, Due::Ring(n, session)),
            // About when the ring timeout comes: 200 and CANCEL cross.
            3 | 4 => {
                let timeout = ms(self.settings[0].ring_timeout_s * 1_000);
                self.later(ring, Due::Ring(n, session));
                let after = (timeout + ms(self.rng.below(300))).saturating_sub(ms(150));
                self.later(after, Due::Answer(n, session, false));
            }
            5 => self.later(ms(0), Due::Answer(n, session, false)),
            6 => {
                self.later(ring, Due::Answer(n, session, false));
                let after = ring + ms(self.rng.below(40));
                self.later(after, Due::Hangup(n, session));
            }
            _ => self.later(ring, Due::Answer(n, session, true)),
        }
    }

    /// Lets a phone say what it has to say.
    pub(super) fn pump(&mut self, n: usize) {
        let now = self.now;
        for happened in self.uas[n].events(now) {
            match happened {
                Happened::Ringing { session } => self.ringing(n, session),
                Happened::AskedToAnswer { session } => {
                    self.later(Duration::from_millis(30), Due::Answer(n, session, false))
                }
                Happened::Registered => {
                    if let Some(agent) = self.uas[n].agent.clone()
                        && self.is_declared(&agent)
                    {
                        self.fairness.reach.entry(agent).or_default().phone = true;
                    }
                }
            }
        }
        let deaf = self.uas[n].deaf_until > now;
        for Transmit { flow, bytes } in self.uas[n].transmits() {
            if flow.transport == Transport::Tcp {
                self.stream_to_switch(n, flow, bytes);
                continue;
            }
            let from =
                Flow { transport: flow.transport, local: flow.remote, remote: self.uas[n].address, connection: None };
            if deaf {
                continue;
            }
            for after in self.profile.network.copies(&mut self.rng) {
                self.later(after, Due::ToSwitch(Packet { flow: from, bytes: bytes.clone() }));
            }
        }
    }

    /// What a phone writes by its stream comes whole and in order, while there is a program to read it.
    fn stream_to_switch(&mut self, n: usize, flow: Flow, bytes: Bytes) {
        if self.node.is_down() {
            return self.later(Duration::from_millis(1), Due::NoStream(n, flow));
        }
        let connection = Some(self.streams.to(n).at_switch);
        let flow = Flow { transport: Transport::Tcp, local: flow.remote, remote: self.uas[n].address, connection };
        self.later(self.profile.network.delay, Due::ToSwitch(Packet { flow, bytes }));
    }

    // The desks.

    pub(super) fn command(&mut self, agent: Agent, command: Command) -> Result<(), String> {
        if self.node.is_down() {
            return Ok(());
        }
        self.commands += 1;
        let id = CommandId(self.commands);
        self.unanswered.insert(id, (agent.clone(), command.clone()));
        let (tenant, agent) = agent;
        self.input(Input::Desk { tenant, agent, id, command })
    }

    pub(super) fn change_state(&mut self, n: usize) -> Result<(), String> {
        let agent = self.agent(n);
        let is_first = self.now < Timestamp::from_millis(START_MS + 5_000);
        if self.now < self.end - CALM {
            let after = Duration::from_millis(5_000 + self.rng.below(60_000));
            self.later(after, Due::State(n));
        }
        let command = if is_first {
            Command::SetState { state: WantedState::Ready, reason: None }
        } else {
            desk::state(&mut self.rng)
        };
        if self.profile.agents[n].desk {
            if !is_first && self.rng.below(8) == 0 {
                let connected = self.rng.below(3) > 0;
                let after = Duration::from_millis(self.rng.below(40_000));
                self.later(Duration::ZERO, Due::Desk(n, false));
                self.later(after, Due::Desk(n, connected));
            }
            return self.command(agent, command);
        }
        Ok(())
    }

    pub(super) fn desk(&mut self, n: usize, connected: bool) -> Result<(), String> {
        let (tenant, agent) = self.agent(n);
        let key = (tenant.clone(), agent.clone());
        if !self.is_declared(&key) {
            return Ok(());
        }
        if self.node.is_down() {
            // Nobody is there to connect to; it tries again.
            if connected {
                self.later(Duration::from_secs(1), Due::Desk(n, true));
            }
            return Ok(());
        }
        let reach = self.fairness.reach.entry(key.clone()).or_default();
        self.presences.push((key, reach.desk));
        let presence = if connected {
            reach.desk = Some(Desk::Connected);
            Presence::Connected
        } else {
            if matches!(reach.desk, Some(Desk::Connected)) {
                reach.desk = Some(Desk::Gone(self.now));
            }
            Presence::Disconnected
        };
        self.input(Input::DeskPresence { tenant, agent, presence })
    }

    pub(super) fn commands_later(&mut self, agent: &Agent, commands: Vec<(Duration, Command)>) {
        let has_desk = self.profile.agents.iter().any(|a| a.desk && a.tenant == agent.0 && a.name == agent.1);
        if has_desk {
            for (after, command) in commands {
                self.later(after, Due::Command(agent.clone(), command));
            }
        }
    }

    pub(super) fn agent(&self, n: usize) -> Agent {
        (self.profile.agents[n].tenant.clone(), self.profile.agents[n].name.clone())
    }

    pub(super) fn is_declared(&self, agent: &Agent) -> bool {
        self.fairness.tenants.get(&agent.0).is_some_and(|t| t.doc.agent.iter().any(|decl| decl.name == agent.1))
    }
}
