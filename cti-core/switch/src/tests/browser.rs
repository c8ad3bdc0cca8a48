//! Agents who talk by the browser: rung by the frame, answered by `offer.accept`, there again after whatever happened.

use cti_base::{AgentName, TenantId};
use cti_media::{Browser, MediaCommand};

use super::*;
use crate::Input;
use crate::desk::{Event, MediaHealth, NackCode};
use crate::fact::Outcome;
use crate::limits::BROWSER_AWAY_MAX;

/// One agent whose phone is the browser, at the desk and ready, whose audio is connected.
fn browser_world(change: impl FnOnce(&mut Value)) -> World {
    let mut file = desk_file(1);
    agent_mut(&mut file, 1)["phone"] = json!({"kind": "webrtc"});
    change(&mut file);
    let mut world = world_with(&file, answers(50), Settings::default());
    go_ready(&mut world, "1001");
    browser(&mut world, true);
    world
}

fn browser(world: &mut World, up: bool) {
    world.input(Input::Browser { tenant: TenantId::from(ACME), agent: AgentName::from("1001"), up });
}

fn accept(world: &mut World) -> Result<(), crate::desk::Nack> {
    let (_, _, offer) = world.offers.last().expect("an offer");
    let offer_id = offer.offer_id;
    let id = world.command(ACME, "1001", Command::Accept { offer_id });
    world.replies[&id].clone()
}

fn talking() -> (World, SessionId) {
    let mut world = browser_world(|_| {});
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert_eq!(accept(&mut world), Ok(()));
    (world, session)
}

fn bridged(world: &World) -> usize {
    world.legs.values().filter(|leg| !leg.hears.is_empty() && leg.connected).count()
}

#[test]
fn the_desk_answers_at_once_and_no_port_or_dialog_is_needed() {
    let mut world = browser_world(|_| {});
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    let rings = |(_, _, event): &(_, _, Event)| matches!(event, Event::CallRinging { .. });
    assert!(world.desk.iter().any(rings), "the frame is the ringing");
    assert!(world.offers[0].2.can_accept);
    assert_eq!((world.legs.len(), world.engine.ports.in_use()), (2, 1));
    assert_eq!(accept(&mut world), Ok(()));
    assert_eq!((state_of(&world, "1001"), bridged(&world)), (AgentState::Talking, 2));
    world.run_for(S * 2);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.legs.len()), (Outcome::Answered, 2));
    assert!(record.legs.iter().all(|leg| leg.stats.is_some()));
    assert_clean(&mut world);
}

#[test]
fn a_desk_without_audio_is_offered_nothing_until_it_has_it() {
    let mut world = browser_world(|_| {});
    browser(&mut world, false);
    ring_in(&mut world, "13800138000");
    world.run_for(S * 5);
    assert_eq!(world.offers.len(), 0);
    let agent = &world.live(ACME).agents[0];
    assert_eq!((agent.state, agent.media, agent.browser), (AgentState::Ready, MediaHealth::Unhealthy, true));
    browser(&mut world, true);
    assert_eq!(world.offers.len(), 1);
    let told = world.desk.iter().rev().find_map(|(_, _, event)| match event {
        Event::AgentState(view) => Some((view.browser, view.media)),
        _ => None,
    });
    assert_eq!(told, Some((true, MediaHealth::Ok)));
}

#[test]
fn a_page_that_is_loaded_anew_is_in_its_call_again_and_the_caller_hears_music_meanwhile() {
    let (mut world, session) = talking();
    world.run_for(S);
    browser(&mut world, false);
    assert!(playing(&world).contains("music/default"), "{}", playing(&world));
    world.run_for(S * 2);
    browser(&mut world, true);
    assert_eq!((playing(&world).as_str(), bridged(&world)), ("", 2));
    world.run_for(S * 100);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking, "nothing waits any more");
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_clean(&mut world);
}

#[test]
fn a_held_caller_goes_on_hearing_music_when_the_browser_comes_back() {
    let (mut world, _) = talking();
    let call_id = call_id(&world);
    world.command(ACME, "1001", Command::Hold { call_id });
    browser(&mut world, false);
    browser(&mut world, true);
    assert!(playing(&world).contains("music/default"));
    world.command(ACME, "1001", Command::Retrieve { call_id });
    assert_eq!((playing(&world).as_str(), bridged(&world)), ("", 2));
}

