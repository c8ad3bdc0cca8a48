use std::sync::Arc;

use cti_base::{AgentName, CallId, OfferId, TenantId};
use cti_media::MediaEvent;
use cti_sip::{ConnectionId, Flow, Packet};

use crate::callback::CallbackAsk;
use crate::config::Tenant;
use crate::desk;
use serde::{Deserialize, Serialize};

/// A desk's command as the gateway numbers it, so that the answer finds its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommandId(pub u64);

/// Whether an agent has a live desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    Connected,
    Disconnected,
}

/// Everything that can happen to the switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    Sip(Packet),
    SipTransportFailed(Flow),
    SipConnectionClosed(ConnectionId),
    Media(MediaEvent),
    /// Answered by `Effect::Reply` with the same id.
    Desk {
        tenant: TenantId,
        agent: AgentName,
        id: CommandId,
        command: desk::Command,
    },
    /// Answered by `Effect::CallbackAnswer` with the same id.
    Callback {
        tenant: TenantId,
        id: CommandId,
        ask: CallbackAsk,
    },
    DeskPresence {
        tenant: TenantId,
        agent: AgentName,
        presence: Presence,
    },
    /// The agent's browser has its audio connected, or has lost it.
    Browser {
        tenant: TenantId,
        agent: AgentName,
        up: bool,
    },
    /// The offer's frame was handed to the agent's socket, or there is none to hand it to.
    OfferShown {
        offer: OfferId,
    },
    /// What the records know of a caller, as asked by `Effect::LookUp`; `None` where they could not be asked.
    Caller {
        call: CallId,
        records: Option<Box<desk::CallerRecords>>,
    },
    /// A tenant is declared, anew or changed. Nobody loses a call or a place.
    Declare(Arc<Tenant>),
    /// No new calls (503); calls go on.
    Drain,
    /// The program ends: no new calls, and every call ends now, with its outcome.
    Close,
    /// A new process took up this state: the old one's connections, media legs, desks' sockets and open look-ups are gone.
    /// The first input after [`crate::Engine::restore`] and the replay. Its `now` is not before that of the last one replayed.
    ///
    /// The engine goes over to the config that it was restored with; so a snapshot should follow before another restart.
    Restarted,
    /// The deadline has come.
    Tick,
}
