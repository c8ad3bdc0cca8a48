use super::*;
use crate::effect::Measure;
use bytes::Bytes;

fn reasons(world: &World) -> Vec<&'static str> {
    let reason = |measure: &Measure| match measure {
        Measure::CallRejected { reason } => Some(*reason),
        Measure::SipRejected { reason } => Some(reason.as_str()),
        Measure::Setup { .. }
        | Measure::QueueWait { .. }
        | Measure::EstimateError { .. }
        | Measure::Unauthorized { .. } => None,
    };
    world.measures.iter().filter_map(reason).collect()
}

/// The call is refused with this status and counted under this reason, and nothing else happens.
fn refused(world: &mut World, from: SocketAddr, uri: &str, offer: Option<&str>, expect: (u16, &str)) {
    let facts = world.facts.len();
    let offer = offer.map(|text| Bytes::copy_from_slice(text.as_bytes()));
    world.with_phone(from, |phone, now| phone.dial(now, uri, "13800138000", Codec::Pcma, offer));
    world.run_for(S);
    let code = seen(world, from).iter().rev().find_map(|seen| match seen {
        Seen::Failed { code, .. } => Some(*code),
        _ => None,
    });
    assert_eq!(code, Some(expect.0), "{uri}");
    assert_eq!(reasons(world).last(), Some(&expect.1), "{uri}");
    assert_eq!((world.facts.len(), world.media.len()), (facts, 0), "nothing else happens");
}

const NO_CODEC: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n";

#[test]
fn calls_that_can_not_come_in_are_refused_and_counted() {
    let mut world = world(0, answers(0));
    let stranger = world.add_phone("192.0.2.66:5060", Plan::Ring);
    let uri = |did: &str| format!("sip:{did}@{SWITCH}");
    refused(&mut world, stranger, &uri("4001001000"), None, (403, "unknown_source"));
    refused(&mut world, carrier(), &uri("4009999999"), None, (404, "unknown_number"));
    refused(&mut world, carrier(), &uri("4001001000"), Some(NO_CODEC), (488, "no_common_codec"));
    refused(&mut world, carrier(), &uri("4001001000"), Some("nonsense"), (400, "malformed_sdp"));
    world.input(crate::Input::Drain);
    refused(&mut world, carrier(), &uri("4001001000"), None, (503, "draining"));
    assert_clean(&mut world);
}

#[test]
fn a_malformed_datagram_is_counted_and_nothing_else_happens() {
    let mut world = world(0, answers(0));
    for bytes in [&b"\x00\xff nonsense"[..], b"INVITE sip:4001001000@192.0.2.100 SIP/2.0\r\n\r\n", b"\r\n\r\n", b""] {
        world.datagram(carrier(), bytes);
    }
    world.run_for(S);
    assert!(reasons(&world).contains(&"malformed"), "{:?}", reasons(&world));
    assert_eq!(world.facts.len(), 0);
    assert_clean(&mut world);
}

#[test]
fn a_trunks_limits_answer_503() {
    let mut file = file(0);
    file["trunk"][0]["max_calls"] = json!(2);
    let mut world = world_with(&file, answers(0), Settings::default());
    for _ in 0..3 {
        ring_in(&mut world, "13800138000");
        world.run_for(MS * 100);
    }
    assert_eq!(reasons(&world), ["trunk_max_calls"]);
    assert_eq!(world.live(ACME).calls.len(), 2);

    file["trunk"][0]["max_calls"] = json!(500);
    file["trunk"][0]["max_cps"] = json!(5);
    let mut world = world_with(&file, answers(0), Settings::default());
    for _ in 0..20 {
        ring_in(&mut world, "13800138000");
    }
    world.run_for(MS * 100);
    assert_eq!(world.live(ACME).calls.len(), 5);
    world.run_for(S);
    for _ in 0..20 {
        ring_in(&mut world, "13800138000");
    }
    world.run_for(MS * 100);
    assert_eq!(world.live(ACME).calls.len(), 10);
}

#[test]
fn a_call_without_a_free_port_or_leg_answers_503_and_raises_an_alarm() {
    let settings = Settings { rtp_ports: 20_000..=20_007, ..Settings::default() };
    let mut world = world_with(&file(0), answers(0), settings);
    for _ in 0..3 {
        ring_in(&mut world, "13800138000");
        world.run_for(MS * 100);
    }
    assert_eq!(reasons(&world), ["no_media_port"]);
    assert_eq!(world.live(ACME).alarms[0].code, "no_media_port");
    for session in world.phone(carrier()).sessions() {
        hang_up(&mut world, carrier(), session);
    }
    assert_clean(&mut world);
}

#[test]
fn a_leg_whose_ports_can_not_be_bound_ends_its_call() {
    let settings = Settings { bad_ports: [20_000].into(), ..Settings::default() };
    let mut world = world_with(&file(0), answers(0), settings);
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (crate::Outcome::Failed, "media_failed"));
    assert_clean(&mut world);
}
