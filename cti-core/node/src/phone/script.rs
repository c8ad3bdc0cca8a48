use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use cti_base::Rng;

use super::Sound;

/// Keys that wait to be pressed on one call.
pub const DIGITS_MAX: usize = 64;

/// A time, or any between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub least: Duration,
    pub most: Duration,
}

impl Span {
    pub const fn exactly(time: Duration) -> Self {
        Self { least: time, most: time }
    }

    pub const fn between(least: Duration, most: Duration) -> Self {
        Self { least, most }
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> Duration {
        let width = self.most.saturating_sub(self.least).as_micros() as u64;
        self.least + Duration::from_micros(rng.below(width + 1))
    }

    /// `500` or `500-3000`, in units of `unit`.
    pub(crate) fn parse(text: &str, unit: Duration) -> Result<Self, String> {
        let time = |part: &str| match f64::from_str(part.trim()) {
            Ok(number) if (0.0..=1e7).contains(&number) => Ok(unit.mul_f64(number)),
            Ok(_) | Err(_) => Err(format!("`{part}` is no time: write a number as 1.5, or two as 1-3")),
        };
        let span = match text.split_once('-') {
            Some((least, most)) => Self { least: time(least)?, most: time(most)? },
            None => Self::exactly(time(text)?),
        };
        if span.least > span.most { Err(format!("`{text}` ends before it begins")) } else { Ok(span) }
    }
}

/// What happens on a call once it is answered.
#[derive(Clone, Debug, Default)]
pub struct CallScript {
    pub sound: Sound,
    /// Keys and when to press them, counted from the answer.
    pub digits: Option<(Duration, String)>,
    /// Counted from the answer; without it the other side hangs up.
    pub hangup_after: Option<Span>,
    /// Where to put what was heard: mono, 16 bit, 8 kHz.
    pub save: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        let second = Duration::from_secs(1);
        let check = |text: &str, expect: Option<(u64, u64)>| {
            let span = Span::parse(text, second).ok();
            assert_eq!(span.map(|s| (s.least.as_millis() as u64, s.most.as_millis() as u64)), expect, "{text}");
        };
        check("1.5", Some((1_500, 1_500)));
        check("1-3", Some((1_000, 3_000)));
        check(" 0 - 0.5", Some((0, 500)));
        for bad in ["", "x", "3-1", "-1", "1e99", "nan"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_drawn_time_is_within_its_span() {
        let span = Span::between(Duration::from_millis(100), Duration::from_millis(101));
        let mut rng = Rng::from_number(3);
        for _ in 0..1_000 {
            let time = span.draw(&mut rng);
            assert!(time >= span.least && time <= span.most);
        }
        assert_eq!(Span::exactly(Duration::ZERO).draw(&mut rng), Duration::ZERO);
    }
}
