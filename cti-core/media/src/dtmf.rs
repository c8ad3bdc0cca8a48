//! Keypresses as RTP events (RFC 4733): one digit out of many packets, and the packets of one digit.

/// The event codes 0 to 15 (RFC 4733 3.2).
const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];
/// A packet this much older than the present event is a late one of an earlier event: 10 s in timestamp units.
const LATE_MAX: u32 = 80_000;
/// A longer press is told in segments of this length, each with its own timestamp (RFC 4733 2.5.1.3).
const SEGMENT_DURATION: u32 = 0xffff;

/// The code of a digit, `None` for other characters.
pub fn event_of(digit: char) -> Option<u8> {
    DIGITS.iter().position(|known| known.eq_ignore_ascii_case(&digit)).map(|code| code as u8)
}

/// One packet's payload (RFC 4733 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub code: u8,
    pub end: bool,
    /// In -dBm0, 0 to 63.
    pub volume: u8,
    /// In timestamp units since the packet's timestamp.
    pub duration: u16,
}

impl Event {
    /// `None` for fewer than four bytes; more are ignored.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, d0, d1] = *payload.first_chunk()?;
        Some(Self { code, end: flags & 0x80 != 0, volume: flags & 0x3f, duration: u16::from_be_bytes([d0, d1]) })
    }

    pub const fn to_bytes(self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [self.code, ((self.end as u8) << 7) | (self.volume & 0x3f), d0, d1]
    }
}

/// Makes one digit of each keypress, at the first of its packets that arrives: whichever of them are lost or doubled, the
/// timestamp names the event.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    ssrc: u32,
    timestamp: u32,
    code: u8,
    ended: bool,
}

impl Receiver {
    pub fn receive(&mut self, ssrc: u32, timestamp: u32, payload: &[u8]) -> Option<char> {
        let event = Event::parse(payload)?;
        let digit = *DIGITS.get(usize::from(event.code))?;
        let next = Last { ssrc, timestamp, code: event.code, ended: event.end };
        let Some(last) = self.last.as_mut().filter(|last| last.ssrc == ssrc) else {
            self.last = Some(next);
            return Some(digit);
        };
        if last.timestamp == timestamp {
            last.ended |= event.end;
            return None;
        }
        if last.timestamp.wrapping_sub(timestamp) <= LATE_MAX {
            return None;
        }
        let segment =
            !last.ended && last.code == event.code && timestamp == last.timestamp.wrapping_add(SEGMENT_DURATION);
        self.last = Some(next);
        (!segment).then_some(digit)
    }
}

/// The packets of one keypress, one each 20 ms: the first with the marker bit, the last three with the end bit (RFC 4733
/// 2.5.1.4). All carry the timestamp of the press.
#[derive(Clone, Debug)]
pub struct Press {
    code: u8,
    duration: u16,
    sent: u16,
    ends: u8,
}

/// 20 ms in timestamp units.
const STEP: u16 = 160;
const END_PACKETS: u8 = 3;
/// 4 s.
const PRESS_MS_MAX: u32 = 4_000;
const VOLUME: u8 = 10;

impl Press {
    /// `None` for a character that is no digit. The duration is kept between 40 ms and 4 s, in whole 20 ms.
    pub fn new(digit: char, duration_ms: u32) -> Option<Self> {
        let duration = duration_ms.clamp(40, PRESS_MS_MAX) / 20 * 160;
        Some(Self { code: event_of(digit)?, duration: duration as u16, sent: 0, ends: 0 })
    }
}

/// The marker bit and the payload.
impl Iterator for Press {
    type Item = (bool, [u8; 4]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ends == END_PACKETS {
            return None;
        }
        let marker = self.sent == 0;
        self.sent = (self.sent + STEP).min(self.duration);
        let end = self.sent == self.duration;
        self.ends += u8::from(end);
        let event = Event { code: self.code, end, volume: VOLUME, duration: self.sent };
        Some((marker, event.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_press_has_a_marker_and_three_ends() {
        let packets: Vec<_> = Press::new('#', 100).expect("a digit").collect();
        let told: Vec<_> = packets
            .iter()
            .filter_map(|(marker, payload)| Event::parse(payload).map(|e| (*marker, e.code, e.end, e.duration)))
            .collect();
        assert_eq!(
            told,
            [
                (true, 11, false, 160),
                (false, 11, false, 320),
                (false, 11, false, 480),
                (false, 11, false, 640),
                (false, 11, true, 800),
                (false, 11, true, 800),
                (false, 11, true, 800)
            ]
        );
        assert!(Press::new('x', 100).is_none());
        assert_eq!(Press::new('d', 0).map(Iterator::count), Some(4));
    }

    #[test]
    fn one_digit_a_timestamp() {
        let check = |packets: &[(u32, u32, [u8; 4])], expect: &str| {
            let mut receiver = Receiver::default();
            let digits: String = packets.iter().filter_map(|(s, t, p)| receiver.receive(*s, *t, p)).collect();
            assert_eq!(digits, expect, "{packets:?}");
        };
        let (start, end) = ([5, 10, 0, 160], [5, 0x8a, 3, 0x20]);
        check(&[(1, 100, start), (1, 100, end), (1, 100, end), (1, 100, end)], "5");
        // The start lost, the end lost.
        check(&[(1, 100, end)], "5");
        check(&[(1, 100, start), (1, 2_000, start)], "55");
        // A late packet of the digit before.
        check(&[(1, 100, start), (1, 2_000, [6, 10, 0, 160]), (1, 100, end)], "56");
        // Another source, or a clock that went far back, is a new press.
        check(&[(1, 500_000, start), (2, 500_000, start)], "55");
        check(&[(1, 500_000, start), (1, 100, start)], "55");
        // One long press in segments.
        check(&[(1, 100, [5, 10, 0xff, 0xff]), (1, 100 + 0xffff, start), (1, 100 + 0xffff, end)], "5");
        // Flash (16) and short payloads are no digits.
        check(&[(1, 100, [16, 10, 0, 160])], "");
        assert_eq!(Receiver::default().receive(1, 1, &[5, 10, 0]), None);
    }

    proptest! {
        #[test]
        fn every_press_is_one_digit_under_loss_and_doubling(
            digits in prop::collection::vec(0usize..16, 1..20),
            fate in prop::collection::vec(0u8..3, 400),
        ) {
            let mut receiver = Receiver::default();
            let (mut sent, mut got) = (String::new(), String::new());
            let mut fate = fate.into_iter();
            let mut timestamp = u32::MAX - 4_000;
            for digit in digits.iter().map(|code| DIGITS[*code]) {
                let mut arrived = false;
                for (_, payload) in Press::new(digit, 120).expect("a digit") {
                    // Lost, once, twice.
                    for _ in 0..fate.next().unwrap_or(1) {
                        arrived = true;
                        got.extend(receiver.receive(9, timestamp, &payload));
                    }
                }
                if arrived {
                    sent.push(digit);
                }
                timestamp = timestamp.wrapping_add(3_200);
            }
            prop_assert_eq!(sent, got);
        }

        #[test]
        fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..8), timestamp in any::<u32>()) {
            Receiver::default().receive(1, timestamp, &payload);
        }
    }
}
