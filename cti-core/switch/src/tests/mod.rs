//! The engine as its users meet it: real SIP bytes, simulated phones, workers, records and desks; time moved by hand.

mod after_calls;
mod bad_input;
mod browser;
mod callbacks_asked;
mod callbacks_dialled;
mod callbacks_storm;
mod changes;
mod consult;
mod counted;
mod figures;
mod flow;
mod keys;
mod late_offer;
mod lines;
mod menu;
mod overflow;
mod overflow_outside;
mod presence;
mod queueing;
mod recovery;
mod registering;
mod ring_all;
mod ringing;
mod sticky;
mod storm;
mod supervise;
mod talking;
mod tenant_file;
mod transfer;
mod voicemail;
mod web_phone;
mod while_waiting;
mod whisper;

use std::net::SocketAddr;
use std::time::Duration;

use cti_media::Codec;
use cti_sip::SessionId;
use serde_json::{Value, json};

use crate::desk::{AgentState, Command, WantedState};
use crate::fact::{CallRecord, Fact};
use crate::input::CommandId;
use crate::testing::{Plan, SWITCH, Seen, Settings, World, tenant_from};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const ACME: &str = "acme";
const CARRIER: &str = "192.0.2.10:5070";

/// One trunk, DID 4001001000 to queue `repair`, and so many always-ready agents 1001, 1002 ... with contact phones.
fn file(agents: usize) -> Value {
    let agent = |n: usize| {
        let uri = format!("sip:{}@192.0.2.20:{}", 1000 + n, 6000 + n);
        json!({"name": (1000 + n).to_string(), "queues": ["repair"], "always_ready": true,
               "phone": {"kind": "contact", "uri": uri}})
    };
    json!({
        "tenant": {"id": ACME, "name": "Acme Diesel"},
        "trunk": [{"name": "carrier-a", "hosts": ["192.0.2.10"]}],
        "number": [{"did": "4001001000", "trunk": "carrier-a", "route": {"queue": "repair"}}],
        "queue": [{"name": "repair", "wrapup_s": 0, "record": true, "case": "repair"}],
        "agent": (1..=agents).map(agent).collect::<Vec<_>>(),
    })
}

/// A world with the tenant declared, the carrier's phone and the agents' phones with this plan.
fn world_with(file: &Value, plan: Plan, settings: Settings) -> World {
    let mut world = World::new(1, settings);
    world.declare(tenant_from(&file.to_string()));
    world.add_phone(CARRIER, Plan::Dead);
    world.phone(carrier()).plan = Plan::Ring;
    for agent in file["agent"].as_array().into_iter().flatten() {
        if let Some(uri) = agent["phone"]["uri"].as_str() {
            world.add_phone(uri.split(['@', ';']).nth(1).expect("a host"), plan);
        }
    }
    world
}

fn world(agents: usize, plan: Plan) -> World {
    world_with(&file(agents), plan, Settings::default())
}

fn carrier() -> SocketAddr {
    CARRIER.parse().expect("an address")
}

fn agent_phone(n: usize) -> SocketAddr {
    format!("192.0.2.20:{}", 6000 + n).parse().expect("an address")
}

fn answers(after_ms: u64) -> Plan {
    Plan::Answer { after: Duration::from_millis(after_ms), talk: None }
}

fn ring_in(world: &mut World, from: &str) -> SessionId {
    world.with_phone(carrier(), |phone, now| {
        phone.dial(now, &format!("sip:4001001000@{SWITCH}"), from, Codec::Pcma, None)
    })
}

fn hang_up(world: &mut World, phone: SocketAddr, session: SessionId) {
    world.with_phone(phone, |phone, now| phone.hangup(now, session));
}

fn seen(world: &mut World, phone: SocketAddr) -> Vec<Seen> {
    world.phone(phone).seen.iter().map(|(_, seen)| seen.clone()).collect()
}

fn invites(world: &mut World, phone: SocketAddr) -> usize {
    seen(world, phone).iter().filter(|seen| matches!(seen, Seen::Invited { .. })).count()
}

fn state_of(world: &World, agent: &str) -> AgentState {
    let live = world.live(ACME);
    live.agents.iter().find(|known| known.name.as_str() == agent).expect("an agent").state
}

fn only_record(world: &World) -> CallRecord {
    let records = world.records();
    assert_eq!(records.len(), 1, "one call, one record");
    records[0].clone()
}

/// Nothing is left of any call: no call, leg, port, recording, timer or busy agent.
fn assert_clean(world: &mut World) {
    world.run_for(S * 70);
    let live = world.live(ACME);
    assert_eq!(live.calls, []);
    assert!(live.queues.iter().all(|queue| queue.waiting == 0));
    assert!(live.agents.iter().all(|agent| agent.call_id.is_none()), "{:?}", live.agents);
    assert!(world.engine.is_idle());
    assert_eq!((world.legs.len(), world.recordings.len()), (0, 0));
    assert_eq!((world.engine.ports.in_use(), world.engine.legs.len()), (0, 0));
    assert_eq!((world.engine.sessions.len(), world.engine.offers.len()), (0, 0));
    assert_eq!((world.engine.endpoint.sessions(), world.engine.endpoint.transactions()), (0, 0));
    let started = world.facts.iter().filter(|(_, fact)| matches!(fact, Fact::CallStarted { .. })).count();
    assert_eq!(started, world.records().len(), "each call has one record");
}

fn agent_mut(file: &mut Value, n: usize) -> &mut Value {
    &mut file["agent"][n - 1]
}

/// The agents' file with desks: nobody is ready by themselves.
fn desk_file(agents: usize) -> Value {
    let mut file = file(agents);
    for n in 1..=agents {
        agent_mut(&mut file, n)["always_ready"] = json!(false);
    }
    file
}

fn set_state(world: &mut World, agent: &str, state: WantedState, reason: Option<&str>) -> CommandId {
    world.command(ACME, agent, Command::SetState { state, reason: reason.map(str::to_owned) })
}

fn go_ready(world: &mut World, agent: &str) {
    world.desk_connects(ACME, agent);
    let id = set_state(world, agent, WantedState::Ready, None);
    assert_eq!(world.replies[&id], Ok(()));
}

/// The agents whom calls were offered to, in order.
fn offered_to(world: &World) -> Vec<String> {
    world.offers.iter().map(|(_, agent, _)| agent.to_string()).collect()
}

/// The callers' numbers in the order in which they were offered, without the country's code.
fn offered_callers(world: &World) -> Vec<String> {
    let number = |offer: &crate::desk::OfferCreated| offer.pop.number.expose().trim_start_matches("+86").to_owned();
    world.offers.iter().map(|(_, _, offer)| number(offer)).collect()
}

fn caller(n: usize) -> String {
    format!("138001380{n:02}")
}

/// What plays to the only caller.
fn playing(world: &World) -> String {
    let leg = world.legs.values().find(|leg| leg.playing.is_some());
    leg.map(|leg| leg.playing.as_ref().expect("just seen").1.join(" ")).unwrap_or_default()
}

fn call_id(world: &World) -> cti_base::CallId {
    world.live(ACME).calls[0].id
}
