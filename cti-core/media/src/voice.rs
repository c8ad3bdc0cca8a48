//! The codecs with a memory: one decoder and one encoder for a leg of G.722 or Opus, to and from 8,000 samples a second.
//!
//! **`decode` each packet of the peer's stream in the order of arrival, `encode` each frame that is sent.** Nothing is allocated
//! after [`Voice::new`] by what is here.

use ropus::{Application, Bitrate, Channels, DecodeMode, InbandFec, Signal};

use crate::mixer::Frame;
use crate::samples::Samples;
use crate::{Codec, g722};

/// Samples decoded in one go: 120 ms, the longest packet of Opus (RFC 6716 3.2.5).
const CHUNK: usize = 960;
/// Bytes of one encoded frame: room for one of G.711.
pub const FRAME_BYTES_MAX: usize = 160;
/// So many packets in a row that were lost are made up for; more is a pause.
const CONCEALED_MAX: u16 = 5;
/// A packet this much older than the newest is late, not of another stream.
const LATE_MAX: u16 = 100;
/// Speech of 8,000 Hz is transparent here.
const OPUS_BITS: u32 = 24_000;
/// Of 10: half the work of the most for a hardly better voice.
const OPUS_COMPLEXITY: u8 = 3;
/// What the encoder's redundancy reckons with.
const OPUS_LOSS_PERCENT: u8 = 5;

/// A leg's voice, both ways.
pub struct Voice {
    codec: Codec,
    kind: Kind,
    /// The stream, its newest sequence number, and how long its packets are.
    newest: Option<(u32, u16)>,
    len: usize,
    chunk: [i16; CHUNK],
}

enum Kind {
    G722 { decoder: g722::Decoder, encoder: g722::Encoder },
    Opus(Box<Opus>),
}

struct Opus {
    decoder: ropus::Decoder,
    encoder: ropus::Encoder,
}

/// Where a packet stands in its stream.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub ssrc: u32,
    pub sequence: u16,
    /// In 1/8000 s, whatever the codec.
    pub timestamp: u32,
}

