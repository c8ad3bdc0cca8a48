//! The fuzz corpora as a plain test: every file, and mutations of each.

use std::path::PathBuf;

use cti_base::{Rng, Timestamp};
use cti_media::rtcp::Remote;
use cti_media::webrtc::{Edge, Half, ICE_SEED_LEN, IceCredentials};
use cti_media::{Direction, dtmf, rtp, sdp};

const MUTATIONS: u32 = 1_000;

fn with_mutations(target: &str, mut feed: impl FnMut(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = folder.read_dir().expect("the corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() > 2, "{target}");
    let mut rng = Rng::from_number(1);
    for path in paths {
        #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
        let file = std::fs::read(path).expect("a file of the corpus");
        feed(&file);
        for _ in 0..MUTATIONS {
            feed(&mutated(&mut rng, file.clone()));
        }
    }
}

fn mutated(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..=rng.below(5) {
        let at = rng.below(bytes.len() as u64) as usize;
        match rng.below(4) {
            0 => bytes[at] = rng.next_u32() as u8,
            1 => bytes.insert(at, b"\r\n :=/0\xff"[rng.below(8) as usize]),
            2 => bytes.truncate(at.max(1)),
            _ => bytes[at] ^= 1 << rng.below(8),
        }
    }
    bytes
}

#[test]
fn descriptions_of_the_corpus_are_answered_or_refused() {
    with_mutations("sdp", |bytes| {
        let fingerprint = "sha-256 01:AB".parse().expect("a fingerprint");
        let edge = Edge { addresses: vec![([192, 0, 2, 1], 20_001).into()], streams: true, fingerprint };
        let half = Half::new(edge, IceCredentials::from_random([3; ICE_SEED_LEN]), 77);
        let mut local = sdp::Local {
            rtp: ([192, 0, 2, 1], 20_000).into(),
            session_id: 1,
            version: 1,
            srtp: None,
            wideband: false,
            webrtc: sdp::is_browsers(bytes).then(|| Box::new(half)),
        };
        if let Ok((answer, media)) = sdp::answer(bytes, &local, Direction::SendRecv) {
            local.settled(&media);
            let ours = sdp::read_answer_of(&answer, &local);
            assert!(ours.is_ok() || media.remote_rtp.is_none(), "our own answer reads: {ours:?}");
        }
        let _refused = sdp::read_answer(bytes);
        sdp::differs(bytes, bytes);
    });
}

#[test]
fn packets_of_the_corpus_are_read_or_refused() {
    with_mutations("rtp", |bytes| {
        let _refused = rtp::Header::parse(bytes);
        let mut digits = dtmf::Receiver::default();
        for payload in bytes.chunks(4) {
            digits.receive(1, 1, payload);
        }
    });
}

#[test]
fn reports_of_the_corpus_are_read_or_refused() {
    with_mutations("rtcp", |bytes| {
        let mut remote = Remote::default();
        let _refused = remote.receive(Timestamp::from_millis(1), 1, bytes);
        remote.last_sender_report(Timestamp::from_millis(2));
    });
}
