//! The program dies and comes back, in every stage of a call: nobody loses anything but the time it was gone.

use cti_media::{Gap, MediaCommand, MediaEvent};

use super::menu::{menu_file, press};
use super::presence::{SECRET, register, sip_world};
use super::*;
use crate::Input;
use crate::fact::Outcome;
use crate::limits::{DESK_GRACE, TAKE_UP_MAX};
use crate::testing::WorkerLeg;

/// A talking call of agent 1001 with a recording, and the caller's session.
fn talking() -> (World, SessionId) {
    let mut world = world(1, answers(50));
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S * 3);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    (world, session)
}

fn bridged(world: &World) -> usize {
    world.legs.values().filter(|leg| !leg.hears.is_empty()).count()
}

fn gaps(world: &World) -> Vec<Gap> {
    let gaps = world.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::RecordingEnded { gaps, .. } => Some(gaps.clone()),
        _ => None,
    });
    gaps.flatten().collect()
}

#[test]
fn those_who_talk_go_on_talking_and_the_recording_has_a_gap() {
    let (mut world, session) = talking();
    let ports: Vec<u16> = world.legs.values().map(|leg| leg.port).collect();
    let talked_since = world.engine.calls.values().next().expect("a call").answered.expect("answered");
    let crashed = world.now;
    world.crash(MS * 700);
    let legs: Vec<&WorkerLeg> = world.legs.values().collect();
    assert_eq!(legs.iter().map(|leg| leg.port).collect::<Vec<_>>(), ports, "the same ports");
    assert!(legs.iter().all(|leg| leg.connected && !leg.hears.is_empty() && !leg.muted && leg.playing.is_none()));
    assert_eq!((world.recordings.len(), state_of(&world, "1001")), (1, AgentState::Talking));
    world.run_for(S * 5);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "caller_hangup"));
    let from_ms = crashed.since(talked_since).as_millis() as u64;
    assert_eq!(gaps(&world), [Gap { from_ms, to_ms: from_ms + 700 }]);
    assert!(record.legs.iter().all(|leg| leg.stats.is_some()), "legs that live have their counts");
    assert_clean(&mut world);
}

#[test]
fn hold_and_mute_stay_as_they_were() {
    let mut world = world_with(&desk_file(1), answers(50), Settings::default());
    go_ready(&mut world, "1001");
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    let call_id = call_id(&world);
    world.command(ACME, "1001", Command::Mute { call_id });
    world.command(ACME, "1001", Command::Hold { call_id });
    world.run_for(S);
    world.crash(S);
    assert_eq!(bridged(&world), 0);
    assert!(playing(&world).contains("music/default"), "{}", playing(&world));
    assert_eq!(world.legs.values().filter(|leg| leg.muted).count(), 1);
    world.desk_connects(ACME, "1001");
    world.command(ACME, "1001", Command::Retrieve { call_id });
    assert_eq!((bridged(&world), playing(&world)), (2, String::new()));
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(only_record(&world).hold_ms, 2_000);
    assert_clean(&mut world);
}

#[test]
fn a_caller_in_a_menu_hears_the_present_prompt_again() {
    // While it plays, and while a key is awaited.
    for after in [MS * 500, S * 3] {
        let mut world = world_with(&menu_file(1), answers(100), Settings::default());
        ring_in(&mut world, "13800138000");
        world.run_for(after);
        world.crash(S * 2);
        assert!(playing(&world).contains("zh-CN/main_menu"), "{after:?}: {}", playing(&world));
        world.run_for(S * 5);
        assert!(!playing(&world).contains("silence"), "the time for a key begins with the prompt's end");
        press(&mut world, '2');
        world.run_for(S);
        assert_eq!(state_of(&world, "1001"), AgentState::Talking);
        assert_eq!(world.live(ACME).calls.len(), 1);
    }
}

