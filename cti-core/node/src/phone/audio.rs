//! One call's RTP: what it says, which keys it presses, what it hears.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use cti_base::Rng;
use cti_media::dtmf::{self, Press};
use cti_media::prompt::Prompt;
use cti_media::rtp::{self, FRAME_SAMPLES, HEADER_LEN, Header, Reception};
use cti_media::{Law, LegMedia};

use super::DIGITS_MAX;

/// What a call says.
#[derive(Clone, Debug, Default)]
pub enum Sound {
    /// No packets at all.
    Nothing,
    /// Packets of silence, as a phone on a quiet desk.
    #[default]
    Silence,
    /// 8,000 samples a second, again and again.
    Samples(Arc<Prompt>),
}

impl Sound {
    /// A tone of a whole number of Hz at -12 dB of full scale.
    pub fn tone(hz: u32) -> Self {
        const AMPLITUDE: f64 = 8_192.0;
        let step = std::f64::consts::TAU * f64::from(hz) / 8_000.0;
        let samples: Vec<i16> = (0..8_000).map(|n| ((f64::from(n) * step).sin() * AMPLITUDE) as i16).collect();
        Self::Samples(Arc::new(Prompt::from_linear(&samples)))
    }
}

/// Heard audio that is kept for `--save`: ten minutes.
const HEARD_SAMPLES_MAX: usize = 600 * 8_000;
/// Datagrams read from one call in one tick.
const DATAGRAMS_MAX: usize = 16;
const DATAGRAM_LEN_MAX: usize = 2_048;
const PRESS_MS: u32 = 100;
/// Ticks of 20 ms between two keys, and of a `,`.
const GAP_TICKS: u32 = 5;
const PAUSE_TICKS: u32 = 50;
/// Where a free port is odd, how often to try for an even one (RFC 3550 11).
const EVEN_TRIES: usize = 16;

pub(crate) struct Audio {
    socket: UdpSocket,
    local: SocketAddr,
    media: Option<LegMedia>,
    sound: Sound,
    position: usize,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    begun: bool,
    keys: VecDeque<char>,
    press: Option<(Press, u32)>,
    gap: u32,
    pub(crate) packets_out: u64,
    reception: Reception,
    digits: dtmf::Receiver,
    heard: Option<Heard>,
}

/// What came in, each packet at the place its timestamp names.
#[derive(Default)]
struct Heard {
    first: Option<(u32, u32)>,
    samples: Vec<i16>,
}

