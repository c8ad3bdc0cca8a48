use super::*;
use crate::desk::NackCode;
use crate::fact::{OfferEnd, Outcome, SegmentKind};

fn offer_ends(world: &World) -> Vec<(String, OfferEnd)> {
    let end = |fact: &Fact| match fact {
        Fact::OfferEnded { agent, how, .. } => Some((agent.to_string(), *how)),
        _ => None,
    };
    world.facts.iter().filter_map(|(_, fact)| end(fact)).collect()
}

#[test]
fn an_offer_nobody_answers_goes_to_the_next_agent_and_two_in_a_row_send_to_a_break() {
    let mut world = world(2, Plan::Ring);
    world.phone(agent_phone(2)).plan = answers(100);
    let first = ring_in(&mut world, "13800138000");
    world.run_for(S * 16);
    assert_eq!(offered_to(&world), ["1001", "1002"]);
    assert_eq!(state_of(&world, "1002"), AgentState::Talking);
    assert_eq!(state_of(&world, "1001"), AgentState::Ready, "one unanswered offer is no break");
    ring_in(&mut world, "13800138001");
    world.run_for(S * 16);
    let live = world.live(ACME);
    assert_eq!((live.agents[0].state, live.agents[0].reason.as_deref()), (AgentState::Break, Some("no answer")));
    assert_eq!(world.live(ACME).calls.len(), 2, "the second caller waits on");
    hang_up(&mut world, carrier(), first);
    world.run_for(S);
    assert_eq!(offered_callers(&world).last().map(String::as_str), Some("13800138001"));
    world.run_for(S * 60);
    assert_eq!(state_of(&world, "1001"), AgentState::Ready, "an agent without a desk is back after 60 s");
    assert_eq!(offer_ends(&world)[0], ("1001".to_owned(), OfferEnd::Timeout));
}

#[test]
fn a_phone_that_refuses_or_is_dead_is_passed_over() {
    for (plan, within) in [
        (Plan::Refuse { code: 486, after: MS }, MS * 200),
        (Plan::Refuse { code: 603, after: MS }, MS * 200),
        (Plan::Refuse { code: 503, after: MS * 50 }, MS * 200),
        (Plan::Dead, S * 16),
    ] {
        let mut world = world(2, plan);
        world.phone(agent_phone(2)).plan = answers(10);
        let session = ring_in(&mut world, "13800138000");
        world.run_for(within);
        assert_eq!(state_of(&world, "1002"), AgentState::Talking, "{plan:?}");
        hang_up(&mut world, carrier(), session);
        world.run_for(S);
        let record = only_record(&world);
        assert_eq!((record.outcome, record.legs.len()), (Outcome::Answered, 3), "{plan:?}");
        assert_clean(&mut world);
    }
}

#[test]
fn an_outage_of_all_phones_is_no_storm() {
    let mut world = world(5, Plan::Refuse { code: 503, after: MS });
    for n in 0..10 {
        ring_in(&mut world, &caller(n));
    }
    world.run_for(S * 55);
    assert_eq!(world.offers.len(), 10, "two failed offers an agent, then a break");
    world.run_for(S * 60);
    assert_eq!(world.offers.len(), 20, "and twice more after it");
}

#[test]
fn a_caller_who_hangs_up_while_ringing_leaves_the_agent_first_in_line() {
    let mut world = world(2, Plan::Ring);
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S * 3);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::AbandonedRinging, "caller_hangup"));
    assert!((2_900..3_100).contains(&record.ring_ms), "{}", record.ring_ms);
    assert_eq!(
        record.segments.iter().map(|s| s.kind).collect::<Vec<_>>(),
        [SegmentKind::Queue, SegmentKind::Ringing, SegmentKind::Queue]
    );
    assert!(seen(&mut world, agent_phone(1)).iter().any(|seen| matches!(seen, Seen::Cancelled { .. })));
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    ring_in(&mut world, "13800138001");
    world.run_for(S);
    assert_eq!(offered_to(&world), ["1001", "1001"], "still the longest idle");
    let live = world.live(ACME);
    assert_eq!((live.queues[0].offered, live.queues[0].abandoned), (2, 1));
}

#[test]
fn a_200_that_crosses_the_cancel_ends_clean() {
    // The phone answers at the very moment the caller's CANCEL passes.
    for after_ms in 995..1_010 {
        let mut world = world(1, answers(after_ms));
        let session = ring_in(&mut world, "13800138000");
        world.run_for(S);
        hang_up(&mut world, carrier(), session);
        world.run_for(S * 2);
        let outcome = only_record(&world).outcome;
        assert!(matches!(outcome, Outcome::AbandonedRinging | Outcome::Answered), "{outcome:?}");
        assert!(world.phone(agent_phone(1)).sessions().is_empty());
        assert_clean(&mut world);
    }
}

