//! What falls due: everyone around the switch does what they had in mind.

use std::time::Duration;

use cti_base::Timestamp;
use cti_media::MediaEvent;
use cti_switch::Input;

use super::{Due, WhoHangsUp, World};
use crate::profile::SWITCH;

impl World {
    pub(super) fn happen(&mut self, due: Due) -> Result<(), String> {
        let now = self.now;
        match due {
            Due::Commit => return self.commit(None),
            Due::Snapshot => return self.snapshot(),
            Due::Doom(how) => self.doom(how),
            Due::Crash(how) => return self.crash(how),
            Due::Restart => return self.restart(),
            Due::ToSwitch(packet) => return self.input(Input::Sip(packet)),
            Due::Input(input) => return self.input(*input),
            Due::ToUa(n, packet) => {
                if self.uas[n].deaf_until <= now {
                    self.uas[n].endpoint.handle_packet(now, packet);
                    self.pump(n);
                }
            }
            Due::NoStream(n, flow) => {
                self.uas[n].endpoint.transport_failed(now, flow);
                self.pump(n);
            }
            Due::Dial(caller) => self.dial(caller),
            Due::GiveUp(caller) => {
                let number = &self.profile.callers[caller].number;
                let story = self.ledger.by_number.get(number).map(|call| &self.ledger.calls[call]);
                if story.is_none_or(|story| story.answered.is_none()) {
                    self.caller_hangs_up(caller);
                }
            }
            Due::Digit(caller, digit) => {
                let call = self.ledger.by_number.get(&self.profile.callers[caller].number);
                let leg = call.and_then(|call| self.workers.customers.get(call)).filter(|(_, closed)| !closed);
                if let Some((leg, _)) = leg {
                    return self.input(Input::Media(MediaEvent::Digit { leg: *leg, digit }));
                }
            }
            Due::TalkOver(call, who) => {
                if matches!(who, WhoHangsUp::Caller | WhoHangsUp::Both) {
                    self.customer_hangs_up(call);
                }
                if matches!(who, WhoHangsUp::Phone | WhoHangsUp::Both)
                    && let Some((n, session)) = self.phone_of(call)
                {
                    self.uas[n].endpoint.hangup(now, session, None);
                    self.pump(n);
                }
            }
            Due::PhoneHold(call, held) => {
                if let Some((n, session)) = self.phone_of(call) {
                    self.uas[n].hold(now, session, held);
                    self.pump(n);
                }
            }
            Due::CallerHold(call, held) => {
                if let Some((n, session)) = self.customer_of(call) {
                    self.uas[n].hold(now, session, held);
                    self.pump(n);
                }
            }
            Due::Ring(n, session) => {
                self.uas[n].endpoint.ring(now, session, None);
                self.pump(n);
            }
            Due::Answer(n, session, broken) => {
                self.uas[n].answer(now, session, broken);
                self.pump(n);
            }
            Due::Refuse(n, session, code) => {
                self.uas[n].refuse(now, session, code);
                self.pump(n);
            }
            Due::Hangup(n, session) => {
                self.uas[n].endpoint.hangup(now, session, None);
                self.pump(n);
            }
            Due::Command(agent, command) => return self.command(agent, command),
            Due::State(n) => return self.change_state(n),
            Due::Desk(n, connected) => return self.desk(n, connected),
            Due::Register(n) => {
                let agent = self.profile.agents[n].clone();
                if let Some(secret) = agent.secret.clone() {
                    let (name, ua) = (agent.name.clone(), n + self.profile.carriers.len());
                    self.uas[ua].register(now, SWITCH, agent.transport(), name.as_str(), &secret);
                    self.pump(ua);
                }
            }
            Due::Deaf(n) => {
                let ua = n + self.profile.carriers.len();
                // Shorter than 64*T1: our BYE or CANCEL reaches it in the end.
                // What a stream carries is not lost.
                if !self.profile.agents[n].tcp {
                    self.uas[ua].deaf_until = now + Duration::from_millis(self.rng.below(20_000));
                }
            }
            Due::Tires(n, session) => self.tires(n, session),
            Due::Schedule => return self.schedule(),
            Due::CancelOne => return self.cancel_one(),
            Due::CancelAll => return self.cancel_all(),
            Due::Redeclare => return self.redeclare(),
            Due::Garbage => return self.garbage(),
            Due::Drain => {
                self.fairness.drained = true;
                return self.input(Input::Drain);
            }
            Due::Close => {
                self.fairness.drained = true;
                return self.input(Input::Close);
            }
            Due::AllHangUp => {
                self.later(Duration::ZERO, Due::CancelAll);
                self.customers_hang_up();
                for caller in 0..self.profile.callers.len() {
                    self.caller_hangs_up(caller);
                }
                for n in 0..self.uas.len() {
                    self.uas[n].deaf_until = Timestamp::default();
                    // None of what a phone said may have come through: it could not be cancelled, and rings until it gives up.
                    for session in self.uas[n].ringing() {
                        self.uas[n].refuse(now, session, 480);
                    }
                    self.pump(n);
                }
            }
        }
        Ok(())
    }
}
