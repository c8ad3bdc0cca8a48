//! One browser's connection: the only code that touches str0m. It panics on broken invariants by its own design, so each step
//! is caught: a browser that is lost that way makes a new connection.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use cti_base::Timestamp;
use cti_media::leg::{Content, Leg};
use cti_media::rtp::{self, HEADER_LEN, Header};
use cti_media::{Codec, LegMedia};
use str0m::change::SdpOffer;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcConfig, RtcError};

use super::socket::Listening;

/// What a step brought.
pub enum Said {
    /// ICE and DTLS are done.
    Up,
    /// The browser is not heard any more, but may come back.
    Down,
    /// A whole RTP packet.
    Audio(Vec<u8>),
}

pub struct Device {
    rtc: Rtc,
    /// Our half of the ICE user name.
    pub ufrag: String,
    /// When `Device::timeout` is due.
    pub due: Instant,
    mid: Option<Mid>,
    /// What leaves is one stream for the connection's whole life, whichever calls feed it.
    out: Leg,
    /// The extended sequence number of the last packet that left.
    sequence: u64,
}

impl Device {
    /// Takes a page's offer; the device and the answer. An error is for a person.
    pub fn accept(now: Instant, offer: &str, told: &[SocketAddr], numbers: [u32; 2]) -> Result<(Self, String), String> {
        let made = catch_unwind(AssertUnwindSafe(|| Self::make(now, offer, told, numbers)));
        made.unwrap_or_else(|_| Err("it is none that this server can work with".to_owned()))
    }

