//! A load file: what comes, how long it takes, who is there.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_acd::Rules;
use cti_base::{AgentName, QueueName};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::draw::{DRAWN_MAX, Draw};

/// Streams, intervals or staff entries in one file.
const ENTRIES_MAX: usize = 1_000;
/// Calls an hour of one stream.
const PER_HOUR_MAX: f64 = 1e7;
const DAY_S: u32 = 86_400;
/// A week: any queue has forgotten how it began.
const WARM_UP_MAX_S: u32 = 7 * DAY_S;

/// The whole file. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The time of day at which the figures begin.
    #[serde(default)]
    pub start: TimeOfDay,
    /// How long before that calls come in already, without being counted.
    #[serde(default = "default_warm_up_s")]
    pub warm_up_s: u32,
    pub arrivals: Vec<Arrivals>,
    /// Who works when. Without any: everybody, all the time.
    #[serde(default)]
    pub staff: Vec<Staff>,
    /// How long a phone rings before the agent answers.
    #[serde(default = "none")]
    pub ring: Draw,
    /// The part of the offers that ring out.
    #[serde(default)]
    pub miss: f64,
    /// When a phone that is not answered is given up.
    #[serde(default = "default_ring_timeout_s")]
    pub ring_timeout_s: u32,
}

/// One stream of callers, Poisson: independent of one another, at a rate.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// Where they queue, each with its weight among the stream's callers.
    pub queues: BTreeMap<QueueName, f64>,
    /// All the time alike; or `profile`.
    #[serde(default)]
    pub per_hour: Option<f64>,
    /// By time of day; outside the intervals nobody calls.
    #[serde(default)]
    pub profile: Vec<Interval>,
    /// As a script's: added to the queue's.
    #[serde(default)]
    pub priority: i32,
    /// How long a caller waits before giving up; left out: for ever.
    #[serde(default)]
    pub patience: Option<Draw>,
    pub talk: Draw,
    #[serde(default = "none")]
    pub wrapup: Draw,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    pub from: TimeOfDay,
    /// `24:00` is the day's end. Not after midnight: write two intervals.
    pub to: TimeOfDay,
    pub per_hour: f64,
}

/// Agents who work from one time of day to another. Who is on a call at the end, ends it first.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staff {
    #[serde(default)]
    pub from: TimeOfDay,
    #[serde(default = "day_end")]
    pub to: TimeOfDay,
    /// By name; or `count`.
    #[serde(default)]
    pub agents: Vec<AgentName>,
    /// So many of the tenant's agents, by name the first.
    #[serde(default)]
    pub count: Option<usize>,
}

/// Seconds since midnight, written `"08:30"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub u32);

/// What is wrong with a load beyond its syntax. `path` leads there: keys and, from 0, places in lists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    pub path: Vec<Step>,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    At(usize),
}

impl Load {
    /// Everything that is wrong with it, in the file's order; with rules, for the tenant of these.
    pub fn check(&self, rules: Option<&Rules>) -> Vec<LoadError> {
        let mut check = Check { rules, errors: Vec::new() };
        check.whole(self);
        for (at, stream) in self.arrivals.iter().enumerate() {
            check.stream(at, stream);
        }
        for (at, staff) in self.staff.iter().enumerate() {
            check.staff(at, staff);
        }
        check.errors
    }

    pub fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up_s.into())
    }
}

impl Arrivals {
    /// Calls a second at this time of day, and for how many seconds more.
    pub(crate) fn rate(&self, second_of_day: f64) -> (f64, f64) {
        if let Some(per_hour) = self.per_hour {
            return (per_hour / 3600.0, f64::INFINITY);
        }
        let inside = |of: &&Interval| f64::from(of.from.0) <= second_of_day && second_of_day < f64::from(of.to.0);
        let bounds = self.profile.iter().flat_map(|of| [of.from.0, of.to.0]).chain([DAY_S]).map(f64::from);
        let until = bounds.filter(|at| *at > second_of_day).fold(f64::from(DAY_S), f64::min);
        let per_hour: f64 = self.profile.iter().filter(inside).map(|of| of.per_hour).sum();
        (per_hour / 3600.0, until - second_of_day)
    }
}

impl Staff {
    pub(crate) fn covers(&self, second_of_day: u32) -> bool {
        self.from.0 <= second_of_day && second_of_day < self.to.0
    }
}

