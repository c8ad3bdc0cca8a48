//! Phones in a page: called and calling, holding, and there again when the server was started anew.

use cti_media::webrtc::{Half, ICE_SEED_LEN, IceCredentials, WebRtc};
use cti_media::{Browser, Direction, MediaCommand, MediaEvent};

use super::*;
use crate::Input;
use crate::fact::Outcome;
use crate::limits::BROWSER_AWAY_MAX;
use crate::testing::edge;

/// A page's half, told from others by `number`.
fn half(number: u8) -> Option<Box<Half>> {
    Some(Box::new(Half::new(
        edge("sha-256 AA:BB"),
        IceCredentials::from_random([number; ICE_SEED_LEN]),
        u32::from(number),
    )))
}

/// One agent whose phone is reached by websocket, in a page or not.
fn page_world(page: bool) -> World {
    let mut file = file(1);
    agent_mut(&mut file, 1)["phone"]["uri"] = json!("sip:1001@192.0.2.20:6001;transport=ws");
    let mut world = world_with(&file, answers(100), Settings::default());
    world.phone(agent_phone(1)).page = half(1).filter(|_| page);
    world
}

/// The connections that the workers were told of, by leg, newest last.
fn connections(world: &World) -> Vec<WebRtc> {
    let settled = |(_, command): &(_, MediaCommand)| match command {
        MediaCommand::Connect { media, .. } => media.webrtc.clone(),
        _ => None,
    };
    world.media.iter().filter_map(settled).map(|settled| *settled).collect()
}

fn pages_opened(world: &World) -> usize {
    let is_page = |(_, command): &&(_, MediaCommand)| {
        matches!(command, MediaCommand::OpenBrowser { browser: Browser::Phone, .. })
    };
    world.media.iter().filter(is_page).count()
}

/// A page as the caller, and an agent's telephone that registers.
fn calling_world() -> World {
    let (mut world, _) = presence::sip_world(true);
    world.phone(carrier()).page = half(1);
    somebody_registers(&mut world);
    world
}

/// Whoever it is: that is when pages are looked for.
fn somebody_registers(world: &mut World) {
    let phone = "192.0.2.30:5062".parse().expect("an address");
    presence::register(world, phone, presence::SECRET, 3_600);
}

fn talks(world: &World) -> bool {
    let hears = world.legs.values().filter(|leg| !leg.hears.is_empty() && leg.connected).count();
    hears == 2 && playing(world).is_empty()
}

#[test]
fn a_page_is_rung_with_our_half_of_a_connection_and_talks_without_a_port() {
    let mut world = page_world(true);
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert!(talks(&world));
    assert_eq!((pages_opened(&world), world.engine.ports.in_use()), (1, 1));
    let settled = connections(&world).pop().expect("a connection");
    assert_eq!(Some(&settled.ice), half(1).map(|half| half.ice).as_ref());
    let theirs = world.phone(agent_phone(1)).media.values().next().cloned().expect("agreed");
    let theirs = theirs.webrtc.expect("a page's");
    assert_eq!((theirs.ice, theirs.ssrc), (settled.ours.ice.clone(), Some(settled.ours.ssrc)));
    assert_ne!(settled.ours.begins, theirs.ours.begins, "one of the two begins the handshake");
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(only_record(&world).outcome, Outcome::Answered);
    assert_clean(&mut world);
}

#[test]
fn a_telephone_by_websocket_that_is_no_page_is_rung_again_with_plain_sound() {
    let mut world = page_world(false);
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert!(talks(&world));
    assert_eq!((pages_opened(&world), connections(&world).len(), world.engine.ports.in_use()), (1, 0, 2));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.legs.len()), (Outcome::Answered, 2));
    assert_clean(&mut world);
}

#[test]
fn a_page_calls_holds_and_takes_new_names_for_ice() {
    let mut world = world(1, answers(100));
    world.phone(carrier()).page = half(1);
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert!(talks(&world));
    assert_eq!((pages_opened(&world), world.engine.ports.in_use()), (1, 1));
    let first = connections(&world).pop().expect("a connection");
    world.with_phone(carrier(), |phone, now| phone.offer_direction(now, session, Direction::SendOnly));
    world.run_for(S);
    let held = connections(&world).pop().expect("a connection");
    assert_eq!(held, first, "a hold changes nothing of it");
    world.phone(carrier()).page = half(2);
    world.with_phone(carrier(), |phone, now| phone.offer_direction(now, session, Direction::SendRecv));
    world.run_for(S);
    let renamed = connections(&world).pop().expect("a connection");
    assert_eq!(Some(&renamed.ice), half(2).map(|half| half.ice).as_ref());
    assert_ne!(renamed.ours.ice, first.ours.ice, "new names on both sides");
    assert_eq!(renamed.ours.edge, first.ours.edge);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_clean(&mut world);
}

#[test]
fn a_leg_does_not_change_its_kind() {
    let mut world = world(1, answers(100));
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.phone(carrier()).page = half(1);
    world.with_phone(carrier(), |phone, now| phone.offer_direction(now, session, Direction::SendRecv));
    world.run_for(S);
    assert_eq!(connections(&world), []);
    assert!(talks(&world));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_clean(&mut world);
}

