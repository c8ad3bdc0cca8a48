//! A desk's commands: whose they are, whether they may be, and the answer.

use cti_base::{AgentName, CallId, TenantId, Timestamp};

use crate::acd::agent::Task;
use crate::call::cut;
use crate::desk::{Command, Nack, NackCode, WantedState};
use crate::effect::Effect;
use crate::engine::Engine;
use crate::fact::OfferEnd;
use crate::input::CommandId;
use crate::limits::REASON_LEN_MAX;

impl Engine {
    pub(crate) fn desk_command(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        agent: &AgentName,
        id: CommandId,
        command: Command,
    ) {
        let result = if self.agent(tenant, agent).is_some() {
            self.carry_out_command(now, tenant, agent, id, command)
        } else {
            Some(Err(no_agent()))
        };
        // `None`: the answer follows when the phone has been heard of.
        if let Some(result) = result {
            self.effect(Effect::Reply { id, result });
        }
    }

    fn carry_out_command(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        agent: &AgentName,
        id: CommandId,
        command: Command,
    ) -> Option<Result<(), Nack>> {
        let call = self.agent(tenant, agent).and_then(|agent| agent.call());
        Some(match command {
            Command::SetState { state, reason } => self
                .checked_reason(tenant, state, reason)
                .and_then(|reason| self.want_state(now, tenant, agent, state, reason)),
            Command::Accept { offer_id } => return self.accept_offer(now, agent, offer_id, call, id),
            Command::Reject { offer_id, reason: _ } => {
                let is_it = |call: &CallId| {
                    let offer = self.calls.get(call).and_then(|call| call.offer(offer_id));
                    offer.is_some_and(|offer| offer.agent == *agent)
                };
                match call.filter(is_it) {
                    Some(call) => {
                        self.offer_over(now, call, offer_id, OfferEnd::Rejected, "rejected");
                        Ok(())
                    }
                    None => Err(not_yours("This offer is over.")),
                }
            }
            Command::Hangup { call_id } => self.hang_up(now, tenant, agent, call_id),
            Command::Hold { call_id } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.set_desk_hold(now, id, true))
            }
            Command::Retrieve { call_id } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.set_desk_hold(now, id, false))
            }
            Command::Mute { call_id } => {
                self.talking_call(tenant, agent, call_id).and_then(|id| self.mute_own(id, agent, true))
            }
            Command::Unmute { call_id } => {
                self.talking_call(tenant, agent, call_id).and_then(|id| self.mute_own(id, agent, false))
            }
            Command::Dtmf { call_id, digits } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.press_keys(now, id, &digits))
            }
            Command::Transfer { call_id, to } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.transfer(now, id, agent, to))
            }
            Command::Consult { call_id, to } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.consult(now, id, agent, to))
            }
            Command::Swap { call_id } => self.own_call(tenant, agent, call_id).and_then(|id| self.swap(now, id)),
            Command::Complete { call_id } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.complete(now, id))
            }
            Command::CancelConsult { call_id } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.cancel_consult(now, id))
            }
            Command::Conference { call_id } => {
                self.own_call(tenant, agent, call_id).and_then(|id| self.conference(now, id))
            }
            Command::Supervise { call_id, mode } => self.supervise(now, tenant, agent, call_id, mode),
            Command::ExtendWrapup { call_id } => self.extend_wrapup(tenant, agent, call_id),
            Command::FinishWrapup { call_id, disposition } => {
                self.finish_wrapup(now, tenant, agent, call_id, disposition)
            }
        })
    }

    /// The call that the agent talks on, if it is the one named.
    fn talking_call(&self, tenant: &TenantId, agent: &AgentName, call: CallId) -> Result<CallId, Nack> {
        match self.agent(tenant, agent).map(|agent| &agent.task) {
            Some(Task::Talk(id)) if *id == call => Ok(call),
            Some(Task::Offer(id) | Task::Join(id)) if *id == call => Err(wrong_state("This call is not answered yet.")),
            Some(Task::Wrapup(wrapup)) if wrapup.view.call_id == call => Err(wrong_state("This call is over.")),
            Some(Task::Idle | Task::Offer(_) | Task::Join(_) | Task::Talk(_) | Task::Wrapup(_)) | None => {
                Err(not_yours("This call is not yours."))
            }
        }
    }

    /// The same, where it is the agent's own: who was asked to join can not hand it on.
    fn own_call(&self, tenant: &TenantId, agent: &AgentName, call: CallId) -> Result<CallId, Nack> {
        let id = self.talking_call(tenant, agent, call)?;
        if self.leads(id, agent) { Ok(id) } else { Err(not_yours("This call is another agent's: you have joined it.")) }
    }

    /// Who has the call ends it, or leaves the others of a conference to themselves; who has joined it leaves.
    fn hang_up(&mut self, now: Timestamp, tenant: &TenantId, agent: &AgentName, call: CallId) -> Result<(), Nack> {
        let id = self.talking_call(tenant, agent, call)?;
        if let Some(guest) = self.guest_number(id, agent) {
            self.guest_over(now, id, guest, OfferEnd::Withdrawn, "agent_hangup");
            return Ok(());
        }
        let consults = self.calls.get(&id).and_then(|call| call.talking()?.consulted()).is_some();
        if consults {
            return Err(wrong_state("Complete or cancel the consultation first."));
        }
        self.lead_gone(now, id, "agent_hangup");
        Ok(())
    }

    /// A break has one of the tenant's reasons; the other states have none.
    fn checked_reason(
        &self,
        tenant: &TenantId,
        wanted: WantedState,
        reason: Option<String>,
    ) -> Result<Option<String>, Nack> {
        match wanted {
            WantedState::Ready | WantedState::Offline => Ok(None),
            WantedState::Break => {
                let known = self.tenants.get(tenant).map(|state| state.tenant.doc.tenant.break_reasons.as_slice());
                let known = known.unwrap_or_default();
                match reason {
                    Some(reason) if known.contains(&reason) => Ok(Some(reason)),
                    Some(reason) => {
                        let reason = cut(&reason, REASON_LEN_MAX);
                        Err(bad_frame(format!(
                            "There is no break reason `{reason}`: choose one of {}.",
                            known.join(", ")
                        )))
                    }
                    None => Err(bad_frame(format!("A break needs a reason: choose one of {}.", known.join(", ")))),
                }
            }
        }
    }
}

fn nack(code: NackCode, message: impl Into<String>) -> Nack {
    Nack { code, message: message.into(), retryable: false }
}

pub(crate) fn wrong_state(message: &str) -> Nack {
    nack(NackCode::WrongState, message)
}

pub(crate) fn not_yours(message: &str) -> Nack {
    nack(NackCode::NotYours, message)
}

pub(crate) fn bad_frame(message: String) -> Nack {
    nack(NackCode::BadFrame, message)
}

pub(crate) fn busy(message: String) -> Nack {
    Nack { code: NackCode::Busy, message, retryable: true }
}

pub(crate) fn forbidden(message: &str) -> Nack {
    nack(NackCode::Forbidden, message)
}

pub(crate) fn no_agent() -> Nack {
    nack(NackCode::Forbidden, "This user is no agent of the call centre.")
}

pub(crate) fn answer_on_phone() -> Nack {
    nack(NackCode::AnswerOnPhone, "This phone can not be made to answer: lift the handset.")
}
