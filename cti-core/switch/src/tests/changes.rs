use std::collections::BTreeMap;

use super::*;
use crate::config::Tenant;
use crate::fact::Outcome;

fn declare(world: &mut World, file: &Value) {
    world.declare(tenant_from(&file.to_string()));
}

#[test]
fn declaring_the_same_again_changes_nothing() {
    let mut world = world(1, answers(50));
    ring_in(&mut world, &caller(0));
    ring_in(&mut world, &caller(1));
    world.run_for(S);
    let facts = world.facts.len();
    let before = world.live(ACME);
    declare(&mut world, &file(1));
    assert_eq!((world.facts.len(), world.live(ACME)), (facts, before));
}

#[test]
fn a_new_number_a_new_agent_and_new_skills_apply_at_once() {
    let mut file = desk_file(0);
    file["queue"][0]["requires"] = json!({"repair": 5});
    let mut world = world_with(&file, answers(50), Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S);
    let mut more = super::file(1);
    more["queue"][0]["requires"] = json!({"repair": 5});
    world.add_phone("192.0.2.20:6001", answers(50));
    declare(&mut world, &more);
    assert_eq!(world.offers.len(), 0);
    more["queue"][0]["requires"] = json!({});
    declare(&mut world, &more);
    world.run_for(S);
    assert_eq!(offered_to(&world), ["1001"]);
    more["number"][0]["did"] = json!("95500");
    declare(&mut world, &more);
    ring_in(&mut world, &caller(1));
    world.run_for(S);
    assert!(matches!(seen(&mut world, carrier()).last(), Some(Seen::Failed { code: 404, .. })));
    assert_eq!(world.live(ACME).calls.len(), 1, "the call that came by the old number goes on");
}

#[test]
fn waiting_callers_keep_their_places_through_changes_of_their_queue() {
    let mut world = world(0, answers(0));
    for n in 0..4 {
        ring_in(&mut world, &caller(n));
        world.run_for(MS * 10);
    }
    let mut changed = file(1);
    changed["queue"][0]["priority"] = json!(3);
    changed["queue"][0]["ring_timeout_s"] = json!(9);
    world.add_phone("192.0.2.20:6001", Plan::Answer { after: MS * 50, talk: Some(S) });
    declare(&mut world, &changed);
    world.run_for(S * 10);
    assert_eq!(offered_callers(&world), (0..4).map(caller).collect::<Vec<_>>());
    assert_clean(&mut world);
}

#[test]
fn a_removed_queues_callers_go_where_it_led_or_hear_goodbye() {
    for leads_on in [true, false] {
        let mut before = file(0);
        before["queue"] = json!([{"name": "repair", "overflow": {"after_s": 100, "to": {"queue": "general"}}},
                                 {"name": "general"}]);
        if !leads_on {
            before["queue"][0].as_object_mut().expect("a queue").remove("overflow");
        }
        let mut world = world_with(&before, answers(0), Settings::default());
        ring_in(&mut world, &caller(0));
        world.run_for(S);
        let mut after = before.clone();
        after["queue"] = json!([{"name": "general"}]);
        after["number"][0]["route"] = json!({"queue": "general"});
        declare(&mut world, &after);
        if leads_on {
            assert_eq!(world.live(ACME).queues[0].waiting, 1);
            world.run_for(S * 700);
            assert_eq!(only_record(&world).cause, "max_wait");
        } else {
            world.run_for(S * 3);
            let record = only_record(&world);
            assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "queue_removed"));
        }
        assert_clean(&mut world);
    }
}

#[test]
fn a_removed_agent_finishes_the_call_and_a_ringing_one_is_let_go() {
    let mut world = world(2, answers(50));
    world.phone(agent_phone(2)).plan = Plan::Ring;
    let first = ring_in(&mut world, &caller(0));
    ring_in(&mut world, &caller(1));
    world.run_for(S);
    declare(&mut world, &file(0));
    let names = |world: &World| world.live(ACME).agents.iter().map(|a| a.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&world), ["1001"], "who talks finishes, who rings is gone");
    world.run_for(S);
    assert!(seen(&mut world, agent_phone(2)).iter().any(|seen| matches!(seen, Seen::Cancelled { .. })));
    hang_up(&mut world, carrier(), first);
    world.run_for(S);
    assert_eq!((names(&world).len(), world.live(ACME).queues[0].waiting), (0, 1));
    declare(&mut world, &file(1));
    world.run_for(S);
    assert_eq!(offered_callers(&world).last(), Some(&caller(1)));
}

