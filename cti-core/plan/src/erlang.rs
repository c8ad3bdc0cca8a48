//! Erlang B and C: callers who are lost, and callers who wait for ever.

use std::time::Duration;

/// The probability that all `servers` are busy when nobody waits (M/M/c/c). `load` in Erlang: arrival rate × handling time.
///
/// By the recursion over servers, which neither overflows nor cancels. Source: A. K. Erlang 1917; Gross & Harris,
/// Fundamentals of Queueing Theory, 4th ed., (2.54).
pub fn erlang_b(servers: u32, load: f64) -> f64 {
    (1..=servers).fold(1.0, |blocked, n| load * blocked / (f64::from(n) + load * blocked))
}

/// M/M/c: Poisson arrivals, exponential handling times, `agents` who serve first come first served, endless patience.
/// Source: Gross & Harris, Fundamentals of Queueing Theory, 4th ed., 2.3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErlangC {
    agents: u32,
    per_s: f64,
    handling_s: f64,
}

impl ErlangC {
    /// `per_s`: arrivals a second. `None` where the agents can not keep up: the wait would grow without end.
    pub fn new(agents: u32, per_s: f64, handling: Duration) -> Option<Self> {
        let stable = Self { agents, per_s, handling_s: handling.as_secs_f64() };
        (stable.load() < f64::from(agents)).then_some(stable)
    }

    /// Erlang.
    pub fn load(&self) -> f64 {
        self.per_s * self.handling_s
    }

    /// The part of an agent's time that is talk and wrap-up.
    pub fn occupancy(&self) -> f64 {
        self.load() / f64::from(self.agents)
    }

    pub fn waiting_probability(&self) -> f64 {
        let blocked = erlang_b(self.agents, self.load());
        blocked / (1.0 - self.occupancy() * (1.0 - blocked))
    }

    /// Of all callers, seconds: those who do not wait count as zero.
    pub fn mean_wait_s(&self) -> f64 {
        self.waiting_probability() / self.drain_per_s()
    }

    /// The part of the callers answered within `seconds`.
    pub fn service_level(&self, seconds: f64) -> f64 {
        1.0 - self.waiting_probability() * (-self.drain_per_s() * seconds).exp()
    }

    /// How much faster agents end calls than calls come, a second, while all are busy.
    fn drain_per_s(&self) -> f64 {
        (f64::from(self.agents) - self.load()) / self.handling_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Erlang B tables: the load that this many servers carry with one call in a hundred lost.
    #[test]
    fn blocking_is_that_of_the_tables() {
        for (servers, load) in [(1, 0.0101), (2, 0.153), (5, 1.36), (10, 4.46), (20, 12.0), (50, 37.9), (100, 84.1)] {
            let blocked = erlang_b(servers, load);
            assert!((blocked - 0.01).abs() < 0.0003, "{servers} servers, {load} E: {blocked}");
        }
        assert_eq!(erlang_b(0, 3.0), 1.0);
    }

    #[test]
    fn blocking_is_the_definition() {
        for (servers, load) in [(1u32, 0.5f64), (3, 2.0), (7, 9.0)] {
            let mut terms = vec![1.0];
            for n in 1..=servers {
                terms.push(terms[n as usize - 1] * load / f64::from(n));
            }
            let expect = terms[servers as usize] / terms.iter().sum::<f64>();
            assert!((erlang_b(servers, load) - expect).abs() < 1e-14);
        }
    }

    /// One agent: rho, rho/(mu - lambda), 1 - rho e^-(mu - lambda)t.
    #[test]
    fn one_agent_is_the_textbooks_queue() {
        let queue = ErlangC::new(1, 0.8, Duration::from_secs(1)).expect("stable");
        assert!((queue.waiting_probability() - 0.8).abs() < 1e-12);
        assert!((queue.mean_wait_s() - 4.0).abs() < 1e-12);
        assert!((queue.service_level(5.0) - (1.0 - 0.8 * (-1.0f64).exp())).abs() < 1e-12);
    }

    /// The example of every Erlang calculator: 100 calls in half an hour of three minutes, 14 agents: 17.4 % wait, 88.8 % are
    /// answered in 20 s, the mean wait is 7.8 s.
    #[test]
    fn the_common_example_comes_out() {
        let queue = ErlangC::new(14, 100.0 / 1800.0, Duration::from_secs(180)).expect("stable");
        assert!((queue.load() - 10.0).abs() < 1e-12);
        assert!((queue.waiting_probability() - 0.174).abs() < 0.0005);
        assert!((queue.service_level(20.0) - 0.888).abs() < 0.0005);
        assert!((queue.mean_wait_s() - 7.8).abs() < 0.05);
    }

    #[test]
    fn agents_who_can_not_keep_up_have_no_answer() {
        assert_eq!(ErlangC::new(10, 1.0, Duration::from_secs(10)), None);
        assert_eq!(ErlangC::new(0, 0.0, Duration::from_secs(10)), None);
    }
}