#[test]
fn a_menu_that_has_changed_since_stays_the_callers_own() {
    let mut world = world_with(&menu_file(1), answers(100), Settings { snapshot_every: 1, ..Settings::default() });
    ring_in(&mut world, "13800138000");
    ring_in(&mut world, "13800138001");
    world.run_for(MS * 500);
    let mut changed = menu_file(1);
    let source = changed["ivr"][0]["source"].as_str().expect("a script").replace("2 = \"repair\"", "3 = \"repair\"");
    changed["ivr"][0]["source"] = json!(source);
    let tenant = tenant_from(&changed.to_string());
    assert!(!world.engine.is_declared(&tenant));
    world.declare(tenant);
    world.crash(S);
    assert!(world.engine.is_declared(&tenant_from(&changed.to_string())));
    press(&mut world, '2');
    world.run_for(S);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
}

#[test]
fn those_who_wait_keep_their_place_and_their_music() {
    let mut world = world_with(&desk_file(1), Plan::Answer { after: MS * 50, talk: Some(S) }, Settings::default());
    for n in 0..4 {
        ring_in(&mut world, &caller(n));
        world.run_for(MS * 100);
    }
    world.run_for(S * 9);
    let waits = |world: &World| -> Vec<Option<u64>> {
        world.engine.calls.values().map(|call| call.queued.map(cti_base::Timestamp::as_millis)).collect()
    };
    let queued = waits(&world);
    world.crash(S * 2);
    assert_eq!(waits(&world), queued);
    assert!(playing(&world).contains("music/default"), "{}", playing(&world));
    // One more comes, and goes to the end.
    ring_in(&mut world, &caller(4));
    world.run_for(S);
    world.crash(MS * 300);
    go_ready(&mut world, "1001");
    world.run_for(S * 20);
    assert_eq!(offered_callers(&world), (0..5).map(caller).collect::<Vec<_>>());
    assert_clean(&mut world);
}

#[test]
fn what_was_being_said_to_a_waiting_caller_is_said_again() {
    let mut world = world_with(&desk_file(1), answers(50), Settings::default());
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 500);
    let said = playing(&world);
    assert!(said.contains("queue_welcome"));
    world.crash(S * 5);
    assert_eq!(playing(&world), said);
    world.run_for(S * 10);
    assert!(playing(&world).contains("music/default"));
}

#[test]
fn the_limits_of_a_wait_go_on_meanwhile() {
    let mut file = desk_file(1);
    file["queue"][0]["max_wait_s"] = json!(30);
    let mut world = world_with(&file, answers(50), Settings::default());
    ring_in(&mut world, "13800138000");
    world.run_for(S * 25);
    world.crash(S * 10);
    assert!(playing(&world).contains("sorry_overflow"), "{}", playing(&world));
    // And again while goodbye is said.
    world.crash(S * 30);
    assert!(playing(&world).contains("sorry_overflow"), "{}", playing(&world));
    world.run_for(S * 2);
    assert_eq!((only_record(&world).outcome, only_record(&world).cause.as_str()), (Outcome::Overflowed, "max_wait"));
    assert_clean(&mut world);
}

#[test]
fn a_phone_that_rings_rings_on_and_its_200_is_taken() {
    let mut world = world(1, answers(9_000));
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S * 2);
    assert_eq!(invites(&mut world, agent_phone(1)), 1);
    // The phone answers while nobody hears it, and repeats its 200.
    world.crash(S * 8);
    assert_eq!(state_of(&world, "1001"), AgentState::Offered);
    world.run_for(S * 8);
    assert_eq!((state_of(&world, "1001"), bridged(&world)), (AgentState::Talking, 2));
    assert_eq!(invites(&mut world, agent_phone(1)), 1, "it was not rung twice");
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(only_record(&world).outcome, Outcome::Answered);
    assert_clean(&mut world);
}

#[test]
fn a_phone_that_is_not_answered_has_its_whole_time() {
    let mut world = world(1, Plan::Ring);
    ring_in(&mut world, "13800138000");
    world.run_for(S * 10);
    world.crash(S * 8);
    world.run_for(S * 4);
    assert_eq!(state_of(&world, "1001"), AgentState::Offered);
    world.run_for(S * 3);
    assert_eq!(world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::OfferEnded { .. })).count(), 1);
}

