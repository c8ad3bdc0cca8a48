//! G.722's lower band (ITU-T G.722, 1988): 8,000 samples a second to and from the lower six bits of each byte.
//!
//! Everything decoded here is mixed, recorded and played at 8,000 Hz, and the lower sub-band is just that: so the filters that
//! split and join the bands are left out, the upper band is not decoded, and what is encoded has a silent one. Wide-band voice
//! passes between two legs of G.722 untouched. Names and block numbers are the recommendation's.

/// Bits of a silent upper band: its predictor stays at nothing.
const UPPER_SILENT: u8 = 0b1100_0000;

#[derive(Clone, Debug, Default)]
pub struct Decoder(Band);

#[derive(Clone, Debug, Default)]
pub struct Encoder(Band);

impl Decoder {
    /// One byte is one sample of 1/8000 s.
    pub fn decode(&mut self, byte: u8) -> i16 {
        let band = &mut self.0;
        let code = usize::from(byte & 0x3f);
        // 5L INVQBL, RECONS and 6L LIMIT, with all six bits.
        let low = band.s + ((band.det * INVERSE_6[code]) >> 15);
        band.adapt(code >> 2);
        // The band is 15 bits wide.
        (low.clamp(-16_384, 16_383) * 2) as i16
    }
}

impl Encoder {
    pub fn encode(&mut self, sample: i16) -> u8 {
        let band = &mut self.0;
        // 1L SUBTRA and QUANTL.
        let error = saturate((i32::from(sample) >> 1) - band.s);
        let size = if error >= 0 { error } else { -(error + 1) };
        let level = (1..30).find(|level| size < (LEVELS[*level] * band.det) >> 12).unwrap_or(30);
        // The codes of one sign go down as the levels go up; the two lowest of the negative ones stand apart.
        let code = match (error >= 0, level) {
            (true, level) => 62 - level,
            (false, level @ (1 | 2)) => 64 - level,
            (false, level) => 34 - level,
        };
        band.adapt(code >> 2);
        UPPER_SILENT | code as u8
    }
}

/// The predictor and the quantiser's step, the same on both sides.
#[derive(Clone, Debug)]
struct Band {
    /// The predicted signal, and its part by the zeros.
    s: i32,
    sz: i32,
    /// The step, and its logarithm.
    det: i32,
    nb: i32,
    /// Reconstructed signals, poles, and partly reconstructed ones; [0] is the newest.
    r: [i32; 2],
    a: [i32; 2],
    p: [i32; 2],
    /// Differences and zeros.
    d: [i32; 6],
    b: [i32; 6],
}

impl Default for Band {
    fn default() -> Self {
        Self { s: 0, sz: 0, det: 32, nb: 0, r: [0; 2], a: [0; 2], p: [0; 2], d: [0; 6], b: [0; 6] }
    }
}

impl Band {
    /// Takes the upper four of the six bits: what both sides know even where the lower two carry data.
    fn adapt(&mut self, code: usize) {
        // 2L INVQAL.
        let difference = (self.det * INVERSE_4[code]) >> 15;
        // 3L LOGSCL and SCALEL.
        self.nb = (((self.nb * 127) >> 7) + LOG_STEP[CODE_STEP[code]]).clamp(0, 18_432);
        let fraction = INVERSE_LOG[((self.nb >> 6) & 31) as usize];
        let shift = 8 - (self.nb >> 11);
        self.det = if shift < 0 { fraction << -shift } else { fraction >> shift } << 2;
        self.predict(difference);
    }

