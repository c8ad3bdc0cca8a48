//! The ACD against queueing theory: simulated waits, service level and abandonment agree with Erlang C and Erlang A.
//!
//! Each point is one long run of a fixed seed, its warm-up left out, cut into batches of equally many callers. What is
//! claimed of all points holds together with 99 % (Bonferroni), each interval no wider than 3 % of theory either way.
//!
//! The intervals are made narrower by control variates, things of each batch whose means are known: gaps between callers,
//! handling times and patience, squares of them; how many of the same callers would talk at once, had everyone an agent
//! (M/M/∞: Poisson); and, with endless patience, how long they would wait for one agent who is as fast as all together
//! (M/M/1, by Lindley's recursion, The theory of queues with a single server, 1952).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cti_plan::stats::{Confidence, Interval};
use cti_plan::{Arrivals, Broken, Draw, Ended, ErlangA, ErlangC, Load, Outcome, Setting, Simulation, single_queue};

/// All intervals of this file hold together with this probability.
const LEVEL: f64 = 0.99;
/// How many they are: three of each point of Erlang C, two of each of Erlang A.
const CLAIMS: usize = 3 * 7 + 2 * 6;
/// Of the theoretical value, either way.
const HALF_WIDTH_MAX: f64 = 0.03;
/// The first one is left out: the one fast agent begins in it without anybody waiting.
const BATCHES: usize = 61;

#[derive(Clone, Copy, Debug)]
struct Point {
    agents: u32,
    /// Load / agents.
    load: f64,
    handling_s: f64,
    patience_s: Option<f64>,
    /// Of the service level.
    within_s: f64,
    callers: usize,
    seed: u64,
}

/// What was simulated and what theory says.
struct Claim {
    name: &'static str,
    simulated: Interval,
    theory: f64,
}

impl Claim {
    fn agrees(&self) -> bool {
        self.simulated.contains(self.theory)
    }

    fn is_narrow(&self) -> bool {
        self.simulated.half_width <= HALF_WIDTH_MAX * self.theory
    }
}

/// Sums over one batch of callers.
#[derive(Clone, Default)]
struct Batch {
    waited: f64,
    wait_s: f64,
    in_time: f64,
    abandoned: f64,
    gap: [f64; 2],
    handling: [f64; 2],
    patience: [f64; 2],
    /// Of the one fast agent's callers: the wait, and the part who wait.
    fast: [f64; 2],
    /// Callers who find every agent's place taken where everyone has an agent, and how many places beyond.
    endless: [f64; 2],
}

impl Point {
    fn per_s(&self) -> f64 {
        f64::from(self.agents) * self.load / self.handling_s
    }

    fn load_file(&self) -> Load {
        let arrivals = Arrivals {
            queues: BTreeMap::from([("q".into(), 1.0)]),
            per_hour: Some(self.per_s() * 3600.0),
            profile: Vec::new(),
            priority: 0,
            patience: self.patience_s.map(Draw::Exponential),
            talk: Draw::Exponential(self.handling_s),
            wrapup: Draw::Fixed(0.0),
        };
        // As long as it takes for ten times the callers who fit in, with much idle time between: any memory is gone.
        let warm_up_s = (200.0 * self.handling_s).ceil() as u32;
        Load {
            start: cti_plan::TimeOfDay(0),
            warm_up_s,
            arrivals: vec![arrivals],
            staff: Vec::new(),
            ring: Draw::Fixed(0.0),
            miss: 0.0,
            ring_timeout_s: 15,
        }
    }

