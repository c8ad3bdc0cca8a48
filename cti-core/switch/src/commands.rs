//! A desk's commands: whose they are, whether they may be, and the answer.

use cti_base::{AgentName, CallId, TenantId, Timestamp};

use crate::acd::agent::Task;
use crate::call::cut;
use crate::desk::{Command, Nack, NackCode, WantedState};
use crate::effect::Effect;
use crate::engine::Engine;
use crate::fact::{OfferEnd, Outcome};
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
            Command::Hangup { call_id } => self.talking_call(tenant, agent, call_id).map(|id| {
                self.end_call(now, id, Outcome::Answered, "agent_hangup");
            }),
            Command::Hold { call_id } => {
                self.talking_call(tenant, agent, call_id).and_then(|id| self.set_desk_hold(now, id, true))
            }
            Command::Retrieve { call_id } => {
                self.talking_call(tenant, agent, call_id).and_then(|id| self.set_desk_hold(now, id, false))
            }
            Command::Mute { call_id } => {
                self.talking_call(tenant, agent, call_id).and_then(|id| self.set_mute(id, true))
            }
            Command::Unmute { call_id } => {
                self.talking_call(tenant, agent, call_id).and_then(|id| self.set_mute(id, false))
            }
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
            Some(Task::Offer(id)) if *id == call => Err(wrong_state("This call is not answered yet.")),
            Some(Task::Wrapup(wrapup)) if wrapup.view.call_id == call => Err(wrong_state("This call is over.")),
            Some(Task::Idle | Task::Offer(_) | Task::Talk(_) | Task::Wrapup(_)) | None => {
                Err(not_yours("This call is not yours."))
            }
        }
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

pub(crate) fn no_agent() -> Nack {
    nack(NackCode::Forbidden, "This user is no agent of the call centre.")
}

pub(crate) fn answer_on_phone() -> Nack {
    nack(NackCode::AnswerOnPhone, "This phone can not be made to answer: lift the handset.")
}
