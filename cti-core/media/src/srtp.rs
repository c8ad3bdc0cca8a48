//! SRTP and SRTCP (RFC 3711) with AES-128 in counter mode and HMAC-SHA1, as SDES agrees on them (RFC 4568 6.2).
//!
//! One [`Srtp`] for each direction. Each writes and reads whole packets in place, the authentication tag behind them. Nothing is
//! allocated for a packet.

use std::fmt;

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;

use crate::rtp::HEADER_LEN;

type Cipher = ctr::Ctr128BE<Aes128>;
type Auth = Hmac<Sha1>;

const KEY_LEN: usize = 16;
const SALT_LEN: usize = 14;
/// Master key and master salt, as `inline:` has them (RFC 4568 6.1).
pub const MASTER_LEN: usize = KEY_LEN + SALT_LEN;
const AUTH_KEY_LEN: usize = 20;
/// The longest tag, and SRTCP's index of four bytes before it.
pub const TRAILER_LEN_MAX: usize = 14;
const SRTCP_TAG_LEN: usize = 10;
/// Marks an encrypted SRTCP packet (RFC 3711 3.4).
const ENCRYPTED: u32 = 0x8000_0000;
/// RTCP's first header and SSRC stay readable.
const RTCP_CLEAR_LEN: usize = 8;
/// Packets that may come late (RFC 3711 3.3.2: at least 64).
const REPLAY_WINDOW: u64 = 64;
/// Sources that are told apart in one direction; a peer that changes its SSRC more often begins anew with the oldest.
const SOURCES_MAX: usize = 8;
/// A source that is heard in its middle, as after a crash of ours, may be in any of its first rounds of 2^16 packets: at 50
/// packets a second these are a day.
const ROUNDS_TRIED: u32 = 66;

/// What `a=crypto` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suite {
    #[serde(rename = "AES_CM_128_HMAC_SHA1_80")]
    Sha1_80,
    #[serde(rename = "AES_CM_128_HMAC_SHA1_32")]
    Sha1_32,
}

impl Suite {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    const fn tag_len(self) -> usize {
        match self {
            Self::Sha1_80 => 10,
            Self::Sha1_32 => 4,
        }
    }
}

/// A master key with its salt. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Master(Vec<u8>);

impl Master {
    pub fn new(bytes: [u8; MASTER_LEN]) -> Self {
        Self(bytes.to_vec())
    }

    /// For the `inline:` of an `a=crypto` line, and for nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(hidden)")
    }
}

/// Both directions' keys, as offer and answer settled them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrtpKeys {
    pub suite: Suite,
    pub ours: Master,
    pub theirs: Master,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    #[error("the packet is too short for SRTP")]
    TooShort,
    #[error("the tag of the packet is not its sender's")]
    Tag,
    #[error("the packet has come before, or too late")]
    Replayed,
}

/// One direction.
#[derive(Clone)]
pub struct Srtp {
    suite: Suite,
    rtp: Keys,
    rtcp: Keys,
    sources: Vec<Source>,
    /// Of the last SRTCP packet that was written.
    rtcp_index: u32,
    rtcp_seen: Window,
}

impl fmt::Debug for Srtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Srtp").field("suite", &self.suite).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Keys {
    key: [u8; KEY_LEN],
    salt: [u8; SALT_LEN],
    auth: Auth,
}

#[derive(Clone)]
struct Source {
    ssrc: u32,
    /// The highest packet index (RFC 3711 3.3.1), and which of those before it were seen.
    window: Window,
}

/// The highest index seen, and the 64 up to it as bits, the highest lowest.
#[derive(Clone, Copy, Default)]
struct Window {
    highest: Option<u64>,
    seen: u64,
}

