//! What one packet says, at 8,000 samples a second, whatever it was coded in.

use crate::Law;

/// Read where it lies: a law's bytes are looked up one by one, so that a recorded relay copies nothing.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    G711(Law, &'a [u8]),
    Linear(&'a [i16]),
}

impl Samples<'_> {
    pub const fn len(&self) -> usize {
        match self {
            Self::G711(_, bytes) => bytes.len(),
            Self::Linear(samples) => samples.len(),
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample at `index`, which is below `len`.
    pub fn at(&self, index: usize) -> i16 {
        match self {
            Self::G711(law, bytes) => law.linear()[usize::from(bytes[index])],
            Self::Linear(samples) => samples[index],
        }
    }
}
