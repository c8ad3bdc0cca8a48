//! Mixing for those who hear more than one, or who are heard by more than one: each source waits in a small buffer by its own
//! clock, and every 20 ms each listener gets the sum of whom they hear.
//!
//! **`put` each packet of a source, `step` every source once in 20 ms, then `add` the frames of those that a listener hears
//! to one [`Sum`] and `encode` it.** Nothing is allocated after [`Source::new`]. Linear 16-bit samples at 8,000 a second.

use crate::Law;
use crate::rtp::FRAME_SAMPLES;
use crate::samples::Samples;

/// Samples kept of one source: 256 ms. A power of two, so that a timestamp's place is its low bits.
const RING: usize = 2_048;
/// How long a source's first sample waits, so that those that come later by so much still find their place: 40 ms.
const DELAY: u32 = 320;
/// Packets all of which wait for longer than [`SLACK`] bring the wait back to [`DELAY`]: one second of them.
const LOOK_BACK: u32 = 50;
const SLACK: u32 = 2 * DELAY;
/// So many packets in a row that came too late are no jitter but another clock: 100 ms.
const LATE_RUN_MAX: u32 = 5;

/// One frame of 20 ms.
pub type Frame = [i16; FRAME_SAMPLES];

/// What one leg says, on its way into others' mixes.
#[derive(Clone, Debug)]
pub struct Source {
    ring: [i16; RING],
    /// The 20 ms that are heard now.
    frame: Frame,
    /// The peer's stream and the timestamp of the next sample to be heard; `None` before the first packet.
    clock: Option<(u32, u32)>,
    late_run: u32,
    /// The shortest wait of the last packets, and how many they are.
    least_wait: u32,
    looked_at: u32,
}

impl Default for Source {
    fn default() -> Self {
        Self::new()
    }
}

impl Source {
    pub const fn new() -> Self {
        Self {
            ring: [0; RING],
            frame: [0; FRAME_SAMPLES],
            clock: None,
            late_run: 0,
            least_wait: u32::MAX,
            looked_at: 0,
        }
    }

    /// Places one packet's audio by its RTP timestamp. What comes too late is dropped; a clock that jumps begins anew.
    pub fn put(&mut self, ssrc: u32, timestamp: u32, said: Samples<'_>) {
        let known = self.clock.filter(|(of, _)| *of == ssrc).map(|(_, next)| next);
        let next = match known {
            Some(next) => next,
            None => self.begin(ssrc, timestamp),
        };
        let mut wait = timestamp.wrapping_sub(next) as i32;
        let len = said.len().min(RING) as i32;
        let (is_late, is_far) = (wait + len <= 0, wait > RING as i32 - len);
        self.late_run = if is_late { self.late_run + 1 } else { 0 };
        if is_far || self.late_run > LATE_RUN_MAX {
            let next = self.begin(ssrc, timestamp);
            wait = timestamp.wrapping_sub(next) as i32;
        } else if is_late {
            return;
        }
        let skip = (-wait).max(0) as usize;
        for index in skip..said.len().min(RING - wait.max(0) as usize) {
            self.ring[place(timestamp.wrapping_add(index as u32))] = said.at(index);
        }
        self.shorten(wait.max(0) as u32);
    }

    /// 20 ms go by: the next frame is the one that is heard.
    pub fn step(&mut self) {
        let Some((_, next)) = &mut self.clock else { return };
        for (index, heard) in self.frame.iter_mut().enumerate() {
            *heard = std::mem::take(&mut self.ring[place(next.wrapping_add(index as u32))]);
        }
        *next = next.wrapping_add(FRAME_SAMPLES as u32);
    }

    /// What is heard now.
    pub const fn frame(&self) -> &Frame {
        &self.frame
    }

    fn begin(&mut self, ssrc: u32, timestamp: u32) -> u32 {
        let next = timestamp.wrapping_sub(DELAY);
        self.ring.fill(0);
        self.clock = Some((ssrc, next));
        (self.late_run, self.looked_at, self.least_wait) = (0, 0, u32::MAX);
        next
    }

    /// A burst, or a clock that is faster than ours, must not make the wait longer for good.
    fn shorten(&mut self, wait: u32) {
        self.least_wait = self.least_wait.min(wait);
        self.looked_at += 1;
        if self.looked_at < LOOK_BACK {
            return;
        }
        if self.least_wait > SLACK
            && let Some((_, next)) = &mut self.clock
        {
            let skipped = self.least_wait - DELAY;
            for index in 0..skipped {
                self.ring[place(next.wrapping_add(index))] = 0;
            }
            *next = next.wrapping_add(skipped);
        }
        (self.looked_at, self.least_wait) = (0, u32::MAX);
    }
}

const fn place(timestamp: u32) -> usize {
    timestamp as usize % RING
}

/// What one listener hears in 20 ms: the sum of whom they hear, never themselves.
#[derive(Clone, Debug)]
pub struct Sum([i32; FRAME_SAMPLES]);

impl Default for Sum {
    fn default() -> Self {
        Self([0; FRAME_SAMPLES])
    }
}

impl Sum {
    pub fn add(&mut self, frame: &Frame) {
        for (sum, sample) in self.0.iter_mut().zip(frame) {
            *sum += i32::from(*sample);
        }
    }

