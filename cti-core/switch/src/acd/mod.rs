//! Automatic call distribution: queues, agents, and who gets whom.

pub(crate) mod agent;
pub(crate) mod estimate;
mod matching;
mod presence;
pub(crate) mod queue;
pub(crate) mod stats;
mod wrapup;