    fn simulate(&self, broken: Broken) -> Vec<Claim> {
        let load = self.load_file();
        let rules = Arc::new(single_queue("q", self.agents));
        assert!(load.check(Some(&rules)).is_empty());
        let mut simulation = Simulation::new(Setting {
            rules,
            load: &load,
            moves: BTreeMap::new(),
            counted: Duration::from_secs(u32::MAX.into()),
            seed: self.seed,
            broken,
        });
        let size = self.callers / BATCHES;
        let callers = size * BATCHES;
        let mut came = vec![(0.0, 0.0); callers];
        let mut batches = vec![Batch::default(); BATCHES];
        let mut open = callers;
        while open > 0 {
            let ended = simulation.next_ended().expect("callers come for ever");
            let Some(number) = ended.number.and_then(|n| usize::try_from(n).ok()).filter(|n| *n < callers) else {
                continue;
            };
            open -= 1;
            came[number] = (ended.arrived.as_micros() as f64 / 1e6, ended.handling.as_secs_f64());
            batches[number / size].add(&ended, self.within_s);
        }
        let mut fast_s: f64 = 0.0;
        let mut talking = BTreeSet::new();
        for number in 1..callers {
            let ((before, handling_s), (now, _)) = (came[number - 1], came[number]);
            let gap_s = now - before;
            fast_s = (fast_s + handling_s / f64::from(self.agents) - gap_s).max(0.0);
            talking.insert(((before + handling_s).to_bits(), number));
            while talking.first().is_some_and(|(until, _)| f64::from_bits(*until) <= now) {
                talking.pop_first();
            }
            let beyond = (talking.len() as f64 - f64::from(self.agents) + 1.0).max(0.0);
            let Batch { gap, fast, endless, .. } = &mut batches[number / size];
            *endless = [endless[0] + f64::from(u8::from(beyond > 0.0)), endless[1] + beyond];
            *gap = [gap[0] + gap_s, gap[1] + gap_s * gap_s];
            *fast = [fast[0] + fast_s, fast[1] + f64::from(u8::from(fast_s > 0.0))];
        }
        self.claims(&batches[1..], size)
    }

    fn claims(&self, batches: &[Batch], size: usize) -> Vec<Claim> {
        let mean = |of: &dyn Fn(&Batch) -> f64| -> Vec<f64> { batches.iter().map(|b| of(b) / size as f64).collect() };
        let less =
            |values: Vec<f64>, known: f64| -> Vec<f64> { values.iter().map(|value| value / known - 1.0).collect() };
        let squares = |mean: f64| 2.0 * mean * mean;
        let gap_s = 1.0 / self.per_s();
        let mut controls = vec![
            less(mean(&|b| b.gap[0]), gap_s),
            less(mean(&|b| b.gap[1]), squares(gap_s)),
            less(mean(&|b| b.handling[0]), self.handling_s),
            less(mean(&|b| b.handling[1]), squares(self.handling_s)),
        ];
        if let Some(patience_s) = self.patience_s {
            controls.push(less(mean(&|b| b.patience[0]), patience_s));
        } else if self.agents > 1 {
            let fast = ErlangC::new(1, self.per_s(), Duration::from_secs_f64(self.handling_s / f64::from(self.agents)));
            let fast = fast.expect("a load below 1");
            controls.push(less(mean(&|b| b.fast[0]), fast.mean_wait_s()));
            controls.push(less(mean(&|b| b.fast[1]), fast.waiting_probability()));
        }
        let (all_taken, beyond) = self.endless_agents();
        controls.push(less(mean(&|b| b.endless[0]), all_taken));
        controls.push(less(mean(&|b| b.endless[1]), beyond));
        let confidence = Confidence::simultaneous(LEVEL, CLAIMS);
        let claim = |name, of: &dyn Fn(&Batch) -> f64, theory| Claim {
            name,
            simulated: confidence.controlled(&mean(of), &controls).expect("enough batches"),
            theory,
        };
        let handling = Duration::from_secs_f64(self.handling_s);
        match self.patience_s {
            None => {
                let theory = ErlangC::new(self.agents, self.per_s(), handling).expect("a load below 1");
                vec![
                    claim("waiting probability", &|b| b.waited, theory.waiting_probability()),
                    claim("mean wait", &|b| b.wait_s, theory.mean_wait_s()),
                    claim("service level", &|b| b.in_time, theory.service_level(self.within_s)),
                ]
            }
            Some(patience_s) => {
                let patience = Duration::from_secs_f64(patience_s);
                let theory = ErlangA::new(self.agents, self.per_s(), handling, patience).expect("agents and calls");
                vec![
                    claim("abandonment", &|b| b.abandoned, theory.abandonment()),
                    claim("mean wait", &|b| b.wait_s, theory.mean_wait_s()),
                ]
            }
        }
    }

    /// Of a Poisson number of callers who talk: the probability of as many as there are agents or more, and the mean of
    /// those beyond, that one included.
    fn endless_agents(&self) -> (f64, f64) {
        let load = f64::from(self.agents) * self.load;
        let (mut probability, mut all_taken, mut beyond) = ((-load).exp(), 0.0, 0.0);
        for n in 0..10 * (self.agents + 10) {
            if n >= self.agents {
                all_taken += probability;
                beyond += probability * f64::from(n - self.agents + 1);
            }
            probability *= load / f64::from(n + 1);
        }
        (all_taken, beyond)
    }