#[test]
fn an_offer_goes_on_from_each_of_its_steps() {
    // The records never answer; the frame is never said to be shown.
    for (records_after, shown_after, run) in [(None, Some(MS), MS * 10), (Some(MS * 3), None, MS * 15)] {
        let settings = Settings { records_after, shown_after, ..Settings::default() };
        let mut world = world_with(&desk_file(1), answers(50), settings);
        go_ready(&mut world, "1001");
        ring_in(&mut world, "13800138000");
        world.run_for(run);
        assert_eq!((state_of(&world, "1001"), invites(&mut world, agent_phone(1))), (AgentState::Offered, 0));
        world.crash(S);
        world.desk_connects(ACME, "1001");
        world.run_for(S);
        assert_eq!(state_of(&world, "1001"), AgentState::Talking, "{records_after:?} {shown_after:?}");
        assert_eq!(world.offers.len(), 1);
    }
}

#[test]
fn an_accept_that_waited_still_counts_and_is_answered_to_nobody() {
    for (down, counts) in [(MS * 100, true), (TAKE_UP_MAX + S, false)] {
        let mut world = world_with(&desk_file(1), Plan::Ring, Settings { latency: MS * 200, ..Settings::default() });
        go_ready(&mut world, "1001");
        ring_in(&mut world, "13800138000");
        world.run_for(MS * 300);
        let offer_id = world.offers[0].2.offer_id;
        let id = world.command(ACME, "1001", Command::Accept { offer_id });
        world.run_for(MS * 20);
        assert!(!world.replies.contains_key(&id));
        world.crash(down);
        world.run_for(S * 5);
        let asked = seen(&mut world, agent_phone(1)).iter().any(|seen| matches!(seen, Seen::AskedToTalk { .. }));
        assert_eq!(asked, counts, "down for {down:?}");
        assert!(!world.replies.contains_key(&id), "down for {down:?}");
        assert_eq!(state_of(&world, "1001") == AgentState::Talking, counts, "down for {down:?}");
    }
}

#[test]
fn open_questions_to_the_records_are_asked_again() {
    let mut world = world_with(&desk_file(1), answers(50), Settings { records_after: None, ..Settings::default() });
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.settings.records_after = Some(MS);
    world.crash(S);
    world.run_for(MS * 5);
    go_ready(&mut world, "1001");
    world.run_for(S);
    assert!(world.offers[0].2.pop.records_known);
}

#[test]
fn a_caller_who_is_not_answered_yet_is_answered_by_the_agent() {
    let mut file = desk_file(1);
    file["number"][0]["answer"] = json!("agent");
    let mut world = world_with(&file, answers(50), Settings::default());
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S * 2);
    world.crash(S * 2);
    assert!(world.legs.values().all(|leg| !leg.connected && leg.playing.is_none()));
    go_ready(&mut world, "1001");
    world.run_for(S);
    assert!(seen(&mut world, carrier()).contains(&Seen::Answered { session }));
    assert_eq!(bridged(&world), 2);
}

#[test]
fn wrap_ups_and_breaks_keep_their_clocks() {
    let mut file = desk_file(2);
    file["queue"][0]["wrapup_s"] = json!(20);
    agent_mut(&mut file, 2)["queues"] = json!([]);
    let mut world = world_with(&file, answers(50), Settings::default());
    go_ready(&mut world, "1001");
    go_ready(&mut world, "1002");
    set_state(&mut world, "1002", WantedState::Break, Some("meal"));
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S * 10);
    let since = |world: &World| -> Vec<(AgentState, u64)> {
        world.live(ACME).agents.iter().map(|agent| (agent.state, agent.since_ms)).collect()
    };
    let before = since(&world);
    assert_eq!((before[0].0, before[1].0), (AgentState::Wrapup, AgentState::Break));
    world.crash(S * 5);
    assert_eq!(since(&world), before);
    for agent in ["1001", "1002"] {
        world.desk_connects(ACME, agent);
    }
    world.run_for(S * 6);
    assert_eq!((state_of(&world, "1001"), state_of(&world, "1002")), (AgentState::Ready, AgentState::Break));
    let wrapups = world.facts.iter().filter_map(|(_, fact)| match fact {
        Fact::WrapupEnded { wrapup_ms, .. } => Some(*wrapup_ms),
        _ => None,
    });
    assert_eq!(wrapups.collect::<Vec<_>>(), [20_000]);
}

