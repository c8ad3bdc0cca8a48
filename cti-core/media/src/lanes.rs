//! A recording's two sides on one time line: packets come with jitter and by two clocks, frames leave aligned.
//!
//! **`put` what each side sends, `take` about once a second, `finish` at the end.** A sample's place comes from its RTP
//! timestamp relative to an anchor, and the anchor from the time of arrival, so that jitter does not smear it; a clock that
//! jumps or drifts away gets a new anchor. What nobody sent is silence.

use cti_base::Timestamp;

use crate::Side;
use crate::samples::Samples;

/// Frames kept open for late packets: 1.75 s, more than the interval of `take` and [`LAG_FRAMES`] together.
const WINDOW_FRAMES: usize = 14_000;
/// How old a frame is when `take` gives it away: 200 ms.
const LAG_FRAMES: u64 = 1_600;
/// A packet that comes this much before its place shows that the anchor was a late one: 40 ms.
const EARLY_FRAMES: i64 = 320;
/// A packet this late is not only jitter (150 ms) ...
const LATE_FRAMES: i64 = 1_200;
/// ... but a drifted clock, if so many in a row are: half a second.
const LATE_RUN_MAX: u32 = 25;
/// Streams of one side; one more takes the oldest's place.
const STREAMS_MAX: usize = 16;
/// Frames of one piece given to the recorder: one second.
const PIECE_FRAMES: u64 = 8_000;

#[derive(Clone, Debug)]
pub struct Lanes {
    started: Timestamp,
    /// Frames given away already: the window begins here.
    taken: u64,
    /// Interleaved, as a ring: the frame n stands at n modulo [`WINDOW_FRAMES`].
    window: Vec<i16>,
    /// One a stream, so that several that make up a side keep their own clocks.
    anchors: [Vec<Anchor>; 2],
    /// A side of several streams is their sum.
    is_sum: [bool; 2],
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    ssrc: u32,
    timestamp: u32,
    frame: i64,
    late_run: u32,
}

impl Lanes {
    /// Frame 0 is at `started`, by the clock that `put` and `take` are told.
    pub fn new(started: Timestamp) -> Self {
        Self {
            started,
            taken: 0,
            window: vec![0; 2 * WINDOW_FRAMES],
            anchors: Default::default(),
            is_sum: [false; 2],
            dropped: 0,
        }
    }

    /// Places one packet's audio. Samples before the start, before what was taken or too far ahead are dropped.
    pub fn put(&mut self, now: Timestamp, side: Side, ssrc: u32, timestamp: u32, said: Samples<'_>) {
        let channel = channel(side);
        let frame = self.place(now, channel, ssrc, timestamp, said.len());
        let (first, end) = (self.taken as i64, self.taken as i64 + WINDOW_FRAMES as i64);
        if frame >= end || frame + (said.len() as i64) <= first {
            self.dropped += 1;
            return;
        }
        let skip = (first - frame).max(0);
        let count = (end - frame).min(said.len() as i64);
        for index in skip..count {
            let at = (frame + index) as usize % WINDOW_FRAMES;
            let (sample, heard) = (said.at(index as usize), &mut self.window[2 * at + channel]);
            *heard = if self.is_sum[channel] { heard.saturating_add(sample) } else { sample };
        }
    }

    /// A side is now fed by so many other sources: their first packets set the anchors.
    pub fn feed(&mut self, side: Side, sources: usize) {
        self.anchors[channel(side)].clear();
        self.is_sum[channel(side)] = sources > 1;
    }

    /// The frames that are old enough, interleaved, customer first; at most a second, so call until `None`.
    pub fn take(&mut self, now: Timestamp) -> Option<Vec<i16>> {
        self.take_until(self.frames(now).saturating_sub(LAG_FRAMES))
    }

    /// The rest up to `now`, in pieces of at most a second: call until `None`.
    pub fn finish(&mut self, now: Timestamp) -> Option<Vec<i16>> {
        self.take_until(self.frames(now))
    }

