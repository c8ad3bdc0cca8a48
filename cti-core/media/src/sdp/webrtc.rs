//! Descriptions of browsers (RFC 8829, RFC 8839, RFC 8842): SRTP by DTLS, addresses by ICE, RTP and RTCP on one port.

use std::net::SocketAddr;

use cti_base::Pii;
use sdp_types::{Attribute, Media, Session};

use super::SdpError;
use crate::LegMedia;
use crate::webrtc::{Fingerprint, Half, ICE_WORD_LEN_MAX, IceCredentials, MID_LEN_MAX, WebRtc};

/// What a browser's audio line is over; both are the same to us.
pub(super) const PROFILES: [&str; 2] = ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"];
/// The header extension that names the media line (RFC 8843 15).
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// Its number in our own offers.
const MID_EXTENSION_NUMBER: u8 = 1;
/// Numbers of one-byte header extensions (RFC 8285 4.2).
const EXTENSION_MAX: u8 = 14;
/// A candidate's protocol, the preference of its type, and what follows it. Datagrams come first (RFC 6544 4.2).
type Protocol = (&'static str, u32, &'static str);
const UDP: Protocol = ("udp", 126, "");
const TCP: Protocol = ("tcp", 90, " tcptype passive");

/// Whether the text speaks of such a line anywhere.
pub(super) fn may_be_browsers(text: &[u8]) -> bool {
    let profile = PROFILES[1].as_bytes();
    text.windows(profile.len()).any(|place| place.eq_ignore_ascii_case(profile))
}

/// Whether it is a browser's.
pub(super) fn is_browsers(line: &Media) -> bool {
    PROFILES.iter().any(|profile| line.proto.eq_ignore_ascii_case(profile))
}

/// Whether it names both its ends: by DTLS alone, without ICE, telephones do that we do not speak with.
pub(super) fn is_whole(session: &Session, line: &Media) -> bool {
    ["ice-ufrag", "fingerprint"].iter().all(|name| attribute(session, line, name).is_some())
}

/// The browser's half, with ours; only of G.711, which is what connections with browsers carry. `offered`: it is the offer, which leaves it to us who begins; else the answer to ours.
pub(super) fn settle(
    session: &Session,
    line: &Media,
    media: &LegMedia,
    ours: &Half,
    offered: bool,
) -> Result<Box<WebRtc>, SdpError> {
    if media.codec.law().is_none() {
        return Err(SdpError::NoCommonCodec);
    }
    let value = |name: &str| attribute(session, line, name).filter(|value| value.len() <= ICE_WORD_LEN_MAX);
    let missing = SdpError::NoCommonCrypto;
    let (ufrag, password) = value("ice-ufrag").zip(value("ice-pwd")).ok_or_else(|| missing.clone())?;
    let fingerprint: Fingerprint = value("fingerprint").and_then(|text| text.parse().ok()).ok_or(missing)?;
    if !line.has_attribute("rtcp-mux") {
        // RTCP on a port of its own would be another component of ICE; no browser asks for it.
        return Err(SdpError::NoCommonCrypto);
    }
    let begins = match value("setup") {
        Some("active") => false,
        Some("passive") => true,
        // A browser sends its first packet as soon as ICE has a way; once settled it stays (RFC 8842 5.5).
        _ => offered && ours.begins,
    };
    let mid = line.get_first_attribute_value("mid").flatten().filter(|mid| mid.len() <= MID_LEN_MAX);
    let mid = mid.map_or_else(|| ours.mid.clone(), str::to_owned);
    Ok(Box::new(WebRtc {
        ours: Half { mid, begins, ..ours.clone() },
        ice: IceCredentials { ufrag: ufrag.to_owned(), password: Pii::new(password.to_owned()) },
        fingerprint,
        ssrc: ssrc(line),
        mid_extension: mid_extension(line),
    }))
}

/// The session's lines of ours.
pub(super) fn session_attributes(mid: &str) -> Vec<Attribute> {
    vec![Attribute::with_value("group", format!("BUNDLE {mid}")), Attribute::new("ice-lite")]
}

/// Adds what our offer says of the connection.
pub(super) fn offer(line: &mut Media, ours: &Half) {
    describe(line, ours, "actpass", Some(MID_EXTENSION_NUMBER));
}

/// Adds what our answer says of the connection.
pub(super) fn answer(line: &mut Media, settled: &WebRtc) {
    let setup = if settled.ours.begins { "active" } else { "passive" };
    describe(line, &settled.ours, setup, settled.mid_extension);
}

fn describe(line: &mut Media, ours: &Half, setup: &str, mid_extension: Option<u8>) {
    line.add_attribute_with_value("mid", &ours.mid);
    line.add_attribute_from_str("rtcp-mux");
    line.add_attribute_with_value("setup", setup);
    line.add_attribute_with_value("fingerprint", &ours.edge.fingerprint);
    line.add_attribute_with_value("ice-ufrag", &ours.ice.ufrag);
    line.add_attribute_with_value("ice-pwd", ours.ice.password.expose());
    let mut foundation = 0;
    for protocol in [UDP, TCP].into_iter().take(if ours.edge.streams { 2 } else { 1 }) {
        for (at, address) in ours.edge.addresses.iter().enumerate() {
            foundation += 1;
            line.add_attribute_with_value("candidate", candidate(foundation, at, protocol, *address));
        }
    }
    line.add_attribute_from_str("end-of-candidates");
    if let Some(number) = mid_extension {
        line.add_attribute_with_value("extmap", format!("{number} {MID_EXTENSION}"));
    }
    line.add_attribute_with_value("msid", "zongji audio");
    line.add_attribute_with_value("ssrc", format!("{} cname:zongji", ours.ssrc));
}

/// A host candidate (RFC 8839 5.1, RFC 6544 4.5), earlier ones preferred (RFC 8445 5.1.2).
fn candidate(foundation: usize, at: usize, (protocol, kind, more): Protocol, address: SocketAddr) -> String {
    let preference = 65_535u32.saturating_sub(at as u32);
    let priority = (kind << 24) + (preference << 8) + 255;
    format!("{foundation} 1 {protocol} {priority} {} {} typ host{more}", address.ip(), address.port())
}

/// The line's own word comes before the session's.
fn attribute<'a>(session: &'a Session, line: &'a Media, name: &str) -> Option<&'a str> {
    let find = |attributes: &'a [Attribute]| attributes.iter().find(|known| known.attribute.eq_ignore_ascii_case(name));
    find(&line.attributes).or_else(|| find(&session.attributes)).and_then(|found| found.value.as_deref())
}

fn ssrc(line: &Media) -> Option<u32> {
    let value = line.get_first_attribute_value("ssrc").flatten()?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

fn mid_extension(line: &Media) -> Option<u8> {
    line.get_attribute_values("extmap").flatten().find_map(|value| {
        let mut parts = value.split_ascii_whitespace();
        let number = parts.next()?.split('/').next()?.parse().ok()?;
        (parts.next()? == MID_EXTENSION && (1..=EXTENSION_MAX).contains(&number)).then_some(number)
    })
}

#[cfg(test)]
mod tests;
