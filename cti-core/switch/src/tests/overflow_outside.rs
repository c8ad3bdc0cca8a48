//! A queue's limit sends its callers to an outside number; who is not taken there stands at their old place again.

use super::transfer::{TRUNK, joined};
use super::*;
use crate::desk::CallState;
use crate::fact::{LegRole, Outcome, QueueLeave};
use crate::trace::Destination;

const OUTSIDE: &str = "13900139000";

/// `repair` with these rules, 1001 in it and 1002 in `general`, both at desks; `+86` may be dialled.
fn outside_file(rules: Value) -> Value {
    let mut file = desk_file(2);
    file["tenant"]["outbound"] = json!({"prefixes": ["+86"], "max_cps": 10, "max_calls": 2});
    file["queue"] = json!([{"name": "repair", "wrapup_s": 0, "max_wait_s": 120, "overflow": rules}, {"name": "general", "wrapup_s": 0}]);
    file["hours"] = json!([{"name": "night", "open": ["Mon-Sun 20:00-22:00"]}]);
    agent_mut(&mut file, 2)["queues"] = json!(["general"]);
    file
}

fn outside_world(rules: Value, plan: Plan) -> (World, SocketAddr) {
    let mut world = world_with(&outside_file(rules), answers(50), Settings::default());
    let outside = world.add_phone(TRUNK, plan);
    (world, outside)
}

/// The queues' counts of how callers left them.
fn left(world: &World) -> Vec<String> {
    let how = |fact: &Fact| match fact {
        Fact::QueueLeft { queue, how: QueueLeave::Overflowed { why, to }, .. } => {
            let to = match to {
                Destination::Number(number) => number.clone(),
                Destination::Queue(queue) => queue.to_string(),
                other => format!("{other:?}"),
            };
            Some(format!("{queue} {why} {to}"))
        }
        Fact::QueueLeft { queue, .. } => Some(queue.to_string()),
        _ => None,
    };
    world.facts.iter().filter_map(|(_, fact)| how(fact)).collect()
}

#[test]
fn the_caller_hears_music_until_the_number_answers_and_reaches_no_agent() {
    let (mut world, outside) = outside_world(json!({"after_s": 5, "to": {"number": OUTSIDE}}), answers(3_000));
    go_ready(&mut world, "1002");
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S * 7);
    assert_eq!(invites(&mut world, outside), 1);
    assert_eq!((world.live(ACME).calls[0].state, joined(&world)), (CallState::Dialing, 0));
    assert!(playing(&world).contains("music/default"), "{}", playing(&world));
    world.crash(MS * 200);
    assert!(playing(&world).contains("music/default"), "a restart changes nothing");
    world.run_for(S * 3);
    assert_eq!((world.live(ACME).calls[0].state, joined(&world)), (CallState::Talking, 2));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str(), &record.agent), (Outcome::Overflowed, "overflow", &None));
    assert!(record.legs.iter().any(|leg| leg.role == LegRole::Outside && leg.answered_ms.is_some()));
    assert_eq!((record.talk_ms, record.answered_ms), (0, None));
    assert_eq!(left(&world), [format!("repair overflow {OUTSIDE}")]);
    assert_clean(&mut world);
}

#[test]
fn whoever_answers_outside_may_hang_up_too() {
    let (mut world, outside) = outside_world(json!({"no_staff": true, "to": {"number": OUTSIDE}}), answers(500));
    ring_in(&mut world, &caller(0));
    world.run_for(S * 3);
    assert_eq!(joined(&world), 2);
    let theirs = world.phone(outside).sessions()[0];
    hang_up(&mut world, outside, theirs);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "no_staff"));
    assert_clean(&mut world);
}

