use cti_media::srtp::{Srtp, SrtpKeys, TRAILER_LEN_MAX};

/// Longer packets are none of a telephone's.
const PACKET_LEN_MAX: usize = 4_096 + TRAILER_LEN_MAX;

/// A leg's SRTP: both directions, and a place to encrypt in, since what is relayed may be read after it.
pub(super) struct Secure {
    keys: SrtpKeys,
    out: Srtp,
    into: Srtp,
    space: Box<[u8; PACKET_LEN_MAX]>,
}

impl Secure {
    /// What these keys make of what was there: the same go on, so that no packet's index comes again; new ones begin anew.
    pub fn follow(secure: &mut Option<Box<Self>>, keys: Option<&SrtpKeys>) {
        if secure.as_ref().map(|secure| &secure.keys) == keys {
            return;
        }
        *secure = keys.and_then(|keys| {
            let (out, into) = (Srtp::new(keys.suite, &keys.ours)?, Srtp::new(keys.suite, &keys.theirs)?);
            Some(Box::new(Self { keys: keys.clone(), out, into, space: Box::new([0; PACKET_LEN_MAX]) }))
        });
    }

    /// The packet as it leaves.
    pub fn protect(&mut self, packet: &[u8]) -> Option<&[u8]> {
        self.space.get_mut(..packet.len())?.copy_from_slice(packet);
        let len = self.out.protect(&mut self.space[..], packet.len())?;
        Some(&self.space[..len])
    }

    /// The packet's length after it was decrypted in place; `None` for what is not the peer's.
    pub fn unprotect(&mut self, datagram: &mut [u8]) -> Option<usize> {
        self.into.unprotect(datagram).ok()
    }

    /// As `protect`, of a report.
    pub fn protect_rtcp(&mut self, report: &mut Vec<u8>) -> Option<()> {
        self.out.protect_rtcp(report)
    }

    pub fn unprotect_rtcp(&mut self, datagram: &mut [u8]) -> Option<usize> {
        self.into.unprotect_rtcp(datagram).ok()
    }
}
