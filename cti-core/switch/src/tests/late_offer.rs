//! A caller who lets us offer: written out as bytes, for the scripted phones always offer.

use cti_media::{MediaCommand, sdp};

use super::*;
use crate::fact::Outcome;

fn request(method: &str, cseq: u32, to_tag: &str, body: &str) -> String {
    let content = if body.is_empty() { String::new() } else { "Content-Type: application/sdp\r\n".to_owned() };
    let branch = if method == "INVITE" { "z9hG4bKa" } else { "z9hG4bKb" };
    format!(
        "{method} sip:4001001000@{SWITCH} SIP/2.0\r\nVia: SIP/2.0/UDP {CARRIER};branch={branch}{cseq}{method}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:13800138000@192.0.2.10>;tag=abc\r\nTo: <sip:4001001000@192.0.2.100>{to_tag}\r\n\
         Call-ID: late-offer\r\nCSeq: {cseq} {method}\r\nContact: <sip:13800138000@{CARRIER}>\r\n{content}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends the INVITE without a body and returns the To tag and the body of the 200.
fn invite(world: &mut World) -> (String, String) {
    world.datagram(carrier(), request("INVITE", 1, "", "").as_bytes());
    let sent = world.sent[&carrier()].clone();
    let answer = String::from_utf8(sent.to_vec()).expect("text");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let to = answer.lines().find(|line| line.starts_with("To:")).expect("To");
    let tag = to.split(";tag=").nth(1).expect("a tag").trim();
    let body = answer.split("\r\n\r\n").nth(1).expect("a body").to_owned();
    (format!(";tag={tag}"), body)
}

#[test]
fn our_offer_is_in_the_200_and_their_answer_in_the_ack() {
    let mut world = world(1, answers(100));
    // The scripted carrier does not know this dialog.
    world.phone(carrier()).plan = Plan::Dead;
    let (tag, offer) = invite(&mut world);
    assert!(offer.contains("m=audio") && world.live(ACME).queues[0].waiting == 0);
    let local = sdp::Local {
        rtp: "192.0.2.10:4000".parse().expect("an address"),
        session_id: 1,
        version: 1,
        srtp: None,
        wideband: false,
        webrtc: None,
    };
    let (answer, _) = sdp::answer(offer.as_bytes(), &local, cti_media::Direction::SendRecv).expect("our offer");
    let answer = String::from_utf8(answer.to_vec()).expect("text");
    world.datagram(carrier(), request("ACK", 1, &tag, &answer).as_bytes());
    let connected = world.media.iter().any(
        |(_, command)| matches!(command, MediaCommand::Connect { media, .. } if media.remote_rtp == Some(local.rtp)),
    );
    assert!(connected);
    world.run_for(S);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    // A digit by INFO is no error outside a menu.
    let info = request("INFO", 2, &tag, "").replace("Content-Length: 0\r\n\r\n", "");
    let body = "Signal=5\r\nDuration=160\r\n";
    let info = format!("{info}Content-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    world.datagram(carrier(), info.as_bytes());
    world.datagram(carrier(), request("BYE", 3, &tag, "").as_bytes());
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "caller_hangup"));
    assert_clean(&mut world);
}

#[test]
fn an_ack_without_an_answer_ends_the_call() {
    let mut world = world(1, answers(100));
    world.phone(carrier()).plan = Plan::Dead;
    let (tag, _) = invite(&mut world);
    world.datagram(carrier(), request("ACK", 1, &tag, "").as_bytes());
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Failed, "no_media"));
    assert_clean(&mut world);
}

#[test]
fn a_200_that_is_never_acknowledged_ends_the_call() {
    let mut world = world(1, answers(100));
    world.phone(carrier()).plan = Plan::Dead;
    invite(&mut world);
    // 64*T1 for the ACK, and as long for the answer to our BYE (RFC 3261 13.3.1.4, 17.1.2.2).
    world.run_for(S * 66);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Failed, "no_ack"));
    assert_clean(&mut world);
}
