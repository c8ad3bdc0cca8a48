//! The whole switch in simulated time: real SIP bytes to callers and phones over a network that loses, doubles, reorders and
//! delays, and by streams; media workers, records and desks around it; ten minutes of traffic a seed. The program dies on the
//! way, at times with inputs that were not durable and effects that were not carried out, and another takes up what its journal
//! has. After each input the switch's own invariants are asked, and checkers that share no code with it read its facts, its SIP
//! bytes and its media commands.
//!
//! A failure prints its seed. `ZONGJI_SEED=7 cargo test -p zongji-tests --test sim one_seed -- --nocapture` runs that seed
//! alone and prints what happened; `ZONGJI_SEEDS=50` sets how many seeds are run.

mod checks;
mod desk;
mod figures;
mod ledger;
mod media;
mod network;
mod node;
mod profile;
mod streams;
mod ua;
mod wire;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Outcome, Tamper, World};

const SEEDS: u64 = 2_000;
/// What a seed must bring at least.
const CALLS_MIN: usize = 100;

#[test]
fn two_thousand_seeds_keep_every_promise() {
    let seeds = number("ZONGJI_SEEDS").unwrap_or(SEEDS);
    let first = number("ZONGJI_SEED").unwrap_or(0);
    let next = AtomicU64::new(first);
    let end = if number("ZONGJI_SEED").is_some() { first + 1 } else { seeds };
    let broken: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let totals: Mutex<Totals> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || broken.lock().expect("no panic holds it").len() >= BROKEN_SHOWN {
                        return;
                    }
                    match run(seed, Tamper::Nothing, false) {
                        Ok(outcome) => totals.lock().expect("no panic holds it").add(&outcome),
                        Err(what) => broken.lock().expect("no panic holds it").push(format!("seed {seed}: {what}")),
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().expect("no panic holds it");
    assert!(broken.is_empty(), "rerun with ZONGJI_SEED=<seed>:\n{}", broken.join("\n"));
    let totals = totals.into_inner().expect("no panic holds it");
    println!("{totals:?}");
    // The profiles must reach every corner, or the promises were kept by never being asked for.
    if end - first >= 100 {
        for outcome in [
            "Answered",
            "AbandonedIvr",
            "AbandonedQueue",
            "AbandonedRinging",
            "Overflowed",
            "CompletedIvr",
            "Failed",
            "Interrupted",
            "Callback",
            "NoAnswer",
            "Busy",
        ] {
            assert!(totals.outcomes.contains(outcome), "no call of any seed ended {outcome}: {totals:?}");
        }
        for end in ["Done", "Failed", "Cancelled"] {
            assert!(totals.callback_ends.contains(end), "no callback of any seed ended {end}: {totals:?}");
        }
        for end in ["Accepted", "Rejected", "Timeout", "Withdrawn", "Failed"] {
            assert!(totals.offer_ends.contains(end), "no offer of any seed ended {end}: {totals:?}");
        }
    }
}

/// Within so many seeds a promise that is broken on purpose must be found.
const BROKEN_FOUND_MAX: u64 = 1_000;
/// Broken seeds that are printed; beyond them the rest is not run.
const BROKEN_SHOWN: usize = 8;

#[test]
fn the_same_seed_is_the_same_run() {
    let mut digests = BTreeSet::new();
    for seed in 0..10 {
        let once = run(seed, Tamper::Nothing, false).expect("a good run").digest;
        let again = run(seed, Tamper::Nothing, false).expect("a good run").digest;
        assert_eq!(once, again, "seed {seed} is two different runs");
        digests.insert(once);
    }
    assert_eq!(digests.len(), 10, "different seeds are different runs");
}

/// Each promise is broken on purpose between the switch and the world; the checkers must say so.
#[test]
fn every_broken_promise_is_found() {
    for tamper in Tamper::ALL {
        let mut others = Vec::new();
        let found = (0..BROKEN_FOUND_MAX).find(|seed| match run(*seed, tamper, false) {
            Ok(_) => false,
            Err(what) => {
                let is_it = what.contains(tamper.noticed_as());
                others.push(what);
                is_it
            }
        });
        others.truncate(BROKEN_SHOWN);
        assert!(found.is_some(), "{tamper:?} was done in every seed and not noticed for what it is: {others:#?}");
        println!("{tamper:?} is found with seed {found:?}");
    }
}

/// For looking at one seed: prints everything.
#[test]
fn one_seed() {
    let seed = number("ZONGJI_SEED").unwrap_or(0);
    let trace = number("ZONGJI_SEED").is_some();
    let outcome = run(seed, Tamper::Nothing, trace);
    println!("{outcome:?}");
    assert!(outcome.is_ok(), "seed {seed}");
}

fn run(seed: u64, tamper: Tamper, trace: bool) -> Result<Outcome, String> {
    let outcome = World::new(seed, tamper, trace).run()?;
    if outcome.calls < CALLS_MIN {
        return Err(format!("only {} calls", outcome.calls));
    }
    Ok(outcome)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    calls: usize,
    inputs: u64,
    outcomes: BTreeSet<String>,
    offer_ends: BTreeSet<String>,
    callback_ends: BTreeSet<String>,
    crashes: usize,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.calls += outcome.calls;
        self.inputs += outcome.inputs;
        self.crashes += outcome.crashes;
        self.outcomes.extend(outcome.outcomes.keys().cloned());
        self.offer_ends.extend(outcome.offer_ends.iter().cloned());
        self.callback_ends.extend(outcome.callback_ends.iter().cloned());
    }
}
