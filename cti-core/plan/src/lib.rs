//! Planning a call centre: what the formulas say of it, and what the switch's own ACD does with it.
//!
//! - [`ErlangC`] and [`ErlangA`]: the waiting, service level and abandonment of theory.
//! - [`Load`]: a load file: arrivals, patience, handling times, staffing by time.
//! - [`Simulation`]: that load on [`cti_acd::Acd`], the very code that the switch runs; [`Figures`]: what comes of it.
//! - [`History`]: the calls of the past, and those that are to come.
//! - [`stats`]: means with their confidence intervals.
//!
//! Nothing here reads a clock, a file or a random source: a run is a function of rules, load and seed.

mod arrivals;
mod desk;
mod draw;
mod erlang;
mod erlang_a;
mod figures;
mod forecast;
mod load;
mod simulation;
mod staffing;
pub mod stats;
mod trace;

use cti_acd::{AgentRules, QueueRules, Rules};
use cti_base::{AgentName, QueueName};

pub use draw::Draw;
pub use erlang::{ErlangC, erlang_b};
pub use erlang_a::ErlangA;
pub use figures::{Figure, Figures, Run};
pub use forecast::{BackTest, Expected, History};
pub use load::{Arrivals, Interval, Load, LoadError, Staff, Step, TimeOfDay};
pub use simulation::{AgentTime, Broken, Ended, Outcome, Setting, Simulation};
pub use staffing::{AGENTS_MAX, Demand, Staffing};
pub use trace::{Event, Trace, Traced};

/// One queue without limits, and agents `1`, `2`, … who serve it: what the formulas speak of.
pub fn single_queue(queue: &str, agents: u32) -> Rules {
    let queue = QueueName::from(queue);
    let rules = QueueRules { max_wait_s: u32::MAX, max_waiting: u32::MAX, ..QueueRules::default() };
    let agent =
        |n| (AgentName::from(format!("{n}")), AgentRules { queues: vec![queue.clone()], ..AgentRules::default() });
    Rules { agents: (1..=agents).map(agent).collect(), queues: [(queue.clone(), rules)].into() }
}
