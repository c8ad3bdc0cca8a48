use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Randomness from a seed: ChaCha12, so that ids and tags are unguessable when the shell seeds it from the system,
/// and the same run again when a test seeds it with a number.
#[derive(Clone)]
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