    fn agrees(&self) {
        for claim in self.simulate(Broken::Nothing) {
            let Claim { name, simulated: Interval { mean, half_width }, theory } = &claim;
            println!("{name}: {mean:.5} ± {half_width:.5} ({:.2} %), theory {theory:.5}", 100.0 * half_width / theory);
            assert!(claim.is_narrow(), "{name}: ± {half_width} is wider than 3 % of {theory}");
            assert!(claim.agrees(), "{name}: {mean} ± {half_width}, but theory says {theory}");
        }
    }
}

impl Batch {
    fn add(&mut self, ended: &Ended, within_s: f64) {
        let wait_s = ended.wait.as_secs_f64();
        let answered = ended.outcome == Outcome::Answered;
        let sum = |into: &mut [f64; 2], value: f64| *into = [into[0] + value, into[1] + value * value];
        self.waited += f64::from(u8::from(wait_s > 0.0));
        self.wait_s += wait_s;
        self.in_time += f64::from(u8::from(answered && wait_s <= within_s));
        self.abandoned += f64::from(u8::from(!answered));
        sum(&mut self.handling, ended.handling.as_secs_f64());
        sum(&mut self.patience, ended.patience.unwrap_or_default().as_secs_f64());
    }
}

macro_rules! points {
    ($($test:ident: $point:expr;)*) => {
        $(#[test]
        fn $test() {
            $point.agrees();
        })*
    };
}

const fn c(agents: u32, load: f64, handling_s: f64, within_s: f64, callers: usize, seed: u64) -> Point {
    Point { agents, load, handling_s, patience_s: None, within_s, callers, seed }
}

const fn a(agents: u32, load: f64, handling_s: f64, patience_s: f64, callers: usize, seed: u64) -> Point {
    Point { agents, load, handling_s, patience_s: Some(patience_s), within_s: 0.0, callers, seed }
}

points! {
    erlang_c_of_1_agent_at_50_percent: c(1, 0.5, 1.0, 1.0, 400_000, 1);
    erlang_c_of_2_agents_at_60_percent: c(2, 0.6, 180.0, 60.0, 250_000, 2);
    erlang_c_of_3_agents_at_75_percent: c(3, 0.75, 120.0, 60.0, 350_000, 3);
    erlang_c_of_5_agents_at_70_percent: c(5, 0.7, 180.0, 20.0, 500_000, 4);
    erlang_c_of_10_agents_at_80_percent: c(10, 0.8, 180.0, 20.0, 600_000, 5);
    erlang_c_of_14_agents_at_70_percent: c(14, 10.0 / 14.0, 180.0, 20.0, 1_200_000, 6);
    erlang_c_of_30_agents_at_85_percent: c(30, 0.85, 240.0, 20.0, 1_200_000, 7);
    erlang_a_of_1_agent_at_100_percent: a(1, 1.0, 60.0, 60.0, 400_000, 11);
    erlang_a_of_5_agents_at_90_percent: a(5, 0.9, 180.0, 90.0, 400_000, 12);
    erlang_a_of_10_agents_at_120_percent: a(10, 1.2, 180.0, 60.0, 400_000, 13);
    erlang_a_of_20_agents_at_100_percent: a(20, 1.0, 180.0, 300.0, 500_000, 14);
    erlang_a_of_50_agents_at_105_percent: a(50, 1.05, 60.0, 120.0, 500_000, 15);
    erlang_a_of_100_agents_at_110_percent: a(100, 1.1, 240.0, 120.0, 450_000, 16);
}

/// Whether what the broken ACD does is still what theory says.
fn passes(point: Point, broken: Broken) -> bool {
    point.simulate(broken).iter().all(Claim::agrees)
}

#[test]
fn serving_the_newest_first_is_noticed() {
    let point = c(5, 0.7, 180.0, 20.0, 200_000, 21);
    assert!(passes(point, Broken::Nothing));
    assert!(!passes(point, Broken::NewestFirst));
}

#[test]
fn agents_who_idle_for_200_ms_are_noticed() {
    let point = c(2, 0.6, 2.0, 1.0, 200_000, 22);
    assert!(passes(point, Broken::Nothing));
    assert!(!passes(point, Broken::Idle(Duration::from_millis(200))));
}
