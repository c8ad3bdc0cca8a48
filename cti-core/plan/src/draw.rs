//! Random durations from a seed.

use std::f64::consts::TAU;
use std::time::Duration;

use cti_base::Rng;
use serde::{Deserialize, Serialize};

/// No drawn time is longer: a day of talking or of patience is endless enough.
pub const DRAWN_MAX: Duration = Duration::from_secs(86_400);

/// How a time is distributed. Written `{ exponential = 180 }`, `{ lognormal = { mean = 180, sd = 120 } }` or `{ fixed = 30 }`,
/// seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Draw {
    /// The mean.
    Exponential(f64),
    /// The mean and standard deviation of the time itself, not of its logarithm.
    Lognormal {
        mean: f64,
        sd: f64,
    },
    Fixed(f64),
}

impl Draw {
    /// Seconds.
    pub fn mean_s(&self) -> f64 {
        match *self {
            Self::Exponential(mean) | Self::Lognormal { mean, .. } | Self::Fixed(mean) => mean,
        }
    }

    /// Takes the same number of words from `rng` whatever comes out, so that runs that differ in one setting share all else.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        seconds(match *self {
            Self::Exponential(mean) => exponential(rng, mean),
            Self::Lognormal { mean, sd } => {
                let variance = (1.0 + (sd / mean).powi(2)).ln();
                (mean.ln() - variance / 2.0 + variance.sqrt() * normal(rng)).exp()
            }
            Self::Fixed(fixed) => fixed,
        })
    }

    /// What is wrong with the numbers, if anything.
    pub fn fault(&self) -> Option<String> {
        let wrong = |value: f64| !(value >= 0.0 && value <= DRAWN_MAX.as_secs_f64());
        match *self {
            Self::Exponential(mean) | Self::Fixed(mean) if wrong(mean) => Some(of_seconds(mean)),
            Self::Lognormal { mean, .. } if wrong(mean) || mean == 0.0 => Some(of_seconds(mean)),
            Self::Lognormal { sd, .. } if wrong(sd) => Some(of_seconds(sd)),
            Self::Exponential(_) | Self::Fixed(_) | Self::Lognormal { .. } => None,
        }
    }
}

/// An exponential time of this mean, in its unit.
pub fn exponential(rng: &mut Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.unit()).ln()
}

/// Standard normal, by Box and Muller 1958.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
    radius * (TAU * rng.unit()).cos()
}

/// Microseconds are the ACD's unit: rounded to the nearest, so that means stay where they are.
pub fn seconds(value: f64) -> Duration {
    long(value).min(DRAWN_MAX)
}

/// The same without end.
pub fn long(value: f64) -> Duration {
    Duration::from_micros((value * 1e6).round() as u64)
}

fn of_seconds(value: f64) -> String {
    format!("{value} is not from 0 to {} seconds", DRAWN_MAX.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_times_have_their_mean_and_deviation() {
        let check = |draw: Draw, sd: f64| {
            let mut rng = Rng::from_number(1);
            let drawn: Vec<f64> = (0..200_000).map(|_| draw.draw(&mut rng).as_secs_f64()).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            assert!((mean / draw.mean_s() - 1.0).abs() < 0.01, "{draw:?}: mean {mean}");
            assert!((variance.sqrt() - sd).abs() <= 0.02 * sd, "{draw:?}: deviation {}", variance.sqrt());
        };
        check(Draw::Exponential(180.0), 180.0);
        check(Draw::Lognormal { mean: 180.0, sd: 120.0 }, 120.0);
        check(Draw::Fixed(30.0), 0.0);
    }

    #[test]
    fn numbers_that_are_no_times_are_told() {
        for wrong in [
            Draw::Exponential(-1.0),
            Draw::Fixed(f64::NAN),
            Draw::Exponential(1e9),
            Draw::Lognormal { mean: 0.0, sd: 1.0 },
            Draw::Lognormal { mean: 1.0, sd: f64::INFINITY },
        ] {
            assert!(wrong.fault().is_some(), "{wrong:?}");
        }
        assert_eq!(Draw::Fixed(0.0).fault(), None);
    }
}
