//! SIPp as caller and as phone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

/// Debian's SIPp ships these captures: one RFC 4733 keypress each, payload type 101.
const DIGITS: &str = "/usr/share/sip-tester";

/// What a caller does beside ringing and talking.
#[derive(Clone, Debug)]
pub struct Caller<'a> {
    pub did: &'a str,
    pub number: &'a str,
    /// A digit so many milliseconds after the answer.
    pub digit: Option<(char, u32)>,
    /// From the answer (or the digit) to BYE.
    pub hangup_ms: u32,
    pub calls: u32,
    pub rate: u32,
    pub tone: &'a Path,
    pub tcp: bool,
}

/// A SIPp's own ports: SIP's, and the first of its media's, two for each call at once.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub sip: u16,
    pub media: u16,
}

impl From<u16> for Place {
    fn from(sip: u16) -> Self {
        Self { sip, media: sip + 2_000 }
    }
}

pub struct Sipp {
    child: Child,
    dir: PathBuf,
    name: String,
}

impl Sipp {
    pub fn caller(dir: &Path, name: &str, port: impl Into<Place>, server: u16, caller: &Caller<'_>) -> Result<Self> {
        let digit = keypress(caller);
        let mut scenario = include_str!("sipp/caller.xml").replace("DIGIT", &digit);
        if caller.calls > 1 {
            scenario = each_a_port(&scenario);
        }
        let args = [
            format!("127.0.0.1:{server}"),
            "-s".into(),
            caller.did.into(),
            "-key".into(),
            "caller".into(),
            caller.number.into(),
            "-d".into(),
            caller.hangup_ms.to_string(),
            "-m".into(),
            caller.calls.to_string(),
            "-r".into(),
            caller.rate.to_string(),
            "-t".into(),
            if caller.tcp { "t1".into() } else { "u1".into() },
        ];
        Self::spawn(dir, name, port, &scenario, caller.tone, &args)
    }

    /// A phone that rings `ring_ms` and answers every call until it is dropped.
    pub fn phone(dir: &Path, name: &str, port: impl Into<Place>, ring_ms: u32, tone: &Path, tcp: bool) -> Result<Self> {
        let scenario = each_a_port(include_str!("sipp/phone.xml")).replace("RING", &ring_ms.to_string());
        let transport = if tcp { "t1" } else { "u1" };
        Self::spawn(dir, name, port, &scenario, tone, &["-t".into(), transport.into(), "-m".into(), "100000".into()])
    }

    /// Callers who wait until the other side hangs up, a single one perhaps after a digit.
    pub fn waiters(dir: &Path, name: &str, port: impl Into<Place>, server: u16, caller: &Caller<'_>) -> Result<Self> {
        let args = [
            format!("127.0.0.1:{server}"),
            "-s".into(),
            caller.did.into(),
            "-key".into(),
            "caller".into(),
            caller.number.into(),
            "-m".into(),
            caller.calls.to_string(),
            "-r".into(),
            caller.rate.to_string(),
        ];
        let waiter = include_str!("sipp/waiter.xml");
        let scenario = match caller.digit {
            Some(_) => {
                waiter.replace("<recv request=\"BYE\"/>", &format!("{}<recv request=\"BYE\"/>", keypress(caller)))
            }
            None => each_a_port(waiter),
        };
        Self::spawn(dir, name, port, &scenario, caller.tone, &args)
    }

    /// A phone that hangs up itself, `talk_ms` after it answered.
    pub fn short_phone(dir: &Path, name: &str, port: impl Into<Place>, talk_ms: u32, tone: &Path) -> Result<Self> {
        let scenario = each_a_port(include_str!("sipp/short.xml")).replace("RING", "100");
        Self::spawn(dir, name, port, &scenario, tone, &["-d".into(), talk_ms.to_string(), "-m".into(), "100000".into()])
    }

    /// Any scenario text, with further arguments.
    pub fn spawn(
        dir: &Path,
        name: &str,
        port: impl Into<Place>,
        scenario: &str,
        tone: &Path,
        args: &[String],
    ) -> Result<Self> {
        let (file, place) = (dir.join(format!("{name}.xml")), port.into());
        // SIPp fills no key into `rtp_stream`.
        std::fs::write(&file, scenario.replace("TONE", &tone.to_string_lossy()))?;
        let log = std::fs::File::create(dir.join(format!("{name}.log")))?;
        let child = Command::new("sipp")
            .args(args)
            .args(["-sf", &file.to_string_lossy(), "-i", "127.0.0.1", "-p", &place.sip.to_string()])
            .args(["-mp", &place.media.to_string()])
            .args(["-nostdin", "-trace_err", "-error_file", &dir.join(format!("{name}.err")).to_string_lossy()])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, dir: dir.to_owned(), name: name.to_owned() })
    }

    /// Waits for its end: every call of it went as its scenario says.
    pub fn finish(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "sipp {} ended with {status}: {}", self.name, self.errors());
                return Ok(());
            }
            if Instant::now() > until {
                bail!("sipp {} is still running after {time:?}: {}", self.name, self.errors());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn errors(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join(format!("{}.err", self.name))).unwrap_or_default();
        text.chars().take(3_000).collect()
    }
}

/// The step of a scenario that presses the caller's key; nothing where they press none.
fn keypress(caller: &Caller<'_>) -> String {
    caller.digit.map_or(String::new(), |(digit, after_ms)| {
        let file = match digit {
            '*' => "star".to_owned(),
            '#' => "pound".to_owned(),
            digit => digit.to_string(),
        };
        format!(
            "<pause milliseconds=\"{after_ms}\"/><nop><action><exec play_pcap_audio=\"{DIGITS}/dtmf_2833_{file}.pcap\"/></action></nop>"
        )
    })
}

/// Streams from a port of each call's own, which its offer or answer names. (Captures are always played from the common one.)
fn each_a_port(scenario: &str) -> String {
    scenario.replace("[media_port]", "[rtpstream_audio_port]")
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
