//! `zongji forecast`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{Datelike, TimeZone, Timelike, Utc};
use clap::{Args, ValueEnum};
use cti_base::TenantId;
use cti_plan::{AGENTS_MAX, BackTest, Demand, Expected, History};
use serde::Serialize;
use zongji_sql::figures::{self, Span};
use zongji_sql::{Store, tenants};

use super::staff::{above_zero, percent, zero_or_above};
use super::{FAILED, Place};
use crate::clock;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Days that are foretold at most.
const DAYS_MAX: u64 = 31;
/// Weeks of the records that are read.
const WEEKS_READ: u64 = 16;

/// The calls that are to come, from those of the weeks before, with the error of a back-test and the agents that they take
#[derive(Args)]
pub struct Forecast {
    /// From this CSV instead of the records: columns `start_ms` and `offered` (and `queue`), as `reports/queues` exports them
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Whose records
    #[arg(long, value_name = "TENANT", required_unless_present = "csv")]
    tenant: Option<String>,
    /// Calls of this queue alone
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Days that are foretold
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=DAYS_MAX))]
    days: u64,
    #[arg(long, value_enum, default_value_t = Step::Hour)]
    interval: Step,
    /// Talk, hold and wrap-up, seconds in the mean; as the records or the CSV have it where it is left out
    #[arg(long, value_name = "S", value_parser = above_zero)]
    handling: Option<f64>,
    /// How long callers wait before they give up, seconds in the mean; without it for ever
    #[arg(long, value_name = "S", value_parser = above_zero)]
    patience: Option<f64>,
    /// Answered within so many seconds
    #[arg(long, value_name = "S", default_value_t = 20.0, value_parser = zero_or_above)]
    within: f64,
    /// So many of a hundred callers
    #[arg(long, value_name = "P", default_value_t = 80.0, value_parser = percent)]
    percent: f64,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    #[value(name = "15m")]
    Quarter,
    #[value(name = "1h")]
    Hour,
}

impl Step {
    const fn ms(self) -> u64 {
        match self {
            Self::Quarter => HOUR_MS / 4,
            Self::Hour => HOUR_MS,
        }
    }
}

