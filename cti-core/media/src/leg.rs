//! One leg's media: which packets count as the peer's, what they carry, and one unbroken outgoing stream whatever feeds it.
//!
//! **Ask `receive` about each datagram; send what `relay` and `frame` return.** The stream that leaves has one SSRC and a
//! sequence without gaps of our making for the whole life of the leg; a change between relay and prompt shows only as a
//! marker bit and the time that passed.

use std::net::SocketAddr;

use cti_base::Timestamp;

use crate::dtmf;
use crate::g711;
use crate::rtcp;
use crate::rtp::{self, FRAME_SAMPLES, HEADER_LEN, Header, PAYLOAD_LEN_MAX, Reception};
use crate::sdp::DTMF_PAYLOAD_TYPE;
use crate::{Codec, LegMedia, LegStats};

/// A prompt's packet: header and at most 20 ms of G.711.
pub const FRAME_LEN: usize = HEADER_LEN + FRAME_SAMPLES;

#[derive(Clone, Debug)]
pub struct Leg {
    media: Option<LegMedia>,
    /// Where the peer said it is.
    expected: Option<SocketAddr>,
    latch: Option<(SocketAddr, Rank)>,
    heard_at: Option<Timestamp>,
    reception: Reception,
    digits: dtmf::Receiver,
    clock: Clock,
    strangers: u64,
    out: Outgoing,
    remote: rtcp::Remote,
}

/// How sure we are that a source is the peer; a better one replaces a worse one, an equal one is a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Another address than the one described: a peer behind a NAT.
    Elsewhere,
    /// The address described, another port.
    SameAddress,
    /// As described.
    Exact,
}

/// What a datagram came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Audio {
        /// Its timestamp is in 1/8000 s, whatever the codec's clock.
        header: Header,
        codec: Codec,
    },
    /// A packet of a telephone-event; `digit` at the first of each keypress.
    Event {
        header: Header,
        digit: Option<char>,
    },
    Dropped(Dropped),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nothing is settled yet, or the peer should not be sending.
    Unwanted,
    /// Not from the peer. Counted.
    Stranger,
    /// Not RTP.
    Malformed,
    /// RTP of a payload type that was not settled (comfort noise, another codec), or a wild sequence number.
    Unknown,
}

/// A packet of a key that we press, and where it goes.
pub type Pressed = (SocketAddr, [u8; EVENT_LEN]);
const EVENT_LEN: usize = HEADER_LEN + 4;

/// What may be relayed to another leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Audio(Codec),
    Event,
}

/// A stream's clock in 1/8000 s: its own begins at any number, so only the way since then can be divided.
#[derive(Clone, Debug, Default)]
struct Clock {
    /// Of which stream, and the same moment by both clocks.
    at: Option<(u32, u32, u32)>,
}

#[derive(Clone, Debug)]
struct Outgoing {
    ssrc: u32,
    /// Of the last packet sent.
    sequence: u16,
    /// Of the last packet that moved it on, in 1/8000 s, and when that was.
    timestamp: u32,
    moved_at: Option<Timestamp>,
    feed: Feed,
    packets: u64,
    octets: u64,
}

#[derive(Clone, Copy, Debug)]
enum Feed {
    None,
    Relay {
        ssrc: u32,
        /// The highest incoming sequence number.
        highest: u16,
        /// How many numbers lie between the first relayed packet and the highest.
        run: u16,
        sequence_offset: u16,
        timestamp_offset: u32,
    },
    Frames {
        tick: u64,
        timestamp: u32,
    },
}

