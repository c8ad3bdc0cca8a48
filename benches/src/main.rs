//! The measured cases. Each prints its figures on one line a run; what peers take stands in its own file.

mod acd;
mod journal;
mod load;
mod recorded;
mod relay;
mod server;

use std::process::ExitCode;

/// A case by its name.
type Case = (&'static str, fn() -> Result<(), Box<dyn std::error::Error>>);

const CASES: &[Case] = &[
    ("acd", acd::acd),
    ("relay", relay::relay),
    ("load", load::load),
    ("recorded", recorded::recorded),
    ("journal", journal::journal),
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1);
    let chosen: Vec<&Case> =
        CASES.iter().filter(|(case, _)| name.as_deref().is_none_or(|name| name == *case)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = CASES.iter().map(|(case, _)| *case).collect();
        eprintln!("no such case; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    for (case, run) in chosen {
        if let Err(error) = run() {
            eprintln!("{case}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
