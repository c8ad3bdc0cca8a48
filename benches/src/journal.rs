//! What the journal costs a call, and what taking it up costs a restart.
//!
//! `cargo run --release -p zongji-benches -- journal`. First the whole program under the calls of `load`: CPU time of the
//! journal's own threads beside the whole process's (`/proc/PID/task/*/schedstat`), what they wrote
//! (`/proc/PID/task/*/io`) and, in a run of its own, how often the journal was synced (`strace`, which the CPU time does not
//! include). Then the engine alone, among simulated phones: what it costs the switch's thread to write an input down, and to
//! restore and replay a journal.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cti_base::{Rng, Timestamp};
use cti_media::Codec;
use cti_switch::Input;
use cti_switch::testing::{Plan, SWITCH, Settings, World, tenant_from};
use serde_json::json;
use zongji::config::Durability;
use zongji::journal::hold::Hold;
use zongji::journal::take_up::take_up;

use crate::load::{AGENTS, Rung, phone, ring};
use crate::server::{Ended, Result, Server};

const KEY: [u8; 32] = [7; 32];
/// Calls at once in the engine alone, half of them waiting.
const CALLS: usize = 200;

pub fn journal() -> Result<()> {
    for durability in ["process", "power"] {
        for rate in [10, 50] {
            served(durability, rate)?;
        }
        syncs(durability)?;
    }
    replayed()
}

fn served(durability: &str, rate: u32) -> Result<()> {
    let server = Server::start_durable(AGENTS, false, durability, phone)?;
    let names = ["zongji_journal_groups_total", "zongji_journal_bytes_total", "zongji_journal_snapshots_total"];
    let counted = || names.iter().map(|name| server.metric(name, "")).collect::<Result<Vec<f64>>>();
    let (spent, before) = (server.threads("journal")?, counted()?);
    let Rung { calls, cpu_s, .. } = ring(&server, rate)?;
    let (spent, after) = (server.threads("journal")? - spent, counted()?);
    let a_call = |value: f64| value / f64::from(calls);
    let ms_a_call = |seconds: f64| a_call(seconds * 1_000.0);
    let setups = server.metric("zongji_setup_seconds_count", "")?;
    let quick = server.metric("zongji_setup_seconds_bucket", "le=\"0.01\"")?;
    println!(
        "journal {durability} {rate}/s: CPU {:.2} ms a call in the whole process, {:.2} of it in the journal's threads; groups {:.1}, \
         content {:.1} KiB, written {:.1} KiB in {:.1} writes, to the disk {:.1} KiB a call; snapshots {}; setup within 10 ms: {quick} of {setups}",
        ms_a_call(cpu_s),
        ms_a_call(spent.cpu_s),
        a_call(after[0] - before[0]),
        a_call(after[1] - before[1]) / 1024.0,
        a_call(spent.written) / 1024.0,
        a_call(spent.writes),
        a_call(spent.to_disk) / 1024.0,
        after[2] - before[2],
    );
    Ok(())
}

