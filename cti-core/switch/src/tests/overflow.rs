//! Where callers are passed on to, and when.

use super::*;
use crate::fact::Outcome;
use crate::testing::START_MS;

const BACK: &str = r#"
[script]
name = "back"
start = "first"
[[node]]
name = "first"
kind = "play"
prompts = ["welcome"]
then = "second"
[[node]]
name = "second"
kind = "hangup"
prompts = ["goodbye"]
"#;

/// Queue `repair` with these rules, and `general` and agents 1001 (repair) and 1002 (general) at desks.
fn with_rules(rules: Value) -> Value {
    let mut file = desk_file(2);
    file["queue"] = json!([{"name": "repair", "wrapup_s": 0, "overflow": rules}, {"name": "general", "wrapup_s": 0}]);
    file["ivr"] = json!([{"name": "back", "file": "back.toml", "source": BACK}]);
    file["hours"] =
        json!([{"name": "night", "open": ["Mon-Sun 20:00-22:00"]}, {"name": "day", "open": ["Mon 07:00-09:00"]}]);
    agent_mut(&mut file, 2)["queues"] = json!(["general"]);
    file
}

fn world_by(rules: Value) -> World {
    world_with(&with_rules(rules), Plan::Ring, Settings::default())
}

/// The queues that the call entered, in order.
fn queues(world: &World) -> Vec<String> {
    let queued = |fact: &Fact| match fact {
        Fact::Queued { queue, .. } => Some(queue.to_string()),
        _ => None,
    };
    world.facts.iter().filter_map(|(_, fact)| queued(fact)).collect()
}

#[test]
fn the_first_rule_that_is_true_passes_a_caller_on() {
    let general = json!({"queue": "general"});
    let check = |what: &str, rules: Value, ready: bool, callers: usize, after: Duration, expect: &[&str]| {
        let mut world = world_by(rules);
        if ready {
            go_ready(&mut world, "1001");
        }
        for n in 0..callers {
            ring_in(&mut world, &caller(n));
            world.run_for(MS * 20);
        }
        world.run_for(after);
        assert_eq!(queues(&world), expect, "{what}");
    };
    let one = |key: &str, value: Value| json!([{key: value, "to": general}]);
    check("nobody is signed in", one("no_staff", json!(true)), false, 1, MS * 10, &["repair", "general"]);
    check("somebody is", one("no_staff", json!(true)), true, 1, S, &["repair"]);
    check("two wait", one("waiting", json!(2)), true, 3, S, &["repair", "repair", "repair", "general"]);
    check("out of hours", one("closed", json!("night")), true, 1, S, &["repair", "general"]);
    check("within hours", one("closed", json!("day")), true, 1, S, &["repair"]);
    check("after a while", one("after_s", json!(5)), false, 1, S * 6, &["repair", "general"]);
    check("a long wait", one("estimate_s", json!(100)), true, 2, S * 10, &["repair", "repair", "general"]);
    check("no emergency", one("emergency", json!(true)), true, 1, S, &["repair"]);
    let two = json!([{"waiting": 1, "to": {"agent": "1002"}}, {"after_s": 3, "to": general}]);
    check("each by its own rule", two, false, 2, S * 4, &["repair", "repair", "general", "general"]);
    assert_eq!(START_MS % 1000, 0);
}

#[test]
fn an_emergency_turns_every_new_caller_away_at_once() {
    for place in ["tenant", "queue"] {
        let mut file = with_rules(json!([{"emergency": true, "to": {"ivr": "back", "node": "second"}}]));
        let mut world = world_with(&file, Plan::Ring, Settings::default());
        go_ready(&mut world, "1001");
        ring_in(&mut world, &caller(0));
        world.run_for(S);
        assert_eq!(world.offers.len(), 1);
        match place {
            "tenant" => file["tenant"]["emergency"] = json!(true),
            _ => file["queue"][0]["emergency"] = json!(true),
        }
        world.declare(tenant_from(&file.to_string()));
        ring_in(&mut world, &caller(1));
        world.run_for(S * 5);
        let record = only_record(&world);
        assert_eq!(record.outcome, Outcome::CompletedIvr);
        let path: Vec<&str> = record.ivr_path.iter().map(|node| node.as_str()).collect();
        assert_eq!(path, ["second"], "straight to the node named");
        assert_eq!(world.live(ACME).calls.len(), 1, "who waited already goes on ringing");
    }
}

