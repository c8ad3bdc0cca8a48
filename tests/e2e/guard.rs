//! What the internet tries: guessed secrets and a flood of calls, beside those who belong here.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cti_sip::wire::limits::MESSAGE_LEN_MAX;
use serde_json::Value;

use crate::answered::{MENU, tenant};
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

const SECRET: &str = "s3cret-of-1001";
const AGENT: &str = "[[agent]]\nname = \"1001\"\nskills = { repair = 5 }\nqueues = [\"repair\"]\nphone = { kind = \"sip\", secret_file = \"secret\" }\nalways_ready = true\n";

/// A phone, or someone who claims to be one, by hand.
struct Peer {
    socket: UdpSocket,
    server: u16,
    cseq: u32,
}

impl Peer {
    /// At an address of its own on this machine.
    fn at(ip: [u8; 4], server: u16) -> Result<Self> {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::from(ip), 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(Self { socket, server, cseq: 0 })
    }

    fn send(&mut self, user: &str, authorization: &str) -> Result<()> {
        self.cseq += 1;
        let here = self.socket.local_addr()?;
        let text = format!(
            "REGISTER sip:acme SIP/2.0\r\nVia: SIP/2.0/UDP {here};rport;branch=z9hG4bK{0:08}\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@acme>;tag=f\r\nTo: <sip:{user}@acme>\r\nCall-ID: register\r\nCSeq: {0} REGISTER\r\n\
             Contact: <sip:{user}@{here}>\r\nExpires: 600\r\n{authorization}Content-Length: 0\r\n\r\n",
            self.cseq
        );
        self.socket.send_to(text.as_bytes(), ("127.0.0.1", self.server))?;
        Ok(())
    }

