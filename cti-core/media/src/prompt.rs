//! A prompt's audio, ready to be sent: both laws' bytes, so that playing copies and computes nothing.

use crate::Law;

/// Ten minutes; the longest music loop.
const SAMPLES_MAX: usize = 10 * 60 * 8_000;

/// 8,000 samples a second in both laws.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    pcma: Box<[u8]>,
    pcmu: Box<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    #[error("not a WAV file: it does not start with RIFF and WAVE")]
    NotWav,
    #[error("the WAV file has no `{0}` chunk")]
    NoChunk(&'static str),
    #[error("the WAV file is cut off: its `{0}` chunk ends behind the file's end")]
    CutOff(String),
    #[error(
        "a prompt is 8,000 Hz mono 16-bit PCM, this is {rate_hz} Hz, {channels} channels, {bits} bits, format {format}; convert it with `sox IN -r 8000 -c 1 -b 16 OUT.wav`"
    )]
    Format { rate_hz: u32, channels: u16, bits: u16, format: u16 },
    #[error("the prompt is longer than ten minutes")]
    TooLong,
}

impl Prompt {
    /// Reads the bytes of a WAV file: 8,000 Hz, mono, 16-bit PCM.
    pub fn from_wav(wav: &[u8]) -> Result<Self, PromptError> {
        Ok(Self::from_linear(&linear_from_wav(wav)?))
    }

    /// Encodes 16-bit samples at 8,000 Hz.
    pub fn from_linear(samples: &[i16]) -> Self {
        let encode = |law: Law| samples.iter().map(|sample| law.encode(*sample)).collect();
        Self { pcma: encode(Law::Pcma), pcmu: encode(Law::Pcmu) }
    }

    /// One byte a sample.
    pub fn bytes(&self, law: Law) -> &[u8] {
        match law {
            Law::Pcma => &self.pcma,
            Law::Pcmu => &self.pcmu,
        }
    }

    pub fn samples(&self) -> usize {
        self.pcma.len()
    }
}

impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prompt({} samples)", self.pcma.len())
    }
}

/// The samples of a WAV file of 8,000 Hz, mono, 16-bit PCM; chunks other than `fmt ` and `data` are passed over.
pub fn linear_from_wav(wav: &[u8]) -> Result<Vec<i16>, PromptError> {
    if wav.get(..4) != Some(b"RIFF") || wav.get(8..12) != Some(b"WAVE") {
        return Err(PromptError::NotWav);
    }
    let mut rest = &wav[12..];
    let mut format_seen = false;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let (id, len) = (&head[..4], u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize);
        // A writer that was killed leaves a data length of 0 or too much; what is there counts.
        let body_len = if id == b"data" { len.min(body.len()) } else { len };
        let Some(chunk) = body.get(..body_len) else {
            return Err(PromptError::CutOff(String::from_utf8_lossy(id).into_owned()));
        };
        match id {
            b"fmt " => {
                check_format(chunk)?;
                format_seen = true;
            }
            b"data" if format_seen => {
                if chunk.len() / 2 > SAMPLES_MAX {
                    return Err(PromptError::TooLong);
                }
                return Ok(chunk.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect());
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        rest = body.get(body_len + body_len % 2..).unwrap_or_default();
    }
    Err(PromptError::NoChunk(if format_seen { "data" } else { "fmt " }))
}

fn check_format(chunk: &[u8]) -> Result<(), PromptError> {
    const PCM: u16 = 1;
    const EXTENSIBLE: u16 = 0xfffe;
    let two = |at: usize| chunk.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    // An extensible format names the true one at the start of its GUID.
    let format = if two(0) == EXTENSIBLE { two(24) } else { two(0) };
    let rate_hz = u32::from(two(4)) | (u32::from(two(6)) << 16);
    let (channels, bits) = (two(2), two(14));
    if (format, channels, rate_hz, bits) == (PCM, 1, 8_000, 16) {
        Ok(())
    } else {
        Err(PromptError::Format { rate_hz, channels, bits, format })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wav(rate: u32, channels: u16, bits: u16, before: &[u8], samples: &[i16]) -> Vec<u8> {
        let mut out = b"RIFF\0\0\0\0WAVE".to_vec();
        out.extend_from_slice(before);
        out.extend_from_slice(b"fmt \x10\0\0\0\x01\0");
        out.extend_from_slice(&channels.to_le_bytes());
        out.extend_from_slice(&rate.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(b"data");
        out.extend_from_slice(&(samples.len() as u32 * 2).to_le_bytes());
        out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        out
    }

    #[test]
    fn a_plain_file_is_encoded_in_both_laws() {
        // A chunk of odd length stands before, with its padding byte.
        let file = wav(8_000, 1, 16, b"LIST\x03\0\0\0abc\0", &[0, 1_000, -1_000]);
        let prompt = Prompt::from_wav(&file).expect("a prompt");
        for law in [Law::Pcma, Law::Pcmu] {
            let expect: Vec<u8> = [0, 1_000, -1_000].map(|s| law.encode(s)).to_vec();
            assert_eq!(prompt.bytes(law), expect);
        }
    }

    #[test]
    fn other_files_are_refused_with_their_reason() {
        let check = |file: &[u8], expect: &str| {
            let error = Prompt::from_wav(file).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(&wav(16_000, 1, 16, b"", &[0]), "16000 Hz");
        check(&wav(8_000, 2, 16, b"", &[0]), "2 channels");
        check(&wav(8_000, 1, 8, b"", &[0]), "8 bits");
        check(b"ID3 an mp3", "not a WAV");
        check(b"RIFF\0\0\0\0WAVE", "no `fmt `");
        check(b"RIFF\0\0\0\0WAVELIST\xff\0\0\0", "`LIST` chunk ends behind");
        check(&wav(8_000, 1, 16, b"", &[0])[..36], "no `data`");
        check(&wav(8_000, 1, 16, b"", &vec![0; SAMPLES_MAX + 1]), "ten minutes");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(tail in prop::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
            let mut file = if head { b"RIFF\0\0\0\0WAVE".to_vec() } else { Vec::new() };
            file.extend(tail);
            let _ = Prompt::from_wav(&file);
        }
    }
}