#[test]
fn desks_have_their_grace_to_come_back() {
    let mut world = world_with(&desk_file(3), answers(50), Settings::default());
    for agent in ["1001", "1002", "1003"] {
        go_ready(&mut world, agent);
    }
    // Gone for a while before the crash: its time begins anew as well.
    world.desk_leaves(ACME, "1002");
    world.run_for(S * 20);
    world.crash(S * 60);
    let states = |world: &World| ["1001", "1002", "1003"].map(|agent| state_of(world, agent));
    assert_eq!(states(&world), [AgentState::Ready; 3]);
    world.run_for(S * 10);
    world.desk_connects(ACME, "1001");
    world.desk_connects(ACME, "1002");
    world.run_for(DESK_GRACE - S * 11);
    assert_eq!(states(&world), [AgentState::Ready; 3]);
    world.run_for(S * 2);
    assert_eq!(states(&world), [AgentState::Ready, AgentState::Ready, AgentState::Offline]);
}

#[test]
fn a_registered_phone_is_rung_after_a_restart() {
    let (mut world, phone) = sip_world(true);
    register(&mut world, phone, SECRET, 600);
    world.crash(S * 3);
    assert_eq!(
        (state_of(&world, "1001"), world.live(ACME).agents[0].media),
        (AgentState::Ready, crate::desk::MediaHealth::Ok)
    );
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert_eq!((state_of(&world, "1001"), invites(&mut world, phone)), (AgentState::Talking, 1));
}

#[test]
fn a_call_that_was_ending_has_its_record() {
    for (closed_after, sealed_after) in [(None, MS * 20), (Some(MS * 5), S * 9)] {
        let settings = Settings { closed_after, sealed_after, ..Settings::default() };
        let mut world = world_with(&file(1), answers(50), settings);
        let session = ring_in(&mut world, "13800138000");
        world.run_for(S);
        hang_up(&mut world, carrier(), session);
        world.run_for(MS * 50);
        world.crash(S);
        world.run_for(S * 10);
        assert_eq!(only_record(&world).outcome, Outcome::Answered);
        let ended = world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::RecordingEnded { .. })).count();
        assert_eq!(ended, 1, "{closed_after:?}");
        world.settings.closed_after = Some(MS);
        assert_clean(&mut world);
    }
}

#[test]
fn a_caller_who_hung_up_meanwhile_is_heard_by_their_repeated_bye() {
    let (mut world, session) = talking();
    hang_up(&mut world, carrier(), session);
    world.crash(S * 3);
    world.run_for(S * 5);
    assert_eq!(only_record(&world).cause, "caller_hangup");
    assert_clean(&mut world);
}