    fn make(
        now: Instant,
        offer: &str,
        told: &[SocketAddr],
        [ssrc, numbers]: [u32; 2],
    ) -> Result<(Self, String), String> {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| error.to_string())?;
        let config = RtcConfig::new().set_ice_lite(true).set_rtp_mode(true).clear_codecs();
        let mut rtc = config.enable_pcma(true, false).enable_pcmu(true, false).build(now);
        for address in told {
            let candidate = Candidate::host(*address, Protocol::Udp).map_err(|error| error.to_string())?;
            rtc.add_local_candidate(candidate);
        }
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| error.to_string())?;
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        // The first packet's number is below 2^16, where its receiver begins to count (RFC 3711 3.3.1), and far from the wrap.
        let sequence = numbers as u16 & 0x3fff;
        let mut out = Leg::new(ssrc, sequence, numbers);
        out.connect(LegMedia::browser(Codec::Pcma));
        let device = Self { rtc, ufrag, due: now, mid: None, out, sequence: u64::from(sequence) };
        Ok((device, answer.to_sdp_string()))
    }

    /// One datagram from the browser; `false` where the device is of no use any more, as for all of these.
    pub fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
        sockets: &[Listening],
        said: &mut Vec<Said>,
    ) -> bool {
        self.step(sockets, said, |device| {
            // What is no packet at all is nothing to be told of: anybody can send it.
            let Ok(receive) = Receive::new(Protocol::Udp, from, to, datagram) else { return Ok(()) };
            device.rtc.handle_input(Input::Receive(now, receive))
        })
    }

    pub fn timeout(&mut self, now: Instant, sockets: &[Listening], said: &mut Vec<Said>) -> bool {
        self.step(sockets, said, |device| device.rtc.handle_input(Input::Timeout(now)))
    }

    /// One RTP packet of a call for the browser.
    pub fn send(
        &mut self,
        now: Instant,
        at: Timestamp,
        packet: &mut [u8],
        sockets: &[Listening],
        said: &mut Vec<Said>,
    ) -> bool {
        self.step(sockets, said, |device| {
            device.write(now, at, packet);
            Ok(())
        })
    }

    /// Tells the browser that this is the end.
    pub fn end(&mut self, sockets: &[Listening]) {
        let mut said = Vec::new();
        self.step(sockets, &mut said, |device| device.rtc.close());
    }

    fn write(&mut self, now: Instant, at: Timestamp, packet: &mut [u8]) {
        let Some(mid) = self.mid.filter(|_| self.rtc.is_connected()) else { return };
        let Ok(header) = Header::parse(packet) else { return };
        let codec = match header.payload_type {
            0 => Codec::Pcmu,
            8 => Codec::Pcma,
            _ => return,
        };
        if self.out.media().is_none_or(|media| media.codec != codec) {
            self.out.connect(LegMedia::browser(codec));
        }
        let Some((_, packet)) = self.out.relay(at, header, Content::Audio(codec), packet) else { return };
        let Ok(header) = Header::parse(packet) else { return };
        let sequence = extend(self.sequence, header.sequence);
        self.sequence = self.sequence.max(sequence);
        let payload = &packet[header.payload.clone()];
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(mid, None) else { return };
        let write = RtpWrite::new(header.payload_type.into(), sequence.into(), header.timestamp, now, payload);
        stream.write_rtp(write.marker(header.marker));
    }

    /// One change, and everything that follows from it.
    fn step(
        &mut self,
        sockets: &[Listening],
        said: &mut Vec<Said>,
        change: impl FnOnce(&mut Self) -> Result<(), RtcError>,
    ) -> bool {
        let done = catch_unwind(AssertUnwindSafe(|| {
            change(self)?;
            self.drain(sockets, said)
        }));
        match done {
            Ok(Ok(())) => self.rtc.is_alive(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a browser's connection ends");
                false
            }
            Err(_) => {
                tracing::error!("a browser's connection broke within the program: the browser makes a new one");
                false
            }
        }
    }

    fn drain(&mut self, sockets: &[Listening], said: &mut Vec<Said>) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(due) => {
                    self.due = due;
                    return Ok(());
                }
                Output::Transmit(transmit) => {
                    let socket = sockets.iter().find(|socket| socket.told == transmit.source);
                    let sent = socket.map(|socket| socket.socket.send_to(&transmit.contents, transmit.destination));
                    if let Some(Err(error)) = sent {
                        tracing::trace!(%error, to = %transmit.destination, "a packet to a browser can not be sent");
                    }
                }
                Output::Event(event) => self.event(event, said),
            }
        }
    }

    fn event(&mut self, event: Event, said: &mut Vec<Said>) {
        match event {
            Event::Connected => said.push(Said::Up),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => said.push(Said::Down),
            Event::IceConnectionStateChange(_) if self.rtc.is_connected() => said.push(Said::Up),
            Event::MediaAdded(media) => self.mid = Some(media.mid),
            Event::RtpPacket(packet) => said.extend(plain(&packet).map(Said::Audio)),
            // What concerns video, data channels and statistics.
            _ => {}
        }
    }
}

/// How long until `due`.
pub fn until(now: Instant, due: Instant) -> Duration {
    due.saturating_duration_since(now)
}

/// The packet as it would have come without SRTP.
fn plain(packet: &RtpPacket) -> Option<Vec<u8>> {
    let header = &packet.header;
    let mut plain = vec![0; HEADER_LEN + packet.payload.len()];
    plain[HEADER_LEN..].copy_from_slice(&packet.payload);
    let fixed = plain.first_chunk_mut()?;
    let payload_type = *header.payload_type;
    rtp::write(fixed, header.marker, payload_type, header.sequence_number, header.timestamp, *header.ssrc);
    Some(plain)
}

/// The extended number that is nearest to the last.
fn extend(last: u64, number: u16) -> u64 {
    let ahead = number.wrapping_sub(last as u16) as i16;
    last.saturating_add_signed(i64::from(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_beyond_their_sixteen_bits() {
        let check = |last: u64, number: u16, expect: u64| assert_eq!(extend(last, number), expect, "{last} {number}");
        check(10, 11, 11);
        check(10, 9, 9);
        check(65_535, 0, 65_536);
        check(65_536, 65_535, 65_535);
        check(3 * 65_536 + 65_530, 4, 4 * 65_536 + 4);
    }
}
