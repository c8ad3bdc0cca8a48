//! RTCP (RFC 3550 6): sender and receiver reports with our name, and what the peer's reports say.

use cti_base::Timestamp;

use crate::rtp::Report;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
/// Packets of one datagram that are read.
const PACKETS_MAX: usize = 16;
/// Seconds between NTP's epoch of 1900 and Unix's.
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;

/// What we sent so far, for a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub at: Timestamp,
    /// What our stream's timestamp would be at `at`.
    pub timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// The last sender report of the peer, as a report block echoes it (RFC 3550 6.4.1: LSR, DLSR).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The middle 32 bits of its NTP time; 0 where there was none.
    pub ntp_middle: u32,
    /// Since it came, in 1/65,536 s.
    pub delay: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    #[error("the RTCP packet is cut off")]
    CutOff,
    #[error("version {0} is not RTP's version 2")]
    Version(u8),
    #[error("the first RTCP packet is of type {0}, not a report")]
    NoReport(u8),
}

/// What the peer's reports told.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    sender_report: Option<(u32, Timestamp)>,
    /// The peer has told of our stream.
    pub reported: bool,
    /// Of our packets, as the peer counts them.
    pub lost: i32,
    /// Of our stream, at the peer, in timestamp units.
    pub jitter: u32,
    /// There and back, in microseconds, by the last report that echoed ours.
    pub round_trip_us: Option<u32>,
    pub bye: bool,
}

/// Writes a compound packet: a report, SDES with the CNAME, and BYE where asked.
pub fn write(out: &mut Vec<u8>, ssrc: u32, sent: Option<Sent>, heard: Option<(Report, Echo)>, bye: bool) {
    out.clear();
    let blocks = u8::from(heard.is_some());
    let words = 1 + if sent.is_some() { 5 } else { 0 } + 6 * u16::from(blocks);
    let kind = if sent.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
    head(out, blocks, kind, words);
    out.extend_from_slice(&ssrc.to_be_bytes());
    if let Some(sent) = sent {
        out.extend_from_slice(&ntp(sent.at).to_be_bytes());
        for word in [sent.timestamp, sent.packets, sent.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    if let Some((report, echo)) = heard {
        let lost = report.lost as u32 & 0xff_ffff;
        let first = (u32::from(report.fraction_lost) << 24) | lost;
        for word in [report.ssrc, first, report.highest_extended, report.jitter, echo.ntp_middle, echo.delay] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    // A CNAME that says nothing of the host (RFC 7022): eight hex digits of the SSRC, and the end of the list.
    head(out, 1, SOURCE_DESCRIPTION, 4);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, 8]);
    for byte in ssrc.to_be_bytes() {
        out.extend([byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]));
    }
    out.extend_from_slice(&[0, 0]);
    if bye {
        head(out, 1, BYE, 1);
        out.extend_from_slice(&ssrc.to_be_bytes());
    }
}

/// The common header; `words` of 32 bits follow it.
fn head(out: &mut Vec<u8>, count: u8, kind: u8, words: u16) {
    out.extend_from_slice(&[0x80 | count, kind]);
    out.extend_from_slice(&words.to_be_bytes());
}

