//! The tenant's file as people get its queues wrong.

use super::*;
use crate::config::{Overflow, Target, Tenant, TenantDoc, When};

fn errors(change: impl FnOnce(&mut Value)) -> String {
    let mut file = file(1);
    file["hours"] = json!([{"name": "day", "open": ["Mon-Fri 08:00-18:00"]}]);
    change(&mut file);
    let doc: TenantDoc = match serde_json::from_value(file) {
        Ok(doc) => doc,
        Err(error) => return error.to_string(),
    };
    match Tenant::compile(doc, Default::default(), None) {
        Ok(_) => String::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn one_rule_or_a_list_and_each_with_one_condition_and_one_target() {
    let rule = json!({"after_s": 5, "to": {"busy": true}});
    let read = |value: &Value| {
        let mut file = file(1);
        file["queue"][0]["overflow"] = value.clone();
        serde_json::from_value::<TenantDoc>(file).map(|doc| doc.queue[0].overflow.clone())
    };
    let expect = vec![Overflow { when: When::AfterS(5), to: Target::Busy }];
    assert_eq!(read(&rule).expect("one rule"), expect);
    assert_eq!(read(&json!([rule])).expect("a list"), expect);
    let written = serde_json::to_value(&expect).expect("rules");
    assert_eq!(written, json!([rule]), "written as it was read");
    let check = |value: Value, expect: &str| {
        let error = read(&value).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(json!({"to": {"busy": true}}), "exactly one of `after_s`");
    check(json!({"after_s": 5, "waiting": 2, "to": {"busy": true}}), "exactly one of `after_s`");
    check(json!({"after_s": 5}), "missing field `to`");
    check(json!({"after_s": 5, "to": {}}), "exactly one of `queue`");
    check(json!({"after_s": 5, "to": {"queue": "general", "node": "x"}}), "`node` goes with `ivr`");
    check(json!({"after": 5, "to": {"busy": true}}), "unknown field `after`");
}

#[test]
fn what_can_not_be_meant_is_refused_with_its_place() {
    let check = |key: &str, value: Value, expect: &str| {
        let errors = errors(|file| file["queue"][0][key] = value.clone());
        assert!(errors.contains(expect), "{key} {value}: {errors}");
    };
    check("strategy", json!("loudest"), "unknown variant `loudest`");
    check("weight", json!(0.0), "queue[repair].weight: 0 is not above 0");
    check("weights", json!({"skill": -1.0}), "queue[repair].weights: must be from 0");
    check("misses_max", json!(0), "queue[repair].misses_max: 0 is not from 1");
    check("relax", json!([{"after_s": 5}]), "queue[repair].relax[0]: changes nothing");
    check("relax", json!([{"after_s": 5, "until_s": 5, "drop": ["x"]}]), "relax[0].until_s: must be after");
    check("relax", json!([{"after_s": 5, "queues": ["x"]}]), "relax[0].queues: there is no queue `x`");
    check("relax", json!([{"after_s": 5, "requires": {"x": 6}}]), "level 6 is not from 0 to 5");
    check("borrow", json!(["repair"]), "borrow: names the queue itself");
    check("borrow", json!(["x"]), "borrow: there is no queue `x`");
    check("sticky", json!({"s": 0}), "sticky.s: 0 is not from 1");
    check("comfort", json!([{"after_s": 5, "prompts": []}]), "comfort[0].prompts: names no prompt");
    check("keys", json!({"9": {}}), "keys.9: give exactly one");
    check("keys", json!({"x": {"ivr": "main"}}), "keys.x: is no key of a telephone");
    check("keys", json!({"9": {"ivr": "main"}}), "keys.9: there is no ivr `main`");
    let to = |to: Value| json!([{"after_s": 5, "to": to}, {"after_s": 6, "to": {"busy": true}}]);
    check("overflow", to(json!({"agent": "x"})), "overflow[0].to: there is no agent `x`");
    check("overflow", to(json!({"ivr": "x"})), "overflow[0].to: there is no ivr `x`");
    check("overflow", to(json!({"queue": "repair"})), "overflow[0].to: is the queue itself");
    check("voicemail", json!({"max_s": 4}), "queue[repair].voicemail.max_s: 4 is not from 5 to 600");
    check("voicemail", json!({"silence_s": 1}), "queue[repair].voicemail.silence_s: 1 is not from 2");
    check("overflow", to(json!({"number": "x"})), "`x` is no telephone number");
    check("overflow", to(json!({"number": "10086"})), "a short number: those are never dialled");
    check("overflow", to(json!({"number": "13900139000"})), "outbound.prefixes` does not allow it");
    check("overflow", json!({"closed": "x", "to": {"busy": true}}), "overflow.closed: there are no hours `x`");
    check("overflow", json!({"waiting": 500, "to": {"busy": true}}), "overflow.waiting: 500 is not from 1");
    let alone = errors(|file| {
        file["agent"][0]["queues"] = json!([]);
        file["number"][0]["route"] = json!({"agent": "1001"});
    });
    assert!(alone.contains("number[4001001000].route: agent `1001` serves no queue"), "{alone}");
    assert_eq!(errors(|_| {}), "");
}
