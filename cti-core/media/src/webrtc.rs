//! What a browser's connection is made of: ICE (RFC 8445; we are lite), DTLS-SRTP (RFC 5764), one audio stream. Here is only
//! what offer and answer settle; the shell opens it.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use cti_base::Pii;
use serde::{Deserialize, Serialize};

use crate::LegMedia;

/// A fingerprint is no longer than SHA-512's.
const FINGERPRINT_LEN_MAX: usize = 64;
/// Characters of our user name and password: 48 and 144 bits (RFC 8445 5.3 wants at least 24 and 128).
const UFRAG_LEN: usize = 8;
const PASSWORD_LEN: usize = 24;
/// Random bytes that [`IceCredentials::from_random`] takes.
pub const ICE_SEED_LEN: usize = UFRAG_LEN + PASSWORD_LEN;
/// As long as ICE allows (RFC 8839 5.4).
pub(crate) const ICE_WORD_LEN_MAX: usize = 256;
/// `ice-char`.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The media line's name in our own offers.
pub(crate) const MID: &str = "0";
/// Longer names of a media line do not fit the header extension that carries them (RFC 8843 15.1).
pub(crate) const MID_LEN_MAX: usize = 16;

/// The digest of a certificate, as `a=fingerprint` has it (RFC 8122 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// `sha-256`.
    pub hash: String,
    pub digest: Vec<u8>,
}

/// Where browsers reach us, and how they know our certificate. As the shell has it: both are another process's after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    pub addresses: Vec<SocketAddr>,
    /// Whether they may connect to these as well, where datagrams do not come through.
    #[serde(default)]
    pub streams: bool,
    pub fingerprint: Fingerprint,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    pub ufrag: String,
    pub password: Pii<String>,
}

/// Our half of a leg's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    pub edge: Edge,
    pub ice: IceCredentials,
    /// Of the stream that leaves.
    pub ssrc: u32,
    /// The media line's name, the browser's where it offered first.
    pub mid: String,
    /// Whether we begin the DTLS handshake; settled once.
    pub begins: bool,
}

/// What offer and answer settled: both halves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebRtc {
    pub ours: Half,
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    /// Of the stream that comes, where the browser said.
    pub ssrc: Option<u32>,
    /// The header extension that carries `mid`, where it is spoken.
    pub mid_extension: Option<u8>,
}

impl IceCredentials {
    pub fn from_random(seed: [u8; ICE_SEED_LEN]) -> Self {
        let text: String = seed.iter().map(|byte| char::from(ICE_CHARS[usize::from(byte & 63)])).collect();
        let (ufrag, password) = text.split_at(UFRAG_LEN);
        Self { ufrag: ufrag.to_owned(), password: Pii::new(password.to_owned()) }
    }
}

impl Half {
    /// For a leg that nothing is settled of.
    pub fn new(edge: Edge, ice: IceCredentials, ssrc: u32) -> Self {
        Self { edge, ice, ssrc, mid: MID.to_owned(), begins: false }
    }

    /// What stands in a description's place for an address, which browsers do not read.
    pub fn address(&self) -> SocketAddr {
        self.edge.addresses.first().copied().unwrap_or(LegMedia::BROWSER)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hash)?;
        for (at, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (hash, digest) = text.trim().split_once(' ').ok_or(())?;
        let is_pair = |byte: &str| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
        let bytes = |byte: &str| if is_pair(byte) { u8::from_str_radix(byte, 16).map_err(drop) } else { Err(()) };
        let digest: Vec<u8> = digest.trim().split(':').map(bytes).collect::<Result<_, _>>()?;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let sound = digest.len() <= FINGERPRINT_LEN_MAX && hash.len() <= 16 && hash.bytes().all(is_word);
        sound.then(|| Self { hash: hash.to_ascii_lowercase(), digest }).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_as_it_was_written() {
        let check = |text: &str, expect: Option<&str>| {
            let read = text.parse::<Fingerprint>().map(|fingerprint| fingerprint.to_string());
            assert_eq!(read.as_deref().ok(), expect, "{text}");
        };
        check("sha-256 0A:ff:00", Some("sha-256 0A:FF:00"));
        check("SHA-1 01", Some("sha-1 01"));
        for bad in ["", "sha-256", "sha-256 ", "sha-256 0A:f", "sha-256 0A:+1", "sha-256 0A:GG", "sha 2 0A"] {
            check(bad, None);
        }
        check(&format!("sha-512 {}00", "00:".repeat(64)), None);
    }

    #[test]
    fn ice_words_are_of_its_characters_and_do_not_print() {
        let ice = IceCredentials::from_random(std::array::from_fn(|at| (at as u8).wrapping_mul(9)));
        assert_eq!((ice.ufrag.len(), ice.password.expose().len()), (UFRAG_LEN, PASSWORD_LEN));
        assert!(ice.password.expose().bytes().all(|byte| ICE_CHARS.contains(&byte)));
        assert!(!format!("{ice:?}").contains(ice.password.expose()));
        assert_ne!(ice, IceCredentials::from_random([7; ICE_SEED_LEN]));
    }
}