#[test]
fn a_desk_rejects_and_the_call_goes_elsewhere() {
    let mut world = world_with(&desk_file(2), Plan::Ring, Settings::default());
    go_ready(&mut world, "1001");
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 100);
    let offer_id = world.offers[0].2.offer_id;
    let id = world.command(ACME, "1001", Command::Reject { offer_id, reason: None });
    assert_eq!(world.replies[&id], Ok(()));
    assert_eq!(offer_ends(&world), [("1001".to_owned(), OfferEnd::Rejected)]);
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    let late = world.command(ACME, "1001", Command::Reject { offer_id, reason: None });
    assert_eq!(world.replies[&late].as_ref().map_err(|nack| nack.code), Err(NackCode::NotYours));
    world.run_for(S);
    go_ready(&mut world, "1002");
    world.run_for(MS * 100);
    assert_eq!(offered_to(&world), ["1001", "1002"]);
    let offer_id = world.offers[1].2.offer_id;
    world.command(ACME, "1002", Command::Reject { offer_id, reason: None });
    assert_eq!(offered_to(&world), ["1001", "1002", "1001"], "another was tried: the first may be asked again");
}

#[test]
fn the_only_agent_who_rejected_is_asked_again_after_a_pause() {
    let mut world = world_with(&desk_file(1), Plan::Ring, Settings::default());
    go_ready(&mut world, "1001");
    ring_in(&mut world, "13800138000");
    for round in 1..=4 {
        world.run_for(S * 6);
        assert_eq!(world.offers.len(), round);
        let offer_id = world.offers[round - 1].2.offer_id;
        world.command(ACME, "1001", Command::Reject { offer_id, reason: None });
    }
    world.run_for(S * 30);
    assert_eq!(world.offers.len(), 4, "four failed offers in a minute are enough");
    world.run_for(S * 20);
    assert_eq!(world.offers.len(), 5);
}

#[test]
fn the_desks_accept_makes_the_phone_answer() {
    let mut world = world_with(&desk_file(1), Plan::Ring, Settings::default());
    go_ready(&mut world, "1001");
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 100);
    let offer_id = world.offers[0].2.offer_id;
    let id = world.command(ACME, "1001", Command::Accept { offer_id });
    let other = world.command(ACME, "1001", Command::Hangup { call_id: world.offers[0].2.call_id });
    assert_eq!(world.replies[&other].as_ref().map_err(|nack| nack.code), Err(NackCode::WrongState));
    world.run_for(S);
    assert_eq!((&world.replies[&id], state_of(&world, "1001")), (&Ok(()), AgentState::Talking));
    let again = world.command(ACME, "1001", Command::Accept { offer_id });
    assert_eq!(world.replies[&again].as_ref().map_err(|nack| nack.code), Err(NackCode::NotYours));
}

#[test]
fn a_phone_that_can_not_be_made_to_answer_is_answered_by_hand() {
    let mut world = world_with(&desk_file(1), Plan::Dead, Settings::default());
    go_ready(&mut world, "1001");
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 100);
    let frame = world.offers[0].2.clone();
    assert!(frame.can_accept, "nothing is known of this phone yet");
    // It rings, as written out, and says nothing of `talk`.
    let invite = String::from_utf8(world.sent[&agent_phone(1)].to_vec()).expect("text");
    let lines = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let kept: Vec<&str> = invite.lines().filter(|line| lines.iter().any(|name| line.starts_with(name))).collect();
    let ringing = format!(
        "SIP/2.0 180 Ringing\r\n{}\r\nContact: <sip:1001@192.0.2.20:6001>\r\nContent-Length: 0\r\n\r\n",
        kept.join("\r\n")
    );
    let ringing = ringing.replacen("To: <sip:1001@192.0.2.20:6001>", "To: <sip:1001@192.0.2.20:6001>;tag=phone", 1);
    assert!(ringing.contains(";tag=phone"), "{ringing}");
    world.datagram(agent_phone(1), ringing.as_bytes());
    let id = world.command(ACME, "1001", Command::Accept { offer_id: frame.offer_id });
    assert_eq!(world.replies[&id].as_ref().map_err(|nack| nack.code), Err(NackCode::AnswerOnPhone));
    assert_eq!(state_of(&world, "1001"), AgentState::Offered, "it still rings");
    world.run_for(S * 20);
    ring_in(&mut world, "13800138001");
    world.run_for(MS * 100);
    assert!(!world.offers.last().expect("another offer").2.can_accept, "the desk is told beforehand");
}

#[test]
fn records_that_do_not_answer_cost_one_wait() {
    let settings = Settings { records_after: None, ..Settings::default() };
    let mut world = world_with(&file(2), Plan::Ring, settings);
    let began = world.now;
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 100);
    assert!(world.offers[0].0.since(began) >= MS * 30 && !world.offers[0].2.pop.records_known);
    let began = world.now;
    ring_in(&mut world, "13800138001");
    world.run_for(MS * 100);
    assert!(world.offers[1].0.since(began) < MS * 5, "the records proved unreachable: nobody waits for them");
}

#[test]
fn records_that_answer_late_reach_the_desk_as_a_pop() {
    let settings = Settings { records_after: Some(MS * 200), ..Settings::default() };
    let mut world = world_with(&desk_file(1), Plan::Ring, settings);
    go_ready(&mut world, "1001");
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert!(!world.offers[0].2.pop.records_known);
    let last = world.desk.last().map(|(_, _, event)| super::flow::name_of(event));
    assert_eq!(last.as_deref(), Some("pop"));
}