impl Audio {
    /// Binds a free even port of `ip`.
    pub(crate) fn bind(ip: IpAddr, sound: Sound, keep: bool, rng: &mut Rng) -> io::Result<Self> {
        let socket = even_port(ip)?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        Ok(Self {
            socket,
            local,
            media: None,
            sound,
            position: 0,
            ssrc: rng.next_u32(),
            sequence: rng.next_u32() as u16,
            timestamp: rng.next_u32(),
            begun: false,
            keys: VecDeque::new(),
            press: None,
            gap: 0,
            packets_out: 0,
            reception: Reception::default(),
            digits: dtmf::Receiver::default(),
            heard: keep.then(Heard::default),
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn connect(&mut self, media: LegMedia) {
        self.media = Some(media);
    }

    pub(crate) fn press(&mut self, digits: &str) {
        let room = DIGITS_MAX.saturating_sub(self.keys.len());
        let keys = digits.chars().filter(|key| *key == ',' || dtmf::event_of(*key).is_some());
        self.keys.extend(keys.take(room));
    }

    pub(crate) fn packets_in(&self) -> u64 {
        self.reception.received()
    }

    pub(crate) fn packets_lost(&self) -> u64 {
        self.reception.lost()
    }

    /// 20 ms: reads what came, sends what is next. Calls `digit` for each key of the other side.
    pub(crate) fn tick(&mut self, digit: impl FnMut(char)) {
        self.receive(digit);
        self.send();
    }

    fn receive(&mut self, mut digit: impl FnMut(char)) {
        let mut datagram = [0u8; DATAGRAM_LEN_MAX];
        for _ in 0..DATAGRAMS_MAX {
            let Ok((length, from)) = self.socket.recv_from(&mut datagram) else { return };
            let Some(media) = &self.media else { continue };
            if media.remote_rtp.is_some_and(|remote| remote.ip() != from.ip()) {
                continue;
            }
            let Ok(header) = Header::parse(&datagram[..length]) else { continue };
            if !self.reception.update(header.ssrc, header.sequence, header.timestamp, None) {
                continue;
            }
            let payload = &datagram[header.payload.clone()];
            if Some(header.payload_type) == media.dtmf_payload_type {
                if let Some(key) = self.digits.receive(header.ssrc, header.timestamp, payload) {
                    digit(key);
                }
            } else if header.payload_type == media.payload_type
                && let (Some(heard), Some(law)) = (&mut self.heard, media.codec.law())
            {
                heard.add(header.ssrc, header.timestamp, payload, law);
            }
        }
    }

    fn send(&mut self) {
        let Some(media) = &self.media else { return };
        let Some(target) = media.remote_rtp.filter(|_| media.direction.sends()) else { return };
        // This phone speaks G.711 alone: its own offers name nothing else.
        let Some(law) = media.codec.law() else { return };
        let mut packet = [0u8; HEADER_LEN + FRAME_SAMPLES];
        let timestamp = self.timestamp;
        self.timestamp = self.timestamp.wrapping_add(FRAME_SAMPLES as u32);
        if self.press.is_none() && self.gap == 0 && media.dtmf_payload_type.is_some() {
            match self.keys.pop_front() {
                Some(',') => self.gap = PAUSE_TICKS,
                Some(key) => self.press = Press::new(key, PRESS_MS).map(|press| (press, timestamp)),
                None => {}
            }
        }
        let key = self.press.as_mut().and_then(|(press, at)| press.next().map(|(marker, event)| (marker, event, *at)));
        let (length, marker, payload_type, timestamp) = match (key, media.dtmf_payload_type) {
            (Some((marker, event, at)), Some(payload_type)) => {
                packet[HEADER_LEN..HEADER_LEN + event.len()].copy_from_slice(&event);
                (HEADER_LEN + event.len(), marker, payload_type, at)
            }
            (Some(_) | None, _) => {
                if self.press.take().is_some() {
                    self.gap = GAP_TICKS;
                }
                self.gap = self.gap.saturating_sub(1);
                if !fill(&self.sound, &mut self.position, law, &mut packet[HEADER_LEN..]) {
                    return;
                }
                (packet.len(), !self.begun, media.payload_type, timestamp)
            }
        };
        self.begun = true;
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(header) = packet.first_chunk_mut() {
            rtp::write(header, marker, payload_type, self.sequence, timestamp, self.ssrc);
        }
        // A full socket buffer loses this packet, as any network may.
        if self.socket.send_to(&packet[..length], target).is_ok() {
            self.packets_out += 1;
        }
    }

    /// Writes what was heard.
    pub(crate) fn save(&mut self, path: &Path) -> Result<(), hound::Error> {
        let samples = self.heard.take().map(|heard| heard.samples).unwrap_or_default();
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(path, spec)?;
        for sample in samples {
            wav.write_sample(sample)?;
        }
        wav.finalize()
    }
}

/// The next 20 ms of a sound; `false` where nothing is sent.
fn fill(sound: &Sound, position: &mut usize, law: Law, frame: &mut [u8]) -> bool {
    match sound {
        Sound::Nothing => return false,
        Sound::Silence => frame.fill(law.silence()),
        Sound::Samples(prompt) => {
            let bytes = prompt.bytes(law);
            if bytes.is_empty() {
                return false;
            }
            for byte in frame {
                *byte = bytes[*position % bytes.len()];
                *position = (*position + 1) % bytes.len();
            }
        }
    }
    true
}

impl Heard {
    fn add(&mut self, ssrc: u32, timestamp: u32, payload: &[u8], law: Law) {
        let (_, base) = match self.first {
            Some(first) if first.0 == ssrc => first,
            // Another source goes on where the last one ended.
            Some(_) | None => *self.first.insert((ssrc, timestamp.wrapping_sub(self.samples.len() as u32))),
        };
        let at = timestamp.wrapping_sub(base) as usize;
        let end = at.saturating_add(payload.len());
        if end > HEARD_SAMPLES_MAX {
            return;
        }
        if self.samples.len() < end {
            self.samples.resize(end, 0);
        }
        let linear = law.linear();
        for (sample, byte) in self.samples[at..end].iter_mut().zip(payload) {
            *sample = linear[usize::from(*byte)];
        }
    }
}

fn even_port(ip: IpAddr) -> io::Result<UdpSocket> {
    let mut odd = Vec::new();
    for _ in 0..EVEN_TRIES {
        let socket = UdpSocket::bind((ip, 0))?;
        if socket.local_addr()?.port() % 2 == 0 {
            return Ok(socket);
        }
        // Kept until the end, so that the system gives another.
        odd.push(socket);
    }
    odd.pop().ok_or_else(|| io::Error::other("no free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_begins_again_without_a_seam() {
        let Sound::Samples(prompt) = Sound::tone(440) else { panic!("samples") };
        assert_eq!(prompt.samples(), 8_000);
        let mut position = 7_900;
        let mut frame = [0u8; 160];
        assert!(fill(&Sound::Samples(Arc::clone(&prompt)), &mut position, Law::Pcma, &mut frame));
        assert_eq!(position, 60);
        assert_eq!(frame[100..], prompt.bytes(Law::Pcma)[..60]);
    }

    #[test]
    fn heard_audio_stands_where_its_timestamp_says() {
        let mut heard = Heard::default();
        let loud = [Law::Pcma.encode(1_000); 160];
        heard.add(1, 5_000, &loud, Law::Pcma);
        heard.add(1, 5_320, &loud, Law::Pcma);
        assert_eq!(heard.samples.len(), 480);
        assert_eq!((heard.samples[160], heard.samples[319]), (0, 0), "the lost packet is silence");
        heard.add(2, 77, &loud, Law::Pcma);
        assert_eq!(heard.samples.len(), 640);
        heard.add(2, 77u32.wrapping_sub(9_999_999), &loud, Law::Pcma);
        assert_eq!(heard.samples.len(), 640, "a wild timestamp takes no memory");
    }
}
