#![no_main]

use cti_media::webrtc::{Edge, Half, ICE_SEED_LEN, IceCredentials};
use cti_media::{Direction, sdp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let fingerprint = "sha-256 01:AB".parse().expect("a fingerprint");
    let edge = Edge { addresses: vec![([192, 0, 2, 1], 20_001).into()], streams: true, fingerprint };
    let half = Half::new(edge, IceCredentials::from_random([3; ICE_SEED_LEN]), 77);
    let webrtc = sdp::is_browsers(bytes).then(|| Box::new(half));
    let mut local = sdp::Local { rtp: ([192, 0, 2, 1], 20_000).into(), session_id: 1, version: 1, srtp: None, wideband: false, webrtc };
    if let Ok((answer, media)) = sdp::answer(bytes, &local, Direction::SendRecv) {
        local.settled(&media);
        let ours = sdp::read_answer_of(&answer, &local);
        assert!(ours.is_ok() || media.remote_rtp.is_none(), "our own answer reads: {ours:?}");
    }
    let _ = sdp::read_answer(bytes);
    sdp::differs(bytes, bytes);
});
