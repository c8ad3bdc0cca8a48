//! A supervisor listens to a call, whispers to its agent, or joins in. Each beginning, change and end is a fact of its own: the
//! audit log has them all.

use cti_base::{AgentName, CallId, TenantId, Timestamp};

use super::room::Role;
use crate::commands::{forbidden, wrong_state};
use crate::config;
use crate::desk::{Listen, Nack};
use crate::engine::Engine;
use crate::fact::Fact;
use crate::limits::SUPERVISORS_MAX;

impl Engine {
    /// Begins, or goes over to another way of listening. The supervisor's own phone is rung.
    pub(crate) fn supervise(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        supervisor: &AgentName,
        id: CallId,
        listen: Listen,
    ) -> Result<(), Nack> {
        let role = self.agent(tenant, supervisor).map(|agent| agent.decl.role);
        if !matches!(role, Some(config::Role::Supervisor | config::Role::Admin)) {
            return Err(forbidden("Only supervisors listen to calls."));
        }
        let call = self.calls.get_mut(&id).filter(|call| call.tenant == *tenant);
        let Some(talking) = call.and_then(|call| call.talking_mut()) else {
            return Err(wrong_state("This call is not being talked on."));
        };
        let agent = talking.agent.clone();
        if agent.as_ref() == Some(supervisor) {
            return Err(wrong_state("This is your own call."));
        }
        if let Some(guest) = talking.guests.iter_mut().find(|guest| guest.is_agent(supervisor)) {
            let Role::Supervisor(before) = guest.role else {
                return Err(wrong_state("You are on this call already."));
            };
            guest.role = Role::Supervisor(listen);
            let is_on = guest.on().is_some();
            if before != listen && is_on {
                self.tell_supervision(id, supervisor, Some(listen));
                self.arrange(id);
                self.tell_parties(id);
            }
            return Ok(());
        }
        let supervisors = talking.guests.iter().filter(|guest| matches!(guest.role, Role::Supervisor(_))).count();
        if supervisors >= SUPERVISORS_MAX {
            return Err(wrong_state("Others are listening to this call already."));
        }
        self.ring_guest(now, id, supervisor, Role::Supervisor(listen))
    }

    /// To the audit: how this supervisor listens to the call from here on.
    pub(super) fn tell_supervision(&mut self, id: CallId, supervisor: &AgentName, listen: Option<Listen>) {
        let Some(call) = self.calls.get(&id) else { return };
        let (tenant, agent) = (call.tenant.clone(), call.talking().and_then(|talking| talking.agent.clone()));
        self.supervision_fact(&tenant, id, supervisor, agent, listen);
    }

    pub(super) fn supervision_fact(
        &mut self,
        tenant: &TenantId,
        call: CallId,
        supervisor: &AgentName,
        agent: Option<AgentName>,
        listen: Option<Listen>,
    ) {
        let (tenant, supervisor) = (tenant.clone(), supervisor.clone());
        self.fact(Fact::Supervised { tenant, call, supervisor, agent, listen });
    }
}
