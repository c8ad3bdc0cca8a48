//! Planning a call centre: what the formulas say of it, and what the switch's own ACD does with it.
//!
//! - [`ErlangC`] and [`ErlangA`]: the waiting, service level and abandonment of theory.
//! - [`Load`]: a load file: arrivals, patience, handling times, staffing by time.
//! - [`stats`]: means with their confidence intervals.
//!
//! Nothing here reads a clock, a file or a random source: a run is a function of rules, load and seed.

mod draw;
mod erlang;
mod erlang_a;
pub mod stats;

pub use draw::Draw;
pub use erlang::{ErlangC, erlang_b};
pub use erlang_a::ErlangA;