impl Leg {
    /// A leg that drops everything until it is connected. The three numbers of its outgoing stream should be random
    /// (RFC 3550 5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            media: None,
            expected: None,
            latch: None,
            heard_at: None,
            reception: Reception::default(),
            digits: dtmf::Receiver::default(),
            clock: Clock::default(),
            strangers: 0,
            out: Outgoing { ssrc, sequence, timestamp, moved_at: None, feed: Feed::None, packets: 0, octets: 0 },
            remote: rtcp::Remote::default(),
        }
    }

    /// Takes what offer and answer settled. Another address than before makes the leg learn its peer anew; a hold without
    /// an address does not.
    pub fn connect(&mut self, media: LegMedia) {
        if let Some(address) = media.remote_rtp
            && self.expected != Some(address)
        {
            self.expected = Some(address);
            self.latch = None;
        }
        self.media = Some(media);
    }

    /// Reads one datagram from the leg's RTP socket.
    pub fn receive(&mut self, now: Timestamp, from: SocketAddr, datagram: &[u8]) -> Incoming {
        let Some(media) = &self.media else { return Incoming::Dropped(Dropped::Unwanted) };
        let Ok(mut header) = Header::parse(datagram) else { return Incoming::Dropped(Dropped::Malformed) };
        let Some(content) = content_of(media, header.payload_type) else {
            // It makes no peer, but may be the peer's.
            let stranger = self.latched().is_some_and(|latched| latched != from);
            self.strangers += u64::from(stranger);
            return Incoming::Dropped(if stranger { Dropped::Stranger } else { Dropped::Unknown });
        };
        if header.payload.len() > PAYLOAD_LEN_MAX {
            return Incoming::Dropped(Dropped::Malformed);
        }
        let (receives, ticks) = (media.direction.receives(), media.codec.ticks());
        if !self.admit(from) {
            self.strangers += 1;
            return Incoming::Dropped(Dropped::Stranger);
        }
        header.timestamp = self.clock.narrow(header.ssrc, header.timestamp, ticks);
        let arrival = matches!(content, Content::Audio(_)).then(|| rtp_units(now));
        if !self.reception.update(header.ssrc, header.sequence, header.timestamp, arrival) {
            return Incoming::Dropped(Dropped::Unknown);
        }
        self.heard_at = Some(now);
        if !receives {
            return Incoming::Dropped(Dropped::Unwanted);
        }
        match content {
            Content::Audio(codec) => Incoming::Audio { header, codec },
            Content::Event => {
                let payload = &datagram[header.payload.clone()];
                let digit = self.digits.receive(header.ssrc, header.timestamp, payload);
                Incoming::Event { header, digit }
            }
        }
    }

    /// Rewrites a packet of another leg, in place, as the next of this leg's stream, and says where it goes. `None` where
    /// the peer takes nothing, no telephone-event, or the packet is older than this relay.
    pub fn relay<'a>(
        &mut self,
        now: Timestamp,
        mut header: Header,
        content: Content,
        datagram: &'a mut [u8],
    ) -> Option<(SocketAddr, &'a [u8])> {
        let target = self.target()?;
        let media = self.media.as_ref()?;
        let (codec, payload_type) = match content {
            Content::Audio(codec) => (codec, media.payload_type),
            Content::Event => (media.codec, media.dtmf_payload_type?),
        };
        if !codec.relays_to(media.codec) {
            return None;
        }
        let fresh = self.out.follow(now, &mut header)?;
        header.timestamp = header.timestamp.wrapping_mul(media.codec.ticks());
        header.payload_type = payload_type;
        header.marker |= fresh;
        if let (Content::Audio(_), Some(from), Some(to)) = (content, codec.law(), media.codec.law()) {
            g711::transcode(datagram.get_mut(header.payload.clone())?, from, to);
        }
        let packet = header.write_before(datagram)?;
        self.out.count(packet.len());
        Some((target, packet))
    }

    /// Writes the header of a packet of 20 ms; `tick` counts the worker's 20 ms steps, and one that was left out is a gap of
    /// time, not of sequence. Returns where the packet goes; `None` where the peer takes nothing.
    pub fn frame(&mut self, now: Timestamp, tick: u64, packet: &mut [u8]) -> Option<SocketAddr> {
        let target = self.target()?;
        let (payload_type, ticks) = self.media.as_ref().map(|media| (media.payload_type, media.codec.ticks()))?;
        let marker = self.out.step(now, tick);
        if let Some(header) = packet.first_chunk_mut() {
            let timestamp = self.out.timestamp.wrapping_mul(ticks);
            rtp::write(header, marker, payload_type, self.out.sequence, timestamp, self.out.ssrc);
        }
        self.out.count(packet.len());
        Some(target)
    }

    /// Writes one packet of a key that we press, `first` of it or a later one, which has the same timestamp; steps are counted
    /// as in `frame`. `None` where the peer takes no telephone-event.
    pub fn press(&mut self, now: Timestamp, tick: u64, first: bool, event: dtmf::Event) -> Option<Pressed> {
        let target = self.target()?;
        let media = self.media.as_ref()?;
        let (payload_type, ticks) = (media.dtmf_payload_type?, media.codec.ticks());
        if first {
            self.out.step(now, tick);
        } else {
            self.out.sequence = self.out.sequence.wrapping_add(1);
        }
        let duration = (u32::from(event.duration) * ticks).min(u32::from(u16::MAX)) as u16;
        let mut packet = [0; EVENT_LEN];
        packet[HEADER_LEN..].copy_from_slice(&dtmf::Event { duration, ..event }.to_bytes());
        if let Some(header) = packet.first_chunk_mut() {
            let timestamp = self.out.timestamp.wrapping_mul(ticks);
            rtp::write(header, first, payload_type, self.out.sequence, timestamp, self.out.ssrc);
        }
        self.out.count(packet.len());
        Some((target, packet))
    }

    /// The next frame begins a new talkspurt: playing starts after a pause, in which ticks were not counted on.
    pub fn begin_frames(&mut self) {
        self.out.feed = Feed::None;
    }

    /// Reads a datagram from the leg's RTCP socket; `false` for a stranger's or one that is not RTCP.
    pub fn receive_rtcp(&mut self, now: Timestamp, from: SocketAddr, datagram: &[u8]) -> bool {
        let known = [self.latched(), self.expected, self.media.as_ref().and_then(|media| media.remote_rtcp)];
        if !known.into_iter().flatten().any(|address| address.ip() == from.ip()) {
            return false;
        }
        self.remote.receive(now, self.out.ssrc, datagram).is_ok()
    }

    /// Writes a report of both directions (SR where we sent, else RR) with our name, and where it goes.
    pub fn report(&mut self, now: Timestamp, bye: bool, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let media = self.media.as_ref()?;
        let target = match (media.remote_rtcp, self.latched().or(self.expected)) {
            (Some(rtcp), _) => rtcp,
            (None, Some(rtp)) => SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?),
            (None, None) => return None,
        };
        let ticks = media.codec.ticks();
        let sent = self.out.moved_at.map(|moved_at| rtcp::Sent {
            at: now,
            timestamp: self.out.timestamp.wrapping_add(units(now.since(moved_at))).wrapping_mul(ticks),
            packets: self.out.packets as u32,
            octets: self.out.octets as u32,
        });
        // The peer reads jitter by its own stream's clock.
        let heard =
            self.reception.report().map(|report| rtp::Report { jitter: report.jitter.saturating_mul(ticks), ..report });
        rtcp::write(out, self.out.ssrc, sent, heard.map(|report| (report, self.remote.last_sender_report(now))), bye);
        Some(target)
    }

    pub fn media(&self) -> Option<&LegMedia> {
        self.media.as_ref()
    }

    /// Where audio for the peer goes; `None` while it takes none or nobody knows where it is.
    pub fn target(&self) -> Option<SocketAddr> {
        let sends = self.media.as_ref().is_some_and(|media| media.direction.sends());
        if sends { self.latched().or(self.expected) } else { None }
    }

    /// When the last packet of the peer came.
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.heard_at
    }

    pub fn stats(&self) -> LegStats {
        let ticks = self.media.as_ref().map_or(1, |media| media.codec.ticks());
        LegStats {
            packets_in: self.reception.received(),
            packets_out: self.out.packets,
            lost_in: self.reception.lost(),
            jitter: self.reception.jitter(),
            strangers: self.strangers,
            lost_out: self.remote.reported.then(|| self.remote.lost.max(0).unsigned_abs()),
            jitter_out: self.remote.reported.then(|| self.remote.jitter / ticks),
            round_trip_us: self.remote.round_trip_us,
        }
    }

    fn latched(&self) -> Option<SocketAddr> {
        self.latch.map(|(address, _)| address)
    }

    /// Whether `from` is the peer; learns it where nobody better is known.
    fn admit(&mut self, from: SocketAddr) -> bool {
        if let Some((latched, rank)) = self.latch
            && (latched == from || rank == Rank::Exact)
        {
            return latched == from;
        }
        let rank = match self.expected {
            Some(expected) if expected == from => Rank::Exact,
            Some(expected) if expected.ip() == from.ip() => Rank::SameAddress,
            Some(_) | None => Rank::Elsewhere,
        };
        if self.latch.is_some_and(|(_, known)| known >= rank) {
            return false;
        }
        self.latch = Some((from, rank));
        true
    }
}

