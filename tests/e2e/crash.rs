//! The program is killed, or upgraded, in the middle of its calls, and they go on.
//!
//! `ZONGJI_CALLS=100 ZONGJI_TIMES=20 cargo test -p zongji-tests --test e2e crash -- --nocapture` is the long run: 100
//! calls that talk, 60 that wait and 40 in the menu, 20 times. Without the variables it is a fifth of the calls and three times.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::answered::{MENU, contact_agent};
use crate::desk::Desk;
use crate::packets::{Gaps, Sniffer};
use crate::server::{PASSWORD, Ports, Server, machine};
use crate::sipp::{Caller, Place, Sipp};
use crate::sound::{Recording, share, tone};

/// Between two crashes.
const EVERY: Duration = Duration::from_secs(5);
/// A menu's caller gives up after so long: no crash finds two rounds of them.
const MENU_MS: u32 = 4_200;
/// The longest that nothing comes from us to a talking party, for 99 of 100 gaps.
const RTP_GAP_MAX: Duration = Duration::from_secs(1);
/// So long before and after a peer stood still its packets come in a heap.
const BESIDE_STILL_MS: u64 = 100;
/// From the start of the program to the answer of a new call.
const BACK_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Kill,
    Upgrade,
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_over_kill_9() -> Result<()> {
    let _machine = machine().await;
    calls_go_on(12, How::Kill).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_over_an_upgrade() -> Result<()> {
    let _machine = machine().await;
    calls_go_on(13, How::Upgrade).await
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Talking agents are 1000 and up, those of the waiting queue 2000 and up; 3001 sits at a desk, on a break.
fn tenant(ports: Ports, talking: u32, serving: u32) -> String {
    let queue = |name: &str, more: &str| format!("[[queue]]\nname = \"{name}\"\nwrapup_s = 1\n{more}\n");
    let number =
        |did: &str, route: &str| format!("[[number]]\ndid = \"{did}\"\ntrunk = \"carrier\"\nroute = {route}\n");
    let agent = |n: u32, port: u16, queue: &str| {
        contact_agent(&n.to_string(), port, "").replace("queues = [\"repair\"]", &format!("queues = [\"{queue}\"]"))
    };
    let mut text = String::from(
        "[tenant]\nid = \"acme\"\nname = \"Acme Diesel\"\n[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.1\"]\nmax_calls = 2000\n\
         [[ivr]]\nname = \"main\"\nfile = \"main.toml\"\n[[hours]]\nname = \"office\"\nopen = [\"Mon-Sun 00:00-24:00\"]\n",
    );
    text += &number("4001001000", "{ ivr = \"main\" }");
    text += &number("4001001001", "{ queue = \"repair\" }");
    text += &number("4001001002", "{ queue = \"rescue\" }");
    text += &queue("repair", "record = true");
    text += &queue("rescue", "max_wait_s = 3600\nmax_waiting = 1000");
    text += &queue("general", "");
    text.extend((0..talking).map(|n| agent(1_000 + n, ports.free, "repair")));
    text.extend((0..serving).map(|n| agent(2_000 + n, ports.free + 1, "rescue")));
    text += "[[agent]]\nname = \"3001\"\npassword_file = \"password\"\nqueues = [\"general\"]\nphone = { kind = \"contact\", uri = \"sip:3001@127.0.0.1:9\" }\n";
    text
}

async fn calls_go_on(block: u16, how: How) -> Result<()> {
    let (talking, times) = (number("ZONGJI_CALLS", 20), number("ZONGJI_TIMES", 3));
    let (waiting, in_menu) = (talking * 3 / 5, talking * 2 / 5);
    let serving = 10;
    let ports = Ports { rtp: 27_000, rtp_len: 2_000, ..Ports::block(block) };
    let files = [("main.toml", MENU), ("password", PASSWORD)];
    let mut server = Server::start(ports, &tenant(ports, talking, 0), &files).await?;
    let dir = server.dir.path().to_owned();
    let (low, high) = (tone(&dir, 440)?, tone(&dir, 1_000)?);
    let caller = |did, calls, hangup_ms, rate| Caller {
        did,
        number: "13800138000",
        digit: None,
        hangup_ms,
        calls,
        rate,
        tone: &low,
        tcp: false,
    };

    // 300 calls each, beside the program's own ports.
    let place = |n: u16| Place { sip: ports.free + n, media: 29_300 + n * 600 };
    let mut desk = Desk::connect(&server, "acme", "3001").await?;
    desk.command("agent.set_state", json!({"state": "break", "reason": "meal"})).await?;
    let on_break =
        server.until("/api/v1/live", Duration::from_secs(2), |live| agent(live, "3001")["state"] == "break").await?;
    let break_since = agent(&on_break, "3001")["since_ms"].clone();

    let _phones = Sipp::phone(&dir, "phones", place(0), 0, &high, false)?;
    let _servers = Sipp::short_phone(&dir, "short", place(1), 500, &high)?;
    // A round is a second for the menu's callers to come and then the time between two crashes.
    let talk_ms = (EVERY.as_millis() as u32 + 2_000) * times + 20_000;
    let mut talkers = Sipp::caller(&dir, "talkers", place(2), ports.sip, &caller("4001001001", talking, talk_ms, 20))?;
    let mut waiters = Sipp::waiters(&dir, "waiters", place(3), ports.sip, &caller("4001001002", waiting, 0, 20))?;
    let count = |live: &Value, state: &str| {
        live["calls"].as_array().map_or(0, |calls| calls.iter().filter(|call| call["state"] == state).count())
    };
    let is_up =
        |live: &Value| count(live, "talking") == talking as usize && queue(live, "rescue")["waiting"] == waiting;
    server.until("/api/v1/live", Duration::from_secs(20), is_up).await?;

    let sniffer = Sniffer::start(ports.rtp..ports.rtp + ports.rtp_len)?;
    let mut back = Vec::new();
    for time in 0..times {
        let round = format!("menu{time}");
        let mut menu = Sipp::caller(&dir, &round, place(4), ports.sip, &caller("4001001000", in_menu, MENU_MS, 100))?;
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let started = Instant::now();
        let took = match how {
            How::Kill => {
                let started = server.kill_and_start()?;
                tokio::task::block_in_place(|| first_answer(ports, time, started))?
            }
            // Nobody is asked before the new program is there: the old one would answer.
            How::Upgrade => {
                let told = tokio::task::block_in_place(|| server.run(&["upgrade", "--json"]))?;
                let told: Value = serde_json::from_str(&told).with_context(|| told.clone())?;
                let away = Duration::from_millis(told["away_ms"].as_u64().context("away_ms")?);
                away + tokio::task::block_in_place(|| first_answer(ports, time, Instant::now()))?
            }
        };
        back.push(took);
        server.wait_ready().await?;
        let live = server.until("/api/v1/live", Duration::from_secs(3), is_up).await?;
        ensure!(count(&live, "ivr") >= in_menu as usize, "callers in the menu: {live:#}");
        ensure!(agent(&live, "3001")["since_ms"] == break_since, "the break goes on: {live:#}");
        desk = Desk::connect(&server, "acme", "3001").await?;
        tokio::task::block_in_place(|| menu.finish(Duration::from_secs(20)))?;
        tokio::time::sleep_until((started + EVERY).into()).await;
    }
    drop(desk);
    let gaps = sniffer.finish()?;

    std::fs::write(server.path("tenant.toml"), tenant(ports, talking, serving))?;
    server.run(&["apply", "tenant.toml"])?;
    tokio::task::block_in_place(|| waiters.finish(Duration::from_secs(120)))?;
    tokio::task::block_in_place(|| talkers.finish(Duration::from_secs(120)))?;
    server.until_idle().await?;
    let free = |live: &Value| {
        live["agents"].as_array().is_some_and(|agents| {
            // Whose desk is gone for long is offline.
            agents.iter().all(|agent| agent["state"] == "ready" || agent["name"] == "3001")
        })
    };
    server.until("/api/v1/live", Duration::from_secs(5), free).await?;

    let expected = talking + waiting + times * (in_menu + 1);
    let rows = server.all_calls(expected as usize).await?;
    check_rows(&rows, talking, waiting, times * in_menu, times)?;
    check_order(&rows, waiting as usize)?;
    let lost = check_recordings(&server, &rows, times, &gaps).await?;

    let gap = gaps.p99();
    println!(
        "{how:?} {times} times: {talking} talked, {waiting} waited, {in_menu} in the menu; new calls answered after {:?} at most; \
         RTP gap p99 {gap:?}, longest {:?}; {} ms of each recording lost in each crash at most",
        back.iter().max().context("no crash")?,
        gaps.longest(),
        lost
    );
    ensure!(gap <= RTP_GAP_MAX, "RTP gap p99 {gap:?}");
    ensure!(back.iter().all(|took| *took <= BACK_MAX), "new calls were answered after {back:?}");
    Ok(())
}

/// Calls the number of the waiting queue again and again, as a caller's SIP stack does, until it is answered; then hangs up.
/// The time from `started` to the answer.
fn first_answer(ports: Ports, time: u32, started: Instant) -> Result<Duration> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", ports.sip))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let me = socket.local_addr()?;
    let request = |method: &str, cseq: u32, branch: &str, to_tag: &str, body: &str| {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:4001001000@127.0.0.1:{} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{branch}{time}\r\nMax-Forwards: 70\r\n\
             From: <sip:13900139000@{me}>;tag=f{time}\r\nTo: <sip:4001001000@127.0.0.1:{}>{to_tag}\r\nCall-ID: first{time}@{me}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:13900139000@{me}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            ports.sip,
            ports.sip,
            body.len()
        )
    };
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n";
    let invite = request("INVITE", 1, "i", "", sdp);
    let mut buffer = [0; 4_096];
    loop {
        ensure!(started.elapsed() < Duration::from_secs(20), "no answer for {:?}", started.elapsed());
        // Nobody listens while the program is away.
        let _refused = socket.send(invite.as_bytes());
        while let Ok(len) = socket.recv(&mut buffer) {
            let answer = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if !answer.starts_with("SIP/2.0 200") {
                continue;
            }
            let took = started.elapsed();
            let to = answer.lines().find(|line| line.starts_with("To:")).context("To")?;
            let tag = to.find(";tag=").map_or("", |at| &to[at..]);
            socket.send(request("ACK", 1, "a", tag, "").as_bytes())?;
            std::thread::sleep(Duration::from_millis(50));
            for _ in 0..50 {
                socket.send(request("BYE", 2, "b", tag, "").as_bytes())?;
                if let Ok(len) = socket.recv(&mut buffer)
                    && String::from_utf8_lossy(&buffer[..len]).contains("2 BYE")
                {
                    return Ok(took);
                }
            }
            anyhow::bail!("no answer to BYE");
        }
    }
}

