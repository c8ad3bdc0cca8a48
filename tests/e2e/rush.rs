//! Many callers at once, and many phones at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::answered::{MENU, contact_agent, tenant};
use crate::bank::Bank;
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

/// 200 callers within a second on 50 idle agents: 50 different phones ring, none of them twice, and the rest are served in
/// their order.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_callers_rings_every_idle_agent_once_and_the_rest_wait_in_order() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports { rtp: 28_000, rtp_len: 1_200, ..Ports::block(14) };
    let agents: String = (0..50).map(|n| contact_agent(&(1_000 + n).to_string(), ports.free, "")).collect();
    let text = tenant(&agents).replace("record = true\nwrapup_s = 1", "wrapup_s = 0");
    let server = Server::start(ports, &text, &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let bank = Bank::start(ports.free, Duration::from_millis(100))?;
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 0,
        calls: 200,
        rate: 200,
        tone: &tone(dir, 440)?,
        tcp: false,
    };
    let began = Instant::now();
    let mut waiters = Sipp::waiters(dir, "burst", ports.free + 20, ports.sip, &caller)?;
    server.until("/api/v1/live", Duration::from_secs(10), |live| waiting(live) == 200).await?;
    println!("200 callers are in after {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rung = bank.heard("INVITE");
    let users: BTreeSet<&str> = rung.iter().map(|heard| heard.user.as_str()).collect();
    let calls: BTreeSet<&str> = rung.iter().map(|heard| heard.call.as_str()).collect();
    ensure!((rung.len(), users.len(), calls.len()) == (50, 50, 50), "{} INVITEs, {} phones", rung.len(), users.len());

    bank.answer("*");
    tokio::task::block_in_place(|| waiters.finish(Duration::from_secs(60)))?;
    let mut calls = server.all_calls(200).await?;
    ensure!(calls.len() == 200 && calls.iter().all(|call| call["outcome"] == "answered"), "{} calls", calls.len());
    // Records tell time in milliseconds: of two who came within one, either may be the first.
    calls.sort_by_key(|call| (call["queued_ms"].as_u64(), call["offered_ms"].as_u64()));
    let offered: Vec<u64> = calls.iter().filter_map(|call| call["offered_ms"].as_u64()).collect();
    // The first fifty had an agent each at once, and were told when the records had answered for them; nobody waited.
    let (at_once, waited) = offered.split_at(offered.len().min(50));
    let in_order = waited.is_sorted() && at_once.iter().max() <= waited.first();
    ensure!(offered.len() == 200 && in_order, "offered out of order: {offered:?}");
    // The INVITEs on the wire say the same: each phone's calls one after another, all calls once.
    let rung = bank.heard("INVITE");
    let calls: BTreeSet<&str> = rung.iter().map(|heard| heard.call.as_str()).collect();
    ensure!((rung.len(), calls.len()) == (200, 200), "{} INVITEs for {} calls", rung.len(), calls.len());
    server.until_idle().await?;
    Ok(())
}

/// Twenty phones ring with one call; the first to answer has it, nineteen are cancelled and nobody has missed it.
#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_phones_that_ring_at_once_one_wins_and_nineteen_are_cancelled() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(15);
    let agents: String = (0..20).map(|n| contact_agent(&(1_000 + n).to_string(), ports.free, "")).collect();
    let text = tenant(&agents).replace("record = true\nwrapup_s = 1", "strategy = \"ring_all\"\nwrapup_s = 0");
    let server = Server::start(ports, &text, &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let bank = Bank::start(ports.free, Duration::from_millis(500))?;
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 0,
        calls: 1,
        rate: 1,
        tone: &tone(dir, 440)?,
        tcp: false,
    };
    // Two misses in a row are a break: three rounds would send everybody there.
    for round in 1..=3 {
        bank.ring_only();
        let name = format!("caller{round}");
        let mut waiter = Sipp::waiters(dir, &name, ports.free + 20, ports.sip, &caller)?;
        let until = Instant::now() + Duration::from_secs(5);
        while bank.heard("INVITE").len() < 20 * round && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let winner = format!("{}", 1_000 + 5 * round);
        bank.answer(&winner);
        tokio::task::block_in_place(|| waiter.finish(Duration::from_secs(15)))?;
        let (rung, cancelled) = (bank.heard("INVITE"), bank.heard("CANCEL"));
        ensure!((rung.len(), cancelled.len()) == (20 * round, 19 * round), "{} and {}", rung.len(), cancelled.len());
        ensure!(bank.heard("ACK").len() >= round, "the winner's 200 is acknowledged");
        let losers: BTreeSet<&str> = cancelled[19 * (round - 1)..].iter().map(|heard| heard.user.as_str()).collect();
        ensure!(losers.len() == 19 && !losers.contains(winner.as_str()), "{losers:?}");
        let live = server.until_idle().await?;
        let agents = live["agents"].as_array().context("agents")?;
        ensure!(agents.iter().all(|agent| agent["state"] == "ready"), "somebody has missed a call: {agents:#?}");
    }
    let calls = server.all_calls(3).await?;
    let winners: BTreeSet<_> = calls.iter().filter_map(|call| call["agent"].as_str()).collect();
    ensure!(winners == BTreeSet::from(["1005", "1010", "1015"]), "{winners:?}");
    Ok(())
}

fn waiting(live: &serde_json::Value) -> u64 {
    let queues = live["queues"].as_array();
    queues.map_or(0, |queues| queues.iter().filter_map(|queue| queue["waiting"].as_u64()).sum())
}
