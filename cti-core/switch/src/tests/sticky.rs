//! Who knows the caller is asked first, and who matters comes first.

use super::*;
use crate::desk::{CallerRecords, Candidate, PopCase};

fn customer(last_agent: &str, owner: &str, value: Option<&str>) -> CallerRecords {
    let case = PopCase {
        id: "c1".into(),
        kind: "repair".into(),
        title: "It leaks".into(),
        status: "open".into(),
        opened_ms: 0,
        owner: Some(owner.to_owned()),
    };
    let candidate = Candidate {
        customer_id: "k1".into(),
        name: "Zhang".into(),
        why: "phone".into(),
        confidence: 1.0,
        value_class: value.map(str::to_owned),
        risk: None,
        company: None,
        products: Vec::new(),
        open_cases: vec![case],
        last_contacts: Vec::new(),
        last_agent: Some(last_agent.to_owned()),
    };
    CallerRecords { candidates: vec![candidate], from_memory: false }
}

fn sticky_world(by: &str, plan: Plan) -> World {
    let mut file = file(3);
    file["queue"][0]["sticky"] = json!({"s": 20, "by": by});
    let records = customer("1002", "1003", None);
    world_with(&file, plan, Settings { records, ..Settings::default() })
}

#[test]
fn the_agent_who_knows_the_customer_is_asked_alone_at_first() {
    for (by, expect) in [("last_agent", "1002"), ("case_owner", "1003")] {
        let mut world = sticky_world(by, answers(100));
        ring_in(&mut world, &caller(0));
        world.run_for(S);
        assert_eq!(offered_to(&world), [expect]);
        // They talk: the next of this customer's calls waits for them, for so long.
        ring_in(&mut world, &caller(0));
        world.run_for(S * 18);
        assert_eq!(offered_to(&world), [expect]);
        world.run_for(S * 3);
        assert_eq!(offered_to(&world), [expect, "1001"]);
    }
}

#[test]
fn who_is_away_or_misses_the_call_is_not_waited_for() {
    let mut world = sticky_world("last_agent", Plan::Ring);
    world.desk_connects(ACME, "1002");
    set_state(&mut world, "1002", WantedState::Break, Some("rest"));
    ring_in(&mut world, &caller(0));
    world.run_for(S);
    assert_eq!(offered_to(&world), ["1001"]);
    set_state(&mut world, "1002", WantedState::Ready, None);
    ring_in(&mut world, &caller(1));
    world.run_for(S * 17);
    let asked = offered_to(&world);
    assert_eq!(asked[1], "1002");
    assert!(asked[2..].iter().any(|agent| agent == "1003"), "{asked:?}");
}

#[test]
fn records_that_do_not_answer_hold_nobody_up() {
    let mut file = file(1);
    file["queue"][0]["sticky"] = json!({"s": 20});
    let settings = Settings { records_after: None, ..Settings::default() };
    let mut world = world_with(&file, answers(100), settings);
    let began = world.now;
    ring_in(&mut world, &caller(0));
    world.run_for(S);
    assert!(world.offers[0].0.since(began) < MS * 40, "{:?}", world.offers[0].0.since(began));
    // Given up before the records had their time.
    world.run_for(S * 6);
    let session = ring_in(&mut world, &caller(1));
    world.run_for(MS * 10);
    hang_up(&mut world, carrier(), session);
    assert!(world.run_until(S, |world| world.records().len() == 1));
}

#[test]
fn a_value_class_comes_before_an_earlier_caller() {
    let mut file = desk_file(1);
    file["queue"][0]["order"] = json!({"value_points": {"gold": 10}, "age_points_per_s": 0.5});
    let mut world = world_with(&file, Plan::Ring, Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S * 5);
    world.settings.records = customer("1001", "1001", Some("gold"));
    ring_in(&mut world, &caller(1));
    world.run_for(S);
    go_ready(&mut world, "1001");
    world.run_for(S);
    assert_eq!(offered_callers(&world), [caller(1)], "ten points are twenty seconds of waiting");
}
