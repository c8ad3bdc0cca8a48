//! G.711 (ITU-T G.711, 1988) by tables made at compile time: both laws to and from linear 16-bit, and one to the other.

use crate::Law;

/// 16-bit linear samples by A-law byte.
pub static ALAW_TO_LINEAR: [i16; 256] = decode_table(alaw_decode_tables());
/// 16-bit linear samples by mu-law byte.
pub static ULAW_TO_LINEAR: [i16; 256] = decode_table(ulaw_decode_tables());
static ALAW_TO_ULAW: [u8; 256] = alaw_to_ulaw_table();
static ULAW_TO_ALAW: [u8; 256] = ulaw_to_alaw_table();

impl Law {
    /// The byte of a silent sample.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Pcmu => 0xff,
            Self::Pcma => 0xd5,
        }
    }

    /// The linear sample of each byte.
    pub fn linear(self) -> &'static [i16; 256] {
        match self {
            Self::Pcmu => &ULAW_TO_LINEAR,
            Self::Pcma => &ALAW_TO_LINEAR,
        }
    }

    /// Encodes one linear sample.
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Pcmu => linear_to_ulaw(sample),
            Self::Pcma => linear_to_alaw(sample),
        }
    }
}

/// Changes a payload from one law to the other in place; nothing where they are the same.
pub fn transcode(payload: &mut [u8], from: Law, to: Law) {
    let table = match (from, to) {
        (Law::Pcma, Law::Pcmu) => &ALAW_TO_ULAW,
        (Law::Pcmu, Law::Pcma) => &ULAW_TO_ALAW,
        (Law::Pcma, Law::Pcma) | (Law::Pcmu, Law::Pcmu) => return,
    };
    for byte in payload {
        *byte = table[usize::from(*byte)];
    }
}

/// A-law of a 16-bit sample: sign, three bits of segment, four of mantissa, even bits inverted.
pub const fn linear_to_alaw(sample: i16) -> u8 {
    // 13-bit magnitude; the negative side is one's complement, so that both sides have the same decision values.
    let (sign, magnitude) = if sample >= 0 { (0x80, sample >> 3) } else { (0, !sample >> 3) };
    let magnitude = magnitude as u16;
    let code = if magnitude < 32 {
        magnitude >> 1
    } else {
        // 32..64 is segment 1, up to 2048..4096 which is segment 7.
        let segment = 11 - magnitude.leading_zeros() as u16;
        (segment << 4) | ((magnitude >> segment) & 0x0f)
    };
    (sign | code as u8) ^ 0x55
}

/// Mu-law of a 16-bit sample: biased by 33 of 14 bits, all bits inverted.
pub const fn linear_to_ulaw(sample: i16) -> u8 {
    const BIAS: u16 = 33;
    const CLIP: u16 = 8_158;
    let (sign, magnitude) = if sample >= 0 { (0x80, (sample >> 2) as u16) } else { (0, (!sample >> 2) as u16) };
    let magnitude = if magnitude > CLIP { CLIP } else { magnitude } + BIAS;
    // 33..64 is segment 0, up to 4096..8192 which is segment 7.
    let segment = 10 - magnitude.leading_zeros() as u16;
    let code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0f);
    sign | (!code as u8 & 0x7f)
}

const fn alaw_decode_tables() -> [i32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let code = (byte as u8) ^ 0x55;
        let segment = (code >> 4) & 7;
        let mantissa = (code & 0x0f) as i32;
        let magnitude = match segment {
            0 => (mantissa << 4) + 8,
            _ => ((mantissa << 4) + 0x108) << (segment - 1),
        };
        table[byte] = if code & 0x80 != 0 { magnitude } else { -magnitude };
        byte += 1;
    }
    table
}

const fn ulaw_decode_tables() -> [i32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let code = !(byte as u8);
        let segment = (code >> 4) & 7;
        let mantissa = (code & 0x0f) as i32;
        let magnitude = (((mantissa << 3) + 0x84) << segment) - 0x84;
        table[byte] = if code & 0x80 != 0 { -magnitude } else { magnitude };
        byte += 1;
    }
    table
}

