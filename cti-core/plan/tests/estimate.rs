//! The wait that callers are told is nearer to the wait that comes than position × handling time / agents is, on three loads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cti_base::QueueName;
use cti_plan::stats::Confidence;
use cti_plan::{Broken, Figure, Figures, Load, Run, Setting, Simulation, single_queue};

const SEEDS: u64 = 20;

/// The mean absolute errors, seconds, of the two over all seeds; and that each seed's run alone agrees, in nine of ten.
fn check(text: &str) {
    let load: Load = toml::from_str(text).expect("a load file");
    let rules = Arc::new(single_queue("repair", 20));
    assert!(load.check(Some(&rules)).is_empty());
    let mut runs = Vec::new();
    let mut better = Vec::new();
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(Setting {
            rules: rules.clone(),
            load: &load,
            moves: BTreeMap::new(),
            counted: Duration::from_secs(4 * 3600),
            seed,
            broken: Broken::Nothing,
        });
        let mut run = Run::new(&rules);
        while let Some(ended) = simulation.next_ended() {
            run.add(&ended);
        }
        run.end(simulation.agent_time());
        // What the ACD publishes of itself, the warm-up included.
        let error = simulation.acd().estimate_error(&QueueName::from("repair"));
        assert!(error.calls > 200, "only {} callers were told anything", error.calls);
        better.push(error.naive_mean_s().expect("calls") - error.mean_s().expect("calls"));
        runs.push(run);
    }
    let figures = Figures::of(&runs, 0.95);
    let mean = |figure| figures.total[&figure].mean;
    println!(
        "told {:.1} s off, naive {:.1} s off, mean wait {:.1} s, {:.1} % gave up",
        mean(Figure::EstimateErrorS),
        mean(Figure::NaiveErrorS),
        mean(Figure::WaitMeanS),
        100.0 * mean(Figure::Abandonment)
    );
    let won = better.iter().filter(|better| **better > 0.0).count();
    assert!(won * 10 >= 9 * better.len(), "better in {won} of {} runs", better.len());
    let gained = Confidence::single(0.99).of(&better).expect("runs");
    assert!(gained.mean > gained.half_width, "{gained:?} is not surely better");
}

#[test]
fn steady() {
    check(include_str!("../loads/steady.toml"));
}

#[test]
fn morning_peak() {
    check(include_str!("../loads/morning_peak.toml"));
}

#[test]
fn staff_dropping_out() {
    check(include_str!("../loads/staff_dropping_out.toml"));
}
