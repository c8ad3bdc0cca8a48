//! The fuzz corpora as a plain test: every file, and mutations of each.

use std::path::PathBuf;

use cti_base::{Rng, Timestamp};
use cti_sip::wire::Framer;
use cti_sip::{Endpoint, Event, Flow, Packet, Transport};

use crate::net::{address, config};
use crate::torture::mutated;

const MUTATIONS: u32 = 300;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
    let read = |path: PathBuf| std::fs::read(path).expect("a file of the corpus");
    let mut paths: Vec<PathBuf> =
        folder.read_dir().expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn with_mutations(target: &str, mut feed: impl FnMut(&[u8])) {
    let files = corpus(target);
    assert!(files.len() > 2, "{target}");
    let mut rng = Rng::from_number(1);
    for file in &files {
        feed(file);
        for _ in 0..MUTATIONS {
            feed(&mutated(&mut rng, std::slice::from_ref(file)));
        }
    }
}

/// As `fuzz_targets/sip_message.rs` does it.
#[test]
fn datagrams_of_the_corpus_break_nothing_and_end_by_themselves() {
    with_mutations("sip_message", |bytes| {
        let mut end = Endpoint::new(config(address(0)), Rng::from_number(1));
        let flow = Flow { transport: Transport::Udp, local: address(0), remote: address(1), connection: None };
        end.handle_packet(Timestamp::from_millis(1), Packet { flow, bytes: bytes.to_vec().into() });
        while let Some(event) = end.poll_event() {
            if let Event::Invite { session, .. } = event {
                end.accept(Timestamp::from_millis(2), session, "v=0\r\n".into());
            }
        }
        while let Some(at) = end.poll_deadline() {
            end.handle_deadline(at);
            while end.poll_transmit().is_some() || end.poll_event().is_some() {}
        }
        assert_eq!((end.sessions(), end.transactions()), (0, 0));
    });
}

/// As `fuzz_targets/sip_stream.rs` does it.
#[test]
fn streams_of_the_corpus_are_cut_or_refused() {
    with_mutations("sip_stream", |bytes| {
        let mut framer = Framer::new();
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        for part in [head, tail] {
            framer.push(part);
            while let Ok(Some(_)) = framer.next() {}
        }
    });
}
