//! Keys pressed at the desk.

use cti_media::MediaCommand;

use super::transfer::*;
use super::*;
use crate::desk::NackCode;

fn pressed(world: &World) -> Vec<String> {
    let digits = |command: &MediaCommand| match command {
        MediaCommand::Press { leg, digits } => Some((*leg, digits.clone())),
        _ => None,
    };
    let customer = world.engine.calls.values().next().expect("a call").customer.id;
    let all = world.media.iter().filter_map(|(_, command)| digits(command));
    all.map(|(leg, digits)| format!("{}{digits}", if leg == customer { "" } else { "aside " })).collect()
}

#[test]
fn keys_go_to_whom_the_agent_talks_with() {
    let (mut world, session) = talking_in(&two_queues(2), &[(2, answers(50))]);
    let call_id = call_id(&world);
    let keys = |world: &mut World, digits: &str| ask(world, "1001", Command::Dtmf { call_id, digits: digits.into() });
    assert_eq!(keys(&mut world, "12#"), Ok(()));
    for wrong in ["", "12x", "1 2", &"1".repeat(33)] {
        assert_eq!(keys(&mut world, wrong), Err(NackCode::BadFrame), "{wrong:?}");
    }
    assert_eq!(ask(&mut world, "1002", Command::Dtmf { call_id, digits: "1".into() }), Err(NackCode::NotYours));
    assert_eq!(ask(&mut world, "1001", Command::Consult { call_id, to: to_agent("1002") }), Ok(()));
    assert_eq!(keys(&mut world, "3"), Err(NackCode::WrongState), "nobody is there");
    world.run_for(S);
    assert_eq!(keys(&mut world, "4"), Ok(()));
    assert_eq!(pressed(&world), ["12#", "aside 4"]);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_peer_without_telephone_event_gets_them_by_info() {
    let mut world = world_with(&two_queues(2), answers(50), Settings::default());
    let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
    let session = world.with_phone(carrier(), |phone, now| {
        let uri = format!("sip:4001001000@{SWITCH}");
        phone.dial(now, &uri, "13800138000", Codec::Pcma, Some(bytes::Bytes::from_static(offer.as_bytes())))
    });
    world.run_for(S * 2);
    let call_id = call_id(&world);
    assert_eq!(ask(&mut world, "1001", Command::Dtmf { call_id, digits: "7".into() }), Ok(()));
    let sent = String::from_utf8(world.sent[&carrier()].to_vec()).expect("text");
    assert!(
        sent.starts_with("INFO ") && sent.contains("application/dtmf-relay") && sent.contains("Signal=7\r\n"),
        "{sent}"
    );
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}
