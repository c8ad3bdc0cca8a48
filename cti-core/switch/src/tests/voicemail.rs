//! Callers leave messages: by a queue's limit, or by a key during the wait.

use super::transfer::{ask, talking_in, to_queue, two_queues};
use super::*;
use crate::Input;
use crate::fact::{Outcome, QueueLeave, SegmentKind, VoicemailRecord};
use cti_media::{MediaCommand, MediaEvent, Side};

/// `repair`, in which nobody is, with messages of at most a minute; key 9 leaves one too.
fn voicemail_world(rules: Value) -> World {
    let mut file = desk_file(1);
    file["queue"] = json!([{"name": "repair", "overflow": rules, "keys": {"9": {"voicemail": true}},
                            "voicemail": {"max_s": 60, "silence_s": 4}}]);
    file["hours"] = json!([{"name": "night", "open": ["Mon-Sun 20:00-22:00"]}]);
    world_with(&file, Plan::Ring, Settings::default())
}

fn by_limit() -> World {
    voicemail_world(json!({"no_staff": true, "to": {"voicemail": true}}))
}

fn left(world: &World) -> Vec<VoicemailRecord> {
    let message = |fact: &Fact| match fact {
        Fact::VoicemailLeft { voicemail } => Some((**voicemail).clone()),
        _ => None,
    };
    world.facts.iter().filter_map(|(_, fact)| message(fact)).collect()
}

fn press(world: &mut World, digit: char) {
    let leg = *world.legs.keys().next().expect("the caller's leg");
    world.input(Input::Media(MediaEvent::Digit { leg, digit }));
}

fn quiet(world: &mut World) {
    let leg = *world.legs.keys().next().expect("the caller's leg");
    world.input(Input::Media(MediaEvent::Quiet { leg }));
}

/// Until the message is being recorded.
fn until_the_tone(world: &mut World) {
    assert!(world.run_until(S * 30, |world| !world.recordings.is_empty()), "no recording begins");
}

#[test]
fn a_message_ends_with_silence_a_key_its_longest_or_the_callers_going_and_is_the_queues_work() {
    let seconds = |message: &VoicemailRecord| message.length_ms / 1_000;
    for (how, length_s) in [("silence", 6), ("key", 10), ("limit", 60), ("hangup", 10)] {
        let mut world = by_limit();
        let session = ring_in(&mut world, &caller(0));
        world.run_for(MS * 200);
        assert!(
            playing(&world).contains("voicemail_prompt") && playing(&world).contains("beep"),
            "{}",
            playing(&world)
        );
        assert!(world.recordings.is_empty(), "the prompt is not recorded");
        until_the_tone(&mut world);
        assert_eq!(world.watched.values().copied().collect::<Vec<_>>(), [4_000]);
        let fed: Vec<(Side, usize)> = world.sides.iter().map(|((_, side), legs)| (*side, legs.len())).collect();
        assert_eq!(fed, [(Side::Customer, 1), (Side::Agent, 0)]);
        world.run_for(S * 10);
        match how {
            "silence" => quiet(&mut world),
            "key" => press(&mut world, '#'),
            "hangup" => hang_up(&mut world, carrier(), session),
            _ => world.run_for(S * 50 + MS * 50),
        }
        if how != "hangup" {
            world.run_for(MS * 50);
            assert!(playing(&world).contains("voicemail_thanks"), "{how}: {}", playing(&world));
        }
        world.run_for(S * 30);
        let messages = left(&world);
        assert_eq!(messages.len(), 1, "{how}");
        let message = &messages[0];
        assert!(seconds(message).abs_diff(length_s) <= 1, "{how}: {} ms", message.length_ms);
        assert_eq!((message.queue.as_str(), message.from_ms), ("repair", 0));
        let record = only_record(&world);
        assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Voicemail, "no_staff"), "{how}");
        assert_eq!((record.id, record.recording), (message.call, Some(message.recording)));
        assert_eq!(record.segments.last().map(|segment| segment.kind), Some(SegmentKind::Voicemail), "{how}");
        assert_clean(&mut world);
    }
}