#[test]
fn a_page_is_offered_the_new_processs_half_when_it_is_reached_again() {
    let mut world = calling_world();
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.config.browsers = Some(edge("sha-256 45:67"));
    world.crash(MS * 500);
    assert_eq!(pages_opened(&world), 2, "its leg is opened again");
    let before = connections(&world).pop().expect("as it was");
    assert_eq!(before.ours.edge, edge("sha-256 01:23"));
    somebody_registers(&mut world);
    let after = connections(&world).pop().expect("a connection");
    assert_eq!(after.ours.edge, edge("sha-256 45:67"));
    assert!(after.ours.ice != before.ours.ice && after.ours.ssrc != before.ours.ssrc);
    assert!(talks(&world));
    let asked = connections(&world).len();
    somebody_registers(&mut world);
    assert_eq!(connections(&world).len(), asked, "once is enough");
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_clean(&mut world);
}

#[test]
fn a_page_that_can_not_go_on_after_a_restart_ends_its_call() {
    let mut world = calling_world();
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.config.browsers = Some(edge("sha-256 45:67"));
    world.crash(MS * 500);
    world.phone(carrier()).page = None;
    somebody_registers(&mut world);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "no_media"));
    assert_clean(&mut world);
}

#[test]
fn the_caller_hears_music_until_the_agents_page_is_back_and_not_for_ever() {
    let mut world = page_world(true);
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.config.browsers = Some(edge("sha-256 45:67"));
    world.crash(MS * 500);
    assert!(playing(&world).contains("music/default"), "{}", playing(&world));
    world.run_for(BROWSER_AWAY_MAX + S);
    let record = only_record(&world);
    assert_eq!((record.outcome, record.cause.as_str()), (Outcome::Answered, "agent_gone"));
    assert_clean(&mut world);
}

#[test]
fn a_page_that_is_gone_ends_its_call_wherever_it_is() {
    let mut world = page_world(true);
    let page = |world: &World| {
        let opened = world.media.iter().rev().find_map(|(_, command)| match command {
            MediaCommand::OpenBrowser { leg, browser: Browser::Phone, .. } => Some(*leg),
            _ => None,
        });
        opened.expect("a page's leg")
    };
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    let leg = page(&world);
    world.input(Input::Media(MediaEvent::Gone { leg }));
    world.run_for(S);
    assert_eq!(world.records().last().map(|record| record.cause.clone()).as_deref(), Some("agent_gone"));
    // A page that waits in the queue.
    world.phone(agent_phone(1)).plan = Plan::Ring;
    world.phone(carrier()).page = half(2);
    ring_in(&mut world, "13800138001");
    world.run_for(MS * 100);
    let customer = world.engine.calls.values().next().expect("a call").customer.id;
    world.input(Input::Media(MediaEvent::Gone { leg: customer }));
    world.input(Input::Media(MediaEvent::Gone { leg: customer }));
    world.run_for(S);
    assert_eq!(world.records().last().map(|record| record.cause.clone()).as_deref(), Some("caller_gone"));
    assert_clean(&mut world);
}

#[test]
fn an_offer_of_a_page_is_refused_where_browsers_are_not_listened_to() {
    let mut world = world(1, answers(100));
    world.engine.config.browsers = None;
    world.phone(carrier()).page = half(1);
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    let refused = |seen: &Seen| matches!(seen, Seen::Failed { code: 488, .. });
    assert!(seen(&mut world, carrier()).iter().any(refused));
    assert_clean(&mut world);
}

#[test]
fn a_phone_that_registered_by_a_websocket_dials_what_its_tenant_has_and_is_who_it_registered_as() {
    let (mut world, phone) = presence::sip_world(true);
    let switch = format!("{SWITCH};transport=ws");
    world.phone(phone).page = half(1);
    let register = |phone: &mut crate::testing::Phone, now| {
        phone.register(now, &format!("sip:{switch}"), "1001", presence::SECRET, 3_600);
    };
    let dial = |world: &mut World, number: &str| {
        let uri = format!("sip:{number}@{switch}");
        let session = world.with_phone(phone, |phone, now| phone.dial(now, &uri, "13800138000", Codec::Pcma, None));
        world.run_for(S);
        session
    };
    dial(&mut world, "repair");
    assert!(seen(&mut world, phone).iter().any(|seen| matches!(seen, Seen::Failed { code: 403, .. })), "not yet");
    world.with_phone(phone, register);
    world.run_for(S);
    world.phone(phone).plan = Plan::Ring;
    let session = dial(&mut world, "repair");
    assert_eq!(world.live(ACME).queues[0].waiting, 1);
    hang_up(&mut world, phone, session);
    world.run_for(S);
    let record = only_record(&world);
    assert_eq!((record.from.expose().as_str(), record.to.as_str(), record.trunk), ("1001", "repair", None));
    dial(&mut world, "13900139000");
    assert!(seen(&mut world, phone).iter().any(|seen| matches!(seen, Seen::Failed { code: 404 | 403, .. })));
    assert_clean(&mut world);
}