    /// The sum, cut off at the ends of the range.
    pub fn linear(&self) -> Frame {
        self.0.map(|sum| sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16)
    }

    /// One byte a sample; `out` is as long as a frame.
    pub fn encode(&self, law: Law, out: &mut [u8]) {
        for (byte, sample) in out.iter_mut().zip(self.linear()) {
            *byte = law.encode(sample);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{self, Tone};

    const LOUD: u8 = 0xaa;

    fn loud() -> i16 {
        Law::Pcma.linear()[usize::from(LOUD)]
    }

    /// The frames heard when a packet of this content comes before each step, `None` for one that is lost.
    fn heard(packets: &[Option<(u32, u8)>]) -> Vec<i16> {
        let mut source = Source::new();
        packets
            .iter()
            .map(|packet| {
                if let Some((timestamp, byte)) = packet {
                    source.put(7, *timestamp, Samples::G711(Law::Pcma, &[*byte; 160]));
                }
                source.step();
                source.frame()[0]
            })
            .collect()
    }

    #[test]
    fn a_source_is_heard_40_ms_later_and_a_loss_is_a_hole() {
        let at = |n: u32| 0xffff_ff00_u32.wrapping_add(160 * n);
        let packets = [0, 1, 2, 4, 5, 6].map(|n| Some((at(n), LOUD)));
        let quiet = heard(&packets[..2]);
        assert_eq!(quiet, [0, 0]);
        let mut all: Vec<_> = packets.to_vec();
        all.insert(3, None);
        assert_eq!(heard(&all), [0, 0, loud(), loud(), loud(), 0, loud()]);
    }

    #[test]
    fn packets_out_of_order_and_late_by_40_ms_find_their_places() {
        let mut source = Source::new();
        let mut heard = Vec::new();
        // What arrives before each step.
        let arrivals: [&[u32]; 7] = [&[0], &[2], &[1], &[3], &[], &[4, 5], &[6]];
        for arrived in arrivals {
            for n in arrived {
                source.put(7, 160 * n, Samples::G711(Law::Pcma, &[LOUD; 160]));
            }
            source.step();
            heard.push(source.frame()[0]);
        }
        assert_eq!(heard[2..], [loud(); 5]);
    }

    #[test]
    fn a_clock_that_jumps_or_another_stream_begins_anew() {
        let mut source = Source::new();
        let put = |source: &mut Source, ssrc: u32, timestamp: u32| {
            let mut heard = Vec::new();
            for n in 0..10 {
                source.put(ssrc, timestamp.wrapping_add(160 * n), Samples::G711(Law::Pcma, &[LOUD; 160]));
                source.step();
                heard.push(source.frame()[0] == loud());
            }
            heard
        };
        assert_eq!(put(&mut source, 7, 0)[2..], [true; 8]);
        assert_eq!(put(&mut source, 7, 5_000_000)[2..], [true; 8], "forward");
        assert_eq!(put(&mut source, 7, 0)[LATE_RUN_MAX as usize + 2..], [true; 3], "back");
        assert_eq!(put(&mut source, 8, 1)[2..], [true; 8], "another stream");
    }

    #[test]
    fn a_burst_does_not_make_the_wait_longer_for_good() {
        let mut source = Source::new();
        for n in 0..7 {
            source.put(7, 160 * n, Samples::G711(Law::Pcma, &[0xd5; 160]));
        }
        // 140 ms came at once; from here on each packet waits for so long, until it is seen that all do.
        let mut after = 0;
        for n in 7..200_u32 {
            source.put(7, 160 * n, Samples::G711(Law::Pcma, &[if n == 150 { LOUD } else { 0xd5 }; 160]));
            source.step();
            if source.frame()[0] == loud() {
                after = n - 150;
            }
        }
        assert_eq!(after, 2, "40 ms");
    }

    #[test]
    fn each_tone_of_a_sum_is_there_and_too_much_is_cut_off() {
        let tones = [300.0, 700.0, 1_100.0];
        let frames = |hz: f64| -> Vec<Frame> {
            let all: Vec<i16> = Tone::sine(hz).take(1_600).collect();
            all.chunks_exact(FRAME_SAMPLES).map(|chunk| chunk.try_into().expect("a frame")).collect()
        };
        let voices = tones.map(frames);
        let mut mixed = Vec::new();
        for n in 0..10 {
            let mut sum = Sum::default();
            voices.iter().for_each(|voice| sum.add(&voice[n]));
            mixed.extend(sum.linear());
        }
        for hz in tones {
            assert!(tone::share(&mixed, hz) > 0.2, "{hz} Hz: {}", tone::share(&mixed, hz));
        }
        assert!(tone::share(&mixed, 500.0) < 0.01);
        let mut sum = Sum::default();
        sum.add(&[i16::MAX; FRAME_SAMPLES]);
        sum.add(&[i16::MAX; FRAME_SAMPLES]);
        assert_eq!(sum.linear(), [i16::MAX; FRAME_SAMPLES]);
        let mut bytes = [0; FRAME_SAMPLES];
        sum.encode(Law::Pcma, &mut bytes);
        assert_eq!(Law::Pcma.linear()[usize::from(bytes[0])], 32_256);
    }
}