struct Check<'a> {
    rules: Option<&'a Rules>,
    errors: Vec<LoadError>,
}

impl Check<'_> {
    fn whole(&mut self, load: &Load) {
        if load.arrivals.is_empty() {
            self.fault(vec![key("arrivals")], "is empty: nobody would call");
        }
        if load.arrivals.len() > ENTRIES_MAX || load.staff.len() > ENTRIES_MAX {
            self.fault(vec![key("arrivals")], format!("at most {ENTRIES_MAX} entries"));
        }
        if !(0.0..=1.0).contains(&load.miss) {
            self.fault(vec![key("miss")], format!("{} is not from 0 to 1", load.miss));
        } else if load.miss == 1.0 {
            self.fault(vec![key("miss")], "nobody would ever answer");
        }
        if u64::from(load.ring_timeout_s) > DRAWN_MAX.as_secs() || load.ring_timeout_s == 0 {
            self.fault(vec![key("ring_timeout_s")], format!("{} is not from 1 to 86400 seconds", load.ring_timeout_s));
        }
        if load.warm_up_s > WARM_UP_MAX_S {
            let message = format!("{} is not from 0 to {WARM_UP_MAX_S} seconds", load.warm_up_s);
            self.fault(vec![key("warm_up_s")], message);
        }
        self.draw(vec![key("ring")], &load.ring);
    }

    fn stream(&mut self, at: usize, stream: &Arrivals) {
        let path = |name: &str| vec![key("arrivals"), Step::At(at), key(name)];
        if stream.queues.is_empty() {
            self.fault(path("queues"), "names no queue: write { repair = 1 }");
        }
        for (queue, weight) in &stream.queues {
            let path = [path("queues"), vec![key(queue.as_str())]].concat();
            if self.rules.is_some_and(|rules| !rules.queues.contains_key(queue)) {
                self.fault(path, format!("there is no queue `{queue}`"));
            } else if !(*weight > 0.0 && weight.is_finite()) {
                self.fault(path, format!("weight {weight} is not above 0"));
            }
        }
        match (stream.per_hour, stream.profile.is_empty()) {
            (None, true) => self.fault(path("queues"), "needs `per_hour` or `profile` beside it"),
            (Some(_), false) => self.fault(path("per_hour"), "stands beside `profile`: leave one out"),
            (Some(per_hour), true) => self.per_hour(path("per_hour"), per_hour),
            (None, false) => {}
        }
        for (place, interval) in stream.profile.iter().enumerate() {
            let path = |name: &str| [path("profile"), vec![Step::At(place), key(name)]].concat();
            self.per_hour(path("per_hour"), interval.per_hour);
            if interval.from >= interval.to {
                self.fault(path("to"), "is not after `from`");
            }
        }
        if let Some(patience) = &stream.patience {
            self.draw(path("patience"), patience);
        }
        self.draw(path("talk"), &stream.talk);
        self.draw(path("wrapup"), &stream.wrapup);
        if stream.talk.mean_s() + stream.wrapup.mean_s() == 0.0 {
            self.fault(path("talk"), "calls that take no time are no load");
        }
    }

    fn staff(&mut self, at: usize, staff: &Staff) {
        let path = |name: &str| vec![key("staff"), Step::At(at), key(name)];
        for (place, agent) in staff.agents.iter().enumerate() {
            if self.rules.is_some_and(|rules| !rules.agents.contains_key(agent)) {
                let path = [path("agents"), vec![Step::At(place)]].concat();
                self.fault(path, format!("there is no agent `{agent}`"));
            }
        }
        match (staff.count, staff.agents.is_empty()) {
            (Some(_), false) => self.fault(path("count"), "stands beside `agents`: leave one out"),
            (Some(count), true) => {
                let declared = self.rules.map_or(usize::MAX, |rules| rules.agents.len());
                if count > declared {
                    self.fault(path("count"), format!("the tenant has {declared} agents"));
                }
            }
            (None, true) => self.fault(vec![key("staff"), Step::At(at)], "needs `agents` or `count`"),
            (None, false) => {}
        }
        if staff.from >= staff.to {
            self.fault(path("to"), "is not after `from`");
        }
    }

    fn per_hour(&mut self, path: Vec<Step>, per_hour: f64) {
        if !(0.0..=PER_HOUR_MAX).contains(&per_hour) {
            self.fault(path, format!("{per_hour} is not from 0 to {PER_HOUR_MAX} calls an hour"));
        }
    }

    fn draw(&mut self, path: Vec<Step>, draw: &Draw) {
        if let Some(fault) = draw.fault() {
            self.fault(path, fault);
        }
    }

    fn fault(&mut self, path: Vec<Step>, message: impl Into<String>) {
        self.errors.push(LoadError { path, message: message.into() });
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once(':').and_then(|(hours, minutes)| {
            let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
            let seconds = hours * 3600 + minutes * 60;
            (hours <= 24 && minutes < 60 && seconds <= DAY_S).then_some(seconds)
        });
        parsed.map(Self).ok_or_else(|| D::Error::custom(format!("`{text}` is no time of day: write it as \"08:30\"")))
    }
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

