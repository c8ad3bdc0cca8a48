//! The ACD from outside: tables for each rule, and random runs beside a naive model.

mod bench;
mod lines;
mod model;
mod run;
mod strategies;
mod wishes;
