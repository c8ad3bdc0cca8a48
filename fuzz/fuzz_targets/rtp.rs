#![no_main]

use cti_media::{dtmf, rtp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = rtp::Header::parse(bytes);
    let mut digits = dtmf::Receiver::default();
    for payload in bytes.chunks(4) {
        digits.receive(1, 1, payload);
    }
});