/// What was read: calls by interval, and how long they took.
#[derive(Debug, Default, PartialEq)]
struct Past {
    calls: Vec<(u64, f64)>,
    handled: f64,
    handling_ms: f64,
    timezone: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Report {
    weeks: usize,
    back_test: Option<BackTest>,
    handling_s: Option<f64>,
    formula: &'static str,
    intervals: Vec<Line>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line {
    #[serde(flatten)]
    expected: Expected,
    /// At their desks; none where the handling time is not known.
    agents: Option<u32>,
}

impl Forecast {
    pub fn run(&self, place: &Place) -> anyhow::Result<ExitCode> {
        let past = match &self.csv {
            Some(file) => {
                let text =
                    std::fs::read_to_string(file).with_context(|| format!("{} can not be read", file.display()))?;
                read_csv(&text, self.queue.as_deref()).with_context(|| file.display().to_string())?
            }
            None => self.records(place)?,
        };
        let Some(report) = self.report(&past, clock::now().as_millis()) else {
            eprintln!("zongji: there is no whole week of calls to learn from");
            return Ok(ExitCode::from(FAILED));
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            self.print(&report, past.timezone.as_deref().unwrap_or("UTC"));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn records(&self, place: &Place) -> anyhow::Result<Past> {
        let tenant = TenantId::from(self.tenant.as_deref().unwrap_or_default());
        let setup = place.setup()?;
        require_data(&setup.data)?;
        crate::runtime()?.block_on(async {
            let store = Store::connect(&setup.database_url()).await.context("the database can not be opened")?;
            let known =
                tenants::get(&store, &tenant).await?.with_context(|| format!("there is no tenant `{tenant}`"))?;
            let now_ms = clock::now().as_millis();
            // What goes on is not whole.
            let to_ms = now_ms - now_ms % self.interval.ms();
            let span = Span {
                from_ms: to_ms.saturating_sub(WEEKS_READ * 7 * DAY_MS),
                to_ms,
                part_ms: Some(self.interval.ms()),
            };
            let mut past = Past { timezone: known.doc.map(|doc| doc.tenant.timezone), ..Past::default() };
            for part in figures::queues(&store, &tenant, span).await? {
                if self.queue.as_deref().is_some_and(|queue| queue != part.name.as_str()) {
                    continue;
                }
                let of = part.figures;
                // Who was passed on from another queue is one caller.
                let came = if self.queue.is_some() { of.offered } else { of.offered.saturating_sub(of.overflowed_in) };
                past.calls.push((part.start_ms, came as f64));
                past.handled += of.handled as f64;
                past.handling_ms += (of.talk_ms + of.hold_ms + of.wrapup_ms) as f64;
            }
            store.close().await;
            Ok(past)
        })
    }

    /// `None` where no week is whole.
    fn report(&self, past: &Past, now_ms: u64) -> Option<Report> {
        let history = History::new(self.interval.ms(), past.calls.iter().copied())?;
        let measured = (past.handled > 0.0).then(|| past.handling_ms / past.handled / 1_000.0);
        let handling_s = self.handling.or(measured).filter(|seconds| *seconds > 0.0);
        // A CSV of a time long ago is gone on with from its own end.
        let from_ms = if self.csv.is_some() { history.end_ms() } else { now_ms };
        let expected = history.forecast(from_ms, (self.days * DAY_MS / self.interval.ms()) as usize)?;
        let agents = |calls: f64| {
            let demand = Demand {
                per_hour: calls * HOUR_MS as f64 / self.interval.ms() as f64,
                handling: Duration::from_secs_f64(handling_s?),
                patience: self.patience.map(Duration::from_secs_f64),
            };
            if calls <= 0.0 {
                return Some(0);
            }
            let within = Duration::from_secs_f64(self.within);
            Some(demand.staffing(within, self.percent / 100.0).map_or(AGENTS_MAX, |staffing| staffing.agents))
        };
        Some(Report {
            weeks: history.weeks(),
            back_test: history.back_test(),
            handling_s,
            formula: if self.patience.is_some() { "Erlang A" } else { "Erlang C" },
            intervals: expected.into_iter().map(|expected| Line { expected, agents: agents(expected.calls) }).collect(),
        })
    }

    fn print(&self, report: &Report, timezone: &str) {
        let Report { weeks, back_test, handling_s, formula, intervals } = report;
        println!("from {weeks} whole weeks");
        match back_test {
            Some(BackTest { weeks, error, naive }) => println!(
                "back-test over {weeks} weeks: off by {:.1} % of the calls; as the week before: {:.1} %",
                100.0 * error,
                100.0 * naive
            ),
            None => println!("back-test: three weeks are needed"),
        }
        match handling_s {
            Some(seconds) => println!(
                "agents by {formula}: {:.0} % within {:.0} s, {seconds:.0} s a call; times are of {timezone}",
                self.percent, self.within
            ),
            None => println!("no handling time is known: give --handling for the agents; times are of {timezone}"),
        }
        println!("{:<22}{:>8}{:>8}", "", "calls", "agents");
        let zone: chrono_tz::Tz = timezone.parse().unwrap_or(chrono_tz::UTC);
        for Line { expected: Expected { start_ms, calls }, agents } in intervals {
            let at = Utc.timestamp_millis_opt(*start_ms as i64).single().map(|at| at.with_timezone(&zone));
            let at = at.map(|at| format!("{} {} {:02}:{:02}", at.weekday(), at.date_naive(), at.hour(), at.minute()));
            let at = at.unwrap_or_default();
            let agents = agents.map_or("-".to_owned(), |agents| agents.to_string());
            println!("{at:<22}{calls:>8.1}{agents:>8}");
        }
    }
}

/// A wrong directory is told, not made.
fn require_data(data: &Path) -> anyhow::Result<()> {
    if !data.is_dir() {
        bail!("there is no data in {}", data.display());
    }
    Ok(())
}

/// Rows of `reports/queues`, or of anything with such columns; a line that does not fit is named.
fn read_csv(text: &str, queue: Option<&str>) -> anyhow::Result<Past> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_end_matches('\r')));
    let (_, head) = lines.next().context("is empty")?;
    let columns: Vec<&str> = head.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
    let place = |name: &str| columns.iter().position(|column| *column == name);
    let start = place("start_ms").context("has no column `start_ms`")?;
    let offered = place("offered").context("has no column `offered`")?;
    let names = place("queue");
    if queue.is_some() && names.is_none() {
        bail!("has no column `queue`");
    }
    let mut past = Past::default();
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let number = |place: usize, what: &str| -> anyhow::Result<f64> {
            let cell = cells.get(place).with_context(|| format!("line {at} has no `{what}`"))?;
            let number = cell.parse().ok().filter(|number: &f64| (0.0..=1e15).contains(number));
            number.with_context(|| format!("line {at}: `{cell}` is no `{what}`"))
        };
        if queue.is_some_and(|queue| names.and_then(|place| cells.get(place)) != Some(&queue)) {
            continue;
        }
        past.calls.push((number(start, "start_ms")? as u64, number(offered, "offered")?));
        if let Some(handled) = place("handled") {
            past.handled += number(handled, "handled")?;
            for name in ["talk_ms", "hold_ms", "wrapup_ms"] {
                past.handling_ms += place(name).map_or(Ok(0.0), |place| number(place, name))?;
            }
        }
    }
    Ok(past)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(csv: bool) -> Forecast {
        Forecast {
            csv: csv.then(|| "calls.csv".into()),
            tenant: None,
            queue: None,
            days: 1,
            interval: Step::Hour,
            handling: None,
            patience: None,
            within: 20.0,
            percent: 80.0,
            json: false,
        }
    }

