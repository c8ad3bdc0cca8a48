//! One browser's connection: the only code that touches str0m. It panics on broken invariants by its own design, so each step
//! is caught: a browser that is lost that way makes a new connection.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use cti_base::Timestamp;
use cti_media::leg::{Content, Leg};
use cti_media::rtp::{self, HEADER_LEN, Header};
use cti_media::webrtc::{self, WebRtc};
use cti_media::{Codec, LegMedia};
use str0m::change::SdpOffer;
use str0m::config::DtlsCert;
use str0m::format::{Codec as Format, FormatParams};
use str0m::media::{Frequency, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::{Extension, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc, RtcConfig, RtcError};

use super::socket::Net;

/// What a step brought.
pub enum Said {
    /// ICE and DTLS are done.
    Up,
    /// The browser is not heard any more, but may come back.
    Down,
    /// A whole RTP packet.
    Audio(Vec<u8>),
}

/// What browsers are told of us: our addresses, and whether they may connect to these.
pub struct Told {
    pub addresses: Vec<SocketAddr>,
    pub streams: bool,
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
    /// Of telephone-event, where it is spoken.
    digits: Option<u8>,
}

/// What all connections of this process are made with.
pub struct Identity {
    certificate: DtlsCert,
    pub fingerprint: webrtc::Fingerprint,
}

impl Identity {
    pub fn new() -> Result<Self, String> {
        let made = str0m::crypto::from_feature_flags().dtls_provider.generate_certificate();
        let certificate = made.ok_or("no certificate could be made")?;
        let mut rtc = RtcConfig::new().set_dtls_cert(certificate.clone()).build(Instant::now());
        let ours = rtc.direct_api().local_dtls_fingerprint().clone();
        let fingerprint = webrtc::Fingerprint { hash: ours.hash_func, digest: ours.bytes };
        Ok(Self { certificate, fingerprint })
    }
}

impl Device {
    /// Takes a page's offer; the device and the answer. An error is for a person.
    pub fn accept(now: Instant, offer: &str, told: &Told, numbers: [u32; 2]) -> Result<(Self, String), String> {
        let made = catch_unwind(AssertUnwindSafe(|| Self::make(now, offer, told, numbers)));
        made.unwrap_or_else(|_| Err("it is none that this server can work with".to_owned()))
    }

    fn make(now: Instant, offer: &str, told: &Told, [ssrc, numbers]: [u32; 2]) -> Result<(Self, String), String> {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|error| error.to_string())?;
        let config = RtcConfig::new().set_ice_lite(true).set_rtp_mode(true).clear_codecs();
        let mut rtc = config.enable_pcma(true, false).enable_pcmu(true, false).build(now);
        add_candidates(&mut rtc, told)?;
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| error.to_string())?;
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let sequence = first_number(numbers);
        let mut out = Leg::new(ssrc, sequence, numbers);
        out.connect(LegMedia::browser(Codec::Pcma));
        let device = Self { rtc, ufrag, due: now, mid: None, out, sequence: u64::from(sequence), digits: None };
        Ok((device, answer.to_sdp_string()))
    }

    /// This side of a connection that offer and answer settled. An error is for a person.
    pub fn join(
        now: Instant,
        media: &LegMedia,
        identity: &Identity,
        told: &Told,
        numbers: u32,
    ) -> Result<Self, String> {
        let settled = media.webrtc.as_ref().ok_or("it is no browser's")?;
        let joined = catch_unwind(AssertUnwindSafe(|| Self::settled(now, settled, media, identity, told, numbers)));
        joined.unwrap_or_else(|_| Err("it is none that this server can work with".to_owned()))
    }

    fn settled(
        now: Instant,
        settled: &WebRtc,
        media: &LegMedia,
        identity: &Identity,
        told: &Told,
        numbers: u32,
    ) -> Result<Self, String> {
        let text = |error: RtcError| error.to_string();
        let ours = credentials(&settled.ours.ice);
        let mut config = RtcConfig::new().set_ice_lite(true).set_rtp_mode(true).clear_codecs();
        config = config.set_dtls_cert(identity.certificate.clone()).set_local_ice_credentials(ours);
        config = config.enable_pcma(true, false).enable_pcmu(true, false).clear_extension_map();
        if let Some(digits) = media.dtmf_payload_type {
            let (rate, format) = (Frequency::EIGHT_KHZ, FormatParams::default());
            config.codec_config().add_config(digits.into(), None, Format::Tele, rate, None, format);
        }
        if let Some(number) = settled.mid_extension {
            config = config.set_extension(number, Extension::RtpMid);
        }
        let mut rtc = config.build(now);
        add_candidates(&mut rtc, told)?;
        let mid = Mid::from(settled.ours.mid.as_str());
        let mut direct = rtc.direct_api();
        // The side that is not lite decides (RFC 8445 6.1.1).
        direct.set_ice_controlling(false);
        direct.set_remote_ice_credentials(credentials(&settled.ice));
        direct.set_remote_fingerprint(str0m::config::Fingerprint {
            hash_func: settled.fingerprint.hash.clone(),
            bytes: settled.fingerprint.digest.clone(),
        });
        direct.start_dtls(settled.ours.begins).map_err(text)?;
        direct.declare_media(mid, MediaKind::Audio);
        direct.declare_stream_tx(settled.ours.ssrc.into(), None, mid, None);
        if let Some(ssrc) = settled.ssrc {
            direct.expect_stream_rx(ssrc.into(), None, mid, None);
        }
        let sequence = first_number(numbers);
        let mut out = Leg::new(settled.ours.ssrc, sequence, numbers);
        out.connect(media.clone());
        let (ufrag, digits) = (settled.ours.ice.ufrag.clone(), media.dtmf_payload_type);
        Ok(Self { rtc, ufrag, due: now, mid: Some(mid), out, sequence: u64::from(sequence), digits })
    }

    /// New names for ICE: the connection goes on, and looks for its way anew (RFC 8445 2.4).
    pub fn rename(&mut self, settled: &WebRtc) {
        let mut direct = self.rtc.direct_api();
        direct.set_local_ice_credentials(credentials(&settled.ours.ice));
        direct.set_remote_ice_credentials(credentials(&settled.ice));
        self.ufrag.clone_from(&settled.ours.ice.ufrag);
    }

    /// One datagram from the browser; `false` where the device is of no use any more, as for all of these.
    pub fn receive(
        &mut self,
        now: Instant,
        (protocol, from, to): (Protocol, SocketAddr, SocketAddr),
        datagram: &[u8],
        net: &mut Net,
        said: &mut Vec<Said>,
    ) -> bool {
        self.step(net, said, |device| {
            // What is no packet at all is nothing to be told of: anybody can send it.
            let Ok(receive) = Receive::new(protocol, from, to, datagram) else { return Ok(()) };
            device.rtc.handle_input(Input::Receive(now, receive))
        })
    }

    pub fn timeout(&mut self, now: Instant, net: &mut Net, said: &mut Vec<Said>) -> bool {
        self.step(net, said, |device| device.rtc.handle_input(Input::Timeout(now)))
    }

    /// One RTP packet of a call for the browser.
    pub fn send(
        &mut self,
        now: Instant,
        at: Timestamp,
        packet: &mut [u8],
        net: &mut Net,
        said: &mut Vec<Said>,
    ) -> bool {
        self.step(net, said, |device| {
            device.write(now, at, packet);
            Ok(())
        })
    }

    /// Tells the browser that this is the end.
    pub fn end(&mut self, net: &mut Net) {
        let mut said = Vec::new();
        self.step(net, &mut said, |device| device.rtc.close());
    }

    fn write(&mut self, now: Instant, at: Timestamp, packet: &mut [u8]) {
        let Some(mid) = self.mid.filter(|_| self.rtc.is_connected()) else { return };
        let Ok(header) = Header::parse(packet) else { return };
        let content = match header.payload_type {
            0 => Content::Audio(Codec::Pcmu),
            8 => Content::Audio(Codec::Pcma),
            digits if Some(digits) == self.digits => Content::Event,
            _ => return,
        };
        if let Content::Audio(codec) = content
            && self.out.media().is_none_or(|media| media.codec != codec)
        {
            self.out.connect(LegMedia { dtmf_payload_type: self.digits, ..LegMedia::browser(codec) });
        }
        let Some((_, packet)) = self.out.relay(at, header, content, packet) else { return };
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
        net: &mut Net,
        said: &mut Vec<Said>,
        change: impl FnOnce(&mut Self) -> Result<(), RtcError>,
    ) -> bool {
        let done = catch_unwind(AssertUnwindSafe(|| {
            change(self)?;
            self.drain(net, said)
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

    fn drain(&mut self, net: &mut Net, said: &mut Vec<Said>) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(due) => {
                    self.due = due;
                    return Ok(());
                }
                Output::Transmit(transmit) => net.send(&transmit),
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

fn add_candidates(rtc: &mut Rtc, told: &Told) -> Result<(), String> {
    for address in &told.addresses {
        let datagrams = Candidate::host(*address, Protocol::Udp).map_err(|error| error.to_string())?;
        rtc.add_local_candidate(datagrams);
        if told.streams {
            let streams = Candidate::builder().tcp().host(*address).tcptype(TcpType::Passive).build();
            rtc.add_local_candidate(streams.map_err(|error| error.to_string())?);
        }
    }
    Ok(())
}

fn credentials(ice: &webrtc::IceCredentials) -> IceCreds {
    IceCreds { ufrag: ice.ufrag.clone(), pass: ice.password.expose().clone() }
}

/// The first packet's number is below 2^16, where its receiver begins to count (RFC 3711 3.3.1), and far from the wrap.
const fn first_number(numbers: u32) -> u16 {
    numbers as u16 & 0x3fff
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