impl Voice {
    /// `None` for a codec without a memory.
    pub fn new(codec: Codec) -> Option<Box<Self>> {
        let kind = match codec {
            Codec::Pcmu | Codec::Pcma => return None,
            Codec::G722 => Kind::G722 { decoder: g722::Decoder::default(), encoder: g722::Encoder::default() },
            Codec::Opus => Kind::Opus(Box::new(Opus {
                decoder: ropus::Decoder::new(8_000, Channels::Mono).ok()?,
                encoder: ropus::Encoder::builder(8_000, Channels::Mono, Application::Voip)
                    .bitrate(Bitrate::Bits(OPUS_BITS))
                    .complexity(OPUS_COMPLEXITY)
                    .signal(Signal::Voice)
                    .inband_fec(InbandFec::Enabled)
                    .packet_loss_perc(OPUS_LOSS_PERCENT)
                    .build()
                    .ok()?,
            })),
        };
        Some(Box::new(Self { codec, kind, newest: None, len: 0, chunk: [0; CHUNK] }))
    }

    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Decodes one packet and what was lost right before it, piece by piece: each with the timestamp of its first sample.
    /// A packet that is late or repeated gives nothing: its place is filled already.
    pub fn decode(&mut self, at: At, payload: &[u8], mut said: impl FnMut(u32, Samples<'_>)) {
        let ahead = match self.newest {
            Some((ssrc, newest)) if ssrc == at.ssrc => {
                if newest.wrapping_sub(at.sequence) <= LATE_MAX {
                    return;
                }
                at.sequence.wrapping_sub(newest)
            }
            _ => 1,
        };
        self.newest = Some((at.ssrc, at.sequence));
        let Self { kind, chunk, len, .. } = self;
        match kind {
            Kind::G722 { decoder, .. } => {
                let mut timestamp = at.timestamp;
                for bytes in payload.chunks(CHUNK) {
                    for (sample, byte) in chunk.iter_mut().zip(bytes) {
                        *sample = decoder.decode(*byte);
                    }
                    said(timestamp, Samples::Linear(&chunk[..bytes.len()]));
                    timestamp = timestamp.wrapping_add(bytes.len() as u32);
                }
            }
            Kind::Opus(opus) => {
                let decoder = &mut opus.decoder;
                if (2..=CONCEALED_MAX + 1).contains(&ahead) && *len > 0 {
                    for lost in (1..ahead).rev() {
                        // The last one may be told again in this packet (RFC 6716 2.1.7).
                        let (packet, mode) =
                            if lost == 1 { (payload, DecodeMode::Fec) } else { (&[][..], DecodeMode::Normal) };
                        let Ok(count) = decoder.decode(packet, &mut chunk[..*len], mode) else { continue };
                        let timestamp = at.timestamp.wrapping_sub(u32::from(lost) * *len as u32);
                        said(timestamp, Samples::Linear(&chunk[..count]));
                    }
                }
                // An empty payload would be taken for a loss, and bytes that are no packet of Opus say nothing.
                if payload.is_empty() {
                    return;
                }
                if let Ok(count) = decoder.decode(payload, &mut chunk[..], DecodeMode::Normal) {
                    *len = count;
                    said(at.timestamp, Samples::Linear(&chunk[..count]));
                }
            }
        }
    }

    /// Encodes 20 ms and says how many bytes they are; 0 where there is nothing to send.
    pub fn encode(&mut self, frame: &Frame, out: &mut [u8]) -> usize {
        match &mut self.kind {
            Kind::G722 { encoder, .. } => {
                for (byte, sample) in out.iter_mut().zip(frame) {
                    *byte = encoder.encode(*sample);
                }
                out.len().min(frame.len())
            }
            Kind::Opus(opus) => opus.encoder.encode(frame, out).unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Voice({:?})", self.codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::FRAME_SAMPLES;
    use crate::tone::{self, Tone};

    /// What comes out of half a second of a tone, as packets; those for which `is_lost` says so never arrive.
    fn heard(codec: Codec, is_lost: impl Fn(u16) -> bool) -> Vec<(u32, Vec<i16>)> {
        let (mut one, mut other) = (Voice::new(codec).expect("a voice"), Voice::new(codec).expect("a voice"));
        let samples: Vec<i16> = Tone::sine(700.0).take(25 * FRAME_SAMPLES).collect();
        let mut pieces = Vec::new();
        for (number, frame) in (0_u16..).zip(samples.chunks_exact(FRAME_SAMPLES)) {
            let mut packet = [0; FRAME_BYTES_MAX];
            let len = one.encode(frame.try_into().expect("a frame"), &mut packet);
            assert!((1..=FRAME_BYTES_MAX).contains(&len), "{codec:?}: {len} bytes");
            let at = At { ssrc: 7, sequence: number.wrapping_sub(5), timestamp: u32::from(number) * 160 };
            if !is_lost(number) {
                other.decode(at, &packet[..len], |timestamp, said| {
                    pieces.push((timestamp, (0..said.len()).map(|n| said.at(n)).collect()));
                });
            }
        }
        pieces
    }

    #[test]
    fn a_tone_is_heard_and_every_20_ms_have_their_place() {
        for codec in [Codec::G722, Codec::Opus] {
            let pieces = heard(codec, |_| false);
            let places: Vec<u32> = pieces.iter().map(|(timestamp, _)| *timestamp).collect();
            assert_eq!(places, (0..25).map(|n| n * 160).collect::<Vec<_>>(), "{codec:?}");
            let all: Vec<i16> = pieces.into_iter().flat_map(|(_, samples)| samples).collect();
            assert_eq!(all.len(), 25 * FRAME_SAMPLES);
            assert!(tone::share(&all[800..], 700.0) > 0.9, "{codec:?}: {}", tone::share(&all[800..], 700.0));
        }
    }

    #[test]
    fn what_opus_loses_is_made_up_for_in_its_place() {
        let pieces = heard(Codec::Opus, |number| matches!(number, 10 | 15 | 16));
        let places: Vec<u32> = pieces.iter().map(|(timestamp, _)| *timestamp).collect();
        assert_eq!(places, (0..25).map(|n| n * 160).collect::<Vec<_>>());
        let all: Vec<i16> = pieces.into_iter().flat_map(|(_, samples)| samples).collect();
        let lost = &all[10 * FRAME_SAMPLES..11 * FRAME_SAMPLES];
        assert!(tone::share(lost, 700.0) > 0.5, "{}", tone::share(lost, 700.0));
    }

    #[test]
    fn a_long_pause_is_not_made_up_for_and_nonsense_is_no_sound() {
        let pieces = heard(Codec::Opus, |number| (5..15).contains(&number));
        assert_eq!(pieces.len(), 15);
        let mut voice = Voice::new(Codec::Opus).expect("a voice");
        for (sequence, payload) in [&[][..], &[0xff; 3], &[0x03, 0xff, 0xff], &[0; 1_200]].into_iter().enumerate() {
            voice.decode(At { ssrc: 1, sequence: sequence as u16, timestamp: 0 }, payload, |_, said| {
                assert!(said.len() <= CHUNK);
            });
        }
    }

    #[test]
    fn a_late_or_repeated_packet_gives_nothing() {
        for codec in [Codec::G722, Codec::Opus] {
            let mut voice = Voice::new(codec).expect("a voice");
            let mut packet = [0; FRAME_BYTES_MAX];
            let len = voice.encode(&[0; FRAME_SAMPLES], &mut packet);
            let mut pieces = 0;
            for sequence in [10, 11, 11, 9, 12] {
                voice.decode(At { ssrc: 1, sequence, timestamp: 0 }, &packet[..len], |_, _| pieces += 1);
            }
            assert_eq!(pieces, 3, "{codec:?}");
        }
    }
}
