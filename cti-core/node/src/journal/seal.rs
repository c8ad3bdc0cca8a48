use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};

/// The journal's own key is a hash of this and the node's key: what else uses the node's key shares none with it.
const PURPOSE: &[u8] = b"zongji journal 1";
/// XChaCha20's nonce, long enough to be drawn at random for every blob (draft-irtf-cfrg-xchacha-03, 3.1).
const NONCE_BYTES: usize = 24;

/// What a sealed blob is; sealed in with it, so that none can stand in another's place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Tells the right key from a wrong one.
    Check,
    Group,
    Snapshot,
}

/// Seals what is private in the journal with XChaCha20-Poly1305: the nonce, the ciphertext, and the tag, which is the blob's
/// checksum as well.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
    /// The journal's name.
    pub journal: String,
}

/// Not sealed by this key, in this journal, at this place; or no longer what was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsealable;

impl Sealer {
    pub fn new(node_key: &[u8; 32], journal: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(PURPOSE);
        hash.update(node_key);
        let key: [u8; 32] = hash.finalize().into();
        Self { cipher: XChaCha20Poly1305::new(&key.into()), journal: journal.to_owned() }
    }

    /// `number` is the group's.
    pub fn seal(&self, kind: Kind, number: u64, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        let place = self.place(kind, number);
        let payload = Payload { msg: plain, aad: &place };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(std::io::Error::other)?;
        let mut blob = Vec::with_capacity(NONCE_BYTES + sealed.len());
        blob.extend_from_slice(&nonce);
        blob.extend_from_slice(&sealed);
        Ok(blob)
    }

    pub fn open(&self, kind: Kind, number: u64, blob: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = blob.split_first_chunk::<NONCE_BYTES>().ok_or(Unsealable)?;
        let place = self.place(kind, number);
        self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &place }).map_err(|_| Unsealable)
    }

    fn place(&self, kind: Kind, number: u64) -> Vec<u8> {
        let mut place = self.journal.clone().into_bytes();
        place.push(match kind {
            Kind::Check => b'c',
            Kind::Group => b'g',
            Kind::Snapshot => b's',
        });
        place.extend_from_slice(&number.to_be_bytes());
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_opens_only_with_its_key_in_its_place_and_unchanged() {
        let sealer = Sealer::new(&[7; 32], "a");
        let blob = sealer.seal(Kind::Group, 9, b"digest").expect("sealed");
        assert_eq!(sealer.open(Kind::Group, 9, &blob).as_deref(), Ok(&b"digest"[..]));
        assert_eq!(sealer.open(Kind::Group, 8, &blob), Err(Unsealable));
        assert_eq!(sealer.open(Kind::Snapshot, 9, &blob), Err(Unsealable));
        assert_eq!(Sealer::new(&[7; 32], "b").open(Kind::Group, 9, &blob), Err(Unsealable));
        assert_eq!(Sealer::new(&[8; 32], "a").open(Kind::Group, 9, &blob), Err(Unsealable));
        for at in 0..blob.len() {
            let mut changed = blob.clone();
            changed[at] ^= 1;
            assert_eq!(sealer.open(Kind::Group, 9, &changed), Err(Unsealable), "byte {at}");
            assert_eq!(sealer.open(Kind::Group, 9, &blob[..at]), Err(Unsealable), "cut at {at}");
        }
        assert!(!blob.windows(6).any(|part| part == b"digest"));
    }
}
