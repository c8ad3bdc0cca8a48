use std::net::IpAddr;

use cti_base::{AgentName, CallId, Pii, TenantId, Timestamp};
use cti_media::MediaCommand;
use cti_sip::{RejectReason, Transmit};

use crate::callback::{Callback, CallbackRefusal};
use crate::desk;
use crate::fact::Fact;
use crate::input::CommandId;

/// What the shell shall do, in order. Each is its duty, not a request.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send one SIP message.
    Send(Transmit),
    /// Hand a command to the worker of this call.
    Media { call: CallId, command: MediaCommand },
    /// Ask the records who has this number and answer with `Input::Caller`, soon.
    LookUp { tenant: TenantId, call: CallId, number: Pii<String> },
    /// Hand the offer's frame to the agent's socket first, then answer with `Input::OfferShown`; the phone's INVITE follows.
    Offer { tenant: TenantId, agent: AgentName, offer: Box<desk::OfferCreated> },
    /// One event for an agent's desk, in order.
    Desk { tenant: TenantId, agent: AgentName, event: desk::Event },
    /// The answer to `Input::Desk`.
    Reply { id: CommandId, result: Result<(), desk::Nack> },
    /// The answer to `Input::Callback`: the callback as it stands.
    CallbackAnswer { id: CommandId, result: Box<Result<Callback, CallbackRefusal>> },
    /// To the journal and the projector, in order.
    Fact(Fact),
    /// To the metrics.
    Measure(Measure),
}

#[derive(Clone, Debug)]
pub enum Measure {
    /// The setup begun by the INVITE of `since` is out now: observe `zongji_setup_seconds`.
    Setup { since: Timestamp },
    /// `zongji_queue_wait_seconds`.
    QueueWait { seconds: f64 },
    /// `zongji_wait_estimate_error_seconds{estimator}`, of an answered caller; under `naive` what that estimate was off.
    EstimateError { estimator: &'static str, seconds: f64, naive_s: f64 },
    /// `zongji_sip_rejected_total{reason}`.
    SipRejected { reason: RejectReason },
    /// Wrong credentials from `source` for `user`, who may not exist: to be counted there.
    Unauthorized { user: Pii<String>, source: IpAddr },
    /// An INVITE that no trunk or number explains; `reason` as in `zongji_sip_rejected_total`.
    CallRejected { reason: &'static str },
}
