//! INVITE with Replaces (RFC 3891): the phone of another agent takes a call over from the one who has it.

use cti_base::{AgentName, TenantId, Timestamp};
use cti_sip::{InboundInvite, Replaces, SessionId};

use super::line::Answered;
use super::room::{Role, Step, Who};
use crate::acd::agent::Task;
use crate::desk::{AgentState, Event, NextState, WantedState};
use crate::engine::{Engine, Party};

const NO_DIALOG: u16 = 481;
const BUSY: u16 = 486;

impl Engine {
    /// The INVITE's dialog takes the place of the one that it names: that of an agent of the same tenant who has a call.
    pub(super) fn take_over(
        &mut self,
        now: Timestamp,
        session: SessionId,
        invite: &InboundInvite,
        (tenant, by): (&TenantId, &AgentName),
        replaces: &Replaces,
    ) -> Result<(), u16> {
        let replaced = self.endpoint.replaced(replaces).ok_or(NO_DIALOG)?;
        let Some((id, Party::Agent)) = self.sessions.get(&replaced).copied() else { return Err(NO_DIALOG) };
        let call = self.calls.get(&id).filter(|call| call.tenant == *tenant).ok_or(NO_DIALOG)?;
        let talking = call.talking().filter(|talking| talking.leg.session == Some(replaced)).ok_or(NO_DIALOG)?;
        // A dialog that is established is none to be replaced only early (RFC 3891 3).
        let is_free = |name: &AgentName| self.agent(tenant, name).is_some_and(|agent| matches!(agent.task, Task::Idle));
        if replaces.early_only || talking.consulted().is_some() || !is_free(by) {
            return Err(BUSY);
        }
        self.room_for_guest(id).map_err(|_| BUSY)?;
        let Answered { leg, media, body } = self.answer_phone(now, session, invite)?;
        self.join(id);
        self.open_phone_leg(id, &leg, media);
        let number = self.add_guest(id, Who::Agent(by.clone()), Role::Member, Step::On(Box::new(leg)), now);
        if let Some(agent) = self.agent_mut(tenant, by) {
            agent.task = Task::Talk(id);
            // Who was away is away again afterwards.
            let back = match agent.state {
                AgentState::Break => Some(WantedState::Break),
                AgentState::Offline => Some(WantedState::Offline),
                AgentState::Ready | AgentState::Offered | AgentState::Talking | AgentState::Wrapup => None,
            };
            if let Some(state) = back {
                agent.next = Some(NextState { state, reason: agent.reason.clone() });
            }
        }
        self.set_agent_state(now, tenant, by, AgentState::Talking, None);
        self.endpoint.accept(now, session, body);
        self.arrange(id);
        self.succeed(now, id, number, "replaced");
        if let Some(view) = self.view_for(id, by) {
            self.desk(tenant, by, Event::CallConnected(Box::new(view)));
        }
        Ok(())
    }
}
