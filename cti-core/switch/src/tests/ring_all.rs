//! Several phones ring with one call: one of them has it.

use super::*;
use crate::desk::Event;
use crate::fact::{OfferEnd, Outcome, SegmentKind};

fn ring_all_file(agents: usize) -> Value {
    let mut file = file(agents);
    file["queue"][0]["strategy"] = json!("ring_all");
    file
}

fn cancelled(world: &mut World, phones: std::ops::RangeInclusive<usize>) -> usize {
    let was = |seen: &Seen| matches!(seen, Seen::Cancelled { .. });
    phones.filter(|n| seen(world, agent_phone(*n)).iter().any(was)).count()
}

fn ends(world: &World) -> Vec<(String, OfferEnd)> {
    let end = |fact: &Fact| match fact {
        Fact::OfferEnded { agent, how, .. } => Some((agent.to_string(), *how)),
        _ => None,
    };
    world.facts.iter().filter_map(|(_, fact)| end(fact)).collect()
}

#[test]
fn of_twenty_phones_one_wins_and_nobody_has_missed_anything() {
    let mut world = world_with(&ring_all_file(25), Plan::Ring, Settings::default());
    world.phone(agent_phone(7)).plan = answers(2_000);
    world.desk_connects(ACME, "1003");
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    let rung: usize = (1..=25).map(|n| invites(&mut world, agent_phone(n))).sum();
    assert_eq!((rung, world.engine.held().offers), (20, 20), "never more than twenty at once");
    world.run_for(S * 2);
    assert_eq!(state_of(&world, "1007"), AgentState::Talking);
    assert_eq!(cancelled(&mut world, 1..=20), 19);
    let ended = ends(&world);
    assert_eq!(ended.iter().filter(|(_, how)| *how == OfferEnd::Accepted).count(), 1);
    assert_eq!(ended.iter().filter(|(_, how)| *how == OfferEnd::Withdrawn).count(), 19);
    let elsewhere =
        |event: &Event| matches!(event, Event::OfferWithdrawn { reason, .. } if reason == "answered_elsewhere");
    assert!(world.desk.iter().any(|(_, agent, event)| agent.as_str() == "1003" && elsewhere(event)));
    // Twice more without the winner: nobody is sent to a break.
    for n in 1..=2 {
        let again = ring_in(&mut world, &caller(n));
        world.run_for(S * 3);
        hang_up(&mut world, carrier(), again);
        world.run_for(S);
    }
    assert!(world.live(ACME).agents.iter().all(|agent| agent.state != AgentState::Break));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record =
        world.records().into_iter().find(|record| record.outcome == Outcome::Answered).expect("a talk").clone();
    assert_eq!(record.agent.as_ref().map(|agent| agent.as_str()), Some("1007"));
    assert!(
        (1_900..2_100).contains(&record.ring_ms),
        "the time that it rang, not that of all phones: {}",
        record.ring_ms
    );
    let kinds: Vec<SegmentKind> = record.segments.iter().map(|segment| segment.kind).collect();
    assert_eq!(kinds, [SegmentKind::Queue, SegmentKind::Ringing, SegmentKind::Talk]);
    assert_clean(&mut world);
}

#[test]
fn two_phones_that_answer_at_once_leave_one_talk() {
    for after_ms in 95..105 {
        let mut world = world_with(&ring_all_file(3), answers(100), Settings::default());
        world.phone(agent_phone(2)).plan = answers(after_ms);
        let session = ring_in(&mut world, "13800138000");
        world.run_for(S * 2);
        let talking = world.live(ACME).agents.iter().filter(|agent| agent.state == AgentState::Talking).count();
        assert_eq!(talking, 1);
        let sessions: usize = (1..=3).map(|n| world.phone(agent_phone(n)).sessions().len()).sum();
        assert_eq!(sessions, 1, "the others' dialogs are over");
        hang_up(&mut world, carrier(), session);
        assert_clean(&mut world);
    }
}

#[test]
fn when_nobody_answers_all_have_missed_and_a_refusal_leaves_the_others_ringing() {
    let mut world = world_with(&ring_all_file(3), Plan::Ring, Settings::default());
    world.phone(agent_phone(1)).plan = Plan::Refuse { code: 486, after: MS };
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert_eq!(state_of(&world, "1002"), AgentState::Offered);
    assert_eq!(world.engine.held().offers, 2, "who refused is not rung again while others ring");
    world.run_for(S * 15);
    let timeouts = ends(&world).into_iter().filter(|(_, how)| *how == OfferEnd::Timeout).count();
    assert_eq!(timeouts, 2);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_caller_who_gives_up_silences_all_and_a_crash_keeps_them_ringing() {
    let mut world = world_with(&ring_all_file(4), Plan::Ring, Settings { snapshot_every: 1, ..Settings::default() });
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.crash(MS * 500);
    world.run_for(S);
    assert_eq!(world.engine.held().offers, 4);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(cancelled(&mut world, 1..=4), 4);
    assert_eq!(only_record(&world).outcome, Outcome::AbandonedRinging);
    assert!(world.live(ACME).agents.iter().all(|agent| agent.state == AgentState::Ready));
    assert_clean(&mut world);
}

#[test]
fn extra_phones_take_no_port_that_another_call_needs() {
    let settings = Settings { legs_max: 8, ..Settings::default() };
    let mut world = world_with(&ring_all_file(10), Plan::Ring, settings);
    ring_in(&mut world, &caller(0));
    world.run_for(S);
    ring_in(&mut world, &caller(1));
    world.run_for(MS * 300);
    let rung = world.live(ACME).calls.iter().filter(|call| call.state == crate::desk::CallState::Offering).count();
    assert_eq!(rung, 2, "the second caller's agent is rung too");
}