const fn decode_table(wide: [i32; 256]) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = wide[byte] as i16;
        byte += 1;
    }
    table
}

const fn alaw_to_ulaw_table() -> [u8; 256] {
    let linear = alaw_decode_tables();
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = linear_to_ulaw(linear[byte] as i16);
        byte += 1;
    }
    table
}

const fn ulaw_to_alaw_table() -> [u8; 256] {
    let linear = ulaw_decode_tables();
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = linear_to_alaw(linear[byte] as i16);
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Law; 2] = [Law::Pcma, Law::Pcmu];

    #[test]
    fn known_values_decode() {
        // The ends and the middle of ITU-T G.711 tables 1a and 2a, as 16-bit samples.
        let check = |law: Law, byte: u8, sample: i16| {
            assert_eq!(law.linear()[usize::from(byte)], sample, "{law:?} {byte:#x}");
        };
        check(Law::Pcma, 0xd5, 8);
        check(Law::Pcma, 0x55, -8);
        check(Law::Pcma, 0xaa, 32_256);
        check(Law::Pcma, 0x2a, -32_256);
        check(Law::Pcma, 0x80, 5_504);
        check(Law::Pcmu, 0xff, 0);
        check(Law::Pcmu, 0x7f, 0);
        check(Law::Pcmu, 0x80, 32_124);
        check(Law::Pcmu, 0x00, -32_124);
        check(Law::Pcmu, 0xf0, 120);
    }

    #[test]
    fn every_byte_decodes_and_encodes_to_itself() {
        for law in BOTH {
            for byte in 0..=255u8 {
                let again = law.encode(law.linear()[usize::from(byte)]);
                // Mu-law has two zeros.
                let same = again == byte || (law == Law::Pcmu && byte == 0x7f && again == 0xff);
                assert!(same, "{law:?} {byte:#x} became {again:#x}");
            }
        }
    }

    #[test]
    fn encoding_takes_the_nearest_value_within_a_segment() {
        for law in BOTH {
            for sample in i16::MIN..=i16::MAX {
                let decoded = i32::from(law.linear()[usize::from(law.encode(sample))]);
                let error = (decoded - i32::from(sample)).abs();
                // A step is a sixteenth of its segment, at least 16; the largest samples are clipped by at most 643.
                let bound = if i32::from(sample).abs() > 32_000 { 650 } else { i32::from(sample).abs() / 32 + 9 };
                assert!(error <= bound, "{law:?} {sample} became {decoded}");
            }
        }
    }

    #[test]
    fn encoding_keeps_the_order_of_samples() {
        for law in BOTH {
            let decoded = |sample: i16| law.linear()[usize::from(law.encode(sample))];
            assert!((i16::MIN..i16::MAX).all(|sample| decoded(sample) <= decoded(sample + 1)), "{law:?}");
        }
    }

    #[test]
    fn silence_is_silent() {
        for law in BOTH {
            assert_eq!(law.encode(0), law.silence());
            assert!(law.linear()[usize::from(law.silence())].abs() <= 8);
        }
    }

    #[test]
    fn one_law_becomes_the_other_and_stays_near() {
        for (from, to) in [(Law::Pcma, Law::Pcmu), (Law::Pcmu, Law::Pcma)] {
            let before: Vec<u8> = (0..=255).collect();
            let mut after = before.clone();
            transcode(&mut after, from, to);
            for (a, b) in before.iter().zip(&after) {
                let (x, y) = (from.linear()[usize::from(*a)], to.linear()[usize::from(*b)]);
                let bound = i32::from(x).abs() / 32 + 9;
                assert!((i32::from(x) - i32::from(y)).abs() <= bound, "{from:?} {a:#x}: {x} became {y}");
            }
            let mut same = before.clone();
            transcode(&mut same, from, from);
            assert_eq!(same, before);
        }
    }
}
