//! A hundred recorded calls at once, with audio both ways: what they cost, and whether a packet was lost.
//! Peers, measured on this kind of machine: Asterisk 22.10.1 takes 84-93 % of a core for 100 recorded calls.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::{Ended, Result, SIP, Server, binary};

const CALLS: u16 = 100;
const PHONES: u16 = 15_700;
const TALK_S: u32 = 40;
/// Calls begin at 20 a second; after this all of them talk.
const BEGUN: Duration = Duration::from_secs(12);
const WINDOW: Duration = Duration::from_secs(20);

pub fn recorded() -> Result<()> {
    let server = Server::start(CALLS, true, |n| format!("sip:{n:03}@127.0.0.1:{}", PHONES + n))?;
    let zongji = binary()?;
    let listen = format!("127.0.0.1:{PHONES}");
    let phones = Command::new(&zongji)
        .args(["phone", "--listen", &listen, "--count", &CALLS.to_string(), "--tone", "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let _phones = Ended(phones);
    std::thread::park_timeout(Duration::from_secs(1));
    let call = format!("sip:4001001001@127.0.0.1:{SIP}");
    let callers = Command::new(&zongji)
        .args(["phone", "--call", &call, "--from", "13800138000", "--tone", "440"])
        .args(["--calls", &CALLS.to_string(), "--rate", "20", "--hangup-after", &TALK_S.to_string(), "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::park_timeout(BEGUN);
    let active = server.metric("zongji_recordings_active", "")?;
    let (packets, cpu) = (server.metric("zongji_rtp_packets_total", "")?, server.cpu_s()?);
    std::thread::park_timeout(WINDOW);
    let (packets, cpu) = (server.metric("zongji_rtp_packets_total", "")? - packets, server.cpu_s()? - cpu);
    let output = callers.wait_with_output()?;
    let figures = String::from_utf8_lossy(&output.stdout);
    let lost = server.metric("zongji_rtp_lost_total", "")?;
    println!(
        "recorded: {active} calls recorded at once: {:.0} % of a core, {:.0} RTP packets/s in and out, {lost} lost by us",
        cpu * 100.0 / WINDOW.as_secs_f64(),
        packets / WINDOW.as_secs_f64(),
    );
    println!("recorded: the callers' own figures: {}", figures.lines().last().unwrap_or_default());
    if active < f64::from(CALLS) || lost > 0.0 {
        return Err(format!("{active} of {CALLS} calls were recorded at once, {lost} packets lost").into());
    }
    Ok(())
}
