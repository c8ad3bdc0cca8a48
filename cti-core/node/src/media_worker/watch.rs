//! Whether somebody speaks on a leg.

use std::time::Duration;

use cti_base::Timestamp;
use cti_media::samples::Samples;

/// Mean distance from silence, of 32,768, above which a packet is a voice: about -38 dBFS. Line noise lies well below.
const VOICE_LEVEL: u32 = 400;

/// A leg that is listened to until nobody speaks.
pub(super) struct Watch {
    quiet: Duration,
    heard_at: Timestamp,
}

impl Watch {
    pub fn new(now: Timestamp, quiet_ms: u32) -> Self {
        Self { quiet: Duration::from_millis(u64::from(quiet_ms)), heard_at: now }
    }

    pub fn hear(&mut self, now: Timestamp, said: Samples<'_>) {
        let sum: u32 = (0..said.len()).map(|index| u32::from(said.at(index).unsigned_abs())).sum();
        if sum > VOICE_LEVEL * said.len() as u32 {
            self.heard_at = now;
        }
    }

    pub fn is_quiet(&self, now: Timestamp) -> bool {
        now.since(self.heard_at) >= self.quiet
    }
}

#[cfg(test)]
mod tests {
    use cti_media::Law;
    use cti_media::tone::Tone;

    use super::*;

    #[test]
    fn a_voice_is_told_from_noise_in_either_law_and_linear() {
        let at = |ms: u64| Timestamp::from_millis(1_000_000 + ms);
        let voice: Vec<i16> = Tone::sine(300.0).take(160).collect();
        let noise: Vec<i16> = (0..160).map(|n| if n % 2 == 0 { 90 } else { -90 }).collect();
        for law in [Some(Law::Pcma), Some(Law::Pcmu), None] {
            let mut watch = Watch::new(at(0), 1_000);
            let mut hear = |ms: u64, said: &[i16]| {
                let bytes: Vec<u8> =
                    law.iter().flat_map(|law| said.iter().map(move |sample| law.encode(*sample))).collect();
                watch.hear(at(ms), law.map_or(Samples::Linear(said), |law| Samples::G711(law, &bytes)));
            };
            hear(500, &voice);
            hear(600, &noise);
            hear(700, &[]);
            assert!(!watch.is_quiet(at(1_499)), "{law:?}");
            assert!(watch.is_quiet(at(1_500)), "{law:?}");
        }
    }
}
