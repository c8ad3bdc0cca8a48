use super::*;
use crate::fact::Outcome;

#[test]
fn callers_are_served_first_come_first_served_and_at_once() {
    let mut world = world_with(&desk_file(1), Plan::Answer { after: MS * 50, talk: Some(S) }, Settings::default());
    for n in 0..5 {
        ring_in(&mut world, &caller(n));
        world.run_for(MS * 100);
    }
    world.run_for(S * 20);
    assert_eq!(world.live(ACME).queues[0].waiting, 5);
    assert!(world.live(ACME).queues[0].longest_wait_ms >= 20_000);
    let ready_at = world.now;
    go_ready(&mut world, "1001");
    world.run_for(MS * 100);
    assert!(world.offers[0].0.since(ready_at) < MS * 200);
    world.run_for(S * 20);
    assert_eq!(offered_callers(&world), (0..5).map(caller).collect::<Vec<_>>());
    assert_clean(&mut world);
}

#[test]
fn a_caller_keeps_their_place_when_an_offer_fails() {
    let mut world = world(1, Plan::Refuse { code: 486, after: MS });
    for n in 0..3 {
        ring_in(&mut world, &caller(n));
    }
    world.run_for(S * 30);
    world.phone(agent_phone(1)).plan = Plan::Answer { after: MS * 50, talk: Some(S) };
    world.run_for(S * 120);
    let mut served = offered_callers(&world);
    served.drain(..2);
    assert_eq!(served, [caller(0), caller(1), caller(2)]);
}

#[test]
fn higher_priority_is_served_first_over_all_queues_of_an_agent() {
    let mut file = desk_file(1);
    file["queue"] = json!([{"name": "repair", "wrapup_s": 0}, {"name": "rescue", "wrapup_s": 0, "priority": 5}]);
    file["number"] = json!([{"did": "1", "trunk": "carrier-a", "route": {"queue": "repair"}},
                            {"did": "2", "trunk": "carrier-a", "route": {"queue": "rescue"}}]);
    agent_mut(&mut file, 1)["queues"] = json!(["repair", "rescue"]);
    let mut world = world_with(&file, Plan::Answer { after: MS * 50, talk: Some(S) }, Settings::default());
    for (n, did) in ["1", "1", "2", "1", "2"].iter().enumerate() {
        world.with_phone(carrier(), |phone, now| {
            phone.dial(now, &format!("sip:{did}@{SWITCH}"), &caller(n), Codec::Pcmu, None)
        });
        world.run_for(MS * 20);
    }
    go_ready(&mut world, "1001");
    world.run_for(S * 20);
    assert_eq!(offered_callers(&world), [2, 4, 0, 1, 3].map(caller));
    assert_clean(&mut world);
}

#[test]
fn skills_keep_a_call_for_those_who_have_them() {
    let mut file = file(2);
    file["queue"][0]["requires"] = json!({"repair": 3});
    agent_mut(&mut file, 1)["skills"] = json!({"repair": 2});
    agent_mut(&mut file, 2)["skills"] = json!({"repair": 3});
    let mut world = world_with(&file, answers(50), Settings::default());
    ring_in(&mut world, &caller(0));
    ring_in(&mut world, &caller(1));
    world.run_for(S);
    assert_eq!(offered_to(&world), ["1002"]);
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
}

#[test]
fn the_longest_idle_agent_is_offered_first() {
    let mut world =
        world_with(&desk_file(3), Plan::Answer { after: MS * 50, talk: Some(MS * 500) }, Settings::default());
    for agent in ["1002", "1003", "1001"] {
        go_ready(&mut world, agent);
        world.run_for(S);
    }
    for n in 0..6 {
        ring_in(&mut world, &caller(n));
        world.run_for(S * 2);
    }
    assert_eq!(offered_to(&world), ["1002", "1003", "1001", "1002", "1003", "1001"]);
    assert_clean(&mut world);
}

#[test]
fn a_waiting_caller_hears_position_and_wait_again_and_again() {
    let mut world = world(0, answers(0));
    ring_in(&mut world, &caller(0));
    world.run_for(MS * 500);
    assert!(
        playing(&world).contains("queue_welcome") && playing(&world).contains("position_next"),
        "{}",
        playing(&world)
    );
    world.run_for(S * 10);
    assert!(playing(&world).contains("music/default"));
    world.run_for(S * 20);
    assert!(playing(&world).contains("position_next"), "{}", playing(&world));
    world.run_for(S * 5);
    assert!(playing(&world).contains("music/default"));
}

#[test]
fn max_wait_says_goodbye_and_hangs_up() {
    let mut file = file(0);
    file["queue"][0]["max_wait_s"] = json!(20);
    let mut world = world_with(&file, answers(0), Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(MS * 20_500);
    assert!(playing(&world).contains("sorry_overflow"), "{}", playing(&world));
    world.run_for(S * 2);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "max_wait"));
    assert_clean(&mut world);
}