impl Remote {
    /// Reads a compound packet. Blocks about other streams than `our_ssrc` and packets of other types are passed over.
    pub fn receive(&mut self, now: Timestamp, our_ssrc: u32, datagram: &[u8]) -> Result<(), RtcpError> {
        let mut rest = datagram;
        let mut first = true;
        for _ in 0..PACKETS_MAX {
            let [flags, kind, l0, l1] = *rest.first_chunk().ok_or(RtcpError::CutOff)?;
            if flags >> 6 != 2 {
                return Err(RtcpError::Version(flags >> 6));
            }
            if first && kind != SENDER_REPORT && kind != RECEIVER_REPORT {
                return Err(RtcpError::NoReport(kind));
            }
            first = false;
            let end = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
            let body = rest.get(4..end).ok_or(RtcpError::CutOff)?;
            match kind {
                SENDER_REPORT => {
                    let middle = word(body, 1).zip(word(body, 2)).ok_or(RtcpError::CutOff)?;
                    self.sender_report = Some(((middle.0 << 16) | (middle.1 >> 16), now));
                    self.blocks(now, our_ssrc, usize::from(flags & 31), body.get(24..).ok_or(RtcpError::CutOff)?)?;
                }
                RECEIVER_REPORT => {
                    self.blocks(now, our_ssrc, usize::from(flags & 31), body.get(4..).ok_or(RtcpError::CutOff)?)?;
                }
                BYE => self.bye = true,
                _ => {}
            }
            rest = &rest[end..];
            if rest.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    pub fn last_sender_report(&self, now: Timestamp) -> Echo {
        self.sender_report.map_or(Echo::default(), |(ntp_middle, at)| Echo {
            ntp_middle,
            delay: (now.since(at).as_micros() * 65_536 / 1_000_000).min(u128::from(u32::MAX)) as u32,
        })
    }

    fn blocks(&mut self, now: Timestamp, our_ssrc: u32, count: usize, body: &[u8]) -> Result<(), RtcpError> {
        for index in 0..count {
            let block = body.get(24 * index..24 * (index + 1)).ok_or(RtcpError::CutOff)?;
            let at = |n| word(block, n).unwrap_or(0);
            if at(0) != our_ssrc {
                continue;
            }
            // 24 bits, signed.
            self.reported = true;
            self.lost = ((at(1) << 8) as i32) >> 8;
            self.jitter = at(3);
            if at(4) != 0 {
                let middle = (ntp(now) >> 16) as u32;
                let round_trip = middle.wrapping_sub(at(4)).wrapping_sub(at(5));
                // Beyond a minute it is somebody's wrong clock.
                if round_trip < 60 << 16 {
                    self.round_trip_us = Some((u64::from(round_trip) * 1_000_000 / 65_536) as u32);
                }
            }
        }
        Ok(())
    }
}

fn word(bytes: &[u8], index: usize) -> Option<u32> {
    bytes.get(4 * index..).and_then(|rest| rest.first_chunk()).map(|word| u32::from_be_bytes(*word))
}

/// NTP's 64 bits: seconds since 1900 and the fraction.
fn ntp(at: Timestamp) -> u64 {
    let (seconds, micros) = (at.as_micros() / 1_000_000, at.as_micros() % 1_000_000);
    ((seconds + NTP_UNIX_SECONDS) << 32) | ((micros << 32) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_763_000_000_500);
    const REPORT: Report = Report { ssrc: 0xaa, fraction_lost: 3, lost: -2, highest_extended: 70_000, jitter: 11 };

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let mut out = Vec::new();
        let sent = Sent { at: NOW, timestamp: 5, packets: 6, octets: 7 };
        write(&mut out, 0xbb, Some(sent), None, false);
        assert_eq!(out.len(), 28 + 20);
        let mut a = Remote::default();
        a.receive(NOW, 0xaa, &out).expect("a report");
        // Half a second after a full one is 0x8000 in the middle bits.
        assert_eq!(a.last_sender_report(NOW).ntp_middle & 0xffff, 0x8000);
        let later = NOW + Duration::from_millis(500);
        let echo = a.last_sender_report(later);
        assert_eq!(echo.delay, 32_768);

        write(&mut out, 0xaa, None, Some((Report { ssrc: 0xbb, ..REPORT }, echo)), true);
        assert_eq!(out.len(), 32 + 20 + 8);
        let mut b = Remote::default();
        b.receive(later + Duration::from_millis(30), 0xbb, &out).expect("a report");
        assert_eq!((b.lost, b.jitter, b.bye), (-2, 11, true));
        let round_trip = b.round_trip_us.expect("an echo");
        assert!((29_900..30_100).contains(&round_trip), "{round_trip}");
        // A block about another stream says nothing of ours.
        let mut c = Remote::default();
        c.receive(later, 0xcc, &out).expect("a report");
        assert_eq!((c.lost, c.jitter), (0, 0));
    }

    #[test]
    fn broken_reports_are_refused() {
        let check = |bytes: &[u8], expect: RtcpError| {
            assert_eq!(Remote::default().receive(NOW, 1, bytes), Err(expect), "{bytes:?}");
        };
        check(&[], RtcpError::CutOff);
        check(&[0x80, 201, 0, 1, 0, 0], RtcpError::CutOff);
        check(&[0x81, 201, 0, 1, 0, 0, 0, 1], RtcpError::CutOff);
        check(&[0x40, 201, 0, 0], RtcpError::Version(1));
        check(&[0x80, 202, 0, 0], RtcpError::NoReport(202));
        check(&[0x80, 200, 0, 1, 0, 0, 0, 1], RtcpError::CutOff);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), report in any::<bool>()) {
            if report && bytes.len() > 3 {
                bytes[..3].copy_from_slice(&[0x81, 200, 0]);
            }
            let _ = Remote::default().receive(NOW, 1, &bytes);
        }
    }
}
