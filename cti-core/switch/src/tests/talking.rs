use cti_media::{Direction, MediaCommand, MediaEvent, Recorded};

use super::*;
use crate::Input;
use crate::desk::{CallState, Event, NackCode};
use crate::fact::{Fact, Outcome};
use crate::limits::ALARM_STAY;

/// One agent at a desk, talking with one caller; the queue gives so much wrap-up.
fn talking(wrapup_s: u32) -> (World, SessionId) {
    let mut file = desk_file(1);
    file["queue"][0]["wrapup_s"] = json!(wrapup_s);
    let mut world = world_with(&file, answers(50), Settings::default());
    go_ready(&mut world, "1001");
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    (world, session)
}

fn bridged(world: &World) -> usize {
    world.legs.values().filter(|leg| !leg.hears.is_empty()).count()
}

fn nack_of(world: &World, id: CommandId) -> Option<NackCode> {
    world.replies[&id].as_ref().err().map(|nack| nack.code)
}

#[test]
fn the_desk_holds_retrieves_and_mutes() {
    let (mut world, session) = talking(0);
    let call_id = call_id(&world);
    let id = world.command(ACME, "1001", Command::Hold { call_id });
    assert_eq!(world.replies[&id], Ok(()));
    assert_eq!((bridged(&world), world.live(ACME).calls[0].state), (0, CallState::Held));
    assert!(playing(&world).contains("music/default"));
    world.run_for(S * 5);
    world.command(ACME, "1001", Command::Retrieve { call_id });
    assert_eq!((bridged(&world), world.live(ACME).calls[0].state), (2, CallState::Talking));
    assert_eq!(playing(&world), "");
    world.command(ACME, "1001", Command::Mute { call_id });
    assert!(world.legs.values().any(|leg| leg.muted));
    world.command(ACME, "1001", Command::Unmute { call_id });
    assert!(!world.legs.values().any(|leg| leg.muted));
    let foreign = cti_base::CallId::parse("018f0000-0000-7000-8000-000000000000").expect("an id");
    let id = world.command(ACME, "1001", Command::Hold { call_id: foreign });
    assert_eq!(nack_of(&world, id), Some(NackCode::NotYours));
    world.run_for(S * 2);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert!((4_990..5_010).contains(&record.hold_ms), "{}", record.hold_ms);
    assert!((2_800..3_000).contains(&record.talk_ms), "{}", record.talk_ms);
    assert_clean(&mut world);
}

#[test]
fn a_phones_own_hold_is_answered_and_plays_music_to_the_caller() {
    for (offered, answered) in [(Direction::SendOnly, Direction::RecvOnly), (Direction::Inactive, Direction::Inactive)]
    {
        let (mut world, session) = talking(0);
        let agents = world.phone(agent_phone(1)).sessions()[0];
        world.with_phone(agent_phone(1), |phone, now| phone.offer_direction(now, agents, offered));
        world.run_for(S);
        let held = seen(&mut world, agent_phone(1)).into_iter().rev().find_map(|seen| match seen {
            Seen::Reanswered { direction, .. } => direction,
            _ => None,
        });
        // As the phone sees it: it may send, or nobody may.
        let expect = if answered == Direction::RecvOnly { Direction::SendOnly } else { Direction::Inactive };
        assert_eq!(held, Some(expect));
        assert_eq!((bridged(&world), world.live(ACME).calls[0].state), (0, CallState::Held));
        assert!(playing(&world).contains("music/default"));
        let call_id = call_id(&world);
        let id = world.command(ACME, "1001", Command::Retrieve { call_id });
        assert_eq!(nack_of(&world, id), Some(NackCode::WrongState));
        world.with_phone(agent_phone(1), |phone, now| phone.offer_direction(now, agents, Direction::SendRecv));
        world.run_for(S);
        assert_eq!((bridged(&world), world.live(ACME).calls[0].state), (2, CallState::Talking));
        hang_up(&mut world, carrier(), session);
        assert_clean(&mut world);
    }
}