    fn answer(&self) -> Result<String> {
        let mut buffer = vec![0; MESSAGE_LEN_MAX];
        let (length, _) = self.socket.recv_from(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn ask(&mut self, user: &str, authorization: &str) -> Result<String> {
        self.send(user, authorization)?;
        self.answer()
    }

    /// The status of a REGISTER that answers its challenge with `secret`.
    fn register(&mut self, user: &str, secret: &str) -> Result<String> {
        let challenge = self.ask(user, "")?;
        ensure!(challenge.starts_with("SIP/2.0 401 "), "every REGISTER is challenged: {challenge}");
        let answer = self.ask(user, &digest(&challenge, user, secret)?)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }
}

/// The header that answers a challenge.
fn digest(challenge: &str, user: &str, secret: &str) -> Result<String> {
    let nonce = challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).context("a nonce")?;
    // An HA1 is the hash of three parts, so it hashes whatever has three.
    let md5 = |a: &str, b: &str, c: &str| cti_sip::Account::with_secret("t", a, b, c).ha1_md5;
    let (ha1, ha2) = (md5(user, "zongji", secret), md5("REGISTER", "sip", "acme"));
    let response = md5(&ha1, nonce, &format!("00000001:c:auth:{ha2}"));
    Ok(format!(
        "Authorization: Digest username=\"{user}\", realm=\"zongji\", nonce=\"{nonce}\", uri=\"sip:acme\", qop=auth, \
         nc=00000001, cnonce=\"c\", response=\"{response}\"\r\n"
    ))
}

/// An answer without what is drawn anew each time, and without the user.
fn normal(answer: &str, peer: &Peer, user: &str) -> Result<String> {
    let here = peer.socket.local_addr()?;
    let text =
        answer.replace(user, "USER").replace(&here.to_string(), "HERE").replace(&here.port().to_string(), "PORT");
    let text = text.replace(&here.ip().to_string(), "IP");
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = match line.split_once("nonce=\"") {
            Some((head, rest)) => {
                format!("{head}{}{}", rest.find('"').context("an end")?, &rest[rest.find('"').context("an end")?..])
            }
            None => line.to_owned(),
        };
        // Made of Call-ID and branch, with a secret.
        let tag = line.starts_with("To:").then(|| line.split_once(";tag=")).flatten();
        lines.push(tag.map_or(line.clone(), |(head, tag)| format!("{head};tag={}", tag.len())));
    }
    Ok(lines.join("\r\n"))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

async fn bans(server: &Server, cookie: &str) -> Result<Vec<Value>> {
    let answer = server.http.get(server.url("/api/v1/bans")).header("cookie", cookie).send().await?;
    ensure!(answer.status().is_success(), "bans: {}", answer.status());
    let list: Value = serde_json::from_str(&answer.text().await?)?;
    Ok(list["items"].as_array().context("items")?.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_secrets_learns_nothing_and_is_kept_out_while_good_phones_register() -> Result<()> {
    const TRIES: u32 = 10_000;
    const TRIES_PER_MS: u32 = 2;
    let _machine = machine().await;
    let ports = Ports::block(23);
    let server = Server::start(ports, &tenant(AGENT), &[("main.toml", MENU), ("secret", SECRET)]).await?;
    server.run(&[
        "user",
        "add",
        "--tenant",
        "system",
        "--name",
        "root",
        "--role",
        "admin",
        "--password-file",
        "password",
    ])?;
    let root = server.cookie("system", "root").await?;

    // The same bytes and the same time for a user who exists and one who does not, before and after credentials.
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..40 {
        let mut answers = Vec::new();
        for (index, user) in ["1001", "9876"].into_iter().enumerate() {
            let mut peer = Peer::at([127, 0, 1 + index as u8, 1 + n], ports.sip)?;
            let challenge = peer.ask(user, "")?;
            let wrong = digest(&challenge, user, "guessed")?;
            let asked = Instant::now();
            let refusal = peer.ask(user, &wrong)?;
            times[index].push(asked.elapsed());
            answers.push((normal(&challenge, &peer, user)?, normal(&refusal, &peer, user)?));
        }
        ensure!(answers[0] == answers[1], "{answers:#?}");
    }
    let [known, unknown] = times.map(median);
    println!("a wrong secret is answered in {known:?}, one of nobody in {unknown:?} (medians of 40)");
    let (least, most) = (known.min(unknown), known.max(unknown));
    ensure!(most - least < Duration::from_micros(300) || most < least * 2, "{known:?} and {unknown:?}");

    // A first 401 is never counted.
    let mut forgetful = Peer::at([127, 0, 0, 6], ports.sip)?;
    for _ in 0..50 {
        ensure!(forgetful.ask("1001", "")?.starts_with("SIP/2.0 401 "));
    }
    ensure!(bans(&server, &root).await?.is_empty(), "nobody guessed often enough yet");

    let mut guesser = Peer::at([127, 0, 0, 2], ports.sip)?;
    let mut good = Peer::at([127, 0, 0, 4], ports.sip)?;
    let nonce = guesser.ask("1001", "")?;
    let guessing = std::thread::spawn(move || -> Result<(Peer, u32)> {
        for n in 0..TRIES {
            let line = digest(&nonce, "1001", &format!("guess-{n}"))?;
            guesser.send("1001", &line)?;
            if n % TRIES_PER_MS == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        guesser.socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut answered = 0;
        while guesser.answer().is_ok() {
            answered += 1;
        }
        Ok((guesser, answered))
    });
    let mut slowest = Duration::ZERO;
    let mut registered = 0;
    while !guessing.is_finished() {
        let asked = Instant::now();
        let status = good.register("1001", SECRET)?;
        slowest = slowest.max(asked.elapsed());
        ensure!(status == "SIP/2.0 200 OK", "the good phone: {status}");
        registered += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (mut guesser, answered) = guessing.join().expect("no panic")?;
    println!("{TRIES} guesses: {answered} answered; beside them {registered} registrations, the slowest {slowest:?}");
    ensure!(answered < 200 && registered >= 10, "{answered} guesses were answered, {registered} registrations");
    let (banned, wrong) = (
        server.metric("zongji_sip_rejected_total", "banned").await?,
        server.metric("zongji_sip_rejected_total", "unauthorized").await?,
    );
    ensure!(banned > 9_000.0 && wrong < 300.0, "{banned} were turned away, {wrong} reached the switch");
    ensure!(server.metric("zongji_sip_bans", "").await? >= 1.0);

    let list = bans(&server, &root).await?;
    let of_user = list.iter().find(|ban| ban["user"] == "1001" && ban["source"] == "127.0.0.2").context("a ban")?;
    ensure!(list.iter().all(|ban| ban["source"] == "127.0.0.2"), "{list:#?}");
    ensure!(guesser.ask("1001", &digest(&good.ask("1001", "")?, "1001", SECRET)?).is_err(), "kept out even when right");
    for ban in &list {
        let id = ban["id"].as_str().context("an id")?;
        let lifted =
            server.http.delete(server.url(&format!("/api/v1/bans/{id}"))).header("cookie", &root).send().await?;
        ensure!(lifted.status() == 204, "{}", lifted.status());
    }
    ensure!(of_user["failures"].as_u64().is_some_and(|failures| failures >= 5), "{of_user}");
    ensure!(guesser.register("1001", SECRET)? == "SIP/2.0 200 OK", "let in again");
    Ok(())
}

/// Resident memory of a process, KiB.
fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Sends INVITEs from one address until told to stop, each another call; how many.
fn flood(server: u16, per_ms: u64, stop: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.3:0")?;
    let here = socket.local_addr()?;
    let began = Instant::now();
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";
    while !stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_millis() as u64 * per_ms;
        let n = sent.load(Ordering::Relaxed);
        for n in n..due {
            let text = format!(
                "INVITE sip:4001001001@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{n}\r\nMax-Forwards: 70\r\n\
                 From: <sip:{n}@127.0.0.3>;tag={n}\r\nTo: <sip:4001001001@127.0.0.1>\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:{here}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
                sdp.len()
            );
            // A socket that is full loses it, like any network.
            let _sent = socket.send_to(text.as_bytes(), ("127.0.0.1", server));
        }
        sent.store(due.max(n), Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_source_costs_the_good_calls_nothing() -> Result<()> {
    const CALLS: u32 = 200;
    const FLOOD_PER_MS: u64 = 5;
    let _machine = machine().await;
    let ports = Ports { rtp: 28_000, rtp_len: 1_200, ..Ports::block(24) };
    let server = Server::start(ports, &tenant(AGENT), &[("main.toml", MENU), ("secret", SECRET)]).await?;
    let dir = server.dir.path();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let before = resident_kib(server.pid())?;
    let flooding = {
        let (stop, sent) = (stop.clone(), sent.clone());
        std::thread::spawn(move || flood(ports.sip, FLOOD_PER_MS, &stop, &sent))
    };
    let began = Instant::now();
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 1_000,
        calls: CALLS,
        rate: 20,
        tone: &tone(dir, 440)?,
        tcp: false,
    };
    let mut sipp = Sipp::caller(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    let good = tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(60)));
    stop.store(true, Ordering::Relaxed);
    flooding.join().expect("no panic")?;
    let per_s = sent.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    let grown = resident_kib(server.pid())?.saturating_sub(before);
    let rows = server.all_calls(CALLS as usize).await?;
    let answered = rows.iter().filter(|call| call["queued_ms"].as_u64().is_some_and(|ms| ms > 0)).count();
    let (too_fast, strangers) = (
        server.metric("zongji_sip_rejected_total", "too_fast").await?,
        server.metric("zongji_sip_rejected_total", "unknown_source").await?,
    );
    println!(
        "{per_s:.0} INVITE/s from one source for {:.1} s: {answered} of {CALLS} good calls answered, memory +{grown} KiB, \
         {too_fast} turned away at the edge, {strangers} reached the switch",
        began.elapsed().as_secs_f64()
    );
    ensure!(per_s > 4_500.0, "the flood came to {per_s} a second only");
    ensure!(answered * 100 >= CALLS as usize * 99, "{answered} of {CALLS}: {good:?}");
    ensure!(rows.len() == answered, "the flood is no call: {} rows", rows.len());
    ensure!(grown < 100 * 1_024, "memory grew by {grown} KiB");
    ensure!(strangers < 1_000.0, "{strangers} reached the switch");
    Ok(())
}