fn queue<'a>(live: &'a Value, name: &str) -> &'a Value {
    named(&live["queues"], name)
}

fn agent<'a>(live: &'a Value, name: &str) -> &'a Value {
    named(&live["agents"], name)
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    list.as_array().and_then(|items| items.iter().find(|item| item["name"] == name)).unwrap_or(&NONE)
}

/// One row a call, each with its one outcome.
fn check_rows(rows: &[Value], talking: u32, waiting: u32, menu: u32, probes: u32) -> Result<()> {
    let ids: BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    ensure!(ids.len() == rows.len(), "{} rows of {} calls", rows.len(), ids.len());
    let mut outcomes: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for row in rows {
        *outcomes.entry((row["to"].as_str().unwrap_or(""), row["outcome"].as_str().unwrap_or(""))).or_default() += 1;
    }
    let expected = BTreeMap::from([
        (("4001001000", "abandoned_ivr"), menu + probes),
        (("4001001001", "answered"), talking),
        (("4001001002", "answered"), waiting),
    ]);
    ensure!(outcomes == expected, "{outcomes:?}, not {expected:?}");
    Ok(())
}

/// Who waited was answered in the order of coming.
fn check_order(rows: &[Value], waiting: usize) -> Result<()> {
    let mut waited: Vec<(u64, u64)> = rows
        .iter()
        .filter(|row| row["to"] == "4001001002")
        .filter_map(|row| Some((row["queued_ms"].as_u64()?, row["offered_ms"].as_u64()?)))
        .collect();
    waited.sort_unstable();
    ensure!(waited.len() == waiting, "{} of {waiting} were queued and offered", waited.len());
    let offered: Vec<u64> = waited.iter().map(|(_, offered)| *offered).collect();
    ensure!(offered.is_sorted(), "in the order of coming they were offered at {offered:?}");
    Ok(())
}

