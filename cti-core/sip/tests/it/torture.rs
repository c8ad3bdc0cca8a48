//! The test messages of RFC 4475, from the folder beside the repository where it is there, and small ones of our own.

use std::path::PathBuf;

use bytes::Bytes;
use cti_sip::{Event, RejectReason};

use crate::net::{Faults, Net};

/// What comes of a message: the first status sent (0 for silence) and whether an INVITE reached the switch.
fn treat(bytes: Bytes) -> (u16, bool, Vec<RejectReason>) {
    let mut net = Net::new(1, Faults::default(), 1);
    net.inject_bytes(0, "192.0.2.1:5060".parse().expect("an address"), bytes);
    let code = net.log.first().and_then(|(_, _, text)| text.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let events = net.take(0);
    let invited = events.iter().any(|event| matches!(event, Event::Invite { .. }));
    let reasons = events
        .iter()
        .filter_map(|event| match event {
            Event::Rejected { reason } => Some(*reason),
            _ => None,
        })
        .collect();
    (code.unwrap_or(0), invited, reasons)
}

/// Name, status, and whether it becomes a call. Responses and unknown transactions are silence.
const TABLE: &[(&str, u16, bool)] = &[
    // 3.1.1 valid messages
    // Read whole; it is within a dialog that we do not have.
    ("wsinv", 481, false),
    ("intmeth", 501, false),
    ("esc01", 100, true),
    ("escnull", 401, false),
    ("esc02", 501, false),
    ("lwsdisp", 200, false),
    ("longreq", 100, true),
    ("dblreq", 401, false),
    ("semiuri", 200, false),
    ("transports", 200, false),
    ("mpart01", 405, false),
    ("unreason", 0, false),
    ("noreason", 0, false),
    // 3.1.2 invalid messages
    ("badinv01", 400, false),
    ("clerr", 400, false),
    ("ncl", 400, false),
    ("scalar02", 400, false),
    ("scalarlg", 0, false),
    ("quotbal", 400, false),
    ("ltgtruri", 400, false),
    ("lwsruri", 400, false),
    ("lwsstart", 400, false),
    ("trws", 400, false),
    ("escruri", 400, false),
    ("baddate", 100, true),
    ("regbadct", 401, false),
    // White space within `<>` can be ignored without doubt, and is.
    ("badaspec", 200, false),
    ("baddn", 400, false),
    ("badvers", 505, false),
    ("mismatch01", 400, false),
    ("mismatch02", 400, false),
    ("bigcode", 0, false),
    // 3.2 transaction layer
    ("badbranch", 200, false),
    // 3.3 application layer
    ("insuf", 400, false),
    ("unkscm", 416, false),
    ("novelsc", 416, false),
    ("unksm2", 400, false),
    ("bext01", 420, false),
    ("invut", 415, false),
    ("regaut01", 401, false),
    ("multi01", 400, false),
    ("mcl01", 400, false),
    ("bcast", 0, false),
    ("zeromf", 200, false),
    ("cparam01", 401, false),
    ("cparam02", 401, false),
    ("regescrt", 401, false),
    ("sdp01", 100, true),
    // 3.4 backward compatibility
    ("inv2543", 100, true),
];

#[test]
fn the_torture_messages_are_treated_as_the_rfc_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/torture");
    if !folder.is_dir() {
        println!("skipped: {} is not there; the cases of our own cover the same ground", folder.display());
        return;
    }
    let mut wrong = Vec::new();
    for (name, code, invited) in TABLE {
        let path = folder.join(format!("{name}.dat"));
        #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let got = treat(bytes.into());
        if (got.0, got.1) != (*code, *invited) {
            wrong.push(format!("{name}: expected {code} {invited}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn odd_messages_of_our_own_are_treated_the_same() {
    let check = |text: &str, code: u16, invited: bool| {
        let got = treat(Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes()));
        assert_eq!((got.0, got.1), (code, invited), "{text}");
    };
    let rest = "f: sip:a@b;tag=1\nt: sip:c@d\ni: x\n";
    // White space, folding, quoted pairs, an unknown header.
    check(
        "INVITE sip:v@h;unknownparam SIP/2.0\nTO :\n sip:v@h ;   x\nfrom   : \"J \\\\\\\"\"  <sip:j@h>\n  ;\n  tag = 98\nMAX-fOrWaRdS: 0068\n\
         Call-ID: w\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\nX-New :\n ;x\nv: SIP / 2.0 / TCP  h ;\n  branch = z9hG4bK9\nm:\"Q \\\"\\\"\" <sip:j@h> ; p = 1\n\n",
        100,
        true,
    );
    check(
        &format!(
            "!odd-Method_*+`.%'~ sip:a SIP/2.0\nv: SIP/2.0/UDP h;branch=z9hG4bK1\n{rest}CSeq: 1 !odd-Method_*+`.%'~\n\n"
        ),
        501,
        false,
    );
    check(
        &format!("OPTIONS sip:u;p=x%40y@h SIP/2.0\nv: SIP/2.0/UNKNOWN h;branch=z9hG4bK1\n{rest}CSeq: 1 OPTIONS\n\n"),
        200,
        false,
    );
    check(
        &format!("OPTIONS <sip:u@h> SIP/2.0\nv: SIP/2.0/UDP h;branch=z9hG4bK1\n{rest}CSeq: 1 OPTIONS\n\n"),
        400,
        false,
    );
    check(&format!("OPTIONS nope:u SIP/2.0\nv: SIP/2.0/UDP h;branch=z9hG4bK1\n{rest}CSeq: 1 OPTIONS\n\n"), 416, false);
    check(
        &format!(
            "OPTIONS sip:u@h SIP/2.0\nv: SIP/2.0/UDP h;branch=z9hG4bK1\n{rest}CSeq: 1 OPTIONS\nl: 4\nl: 5\n\nabcde"
        ),
        400,
        false,
    );
    check(
        &format!(
            "OPTIONS sip:u@h SIP/2.0\nv: SIP/2.0/UDP h;branch=z9hG4bK1\n{rest}CSeq: 1 OPTIONS\nMax-Forwards: 300\n\n"
        ),
        400,
        false,
    );
    check(
        "SIP/2.0 4294967301 Big\nv: SIP/2.0/UDP h;branch=z9hG4bK1\nf: sip:a@b;tag=1\nt: sip:c@d\ni: x\nCSeq: 1 OPTIONS\n\n",
        0,
        false,
    );
    check(&format!("INVITE sip:u@h SIP/2.0\nv: SIP/2.0/UDP h\n{rest}CSeq: 1 INVITE\n\n"), 100, true);
}

#[test]
fn mutated_messages_break_nothing_and_leave_nothing() {
    let seeds = [
        "INVITE sip:4001@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;rport;branch=z9hG4bKi\r\nMax-Forwards: 70\r\nFrom: \"c\" <sip:1@h>;tag=f\r\n\
         To: <sip:2@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:1@192.0.2.7>\r\nRecord-Route: <sip:192.0.2.9;lr>\r\n\
         P-Asserted-Identity: <tel:+86138>\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n",
        "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKr\r\nFrom: <sip:1@h>;tag=f\r\nTo: <sip:1@h>\r\nCall-ID: r\r\n\
         CSeq: 1 REGISTER\r\nContact: *\r\nExpires: 0\r\nAuthorization: Digest username=\"1\", realm=\"zongji\", nonce=\"0011\", uri=\"sip:h\", \
         response=\"aa\", qop=auth, nc=00000001, cnonce=\"x\"\r\n\r\n",
        "SIP/2.0 401 No\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2.00000001\r\nFrom: <sip:1@h>;tag=f\r\nTo: <sip:1@h>;tag=t\r\nCall-ID: r\r\n\
         CSeq: 1 INVITE\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n",
    ];
    let mut rng = cti_base::Rng::from_number(4475);
    let mut net = Net::new(1, Faults::default(), 1);
    let source = "192.0.2.7:5060".parse().expect("an address");
    for _ in 0..20_000 {
        let mut bytes = seeds[rng.below(3) as usize].as_bytes().to_vec();
        for _ in 0..=rng.below(6) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(4) {
                0 => bytes[at] = rng.next_u32() as u8,
                1 => bytes.insert(at, b"\r\n \t<>\";,:@%\0"[rng.below(13) as usize]),
                2 => bytes.truncate(at.max(1)),
                _ => drop(bytes.drain(at..(at + rng.below(8) as usize).min(bytes.len() - 1).max(at))),
            }
        }
        net.inject_bytes(0, source, bytes.into());
        for event in net.take(0) {
            if let Event::Invite { session, .. } = event {
                let now = net.now;
                match rng.below(3) {
                    0 => net.ends[0].1.accept(now, session, Bytes::from_static(b"v=0")),
                    1 => net.ends[0].1.reject(now, session, 486),
                    _ => net.ends[0].1.hangup(now, session, None),
                }
            }
        }
    }
    net.run_for(std::time::Duration::from_secs(200));
    let end = &net.ends[0].1;
    assert_eq!((end.sessions(), end.transactions(), end.registered(), end.poll_deadline()), (0, 0, 0, None));
}