#[test]
fn a_key_during_the_wait_leaves_a_message_and_counts_as_the_callers_wish() {
    let mut world = voicemail_world(json!([]));
    ring_in(&mut world, &caller(0));
    world.run_for(S * 5);
    press(&mut world, '9');
    until_the_tone(&mut world);
    world.run_for(S * 3);
    press(&mut world, '#');
    world.run_for(S * 10);
    assert_eq!(left(&world).len(), 1);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Voicemail, "voicemail"));
    let moved = |fact: &Fact| matches!(fact, Fact::QueueLeft { how: QueueLeave::Moved { .. }, .. });
    assert!(world.facts.iter().any(|(_, fact)| moved(fact)));
    assert_clean(&mut world);
}

#[test]
fn a_message_after_a_talk_stands_in_the_calls_one_recording() {
    let mut file = two_queues(2);
    agent_mut(&mut file, 2)["queues"] = json!(["repair"]);
    file["queue"][1]["overflow"] = json!({"no_staff": true, "to": {"voicemail": true}});
    let (mut world, session) = talking_in(&file, &[]);
    world.run_for(S * 8);
    let call_id = call_id(&world);
    assert_eq!(ask(&mut world, "1001", Command::Transfer { call_id, to: to_queue("general") }), Ok(()));
    assert!(world.run_until(S * 30, |world| !world.watched.is_empty()), "no message begins");
    world.run_for(S * 5);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let messages = left(&world);
    assert_eq!((messages.len(), messages[0].queue.as_str()), (1, "general"));
    assert!(messages[0].from_ms > 9_000 && messages[0].length_ms.abs_diff(5_000) < 200, "{messages:?}");
    let record = only_record(&world);
    assert_eq!((record.outcome, record.recording), (Outcome::Answered, Some(messages[0].recording)));
    let started = world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::RecordingStarted { .. })).count();
    assert_eq!(started, 1);
    assert_clean(&mut world);
}

#[test]
fn who_says_nothing_leaves_nothing() {
    // By a limit, by a key; hung up in the prompt, silent after the tone.
    for (rules, key, expect) in [
        (json!({"closed": "night", "to": {"voicemail": true}}), None, (Outcome::Overflowed, "closed")),
        (json!([]), Some('9'), (Outcome::AbandonedQueue, "caller_hangup")),
    ] {
        let mut world = voicemail_world(rules.clone());
        let session = ring_in(&mut world, &caller(0));
        world.run_for(S);
        if let Some(key) = key {
            press(&mut world, key);
            world.run_for(MS * 100);
        }
        hang_up(&mut world, carrier(), session);
        world.run_for(S);
        let record = only_record(&world);
        assert_eq!((record.outcome, record.cause.as_str()), expect);
        assert_eq!((left(&world).len(), record.recording), (0, None));
        assert_clean(&mut world);
    }
    let mut world = by_limit();
    ring_in(&mut world, &caller(0));
    until_the_tone(&mut world);
    world.run_for(S * 4);
    quiet(&mut world);
    world.run_for(S * 30);
    assert_eq!((left(&world).len(), only_record(&world).outcome), (0, Outcome::Overflowed));
    assert_clean(&mut world);
}

#[test]
fn a_restart_loses_neither_the_prompt_nor_the_message() {
    let mut world = by_limit();
    ring_in(&mut world, &caller(0));
    world.run_for(MS * 200);
    world.crash(MS * 300);
    assert!(playing(&world).contains("voicemail_prompt"), "{}", playing(&world));
    until_the_tone(&mut world);
    world.run_for(S * 5);
    world.watched.clear();
    world.crash(S);
    assert_eq!((world.recordings.len(), world.watched.len()), (1, 1), "it is recorded and listened to again");
    world.run_for(S * 5);
    press(&mut world, '#');
    world.run_for(S * 10);
    assert_eq!(left(&world).len(), 1);
    let watches = world.media.iter().filter(|(_, command)| matches!(command, MediaCommand::Watch { .. })).count();
    assert_eq!(watches, 2);
    assert_clean(&mut world);
}

#[test]
fn a_message_that_the_end_of_the_program_cuts_off_is_kept() {
    let mut world = by_limit();
    ring_in(&mut world, &caller(0));
    until_the_tone(&mut world);
    world.run_for(S * 5);
    world.input(Input::Close);
    world.run_for(S);
    assert_eq!((left(&world).len(), only_record(&world).outcome), (1, Outcome::Voicemail));
}
