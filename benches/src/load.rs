//! The whole program under load: SIPp rings in, SIPp phones answer, the program's CPU time comes from the kernel.
//! Peers, measured on this kind of machine: Asterisk 22.10.1 app_queue 10-12 ms CPU a queueing call, RustPBX 0.5-rc 9-10 ms.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Ended, Result, SIP, Server};

pub const AGENTS: u16 = 100;
const RATE: u32 = 50;
const SECONDS: u32 = 20;
const PHONES: u16 = 15_610;
const CALLERS: u16 = 15_620;

/// 50 calls/s for 20 s through a menu-less DID, a queue and 100 contact phones, one second of talk; then 10 calls/s for 20 s.
pub fn load() -> Result<()> {
    println!(
        "load: menu-less DID, queue, {AGENTS} contact phones, 1 s of talk, signalling alone, journal and history included"
    );
    run(RATE)?;
    run(10)
}

fn run(rate: u32) -> Result<()> {
    let server = Server::start(AGENTS, false, phone)?;
    let Rung { calls, took, cpu_s } = ring(&server, rate)?;
    let setups = server.metric("zongji_setup_seconds_count", "")?;
    let quick = server.metric("zongji_setup_seconds_bucket", "le=\"0.01\"")?;
    println!(
        "load: {rate}/s: {calls} of {calls} answered in {:.1} s, {:.2} ms CPU a call in the whole process, setup within 10 ms: {quick} of {setups}",
        took.as_secs_f64(),
        cpu_s * 1_000.0 / f64::from(calls),
    );
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
