//! Callers who wait, and callers who give up.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::answered::{MENU, contact_agent, tenant};
use crate::desk::Desk;
use crate::server::{PASSWORD, Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::{find, mono, tone};

/// Three callers wait for one busy-less phone that is not there yet; when it comes they are answered in their order.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_callers_are_answered_in_their_order() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(4);
    let server = Server::start(ports, &tenant(""), &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let tone = tone(dir, 440)?;
    let mut callers = Vec::new();
    for (n, number) in ["13800138001", "13800138002", "13800138003"].into_iter().enumerate() {
        let caller = Caller {
            did: "4001001001",
            number,
            digit: None,
            hangup_ms: 9_000,
            calls: 1,
            rate: 1,
            tone: &tone,
            tcp: false,
        };
        let port = ports.free + 20 + 4 * n as u16;
        callers.push(Sipp::caller(dir, &format!("caller{n}"), port, ports.sip, &caller)?);
        let waiting = n + 1;
        server
            .until("/api/v1/live", Duration::from_secs(5), |live| queue(live, "repair")["waiting"] == waiting)
            .await?;
    }
    let _phone = Sipp::phone(dir, "phone", ports.free, 0, &tone, false)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let agents = (0..3).map(|n| contact_agent(&format!("100{n}"), ports.free, "")).collect::<String>();
    std::fs::write(server.path("tenant.toml"), tenant(&agents))?;
    server.run(&["apply", "tenant.toml"])?;
    for caller in &mut callers {
        tokio::task::block_in_place(|| caller.finish(Duration::from_secs(30)))?;
    }
    let calls = server
        .until("/api/v1/calls", Duration::from_secs(2), |list| list["items"].as_array().is_some_and(|c| c.len() == 3))
        .await?;
    let mut calls = calls["items"].as_array().context("items")?.clone();
    calls.sort_by_key(|call| call["queued_ms"].as_u64());
    let offered: Vec<_> = calls.iter().map(|call| call["offered_ms"].as_u64()).collect();
    ensure!(offered.is_sorted() && offered.iter().all(Option::is_some), "offered in order: {offered:?}");
    ensure!(calls.iter().all(|call| call["outcome"] == "answered"), "{calls:#?}");
    server.until_idle().await?;
    Ok(())
}

/// What reaches the caller's ear, sample for sample: welcome, place in the queue, then music. A machine that is busy with others
/// may tear the sound of one call; it does not tear that of three.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_caller_hears_the_announcement_and_then_music() -> Result<()> {
    const CALLS: usize = 3;
    let _machine = machine().await;
    let ports = Ports::block(11);
    let server = Server::start(ports, &tenant(""), &[("main.toml", MENU)]).await?;
    let mut torn = Vec::new();
    while torn.len() < CALLS {
        match hears_its_way(&server) {
            Ok(()) => return Ok(()),
            Err(error) => torn.push(error),
        }
    }
    anyhow::bail!("{torn:?}")
}

fn hears_its_way(server: &Server) -> Result<()> {
    let to = format!("sip:4001001001@127.0.0.1:{}", server.ports.sip);
    let calling = ["phone", "--call", &to, "--from", "13800138000", "--hangup-after", "16", "--calls", "1"];
    tokio::task::block_in_place(|| server.run(&[&calling[..], &["--save", "heard.wav"]].concat()))?;
    let heard = mono(&std::fs::read(server.path("heard.wav"))?)?;
    let mut after = 0;
    for name in ["zh-CN/queue_welcome", "zh-CN/position_next", "music/default"] {
        let (_, _, wav) = ivr_scripts::shipped::PROMPTS
            .iter()
            .find(|(locale, prompt, _)| format!("{locale}/{prompt}") == name)
            .with_context(|| format!("{name} ships"))?;
        let prompt = mono(wav)?;
        // The music is longer than the call.
        let prompt = &prompt[..prompt.len().min(2 * 8_000)];
        let at = find(&heard, prompt).with_context(|| format!("{name} is not heard"))?;
        ensure!(at >= after, "{name} is heard at sample {at}, what is to come before it ends at {after}");
        after = at + prompt.len();
    }
    Ok(())
}

