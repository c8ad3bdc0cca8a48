//! What a run does beside what the formulas know: seeds, shifts, missed offers, overflow, the trace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cti_acd::{AgentRules, OverflowRule, QueueRules, Rules};
use cti_base::QueueName;
use cti_plan::{Broken, Ended, Event, Load, Outcome, Setting, Simulation, Trace, single_queue};

const HOUR: Duration = Duration::from_secs(3600);

fn load(text: &str) -> Load {
    toml::from_str(text).expect("a load")
}

fn setting(rules: Rules, load: &Load) -> Setting<'_> {
    assert_eq!(load.check(Some(&rules)), []);
    let (rules, moves) = (Arc::new(rules), BTreeMap::new());
    Setting { rules, load, moves, counted: HOUR, seed: 7, broken: Broken::Nothing }
}

fn run(setting: Setting<'_>) -> Vec<Ended> {
    let mut simulation = Simulation::new(setting);
    std::iter::from_fn(|| simulation.next_ended()).filter(|ended| ended.number.is_some()).collect()
}

fn follow(setting: Setting<'_>, number: u64) -> Trace {
    let mut simulation = Simulation::new(setting);
    simulation.follow(number);
    while simulation.next_ended().is_some() {}
    simulation.into_trace().expect("one was followed")
}

const PLAIN: &str = "[[arrivals]]\nqueues = { q = 1 }\nper_hour = 300\npatience = { exponential = 60 }\n\
                     talk = { lognormal = { mean = 100, sd = 80 } }\nwrapup = { fixed = 20 }\n";

#[test]
fn the_same_seed_is_the_same_run() {
    let load = load(PLAIN);
    let one = run(setting(single_queue("q", 10), &load));
    assert!((220..380).contains(&one.len()), "{}", one.len());
    assert_eq!(one, run(setting(single_queue("q", 10), &load)));
    assert_ne!(one, run(Setting { seed: 8, ..setting(single_queue("q", 10), &load) }));
}

#[test]
fn occupancy_is_the_load_carried() {
    let load = load(PLAIN);
    let mut simulation = Simulation::new(Setting { counted: 100 * HOUR, ..setting(single_queue("q", 20), &load) });
    while simulation.next_ended().is_some() {}
    let time = simulation.agent_time();
    assert_eq!(time.staffed, 20 * 100 * HOUR);
    let occupancy = time.busy.as_secs_f64() / time.staffed.as_secs_f64();
    assert!((occupancy - 300.0 * 120.0 / 3600.0 / 20.0).abs() < 0.02, "{occupancy}");
}

#[test]
fn agents_come_and_go_with_their_shifts() {
    let load = load(&format!(
        "start = \"08:00\"\nwarm_up_s = 0\n{PLAIN}[[staff]]\nfrom = \"08:15\"\nto = \"08:45\"\ncount = 20\n"
    ));
    let ended = run(setting(single_queue("q", 20), &load));
    let minute = |ended: &Ended| (ended.arrived + ended.wait).as_micros() / 60_000_000 % 60;
    let answered: Vec<u64> = ended.iter().filter(|ended| ended.outcome == Outcome::Answered).map(minute).collect();
    assert!(answered.len() > 80, "{}", answered.len());
    assert!(answered.iter().all(|minute| (15..45).contains(minute)), "{answered:?}");
}

#[test]
fn a_missed_offer_goes_to_another_agent() {
    let load = load(&format!(
        "ring = {{ fixed = 3 }}\nmiss = 0.5\nring_timeout_s = 10\n{}",
        PLAIN.replace("patience = { exponential = 60 }\n", "")
    ));
    let missed = |number| {
        let trace = follow(setting(single_queue("q", 30), &load), number);
        let offered = trace.steps.iter().filter_map(|step| match &step.event {
            Event::Offered { agents, .. } => Some(agents[0].clone()),
            _ => None,
        });
        let offered: Vec<_> = offered.collect();
        assert!(offered.windows(2).all(|pair| pair[0] != pair[1]), "{trace:?}");
        assert!(matches!(trace.steps.last().map(|step| &step.event), Some(Event::Answered { .. })), "{trace:?}");
        offered.len() - 1
    };
    let missed: usize = (0..40).map(missed).sum();
    assert!((20..70).contains(&missed), "{missed}");
}

#[test]
fn a_limit_passes_callers_on_and_the_trace_says_so() {
    let mut rules = single_queue("q", 0);
    let helps = QueueName::from("helps");
    let queue = rules.queues.get_mut("q").expect("it is there");
    queue.overflow = vec![OverflowRule::AfterS(30)];
    rules.queues.insert(helps.clone(), QueueRules::default());
    let agent = |n: u32| (format!("{n}").into(), AgentRules { queues: vec![helps.clone()], ..AgentRules::default() });
    rules.agents.extend((0..30).map(agent));
    let load = load(&PLAIN.replace("exponential = 60", "fixed = 300"));
    let out = run(setting(rules.clone(), &load));
    assert!(out.iter().all(|ended| matches!(ended.outcome, Outcome::Overflowed(_))));
    let moves = BTreeMap::from([(QueueName::from("q"), vec![Some(helps)])]);
    let passed_on = Setting { moves, ..setting(rules, &load) };
    for ended in run(passed_on.clone()) {
        assert_eq!(
            (ended.outcome, ended.wait, ended.queue.as_str()),
            (Outcome::Answered, Duration::from_secs(30), "q")
        );
    }
    let trace = follow(passed_on, 3);
    let told: Vec<&Event> = trace.steps.iter().map(|step| &step.event).collect();
    assert!(
        matches!(
            told[..],
            [Event::Arrived { .. }, Event::PassedOn { .. }, Event::Offered { .. }, Event::Answered { .. }]
        ),
        "{told:?}"
    );
}
