//! `zongji staff`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cti_plan::{AGENTS_MAX, Demand, Staffing};
use serde::Serialize;

use super::FAILED;

/// Agents more and fewer that are shown beside.
const BESIDE: u32 = 2;

/// How many agents a service level takes: Erlang C, or with a patience Erlang A
#[derive(Args)]
pub struct Staff {
    /// Calls an hour
    #[arg(long, value_name = "N", value_parser = above_zero)]
    per_hour: f64,
    /// Talk, hold and wrap-up, seconds in the mean
    #[arg(long, value_name = "S", value_parser = above_zero)]
    handling: f64,
    /// How long callers wait before they give up, seconds in the mean; without it for ever
    #[arg(long, value_name = "S", value_parser = above_zero)]
    patience: Option<f64>,
    /// Answered within so many seconds
    #[arg(long, value_name = "S", default_value_t = 20.0, value_parser = zero_or_above)]
    within: f64,
    /// So many of a hundred callers
    #[arg(long, value_name = "P", default_value_t = 80.0, value_parser = percent)]
    percent: f64,
    /// Of a hundred agents on the roster, so many are not at their desks
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = percent)]
    shrinkage: f64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, PartialEq, Serialize)]
struct Report {
    formula: &'static str,
    /// Talking time asked for, Erlang.
    load: f64,
    /// At their desks.
    agents: u32,
    /// With those who are not.
    rostered: u64,
    /// With so many, and some fewer and more.
    with: Vec<Staffing>,
}

impl Staff {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let Some(report) = self.report() else {
            eprintln!("zongji: {AGENTS_MAX} agents would not be enough");
            return Ok(ExitCode::from(FAILED));
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(ExitCode::SUCCESS);
        }
        let Report { formula, load, agents, rostered, with } = &report;
        println!("{agents} agents ({rostered} on the roster) by {formula}, for a load of {load:.2} Erlang");
        println!(
            "{:>8}{:>10}{:>10}{:>12}{:>11}{:>11}",
            "agents", "in time", "wait", "mean wait", "give up", "occupancy"
        );
        for staffing in with {
            let part = |of: f64| format!("{:.1} %", 100.0 * of);
            println!(
                "{:>8}{:>10}{:>10}{:>10.1} s{:>11}{:>11}",
                staffing.agents,
                part(staffing.service_level),
                part(staffing.waiting_probability),
                staffing.mean_wait_s,
                part(staffing.abandonment),
                part(staffing.occupancy)
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// `None`: no number of agents is enough.
    fn report(&self) -> Option<Report> {
        let demand = Demand {
            per_hour: self.per_hour,
            handling: Duration::from_secs_f64(self.handling),
            patience: self.patience.map(Duration::from_secs_f64),
        };
        let within = Duration::from_secs_f64(self.within);
        let agents = demand.staffing(within, self.percent / 100.0)?.agents;
        let beside = agents.saturating_sub(BESIDE)..=agents + BESIDE;
        Some(Report {
            formula: if self.patience.is_some() { "Erlang A" } else { "Erlang C" },
            load: self.per_hour * self.handling / 3600.0,
            agents,
            rostered: (f64::from(agents) / (1.0 - self.shrinkage / 100.0)).ceil() as u64,
            with: beside.filter_map(|agents| demand.with(agents, within)).collect(),
        })
    }
}

fn number(text: &str, fits: impl Fn(f64) -> bool, wanted: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| fits(*number)).ok_or_else(|| format!("must be a number {wanted}"))
}

pub(super) fn above_zero(text: &str) -> Result<f64, String> {
    number(text, |number| number > 0.0 && number <= 1e9, "above 0")
}

pub(super) fn zero_or_above(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..=1e9).contains(&number), "from 0")
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..100.0).contains(&number), "from 0 to below 100")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staff(patience: Option<f64>) -> Staff {
        let (per_hour, handling, within, percent, shrinkage) = (200.0, 180.0, 20.0, 80.0, 30.0);
        Staff { per_hour, handling, patience, within, percent, shrinkage, json: false }
    }

    #[test]
    fn the_common_example_comes_out() {
        let report = staff(None).report().expect("agents");
        assert_eq!((report.formula, report.agents, report.rostered), ("Erlang C", 14, 20));
        assert_eq!(report.with.iter().map(|staffing| staffing.agents).collect::<Vec<_>>(), [12, 13, 14, 15, 16]);
        let impatient = staff(Some(60.0)).report().expect("agents");
        assert_eq!(impatient.formula, "Erlang A");
        assert!(impatient.agents < 14, "{}", impatient.agents);
    }

    #[test]
    fn numbers_that_say_nothing_are_refused() {
        assert_eq!(above_zero("3"), Ok(3.0));
        for wrong in ["0", "-1", "NaN", "inf", "x"] {
            assert!(above_zero(wrong).is_err(), "{wrong}");
        }
        assert!(percent("100").is_err());
    }
}
