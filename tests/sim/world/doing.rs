//! What goes into the switch, and what it wants done.

use std::time::Duration;

use cti_base::{CallId, LegId, Pii, Rng, Timestamp};
use cti_media::{Hears, MediaCommand};
use cti_sip::{Flow, Packet, Transmit, Transport};
use cti_switch::desk::{CallerRecords, Candidate, PopCase};
use cti_switch::{CallbackState, Effect, Input};

use super::{Due, How, START_MS, Tamper, World, first_line, short};
use crate::checks::Told;
use crate::desk;
use crate::media::{Meant, ensure};
use crate::node::Step;
use crate::profile::{SWITCH, address};
use crate::wire::Sent;

impl World {
    /// What comes while the program is down comes for nobody.
    pub(super) fn input(&mut self, input: Input) -> Result<(), String> {
        if self.node.is_down() {
            return Ok(());
        }
        self.inputs += 1;
        if self.trace {
            let at = self.now.since(Timestamp::from_millis(START_MS));
            match &input {
                Input::Sip(packet) => println!("{at:?} < {} {}", packet.flow.remote, first_line(&packet.bytes)),
                Input::Tick => {}
                other => println!("{at:?} < {}", short(&format!("{other:?}"))),
            }
        }
        if let Input::Media(event) = &input {
            self.workers.reported(event);
        }
        if self.node.is_moot(self.now, &input) {
            return Ok(());
        }
        if !self.node.has_open_group() {
            self.open_group();
        }
        let hash = self.node.handle(self.now, input)?;
        self.digest = (self.digest ^ hash).wrapping_mul(0x0100_0000_01b3);
        if self.may_be_seen_and_lost() {
            self.later(Duration::ZERO, Due::Crash(How::Lost));
        }
        Ok(())
    }

    /// The open group is durable, and what it wants is done: all of it, or so many effects before the program dies.
    pub(super) fn commit(&mut self, most: Option<usize>) -> Result<(), String> {
        let mut left = most.unwrap_or(usize::MAX);
        self.presences.clear();
        for Step { at, is_restart, event, caller, effects } in self.node.commit() {
            self.arming = is_restart;
            if is_restart {
                self.begin_again(at);
            }
            if let Some(event) = &event {
                self.workers.known(event);
            }
            if let Some((call, records)) = &caller {
                self.ledger.records(call, records.as_deref());
            }
            for effect in effects {
                self.show(at, &effect);
                if let Effect::Media { call, command } = &effect {
                    let in_menu = self.ledger.is_in_menu(call);
                    let meant = if is_restart { Meant::Again { in_menu } } else { Meant::Anew };
                    self.workers.asked(*call, command, meant)?;
                }
                match effect {
                    // The journal has it, whatever becomes of the rest.
                    Effect::Fact(fact) => self.fact(at, fact)?,
                    effect if left > 0 => {
                        left -= 1;
                        self.carry_out(effect)?;
                    }
                    Effect::Send(transmit) => self.wire.lost(&transmit.bytes),
                    _ => {}
                }
            }
            if is_restart && left > 0 {
                self.workers.check_armed()?;
            }
        }
        self.arming = false;
        self.fairness.after(self.now, &self.ledger, &self.workers);
        Ok(())
    }

