//! Where the time of a start goes.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static PROGRAM_BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Called first of all by the program: the moment from which its start is measured.
pub fn program_begins() {
    LazyLock::force(&PROGRAM_BEGAN);
}

/// Stretches of the start, one after the other, printed as `lock 1.2, bind 0.4 (ms)`.
pub struct Phases {
    began: Instant,
    last: Instant,
    done: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// Begins with the program for its first server, and now for another in the same process.
    pub fn begin() -> Self {
        static ANOTHER: AtomicBool = AtomicBool::new(false);
        let began = if ANOTHER.swap(true, Ordering::Relaxed) { Instant::now() } else { *PROGRAM_BEGAN };
        Self { began, last: began, done: Vec::new() }
    }

    /// What went on until now was `name`.
    pub fn done(&mut self, name: &'static str) {
        let now = Instant::now();
        self.done.push((name, now - self.last));
        self.last = now;
    }

    /// Up to the last phase.
    pub fn total(&self) -> Duration {
        self.last - self.began
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, took)) in self.done.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {:.1}", took.as_secs_f64() * 1_000.0)?;
        }
        f.write_str(" (ms)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_and_add_up() {
        let mut phases = Phases::begin();
        phases.done("lock");
        phases.done("replay");
        let text = phases.to_string();
        assert!(text.starts_with("lock ") && text.contains(", replay ") && text.ends_with(" (ms)"), "{text}");
        let sum: Duration = phases.done.iter().map(|(_, took)| *took).sum();
        assert_eq!(sum, phases.total());
    }
}