#[test]
fn overflow_keeps_the_place_and_ends_in_the_other_queue() {
    let mut file = desk_file(1);
    file["queue"] = json!([
        {"name": "repair", "overflow": {"after_s": 10, "to": {"queue": "general"}}, "requires": {"repair": 1}},
        {"name": "general", "wrapup_s": 0}]);
    file["number"] = json!([{"did": "1", "trunk": "carrier-a", "route": {"queue": "repair"}},
                            {"did": "2", "trunk": "carrier-a", "route": {"queue": "general"}}]);
    agent_mut(&mut file, 1)["queues"] = json!(["general"]);
    let mut world = world_with(&file, Plan::Answer { after: MS * 50, talk: Some(S) }, Settings::default());
    for (n, did) in ["1", "2"].iter().enumerate() {
        world.with_phone(carrier(), |phone, now| {
            phone.dial(now, &format!("sip:{did}@{SWITCH}"), &caller(n), Codec::Pcma, None)
        });
        world.run_for(S);
    }
    world.run_for(S * 12);
    go_ready(&mut world, "1001");
    world.run_for(S * 5);
    assert_eq!(offered_callers(&world), [caller(0), caller(1)], "who came first is first, whichever queue it was");
    let record = world.records()[0].clone();
    assert_eq!((record.outcome, record.queue.as_ref().map(|q| q.as_str())), (Outcome::Answered, Some("general")));
    assert!(record.wait_ms > 13_000, "from the first queue on: {}", record.wait_ms);
    assert_clean(&mut world);
}

#[test]
fn a_full_queue_says_goodbye_and_queues_that_lead_in_a_circle_end() {
    let mut file = file(0);
    file["queue"][0]["max_waiting"] = json!(1);
    let mut world = world_with(&file, answers(0), Settings::default());
    ring_in(&mut world, &caller(0));
    ring_in(&mut world, &caller(1));
    world.run_for(S * 3);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "max_waiting"));

    file["queue"] = json!([
        {"name": "repair", "overflow": {"after_s": 1, "to": {"queue": "general"}}},
        {"name": "general", "overflow": {"after_s": 1, "to": {"queue": "repair"}}}]);
    let mut world = world_with(&file, answers(0), Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S * 30);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "overflow_limit"));
    assert_clean(&mut world);
}

#[test]
fn whoever_hangs_up_during_goodbye_was_ended_by_the_limit() {
    let mut file = file(0);
    file["queue"][0]["max_wait_s"] = json!(20);
    let mut world = world_with(&file, answers(0), Settings::default());
    let session = ring_in(&mut world, &caller(0));
    world.run_for(MS * 20_500);
    assert!(playing(&world).contains("sorry_overflow"), "{}", playing(&world));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "max_wait"));
    assert_eq!(record.legs[0].cause, "caller_hangup");
    assert_clean(&mut world);
}

#[test]
fn a_caller_who_hangs_up_while_waiting_is_abandoned_there() {
    let mut world = world(0, answers(0));
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S * 5);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::AbandonedQueue, "caller_hangup"));
    assert!((4_900..5_100).contains(&record.wait_ms));
    assert_eq!(record.offered_ms, None);
    assert_clean(&mut world);
}

#[test]
fn answer_when_an_agent_does_rings_the_caller_until_then() {
    let mut file = file(1);
    file["number"][0]["answer"] = json!("agent");
    let mut world = world_with(&file, answers(2_000), Settings::default());
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S);
    let so_far = seen(&mut world, carrier());
    assert!(so_far.iter().any(|seen| matches!(seen, Seen::Progress { code: 180, .. })), "{so_far:?}");
    assert!(!so_far.iter().any(|seen| matches!(seen, Seen::Answered { .. })));
    assert_eq!(playing(&world), "", "nobody hears music before the answer");
    world.run_for(S * 2);
    assert!(seen(&mut world, carrier()).iter().any(|seen| matches!(seen, Seen::Answered { .. })));
    assert_eq!(world.legs.values().filter(|leg| !leg.hears.is_empty() && leg.connected).count(), 2);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);

    // One who gives up before is abandoned while ringing; one who reaches a limit is refused.
    world.phone(agent_phone(1)).plan = Plan::Ring;
    let session = ring_in(&mut world, &caller(1));
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(world.records()[1].outcome, Outcome::AbandonedRinging);
    file["queue"][0]["max_wait_s"] = json!(5);
    file["agent"] = json!([]);
    world.declare(tenant_from(&file.to_string()));
    ring_in(&mut world, &caller(2));
    world.run_for(S * 8);
    assert!(matches!(seen(&mut world, carrier()).last(), Some(Seen::Failed { code: 480, .. })));
    assert_clean(&mut world);
}

#[test]
fn a_ringing_phone_is_not_taken_back_for_a_limit() {
    let mut file = file(1);
    file["queue"][0]["max_wait_s"] = json!(10);
    let mut world = world_with(&file, answers(12_000), Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S * 13);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);

    let mut world = world_with(&file, Plan::Ring, Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S * 18);
    assert_eq!(only_record(&world).cause, "max_wait", "its limit is seen to when the phone has not answered");
    assert_clean(&mut world);
}

#[test]
fn when_the_program_ends_every_call_ends_once_and_nobody_is_rung_any_more() {
    let mut world = world_with(&desk_file(1), answers(50), Settings::default());
    for n in 0..3 {
        ring_in(&mut world, &caller(n));
        world.run_for(MS * 100);
    }
    go_ready(&mut world, "1001");
    world.run_for(S);
    let rung = invites(&mut world, agent_phone(1));
    world.input(crate::Input::Close);
    world.run_for(S);
    let mut ended: Vec<_> = world.records().iter().map(|record| (record.outcome, record.cause.clone())).collect();
    ended.sort();
    let shutdown = || "shutdown".to_owned();
    let expect = [Outcome::Answered, Outcome::Interrupted, Outcome::Interrupted].map(|outcome| (outcome, shutdown()));
    assert_eq!(ended, expect);
    assert_eq!(invites(&mut world, agent_phone(1)), rung);
    assert_clean(&mut world);
}
