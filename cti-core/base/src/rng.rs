use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use serde::{Deserialize, Serialize};

/// Randomness from a seed: ChaCha12, so that ids and tags are unguessable when the shell seeds it from the system,
/// and the same run again when a test seeds it with a number.
///
/// It serialises as seed, stream and word position, so that what is read back draws on from the same word.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A number in `0..bound`; 0 when `bound` is 0. Lemire's multiply-shift; the bias is below `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `bytes` random bytes as lower-case hex, for tags, branches and nonces.
    pub fn hex<const BYTES: usize>(&mut self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut raw = [0u8; BYTES];
        self.fill(&mut raw);
        let mut text = String::with_capacity(2 * BYTES);
        for byte in raw {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Rng;

    proptest! {
        #[test]
        fn what_is_read_back_draws_on_from_the_same_word(seed: u64, draws in prop::collection::vec(0usize..40, 0..60)) {
            let mut straight = Rng::from_number(seed);
            let mut read_back = straight.clone();
            for draw in draws {
                let text = serde_json::to_string(&read_back).expect("it serialises");
                read_back = serde_json::from_str(&text).expect("its own text");
                prop_assert_eq!(serde_json::to_string(&straight).expect("it serialises"), text);
                match draw {
                    0..8 => prop_assert_eq!(straight.next_u32(), read_back.next_u32()),
                    8..16 => prop_assert_eq!(straight.next_u64(), read_back.next_u64()),
                    // Lengths that end within a word, and that cross the generator's buffer of 64 words.
                    _ => {
                        let (mut a, mut b) = (vec![0; draw * 9], vec![0; draw * 9]);
                        straight.fill(&mut a);
                        read_back.fill(&mut b);
                        prop_assert_eq!(a, b);
                    }
                }
            }
        }
    }
}
