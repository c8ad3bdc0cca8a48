//! Automatic call distribution: queues, agents, and who gets whom.

pub(crate) mod agent;
mod deciding;
mod presence;
pub(crate) mod queue;
mod wrapup;