    /// Packets that had no place.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn take_until(&mut self, end: u64) -> Option<Vec<i16>> {
        let count = end.saturating_sub(self.taken).min(PIECE_FRAMES) as usize;
        if count == 0 {
            return None;
        }
        let mut piece = Vec::with_capacity(2 * count);
        let from = self.taken as usize % WINDOW_FRAMES;
        let straight = count.min(WINDOW_FRAMES - from);
        for range in [2 * from..2 * (from + straight), 0..2 * (count - straight)] {
            piece.extend_from_slice(&self.window[range.clone()]);
            self.window[range].fill(0);
        }
        self.taken += count as u64;
        Some(piece)
    }

    /// The frame of a packet's first sample, which was spoken its own length before it could be sent.
    fn place(&mut self, now: Timestamp, channel: usize, ssrc: u32, timestamp: u32, len: usize) -> i64 {
        let arrived = self.frames(now) as i64 - len as i64;
        if let Some(anchor) = self.anchors[channel].iter_mut().find(|anchor| anchor.ssrc == ssrc) {
            let frame = anchor.frame + i64::from(timestamp.wrapping_sub(anchor.timestamp) as i32);
            let late = arrived - frame;
            anchor.late_run = if late > LATE_FRAMES { anchor.late_run + 1 } else { 0 };
            let in_reach = (-EARLY_FRAMES..WINDOW_FRAMES as i64).contains(&late);
            if in_reach && anchor.late_run < LATE_RUN_MAX {
                // Timestamps wrap after six days; the anchor goes along.
                if late <= LATE_FRAMES && timestamp.wrapping_sub(anchor.timestamp) as i32 > 0 {
                    (anchor.timestamp, anchor.frame) = (timestamp, frame);
                }
                return frame;
            }
        }
        let anchors = &mut self.anchors[channel];
        anchors.retain(|anchor| anchor.ssrc != ssrc);
        if anchors.len() == STREAMS_MAX {
            anchors.remove(0);
        }
        anchors.push(Anchor { ssrc, timestamp, frame: arrived, late_run: 0 });
        arrived
    }

    /// Whole frames from the start to `now`.
    fn frames(&self, now: Timestamp) -> u64 {
        (now.since(self.started).as_micros() / 125) as u64
    }
}

