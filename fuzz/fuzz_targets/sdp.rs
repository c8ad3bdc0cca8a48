#![no_main]

use cti_media::{Direction, sdp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let local = sdp::Local { rtp: ([192, 0, 2, 1], 20_000).into(), session_id: 1, version: 1, srtp: None, wideband: false, webrtc: None };
    if let Ok((answer, _)) = sdp::answer(bytes, &local, Direction::SendRecv) {
        sdp::read_answer(&answer).expect("our own answer reads");
    }
    let _ = sdp::read_answer(bytes);
    sdp::differs(bytes, bytes);
});
