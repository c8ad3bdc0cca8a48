//! Offer and answer (RFC 3264) over SDP (RFC 8866, read by sdp-types) for one audio stream of our codecs and
//! telephone-event.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sdp_types::{Attribute, Connection, Media, MediaType, Origin, Session, Time, TransportProto};
use serde::{Deserialize, Serialize};

use crate::srtp::{MASTER_LEN, Master, SrtpKeys, Suite};
use crate::webrtc::Half;
use crate::{Codec, Direction, LegMedia};

mod webrtc;

/// The payload type of telephone-event in our offers (dynamic, RFC 3551 6).
pub const DTMF_PAYLOAD_TYPE: u8 = 101;
/// What we send and ask for: 20 ms a packet.
const PTIME_MS: u8 = 20;
/// More media lines than any telephone describes are refused.
const MEDIA_LINES_MAX: usize = 32;

/// Our side of a session: where we listen and how often we described it (the `o=` line's version).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    pub rtp: SocketAddr,
    pub session_id: u64,
    pub version: u64,
    /// Our key for a peer that asks for SRTP ([`wants_srtp`]); another for each leg, drawn by who makes it.
    #[serde(default)]
    pub srtp: Option<Master>,
    /// An answer takes the first codec of the offer that we speak, whichever. Else it takes G.722 or Opus only where the offer has no
    /// G.711: what is mixed, recorded and played here is narrow, and the other side of a call is mostly G.711.
    #[serde(default)]
    pub wideband: bool,
    /// Our half of a browser's connection, where the peer is one ([`is_browsers`]).
    #[serde(default)]
    pub webrtc: Option<Box<Half>>,
}

impl Local {
    /// Keeps what settled once holds for every description after it.
    pub fn settled(&mut self, media: &LegMedia) {
        if let Some(settled) = &media.webrtc {
            self.webrtc = Some(Box::new(settled.ours.clone()));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// 400.
    #[error("the session description can not be read: {0}")]
    Malformed(String),
    /// 488: no audio stream, or none over RTP/AVP.
    #[error("no audio stream over RTP/AVP, RTP/SAVP or UDP/TLS/RTP/SAVPF")]
    NoAudio,
    /// 488.
    #[error("no common codec")]
    NoCommonCodec,
    /// 488: an audio stream over RTP/SAVP without an `a=crypto` that we speak, one by DTLS without its fingerprint or ICE, or
    /// one for which we have no key.
    #[error("no common way of SRTP's keys")]
    NoCommonCrypto,
}

/// An offer of `preferred` first, then G.711, and telephone-event. A codec that the other side of the call does not have is not
/// offered: a peer with an order of its own would take it, and each packet would have to be transcoded. To a browser, where
/// `local` has a half of its connection, it is of G.711 alone.
pub fn offer(local: &Local, preferred: Codec, direction: Direction) -> Bytes {
    let preferred = if local.webrtc.is_none() { preferred } else { preferred.narrow() };
    let others = [Codec::Pcma, Codec::Pcmu].into_iter().filter(|codec| *codec != preferred);
    let codecs: Vec<_> = std::iter::once(preferred).chain(others).map(|codec| (codec, codec.payload_type())).collect();
    let profile = if local.webrtc.is_some() { webrtc::PROFILES[0] } else { "RTP/AVP" };
    let mut line = audio(local.rtp.port(), profile, &codecs, Some(DTMF_PAYLOAD_TYPE), direction);
    if let Some(ours) = &local.webrtc {
        webrtc::offer(&mut line, ours);
    }
    describe(local, local.webrtc.as_ref().map(|ours| ours.mid.as_str()), vec![line])
}

/// Answers `offer`: the first codec of the offer that we speak (see [`Local::wideband`]), its telephone-event if given, the
/// direction mirrored and narrowed to `direction`; further media lines are refused with port 0.
///
/// An audio stream that the offer itself switches off with port 0 is answered with port 0 and has no `remote_rtp`.
pub fn answer(offer: &[u8], local: &Local, direction: Direction) -> Result<(Bytes, LegMedia), SdpError> {
    let session = read(offer)?;
    let chosen = choose(&session)?;
    let line = &session.medias[chosen];
    let mut media = leg_media(&session, line, direction, local.wideband)?;
    if webrtc::is_browsers(line) {
        let ours = local.webrtc.as_ref().ok_or(SdpError::NoCommonCrypto)?;
        media.webrtc = Some(webrtc::settle(&session, line, &media, ours, true)?);
    }
    let crypto = if is_secure(line) {
        let offered = crypto(line).ok_or(SdpError::NoCommonCrypto)?;
        let ours = local.srtp.clone().ok_or(SdpError::NoCommonCrypto)?;
        let text = format!("{} {} inline:{}", offered.tag, offered.suite.name(), BASE64.encode(ours.expose()));
        media.srtp = Some(Box::new(SrtpKeys { suite: offered.suite, ours, theirs: offered.key }));
        Some(text)
    } else {
        None
    };
    let port = if line.port == 0 { 0 } else { local.rtp.port() };
    let lines = session.medias.iter().enumerate().map(|(index, line)| {
        if index == chosen {
            let codecs = [(media.codec, media.payload_type)];
            let mut answer = audio(port, &line.proto, &codecs, media.dtmf_payload_type, media.direction);
            if let Some(crypto) = &crypto {
                answer.add_attribute_with_value("crypto", crypto);
            }
            if let Some(settled) = &media.webrtc {
                webrtc::answer(&mut answer, settled);
            }
            return answer;
        }
        // RFC 3264 6: as many lines as the offer, in its order; port 0 refuses one.
        let mut refused = Media::new(MediaType::Audio, 0, TransportProto::RtpAvp, line.fmt.as_str());
        refused.media.clone_from(&line.media);
        refused.proto.clone_from(&line.proto);
        if let Some(mid) = line.get_first_attribute_value("mid").flatten() {
            refused.add_attribute_with_value("mid", mid);
        }
        refused
    });
    let lines = lines.collect();
    Ok((describe(local, media.webrtc.as_ref().map(|settled| settled.ours.mid.as_str()), lines), media))
}

/// Reads the peer's answer to an offer of plain RTP. A peer that refuses our stream with port 0 leaves `NoAudio`.
pub fn read_answer(answer: &[u8]) -> Result<LegMedia, SdpError> {
    read_answer_to(answer, None)
}

/// Reads the answer to an offer of `local`, which may be a browser's.
pub fn read_answer_of(answer: &[u8], local: &Local) -> Result<LegMedia, SdpError> {
    read_answer_to(answer, local.webrtc.as_deref())
}

fn read_answer_to(answer: &[u8], ours: Option<&Half>) -> Result<LegMedia, SdpError> {
    let session = read(answer)?;
    let line = &session.medias[choose(&session)?];
    if line.port == 0 || is_secure(line) || webrtc::is_browsers(line) != ours.is_some() {
        return Err(SdpError::NoAudio);
    }
    let mut media = leg_media(&session, line, Direction::SendRecv, true)?;
    if let Some(ours) = ours {
        media.webrtc = Some(webrtc::settle(&session, line, &media, ours, false)?);
    }
    Ok(media)
}

/// Whether two descriptions differ in more than their `o=` line: only then does its version rise (RFC 3264 8).
pub fn differs(previous: &[u8], next: &[u8]) -> bool {
    fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
        text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.starts_with(b"o="))
    }
    !lines(previous).eq(lines(next))
}