#[test]
fn who_is_not_taken_outside_stands_at_their_old_place_before_later_callers() {
    for plan in [Plan::Refuse { code: 486, after: S }, Plan::Ring] {
        let (mut world, outside) = outside_world(json!({"after_s": 5, "to": {"number": OUTSIDE}}), plan);
        ring_in(&mut world, &caller(0));
        world.run_for(S * 4);
        ring_in(&mut world, &caller(1));
        // The second's own 5 s are not over when the first is back, or they are outside themselves.
        world.run_for(S * 38);
        assert_eq!(invites(&mut world, outside), 2, "{plan:?}: one attempt for each");
        go_ready(&mut world, "1001");
        world.run_for(S);
        assert_eq!(offered_callers(&world), [caller(0)], "{plan:?}");
        world.run_for(S * 200);
        let waits: Vec<u64> = world.records().iter().map(|record| record.wait_ms).collect();
        assert!(waits.iter().all(|wait_ms| *wait_ms < 125_000), "`max_wait_s` counts from the beginning: {waits:?}");
    }
}

#[test]
fn the_next_rule_counts_where_the_number_is_not_reached() {
    let check = |rules: Value, cause: &str| {
        let (mut world, outside) = outside_world(rules, Plan::Refuse { code: 503, after: MS * 100 });
        go_ready(&mut world, "1002");
        ring_in(&mut world, &caller(0));
        world.run_for(S * 8);
        assert_eq!(invites(&mut world, outside), 1);
        assert_eq!(state_of(&world, "1002"), AgentState::Talking, "{cause}");
        let expect = [format!("repair {cause} {OUTSIDE}"), format!("repair {cause} general")];
        assert_eq!(left(&world)[..2], expect, "{cause}");
        let queued: Vec<u64> =
            world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Queued { .. })).map(|_| 1).collect();
        assert_eq!(queued.len(), 3, "repair, repair again, general");
    };
    let (number, general) = (json!({"number": OUTSIDE}), json!({"queue": "general"}));
    check(json!([{"closed": "night", "to": number}, {"closed": "night", "to": general}]), "closed");
    check(json!([{"no_staff": true, "to": number}, {"no_staff": true, "to": general}]), "no_staff");
    check(json!([{"after_s": 5, "to": number}, {"after_s": 5, "to": general}]), "overflow");
}

#[test]
fn what_may_not_be_dialled_at_this_moment_is_no_rule() {
    let rules = json!([{"no_staff": true, "to": {"number": OUTSIDE}}, {"after_s": 20, "to": {"busy": true}}]);
    let (mut world, outside) = outside_world(rules, answers(100));
    for n in 0..3 {
        ring_in(&mut world, &caller(n));
        world.run_for(MS * 500);
    }
    // `max_calls` is 2.
    assert_eq!((invites(&mut world, outside), joined(&world)), (2, 4));
    assert_eq!(left(&world).len(), 2, "the third is counted as passed on to nowhere");
    let waiting = world.live(ACME).queues.iter().map(|queue| queue.waiting).sum::<u32>();
    assert_eq!(waiting, 1);
    world.run_for(S * 25);
    assert_eq!(left(&world)[2], "repair overflow Busy");
}

#[test]
fn a_caller_who_is_rung_until_an_agent_answers_is_answered_by_the_number() {
    let mut file = outside_file(json!({"no_staff": true, "to": {"number": OUTSIDE}}));
    file["number"][0]["answer"] = json!("agent");
    let mut world = world_with(&file, answers(50), Settings::default());
    world.add_phone(TRUNK, answers(2_000));
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S);
    let answered = |world: &mut World| seen(world, carrier()).iter().any(|seen| matches!(seen, Seen::Answered { .. }));
    assert!(!answered(&mut world));
    world.run_for(S * 2);
    assert!(answered(&mut world));
    assert_eq!(joined(&world), 2);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_caller_who_goes_while_the_number_rings_was_passed_on() {
    let (mut world, outside) = outside_world(json!({"no_staff": true, "to": {"number": OUTSIDE}}), Plan::Ring);
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S * 2);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert!(seen(&mut world, outside).iter().any(|seen| matches!(seen, Seen::Cancelled { .. })));
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "no_staff"));
    assert_clean(&mut world);
}