impl Clock {
    fn narrow(&mut self, ssrc: u32, timestamp: u32, ticks: u32) -> u32 {
        if ticks == 1 {
            return timestamp;
        }
        let Some((_, wide, narrow)) = self.at.as_mut().filter(|(of, ..)| *of == ssrc) else {
            self.at = Some((ssrc, timestamp, timestamp));
            return timestamp;
        };
        let whole = (timestamp.wrapping_sub(*wide) as i32).div_euclid(ticks as i32);
        let at = narrow.wrapping_add(whole as u32);
        if whole > 0 {
            (*wide, *narrow) = (wide.wrapping_add(whole as u32 * ticks), at);
        }
        at
    }
}

impl Outgoing {
    /// Puts a relayed packet into this stream: its numbers keep their distances, so that losses and reordering stay
    /// visible. Returns whether the relay begins with it; `None` for a packet from before the beginning.
    fn follow(&mut self, now: Timestamp, header: &mut Header) -> Option<bool> {
        /// Beyond this a jump is a new beginning.
        const AHEAD_MAX: u16 = 3_000;
        const BEHIND_MAX: u16 = 100;
        if let Feed::Relay { ssrc, highest, run, sequence_offset, timestamp_offset } = &mut self.feed
            && *ssrc == header.ssrc
        {
            let ahead = header.sequence.wrapping_sub(*highest);
            let behind = highest.wrapping_sub(header.sequence);
            if behind <= BEHIND_MAX && behind > *run {
                return None;
            }
            if ahead < AHEAD_MAX || behind <= BEHIND_MAX {
                header.sequence = header.sequence.wrapping_add(*sequence_offset);
                header.timestamp = header.timestamp.wrapping_add(*timestamp_offset);
                header.ssrc = self.ssrc;
                if ahead < AHEAD_MAX {
                    *highest = highest.wrapping_add(ahead);
                    *run = run.saturating_add(ahead);
                    self.sequence = header.sequence;
                    self.advance(now, header.timestamp);
                }
                return Some(false);
            }
        }
        let (sequence, timestamp) = (self.sequence.wrapping_add(1), self.next_timestamp(now));
        self.feed = Feed::Relay {
            ssrc: header.ssrc,
            highest: header.sequence,
            run: 0,
            sequence_offset: sequence.wrapping_sub(header.sequence),
            timestamp_offset: timestamp.wrapping_sub(header.timestamp),
        };
        (header.sequence, header.timestamp, header.ssrc) = (sequence, timestamp, self.ssrc);
        self.sequence = sequence;
        self.advance(now, timestamp);
        Some(true)
    }

