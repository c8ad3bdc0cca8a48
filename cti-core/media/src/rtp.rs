//! RTP (RFC 3550): a header read without a copy and written in place, sequence statistics and jitter.

use std::ops::Range;

/// The fixed header (RFC 3550 5.1).
pub const HEADER_LEN: usize = 12;
/// Samples of 20 ms at 8,000 Hz.
pub const FRAME_SAMPLES: usize = 160;
/// A payload this long lasts half a second: nobody packs more.
pub const PAYLOAD_LEN_MAX: usize = 4_000;

/// What one packet says of itself. The payload is a range of the datagram it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    pub sequence: u16,
    /// In units of 1/8000 s for our codecs.
    pub timestamp: u32,
    pub ssrc: u32,
    /// Without CSRC list, extension and padding; it starts at [`HEADER_LEN`] or later.
    pub payload: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    #[error("{0} bytes are too few for an RTP header")]
    TooShort(usize),
    #[error("version {0} is not RTP's version 2")]
    Version(u8),
    #[error("the CSRC list, extension or padding is longer than the packet")]
    Length,
}

impl Header {
    /// Reads a datagram (RFC 3550 5.1, 5.3.1).
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let Some((fixed, rest)) = packet.split_first_chunk::<HEADER_LEN>() else {
            return Err(RtpError::TooShort(packet.len()));
        };
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if first >> 6 != 2 {
            return Err(RtpError::Version(first >> 6));
        }
        let mut start = HEADER_LEN + 4 * usize::from(first & 0x0f);
        if first & 0x10 != 0 {
            let at = start - HEADER_LEN;
            let words = rest.get(at + 2..at + 4).ok_or(RtpError::Length)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        let mut end = packet.len();
        if first & 0x20 != 0 {
            let padding = usize::from(packet[packet.len() - 1]);
            if padding == 0 {
                return Err(RtpError::Length);
            }
            end = end.checked_sub(padding).ok_or(RtpError::Length)?;
        }
        if start > end {
            return Err(RtpError::Length);
        }
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload: start..end,
        })
    }

    /// Writes a plain header of twelve bytes right before the payload, over what stood there, and returns the packet: the
    /// payload is not moved, CSRC list, extension and padding are gone.
    pub fn write_before<'a>(&self, datagram: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let packet = datagram.get_mut(self.payload.start.checked_sub(HEADER_LEN)?..self.payload.end)?;
        let (fixed, _) = packet.split_first_chunk_mut::<HEADER_LEN>()?;
        write(fixed, self.marker, self.payload_type, self.sequence, self.timestamp, self.ssrc);
        Some(packet)
    }
}

/// A plain header: version 2, no padding, extension or CSRC.
pub fn write(header: &mut [u8; HEADER_LEN], marker: bool, payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) {
    header[0] = 0x80;
    header[1] = (u8::from(marker) << 7) | (payload_type & 0x7f);
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

/// A gap this wide in the sequence is a restart (RFC 3550 A.1).
const DROPOUT_MAX: u16 = 3_000;
/// A packet this late is only out of order (RFC 3550 A.1).
const MISORDER_MAX: u16 = 100;

/// What was received of one source, by its sequence numbers (RFC 3550 A.1, A.3) and arrival times (A.8).
#[derive(Clone, Debug, Default)]
pub struct Reception {
    source: Option<Source>,
    /// Losses of sources that went before.
    lost_before: u64,
    received: u64,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    base: u16,
    highest: u16,
    cycles: u32,
    received: u64,
    /// The number that would confirm a restart (A.1's `bad_seq`).
    restart_at: Option<u16>,
    /// Scaled by 16 (A.8).
    jitter: u32,
    transit: Option<u32>,
    /// At the last report, for the fraction lost.
    expected_prior: u64,
    received_prior: u64,
}

/// One report block's figures (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub ssrc: u32,
    /// Of 256, since the last report.
    pub fraction_lost: u8,
    /// Since the beginning of this source, limited to 24 bits signed.
    pub lost: i32,
    pub highest_extended: u32,
    /// In timestamp units.
    pub jitter: u32,
}