#[test]
fn after_too_long_every_call_is_ended_on_both_sides() {
    let mut file = desk_file(2);
    file["queue"][0]["max_wait_s"] = json!(3600);
    let mut world = world_with(&file, answers(50), Settings::default());
    go_ready(&mut world, "1001");
    let mut sessions = Vec::new();
    for n in 0..3 {
        sessions.push(ring_in(&mut world, &caller(n)));
        world.run_for(S);
    }
    assert_eq!((state_of(&world, "1001"), world.live(ACME).calls.len()), (AgentState::Talking, 3));
    world.crash(TAKE_UP_MAX + S);
    assert_eq!(world.live(ACME).calls, []);
    world.run_for(S);
    let outcomes: Vec<(Outcome, String)> =
        world.records().iter().map(|record| (record.outcome, record.cause.clone())).collect();
    let expect = [Outcome::Answered, Outcome::Interrupted, Outcome::Interrupted];
    assert_eq!(outcomes, expect.map(|outcome| (outcome, "restart".to_owned())));
    for session in sessions {
        let over = |seen: &Seen| matches!(seen, Seen::Ended { session: ended, .. } if *ended == session);
        assert!(seen(&mut world, carrier()).iter().any(over), "the caller is let go");
    }
    assert!(seen(&mut world, agent_phone(1)).iter().any(|seen| matches!(seen, Seen::Ended { .. })));
    assert_eq!(gaps(&world), []);
    assert_clean(&mut world);
}

#[test]
fn a_long_silence_of_the_journal_is_no_long_stop() {
    let (mut world, session) = talking();
    world.run_for(TAKE_UP_MAX * 2);
    world.crash(S);
    assert_eq!((state_of(&world, "1001"), bridged(&world)), (AgentState::Talking, 2));
    hang_up(&mut world, carrier(), session);
    assert_clean(&mut world);
}

#[test]
fn a_new_process_takes_calls_though_the_old_one_did_not() {
    let (mut world, _) = talking();
    world.input(Input::Drain);
    world.crash(S);
    ring_in(&mut world, "13800138001");
    world.run_for(S);
    assert_eq!(world.live(ACME).calls.len(), 2);
}

#[test]
fn a_leg_whose_port_is_lost_ends_its_call_with_that_cause() {
    let (mut world, _) = talking();
    world.settings.bad_ports = world.legs.values().take(1).map(|leg| leg.port).collect();
    world.crash(S);
    world.run_for(S);
    assert_eq!(only_record(&world).cause, "media_failed");
    assert_clean(&mut world);
}

#[test]
fn a_second_crash_adds_a_second_gap() {
    let (mut world, session) = talking();
    for _ in 0..2 {
        world.crash(S);
        world.run_for(S * 4);
    }
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let gaps = gaps(&world);
    assert_eq!(gaps.iter().map(|gap| gap.to_ms - gap.from_ms).collect::<Vec<_>>(), [1_000; 2]);
    assert_eq!(gaps[1].from_ms - gaps[0].to_ms, 4_000);
}

#[test]
fn a_silent_leg_is_told_anew_after_a_restart() {
    let (mut world, _) = talking();
    world.crash(S);
    let leg = *world.legs.keys().next().expect("a leg");
    let plays = world.media.iter().filter(|(_, command)| matches!(command, MediaCommand::Open { .. })).count();
    assert_eq!(plays, 4, "both legs were opened again, so that their silence counts from there");
    world.input(Input::Media(MediaEvent::Silent { leg }));
    world.run_for(S);
    assert_eq!(only_record(&world).cause, "no_media");
}

#[test]
fn another_range_of_ports_holds_for_new_legs_alone() {
    let (mut world, _) = talking();
    let ports: Vec<u16> = world.legs.values().map(|leg| leg.port).collect();
    world.config.rtp_ports = 24_000..=24_999;
    world.settings.rtp_ports = 20_000..=24_999;
    world.crash(S);
    assert_eq!(world.legs.values().map(|leg| leg.port).collect::<Vec<_>>(), ports);
    ring_in(&mut world, "13800138001");
    world.run_for(S);
    let fresh: Vec<u16> = world.legs.values().map(|leg| leg.port).filter(|port| !ports.contains(port)).collect();
    assert_eq!(fresh, [24_000]);
    assert_eq!(bridged(&world), 2);
}

#[test]
fn a_phone_that_the_new_config_can_not_reach_is_not_rung() {
    let mut world = world(1, answers(50));
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    world.config.sip.listeners.clear();
    world.crash(S);
    assert_eq!(world.live(ACME).agents[0].media, crate::desk::MediaHealth::None);
    assert_eq!(state_of(&world, "1001"), AgentState::Offline);
}
