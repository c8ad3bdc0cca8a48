#![no_main]

use cti_base::Timestamp;
use cti_media::rtcp::Remote;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut remote = Remote::default();
    let _ = remote.receive(Timestamp::from_millis(1), 1, bytes);
    remote.last_sender_report(Timestamp::from_millis(2));
});