#[test]
fn a_caller_retrieved_by_a_desk_without_audio_hears_music() {
    let (mut world, _) = talking();
    let call_id = call_id(&world);
    world.command(ACME, "1001", Command::Hold { call_id });
    browser(&mut world, false);
    world.command(ACME, "1001", Command::Retrieve { call_id });
    assert!(playing(&world).contains("music/default"));
    browser(&mut world, true);
    assert_eq!((playing(&world).as_str(), bridged(&world)), ("", 2));
}

#[test]
fn a_browser_that_does_not_come_back_ends_its_call() {
    let (mut world, _) = talking();
    browser(&mut world, false);
    world.run_for(BROWSER_AWAY_MAX + S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "agent_gone"));
    assert_clean(&mut world);
}

#[test]
fn an_offer_outlives_a_reload_and_is_answered_before_the_audio_is_there() {
    let mut world = browser_world(|_| {});
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    browser(&mut world, false);
    assert_eq!(accept(&mut world), Ok(()));
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    assert!(playing(&world).contains("music/default"));
    browser(&mut world, true);
    assert_eq!((playing(&world).as_str(), bridged(&world)), ("", 2));
}

#[test]
fn an_offer_that_answers_by_itself_does_so_when_it_is_shown() {
    let mut world = browser_world(|file| file["queue"][0]["auto_answer"] = json!(true));
    ring_in(&mut world, "13800138000");
    world.run_for(MS * 100);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    // The agent hears the tone that comes before the caller.
    world.run_for(S * 3);
    assert_eq!(bridged(&world), 2);
}

#[test]
fn an_offer_that_is_over_is_not_answered() {
    let mut world = browser_world(|_| {});
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(accept(&mut world).map_err(|nack| nack.code), Err(NackCode::NotYours));
    assert_clean(&mut world);
}

#[test]
fn after_a_crash_the_caller_hears_music_until_the_browser_is_connected_anew() {
    let (mut world, session) = talking();
    world.crash(MS * 700);
    assert_eq!(world.live(ACME).agents[0].media, MediaHealth::None, "its desk has not come back either");
    assert!(playing(&world).contains("music/default"));
    let opened = |(at, command): &&(_, MediaCommand)| {
        *at == world.now
            && matches!(command, MediaCommand::OpenBrowser { browser: Browser::Desk { agent, .. }, .. } if agent.as_str() == "1001")
    };
    assert_eq!(world.media.iter().filter(opened).count(), 1);
    world.desk_connects(ACME, "1001");
    browser(&mut world, true);
    assert_eq!((playing(&world).as_str(), bridged(&world)), ("", 2));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_clean(&mut world);
}

#[test]
fn a_crash_while_it_rings_leaves_the_offer_to_be_answered() {
    let mut world = browser_world(|_| {});
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.crash(MS * 300);
    world.desk_connects(ACME, "1001");
    browser(&mut world, true);
    assert_eq!(accept(&mut world), Ok(()));
    assert_eq!((state_of(&world, "1001"), bridged(&world)), (AgentState::Talking, 2));
}

#[test]
fn the_agent_of_a_callback_hears_the_customers_phone_ring() {
    let mut world = browser_world(|file| {
        file["tenant"]["outbound"] = json!({"prefixes": ["+86"], "max_cps": 10});
        file["queue"][0]["callback"] = json!({"first": "agent"});
    });
    world.add_phone("192.0.2.10:5060", Plan::Answer { after: S, talk: Some(S * 2) });
    let new = crate::CallbackNew {
        number: cti_base::Pii::new("13800138000".into()),
        queue: Some("repair".into()),
        agent: None,
        due_ms: None,
        customer_id: None,
        contact_id: None,
        source: crate::CallbackSource::Scheduled,
    };
    world.ask_callback(ACME, crate::CallbackAsk::Schedule(Box::new(new))).expect("taken");
    world.run_for(MS * 100);
    assert_eq!(accept(&mut world), Ok(()));
    assert!(playing(&world).contains("ringback"), "{}", playing(&world));
    world.run_for(S * 2);
    assert_eq!((state_of(&world, "1001"), bridged(&world)), (AgentState::Talking, 2));
    world.run_for(S * 5);
    assert_clean(&mut world);
}