    /// Block 4L.
    fn predict(&mut self, difference: i32) {
        let rebuilt = saturate(self.s + difference);
        let part = saturate(self.sz + difference);
        // UPPOL2, UPPOL1.
        let (same_1, same_2) = ((part < 0) == (self.p[0] < 0), (part < 0) == (self.p[1] < 0));
        let first = saturate(self.a[0] << 2);
        let second = (if same_1 { -first } else { first }).min(32_767);
        let second = (second >> 7) + if same_2 { 128 } else { -128 } + ((self.a[1] * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        let bound = saturate(15_360 - second);
        let first = saturate((if same_1 { 192 } else { -192 }) + ((self.a[0] * 32_640) >> 15)).clamp(-bound, bound);
        // UPZERO.
        let step = if difference == 0 { 0 } else { 128 };
        for (zero, earlier) in self.b.iter_mut().zip(self.d) {
            let towards = if (earlier < 0) == (difference < 0) { step } else { -step };
            *zero = saturate(towards + ((*zero * 32_640) >> 15));
        }
        // DELAYA.
        self.d.rotate_right(1);
        self.d[0] = difference;
        (self.r, self.p, self.a) = ([rebuilt, self.r[0]], [part, self.p[0]], [first, second]);
        // FILTEP, FILTEZ, PREDIC.
        let poles = self.a.iter().zip(self.r).map(|(a, r)| (a * saturate(2 * r)) >> 15).sum();
        self.sz = saturate(self.b.iter().zip(self.d).map(|(b, d)| (b * saturate(2 * d)) >> 15).sum());
        self.s = saturate(saturate(poles) + self.sz);
    }
}

fn saturate(value: i32) -> i32 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}

/// Q6: decision levels of the six-bit quantiser.
const LEVELS: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219,
    1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];
/// WL, and RL42: which of them a code of four bits means.
const LOG_STEP: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1_198, 3_042];
const CODE_STEP: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
/// ILB.
const INVERSE_LOG: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];
/// QM4.
const INVERSE_4: [i32; 16] =
    [0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0];
/// QM6.
const INVERSE_6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040,
    728, 432, 136, -432, -136,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{self, Tone};

    fn there_and_back(samples: &[i16]) -> Vec<i16> {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        samples.iter().map(|sample| decoder.decode(encoder.encode(*sample))).collect()
    }

    #[test]
    fn a_tone_comes_back_as_it_was() {
        for hz in [200.0, 440.0, 1_000.0, 2_500.0] {
            let said: Vec<i16> = Tone::sine(hz).take(4_000).collect();
            let heard = there_and_back(&said);
            assert!(tone::share(&heard, hz) > 0.98, "{hz} Hz: {}", tone::share(&heard, hz));
            let power = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
            let error: Vec<i16> = said.iter().zip(&heard).map(|(a, b)| a.saturating_sub(*b)).collect();
            let ratio_db = 10.0 * (power(&said[500..]) / power(&error[500..])).log10();
            assert!(ratio_db > 25.0, "{hz} Hz: the noise is {ratio_db} dB below");
        }
    }

    #[test]
    fn silence_is_silent_and_the_loudest_is_no_overflow() {
        assert!(there_and_back(&[0; 800])[400..].iter().all(|sample| sample.abs() < 8));
        let square: Vec<i16> = (0..8_000).map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        there_and_back(&square);
        let mut decoder = Decoder::default();
        for n in 0..100_000_u32 {
            decoder.decode((n.wrapping_mul(2_654_435_761) >> 24) as u8);
        }
    }

    #[test]
    fn the_numbers_are_those_of_a_widely_used_implementation() {
        let mut encoder = Encoder::default();
        let bytes: Vec<u8> = (0..16_i32).map(|n| encoder.encode((n * 7_919 % 16_001 - 8_000) as i16)).collect();
        assert_eq!(bytes, [196, 200, 224, 203, 224, 214, 224, 221, 224, 253, 231, 251, 235, 253, 236, 255]);
        let mut decoder = Decoder::default();
        let noise = (0..2_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
        let heard: Vec<i16> = noise.map(|byte| decoder.decode(byte)).collect();
        assert_eq!(heard[1_995..], [-32_768, 32_766, -21_862, -708, 31_854]);
    }
}
