//! What the facts say of a call beyond its record: its trace, and the figures that are folded from them.

use super::*;
use crate::figures::Today;
use crate::trace::{Destination, SkipReason, TraceEntry};

/// `repair` passes on to `general` after 20 s; agent 1001 serves both and lacks the skill for `repair`.
fn overflowing() -> Value {
    let mut file = file(2);
    file["queue"] = json!([
        {"name": "repair", "wrapup_s": 0, "requires": {"repair": 3}, "overflow": {"after_s": 20, "to": {"queue": "general"}}},
        {"name": "general", "wrapup_s": 5, "record": true},
    ]);
    agent_mut(&mut file, 1)["queues"] = json!(["repair", "general"]);
    agent_mut(&mut file, 1)["skills"] = json!({"repair": 1});
    agent_mut(&mut file, 2)["queues"] = json!(["general"]);
    file
}

fn entries(world: &World) -> Vec<TraceEntry> {
    let traced = world.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::Traced { place, entry, .. } => Some((*place, (**entry).clone())),
        _ => None,
    });
    let all: Vec<(u32, TraceEntry)> = traced.collect();
    assert!(all.iter().map(|(place, _)| *place).eq(0..all.len() as u32), "places are counted from 0");
    all.into_iter().map(|(_, entry)| entry).collect()
}

#[test]
fn a_calls_trace_tells_what_was_decided_and_why() {
    let mut world = world_with(&overflowing(), answers(50), Settings::default());
    // The longest idle agent of `general` declines.
    world.phone(agent_phone(1)).plan = Plan::Refuse { code: 486, after: S };
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S * 40);
    hang_up(&mut world, carrier(), session);
    world.run_for(S * 10);
    let told = entries(&world);
    let kinds: Vec<String> = told
        .iter()
        .map(|entry| serde_json::to_value(entry).expect("JSON")["kind"].as_str().expect("a kind").to_owned())
        .collect();
    let expect = ["entered", "told", "overflowed", "entered", "offered", "offer_ended", "offered", "answered", "ended"];
    assert_eq!(kinds, expect, "{told:#?}");
    let TraceEntry::Entered { queue, from, requires, position, staffed, ready, .. } = &told[0] else { panic!() };
    assert_eq!((queue.as_str(), from, *position, *staffed, *ready), ("repair", &None, 1, 1, 1));
    assert_eq!(requires.get("repair"), Some(&3));
    let TraceEntry::Overflowed { queue, why, to, waited_ms } = &told[2] else { panic!() };
    assert_eq!((queue.as_str(), why.as_str(), to), ("repair", "overflow", &Destination::Queue("general".into())));
    assert_eq!(*waited_ms, 20_000);
    assert!(matches!(&told[3], TraceEntry::Entered { from: Some(from), .. } if from.as_str() == "repair"));
    let TraceEntry::OfferEnded { agent, how, cause, rang_ms, .. } = &told[5] else { panic!() };
    assert_eq!((agent.as_str(), *how, cause.as_str()), ("1001", crate::OfferEnd::Failed, "486"));
    assert!((1_000..1_100).contains(rang_ms), "{rang_ms}");
    let TraceEntry::Offered { agent, choice, .. } = &told[6] else { panic!() };
    assert_eq!((agent.as_str(), choice.strategy.as_str(), choice.position), ("1002", "longest_idle", 1));
    assert!(
        matches!(&told[7], TraceEntry::Answered { agent, waited_ms } if agent.as_str() == "1002" && *waited_ms > 21_000)
    );
}

#[test]
fn an_agent_who_was_passed_over_is_named_with_the_reason() {
    let mut file = file(2);
    file["queue"][0]["requires"] = json!({"repair": 3});
    agent_mut(&mut file, 1)["skills"] = json!({"repair": 2});
    agent_mut(&mut file, 2)["skills"] = json!({"repair": 3});
    let mut world = world_with(&file, answers(50), Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S);
    let chosen = entries(&world).into_iter().find_map(|entry| match entry {
        TraceEntry::Offered { agent, choice, .. } => Some((agent, choice)),
        _ => None,
    });
    let (agent, choice) = chosen.expect("an offer");
    assert_eq!((agent.as_str(), choice.ready, choice.eligible, choice.agent_was_free), ("1002", 1, 1, true));
    let skipped = choice.skipped.first().expect("one was passed over");
    let why = SkipReason::NoSkill { skill: "repair".into(), has: 2, needs: 3 };
    assert_eq!((skipped.agent.as_str(), &skipped.why), ("1001", &why));
}

#[test]
fn a_trace_ends_at_its_limit_with_room_for_the_end() {
    let mut file = file(1);
    file["queue"][0]["announce"] = json!({"every_s": 5});
    file["queue"][0]["max_wait_s"] = json!(3_000);
    agent_mut(&mut file, 1)["always_ready"] = json!(false);
    let mut world = world_with(&file, answers(50), Settings::default());
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S * 600);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let told = entries(&world);
    assert_eq!(told.len() as u32, crate::limits::TRACE_REPEATED_MAX + 1);
    assert!(matches!(told.last(), Some(TraceEntry::Ended { .. })), "{told:?}");
}

#[test]
fn live_shows_what_the_facts_add_up_to() {
    let mut world = world_with(&overflowing(), answers(50), Settings::default());
    let mut sessions = Vec::new();
    for n in 0..6 {
        sessions.push(ring_in(&mut world, &caller(n)));
        world.run_for(S * 7);
        if n % 2 == 1 {
            let session = sessions.remove(0);
            hang_up(&mut world, carrier(), session);
        }
    }
    world.run_for(S * 30);
    let zone = chrono_tz::Asia::Shanghai;
    let mut today = Today::default();
    for (at, fact) in &world.facts {
        today.take(*at, zone, fact);
    }
    let live = world.live(ACME);
    for queue in &live.queues {
        let figures = today.queue(world.now, &queue.name);
        assert_eq!(u64::from(queue.offered), figures.offered, "{queue:?}");
        assert_eq!(u64::from(queue.answered), figures.answered, "{queue:?}");
        assert_eq!(u64::from(queue.abandoned), figures.abandoned(), "{queue:?}");
        assert_eq!(u64::from(queue.overflowed_out), figures.overflowed_out, "{queue:?}");
        assert_eq!(u64::from(queue.waiting), figures.waiting(), "{queue:?}");
        assert_eq!((queue.asa_ms, queue.service_levels), (figures.asa_ms(), figures.levels()), "{queue:?}");
    }
    let repair = live.queues.iter().find(|queue| queue.name.as_str() == "repair").expect("declared");
    assert!(repair.offered == 6 && repair.overflowed_out > 0 && repair.abandoned > 0, "{repair:?}");
    assert_eq!(world.engine.tenants[ACME].today, today, "the same fold, wherever it is done");
}
