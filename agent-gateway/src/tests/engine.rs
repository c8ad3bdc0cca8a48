//! A desk and the true switch: what the desk asks comes back as the switch's answer and events.

use std::collections::BTreeMap;
use std::sync::Arc;

use cti_sip::{DigestPolicy, EndpointConfig, Transport};
use cti_switch::config::Tenant;
use cti_switch::{Effect, Engine, EngineConfig, Input};
use serde_json::json;

use super::server::{Server, doc};

fn engine() -> Engine {
    let address = "127.0.0.1:5060".parse().expect("an address");
    let sip = EndpointConfig {
        listeners: vec![(Transport::Udp, address)],
        advertised: None,
        local_ip: address.ip(),
        local_ip6: None,
        digest: DigestPolicy::Md5,
        realm: "zongji".into(),
        user_agent: "Zongji".into(),
        sessions_max: 100,
        transactions_max: 100,
        registrations_max: 100,
    };
    let config = EngineConfig {
        sip,
        media_ip: address.ip(),
        media_loopback: false,
        rtp_ports: 20_000..=20_100,
        legs_max: 100,
        browsers: None,
    };
    let mut engine = Engine::new(config, [7; 32]);
    let mut doc = doc("acme");
    doc.ivr.clear();
    let digests = BTreeMap::from([("agent".into(), ("0".repeat(32), "0".repeat(64)))]);
    let tenant = Tenant::compile(doc, digests, None).expect("a tenant");
    engine.handle(zongji_sql::now(), Input::Declare(Arc::new(tenant)));
    engine
}

/// The true switch on the other end of the inbox, without a network.
pub fn run_switch(server: &mut Server) {
    let mut inbox = std::mem::replace(&mut server.inbox, tokio::sync::mpsc::channel(1).1);
    let hub = server.hub.clone();
    let live = server.live.clone();
    tokio::spawn(async move {
        let mut engine = engine();
        while let Some(input) = inbox.recv().await {
            let now = zongji_sql::now();
            engine.handle(now, input);
            while let Some(effect) = engine.poll_effect() {
                match effect {
                    Effect::Desk { tenant, agent, event } => hub.deliver(&tenant, &agent, event),
                    Effect::Offer { tenant, agent, offer } => hub.offer(&tenant, &agent, offer),
                    Effect::Reply { id, result } => hub.reply(id, result),
                    Effect::CallbackAnswer { id, result } => hub.callback_answer(id, *result),
                    Effect::Send(_)
                    | Effect::Media { .. }
                    | Effect::LookUp { .. }
                    | Effect::Fact(_)
                    | Effect::Measure(_) => {}
                }
            }
            let published = engine.live(now).into_iter().map(|(tenant, live)| (tenant, Arc::new(live)));
            live.send_replace(Arc::new(published.collect()));
        }
    });
}

#[tokio::test]
async fn going_ready_is_acknowledged_and_shown() {
    let mut server = Server::start().await;
    run_switch(&mut server);
    // Bob's phone is a contact: it needs no registration.
    let client = server.client("acme", "bob").await;
    let (mut socket, _, _) = client.desk(json!({ "proto": 1, "build": "t" })).await;
    socket.send(json!({ "id": "1", "t": "agent.set_state", "d": { "state": "ready" } })).await;
    let mut states = Vec::new();
    loop {
        let frame = socket.receive().await;
        match frame["t"].as_str() {
            Some("agent.state") => states.push(frame["d"]["state"].clone()),
            Some("ack") => break,
            other => panic!("{other:?}: {frame}"),
        }
    }
    assert_eq!(states.last(), Some(&json!("ready")), "{states:?}");
    socket.send(json!({ "id": "2", "t": "offer.accept", "d": { "offer_id": super::server::offer_id(1) } })).await;
    let nack = socket.receive().await;
    assert_eq!((&nack["t"], &nack["d"]["code"]), (&json!("nack"), &json!("not_yours")));
    let (_, live) = client.get("live").await;
    let bob = live["agents"].as_array().expect("a list").iter().find(|agent| agent["name"] == "bob").expect("bob");
    assert_eq!((&bob["state"], &bob["connection"]), (&json!("ready"), &json!("desk")));

    // What the switch does not know of has its answer too: an administrator is no agent.
    let admin = server.client("acme", "admin").await;
    let (mut socket, _, snapshot) = admin.desk(json!({ "proto": 1, "build": "t" })).await;
    assert_eq!(snapshot.expect("a snapshot")["agent"], json!(null));
    socket.send(json!({ "id": "1", "t": "agent.set_state", "d": { "state": "ready" } })).await;
    assert_eq!(socket.receive().await["t"], "nack");
}
