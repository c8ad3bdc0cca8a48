//! The whole program under load: SIPp rings in, SIPp phones answer, the program's CPU time comes from the kernel, in all and by
//! threads (`/proc/PID/task/*/schedstat`). Beside it stands the floor of the same machine right before: a call's datagrams alone.
//! Peers, measured on this kind of machine: Asterisk 22.10.1 app_queue 10-12 ms CPU a queueing call, RustPBX 0.5-rc 9-10 ms.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Ended, Result, SIP, Server};

pub const AGENTS: u16 = 100;
const RATE: u32 = 50;
const SECONDS: u32 = 20;
const PHONES: u16 = 15_610;
const CALLERS: u16 = 15_620;
/// A call's messages: INVITE, ACK, BYE, and the phone's 180 and two 200 in; 100, 180, two 200, INVITE, ACK and BYE out.
const MESSAGES: [u32; 2] = [6, 7];
/// An INVITE with its description, bytes.
const MESSAGE_LEN: usize = 700;

/// 50 calls/s for 20 s through a menu-less DID, a queue and 100 contact phones, one second of talk; then 10 calls/s for 20 s.
pub fn load() -> Result<()> {
    println!(
        "load: menu-less DID, queue, {AGENTS} contact phones, 1 s of talk, signalling alone, journal and history included"
    );
    run(RATE)?;
    run(10)
}

/// CPU of receiving and sending as many datagrams as a call has messages, milliseconds: half of what both ends take.
fn floor() -> Result<f64> {
    const CALLS: u32 = 2_000;
    let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let (near_at, far_at) = (near.local_addr()?, far.local_addr()?);
    let (message, mut read) = ([b'x'; MESSAGE_LEN], [0; MESSAGE_LEN]);
    let before = own_cpu_ns()?;
    for _ in 0..CALLS {
        for _ in 0..MESSAGES[0] {
            far.send_to(&message, near_at)?;
            near.recv_from(&mut read)?;
        }
        for _ in 0..MESSAGES[1] {
            near.send_to(&message, far_at)?;
            far.recv_from(&mut read)?;
        }
    }
    Ok((own_cpu_ns()? - before) / f64::from(CALLS) / 2.0 / 1e6)
}

fn own_cpu_ns() -> Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

fn run(rate: u32) -> Result<()> {
    let server = Server::start(AGENTS, false, phone)?;
    let floor_ms = floor()?;
    let before = server.by_threads()?;
    let Rung { calls, took, cpu_s } = ring(&server, rate)?;
    let after = server.by_threads()?;
    let setups = server.metric("zongji_setup_seconds_count", "")?;
    let quick = server.metric("zongji_setup_seconds_bucket", "le=\"0.01\"")?;
    println!(
        "load: {rate}/s: {calls} of {calls} answered in {:.1} s, {:.2} ms CPU a call in the whole process (its datagrams alone {floor_ms:.2}), setup within 10 ms: {quick} of {setups}",
        took.as_secs_f64(),
        cpu_s * 1_000.0 / f64::from(calls),
    );
    let parts = after.iter().map(|(name, spent)| (name, spent - before.get(name).unwrap_or(&0.0)));
    let mut parts: Vec<(f64, &String)> =
        parts.map(|(name, spent)| (spent * 1_000.0 / f64::from(calls), name)).filter(|(ms, _)| *ms >= 0.005).collect();
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let parts: Vec<String> = parts.iter().map(|(ms, name)| format!("{name} {ms:.2}")).collect();
    println!("load: {rate}/s: ms a call by threads: {}", parts.join(", "));
    Ok(())
}

/// Calls that were all answered, and what the whole process took for them.
pub struct Rung {
    pub calls: u32,
    pub took: Duration,
    pub cpu_s: f64,
}

/// The phone of agent n.
pub fn phone(n: u16) -> String {
    format!("sip:{n:03}@127.0.0.1:{PHONES}")
}

/// So many calls a second for 20 s into a server with 100 agents whose phones are [`phone`].
pub fn ring(server: &Server, rate: u32) -> Result<Rung> {
    let scenario = |name: &str, text: &str| -> Result<std::path::PathBuf> {
        let plain: String =
            text.lines().filter(|line| !line.contains("rtp_stream")).map(|line| format!("{line}\n")).collect();
        let path = server.dir().join(name);
        std::fs::write(&path, plain.replace("DIGIT", "").replace("RING", "0"))?;
        Ok(path)
    };
    let phone = scenario("phone.xml", include_str!("../../tests/e2e/sipp/phone.xml"))?;
    let caller = scenario("caller.xml", include_str!("../../tests/e2e/sipp/caller.xml"))?;
    let _phones = Ended(sipp(server.dir(), &phone, PHONES).spawn()?);
    std::thread::park_timeout(Duration::from_secs(1));
    let calls = rate * SECONDS;
    let before = server.cpu_s()?;
    let started = Instant::now();
    let status = sipp(server.dir(), &caller, CALLERS)
        .arg(format!("127.0.0.1:{SIP}"))
        .args(["-s", "4001001001", "-key", "caller", "13800138000", "-d", "1000"])
        .args(["-m", &calls.to_string(), "-r", &rate.to_string(), "-timeout", "60"])
        .status()?;
    let took = started.elapsed();
    std::thread::park_timeout(Duration::from_secs(2));
    let cpu_s = server.cpu_s()? - before;
    let answered = server.metric("zongji_calls_total", "outcome=\"answered\"")?;
    if !status.success() || answered < f64::from(calls) {
        return Err(format!("{answered} of {calls} calls were answered; sipp ended with {status}").into());
    }
    Ok(Rung { calls, took, cpu_s })
}

fn sipp(dir: &Path, scenario: &Path, port: u16) -> Command {
    let mut command = Command::new("sipp");
    command.arg("-sf").arg(scenario).args(["-i", "127.0.0.1", "-p", &port.to_string(), "-nostdin"]);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