/// A caller waits while nobody is ready; from the moment an agent says so it takes no 200 ms until the phone is rung.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_becomes_ready_is_rung_within_200_ms() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(10);
    let agent = format!(
        "[[agent]]\nname = \"1001\"\npassword_file = \"password\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"contact\", uri = \"sip:1001@127.0.0.1:{}\" }}\n",
        ports.free
    );
    let server = Server::start(ports, &tenant(&agent), &[("main.toml", MENU), ("password", PASSWORD)]).await?;
    let dir = server.dir.path();
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 4_000,
        calls: 1,
        rate: 1,
        tone: &tone(dir, 440)?,
        tcp: false,
    };
    let mut sipp = Sipp::caller(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    server.until("/api/v1/live", Duration::from_secs(5), |live| queue(live, "repair")["waiting"] == 1).await?;
    let mut desk = Desk::connect(&server, "acme", "1001").await?;
    let phone = UdpSocket::bind(("127.0.0.1", ports.free))?;
    phone.set_read_timeout(Some(Duration::from_secs(5)))?;
    let rung = std::thread::spawn(move || -> Result<Instant> {
        phone.recv_from(&mut [0; 65_536])?;
        Ok(Instant::now())
    });
    let asked = Instant::now();
    desk.command("agent.set_state", json!({"state": "ready"})).await?;
    let took = tokio::task::block_in_place(|| rung.join()).expect("the phone's thread")?.duration_since(asked);
    ensure!(took < Duration::from_millis(200), "rung after {took:?}");
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(15)))?;
    Ok(())
}

/// Callers hang up in the menu, in the queue and while a phone rings: each is counted there and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn callers_who_give_up_are_counted_where_they_were_and_leave_nothing() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(5);
    let server = Server::start(ports, &tenant(""), &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let tone = tone(dir, 440)?;
    let crowd = |did, calls| Caller {
        did,
        number: "13800138000",
        digit: None,
        hangup_ms: 400,
        calls,
        rate: 25,
        tone: &tone,
        tcp: false,
    };
    for (name, did, outcome) in [("menu", "4001001000", "abandoned_ivr"), ("queue", "4001001001", "abandoned_queue")] {
        let mut sipp = Sipp::caller(dir, name, ports.free + 20, ports.sip, &crowd(did, 50))?;
        tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(30)))?;
        count(&server, outcome, 50).await?;
    }
    let _phone = Sipp::phone(dir, "phone", ports.free, 60_000, &tone, false)?;
    let agents = (0..15).map(|n| contact_agent(&format!("10{n:02}"), ports.free, "")).collect::<String>();
    std::fs::write(server.path("tenant.toml"), tenant(&agents))?;
    server.run(&["apply", "tenant.toml"])?;
    let mut slow = crowd("4001001001", 30);
    slow.rate = 10;
    let mut sipp = Sipp::caller(dir, "ringing", ports.free + 20, ports.sip, &slow)?;
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(30)))?;
    count(&server, "abandoned_ringing", 30).await?;
    let live = server.until_idle().await?;
    let queue = queue(&live, "repair").clone();
    ensure!(queue["abandoned"] == 80 && queue["answered"] == 0, "{queue:#}");
    for port in (ports.rtp..ports.rtp + 200).step_by(2) {
        // A closed leg's ports rest for a moment before they are free.
        let until = std::time::Instant::now() + Duration::from_secs(3);
        while let Err(error) = std::net::UdpSocket::bind(("127.0.0.1", port)) {
            ensure!(std::time::Instant::now() < until, "RTP port {port} is still bound: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

fn queue<'a>(live: &'a Value, name: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    live["queues"].as_array().and_then(|queues| queues.iter().find(|queue| queue["name"] == name)).unwrap_or(&NONE)
}

async fn count(server: &Server, outcome: &str, calls: usize) -> Result<()> {
    let path = format!("/api/v1/calls?limit=1000&outcome={outcome}");
    server
        .until(&path, Duration::from_secs(5), |list| list["items"].as_array().is_some_and(|items| items.len() == calls))
        .await?;
    Ok(())
}