    #[test]
    fn a_report_is_read_and_foretold_with_its_agents() {
        let mut text = "start_ms,end_ms,queue,offered,handled,talk_ms,hold_ms,wrapup_ms\r\n".to_owned();
        for hour in 0..4 * 168 {
            let start = hour * HOUR_MS;
            text += &format!("{start},0,repair,200,10,1500000,0,300000\r\n{start},0,sales,7,0,0,0,0\r\n");
        }
        let past = read_csv(&text, Some("repair")).expect("read");
        let report = asked(true).report(&past, 0).expect("weeks");
        assert_eq!((report.weeks, report.handling_s, report.formula), (4, Some(180.0), "Erlang C"));
        assert_eq!(report.back_test.map(|test| (test.weeks, test.error)), Some((2, 0.0)));
        assert_eq!(report.intervals.len(), 24);
        let first = &report.intervals[0];
        assert_eq!((first.expected.start_ms, first.expected.calls), (4 * 168 * HOUR_MS, 200.0));
        assert_eq!(first.agents, Some(14), "the common example of Erlang C");
        let both = read_csv(&text, None).expect("read");
        assert_eq!(asked(true).report(&both, 0).expect("weeks").intervals[0].expected.calls, 207.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, expect) in [
            ("", "is empty"),
            ("a,b\n1,2", "no column `start_ms`"),
            ("start_ms,offered\n1,x", "line 2: `x` is no `offered`"),
            ("start_ms,offered\n\n1", "line 3 has no `offered`"),
            ("start_ms,offered\n-1,3", "line 2: `-1` is no `start_ms`"),
        ] {
            let error = read_csv(text, None).expect_err(text).to_string();
            assert!(error.contains(expect), "{error}");
        }
        assert!(asked(true).report(&Past::default(), 0).is_none());
    }
}