/// Browsers that come and go, desks that accept, reject, hold, hang up and leave, beside a telephone that rings with them.
fn storm(seed: u64, settings: Settings) -> (World, String) {
    let mut rng = cti_base::Rng::from_number(seed);
    let mut file = desk_file(4);
    for n in 1..=3 {
        agent_mut(&mut file, n)["phone"] = json!({"kind": "webrtc"});
    }
    agent_mut(&mut file, 4)["always_ready"] = json!(true);
    file["queue"][0]["strategy"] = json!("ring_all");
    file["queue"][0]["ring_timeout_s"] = json!(5);
    file["queue"][0]["auto_answer"] = json!(seed.is_multiple_of(3));
    let mut world = world_with(&file, answers(3_000), settings);
    world.phone(carrier()).talk = Some(S * 20);
    world.phone(agent_phone(4)).plan = Plan::Answer { after: S * 3, talk: Some(S * 4) };
    let input = |world: &mut World, agent: &str, up| {
        world.input(Input::Browser { tenant: TenantId::from(ACME), agent: AgentName::from(agent), up });
    };
    for _ in 0..250 {
        world.run_for(Duration::from_millis(rng.below(1_500)));
        let agent = (1_001 + rng.below(3)).to_string();
        let call = world.live(ACME).agents.iter().find(|known| known.name.as_str() == agent).and_then(|a| a.call_id);
        let offer = world.offers.iter().rfind(|(_, to, _)| to.as_str() == agent).map(|(_, _, offer)| offer.offer_id);
        match rng.below(12) {
            0..=2 => {
                ring_in(&mut world, &caller(rng.below(90) as usize));
            }
            3 => {
                let sessions = world.phone(carrier()).sessions();
                if let Some(session) = sessions.get(rng.below(sessions.len().max(1) as u64) as usize) {
                    hang_up(&mut world, carrier(), *session);
                }
            }
            4..=6 => input(&mut world, &agent, rng.below(3) > 0),
            7 | 8 => {
                if let Some(offer_id) = offer {
                    let reject = rng.below(5) == 0;
                    let command =
                        if reject { Command::Reject { offer_id, reason: None } } else { Command::Accept { offer_id } };
                    world.command(ACME, &agent, command);
                }
            }
            9 => {
                if let Some(call_id) = call {
                    let command = match rng.below(3) {
                        0 => Command::Hold { call_id },
                        1 => Command::Retrieve { call_id },
                        _ => Command::Hangup { call_id },
                    };
                    world.command(ACME, &agent, command);
                }
            }
            10 if rng.below(3) == 0 => world.desk_leaves(ACME, &agent),
            _ => {
                world.desk_connects(ACME, &agent);
                set_state(&mut world, &agent, WantedState::Ready, None);
            }
        }
    }
    let log = format!("{:?}", world.facts);
    (world, log)
}

fn end_all(world: &mut World) {
    (world.settings.loss_per_mille, world.settings.crash_per_mille) = (0, 0);
    for session in world.phone(carrier()).sessions() {
        hang_up(world, carrier(), session);
    }
    world.run_for(S * 30);
    let talking: Vec<_> = world.legs.iter().filter(|(_, leg)| !leg.hears.is_empty()).map(|(id, _)| *id).collect();
    for leg in talking {
        world.input(Input::Media(cti_media::MediaEvent::Silent { leg }));
    }
    world.run_for(S * 100);
}

#[test]
fn whatever_browsers_and_desks_do_the_rules_hold_and_nothing_is_left() {
    for seed in 0..40_u64 {
        let crash_per_mille = if seed.is_multiple_of(2) { 0 } else { 8 };
        let settings = Settings { loss_per_mille: 10, crash_per_mille, ..Settings::default() };
        let (mut world, _) = storm(seed, settings);
        let answered = world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Answered { .. })).count();
        assert!(answered >= 10, "seed {seed}: {answered} answered");
        end_all(&mut world);
        assert_clean(&mut world);
    }
}

#[test]
fn a_run_with_browsers_through_snapshots_is_the_same_run() {
    for (seed, snapshot_every) in [(1, 1), (2, 7)] {
        let (plain, log) = storm(seed, Settings::default());
        let (read_back, log_read_back) = storm(seed, Settings { snapshot_every, ..Settings::default() });
        assert_eq!(log, log_read_back, "seed {seed}");
        assert_eq!(plain.engine.state_hash(), read_back.engine.state_hash(), "seed {seed}");
    }
}

#[test]
fn an_input_of_a_browser_that_is_said_to_do_nothing_does_nothing() {
    let (world, _) = storm(3, Settings { prove_nothing: true, ..Settings::default() });
    assert!(world.forgotten > 5, "{} forgotten", world.forgotten);
}
