//! What every pure crate shares: time as a value, ids as newtypes, randomness from a seed, private data that does not print.
//!
//! Nothing here reads a clock, a socket, a file or a random source. **Time and randomness are arguments.**

mod ids;
mod phone;
mod pii;
mod rng;
mod time;

pub use ids::{AgentName, CallId, CallbackId, LegId, NodeName, OfferId, QueueName, RecordingId, TenantId};
pub use phone::{Country, E164, did_key, did_matches};
pub use pii::Pii;
pub use rng::Rng;
pub use time::Timestamp;