    /// Moves on by one frame; returns whether frames begin with it.
    fn step(&mut self, now: Timestamp, tick: u64) -> bool {
        self.sequence = self.sequence.wrapping_add(1);
        if let Feed::Frames { tick: last, timestamp } = self.feed {
            let timestamp = timestamp.wrapping_add(tick.wrapping_sub(last) as u32 * FRAME_SAMPLES as u32);
            self.feed = Feed::Frames { tick, timestamp };
            self.advance(now, timestamp);
            return false;
        }
        let timestamp = self.next_timestamp(now);
        self.feed = Feed::Frames { tick, timestamp };
        self.advance(now, timestamp);
        true
    }

    /// Where the stream's clock stands after what was sent last: the time that passed, at least one frame.
    fn next_timestamp(&self, now: Timestamp) -> u32 {
        let Some(moved_at) = self.moved_at else { return self.timestamp };
        self.timestamp.wrapping_add(units(now.since(moved_at)).max(FRAME_SAMPLES as u32))
    }

    fn advance(&mut self, now: Timestamp, timestamp: u32) {
        // The packets of one telephone-event repeat their timestamp while time goes on.
        if self.timestamp != timestamp || self.moved_at.is_none() {
            (self.timestamp, self.moved_at) = (timestamp, Some(now));
        }
    }

    fn count(&mut self, packet_len: usize) {
        self.packets += 1;
        self.octets += (packet_len - HEADER_LEN) as u64;
    }
}

/// What a payload type means on a leg. A static number means its codec on every leg (RFC 3551), and our offers name our
/// own number for telephone-event, which a peer may send though it receives another.
fn content_of(media: &LegMedia, payload_type: u8) -> Option<Content> {
    match payload_type {
        _ if payload_type == media.payload_type => Some(Content::Audio(media.codec)),
        _ if Some(payload_type) == media.dtmf_payload_type => Some(Content::Event),
        0 => Some(Content::Audio(Codec::Pcmu)),
        8 => Some(Content::Audio(Codec::Pcma)),
        DTMF_PAYLOAD_TYPE => Some(Content::Event),
        _ => None,
    }
}

/// A moment in timestamp units, modulo 2^32.
fn rtp_units(at: Timestamp) -> u32 {
    (at.as_micros() / 125) as u32
}

fn units(passed: std::time::Duration) -> u32 {
    (passed.as_micros() / 125) as u32
}

#[cfg(test)]
mod tests;
