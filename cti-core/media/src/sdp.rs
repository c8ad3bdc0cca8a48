#![allow(unused_variables, clippy::unimplemented, reason = "the surface first")]
//! Offer and answer (RFC 3264) over SDP (RFC 8866, read by sdp-types) for one audio stream of G.711 and telephone-event.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::{Codec, Direction, LegMedia};

/// Our side of a session: where we listen and how often we described it (the `o=` line's version).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    pub rtp: SocketAddr,
    pub session_id: u64,
    pub version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// 400.
    #[error("the session description can not be read: {0}")]
    Malformed(String),
    /// 488: no audio stream, or none over RTP/AVP.
    #[error("no audio stream over RTP/AVP")]
    NoAudio,
    /// 488.
    #[error("no common codec")]
    NoCommonCodec,
}

/// An offer of both codecs, `preferred` first, and telephone-event.
pub fn offer(local: &Local, preferred: Codec, direction: Direction) -> Bytes {
    unimplemented!()
}

/// Answers `offer`: the first codec of the offer that we speak, its telephone-event if given, the direction mirrored and
/// narrowed to `direction`; further media lines are refused with port 0.
pub fn answer(offer: &[u8], local: &Local, direction: Direction) -> Result<(Bytes, LegMedia), SdpError> {
    unimplemented!()
}

/// Reads the peer's answer to our offer.
pub fn read_answer(answer: &[u8]) -> Result<LegMedia, SdpError> {
    unimplemented!()
}