    pub(super) fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Send(transmit) => self.send(&transmit),
            Effect::Media { call, command } => self.media(call, command),
            Effect::LookUp { tenant, call, number } => {
                let story = &self.ledger.calls[&call];
                ensure(story.tenant == tenant && story.customer() == number.expose(), || {
                    format!("{call} is looked up as another's")
                })?;
                self.look_up(call);
                Ok(())
            }
            Effect::Offer { tenant, agent, offer } => {
                if self.once(Tamper::NoFrame) {
                    return Ok(());
                }
                let story = &self.ledger.calls[&offer.call_id];
                ensure(story.tenant == tenant, || {
                    format!("one tenant never sees another: {agent} of {tenant} is shown {}", offer.call_id)
                })?;
                ensure(offer.pop.number == Pii::new(story.customer().to_owned()), || {
                    format!("the pop of {} shows another number", offer.call_id)
                })?;
                self.frames.insert(offer.offer_id);
                if self.rng.below(20) > 0 {
                    let after = Duration::from_millis(self.rng.below(30));
                    self.later(after, Due::Input(Box::new(Input::OfferShown { offer: offer.offer_id })));
                }
                let commands = desk::on_offer(&mut self.rng, offer.offer_id);
                self.commands_later(&(tenant, agent), commands);
                Ok(())
            }
            Effect::Desk { tenant, agent, event: _ } => {
                let key = (tenant, agent);
                let known = self.uas.iter().any(|ua| ua.agent.as_ref() == Some(&key));
                ensure(known, || format!("an event for {key:?}, who is nobody"))
            }
            Effect::Reply { id, result: _ } => {
                if self.dies_no_more() && self.once(Tamper::NoReply) {
                    return Ok(());
                }
                let known = self.unanswered.remove(&id);
                ensure(known.is_some(), || format!("command {id:?} is answered twice or was never given"))
            }
            Effect::CallbackAnswer { id, result } => {
                ensure(self.asks.remove(&id), || format!("ask {id:?} is answered twice or was never given: {result:?}"))
            }
            Effect::Fact(fact) => self.fact(self.now, fact),
            Effect::Measure(_) => Ok(()),
        }
    }

    pub(super) fn send(&mut self, transmit: &Transmit) -> Result<(), String> {
        let sent = self.wire.sent(&transmit.bytes)?;
        let to = self.at.get(&transmit.flow.remote).copied();
        if let Sent::Invite { call, was_lost } = &sent {
            let agent = to.and_then(|n| self.uas[n].agent.clone());
            let agent = agent.ok_or_else(|| format!("an INVITE to {}, where no phone is", transmit.flow.remote))?;
            let story = CallId::parse(call).and_then(|call| self.ledger.calls.get(&call));
            let story = story.ok_or_else(|| format!("a phone rings for {call}, which is unknown"))?;
            let mut offers = story.offers.iter().filter(|(_, name)| **name == agent.1 && story.tenant == agent.0);
            match offers.next() {
                Some((offer, _)) => {
                    ensure(self.frames.contains(offer), || {
                        format!("{}'s phone rings for {call} before its frame", agent.1)
                    })?;
                }
                None => ensure(*was_lost, || {
                    format!("one agent, one offer: {} rings for {call} without an offer", agent.1)
                })?,
            }
        }
        if let Sent::Dialled { number, was_lost } = sent {
            let dialled =
                |told: &Told| told.view.state == CallbackState::Dialing && *told.view.number.expose() == number;
            let is_known = was_lost || self.fairness.callbacks.open.values().any(dialled);
            ensure(is_known, || format!("{number} is dialled and is nobody's callback"))?;
            return self.deliver(to, transmit);
        }
        if self.tamper == Tamper::OtherFinal && transmit.bytes.starts_with(b"SIP/2.0 200") && self.wire.messages > 500 {
            let text = String::from_utf8_lossy(&transmit.bytes).replacen("SIP/2.0 200 OK", "SIP/2.0 486 Busy Here", 1);
            if text.contains(" INVITE\r\n") {
                self.wire.sent(text.as_bytes())?;
            }
        }
        self.deliver(to, transmit)
    }

    fn deliver(&mut self, to: Option<usize>, transmit: &Transmit) -> Result<(), String> {
        let Some(n) = to else { return Ok(()) };
        if transmit.flow.transport == Transport::Tcp {
            self.streams.check(n, transmit.flow.connection)?;
            let connection = Some(self.streams.to(n).at_phone);
            let (local, remote) = (transmit.flow.remote, address(SWITCH));
            let flow = Flow { transport: Transport::Tcp, local, remote, connection };
            self.later(self.profile.network.delay, Due::ToUa(n, Packet { flow, bytes: transmit.bytes.clone() }));
            return Ok(());
        }
        let back =
            Flow { transport: Transport::Udp, local: transmit.flow.remote, remote: address(SWITCH), connection: None };
        for after in self.profile.network.copies(&mut self.rng) {
            self.later(after, Due::ToUa(n, Packet { flow: back, bytes: transmit.bytes.clone() }));
        }
        Ok(())
    }

    pub(super) fn media(&mut self, call: CallId, command: MediaCommand) -> Result<(), String> {
        let is_close = matches!(command, MediaCommand::Close { .. });
        if is_close && self.dies_no_more() && self.once(Tamper::LeftLeg) {
            return Ok(());
        }
        if self.keeps_unarmed(&command) {
            return Ok(());
        }
        if let MediaCommand::Room { hears } = &command
            && let Some(Hears { leg, .. }) = hears.first().filter(|hears| !hears.from.is_empty())
            && self.once(Tamper::SecondWinner)
        {
            let from = vec![LegId::new(self.now, &mut self.rng)];
            self.workers.asked(call, &MediaCommand::Room { hears: vec![Hears { leg: *leg, from }] }, Meant::Anew)?;
        }
        let bad_ports = self.profile.bad_ports;
        for (after, event) in self.workers.obey(self.now, call, command, bad_ports, &mut self.rng)? {
            self.later(after, Due::Input(Box::new(Input::Media(event))));
        }
        Ok(())
    }

    fn candidate(&mut self, n: u64, agents: &[String]) -> Candidate {
        let agent = |rng: &mut Rng| Some(agents[rng.below(agents.len() as u64) as usize].clone());
        let case = PopCase {
            id: format!("k{n}"),
            kind: "repair".into(),
            title: "It leaks".into(),
            status: "open".into(),
            opened_ms: 0,
            owner: if self.rng.below(2) == 0 { agent(&mut self.rng) } else { None },
        };
        Candidate {
            customer_id: format!("c{n}"),
            name: format!("Customer {n}"),
            why: "phone".into(),
            confidence: 1.0,
            value_class: [None, Some("gold"), Some("silver"), Some("lead")][self.rng.below(4) as usize]
                .map(str::to_owned),
            risk: None,
            company: None,
            products: Vec::new(),
            open_cases: vec![case],
            last_contacts: Vec::new(),
            last_agent: agent(&mut self.rng),
        }
    }

    pub(super) fn look_up(&mut self, call: CallId) {
        let tenant = self.ledger.calls[&call].tenant.clone();
        let mut agents: Vec<String> =
            self.profile.agents.iter().filter(|a| a.tenant == tenant).map(|a| a.name.to_string()).collect();
        agents.push("1999".into());
        let many = match self.rng.below(12) {
            0 => return,
            1 => None,
            2..=8 => Some(1),
            n => Some(n % 3),
        };
        let candidates = many.map(|many| (0..many).map(|n| self.candidate(n, &agents)).collect());
        let records = candidates.map(|candidates| Box::new(CallerRecords { candidates, from_memory: false }));
        let after = self.profile.records_after.mul_f64(2.0 * self.rng.unit());
        self.later(after, Due::Input(Box::new(Input::Caller { call, records })));
    }
}
