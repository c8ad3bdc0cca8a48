//! The test messages of RFC 4475, from the folder beside the repository where it is there, and small ones of our own.

use std::path::PathBuf;

use bytes::Bytes;
use cti_sip::{Event, RejectReason};

use crate::net::{Faults, Net, written};

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

/// A message of RFC 4475 by its name there, byte for byte.
fn message(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/rfc4475").join(format!("{name}.dat"));
    #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// RFC 4475 has so many.
const MESSAGES: usize = 49;

#[test]
fn the_torture_messages_are_treated_as_the_rfc_says() {
    assert_eq!(TABLE.len(), MESSAGES);
    let mut wrong = Vec::new();
    for (name, code, invited) in TABLE {
        let got = treat(message(name).into());
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

/// What all of these have but start line, From, Via and body.
const REST: &str = "Call-ID: SSG9559905523997077@hlau_4100\nMax-Forwards: 70\n";

/// The cases of RFC 5118: section, whether it becomes a call, status, and the message.
#[test]
fn messages_of_ipv6_are_treated_as_rfc_5118_says() {
    let check = |section: &str, code: u16, invited: bool, text: String| {
        let got = treat(Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes()));
        assert_eq!((got.0, got.1), (code, invited), "{section}: {text}");
    };
    let register = |uri: &str| {
        format!(
            "REGISTER {uri} SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\n\
             Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\n{REST}\
             Contact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\nContent-Length: 0\n\n"
        )
    };
    check("4.1", 401, false, register("sip:[2001:db8::10]"));
    check("4.2, no brackets", 400, false, register("sip:2001:db8::10:x"));
    // Read as an address whose last group is 5070: what was meant can not be known.
    check("4.3", 401, false, register("sip:[2001:db8::10:5070]"));
    check("4.4", 401, false, register("sip:[2001:db8::10]:5070"));
    let bye = |via: &str| {
        format!(
            "BYE sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com;tag=bd76ya\nFrom: sip:user@example.com;tag=81x2\n\
             {via}{REST}CSeq: 321 BYE\nContent-Length: 0\n\n"
        )
    };
    let via = |received: &str| format!("Via: SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111\n");
    check("4.5, in brackets", 481, false, bye(&via("[2001:db8::9:255]")));
    check("4.5, without", 481, false, bye(&via("2001:db8::9:255")));
    check(
        "4.7",
        481,
        false,
        bye("Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\n\
             Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\n\
             Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200\n"),
    );
    let invite = |via: &str, contact: &str, sdp: &str| {
        format!(
            "INVITE sip:user@[2001:db8::10] SIP/2.0\nTo: sip:user@[2001:db8::10]\nFrom: sip:user@example.com;tag=81x2\n{via}{REST}\
             Contact: \"Caller\" <sip:caller@{contact}>\nCSeq: 8612 INVITE\nContent-Type: application/sdp\n\nv=0\n\
             o=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=Live video feed for today's meeting\n{sdp}"
        )
    };
    let plain = "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\n";
    let audio = "t=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n";
    check("4.6", 100, true, invite(plain, "[2001:db8::20]", &format!("c=IN IP6 2001:db8::20\n{audio}")));
    let two = "t=0 0\nm=audio 22334 RTP/AVP 0\nc=IN IP4 192.0.2.1\nm=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\n";
    check("4.8", 100, true, invite(plain, "[2001:db8::9:1]", two));
    check(
        "4.9",
        100,
        true,
        invite(
            "Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\n\
             Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\n",
            "[::ffff:192.0.2.2]",
            &format!("c=IN IP6 ::ffff:192.0.2.2\n{audio}"),
        ),
    );
    let options = |host: &str| {
        format!(
            "OPTIONS sip:user@{host} SIP/2.0\nTo: sip:user@{host}\nFrom: sip:user@example.com;tag=810x2\n\
             Via: SIP/2.0/UDP lab1.east.example.com;branch=z9hG4bKas3-111\n{REST}CSeq: 689 OPTIONS\nContent-Length: 0\n\n"
        )
    };
    check("4.10, three colons", 200, false, options("[2001:db8:::192.0.2.1]"));
    check("4.10, two colons", 200, false, options("[2001:db8::192.0.2.1]"));
    check("three colons before nothing of IPv4", 400, false, options("[2001:db8:::1]"));
}

/// Whole messages to be mutated: of the RFCs where they are there, and of our own.
fn seeds() -> Vec<Vec<u8>> {
    let own = [
        "INVITE sip:4001@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;rport;branch=z9hG4bKi\r\nMax-Forwards: 70\r\nFrom: \"c\" <sip:1@h>;tag=f\r\n\
         To: <sip:2@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:1@192.0.2.7>\r\nRecord-Route: <sip:192.0.2.9;lr>\r\n\
         P-Asserted-Identity: <tel:+86138>\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n",
        "INVITE sip:4001@[2001:db8::1] SIP/2.0\r\nv: SIP/2.0/TLS [2001:db8::7]:5061;branch=z9hG4bKm\r\nf: <sip:1@h>;tag=f\r\nt: <sip:2@h>\r\n\
         i: m\r\nCSeq: 1 INVITE\r\nm: <sips:1@[2001:db8::7]>\r\nc: multipart/mixed;boundary=\"b\"\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n",
        "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKr\r\nFrom: <sip:1@h>;tag=f\r\nTo: <sip:1@h>\r\nCall-ID: r\r\n\
         CSeq: 1 REGISTER\r\nContact: *\r\nExpires: 0\r\nAuthorization: Digest username=\"1\", realm=\"zongji\", nonce=\"0011\", uri=\"sip:h\", \
         response=\"aa\", qop=auth, nc=00000001, cnonce=\"x\"\r\n\r\n",
        "SIP/2.0 401 No\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2.00000001\r\nFrom: <sip:1@h>;tag=f\r\nTo: <sip:1@h>;tag=t\r\nCall-ID: r\r\n\
         CSeq: 1 INVITE\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n",
    ];
    let mut seeds: Vec<Vec<u8>> = own.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds.extend(TABLE.iter().map(|(name, _, _)| message(name)));
    seeds
}

/// A message with one to six bytes or stretches of it changed, doubled, cut off or taken from another.
pub fn mutated(rng: &mut cti_base::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let any = |rng: &mut cti_base::Rng| &seeds[rng.below(seeds.len() as u64) as usize];
    let mut bytes = any(rng).clone();
    for _ in 0..=rng.below(6) {
        let at = rng.below(bytes.len() as u64) as usize;
        let to = (at + 1 + rng.below(40) as usize).min(bytes.len());
        match rng.below(6) {
            0 => bytes[at] = rng.next_u32() as u8,
            1 => bytes.insert(at, b"\r\n \t<>\";,:@%\0"[rng.below(13) as usize]),
            2 => bytes.truncate(at.max(1)),
            3 => {
                let stretch = bytes[at..to].to_vec();
                bytes.splice(at..at, stretch);
            }
            4 => {
                let other = any(rng);
                let from = rng.below(other.len() as u64) as usize;
                let stretch = other[from..(from + 40).min(other.len())].to_vec();
                bytes.splice(at..to, stretch);
            }
            _ => {
                bytes.drain(at..to.min(bytes.len().saturating_sub(1)).max(at));
            }
        }
    }
    bytes
}

/// A hundred thousand, in stretches between which all must be forgotten again.
#[test]
fn mutated_messages_break_nothing_and_leave_nothing() {
    const STRETCHES: u64 = 5;
    const MESSAGES_EACH: u64 = 20_000;
    let seeds = seeds();
    let source = "192.0.2.7:5060".parse().expect("an address");
    let mut sizes = Vec::new();
    let mut net = Net::new(1, Faults::default(), 1);
    // Writing it down at every step is another test's work.
    net.restoring = false;
    for stretch in 0..STRETCHES {
        let mut rng = cti_base::Rng::from_number(4475 + stretch);
        for number in 0..MESSAGES_EACH {
            net.inject_bytes(0, source, mutated(&mut rng, &seeds).into());
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
            net.log.clear();
            net.outside.clear();
            // What is begun may come to its end meanwhile.
            if number % 500 == 0 {
                net.run_for(std::time::Duration::from_secs(5));
            }
        }
        net.run_for(std::time::Duration::from_secs(200));
        let end = &net.ends[0].1;
        assert_eq!((end.sessions(), end.transactions(), end.registered(), end.poll_deadline()), (0, 0, 0, None));
        sizes.push(written(end).len());
    }
    // The numbers in it grow longer as they grow, and nothing else.
    let (least, most) = (sizes.iter().min(), sizes.iter().max());
    assert!(most.zip(least).is_some_and(|(most, least)| most - least < 64), "bytes written down: {sizes:?}");
}
