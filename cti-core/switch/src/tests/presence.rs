use super::*;
use crate::desk::{CallState, Event, NackCode};
use crate::fact::Outcome;

pub(super) const SECRET: &str = "secret-of-1001";

/// An agent with a registering phone; `always_ready` or at a desk.
pub(super) fn sip_world(always_ready: bool) -> (World, SocketAddr) {
    let mut file = file(1);
    let agent = agent_mut(&mut file, 1);
    agent["phone"] = json!({"kind": "sip", "secret_file": "secrets/1001"});
    agent["always_ready"] = json!(always_ready);
    let account = cti_sip::Account::with_secret(ACME, "1001", "zongji", SECRET);
    let digests = [("1001".into(), (account.ha1_md5, account.ha1_sha256))].into();
    let doc = serde_json::from_value(file).expect("a document");
    let tenant = crate::config::Tenant::compile(doc, digests, None).expect("a good tenant");
    let mut world = World::new(1, Settings::default());
    world.declare(tenant);
    world.add_phone(CARRIER, Plan::Ring);
    let phone = world.add_phone("192.0.2.30:5062", answers(50));
    (world, phone)
}

pub(super) fn register(world: &mut World, phone: SocketAddr, secret: &str, expires_s: u32) {
    world.with_phone(phone, |phone, now| phone.register(now, &format!("sip:{SWITCH}"), "1001", secret, expires_s));
    world.run_for(S);
}

/// Agents, queues and the tenant's numbers; who talks on a line of their own is not rung on another.
#[test]
fn a_registered_phone_dials_within_its_tenant_and_its_agent_is_offered_nothing_meanwhile() {
    let (mut world, phone) = sip_world(true);
    let dial = |world: &mut World, from: &str, number: &str| {
        let uri = format!("sip:{number}@{SWITCH}");
        let session = world.with_phone(phone, |phone, now| phone.dial(now, &uri, from, Codec::Pcma, None));
        world.run_for(S);
        session
    };
    let refused = |world: &mut World, status: u16| {
        seen(world, phone).iter().any(|seen| matches!(seen, Seen::Failed { code, .. } if *code == status))
    };
    dial(&mut world, "1001", "repair");
    assert!(refused(&mut world, 403), "not yet");
    register(&mut world, phone, SECRET, 3_600);
    dial(&mut world, "1001", "13900139000");
    assert!(refused(&mut world, 404), "nobody within the tenant");
    let session = dial(&mut world, "1001", "repair");
    ring_in(&mut world, &caller(0));
    world.run_for(S);
    assert_eq!((world.live(ACME).queues[0].waiting, invites(&mut world, phone)), (2, 0));
    hang_up(&mut world, phone, session);
    world.run_for(S);
    assert_eq!((world.live(ACME).queues[0].waiting, invites(&mut world, phone)), (0, 1));
    let record = only_record(&world);
    assert_eq!((record.from.expose().as_str(), record.to.as_str(), record.trunk), ("1001", "repair", None));
}

#[test]
fn a_registered_phone_is_rung_where_it_registered() {
    let (mut world, phone) = sip_world(true);
    assert_eq!(state_of(&world, "1001"), AgentState::Offline);
    assert_eq!(world.live(ACME).agents[0].connection, "none");
    register(&mut world, phone, "wrong", 600);
    assert_eq!(state_of(&world, "1001"), AgentState::Offline);
    register(&mut world, phone, SECRET, 600);
    assert_eq!(state_of(&world, "1001"), AgentState::Ready);
    assert_eq!(world.live(ACME).agents[0].connection, "phone");
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    assert_eq!((state_of(&world, "1001"), invites(&mut world, phone)), (AgentState::Talking, 1));
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!(only_record(&world).outcome, Outcome::Answered);
}

#[test]
fn a_ready_agent_without_a_registered_phone_is_not_offered() {
    let (mut world, phone) = sip_world(false);
    go_ready(&mut world, "1001");
    ring_in(&mut world, "13800138000");
    world.run_for(S * 5);
    assert_eq!((state_of(&world, "1001"), world.offers.len()), (AgentState::Ready, 0));
    assert_eq!(world.live(ACME).agents[0].media, crate::desk::MediaHealth::None);
    register(&mut world, phone, SECRET, 600);
    assert_eq!((state_of(&world, "1001"), world.offers.len()), (AgentState::Talking, 1));
}

#[test]
fn a_lost_desk_is_offered_nothing_after_25_s_and_a_returned_one_stays_ready() {
    let mut world = world_with(&desk_file(1), answers(50), Settings::default());
    go_ready(&mut world, "1001");
    world.desk_leaves(ACME, "1001");
    world.run_for(S * 24);
    world.desk_connects(ACME, "1001");
    assert_eq!(state_of(&world, "1001"), AgentState::Ready, "a reload changes nothing");
    world.desk_leaves(ACME, "1001");
    world.run_for(S * 25);
    let live = world.live(ACME);
    assert_eq!((live.agents[0].state, live.agents[0].reason.as_deref()), (AgentState::Offline, Some("disconnected")));
    ring_in(&mut world, "13800138000");
    world.run_for(S * 5);
    assert_eq!(world.offers.len(), 0);
}

#[test]
fn a_call_in_progress_outlives_its_desk() {
    let mut world = world_with(&desk_file(1), answers(50), Settings::default());
    go_ready(&mut world, "1001");
    let session = ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.desk_leaves(ACME, "1001");
    world.run_for(S * 60);
    assert_eq!(state_of(&world, "1001"), AgentState::Talking);
    hang_up(&mut world, carrier(), session);
    world.run_for(S);
    assert_eq!((only_record(&world).outcome, state_of(&world, "1001")), (Outcome::Answered, AgentState::Offline));
    assert_clean(&mut world);
}

#[test]
fn a_desk_that_comes_back_is_told_of_its_call() {
    let mut world = world_with(&desk_file(1), answers(50), Settings::default());
    go_ready(&mut world, "1001");
    ring_in(&mut world, "13800138000");
    world.run_for(S);
    world.desk.clear();
    world.desk_leaves(ACME, "1001");
    world.desk_connects(ACME, "1001");
    let [(_, _, Event::Standing(standing))] = world.desk.as_slice() else { panic!("{:?}", world.desk) };
    assert_eq!((standing.agent.state, &standing.offer), (AgentState::Talking, &None));
    assert_eq!(standing.call.as_ref().map(|call| call.state), Some(CallState::Talking));
}

#[test]
fn a_user_who_is_no_agent_is_refused() {
    let mut world = world_with(&desk_file(1), answers(50), Settings::default());
    let id = set_state(&mut world, "boss", WantedState::Ready, None);
    assert_eq!(world.replies[&id].as_ref().map_err(|nack| nack.code), Err(NackCode::Forbidden));
}