impl Srtp {
    /// `None` where the master is not as long as it must be.
    pub fn new(suite: Suite, master: &Master) -> Option<Self> {
        let (key, salt) = master.0.split_first_chunk::<KEY_LEN>()?;
        let salt = <[u8; SALT_LEN]>::try_from(salt).ok()?;
        // Labels of RFC 3711 4.3.1 and 4.3.2.
        let keys = |first: u8| Keys {
            key: derive(key, &salt, first),
            salt: derive(key, &salt, first + 2),
            auth: Auth::new_from_slice(&derive::<AUTH_KEY_LEN>(key, &salt, first + 1)).expect("HMAC takes any key"),
        };
        Some(Self {
            suite,
            rtp: keys(0),
            rtcp: keys(3),
            sources: Vec::new(),
            rtcp_index: 0,
            rtcp_seen: Window::default(),
        })
    }

    /// Encrypts the RTP packet of `len` bytes that begins the buffer, and adds its tag; the new length. `None` where it is no
    /// RTP packet or the buffer has no room for the tag.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        let payload = payload_start(buffer.get(..len)?)?;
        let (sequence, ssrc) = numbers(buffer);
        let source = self.source(ssrc);
        let index = source.window.index_of(sequence);
        source.window.note(index);
        self.rtp.crypt(ssrc, index, &mut buffer[payload..len]);
        let tag_len = self.suite.tag_len();
        let tag = self.rtp.tag(&buffer[..len], (index >> 16) as u32);
        buffer.get_mut(len..len + tag_len)?.copy_from_slice(&tag[..tag_len]);
        Some(len + tag_len)
    }

    /// Checks and decrypts the SRTP packet that fills the buffer; the length of the RTP packet that begins it.
    pub fn unprotect(&mut self, buffer: &mut [u8]) -> Result<usize, SrtpError> {
        let tag_len = self.suite.tag_len();
        let len = buffer.len().checked_sub(tag_len).ok_or(SrtpError::TooShort)?;
        let (packet, tag) = buffer.split_at_mut(len);
        let payload = payload_start(packet).ok_or(SrtpError::TooShort)?;
        let (sequence, ssrc) = numbers(packet);
        let known = self.sources.iter().find(|source| source.ssrc == ssrc);
        let index = match known {
            Some(source) => {
                let index = source.window.index_of(sequence);
                self.rtp.verify(packet, (index >> 16) as u32, tag)?;
                index
            }
            None => {
                // Once its first source is known a peer begins each new one at 0; strangers cost one look.
                let rounds = if self.sources.is_empty() { ROUNDS_TRIED } else { 1 };
                let fits = |round: &u32| self.rtp.verify(packet, *round, tag).is_ok();
                let round = (0..rounds).find(fits).ok_or(SrtpError::Tag)?;
                u64::from(round) << 16 | u64::from(sequence)
            }
        };
        let source = self.source(ssrc);
        if source.window.has(index) {
            return Err(SrtpError::Replayed);
        }
        source.window.note(index);
        self.rtp.crypt(ssrc, index, &mut packet[payload..]);
        Ok(len)
    }

    /// As `protect`, for a compound RTCP packet.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>) -> Option<()> {
        let ssrc = u32::from_be_bytes(*packet.get(4..RTCP_CLEAR_LEN)?.first_chunk()?);
        self.rtcp_index = (self.rtcp_index + 1) & !ENCRYPTED;
        self.rtcp.crypt(ssrc, u64::from(self.rtcp_index), &mut packet[RTCP_CLEAR_LEN..]);
        packet.extend_from_slice(&(self.rtcp_index | ENCRYPTED).to_be_bytes());
        let mut auth = self.rtcp.auth.clone();
        auth.update(packet);
        packet.extend_from_slice(&auth.finalize().into_bytes()[..SRTCP_TAG_LEN]);
        Some(())
    }

    /// As `unprotect`, for SRTCP.
    pub fn unprotect_rtcp(&mut self, buffer: &mut [u8]) -> Result<usize, SrtpError> {
        let len = buffer.len().checked_sub(4 + SRTCP_TAG_LEN).filter(|len| *len >= RTCP_CLEAR_LEN);
        let len = len.ok_or(SrtpError::TooShort)?;
        let (signed, tag) = buffer.split_at(len + 4);
        let mut auth = self.rtcp.auth.clone();
        auth.update(signed);
        auth.verify_truncated_left(tag).map_err(|_| SrtpError::Tag)?;
        let word = |at: usize| u32::from_be_bytes(signed[at..].first_chunk().copied().unwrap_or_default());
        let (ssrc, index) = (word(4), word(len));
        let number = u64::from(index & !ENCRYPTED);
        if self.rtcp_seen.has(number) {
            return Err(SrtpError::Replayed);
        }
        self.rtcp_seen.note(number);
        if index & ENCRYPTED != 0 {
            self.rtcp.crypt(ssrc, number, &mut buffer[RTCP_CLEAR_LEN..len]);
        }
        Ok(len)
    }

    fn source(&mut self, ssrc: u32) -> &mut Source {
        let at = self.sources.iter().position(|source| source.ssrc == ssrc).unwrap_or_else(|| {
            if self.sources.len() == SOURCES_MAX {
                self.sources.remove(0);
            }
            self.sources.push(Source { ssrc, window: Window::default() });
            self.sources.len() - 1
        });
        &mut self.sources[at]
    }
}