const fn none() -> Draw {
    Draw::Fixed(0.0)
}
const fn day_end() -> TimeOfDay {
    TimeOfDay(DAY_S)
}
const fn default_warm_up_s() -> u32 {
    600
}
const fn default_ring_timeout_s() -> u32 {
    15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::single_queue;

    fn errors(text: &str) -> Vec<String> {
        let load: Load = toml::from_str(text).expect("its syntax is right");
        let path = |step: &Step| match step {
            Step::Key(name) => name.clone(),
            Step::At(at) => at.to_string(),
        };
        let show = |error: LoadError| {
            let path: Vec<String> = error.path.iter().map(path).collect();
            format!("{}: {}", path.join("."), error.message)
        };
        load.check(Some(&single_queue("q", 3))).into_iter().map(show).collect()
    }

    #[test]
    fn a_load_says_what_is_wrong_and_where() {
        let right = "[[arrivals]]\nqueues = { q = 1 }\nper_hour = 60\ntalk = { exponential = 60 }\n";
        assert_eq!(errors(right), [""; 0]);
        let check = |text: &str, expect: &str| {
            let errors = errors(text);
            assert!(errors.iter().any(|error| error.contains(expect)), "{expect}: {errors:?}");
        };
        check(&right.replace("q = 1", "x = 1"), "arrivals.0.queues.x: there is no queue `x`");
        check(&right.replace("q = 1", "q = -1"), "arrivals.0.queues.q: weight -1 is not above 0");
        check(&right.replace("per_hour = 60", ""), "needs `per_hour` or `profile`");
        check(&right.replace("60 }", "-6 }"), "arrivals.0.talk: -6 is not from 0 to 86400 seconds");
        check(&right.replace("per_hour = 60", "per_hour = -1"), "arrivals.0.per_hour: -1 is not from 0");
        check(&format!("warm_up_s = 700000\n{right}"), "warm_up_s: 700000 is not from 0");
        check(&format!("miss = 1.0\n{right}"), "miss: nobody would ever answer");
        check(&format!("{right}[[staff]]\nagents = [\"1\", \"9\"]\n"), "staff.0.agents.1: there is no agent `9`");
        check(&format!("{right}[[staff]]\ncount = 4\n"), "staff.0.count: the tenant has 3 agents");
        check(
            &format!("{right}[[staff]]\nfrom = \"10:00\"\nto = \"09:00\"\ncount = 1\n"),
            "staff.0.to: is not after `from`",
        );
    }

    #[test]
    fn a_time_of_day_is_read() {
        let read = |text: &str| toml::from_str::<BTreeMap<String, TimeOfDay>>(&format!("t = \"{text}\""));
        assert_eq!(read("08:30").expect("a time")["t"], TimeOfDay(30_600));
        assert_eq!(read("24:00").expect("a time")["t"], TimeOfDay(86_400));
        for wrong in ["24:01", "8", "08:60", "-1:00", ""] {
            assert!(read(wrong).expect_err(wrong).to_string().contains("no time of day"), "{wrong}");
        }
    }

    #[test]
    fn the_rate_follows_the_profile() {
        let text = "queues = { q = 1 }\ntalk = { fixed = 1 }\n\
                    profile = [{ from = \"01:00\", to = \"02:00\", per_hour = 3600 }]";
        let stream: Arrivals = toml::from_str(text).expect("a stream");
        assert_eq!(stream.rate(0.0), (0.0, 3600.0));
        assert_eq!(stream.rate(3600.0), (1.0, 3600.0));
        assert_eq!(stream.rate(7200.0), (0.0, 79_200.0));
    }
}
