//! `zongji simulate TENANT --load FILE`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use cti_acd::{Key, Line, Reason, Skipped, Strategy, Why};
use cti_base::Rng;
use cti_plan::stats::Interval;
use cti_plan::{Broken, Event, Figure, Figures, Load, Run, Setting, Simulation, Trace};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::FAILED;
use crate::config::{self, Problems, TenantFile};

/// What holds of all intervals together.
const LEVEL: f64 = 0.95;
/// A year.
const HOURS_MAX: f64 = 8_784.0;
/// Before that nobody needs a progress bar.
const SHOWN_AFTER: Duration = Duration::from_secs(2);
/// Callers between two looks at the clock.
const LOOK_EVERY: u64 = 4_096;

/// Run the tenant's own rules over simulated callers, and print the figures
#[derive(Args)]
pub struct Simulate {
    /// The tenant's file
    tenant: PathBuf,
    /// Who calls when, how long calls take, who works
    #[arg(long, value_name = "FILE")]
    load: PathBuf,
    /// The time that is counted, after the load's warm-up
    #[arg(long, value_name = "H", default_value_t = 8.0, value_parser = hours)]
    hours: f64,
    /// The same seed, the same calls
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Independent runs; the intervals come from their differences
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    runs: u64,
    /// Follow the Nth counted caller of the first run: what was decided, and why
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    trace: Option<u64>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    hours: f64,
    seed: u64,
    #[serde(flatten)]
    figures: &'a Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a Trace>,
}

impl Simulate {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        match self.simulate() {
            Ok((figures, trace)) => {
                self.print(&figures, trace.as_ref())?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problems) => {
                eprintln!("{problems}");
                Ok(ExitCode::from(FAILED))
            }
        }
    }

    fn simulate(&self) -> Result<(Figures, Option<Trace>), Problems> {
        let doc = TenantFile::load(&self.tenant)?.tenant.doc;
        let rules = Arc::new(doc.acd_rules());
        let load: Load = config::load(&self.load, Some(&rules))?;
        let mut seeds = Rng::from_number(self.seed);
        let mut bar = Bar::new();
        let mut runs = Vec::new();
        let mut trace = None;
        for number in 0..self.runs {
            let mut simulation = Simulation::new(Setting {
                rules: rules.clone(),
                load: &load,
                moves: doc.acd_moves(),
                counted: Duration::from_secs_f64(self.hours * 3600.0),
                seed: seeds.next_u64(),
                broken: Broken::Nothing,
            });
            if let Some(caller) = self.trace.filter(|_| number == 0) {
                simulation.follow(caller - 1);
            }
            let mut run = Run::new(&rules);
            let mut callers = 0u64;
            while let Some(ended) = simulation.next_ended() {
                run.add(&ended);
                callers += 1;
                if callers.is_multiple_of(LOOK_EVERY) {
                    bar.show((number as f64 + simulation.progress()) / self.runs as f64);
                }
            }
            run.end(simulation.agent_time());
            runs.push(run);
            trace = trace.or(simulation.into_trace());
        }
        Ok((Figures::of(&runs, LEVEL), trace))
    }

    fn print(&self, figures: &Figures, trace: Option<&Trace>) -> anyhow::Result<()> {
        if self.json {
            let report = Report { hours: self.hours, seed: self.seed, figures, trace };
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        println!(
            "{} runs of {} h from seed {}; all intervals hold together with {:.0} %.",
            figures.runs,
            self.hours,
            self.seed,
            figures.level * 100.0
        );
        // One queue alone is all.
        for (queue, table) in figures.queues.iter().filter(|_| figures.queues.len() > 1) {
            println!("\nqueue {queue}");
            print_table(table);
        }
        println!("\nall");
        print_table(&figures.total);
        if let Some(trace) = trace {
            println!("\ncaller {} of the first run", trace.number + 1);
            if trace.steps.is_empty() {
                println!("  there are not so many callers");
            }
            for step in &trace.steps {
                println!("  {}  {}", clock(step.at_ms), story(&step.event));
            }
        }
        Ok(())
    }
}

