//! The node: the program `zongji` and the shell around the pure switch.
//!
//! It owns the clock, the sockets, the files and the threads; it decides nothing about a call. `serve` reads the
//! configuration, `wiring` connects the shells through bounded channels, `switch_task` owns the one
//! [`cti_switch::Engine`] and carries out its effects.

pub mod cli;
pub mod clock;
pub mod config;
pub mod journal;
pub mod logging;
pub mod media_worker;
pub mod metrics;
pub mod phone;
