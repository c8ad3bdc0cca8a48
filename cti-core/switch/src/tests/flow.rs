use super::*;
use crate::desk::Event;
use crate::fact::{Outcome, SegmentKind};
use cti_media::MediaCommand;

#[test]
fn a_call_is_queued_answered_recorded_and_ended() {
    let mut world = world(1, answers(200));
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S * 3);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    assert_eq!(world.live(ACME).calls.len(), 1);
    assert_eq!(world.legs.values().filter(|leg| !leg.hears.is_empty()).count(), 2);
    hang_up(&mut world, carrier(), session);
    world.run_for(S * 1);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "caller_hangup"));
    assert_eq!(record.from.expose(), "+8613800138000");
    assert_eq!(record.agent.as_ref().map(|agent| agent.as_str()), Some("1001"));
    assert_eq!(record.queue.as_ref().map(|queue| queue.as_str()), Some("repair"));
    assert!((2_700..2_900).contains(&record.talk_ms), "{}", record.talk_ms);
    assert!(record.wait_ms < 300 && record.ring_ms < 300 && record.hold_ms == 0);
    assert_eq!(record.legs.len(), 2);
    assert!(record.legs.iter().all(|leg| leg.stats.is_some()), "{:?}", record.legs);
    let kinds: Vec<SegmentKind> = record.segments.iter().map(|segment| segment.kind).collect();
    assert_eq!(kinds, [SegmentKind::Queue, SegmentKind::Ringing, SegmentKind::Talk]);
    let sealed = world.facts.iter().find_map(|(_, fact)| match fact {
        Fact::RecordingEnded { result: Ok(file), .. } => Some(file.duration_ms),
        _ => None,
    });
    assert!(sealed.is_some_and(|length| length.abs_diff(record.talk_ms) <= 2));
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    assert_clean(&mut world);
}

#[test]
fn the_agents_bye_ends_the_callers_leg() {
    let mut world = world(1, Plan::Answer { after: MS * 100, talk: Some(S * 2) });
    ring_in(&mut world, "13800138000");
    world.run_for(S * 5);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "agent_hangup"));
    assert!(matches!(seen(&mut world, carrier()).last(), Some(Seen::Ended { .. })));
    assert_clean(&mut world);
}

#[test]
fn the_caller_is_answered_before_an_agent_is() {
    let mut world = world(0, answers(0));
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 100);
    assert!(seen(&mut world, carrier()).iter().any(|seen| matches!(seen, Seen::Answered { .. })));
    let plays: Vec<&MediaCommand> =
        world.media.iter().map(|(_, command)| command).filter(|c| matches!(c, MediaCommand::Play { .. })).collect();
    assert!(format!("{plays:?}").contains("zh-CN/queue_welcome"));
    world.run_for(S * 6);
    let leg = world.legs.values().next().expect("the caller's leg");
    assert!(leg.playing.as_ref().is_some_and(|(_, names, repeat)| *repeat && names[0].contains("music/default")));
}

#[test]
fn the_frame_goes_out_before_the_phones_invite() {
    let mut file = file(1);
    file["agent"][0]["always_ready"] = json!(false);
    let mut world = world_with(&file, answers(500), Settings::default());
    world.desk_connects(ACME, "1001");
    world.command(
        ACME,
        "1001",
        crate::desk::Command::SetState { state: crate::desk::WantedState::Ready, reason: None },
    );
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 300);
    let (offered_at, _, offer) = &world.offers[0];
    assert_eq!(offer.pop.number.expose(), "+8613800138000");
    assert!(offer.pop.records_known);
    let offered_at = *offered_at;
    let invited_at = world.phone(agent_phone(1)).seen[0].0;
    assert!(invited_at > offered_at);
    world.run_for(S * 1);
    let names: Vec<String> = world.desk.iter().map(|(_, _, event)| name_of(event)).collect();
    assert_eq!(
        names,
        ["standing", "agent.state", "agent.state", "call.ringing", "offer.accepted", "agent.state", "call.connected"]
    );
}

pub(super) fn name_of(event: &Event) -> String {
    if matches!(event, Event::Standing(_)) {
        return "standing".to_owned();
    }
    serde_json::to_value(event).expect("an event")["t"].as_str().expect("a name").to_owned()
}
