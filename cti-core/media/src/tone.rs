//! Tones: made for test calls, and found again in what was heard.

use std::f64::consts::TAU;

/// Samples a second.
const RATE_HZ: f64 = 8_000.0;

/// One or two sines without an end. At half of full scale for one, a quarter each for two.
#[derive(Clone, Debug)]
pub struct Tone {
    low_hz: f64,
    high_hz: Option<f64>,
    sample: u64,
}

impl Tone {
    pub fn sine(hz: f64) -> Self {
        Self { low_hz: hz, high_hz: None, sample: 0 }
    }

    pub fn pair(low_hz: f64, high_hz: f64) -> Self {
        Self { low_hz, high_hz: Some(high_hz), sample: 0 }
    }
}

/// Linear 16-bit samples at 8,000 Hz; never ends.
impl Iterator for Tone {
    type Item = i16;

    fn next(&mut self) -> Option<i16> {
        const HALF: f64 = 16_384.0;
        let at = self.sample as f64 / RATE_HZ;
        self.sample += 1;
        let sine = |hz: f64| (TAU * hz * at).sin();
        let value = match self.high_hz {
            None => HALF * sine(self.low_hz),
            Some(high_hz) => HALF / 2.0 * (sine(self.low_hz) + sine(high_hz)),
        };
        Some(value as i16)
    }
}

/// How much of the samples' energy is at `hz`: 1 for that tone alone, near 0 for others and for silence (G. Goertzel, 1958).
pub fn share(samples: &[i16], hz: f64) -> f64 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    // Below a level of about -70 dBFS there is no tone to speak of.
    if energy <= 100.0 * samples.len() as f64 {
        return 0.0;
    }
    let coefficient = 2.0 * (TAU * hz / RATE_HZ).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in samples {
        let next = f64::from(*sample) + coefficient * last - before;
        (before, last) = (last, next);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power / (energy * samples.len() as f64)
}

/// Whether `hz` is what is mostly heard; give at least 50 ms.
pub fn is_heard(samples: &[i16], hz: f64) -> bool {
    share(samples, hz) > 0.4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Law;

    fn taken(tone: Tone) -> Vec<i16> {
        tone.take(1_600).collect()
    }

    #[test]
    fn a_tone_is_found_and_others_are_not() {
        let samples = taken(Tone::sine(440.0));
        assert!(share(&samples, 440.0) > 0.99);
        for other in [300.0, 600.0, 1_000.0] {
            assert!(share(&samples, other) < 0.01, "{other}");
        }
        let pair = taken(Tone::pair(770.0, 1_336.0));
        assert!(is_heard(&pair, 770.0) && is_heard(&pair, 1_336.0) && !is_heard(&pair, 1_000.0));
    }

    #[test]
    fn a_tone_survives_g711_and_silence_has_none() {
        for law in [Law::Pcma, Law::Pcmu] {
            let through = |samples: &[i16]| -> Vec<i16> {
                samples.iter().map(|sample| law.linear()[usize::from(law.encode(*sample))]).collect()
            };
            assert!(share(&through(&taken(Tone::sine(1_000.0))), 1_000.0) > 0.98);
            assert_eq!(share(&through(&[0; 1_600]), 1_000.0), 0.0);
        }
        assert_eq!(share(&[], 1_000.0), 0.0);
    }
}