/// Reads a description. Bytes that are not UTF-8 (a Latin-1 session name) are replaced, they mean nothing here.
fn read(text: &[u8]) -> Result<Session, SdpError> {
    let session = Session::parse(String::from_utf8_lossy(text).as_bytes());
    let session = session.map_err(|error| SdpError::Malformed(error.to_string()))?;
    if session.medias.len() > MEDIA_LINES_MAX {
        return Err(SdpError::Malformed(format!("more than {MEDIA_LINES_MAX} media lines")));
    }
    Ok(session)
}

/// The audio line we take: the first that is on and, where it is SRTP's, says what we need for it; else the first that is on;
/// else the first.
fn choose(session: &Session) -> Result<usize, SdpError> {
    let fits = |line: &&Media| {
        line.media.eq_ignore_ascii_case("audio")
            && (webrtc::is_browsers(line)
                || ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"]
                    .iter()
                    .any(|proto| line.proto.eq_ignore_ascii_case(proto)))
    };
    let first = |wanted: &dyn Fn(&Media) -> bool| session.medias.iter().position(|line| fits(&line) && wanted(line));
    let is_whole = |line: &Media| match (webrtc::is_browsers(line), is_secure(line)) {
        (true, _) => webrtc::is_whole(session, line),
        (false, true) => crypto(line).is_some(),
        (false, false) => true,
    };
    first(&|line| line.port != 0 && is_whole(line))
        .or_else(|| first(&|line| line.port != 0))
        .or_else(|| first(&|_| true))
        .ok_or(SdpError::NoAudio)
}

/// Whether the stream that we would take of this offer is SRTP's: its answer needs a key of ours.
pub fn wants_srtp(offer: &[u8]) -> bool {
    read(offer).is_ok_and(|session| choose(&session).is_ok_and(|chosen| is_secure(&session.medias[chosen])))
}

/// Whether the stream that we would take of this offer is a browser's: its answer needs a half of ours, and no port.
pub fn is_browsers(offer: &[u8]) -> bool {
    // Nearly all are none, and are not read for this.
    webrtc::may_be_browsers(offer)
        && read(offer)
            .is_ok_and(|session| choose(&session).is_ok_and(|chosen| webrtc::is_browsers(&session.medias[chosen])))
}