/// Shown once the work takes longer.
struct Bar {
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Bar {
    fn new() -> Self {
        Self { since: Instant::now(), bar: None }
    }

    fn show(&mut self, part: f64) {
        const STEPS: u64 = 1_000;
        if self.bar.is_none() && self.since.elapsed() > SHOWN_AFTER {
            let style = ProgressStyle::with_template("{bar:40} {percent} % {eta}");
            self.bar = Some(ProgressBar::new(STEPS).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
        }
        if let Some(bar) = &self.bar {
            bar.set_position((part * STEPS as f64) as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|_| format!("`{text}` is no number of hours"))?;
    if hours > 0.0 && hours <= HOURS_MAX { Ok(hours) } else { Err(format!("from above 0 to {HOURS_MAX} hours")) }
}

fn print_table(table: &BTreeMap<Figure, Interval>) {
    for (figure, Interval { mean, half_width }) in table {
        let (name, unit) = shown(*figure);
        match unit {
            Unit::Calls => println!("  {name:<44}{mean:>10.1}    ± {half_width:.1}"),
            Unit::Part => println!("  {name:<44}{:>10.1} %  ± {:.1}", 100.0 * mean, 100.0 * half_width),
            Unit::Seconds => println!("  {name:<44}{mean:>10.1} s  ± {half_width:.1}"),
        }
    }
}

enum Unit {
    Calls,
    Part,
    Seconds,
}

const fn shown(figure: Figure) -> (&'static str, Unit) {
    match figure {
        Figure::Offered => ("offered", Unit::Calls),
        Figure::Answered => ("answered", Unit::Calls),
        Figure::Abandoned => ("abandoned", Unit::Calls),
        Figure::Overflowed => ("overflowed", Unit::Calls),
        Figure::Abandonment => ("abandoned / offered", Unit::Part),
        Figure::SlOfAnswered => ("SL: in time / answered", Unit::Part),
        Figure::SlOfOffered => ("SL: in time / offered", Unit::Part),
        Figure::SlShortAbandonsExcluded => ("SL: short abandons excluded", Unit::Part),
        Figure::SlShortAbandonsIncluded => ("SL: short abandons included", Unit::Part),
        Figure::WaitMeanS => ("wait of the answered: mean (ASA)", Unit::Seconds),
        Figure::WaitP50S => ("  half of them at most", Unit::Seconds),
        Figure::WaitP90S => ("  90 % at most", Unit::Seconds),
        Figure::WaitP95S => ("  95 % at most", Unit::Seconds),
        Figure::WaitMaxS => ("  the longest", Unit::Seconds),
        Figure::EstimateErrorS => ("told wait off by, mean", Unit::Seconds),
        Figure::NaiveErrorS => ("  position × handling / agents off by", Unit::Seconds),
        Figure::Occupancy => ("occupancy", Unit::Part),
    }
}

/// Milliseconds since a midnight as `08:03:12.345`.
fn clock(ms: u64) -> String {
    let s = ms / 1_000;
    format!("{:02}:{:02}:{:02}.{:03}", s / 3600 % 24, s / 60 % 60, s % 60, ms % 1_000)
}

fn story(event: &Event) -> String {
    match event {
        Event::Arrived { queue } => format!("comes to {queue}"),
        Event::Waits { position, wait_ms, naive_ms, estimator } => format!(
            "waits at place {position}; told {} s ({estimator}; position × handling / agents: {} s)",
            wait_ms / 1_000,
            naive_ms / 1_000
        ),
        Event::Offered { agents, why, .. } => {
            let agents: Vec<&str> = agents.iter().map(|agent| agent.as_str()).collect();
            format!("offered to {}: {}", agents.join(", "), reasons(why))
        }
        Event::Missed { agent } => format!("{agent} does not answer"),
        Event::Relaxed { step, over, requires, queues } => {
            let what = if *over { "ends" } else { "begins" };
            let skills: Vec<String> = requires.iter().map(|(skill, level)| format!("{skill} {level}")).collect();
            let skills = if skills.is_empty() { "nothing".to_owned() } else { skills.join(", ") };
            let queues: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
            format!("step {} {what}: requires {skills}, asks {}", step + 1, queues.join(", "))
        }
        Event::StickyOver { agent } => format!("{agent} is no longer waited for"),
        Event::PassedOn { why, to: Some(to) } => format!("passed on to {to}: {}", name_of(why)),
        Event::PassedOn { why, to: None } => format!("passed on, out of the queues: {}", name_of(why)),
        Event::Answered { agent } => format!("answered by {agent}"),
        Event::Abandoned => "gives up".to_owned(),
    }
}

fn reasons(why: &Why) -> String {
    let line = match &why.line {
        Line::Own => String::new(),
        Line::Also(queue) => format!(", asked of {queue}"),
        Line::Lent(queue) => format!(", lent by {queue}"),
        Line::Sticky => ", preferred".to_owned(),
        Line::Direct => ", direct".to_owned(),
    };
    let mut text = format!(
        "{} ({}){line}; {} ready of {}; place {} after {:.1} s",
        strategy(why.strategy),
        key(&why.key),
        why.ready,
        why.eligible,
        why.position,
        why.waited_ms as f64 / 1e3
    );
    if !why.skipped.is_empty() {
        let skipped: Vec<String> = why.skipped.iter().map(passed_over).collect();
        text.push_str(&format!("; not {}", skipped.join(", ")));
    }
    text
}

fn strategy(strategy: Strategy) -> String {
    name_of(&strategy)
}

fn key(key: &Key) -> String {
    match key {
        Key::IdleMs(ms) => format!("idle for {:.1} s", *ms as f64 / 1e3),
        Key::OffersAgo(Some(ago)) => format!("last asked {ago} offers ago"),
        Key::OffersAgo(None) => "never asked before".to_owned(),
        Key::Calls(calls) => format!("{calls} calls today"),
        Key::TalkMs(ms) => format!("{:.0} s of talk today", *ms as f64 / 1e3),
        Key::Rank(rank) => format!("rank {rank}"),
        Key::Lot(_) => "by lot".to_owned(),
        Key::SkillLevels(levels) => format!("levels {levels}"),
        Key::ScoreMilli(milli) => format!("score {:.1}", *milli as f64 / 1e3),
    }
}

fn passed_over(Skipped { agent, reason }: &Skipped) -> String {
    match reason {
        Reason::NoSkill { skill, has, needs } => format!("{agent} ({skill} {has}, needs {needs})"),
        reason => format!("{agent} ({})", name_of(reason)),
    }
}

/// The name that serde gives a variant without content, in words.
fn name_of(variant: &impl Serialize) -> String {
    let name = serde_json::to_value(variant).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A load on the tenant that lies beside those that are committed.
    fn simulate(dir: &Path, load: &str) -> Simulate {
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("written");
        write("tenant.toml", include_str!("../../../plan/loads/tenant.toml"));
        write("load.toml", load);
        Simulate {
            tenant: dir.join("tenant.toml"),
            load: dir.join("load.toml"),
            hours: 1.0,
            seed: 1,
            runs: 3,
            trace: Some(40),
            json: true,
        }
    }

    const STEADY: &str = include_str!("../../../plan/loads/steady.toml");

    #[test]
    fn the_same_seed_gives_the_same_figures_and_another_gives_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = simulate(dir.path(), STEADY);
        let (figures, trace) = command.simulate().expect("all is right");
        assert_eq!(command.simulate().expect("all is right"), (figures.clone(), trace.clone()));
        let offered = figures.total[&Figure::Offered].mean;
        assert!((270.0..390.0).contains(&offered), "{offered}");
        let steps: Vec<String> = trace.expect("a caller").steps.iter().map(|step| story(&step.event)).collect();
        assert_eq!(steps.first().map(String::as_str), Some("comes to repair"));
        assert!(steps.iter().any(|step| step.starts_with("answered by") || step == "gives up"), "{steps:?}");
        command.seed = 2;
        assert_ne!(command.simulate().expect("all is right").0, figures);
    }

    #[test]
    fn a_load_for_another_tenant_is_refused_where_it_is_wrong() {
        let dir = tempfile::tempdir().expect("a directory");
        let command = simulate(dir.path(), &STEADY.replace("repair", "rescue"));
        let problems = command.simulate().expect_err("no such queue").to_string();
        assert!(problems.ends_with("load.toml:6:12: rescue: there is no queue `rescue`"), "{problems}");
        assert_eq!(command.run().expect("it tells"), ExitCode::from(FAILED));
    }

    #[test]
    fn hours_are_above_zero() {
        assert_eq!(hours("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "x", "1e9"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