#[test]
fn the_callers_own_hold_is_answered_and_the_call_goes_on() {
    let (mut world, session) = talking(0);
    world.with_phone(carrier(), |phone, now| phone.offer_direction(now, session, Direction::SendOnly));
    world.run_for(S);
    assert_eq!((bridged(&world), world.live(ACME).calls[0].state), (2, CallState::Talking));
    let last = world.media.iter().rev().find_map(|(_, command)| match command {
        MediaCommand::Connect { media, .. } => Some(media.direction),
        _ => None,
    });
    assert_eq!(last, Some(Direction::RecvOnly));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn the_desk_hangs_up() {
    let (mut world, _) = talking(0);
    let call_id = call_id(&world);
    world.command(ACME, "1001", Command::Hangup { call_id });
    world.run_for(S);
    assert_eq!(only_record(&world).cause, "agent_hangup");
    assert!(matches!(seen(&mut world, carrier()).last(), Some(Seen::Ended { .. })));
    assert!(matches!(seen(&mut world, agent_phone(1)).last(), Some(Seen::Ended { .. })));
    assert_clean(&mut world);
}

#[test]
fn wrap_up_counts_down_is_extended_and_finished_with_a_disposition() {
    let (mut world, session) = talking(30);
    let call_id = call_id(&world);
    hang_up(&mut world, carrier(), session);
    world.run_for(S * 10);
    assert_eq!(state_of(&world, "1001"), AgentState::Wrapup);
    assert_eq!(world.live(ACME).agents[0].call_id, Some(call_id));
    let id = world.command(ACME, "1001", Command::ExtendWrapup { call_id });
    assert_eq!(world.replies[&id], Ok(()));
    world.run_for(S * 25);
    assert_eq!(state_of(&world, "1001"), AgentState::Wrapup, "35 s after the call");
    let bad = Command::FinishWrapup { call_id, disposition: Some("whatever".into()) };
    let id = world.command(ACME, "1001", bad);
    assert_eq!(nack_of(&world, id), Some(NackCode::BadFrame));
    world.command(ACME, "1001", Command::FinishWrapup { call_id, disposition: Some("resolved".into()) });
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    let ended = world.facts.iter().find_map(|(_, fact)| match fact {
        Fact::WrapupEnded { wrapup_ms, disposition, .. } => Some((*wrapup_ms, disposition.clone())),
        _ => None,
    });
    let (wrapup_ms, disposition) = ended.expect("the wrap-up's fact");
    assert!((34_900..35_100).contains(&wrapup_ms) && disposition.as_deref() == Some("resolved"));
    let again = world.command(ACME, "1001", Command::FinishWrapup { call_id, disposition: None });
    assert_eq!(nack_of(&world, again), Some(NackCode::WrongState));
    assert_clean(&mut world);
}

#[test]
fn a_wrap_up_that_runs_out_is_incomplete_and_the_chosen_state_follows() {
    let (mut world, session) = talking(30);
    let id = set_state(&mut world, "1001", WantedState::Break, Some("siesta"));
    assert_eq!(nack_of(&world, id), Some(NackCode::BadFrame));
    set_state(&mut world, "1001", WantedState::Break, Some("meal"));
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    assert!(matches!(world.desk.last(), Some((_, _, Event::AgentNextState(view))) if view.next.is_some()));
    hang_up(&mut world, carrier(), session);
    world.run_for(S * 31);
    assert!(world.desk.iter().any(|(_, _, event)| matches!(event, Event::WrapupEnded { incomplete: true, .. })));
    let live = world.live(ACME);
    assert_eq!((live.agents[0].state, live.agents[0].reason.as_deref()), (AgentState::Break, Some("meal")));
    assert_clean(&mut world);
}

#[test]
fn without_wrap_up_the_fact_still_follows_the_call() {
    let (mut world, session) = talking(0);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let names: Vec<&str> = world
        .facts
        .iter()
        .filter_map(|(_, fact)| match fact {
            Fact::CallEnded { .. } => Some("call"),
            Fact::WrapupEnded { wrapup_ms: 0, .. } => Some("wrapup"),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["call", "wrapup"]);
}

#[test]
fn a_talk_without_media_ends_with_that_cause() {
    let (mut world, _) = talking(0);
    let leg = *world.legs.keys().next().expect("a leg");
    world.input(Input::Media(MediaEvent::Silent { leg }));
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "no_media"));
    assert_clean(&mut world);
}

#[test]
fn a_record_does_not_wait_for_counts_that_never_come() {
    let mut world = world_with(&file(1), answers(50), Settings { closed_after: None, ..Settings::default() });
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(MS * 150);
    assert_eq!(world.records().len(), 0);
    world.run_for(MS * 100);
    assert!(only_record(&world).legs.iter().all(|leg| leg.stats.is_none()));
    assert_eq!(world.engine.ports.in_use(), 2, "a port is not given out again before its worker let go");
}

#[test]
fn a_failed_recording_does_not_touch_the_call_and_raises_an_alarm() {
    let mut world = world_with(&file(1), answers(50), Settings { recording_fails: true, ..Settings::default() });
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert!(record.outcome == Outcome::Answered && record.recording.is_some());
    assert_eq!(world.live(ACME).alarms[0].code, "recording_failed");
    assert_clean(&mut world);
}

#[test]
fn a_recording_that_a_full_disk_ends_is_told_while_the_call_goes_on() {
    let mut world = world_with(&file(1), answers(50), Settings::default());
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    let recording = *world.recordings.keys().next().expect("it is recorded");
    let file = Recorded {
        path: "a.wav".into(),
        duration_ms: 900,
        channels: 2,
        bytes: 28_844,
        sha256: "0".repeat(64),
        incomplete: Some("the disk is full: make room".into()),
    };
    world.input(Input::Media(MediaEvent::RecordingSealed { recording, file: file.clone() }));
    let alarm = &world.live(ACME).alarms[0];
    assert!(alarm.code == "recording_failed" && alarm.message.contains("make room"), "{alarm:?}");
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(only_record(&world).outcome, Outcome::Answered);
    let ended: Vec<_> = world
        .facts
        .iter()
        .filter_map(|(_, fact)| match fact {
            Fact::RecordingEnded { result, .. } => Some(result.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [Ok(file)], "one end, though the call ended later");
    assert_clean(&mut world);
}

#[test]
fn an_alarm_that_is_not_raised_again_goes_away() {
    let mut world = world_with(&file(1), answers(50), Settings { recording_fails: true, ..Settings::default() });
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let version = world.engine.live_version();
    assert_eq!(world.live(ACME).alarms.len(), 1);
    world.run_for(ALARM_STAY);
    assert!(world.live(ACME).alarms.is_empty());
    assert!(world.engine.live_version() > version, "and everyone who looks is told");
}
