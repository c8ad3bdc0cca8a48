//! What a snapshot costs. `cargo test --release -p cti-switch figures -- --ignored --nocapture` prints it.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures time")]

use std::time::Instant;

use super::menu::menu_file;
use super::*;
use crate::Engine;
use crate::desk::{CallerRecords, Candidate, PopCase, PopProduct};

/// So many calls: half of them talked on and recorded, the rest in a queue and in a menu by turns.
fn busy_world(calls: usize) -> World {
    let mut file = menu_file(calls / 2);
    let route = file["number"][0]["route"].clone();
    file["number"] = json!([{"did": "4001001000", "trunk": "carrier-a", "route": {"queue": "repair"}},
                            {"did": "2", "trunk": "carrier-a", "route": route}]);
    file["trunk"][0]["max_calls"] = json!(10_000);
    file["queue"][0]["max_waiting"] = json!(10_000);
    for n in 1..=calls / 2 {
        let uri = format!("sip:{}@192.0.{}.{}:6000", 1000 + n, 3 + n / 250, 1 + n % 250);
        agent_mut(&mut file, n)["phone"]["uri"] = json!(uri);
    }
    let candidate = Candidate {
        customer_id: "0195b7f2-8a54-7000-8000-3f6a1c2d9e10".into(),
        name: "王建国".into(),
        why: "phone".into(),
        confidence: 1.0,
        value_class: Some("A".into()),
        risk: None,
        company: Some("东风船舶维修有限公司".into()),
        products: vec![PopProduct { id: "p1".into(), model: "DX-480".into(), serial: "DX480-2019-00231".into() }; 2],
        open_cases: vec![PopCase {
            id: "c1".into(),
            kind: "repair".into(),
            title: "冷启动困难".into(),
            status: "open".into(),
            opened_ms: 1,
            owner: None,
        }],
        last_contacts: Vec::new(),
        last_agent: None,
    };
    let records = CallerRecords { candidates: vec![candidate], from_memory: false };
    let settings = Settings { records, legs_max: 10_000, ..Settings::default() };
    let mut world = world_with(&file, answers(50), settings);
    world.checked = false;
    for n in 0..calls {
        let did = if n >= calls / 2 && n % 2 == 0 { "2" } else { "4001001000" };
        let from = format!("138{n:08}");
        world.with_phone(carrier(), |phone, now| {
            phone.dial(now, &format!("sip:{did}@{SWITCH}"), &from, Codec::Pcma, None)
        });
        world.run_for(MS * 5);
    }
    world
}

#[test]
#[ignore = "it measures; run it alone"]
fn a_snapshot_of_many_calls() {
    println!("calls  bytes  bytes/call  write us/call  read us/call");
    let mut empty = busy_world(0);
    let base = empty.engine.snapshot().len();
    println!("{:>5}  {base:>5}", 0);
    empty.run_for(S);
    for calls in [200, 2_000] {
        let world = busy_world(calls);
        let live = world.live(ACME);
        assert_eq!(live.calls.len(), calls);
        let talking = live.calls.iter().filter(|call| call.state == crate::desk::CallState::Talking).count();
        const ROUNDS: u32 = 10;
        let started = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(world.engine.snapshot());
        }
        let write = started.elapsed() / ROUNDS;
        let snapshot = world.engine.snapshot();
        let started = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(Engine::restore(world.config.clone(), &snapshot).is_ok());
        }
        let read = started.elapsed() / ROUNDS;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
        println!(
            "{calls:>5}  {}  {:>8}  {:>8.1}  {:>8.1}  ({talking} talking; {:.2} ms, {:.2} ms)",
            snapshot.len(),
            (snapshot.len() - base) / calls,
            each(write),
            each(read),
            write.as_secs_f64() * 1e3,
            read.as_secs_f64() * 1e3,
        );
    }
}