fn is_secure(line: &Media) -> bool {
    ["RTP/SAVP", "RTP/SAVPF"].iter().any(|proto| line.proto.eq_ignore_ascii_case(proto))
}

/// One `a=crypto` of the peer (RFC 4568 9.1).
struct Crypto<'a> {
    tag: &'a str,
    suite: Suite,
    key: Master,
}

/// The first of a line that we speak: its suite is ours, it has one key without an index (MKI), and asks for nothing beside.
fn crypto(line: &Media) -> Option<Crypto<'_>> {
    line.get_attribute_values("crypto").flatten().find_map(|value| {
        let mut parts = value.split_ascii_whitespace();
        let (tag, suite, key, beside) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
        let suite =
            [Suite::Sha1_80, Suite::Sha1_32].into_iter().find(|known| known.name().eq_ignore_ascii_case(suite))?;
        let mut key = key.strip_prefix("inline:")?.split('|');
        let bytes = BASE64.decode(key.next()?).ok()?;
        // A lifetime may follow the key; an index would stand in every packet.
        let plain =
            key.all(|more| !more.contains(':')) && beside.is_none() && tag.bytes().all(|byte| byte.is_ascii_digit());
        let key = <[u8; MASTER_LEN]>::try_from(bytes).ok()?;
        plain.then(|| Crypto { tag, suite, key: Master::new(key) })
    })
}

/// What one audio line of the peer comes to, seen from us and narrowed to `allowed`.
fn leg_media(session: &Session, line: &Media, allowed: Direction, wideband: bool) -> Result<LegMedia, SdpError> {
    let formats = formats(line);
    let first = |fits: fn(Codec) -> bool| {
        formats.iter().find_map(|(payload_type, kind)| match kind {
            Format::Audio(codec) if fits(*codec) => Some((*codec, *payload_type)),
            Format::Audio(_) | Format::Dtmf(_) => None,
        })
    };
    let narrow = if wideband { None } else { first(|codec| codec.law().is_some()) };
    let (codec, payload_type) = narrow.or_else(|| first(|_| true)).ok_or(SdpError::NoCommonCodec)?;
    // That of the voice's clock (RFC 4733 2.1), else that of 8,000 Hz, which many offer alone.
    let dtmf = |ticks| {
        let is_it = |(payload_type, kind): &(u8, Format)| (*kind == Format::Dtmf(ticks)).then_some(*payload_type);
        formats.iter().find_map(is_it)
    };
    let dtmf_payload_type = dtmf(codec.ticks()).or_else(|| dtmf(1));
    let mut direction = direction(session, line).narrow(allowed);
    let mut remote_rtp = None;
    if line.port == 0 {
        direction = Direction::Inactive;
    } else if webrtc::is_browsers(line) {
        // Its address is what ICE finds.
        remote_rtp = Some(LegMedia::BROWSER);
    } else {
        match address(session, line)? {
            // The hold of RFC 2543: the peer wants nothing, but may still send.
            Some(ip) if ip.is_unspecified() => direction = direction.narrow(Direction::RecvOnly),
            // A name instead of an address: nobody here asks the DNS; the peer's packets will show where it is.
            None => {}
            Some(ip) => remote_rtp = Some(SocketAddr::new(ip, line.port)),
        }
    }
    let remote_rtcp = remote_rtp.filter(|rtp| *rtp != LegMedia::BROWSER).and_then(|rtp| rtcp(line, rtp));
    let (srtp, webrtc) = (None, None);
    Ok(LegMedia { remote_rtp, remote_rtcp, codec, payload_type, dtmf_payload_type, direction, srtp, webrtc })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Audio(Codec),
    /// telephone-event, whose clock ticks so often in 1/8000 s.
    Dtmf(u32),
}

/// The formats of a line that we speak, in its order, by payload type.
fn formats(line: &Media) -> Vec<(u8, Format)> {
    let mut formats = Vec::new();
    for payload_type in line.fmt.split_ascii_whitespace().filter_map(|text| u8::from_str(text).ok()) {
        if payload_type > 127 {
            continue;
        }
        let map = line.get_attribute_values("rtpmap").flatten().find_map(|value| {
            let (number, encoding) = value.trim().split_once(|c: char| c.is_ascii_whitespace())?;
            (u8::from_str(number) == Ok(payload_type)).then(|| encoding.trim())
        });
        let kind = match map {
            Some(encoding) => encoding_kind(encoding),
            // RFC 3551 6: these need no rtpmap.
            None => match payload_type {
                0 => Some(Format::Audio(Codec::Pcmu)),
                8 => Some(Format::Audio(Codec::Pcma)),
                9 => Some(Format::Audio(Codec::G722)),
                _ => None,
            },
        };
        formats.extend(kind.map(|kind| (payload_type, kind)));
    }
    formats
}

