//! A network that loses, doubles, reorders and delays.

use std::time::Duration;

use cti_base::Rng;

use crate::profile::Network;

impl Network {
    /// How long after now each copy of a datagram arrives; none is a loss.
    pub fn copies(&self, rng: &mut Rng) -> Vec<Duration> {
        let mut copies = Vec::new();
        if rng.below(1_000) >= self.loss_per_mille {
            copies.push(self.once(rng));
        }
        if rng.below(1_000) < self.double_per_mille {
            copies.push(self.once(rng));
        }
        copies
    }

    fn once(&self, rng: &mut Rng) -> Duration {
        self.delay + self.jitter.mul_f64(rng.unit())
    }
}
