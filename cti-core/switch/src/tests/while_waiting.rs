//! Comfort messages and keys during the wait.

use super::*;
use crate::fact::Outcome;

const MAIN: &str = r#"
[script]
name = "main"
start = "ask"
[[node]]
name = "ask"
kind = "menu"
prompts = ["main_menu"]
timeout_s = 5
digits = { 1 = "wait", 9 = "bye" }
silence = { prompts = "silence", repeat = 1, then = "bye" }
invalid = { prompts = "invalid", repeat = 1, then = "bye" }
[[node]]
name = "wait"
kind = "queue"
queue = "repair"
[[node]]
name = "bye"
kind = "hangup"
prompts = ["goodbye"]
"#;

#[test]
fn a_key_leads_back_to_the_menu_and_the_place_is_kept() {
    let mut file = desk_file(1);
    file["ivr"] = json!([{"name": "main", "file": "main.toml", "source": MAIN}]);
    file["queue"][0]["keys"] = json!({"9": {"ivr": "main", "node": "ask"}});
    let mut world = world_with(&file, Plan::Ring, Settings::default());
    ring_in(&mut world, &caller(0));
    world.run_for(S * 3);
    let first = call_id(&world);
    ring_in(&mut world, &caller(1));
    world.run_for(S * 3);
    press(&mut world, first, '5');
    press(&mut world, first, '9');
    assert_eq!(world.live(ACME).queues[0].waiting, 1);
    assert!(playing(&world).contains("main_menu"), "{}", playing(&world));
    press(&mut world, first, '1');
    world.run_for(S);
    assert_eq!(world.live(ACME).queues[0].waiting, 2);
    go_ready(&mut world, "1001");
    world.run_for(S);
    assert_eq!(offered_callers(&world), [caller(0)]);
    // A ringing phone is let go too, and nobody has missed anything.
    press(&mut world, first, '9');
    press(&mut world, first, '9');
    world.run_for(S * 5);
    assert_eq!(only_record(&world).outcome, Outcome::CompletedIvr);
    assert_eq!(offered_callers(&world), [caller(0), caller(1)]);
}

fn press(world: &mut World, call: cti_base::CallId, digit: char) {
    let leg = world.engine.calls[&call].customer.id;
    world.input(crate::Input::Media(cti_media::MediaEvent::Digit { leg, digit }));
    world.run_for(MS * 100);
}

/// What was begun to be played, and when, in seconds from `began`.
fn said(world: &World, began: cti_base::Timestamp, name: &str) -> Vec<u64> {
    let plays = world.media.iter().filter_map(|(at, command)| match command {
        cti_media::MediaCommand::Play { audio, .. } => Some((at.since(began).as_secs(), format!("{audio:?}"))),
        _ => None,
    });
    plays.filter(|(_, audio)| audio.contains(name)).map(|(at, _)| at).collect()
}

#[test]
fn comfort_messages_come_in_time_and_cut_nothing_off() {
    let mut file = desk_file(1);
    file["queue"][0]["ring_timeout_s"] = json!(60);
    file["queue"][0]["announce"] = json!({"every_s": 30});
    file["queue"][0]["comfort"] = json!([{"after_s": 10, "every_s": 20, "prompts": ["welcome"]},
                                         {"after_s": 15, "prompts": ["main_menu"]}]);
    let mut world = world_with(&file, Plan::Ring, Settings::default());
    let began = world.now;
    ring_in(&mut world, &caller(0));
    world.run_for(S * 75);
    assert_eq!(said(&world, began, "main_menu"), [15]);
    let welcomes = said(&world, began, "/welcome");
    assert!(matches!(welcomes[..], [10, 31..=33, 50, 70]), "the second waits for the announcement's end: {welcomes:?}");
    assert!(playing(&world).contains("music/default"));
    go_ready(&mut world, "1001");
    world.run_for(S * 40);
    assert_eq!(state_of(&world, "1001"), AgentState::Offered);
    assert_eq!(said(&world, began, "/welcome").len(), welcomes.len(), "not while a phone rings");
}
