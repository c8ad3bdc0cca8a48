//! The switch: one tenant's calls, queues, agents and menus, and the rules between them. Pure: it decides, shells carry out.
//!
//! **Call [`Engine::handle`] once with what happened, drain [`Engine::poll_effect`] until there is none, then wait for the
//! next input or for [`Engine::poll_deadline`].** It never reads a clock, a socket, a file or a random source; the same
//! inputs give the same effects. RTP never passes through it, and nothing in it waits for a database.

mod acd;
mod call;
mod callback;
mod commands;
pub mod config;
mod declare;
pub mod desk;
mod effect;
mod engine;
mod fact;
pub mod figures;
mod health;
pub mod hours;
mod idle;
mod input;
mod invariant;
pub mod limits;
pub mod live;
mod outbound;
mod recover;
mod registering;
mod routing;
mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod timer;
pub mod trace;

pub use callback::{Callback, CallbackAsk, CallbackNew, CallbackRefusal, CallbackSource, CallbackState};
pub use effect::{Effect, Measure};
pub use engine::{Engine, EngineConfig};
pub use fact::{
    CallRecord, Fact, FactRecord, LegRecord, LegRole, OfferEnd, Outcome, QueueLeave, SegmentKind, SegmentRecord,
    StateSpan, VoicemailRecord,
};
pub use idle::Taken;
pub use input::{CommandId, Input, Presence};
pub use invariant::Held;
pub use snapshot::RestoreError;