impl Reception {
    /// Counts one packet. `arrival` is its time in timestamp units; `None` for a packet whose timestamp says nothing of its
    /// sending time (RFC 4733 repeats one timestamp). `false` for a packet that breaks the sequence: it is not counted yet.
    pub fn update(&mut self, ssrc: u32, sequence: u16, timestamp: u32, arrival: Option<u32>) -> bool {
        let source = match &mut self.source {
            Some(source) if source.ssrc == ssrc => source,
            _ => {
                self.retire();
                self.source.insert(Source::new(ssrc, sequence))
            }
        };
        let delta = sequence.wrapping_sub(source.highest);
        if delta < DROPOUT_MAX {
            if sequence < source.highest {
                source.cycles = source.cycles.wrapping_add(1);
            }
            source.highest = sequence;
            source.restart_at = None;
        } else if delta <= u16::MAX - MISORDER_MAX {
            // Two in a row after a wide jump: the other side restarted without telling.
            if source.restart_at != Some(sequence) {
                source.restart_at = Some(sequence.wrapping_add(1));
                return false;
            }
            let jitter = source.jitter;
            self.retire();
            // The first of the two counts as well.
            let restarted = self.source.insert(Source::new(ssrc, sequence.wrapping_sub(1)));
            restarted.highest = sequence;
            restarted.received = 1;
            restarted.jitter = jitter;
            self.received += 1;
        }
        let Some(source) = &mut self.source else { return false };
        source.received += 1;
        self.received += 1;
        if let Some(arrival) = arrival {
            let transit = arrival.wrapping_sub(timestamp);
            if let Some(last) = source.transit {
                // A wide step is a new clock, not jitter.
                let step = (transit.wrapping_sub(last) as i32).unsigned_abs();
                if step < JITTER_STEP_MAX {
                    source.jitter = (source.jitter + step).saturating_sub((source.jitter + 8) >> 4);
                }
            }
            source.transit = Some(transit);
        }
        true
    }

    /// The figures for a report block, and the start of the next interval.
    pub fn report(&mut self) -> Option<Report> {
        let source = self.source.as_mut()?;
        let (expected, received) = (source.expected(), source.received);
        let expected_interval = expected - source.expected_prior;
        let lost_interval = expected_interval.saturating_sub(received - source.received_prior);
        source.expected_prior = expected;
        source.received_prior = received;
        let fraction = (lost_interval * 256).checked_div(expected_interval).unwrap_or(0);
        const LOST_MIN: i64 = -0x80_0000;
        const LOST_MAX: i64 = 0x7f_ffff;
        Some(Report {
            ssrc: source.ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: (expected as i64 - received as i64).clamp(LOST_MIN, LOST_MAX) as i32,
            highest_extended: (source.cycles << 16) | u32::from(source.highest),
            jitter: source.jitter >> 4,
        })
    }

    /// Over all sources so far.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    pub fn received(&self) -> u64 {
        self.received
    }

    /// Of the present source, in timestamp units.
    pub fn jitter(&self) -> u32 {
        self.source.as_ref().map_or(0, |source| source.jitter >> 4)
    }

    fn retire(&mut self) {
        self.lost_before = self.lost();
        self.source = None;
    }
}

/// A second in timestamp units.
const JITTER_STEP_MAX: u32 = 8_000;