impl Keys {
    /// AES in counter mode (RFC 3711 4.1.1): the same both ways.
    fn crypt(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let mut iv = [0; KEY_LEN];
        iv[..SALT_LEN].copy_from_slice(&self.salt);
        for (byte, add) in iv[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= add;
        }
        for (byte, add) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= add;
        }
        Cipher::new(&self.key.into(), &iv.into()).apply_keystream(bytes);
    }

    fn signed(&self, packet: &[u8], round: u32) -> Auth {
        let mut auth = self.auth.clone();
        auth.update(packet);
        auth.update(&round.to_be_bytes());
        auth
    }

    fn tag(&self, packet: &[u8], round: u32) -> [u8; 20] {
        self.signed(packet, round).finalize().into_bytes().into()
    }

    fn verify(&self, packet: &[u8], round: u32, tag: &[u8]) -> Result<(), SrtpError> {
        self.signed(packet, round).verify_truncated_left(tag).map_err(|_| SrtpError::Tag)
    }
}

impl Window {
    /// The index that is nearest to the highest (RFC 3711 3.3.1).
    fn index_of(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else { return u64::from(sequence) };
        let ahead = sequence.wrapping_sub(highest as u16) as i16;
        highest.checked_add_signed(i64::from(ahead)).unwrap_or(u64::from(sequence))
    }

    /// Seen, or older than can be said.
    fn has(&self, index: u64) -> bool {
        let Some(behind) = self.highest.and_then(|highest| highest.checked_sub(index)) else { return false };
        behind >= REPLAY_WINDOW || self.seen >> behind & 1 == 1
    }

    fn note(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => {
                let behind = highest - index;
                if behind < REPLAY_WINDOW {
                    self.seen |= 1 << behind;
                }
            }
            Some(highest) => {
                self.seen = self.seen.checked_shl((index - highest).min(u64::from(u32::MAX)) as u32).unwrap_or(0) | 1;
                self.highest = Some(index);
            }
            None => (self.highest, self.seen) = (Some(index), 1),
        }
    }
}

/// A session key from the master key (RFC 3711 4.3.3), at a key derivation rate of 0.
fn derive<const LEN: usize>(key: &[u8; KEY_LEN], salt: &[u8; SALT_LEN], label: u8) -> [u8; LEN] {
    let mut iv = [0; KEY_LEN];
    iv[..SALT_LEN].copy_from_slice(salt);
    iv[7] ^= label;
    let mut out = [0; LEN];
    Cipher::new(key.into(), &iv.into()).apply_keystream(&mut out);
    out
}

/// Where the payload begins behind CSRC list and extension, which stay readable.
fn payload_start(packet: &[u8]) -> Option<usize> {
    let first = *packet.first().filter(|_| packet.len() >= HEADER_LEN)?;
    if first >> 6 != 2 {
        return None;
    }
    let mut start = HEADER_LEN + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = packet.get(start + 2..start + 4)?;
        start += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (start <= packet.len()).then_some(start)
}

/// Sequence number and SSRC of a packet that is long enough.
fn numbers(packet: &[u8]) -> (u16, u32) {
    (u16::from_be_bytes([packet[2], packet[3]]), u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]))
}

#[cfg(test)]
mod tests;