/// Each talk is recorded for its whole length, with both tones but for the gaps, and for the times when SIPp itself sent
/// nothing. The longest gap in milliseconds.
async fn check_recordings(server: &Server, rows: &[Value], times: u32, seen: &Gaps) -> Result<u64> {
    let mut longest = 0;
    for row in rows.iter().filter(|row| row["to"] == "4001001001") {
        let path = format!("/api/v1/calls/{}", row["id"].as_str().context("id")?);
        // All of them are sealed at once, after the calls that ended together.
        let call = server.until(&path, Duration::from_secs(60), |call| call["recording"]["state"] == "sealed").await?;
        let recording = Recording::read(&server.get_bytes(&format!("{path}/recording")).await?)?;
        let talk_ms = call["talk_ms"].as_u64().context("talk_ms")?;
        let answered_ms = call["answered_ms"].as_u64().context("answered_ms")?;
        let was_sent = |from: u64, to: u64| {
            let beside = answered_ms + from.saturating_sub(BESIDE_STILL_MS)..answered_ms + to + BESIDE_STILL_MS;
            !seen.has_still_peer(&beside)
        };
        ensure!(recording.ms().abs_diff(talk_ms) <= 60, "{} ms recorded, {talk_ms} ms talked", recording.ms());
        let gaps = call["recording"]["gaps"].as_array().context("gaps")?;
        ensure!(gaps.len() == times as usize, "{} gaps after {times} crashes", gaps.len());
        let gaps: Vec<(u64, u64)> =
            gaps.iter().filter_map(|gap| Some((gap["from_ms"].as_u64()?, gap["to_ms"].as_u64()?))).collect();
        longest = longest.max(gaps.iter().map(|(from, to)| to - from).max().unwrap_or(0));
        check_tone(&recording.left, 440.0, &gaps, was_sent)
            .with_context(|| format!("left of {path}, gaps {gaps:?}"))?;
        check_tone(&recording.right, 1_000.0, &gaps, was_sent)
            .with_context(|| format!("right of {path}, gaps {gaps:?}"))?;
    }
    Ok(longest)
}

/// Every 100 ms of a lane that were sent have their tone, except beside a gap and at the ends.
fn check_tone(lane: &[i16], hz: f64, gaps: &[(u64, u64)], was_sent: impl Fn(u64, u64) -> bool) -> Result<()> {
    /// Until the first packets of a new stream are there.
    const BESIDE_MS: u64 = 400;
    let windows = lane.chunks_exact(800).enumerate().skip(5);
    let last = lane.len() / 800 - 5;
    for (n, window) in windows.take_while(|(n, _)| *n < last) {
        let (from, to) = (n as u64 * 100, n as u64 * 100 + 100);
        let beside = gaps.iter().any(|gap| to + BESIDE_MS > gap.0 && from < gap.1 + BESIDE_MS);
        ensure!(beside || share(window, hz) > 0.8 || !was_sent(from, to), "{from} ms has no tone of {hz} Hz");
    }
    Ok(())
}