#[test]
fn busy_is_486_to_who_was_not_answered() {
    let mut world = world_by(json!({"no_staff": true, "to": {"busy": true}}));
    ring_in(&mut world, &caller(0));
    world.run_for(S);
    assert!(matches!(seen(&mut world, carrier()).last(), Some(Seen::Failed { code: 486, .. })));
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Busy, "busy"));
    // Who waits already has been answered: they hear goodbye when the last agent leaves.
    go_ready(&mut world, "1001");
    world.phone(agent_phone(1)).plan = Plan::Ring;
    ring_in(&mut world, &caller(1));
    ring_in(&mut world, &caller(2));
    world.run_for(S);
    world.desk_leaves(ACME, "1001");
    world.run_for(S * 60);
    assert_eq!(world.records().len(), 3);
    assert!(world.records()[1..].iter().all(|record| record.outcome == Outcome::Overflowed), "{:?}", world.records());
    assert_clean(&mut world);
}

#[test]
fn a_direct_call_waits_for_its_agent_alone_and_then_follows_the_queues_rules() {
    let mut file = with_rules(json!([{"after_s": 20, "to": {"queue": "general"}}]));
    file["number"][0]["route"] = json!({"agent": "1001"});
    file["agent"].as_array_mut().expect("agents").push(json!({
        "name": "1003", "queues": ["repair"], "phone": {"kind": "contact", "uri": "sip:1003@192.0.2.20:6003"}}));
    let mut world = world_with(&file, answers(100), Settings::default());
    go_ready(&mut world, "1003");
    go_ready(&mut world, "1002");
    let first = ring_in(&mut world, &caller(0));
    world.run_for(S * 10);
    assert_eq!(world.offers.len(), 0, "others of the queue are free");
    go_ready(&mut world, "1001");
    world.run_for(S);
    assert_eq!(offered_to(&world), ["1001"]);
    ring_in(&mut world, &caller(1));
    world.run_for(S * 21);
    assert_eq!(offered_to(&world), ["1001", "1002"], "their agent talks: on to the other queue");
    hang_up(&mut world, carrier(), first);
    // An agent who is no longer declared is waited for no longer.
    ring_in(&mut world, &caller(2));
    ring_in(&mut world, &caller(3));
    world.run_for(S * 2);
    file["number"][0]["route"] = json!({"queue": "general"});
    file["agent"].as_array_mut().expect("agents").remove(0);
    world.declare(tenant_from(&file.to_string()));
    world.run_for(S * 3);
    assert!(world.records().iter().any(|record| record.cause == "agent_removed"), "{:?}", world.records());
}

#[test]
fn relaxed_steps_find_an_agent_with_less() {
    let mut file = file(2);
    file["queue"][0]["requires"] = json!({"repair": 4, "english": 1});
    file["queue"][0]["relax"] =
        json!([{"after_s": 10, "requires": {"repair": 2}}, {"after_s": 20, "drop": ["english"]}]);
    agent_mut(&mut file, 1)["skills"] = json!({"repair": 2, "english": 1});
    agent_mut(&mut file, 2)["skills"] = json!({"repair": 3});
    let mut world = world_with(&file, answers(50), Settings::default());
    ring_in(&mut world, &caller(0));
    ring_in(&mut world, &caller(1));
    world.run_for(S * 9);
    assert!(world.offers.is_empty());
    world.run_for(S * 2);
    assert_eq!(offered_to(&world), ["1001"]);
    world.run_for(S * 10);
    assert_eq!(offered_to(&world), ["1001", "1002"]);
}
