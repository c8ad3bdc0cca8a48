//! The callers of a load, one after the other.

use std::time::Duration;

use cti_base::{QueueName, Rng, Timestamp};

use crate::draw::exponential;
use crate::load::Arrivals;

const DAY_S: f64 = 86_400.0;

/// A caller before they queue: everything about them is drawn at once, so that runs under other rules have the same callers.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub at: Timestamp,
    pub queue: QueueName,
    pub priority: i32,
    pub patience: Option<Duration>,
    pub talk: Duration,
    pub wrapup: Duration,
}

/// One stream, with draws of its own.
pub(crate) struct Stream<'a> {
    of: &'a Arrivals,
    rng: Rng,
    /// Seconds since the midnight before the beginning, exactly; the clock's microseconds are rounded from it.
    clock_s: f64,
    /// What `clock_s` counts from.
    midnight: Timestamp,
    weights: f64,
}

impl<'a> Stream<'a> {
    /// `begin`: the first moment at which somebody may call.
    pub(crate) fn new(of: &'a Arrivals, midnight: Timestamp, begin: Timestamp, rng: Rng) -> Self {
        let clock_s = begin.since(midnight).as_secs_f64();
        Self { of, rng, clock_s, midnight, weights: of.queues.values().sum() }
    }

    /// `None` where nobody ever calls.
    pub(crate) fn next(&mut self) -> Option<Caller> {
        self.advance()?;
        let at = self.midnight + crate::draw::long(self.clock_s);
        let queue = self.queue();
        let rng = &mut self.rng;
        Some(Caller {
            at,
            queue,
            priority: self.of.priority,
            patience: self.of.patience.map(|draw| draw.draw(rng)),
            talk: self.of.talk.draw(rng),
            wrapup: self.of.wrapup.draw(rng),
        })
    }

    /// To the next arrival: the integral of the rate up to it is exponential of mean 1.
    fn advance(&mut self) -> Option<()> {
        let mut left = exponential(&mut self.rng, 1.0);
        let mut empty_s = 0.0;
        loop {
            let (rate, for_s) = self.of.rate(self.clock_s.rem_euclid(DAY_S));
            if rate * for_s >= left && rate > 0.0 {
                self.clock_s += left / rate;
                return Some(());
            }
            if for_s.is_infinite() || empty_s > DAY_S {
                return None;
            }
            empty_s = if rate == 0.0 { empty_s + for_s } else { 0.0 };
            left -= rate * for_s;
            self.clock_s += for_s;
        }
    }

    fn queue(&mut self) -> QueueName {
        let mut lot = self.rng.unit() * self.weights;
        let drawn = self.of.queues.iter().find(|(_, weight)| {
            lot -= **weight;
            lot < 0.0
        });
        // Rounding may leave the lot just above the last weight.
        let (queue, _) = drawn.or_else(|| self.of.queues.last_key_value()).expect("a checked load names a queue");
        queue.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(rate: &str) -> Arrivals {
        toml::from_str(&format!("queues = {{ a = 3, b = 1 }}\ntalk = {{ fixed = 1 }}\n{rate}")).expect("a stream")
    }

    fn callers(of: &Arrivals, many: usize) -> Vec<Caller> {
        let midnight = Timestamp::from_millis(0);
        let mut stream = Stream::new(of, midnight, midnight, Rng::from_number(5));
        std::iter::from_fn(|| stream.next()).take(many).collect()
    }

    #[test]
    fn a_steady_stream_is_poisson_at_its_rate() {
        let callers = callers(&arrivals("per_hour = 3600"), 100_000);
        let gaps: Vec<f64> = callers.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let long = gaps.iter().filter(|gap| **gap > 2.0).count() as f64 / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.015, "{mean}");
        assert!((long - (-2.0f64).exp()).abs() < 0.005, "{long}");
        let a = callers.iter().filter(|caller| caller.queue.as_str() == "a").count();
        assert!((74_000..76_000).contains(&a), "{a}");
    }

    #[test]
    fn a_profile_has_its_calls_in_its_intervals() {
        let of = arrivals(
            "profile = [{ from = \"08:00\", to = \"09:00\", per_hour = 2000 }, { from = \"09:00\", to = \"10:00\", per_hour = 500 }]",
        );
        let hour = |caller: &Caller| caller.at.as_micros() / 3_600_000_000 % 24;
        let callers = callers(&of, 25_000);
        let days = callers.last().expect("callers").at.as_micros() / 86_400_000_000;
        assert!((9..=10).contains(&days), "{days}");
        let eight = callers.iter().filter(|caller| hour(caller) == 8).count();
        assert!((19_500..20_500).contains(&eight), "{eight}");
        assert!(callers.iter().all(|caller| (8..10).contains(&hour(caller))));
    }

    #[test]
    fn a_stream_without_calls_ends() {
        assert!(callers(&arrivals("per_hour = 0"), 1).is_empty());
        let never = arrivals("profile = [{ from = \"08:00\", to = \"09:00\", per_hour = 0 }]");
        assert!(callers(&never, 1).is_empty());
    }
}
