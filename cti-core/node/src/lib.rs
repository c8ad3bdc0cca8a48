//! The node: the program `zongji` and the shell around the pure switch.
//!
//! It owns the clock, the sockets, the files and the threads; it decides nothing about a call. `serve` reads the
//! configuration and joins what `wiring` makes through bounded channels, `switch_task` owns the one
//! [`cti_switch::Engine`] and carries out its effects.

pub mod admin;
pub mod browsers;
pub mod cli;
pub mod clock;
pub mod config;
pub mod data;
pub mod demo;
pub mod journal;
pub mod logging;
pub mod lookup;
pub mod media_worker;
pub mod metrics;
pub mod net;
pub mod phone;
pub mod serve;
pub mod switch_task;
mod wiring;

/// The runtime of everything but the switch and the media.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| anyhow::anyhow!("the runtime could not start: {error}"))
}