#[test]
fn two_tenants_on_one_carrier_do_not_touch() {
    let mut other = file(1);
    other["tenant"]["id"] = json!("other");
    other["number"][0]["did"] = json!("95500");
    let mut world = world(1, answers(50));
    world.declare(tenant_from(&other.to_string()));
    let session = ring_in(&mut world, &caller(0));
    world.run_for(S);
    assert_eq!((world.live(ACME).calls.len(), world.live("other").calls.len()), (1, 0));
    assert_eq!(world.live("other").agents[0].state, AgentState::Ready);
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

/// Each fault of a tenant's file is named at its place.
#[test]
fn every_fault_of_a_tenants_file_is_named_at_its_place() {
    let check = |pointer: &str, value: Value, expect: &str| {
        let mut file = file(1);
        file["hours"] = json!([{"name": "office", "open": ["Mon-Fri 08:00-18:00"]}]);
        file["ivr"] = json!([]);
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        match file.pointer_mut(parent).expect(pointer) {
            Value::Object(map) => drop(map.insert(key.to_owned(), value)),
            Value::Array(list) => list.push(value),
            other => panic!("{pointer}: {other}"),
        }
        let doc = serde_json::from_value(file).expect(pointer);
        let prompts = BTreeMap::from([("music".to_owned(), vec!["default".to_owned()])]);
        let errors = Tenant::compile(doc, BTreeMap::new(), Some(&prompts)).expect_err(pointer);
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with(expect)), "{pointer}: {lines:?}");
    };
    check("/tenant/id", json!("system"), "tenant.id: `system` is");
    check("/tenant/name", json!(""), "tenant.name: is empty");
    check("/tenant/timezone", json!("Mars/Base"), "tenant.timezone: `Mars/Base` is no time zone");
    check("/tenant/country", json!("XX"), "tenant.country: `XX` is no country");
    check("/trunk/0/hosts", json!(["carrier.example"]), "trunk[carrier-a].hosts: `carrier.example` is no address");
    check("/trunk/0/hosts", json!([]), "trunk[carrier-a].hosts: names no address");
    check("/trunk/0/max_calls", json!(0), "trunk[carrier-a].max_calls: ");
    check("/trunk/0/max_cps", json!(0), "trunk[carrier-a].max_cps: ");
    check(
        "/trunk/-",
        json!({"name": "carrier-a", "hosts": ["192.0.2.11"]}),
        "trunk[carrier-a].name: is declared twice",
    );
    check(
        "/trunk/-",
        json!({"name": "b", "hosts": ["192.0.2.10"]}),
        "trunk[b].hosts: `192.0.2.10` is trunk `carrier-a`'s",
    );
    check("/number/0/trunk", json!("x"), "number[4001001000].trunk: there is no trunk `x`");
    check("/number/0/route", json!({"queue": "x"}), "number[4001001000].route: there is no queue `x`");
    check("/number/0/route", json!({"ivr": "x"}), "number[4001001000].route: there is no ivr `x`");
    let twice = json!({"did": "+86 400 100 1000", "trunk": "carrier-a", "route": {"queue": "repair"}});
    check("/number/-", twice, "number[+86 400 100 1000].did: is declared twice");
    check("/number/0/did", json!("abc"), "number[abc].did: has no digits");
    check("/queue/-", json!({"name": "repair"}), "queue[repair].name: is declared twice");
    check("/queue/0/requires", json!({"repair": 6}), "queue[repair].requires.repair: level 6 is not from 1 to 5");
    check("/queue/0/music", json!("jazz"), "queue[repair].music: there is no music `jazz`; known: default");
    check("/queue/0/ring_timeout_s", json!(0), "queue[repair].ring_timeout_s: 0 is not from 1");
    let overflow = |to: Value| json!({"after_s": 10, "to": to});
    check("/queue/0/overflow", overflow(json!({"queue": "x"})), "queue[repair].overflow.to: there is no queue `x`");
    check("/queue/0/overflow", overflow(json!({"queue": "repair"})), "queue[repair].overflow.to: is the queue itself");
    check("/agent/0/queues", json!(["x"]), "agent[1001].queues: there is no queue `x`");
    check("/agent/0/skills", json!({"repair": 0}), "agent[1001].skills.repair: level 0");
    let phone = |uri: &str| json!({"kind": "contact", "uri": uri});
    check("/agent/0/phone", phone("1001@192.0.2.1"), "agent[1001].phone.uri: `1001@192.0.2.1` is no SIP address");
    check("/agent/0/phone", phone("sip:1001@phone.example"), "agent[1001].phone.uri: ");
    check("/agent/0/phone", json!({"kind": "webrtc"}), "agent[1001].always_ready: needs a phone");
    check("/hours/0/open", json!(["Mon 8-18"]), "hours[office]: `Mon 8-18` is no opening time");
    check("/ivr/-", json!({"name": "main", "file": "main.toml"}), "ivr[main].file: `main.toml` was not read");
    let broken = json!({"name": "main", "file": "main.toml", "source": "nonsense"});
    check("/ivr/-", broken, "ivr[main]: main.toml:1:");
}