impl Source {
    fn new(ssrc: u32, sequence: u16) -> Self {
        Self {
            ssrc,
            base: sequence,
            highest: sequence,
            cycles: 0,
            received: 0,
            restart_at: None,
            jitter: 0,
            transit: None,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    fn expected(&self) -> u64 {
        ((u64::from(self.cycles) << 16) + u64::from(self.highest) + 1).saturating_sub(u64::from(self.base))
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(first: u8, middle: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 0x88, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
        packet.extend_from_slice(middle);
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn headers_read_with_all_their_options() {
        let check = |packet: &[u8], expect: Result<Range<usize>, RtpError>| {
            assert_eq!(Header::parse(packet).map(|header| header.payload), expect, "{packet:?}");
        };
        check(&packet(0x80, &[], &[1, 2, 3]), Ok(12..15));
        check(&packet(0x80, &[], &[]), Ok(12..12));
        check(&packet(0x82, &[0; 8], &[1, 2]), Ok(20..22));
        check(&packet(0x90, &[0xbe, 0xde, 0, 1, 9, 9, 9, 9], &[1, 2]), Ok(20..22));
        check(&packet(0x91, &[1, 1, 1, 1, 0xbe, 0xde, 0, 0], &[1, 2]), Ok(20..22));
        check(&packet(0xa0, &[], &[1, 2, 0, 0, 3]), Ok(12..14));
        check(&packet(0xa0, &[], &[4]), Err(RtpError::Length));
        check(&packet(0xa0, &[], &[0]), Err(RtpError::Length));
        check(&packet(0x90, &[0xbe, 0xde, 0, 9], &[1]), Err(RtpError::Length));
        check(&packet(0x90, &[0xbe], &[]), Err(RtpError::Length));
        check(&packet(0x8f, &[], &[1, 2]), Err(RtpError::Length));
        check(&packet(0x40, &[], &[1]), Err(RtpError::Version(1)));
        check(&[0x80; 11], Err(RtpError::TooShort(11)));
        let header = Header::parse(&packet(0x80, &[], &[1])).expect("a header");
        assert_eq!(
            header,
            Header {
                marker: true,
                payload_type: 8,
                sequence: 0x1234,
                timestamp: 160,
                ssrc: 0xdead_beef,
                payload: 12..13
            }
        );
    }

    #[test]
    fn a_header_is_written_in_place_without_options() {
        let mut datagram = packet(0xb1, &[1, 1, 1, 1, 0xbe, 0xde, 0, 0], &[7, 8, 0, 2]);
        let mut header = Header::parse(&datagram).expect("a header");
        header.ssrc = 5;
        header.sequence = 6;
        header.timestamp = 7;
        header.payload_type = 0;
        header.marker = false;
        let written = header.write_before(&mut datagram).expect("the payload is inside").to_vec();
        assert_eq!(written, [0x80, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 5, 7, 8]);
    }

    /// Feeds sequence numbers, one each 20 ms.
    fn received(sequences: &[u16]) -> Reception {
        let mut reception = Reception::default();
        for (index, sequence) in sequences.iter().enumerate() {
            let at = 160 * index as u32;
            reception.update(1, *sequence, at, Some(at));
        }
        reception
    }

    #[test]
    fn losses_are_counted_by_sequence_numbers() {
        let check = |sequences: &[u16], lost: u64, got: u64| {
            let reception = received(sequences);
            assert_eq!((reception.lost(), reception.received()), (lost, got), "{sequences:?}");
        };
        check(&[], 0, 0);
        check(&[5, 6, 7], 0, 3);
        check(&[5, 7, 8, 10], 2, 4);
        check(&[5, 7, 6, 8], 0, 4);
        check(&[65_534, 65_535, 0, 2], 1, 4);
        check(&[5, 5, 6], 0, 3);
        // A restart is confirmed by two in a row and loses nothing.
        check(&[5, 6, 30_000, 30_001, 30_002], 0, 5);
        // One wild packet is not counted.
        check(&[5, 6, 30_000, 7], 0, 3);
    }

    #[test]
    fn a_report_tells_the_interval() {
        let mut reception = received(&[0, 1, 2, 4]);
        let report = reception.report().expect("a source");
        assert_eq!(report, Report { ssrc: 1, fraction_lost: 51, lost: 1, highest_extended: 4, jitter: report.jitter });
        reception.update(1, 5, 800, Some(800));
        assert_eq!(reception.report().map(|r| (r.fraction_lost, r.lost)), Some((0, 1)));
        assert_eq!(Reception::default().report(), None);
    }

    #[test]
    fn jitter_follows_the_formula() {
        let mut steady = Reception::default();
        let mut shaky = Reception::default();
        for n in 0..500u32 {
            steady.update(1, n as u16, n * 160, Some(n * 160 + 77));
            shaky.update(1, n as u16, n * 160, Some(n * 160 + if n % 2 == 0 { 0 } else { 80 }));
        }
        assert_eq!(steady.jitter(), 0);
        // |D| is 80 each time, and the filter converges to it.
        assert!((75..=80).contains(&shaky.jitter()), "{}", shaky.jitter());
        // A new clock is no jitter.
        steady.update(1, 500, 4_000_000_000, Some(500 * 160));
        assert_eq!(steady.jitter(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut packet in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::parse(&packet) {
                prop_assert!(header.payload.start >= HEADER_LEN && header.payload.end <= packet.len());
                prop_assert!(header.write_before(&mut packet).is_some());
            }
        }

        #[test]
        fn no_sequence_breaks_the_statistics(sequences in prop::collection::vec((0u32..2, any::<u16>(), any::<u32>()), 0..200)) {
            let mut reception = Reception::default();
            for (n, (ssrc, sequence, timestamp)) in sequences.iter().enumerate() {
                reception.update(*ssrc, *sequence, *timestamp, Some(n as u32 * 160));
                reception.report();
            }
            prop_assert!(reception.received() <= sequences.len() as u64);
        }
    }
}
