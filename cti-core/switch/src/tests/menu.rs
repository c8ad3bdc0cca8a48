use cti_media::MediaEvent;

use super::*;
use crate::Input;
use crate::fact::Outcome;

const SCRIPT: &str = r#"
[script]
name = "main"
start = "office"
locale = "zh-CN"

[[node]]
name = "office"
kind = "hours"
hours = "office"
open = "menu"
closed = "closed"

[[node]]
name = "closed"
kind = "hangup"
prompts = ["closed"]

[[node]]
name = "menu"
kind = "menu"
prompts = ["main_menu"]
timeout_s = 5
silence = { prompts = "silence", repeat = 1, then = "bye" }
invalid = { prompts = "invalid", repeat = 1, then = "bye" }

[node.digits]
2 = "repair"

[[node]]
name = "repair"
kind = "queue"
queue = "repair"

[[node]]
name = "bye"
kind = "hangup"
prompts = ["goodbye"]
"#;

pub(super) fn menu_file(agents: usize) -> Value {
    let mut file = file(agents);
    file["ivr"] = json!([{"name": "main", "file": "main.toml", "source": SCRIPT}]);
    file["hours"] = json!([{"name": "office", "open": ["Mon-Fri 08:00-18:00"]}]);
    file["number"][0]["route"] = json!({"ivr": "main"});
    file
}

pub(super) fn press(world: &mut World, digit: char) {
    let leg = *world.legs.keys().next().expect("the caller's leg");
    world.input(Input::Media(MediaEvent::Digit { leg, digit }));
}

#[test]
fn a_digit_leads_from_the_menu_to_the_queue() {
    let mut world = world_with(&menu_file(1), answers(100), Settings::default());
    let session = ring_in(&mut world, "13800138000");
    world.run_for(MS * 500);
    assert!(playing(&world).contains("zh-CN/main_menu"));
    assert_eq!(world.live(ACME).calls[0].node.as_deref(), Some("menu"));
    press(&mut world, '2');
    world.run_for(S * 2);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!(record.outcome, Outcome::Answered);
    let path: Vec<&str> = record.ivr_path.iter().map(|node| node.as_str()).collect();
    assert_eq!(path, ["office", "menu", "repair"]);
    assert_eq!(world.offers[0].2.pop.ivr_path.len(), 3);
    assert!(record.wait_ms < 200, "the wait begins with the queue: {}", record.wait_ms);
    assert_clean(&mut world);
}

#[test]
fn a_caller_who_hangs_up_in_the_menu_is_abandoned_there() {
    let mut world = world_with(&menu_file(0), answers(100), Settings::default());
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str(), record.wait_ms), (Outcome::AbandonedIvr, "caller_hangup", 0));
    assert_clean(&mut world);
}

#[test]
fn a_menu_that_leads_to_a_removed_queue_says_goodbye_whether_it_is_heard_or_not() {
    for hangs_up in [false, true] {
        let before = menu_file(0);
        let mut world = world_with(&before, answers(100), Settings::default());
        let session = ring_in(&mut world, "13800138000");
        world.run_for(MS * 500);
        let mut after = before;
        after["queue"] = json!([{"name": "general"}]);
        after["ivr"] = json!([]);
        after["number"][0]["route"] = json!({"queue": "general"});
        world.declare(tenant_from(&after.to_string()));
        press(&mut world, '2');
        world.run_for(MS * 500);
        assert!(playing(&world).contains("sorry_overflow"), "{}", playing(&world));
        if hangs_up {
            hang_up(&mut world, carrier(), session);
        }
        world.run_for(S * 2);
        let record = only_record(&world);
        assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Overflowed, "queue_removed"));
        assert_eq!(record.legs[0].cause == "caller_hangup", hangs_up, "{}", record.legs[0].cause);
        assert_clean(&mut world);
    }
}

#[test]
fn a_caller_who_presses_nothing_is_hung_up_on_by_the_script() {
    let mut world = world_with(&menu_file(0), answers(100), Settings::default());
    ring_in(&mut world, "13800138000");
    world.run_for(S * 60);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::CompletedIvr, "completed"));
    assert_clean(&mut world);
}

#[test]
fn outside_the_hours_the_caller_hears_so() {
    let mut world = world_with(&menu_file(0), answers(100), Settings::default());
    world.run_for(S * 36_000);
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 500);
    assert!(playing(&world).contains("zh-CN/closed"), "18:00 in Shanghai");
    world.run_for(S * 5);
    assert_eq!(only_record(&world).outcome, Outcome::CompletedIvr);
    assert_clean(&mut world);
}

#[test]
fn a_script_with_a_dangling_target_is_an_error_with_its_line() {
    let mut file = menu_file(0);
    file["ivr"][0]["source"] = json!(SCRIPT.replace("closed = \"closed\"", "closed = \"nowhere\""));
    let doc = serde_json::from_value(file).expect("a document");
    let errors = crate::config::Tenant::compile(doc, std::collections::BTreeMap::new(), None).expect_err("dangling");
    let text = errors[0].to_string();
    assert!(text.starts_with("ivr[main]: main.toml:12:") && text.contains("nowhere"), "{text}");
}