/// How often the journal's files are synced, at 10 calls/s.
fn syncs(durability: &str) -> Result<()> {
    let server = Server::start_durable(AGENTS, false, durability, phone)?;
    let log = server.dir().join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=fsync,fdatasync", "-p", &server.pid().to_string(), "-o"]).arg(&log);
    let strace = Ended(strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    std::thread::park_timeout(Duration::from_secs(1));
    let Rung { calls, .. } = ring(&server, 10)?;
    drop(strace);
    let text = std::fs::read_to_string(log)?;
    let journal = text.lines().filter(|line| line.contains("/journal/")).count();
    println!(
        "journal {durability} 10/s: {:.2} syncs of the journal a call, {:.2} of all files",
        journal as f64 / f64::from(calls),
        text.lines().filter(|line| line.contains("sync(")).count() as f64 / f64::from(calls),
    );
    Ok(())
}

/// Inputs as an engine took them while `CALLS` callers came, until they all were in.
struct Taken {
    inputs: Vec<(Timestamp, Input)>,
}

fn replayed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let taken = Rc::new(RefCell::new(Taken { inputs: Vec::new() }));
    let mut world = World::new(1, Settings { records_after: None, ..Settings::default() });
    world.checked = false;
    let agent = |n: usize| {
        let uri = format!("sip:{}@192.0.2.20:{}", 1000 + n, 6000 + n);
        json!({"name": (1000 + n).to_string(), "queues": ["q"], "always_ready": true, "phone": {"kind": "contact", "uri": uri}})
    };
    let tenant = json!({
        "tenant": {"id": "bench", "name": "Bench"},
        "trunk": [{"name": "t", "hosts": ["192.0.2.10"], "max_calls": 1000}],
        "number": [{"did": "4001", "trunk": "t", "route": {"queue": "q"}}],
        "queue": [{"name": "q", "wrapup_s": 0, "record": true, "max_waiting": 1000}],
        "agent": (0..CALLS / 2).map(agent).collect::<Vec<_>>(),
    });
    world.declare(tenant_from(&tenant.to_string()));
    let carrier: SocketAddr = "192.0.2.10:5070".parse()?;
    world.add_phone("192.0.2.10:5070", Plan::Ring);
    for n in 0..CALLS / 2 {
        world.add_phone(
            &format!("192.0.2.20:{}", 6000 + n),
            Plan::Answer { after: Duration::from_millis(900), talk: None },
        );
    }
    let empty = world.engine.snapshot();
    let beginning = take_engine(&world, &empty)?;
    let tap = taken.clone();
    world.tap = Some(Box::new(move |_, at, input, _| tap.borrow_mut().inputs.push((at, input.clone()))));
    let mut rng = Rng::from_number(2);
    for n in 0..CALLS {
        world.run_for(Duration::from_millis(rng.below(100)));
        world.with_phone(carrier, |phone, now| {
            phone.dial(now, &format!("sip:4001@{SWITCH}"), &format!("+86138{n:08}"), Codec::Pcma, None);
        });
    }
    world.run_for(Duration::from_secs(10));
    world.tap = None;
    let inputs = std::mem::take(&mut taken.borrow_mut().inputs);

    let started = Instant::now();
    let state = world.engine.snapshot();
    let snapshot_took = started.elapsed();

    // The journal as the switch's thread sees it: inputs written down one by one, handed on in groups.
    let (appender, journal) = zongji::journal::open(dir.path(), Durability::Process, &KEY)?.start()?;
    let mut hold = Hold::new(appender);
    let (mut writing, mut engine) = (Duration::ZERO, beginning);
    for (at, input) in &inputs {
        let started = Instant::now();
        hold.input(*at, input);
        writing += started.elapsed();
        engine.handle(*at, input.clone());
        while let Some(effect) = engine.poll_effect() {
            hold.effect(*at, effect);
        }
        while !hold.has_room() {
            hold.turn(&engine);
        }
        hold.turn(&engine);
        while hold.released().is_some() {}
    }
    drop(hold);
    drop(journal);

    let started = Instant::now();
    let mut replaying = take_engine(&world, &empty)?;
    for (at, input) in inputs.clone() {
        replaying.handle(at, input);
        while replaying.poll_effect().is_some() {}
    }
    let handling = started.elapsed();
    let started = Instant::now();
    let mut opened = zongji::journal::open(dir.path(), Durability::Process, &KEY)?;
    let opening = started.elapsed();
    let (_, report) = take_up(&mut opened, world.config.clone(), [0; 32])?;
    println!(
        "journal engine: {} inputs a call, {:.2} us to write one down; snapshot of {CALLS} calls {:.0} KiB ({:.2} KiB a call, {:.2} KiB the tenant) in {:.2} ms; \
         opened in {:.1} ms, {} inputs taken up in {:.1} ms: {:.2} ms per 1,000 inputs, {:.2} of it in the engine",
        inputs.len() / CALLS,
        writing.as_secs_f64() * 1e6 / inputs.len() as f64,
        state.len() as f64 / 1024.0,
        (state.len() - empty.len()) as f64 / 1024.0 / CALLS as f64,
        empty.len() as f64 / 1024.0,
        snapshot_took.as_secs_f64() * 1e3,
        opening.as_secs_f64() * 1e3,
        report.inputs,
        report.took.as_secs_f64() * 1e3,
        report.took.as_secs_f64() * 1e6 / report.inputs.max(1) as f64,
        handling.as_secs_f64() * 1e6 / inputs.len() as f64,
    );
    Ok(())
}

fn take_engine(world: &World, snapshot: &[u8]) -> Result<cti_switch::Engine> {
    Ok(cti_switch::Engine::restore(world.config.clone(), snapshot)?)
}
