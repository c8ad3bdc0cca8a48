//! The program dies, and another process takes up what its journal has.

use std::time::Duration;

use cti_base::Timestamp;
use cti_sip::{Packet, Transport};
use cti_switch::Input;
use cti_switch::limits::TAKE_UP_MAX;

use super::{Due, How, START_MS, Tamper, World};
use crate::checks::{Desk, Reach};

/// The longest that a group of the journal stays open.
const GROUP_MS_MAX: u64 = 6;

impl World {
    /// A group begins: it is durable a little later, unless the program dies before.
    pub(super) fn open_group(&mut self) {
        let open = Duration::from_millis(self.rng.below(self.profile.group_ms_max.min(GROUP_MS_MAX) + 1));
        match self.doomed.take() {
            Some(how) => {
                self.node.remember_hash();
                self.later(open, Due::Crash(how));
            }
            None => self.later(open, Due::Commit),
        }
    }

    pub(super) fn snapshot(&mut self) -> Result<(), String> {
        self.later(self.profile.snapshot_every, Due::Snapshot);
        // A group that the program dies with is none that a snapshot can hold.
        if self.node.is_down() || self.is_dying() {
            return Ok(());
        }
        self.commit(None)?;
        self.node.take_snapshot();
        Ok(())
    }

    /// Mostly with the next group, as most of the time none is open.
    pub(super) fn doom(&mut self, how: How) {
        if self.node.has_open_group() || self.rng.below(5) == 0 {
            self.later(Duration::from_millis(1), Due::Crash(how));
        } else {
            self.doomed = Some(how);
        }
    }

    /// A leg that is left is gone with its process.
    pub(super) fn dies_no_more(&self) -> bool {
        !self.due.values().any(|due| matches!(due, Due::Doom(_) | Due::Crash(_)))
    }

    fn is_dying(&self) -> bool {
        self.due.values().any(|due| matches!(due, Due::Crash(_)))
    }

    pub(super) fn crash(&mut self, how: How) -> Result<(), String> {
        if self.node.is_down() {
            return Ok(());
        }
        let ms = Duration::from_millis;
        let down = match how {
            How::Long => TAKE_UP_MAX + ms(1 + self.rng.below(20_000)),
            How::Upgrade => ms(50 + self.rng.below(250)),
            How::Lost | How::Unsaid => ms(50 + self.rng.below(2_950)),
        };
        match how {
            How::Unsaid => {
                let done = self.rng.below(6) as usize;
                self.commit(Some(done))?;
            }
            How::Upgrade => {
                self.commit(None)?;
                self.node.take_snapshot();
            }
            How::Lost | How::Long => {
                if self.may_be_seen_and_lost() && self.once(Tamper::SeenAndLost) {
                    let seen: Vec<_> = self.node.held().iter().flat_map(|s| s.effects.clone()).collect();
                    for effect in seen {
                        self.carry_out(effect)?;
                    }
                }
            }
        }
        if self.trace {
            println!("{:?} the program dies ({how:?}) for {down:?}", self.now.since(Timestamp::from_millis(START_MS)));
        }
        for n in 0..self.profile.agents.len() {
            let reach = self.fairness.reach.get(&self.agent(n));
            if matches!(reach, Some(Reach { desk: Some(Desk::Connected), .. })) {
                let after = down + Duration::from_millis(self.rng.below(40_000));
                self.later(after, Due::Desk(n, true));
            }
        }
        for (agent, desk) in std::mem::take(&mut self.presences).into_iter().rev() {
            self.fairness.reach.entry(agent).or_default().desk = desk;
        }
        self.node.crash();
        self.last_alive = self.node.last_alive();
        self.crashes += 1;
        self.doomed = None;
        self.workers.die(self.now);
        self.fairness.forget();
        self.unanswered.clear();
        self.asks.clear();
        // A desk that comes back sees in its snapshot what it was to be shown.
        self.frames.extend(self.ledger.calls.values().flat_map(|story| story.offers.keys().copied()));
        self.due.retain(|_, due| !matches!(due, Due::Input(_) | Due::Commit | Due::Crash(_)));
        self.later(down, Due::Restart);
        self.break_streams();
        Ok(())
    }

    /// What is on its way by a stream is lost with it.
    fn break_streams(&mut self) {
        let by_stream = |packet: &Packet| packet.flow.transport == Transport::Tcp;
        self.due.retain(|_, due| !matches!(due, Due::ToSwitch(packet) | Due::ToUa(_, packet) if by_stream(packet)));
        for (n, connection) in self.streams.die() {
            self.uas[n].endpoint.connection_closed(self.now, connection);
        }
    }

    pub(super) fn restart(&mut self) -> Result<(), String> {
        if self.tamper == Tamper::LostInput && self.ledger.calls.len() >= 20 && self.node.lose_an_input() {
            self.tamper = Tamper::Nothing;
        }
        let mut engine = self.node.replay()?;
        if self.rng.below(4) == 0 {
            let again = self.node.replay()?;
            if again.state_hash() != engine.state_hash() {
                return Err("the replay: a second one comes to another state".into());
            }
        }
        if self.tamper == Tamper::ForgottenPlace
            && let Some(changed) = self.node.with_bytes_changed(&engine, |bytes| forget_place(bytes, self.now))?
        {
            self.tamper = Tamper::Nothing;
            engine = changed;
        }
        self.node.start(engine);
        if self.trace {
            println!("{:?} another takes up", self.now.since(Timestamp::from_millis(START_MS)));
        }
        for n in 0..self.profile.agents.len() {
            let agent = self.agent(n);
            let reach = self.fairness.reach.entry(agent).or_default();
            if matches!(reach.desk, Some(Desk::Connected)) {
                reach.desk = Some(Desk::Gone(self.now));
            }
        }
        self.fairness.taken_up(self.last_alive, self.now);
        self.input(Input::Restarted)?;
        for tenant in self.fairness.tenants.values().cloned().collect::<Vec<_>>() {
            if !self.node.engine().is_some_and(|engine| engine.is_declared(&tenant)) {
                self.input(Input::Declare(tenant))?;
            }
        }
        Ok(())
    }

    /// The journal has it that a new process took up at `at`.
    pub(super) fn begin_again(&mut self, at: Timestamp) {
        self.ledger.restarted(at);
        self.fairness.lengths.was_down(at.since(self.last_alive));
        if at.since(self.last_alive) > TAKE_UP_MAX {
            self.workers.give_up();
        }
    }
}

/// Sets the first caller's time of queueing to `now` in an engine's bytes: the field's name, then 0xcf and eight bytes.
fn forget_place(bytes: &mut [u8], now: Timestamp) -> bool {
    let name = b"\xa6queued\xcf";
    let Some(at) = bytes.windows(name.len()).position(|window| window == name) else { return false };
    bytes[at + name.len()..at + name.len() + 8].copy_from_slice(&now.as_micros().to_be_bytes());
    true
}