const fn channel(side: Side) -> usize {
    match side {
        Side::Customer => 0,
        Side::Agent => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Law;

    const START: Timestamp = Timestamp::from_millis(1_763_000_000_000);
    const LOUD: u8 = 0xaa;

    fn at(ms: u64) -> Timestamp {
        START + Duration::from_millis(ms)
    }

    fn loud() -> i16 {
        Law::Pcma.linear()[usize::from(LOUD)]
    }

    /// The loud stretches of one side, in ms, after everything was taken at `end`.
    fn loud_ms(mut lanes: Lanes, end: Timestamp, side: Side) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        while let Some(piece) = lanes.finish(end) {
            all.extend(piece);
        }
        assert_eq!(all.len() as u64 / 2, lanes.frames(end));
        let mut stretches: Vec<(usize, usize)> = Vec::new();
        for (frame, pair) in all.chunks_exact(2).enumerate() {
            if pair[channel(side)] == loud() {
                match stretches.last_mut() {
                    Some((_, end)) if *end == frame => *end += 1,
                    _ => stretches.push((frame, frame + 1)),
                }
            }
        }
        stretches.into_iter().map(|(from, to)| (from / 8, to / 8)).collect()
    }

    /// Packets of 20 ms of one customer: (arrival in ms, RTP timestamp in ms).
    fn recorded(packets: &[(u64, u64)]) -> Vec<(usize, usize)> {
        let mut lanes = Lanes::new(START);
        for (arrival, timestamp) in packets {
            let timestamp = (*timestamp as u32).wrapping_mul(8).wrapping_add(u32::MAX - 100);
            lanes.put(at(*arrival), Side::Customer, 1, timestamp, Samples::G711(Law::Pcma, &[LOUD; 160]));
        }
        loud_ms(lanes, at(1_000), Side::Customer)
    }

    #[test]
    fn audio_stands_where_its_timestamp_says() {
        assert_eq!(recorded(&[]), []);
        assert_eq!(recorded(&[(100, 0), (120, 20), (140, 40)]), [(80, 140)]);
        // Jitter and reordering leave no trace.
        assert_eq!(recorded(&[(100, 0), (135, 20), (141, 60), (142, 40)]), [(80, 160)]);
        // A lost packet is a hole.
        assert_eq!(recorded(&[(100, 0), (140, 40)]), [(80, 100), (120, 140)]);
        // Started before the recording: what was spoken earlier is cut off.
        assert_eq!(recorded(&[(5, 0), (25, 20)]), [(0, 25)]);
        // A first packet that was late by 60 ms gives way as soon as that shows.
        let burst = [(200, 0), (200, 20), (200, 40), (200, 60), (220, 80), (240, 100), (260, 120)];
        assert_eq!(recorded(&burst), [(180, 260)]);
        // Silence suppression with a clock that goes on, and with one that stands still.
        assert_eq!(recorded(&[(100, 0), (500, 400)]), [(80, 100), (480, 500)]);
        // A clock that jumps.
        assert_eq!(recorded(&[(100, 0), (120, 5_000_000), (140, 5_000_020)]), [(80, 140)]);
    }

    #[test]
    fn a_clock_that_stays_late_gets_a_new_anchor() {
        // The timestamps stood still for 300 ms; after half a second of it they count from arrival again.
        let packets: Vec<(u64, u64)> = (0..40).map(|n| (400 + 20 * n, 20 * n)).collect();
        let mut lanes = Lanes::new(START);
        lanes.put(at(20), Side::Agent, 1, 0, Samples::G711(Law::Pcma, &[LOUD; 160]));
        for (arrival, timestamp) in &packets {
            let timestamp = 160 + 8 * *timestamp as u32;
            lanes.put(at(*arrival), Side::Agent, 1, timestamp, Samples::G711(Law::Pcma, &[LOUD; 160]));
        }
        // 24 late packets behind the first, then the rest where they arrived.
        assert_eq!(loud_ms(lanes, at(1_400), Side::Agent), [(0, 500), (860, 1_180)]);
    }

    #[test]
    fn the_sides_do_not_touch_and_a_new_source_has_its_own_clock() {
        let mut lanes = Lanes::new(START);
        lanes.put(at(100), Side::Customer, 1, 0, Samples::G711(Law::Pcma, &[LOUD; 160]));
        lanes.put(at(200), Side::Agent, 2, 77, Samples::G711(Law::Pcma, &[LOUD; 160]));
        lanes.put(at(400), Side::Agent, 3, 90, Samples::G711(Law::Pcma, &[LOUD; 160]));
        lanes.feed(Side::Agent, 1);
        lanes.put(at(600), Side::Agent, 3, 90 + 160, Samples::G711(Law::Pcma, &[LOUD; 160]));
        assert_eq!(loud_ms(lanes.clone(), at(1_000), Side::Customer), [(80, 100)]);
        assert_eq!(loud_ms(lanes, at(1_000), Side::Agent), [(180, 200), (380, 400), (580, 600)]);
    }

    #[test]
    fn several_on_one_side_are_added_up_and_each_has_its_own_clock() {
        let mut lanes = Lanes::new(START);
        lanes.feed(Side::Agent, 2);
        lanes.put(at(100), Side::Agent, 2, 77, Samples::G711(Law::Pcma, &[LOUD; 160]));
        lanes.put(at(110), Side::Agent, 3, 5_000_000, Samples::G711(Law::Pcma, &[LOUD; 160]));
        lanes.put(at(120), Side::Agent, 2, 77 + 160, Samples::G711(Law::Pcma, &[LOUD; 160]));
        let piece = lanes.finish(at(200)).expect("200 ms");
        let said = |ms: usize| piece[2 * 8 * ms + 1];
        assert_eq!([said(85), said(95), said(105), said(115)], [loud(), i16::MAX, i16::MAX, loud()]);
    }

    #[test]
    fn a_second_at_a_time_leaves_after_200_ms() {
        let mut lanes = Lanes::new(START);
        assert_eq!(lanes.take(at(200)), None);
        assert_eq!(lanes.take(at(1_000)).map(|piece| piece.len()), Some(2 * 6_400));
        // Behind what was taken there is no place any more.
        lanes.put(at(1_001), Side::Customer, 1, 0, Samples::G711(Law::Pcma, &[LOUD; 160]));
        lanes.put(at(1_002), Side::Customer, 1, 0u32.wrapping_sub(8_000), Samples::G711(Law::Pcma, &[LOUD; 160]));
        assert_eq!(lanes.dropped(), 1);
        assert_eq!(lanes.take(at(3_500)).map(|piece| piece.len()), Some(2 * 8_000));
        assert_eq!(lanes.finish(at(3_500)).map(|piece| piece.len()), Some(2 * 8_000));
        assert_eq!(lanes.finish(at(3_500)).map(|piece| piece.len()), Some(2 * 5_600));
        assert_eq!(lanes.finish(at(3_500)), None);
    }

    proptest! {
        #[test]
        fn any_packets_make_exactly_the_time_that_passed(
            packets in prop::collection::vec((0u64..200, any::<u32>(), 0u32..3, 0usize..400), 0..100),
        ) {
            let mut lanes = Lanes::new(START);
            let (mut now, mut frames) = (START, 0);
            for (ms, timestamp, ssrc, len) in packets {
                now = now + Duration::from_millis(ms);
                lanes.put(now, Side::Agent, ssrc, timestamp, Samples::G711(Law::Pcmu, &vec![3; len]));
                if ms > 150 {
                    while let Some(piece) = lanes.take(now) {
                        frames += piece.len() / 2;
                    }
                }
            }
            while let Some(piece) = lanes.finish(now) {
                frames += piece.len() / 2;
            }
            prop_assert_eq!(frames as u64, now.since(START).as_millis() as u64 * 8);
        }
    }
}
