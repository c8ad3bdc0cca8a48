#![no_main]

use cti_sip::wire::Framer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut framer = Framer::new();
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    for part in [head, tail] {
        framer.push(part);
        while let Ok(Some(_)) = framer.next() {}
    }
});