/// `PCMA/8000`, `pcmu/8000/1`, `opus/48000/2`, `telephone-event/8000`.
fn encoding_kind(encoding: &str) -> Option<Format> {
    let mut parts = encoding.split('/').map(str::trim);
    let (name, rate, channels) = (parts.next()?, parts.next()?, parts.next().unwrap_or("1"));
    let codecs =
        [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus].map(|codec| (codec.encoding(), Format::Audio(codec)));
    let events = [("telephone-event/8000", Format::Dtmf(1)), ("telephone-event/48000", Format::Dtmf(6))];
    let is_it = |known: &str| {
        let mut known = known.split('/');
        known.next().is_some_and(|known| known.eq_ignore_ascii_case(name))
            && known.next() == Some(rate)
            && known.next().unwrap_or("1") == channels
    };
    codecs.into_iter().chain(events).find_map(|(known, format)| is_it(known).then_some(format))
}

/// The peer's direction seen from us; the line's own word comes before the session's (RFC 8866 6.7), sendrecv is the default.
fn direction(session: &Session, line: &Media) -> Direction {
    let word = |attributes: &[Attribute]| {
        attributes.iter().find_map(|attribute| match attribute.attribute.to_ascii_lowercase().as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::RecvOnly),
            "recvonly" => Some(Direction::SendOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    };
    word(&line.attributes).or_else(|| word(&session.attributes)).unwrap_or(Direction::SendRecv)
}

/// The peer's address; the line's own `c=` comes before the session's. `None` for a name.
fn address(session: &Session, line: &Media) -> Result<Option<IpAddr>, SdpError> {
    let connection = line.connections.first().or(session.connection.as_ref());
    let connection = connection.ok_or_else(|| SdpError::Malformed("the audio stream has no c= line".to_owned()))?;
    match connection.try_address().map(|address| address.ip) {
        Ok(ip) if ip.is_multicast() => {
            Err(SdpError::Malformed("a call can not be sent to a multicast group".to_owned()))
        }
        Ok(ip) => Ok(Some(ip)),
        Err(_name) => Ok(None),
    }
}

/// `a=rtcp:53020 IN IP4 203.0.113.7` (RFC 3605), where it says other than RTP's port + 1.
fn rtcp(line: &Media, rtp: SocketAddr) -> Option<SocketAddr> {
    let value = line.get_first_attribute_value("rtcp").flatten()?;
    let mut parts = value.split_ascii_whitespace();
    let port = u16::from_str(parts.next()?).ok().filter(|port| *port != 0)?;
    let ip = parts.nth(2).and_then(|ip| IpAddr::from_str(ip).ok()).unwrap_or(rtp.ip());
    let address = SocketAddr::new(ip, port);
    let usual = rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port));
    (Some(address) != usual && !ip.is_unspecified() && !ip.is_multicast()).then_some(address)
}

/// `mid`: the media line that is a browser's.
fn describe(local: &Local, mid: Option<&str>, medias: Vec<Media>) -> Bytes {
    let mut session = Session::new(Origin::with_ip_addr(local.session_id, local.version, local.rtp.ip()), "-");
    session.connection = Some(Connection::from_ip_addr(local.rtp.ip()));
    session.times.push(Time::new(0, 0));
    session.attributes = mid.map(webrtc::session_attributes).unwrap_or_default();
    session.medias = medias;
    let mut text = Vec::with_capacity(512);
    // Writing to memory has no error.
    let _ = session.write(&mut text);
    Bytes::from(text)
}

fn audio(port: u16, proto: &str, codecs: &[(Codec, u8)], dtmf: Option<u8>, direction: Direction) -> Media {
    let numbers = codecs.iter().map(|(_, payload_type)| *payload_type).chain(dtmf);
    let fmt: Vec<String> = numbers.map(|payload_type| payload_type.to_string()).collect();
    let mut line = Media::new(MediaType::Audio, port, TransportProto::RtpAvp, fmt.join(" "));
    proto.clone_into(&mut line.proto);
    for (codec, payload_type) in codecs {
        line.add_attribute_with_value("rtpmap", format!("{payload_type} {}", codec.encoding()));
        if *codec == Codec::Opus {
            // RFC 7587 6.1: the redundancy for what is lost may be sent to us.
            line.add_attribute_with_value("fmtp", format!("{payload_type} useinbandfec=1"));
        }
    }
    if let Some(payload_type) = dtmf {
        line.add_attribute_with_value("rtpmap", format!("{payload_type} telephone-event/8000"));
        line.add_attribute_with_value("fmtp", format!("{payload_type} 0-15"));
    }
    line.add_attribute_with_value("ptime", PTIME_MS);
    line.add_attribute_from_str(match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    });
    line
}

#[cfg(test)]
mod tests;
