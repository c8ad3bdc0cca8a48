//! The ACD: who waits, who is ready, and who gets whom. Pure: it decides, others ring, talk and count time.
//!
//! **Call what happened ([`Acd::enter`], [`Acd::leave`], [`Acd::set_agent`], …), then drain [`Acd::poll`]; by
//! [`Acd::deadline`] at the latest call [`Acd::handle_deadline`] and drain again.** A decision is carried out inside when it
//! comes out: agents are reserved, the caller is matched. The same calls give the same decisions; a value that was written
//! down and read back ([`Acd::configure`] gives it its rules again) goes on as if nothing had been.
//!
//! It owns the line, the ready agents, strategies, relaxing requirements, preferred and direct agents, lending, limits and
//! the estimate. It knows nothing of calls, phones, opening hours or why an agent is on a break.

mod acd;
mod agents;
mod class;
mod configure;
mod due;
mod entry;
mod estimate;
mod explain;
mod invariant;
mod lending;
pub mod limits;
mod matching;
mod overflow;
mod questions;
mod rank;
mod relax;
mod rules;
mod saved;
mod slab;
mod state;
mod strategy;
mod why;

pub use acd::Acd;
pub use entry::{Activity, Decision, Entered, Entry, Estimate, Left, LimitKind, Staff, StickyEnd};
pub use estimate::{ESTIMATOR, EstimateError};
pub use rules::{
    AgentRules, OrderRules, OverflowRule, QueueRules, RelaxStep, Rules, ScoreWeights, ServiceLevel, Strategy,
};
pub use why::{By, Key, Line, Reason, Skipped, Why};
