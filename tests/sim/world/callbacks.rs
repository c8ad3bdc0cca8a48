//! Callbacks: who asks for them beside the callers' key, and the customers whose phones ring.

use std::time::Duration;

use cti_base::{CallId, Pii, Timestamp};
use cti_sip::SessionId;
use cti_switch::{CallbackAsk, CallbackNew, CallbackSource, CommandId, Input};

use super::{Due, START_MS, World};
use crate::profile::TRAFFIC;

/// From the end of the traffic on, until there are none.
const CANCEL_EVERY: Duration = Duration::from_secs(3);

impl World {
    /// Somebody who runs the centre schedules one.
    pub(super) fn schedule(&mut self) -> Result<(), String> {
        let index = self.rng.below(self.profile.tenants.len() as u64) as usize;
        let mine: Vec<usize> = (0..self.profile.agents.len())
            .filter(|n| self.profile.agents[*n].tenant == self.profile.tenants[index])
            .collect();
        let agent = (self.rng.below(3) == 0).then(|| mine[self.rng.below(mine.len() as u64) as usize]);
        let due = self.now + Duration::from_millis(self.rng.below(90_000));
        let queue = ["general", "repair", "vip", "nowhere"][self.rng.below(4) as usize];
        let new = CallbackNew {
            // Few numbers: the same one is asked for again while it waits.
            number: Pii::new(format!("+861390000{:04}", self.rng.below(12))),
            queue: Some(queue.into()),
            agent: agent.map(|n| self.profile.agents[n].name.clone()),
            due_ms: (self.rng.below(3) > 0).then(|| due.as_millis()),
            customer_id: None,
            contact_id: None,
            source: CallbackSource::Scheduled,
        };
        self.ask(index, CallbackAsk::Schedule(Box::new(new)))
    }

    /// One of those that wait is cancelled, or one that is not.
    pub(super) fn cancel_one(&mut self) -> Result<(), String> {
        let open: Vec<_> =
            self.fairness.callbacks.open.values().map(|told| (told.view.tenant.clone(), told.view.id)).collect();
        if open.is_empty() {
            return Ok(());
        }
        let (tenant, id) = open[self.rng.below(open.len() as u64) as usize].clone();
        let index = self.profile.tenants.iter().position(|known| *known == tenant).unwrap_or_default();
        self.ask(index, CallbackAsk::Cancel(id))
    }

    /// After the traffic nobody wants to be called back any more.
    pub(super) fn cancel_all(&mut self) -> Result<(), String> {
        if self.now >= self.end {
            return Ok(());
        }
        self.later(CANCEL_EVERY, Due::CancelAll);
        let open: Vec<_> =
            self.fairness.callbacks.open.values().map(|told| (told.view.tenant.clone(), told.view.id)).collect();
        for (tenant, id) in open {
            let index = self.profile.tenants.iter().position(|known| *known == tenant).unwrap_or_default();
            self.ask(index, CallbackAsk::Cancel(id))?;
        }
        Ok(())
    }

    fn ask(&mut self, tenant: usize, ask: CallbackAsk) -> Result<(), String> {
        if self.node.is_down() {
            return Ok(());
        }
        self.commands += 1;
        let id = CommandId(self.commands);
        self.asks.insert(id);
        let tenant = self.profile.tenants[tenant].clone();
        self.input(Input::Callback { tenant, id, ask })
    }

    /// The customer's phone rings: most take it, some are busy, not there, or too late.
    pub(super) fn customer_rings(&mut self, n: usize, session: SessionId) {
        let ms = Duration::from_millis;
        let ring = ms(self.rng.below(400));
        let is_over = self.now >= Timestamp::from_millis(START_MS) + TRAFFIC;
        match self.rng.below(if is_over { 3 } else { 20 }) {
            0 => self.later(ring, Due::Refuse(n, session, 486)),
            1 => {
                let code = [404, 408, 480, 503, 603][self.rng.below(5) as usize];
                self.later(ring * 3, Due::Refuse(n, session, code));
            }
            // Rings on.
            2 => self.later(ring, Due::Ring(n, session)),
            // About when the caller gives up: 200 and CANCEL cross.
            3 => {
                let dial =
                    self.settings.iter().filter_map(|s| s.callbacks.map(|c| c.dial_timeout_s)).max().unwrap_or(5);
                self.later(ring, Due::Ring(n, session));
                let after = (ms(dial * 1_000) + ms(self.rng.below(400))).saturating_sub(ms(300));
                self.later(after, Due::Answer(n, session, false));
            }
            4 => self.later(ring, Due::Answer(n, session, true)),
            5 => {
                self.later(ring, Due::Answer(n, session, false));
                let after = ring + ms(self.rng.below(3_000));
                self.later(after, Due::Hangup(n, session));
            }
            _ => {
                let after = ring + ms(300 + self.rng.below(5_000));
                self.later(ring, Due::Ring(n, session));
                self.later(after, Due::Answer(n, session, false));
                // Who is called and then waits has less patience than who called.
                let tires = after + ms(2_000 + self.rng.below(40_000));
                self.later(tires, Due::Tires(n, session));
            }
        }
    }

    /// The customer who was called back is not with an agent yet: they hang up.
    pub(super) fn tires(&mut self, n: usize, session: SessionId) {
        let number = self.uas[n].calls.get(&session).map(|call| call.to.clone());
        let talks = number.is_some_and(|number| {
            self.ledger
                .calls
                .values()
                .any(|story| story.to == number && story.record.is_none() && story.answered.is_some())
        });
        if !talks {
            self.uas[n].endpoint.hangup(self.now, session, None);
            self.pump(n);
        }
    }

    /// Where a called customer's side of the call is.
    pub(super) fn called(&self, call: CallId) -> Option<(usize, SessionId)> {
        let story = &self.ledger.calls[&call];
        let n = self.profile.tenants.iter().position(|tenant| *tenant == story.tenant)?;
        let sides = &self.uas[n].calls;
        let (session, _) = sides.iter().rev().find(|(_, side)| side.answered && side.to == story.to)?;
        Some((n, *session))
    }

    /// Every customer who was called hangs up.
    pub(super) fn customers_hang_up(&mut self) {
        for n in 0..self.profile.carriers.len() {
            let sessions: Vec<SessionId> = self.uas[n]
                .calls
                .iter()
                .filter(|(_, side)| side.answered && !side.call_id.is_empty())
                .map(|(s, _)| *s)
                .collect();
            for session in sessions {
                self.uas[n].endpoint.hangup(self.now, session, None);
            }
            self.pump(n);
        }
    }
}
