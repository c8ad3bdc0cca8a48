//! SIP for the switch, pure: bytes and time in, bytes and events out.
//!
//! It reads and writes messages (`wire`, over rsip's message model), runs the four transactions of RFC 3261 with the
//! Accepted states of RFC 6026, keeps dialogs, answers digest and keeps registrations. It never opens a socket, reads a
//! clock or draws randomness: **call a method of [`Endpoint`] with `now`, then drain `poll_transmit` and `poll_event`
//! until both are empty, then sleep until `poll_deadline`.**
//!
//! An [`Endpoint`] serialises as all that it knows but its config; [`Endpoint::restore`] makes the same endpoint of it, which
//! goes on byte for byte as the first would have. [`Endpoint::restarted`] tells one that its process is a new one.

mod dialog;
mod digest;
mod endpoint;
mod event;
mod flow;
mod probe;
mod receive;
mod registrar;
mod registration;
mod reply;
mod saved;
mod session;
mod stack;
mod timer;
mod transaction;
pub mod wire;

/// The address of a SIP URI whose host is one.
pub fn address_of(uri: &str) -> Option<std::net::SocketAddr> {
    wire::Uri::parse(uri).ok()?.address().map(|(_, address)| address)
}

pub use endpoint::{
    Account, DigestPolicy, Endpoint, EndpointConfig, EndpointState, InviteRequest, RegisterRequest, Target,
};
pub use event::{
    EndCause, Event, InboundInvite, Party, ProbeId, Refer, RegistrationId, RejectReason, Replaces, SessionId,
};
pub use flow::{ConnectionId, Flow, Packet, Transmit, Transport};
