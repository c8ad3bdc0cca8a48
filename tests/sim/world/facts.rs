//! Facts: told to every checker, and acted upon by who is on the phone.

use std::time::Duration;

use cti_base::{AgentName, CallId, TenantId, Timestamp};
use cti_media::MediaEvent;
use cti_switch::desk::AgentState;
use cti_switch::trace::TraceEntry;
use cti_switch::{CallbackState, Fact, Input};

use super::{Due, Tamper, WhoHangsUp, World};
use crate::desk;
use crate::media::ensure;

impl World {
    /// A fact of the input at `now`, as the journal has it.
    pub(super) fn fact(&mut self, now: Timestamp, fact: Fact) -> Result<(), String> {
        let fact = match self.tampered(now, fact)? {
            Some(fact) => fact,
            None => return Ok(()),
        };
        if let Fact::AgentState { tenant, agent, state: AgentState::Offered, .. } = &fact {
            self.fairness.reserved(now, &self.ledger, &self.workers, &(tenant.clone(), agent.clone()))?;
        }
        if let Fact::AgentState { tenant, agent, state, .. } = &fact
            && *state != AgentState::Offered
        {
            self.fairness.released(now, &(tenant.clone(), agent.clone()))?;
        }
        self.ledger.fact(now, &fact)?;
        self.figures.fact(now, &fact);
        match fact {
            Fact::Offered { tenant, call, agent, offer } => {
                let agent = (tenant, agent);
                self.fairness.rings(now, &self.ledger, call, offer, &agent)?;
                self.fairness.offered(now, &self.ledger, call, &agent)?;
            }
            Fact::OfferEnded { offer, .. } => self.fairness.rings_no_more(now, offer)?,
            Fact::Traced { tenant, call, entry, .. } => match *entry {
                TraceEntry::Offered { agent, .. } => self.fairness.chosen(&self.ledger, call, (tenant, agent)),
                TraceEntry::Entered { .. } => self.fairness.lined_up(now, &mut self.ledger, call)?,
                TraceEntry::Preferred { agent, for_ms: None } => {
                    self.fairness.alone(&mut self.ledger, call, agent)?;
                }
                _ => {}
            },
            Fact::Answered { tenant, call, agent } => self.answered(tenant, call, agent),
            Fact::NodeEntered { call, .. } => self.fairness.gone(call),
            Fact::CallEnded { record } => {
                self.fairness.gone(record.id);
                if let Some(agent) = record.agent {
                    let commands = desk::on_wrapup(&mut self.rng, record.id);
                    self.commands_later(&(record.tenant, agent), commands);
                }
            }
            Fact::RecordingEnded { recording, gaps, .. } => {
                let known = self.workers.gaps.get(&recording).cloned().unwrap_or_default();
                ensure(gaps == known, || {
                    format!("{recording} ends with the gaps {gaps:?}, by the recorder {known:?}")
                })?;
            }
            Fact::Queued { call, .. } => {
                if self.ledger.calls[&call].dialing {
                    self.fairness.callbacks.lined_up(&mut self.ledger, call)?;
                    if self.tamper == Tamper::CallbackJumps {
                        self.ledger.comes_at(call, now);
                    }
                }
            }
            Fact::CallbackRequested { callback } => {
                self.fairness.callbacks.requested(now, &mut self.ledger, &callback)?
            }
            Fact::CallbackAttempt { callback } => {
                self.fairness.attempted(now, &mut self.ledger, &callback)?;
                if let Some(call) = callback.call_id.filter(|_| callback.state == CallbackState::Waiting) {
                    // The next attempt has another customer's leg.
                    self.workers.customers.remove(&call);
                }
            }
            Fact::CallbackEnded { callback } => self.fairness.callback_over(now, &mut self.ledger, &callback)?,
            Fact::CallStarted { .. }
            | Fact::QueueLeft { .. }
            | Fact::TalkEnded { .. }
            | Fact::Transferred { .. }
            | Fact::Supervised { .. }
            | Fact::VoicemailLeft { .. }
            | Fact::Held { .. }
            | Fact::RecordingStarted { .. }
            | Fact::WrapupEnded { .. }
            | Fact::AgentState { .. } => {}
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, tenant: TenantId, call: CallId, agent: AgentName) {
        let ms = Duration::from_millis;
        let caller = self.callers.get(&self.ledger.calls[&call].from).map(|n| &self.profile.callers[*n]);
        let (talk, holds) = caller.map_or_else(|| (ms(300 + self.rng.below(20_000)), false), |c| (c.talk, c.holds));
        let who = match self.rng.below(20) {
            0..=10 => WhoHangsUp::Caller,
            11..=18 => WhoHangsUp::Phone,
            _ => WhoHangsUp::Both,
        };
        self.later(talk, Due::TalkOver(call, who));
        // A phone that is deaf or was hung up on in the same moment does not end it: the caller does, in the end.
        self.later(talk + ms(30_000), Due::TalkOver(call, WhoHangsUp::Caller));
        if holds {
            self.later(talk.mul_f64(0.2), Due::CallerHold(call, true));
            self.later(talk.mul_f64(0.5), Due::CallerHold(call, false));
        }
        if self.rng.below(8) == 0 {
            self.later(talk.mul_f64(0.3), Due::PhoneHold(call, true));
            self.later(talk.mul_f64(0.7), Due::PhoneHold(call, false));
        }
        if self.rng.below(30) == 0
            && let Some((leg, _)) = self.workers.customers.get(&call)
        {
            let silent = Input::Media(MediaEvent::Silent { leg: *leg });
            self.later(talk.mul_f64(0.4), Due::Input(Box::new(silent)));
        }
        let commands = desk::on_answer(&mut self.rng, call);
        self.commands_later(&(tenant, agent), commands);
    }
}
