use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cti_media::prompt::{self, Prompt};
use cti_sip::Transport;

use super::{Answer, CALLS_MAX, CallPlan, CallScript, LINES_MAX, LineConfig, PhoneConfig, Register, Sound, Span};

/// Call, or wait for calls and answer them.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to listen for SIP; with --count, the first of so many ports
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How many phones, on consecutive ports and with consecutive users
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: usize,
    /// udp or tcp
    #[arg(long, value_parser = ["udp", "tcp"], default_value = "udp")]
    pub transport: String,
    /// Register this address, e.g. sip:1001@127.0.0.1:5060
    #[arg(long, value_name = "URI")]
    pub register: Option<String>,
    /// The user to sign in as; the user of --register without it
    #[arg(long)]
    pub user: Option<String>,
    /// The file with the user's secret
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Seconds that a registration lasts
    #[arg(long, value_name = "S", default_value_t = 300)]
    pub expires: u32,
    /// Call this address, e.g. sip:4001001000@127.0.0.1:5060; without it, wait for calls
    #[arg(long, value_name = "URI")]
    pub call: Option<String>,
    /// The number to call from
    #[arg(long, value_name = "NUMBER")]
    pub from: Option<String>,
    /// Give up where nobody has answered after so many seconds
    #[arg(long, value_name = "S")]
    pub patience: Option<f64>,
    /// Keys to press: 0-9 * # A-D, and `,` for a second's pause
    #[arg(long, value_name = "KEYS")]
    pub dtmf: Option<String>,
    /// Seconds from the answer to the first key
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub dtmf_after: f64,
    /// Milliseconds to ring before answering; two as 500-3000 draw between them
    #[arg(long, value_name = "MS", default_value = "0")]
    pub answer_after: String,
    /// Answer only when the caller asks for it (NOTIFY, Event: talk)
    #[arg(long, conflicts_with = "answer_after")]
    pub manual: bool,
    /// Refuse calls with this status
    #[arg(long, value_name = "STATUS", conflicts_with_all = ["answer_after", "manual"], value_parser = clap::value_parser!(u16).range(400..700))]
    pub reject: Option<u16>,
    /// Say a tone of so many Hz
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(50..3900))]
    pub tone: Option<u32>,
    /// Say a WAV file (8 kHz, mono, 16 bit) again and again
    #[arg(long, value_name = "FILE", conflicts_with = "tone")]
    pub play: Option<PathBuf>,
    /// Send no audio at all
    #[arg(long, conflicts_with_all = ["tone", "play"])]
    pub no_audio: bool,
    /// Save what is heard; the second call's file is F-2.wav
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Hang up so many seconds after the answer; two as 20-40 draw between them
    #[arg(long, value_name = "S")]
    pub hangup_after: Option<String>,
    /// How many calls to make, or to take before ending
    #[arg(long, value_name = "N")]
    pub calls: Option<u64>,
    /// New calls a second
    #[arg(long, value_name = "CPS", default_value_t = 10.0)]
    pub rate: f64,
    /// Calls at once: made in all (default: no limit), or taken by one phone (default: 1)
    #[arg(long, value_name = "N")]
    pub concurrent: Option<usize>,
    /// Print the figures, and each call as it ends, as JSON
    #[arg(long)]
    pub json: bool,
}

/// What the arguments come to.
pub(crate) struct Work {
    pub(crate) config: PhoneConfig,
    pub(crate) calls: Option<Load>,
    /// Waits for so many calls to end; for ever without it.
    pub(crate) take: Option<u64>,
    pub(crate) json: bool,
}

/// The calls to make.
pub(crate) struct Load {
    /// The plan of each call but its line.
    pub(crate) plan: CallPlan,
    pub(crate) calls: u64,
    pub(crate) every: Duration,
    pub(crate) concurrent: usize,
}

impl Args {
    /// Reads the files and checks the values.
    pub(crate) fn work(self) -> anyhow::Result<Work> {
        ensure!((1..=LINES_MAX).contains(&self.count), "--count is 1 to {LINES_MAX}");
        ensure!(self.rate > 0.0 && self.rate <= 10_000.0, "--rate is above 0 and at most 10000");
        let concurrent = self.concurrent.unwrap_or(if self.call.is_some() { CALLS_MAX } else { 1 });
        ensure!((1..=CALLS_MAX).contains(&concurrent), "--concurrent is 1 to {CALLS_MAX}");
        let transport = if self.transport == "tcp" { Transport::Tcp } else { Transport::Udp };
        let secret = self.secret_file.as_deref().map(read_secret).transpose()?;
        let script = CallScript {
            sound: self.sound()?,
            digits: self
                .dtmf
                .clone()
                .map(|keys| Ok((seconds(self.dtmf_after, "--dtmf-after")?, keys)))
                .transpose()
                .map_err(|error: anyhow::Error| error)?,
            hangup_after: match &self.hangup_after {
                Some(text) => Some(span(text, Duration::from_secs(1), "--hangup-after")?),
                None => None,
            },
            save: self.save.clone(),
        };
        let answer = match (self.reject, self.manual) {
            (Some(status), _) => Answer::Reject(status),
            (None, true) => Answer::Manual,
            (None, false) => Answer::After(span(&self.answer_after, Duration::from_millis(1), "--answer-after")?),
        };
        let register = self.register.as_deref().map(|uri| Address::read(uri, transport)).transpose()?;
        let user =
            self.user.clone().or_else(|| register.as_ref().map(|r| r.user.clone()).filter(|user| !user.is_empty()));
        if register.is_some() {
            ensure!(user.is_some(), "--register needs a user: --register sip:1001@{}, or --user", self.listen.ip());
            ensure!(secret.is_some(), "--register needs --secret-file");
        }
        let mut lines = Vec::with_capacity(self.count);
        for index in 0..self.count {
            let user = nth_user(user.as_deref().unwrap_or("phone"), index);
            lines.push(LineConfig {
                listen: nth_address(self.listen, index)?,
                transport,
                user: user.clone(),
                register: register.as_ref().zip(secret.as_ref()).map(|(address, secret)| Register {
                    registrar: address.registrar(),
                    domain: address.host_port.clone(),
                    user,
                    secret: secret.clone(),
                    expires_s: self.expires,
                }),
                answer: answer.clone(),
                script: script.clone(),
                incoming_max: concurrent,
            });
        }
        let calls = match &self.call {
            Some(uri) => Some(Load {
                plan: CallPlan {
                    line: 0,
                    to: Address::read(uri, transport)?.uri(),
                    from: self.from.clone(),
                    credentials: user.zip(secret),
                    ring_max: self.patience.map(|s| seconds(s, "--patience")).transpose()?,
                    script,
                },
                calls: self.calls.unwrap_or(1),
                every: Duration::from_secs_f64(1.0 / self.rate),
                concurrent,
            }),
            None => None,
        };
        let take = if calls.is_none() { self.calls } else { None };
        Ok(Work { config: PhoneConfig { lines }, calls, take, json: self.json })
    }

    fn sound(&self) -> anyhow::Result<Sound> {
        if let Some(hz) = self.tone {
            return Ok(Sound::tone(hz));
        }
        let Some(path) = &self.play else { return Ok(if self.no_audio { Sound::Nothing } else { Sound::Silence }) };
        let wav = std::fs::read(path).with_context(|| format!("{} can not be read", path.display()))?;
        let samples = prompt::linear_from_wav(&wav).with_context(|| path.display().to_string())?;
        Ok(Sound::Samples(Arc::new(Prompt::from_linear(&samples))))
    }
}

/// `sip:1001@127.0.0.1:5060` with the host's name replaced by its address.
struct Address {
    user: String,
    host_port: String,
    params: String,
}

impl Address {
    fn read(uri: &str, transport: Transport) -> anyhow::Result<Self> {
        const SIP_PORT: u16 = 5060;
        let Some(rest) = uri.strip_prefix("sip:") else { bail!("`{uri}` is no address: write sip:NUMBER@HOST:PORT") };
        let (rest, params) = rest.split_once(';').map_or((rest, ""), |(rest, params)| (rest, params));
        let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        let named = if host.parse::<IpAddr>().is_ok() || !host.contains(':') {
            format!("{host}:{SIP_PORT}")
        } else {
            host.to_owned()
        };
        let address = named
            .to_socket_addrs()
            .with_context(|| format!("the host of `{uri}` is not known"))?
            .next()
            .with_context(|| format!("the host of `{uri}` has no address"))?;
        let mut params = if params.is_empty() { String::new() } else { format!(";{params}") };
        if transport == Transport::Tcp && !params.contains("transport=") {
            params += ";transport=tcp";
        }
        Ok(Self { user: user.to_owned(), host_port: address.to_string(), params })
    }

    fn uri(&self) -> String {
        let at = if self.user.is_empty() { String::new() } else { format!("{}@", self.user) };
        format!("sip:{at}{}{}", self.host_port, self.params)
    }

    fn registrar(&self) -> String {
        format!("sip:{}{}", self.host_port, self.params)
    }
}

fn read_secret(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can not be read", path.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    ensure!(!secret.is_empty(), "{} is empty: write the secret into it", path.display());
    Ok(secret.to_owned())
}

fn seconds(number: f64, name: &str) -> anyhow::Result<Duration> {
    ensure!((0.0..=1e7).contains(&number), "{name} is a time in seconds");
    Ok(Duration::from_secs_f64(number))
}

fn span(text: &str, unit: Duration, name: &str) -> anyhow::Result<Span> {
    Span::parse(text, unit).map_err(|error| anyhow::anyhow!("{name}: {error}"))
}

/// `1001`, `1002`, ... of a number; `phone`, `phone-2`, ... of a word.
fn nth_user(user: &str, index: usize) -> String {
    match (index, user.parse::<u64>()) {
        (0, _) => user.to_owned(),
        (_, Ok(number)) => format!("{:0width$}", number + index as u64, width = user.len()),
        (_, Err(_)) => format!("{user}-{}", index + 1),
    }
}

fn nth_address(first: SocketAddr, index: usize) -> anyhow::Result<SocketAddr> {
    if first.port() == 0 {
        return Ok(first);
    }
    let port = u16::try_from(usize::from(first.port()) + index).context("--count goes beyond the last port, 65535")?;
    Ok(SocketAddr::new(first.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn work(line: &str) -> anyhow::Result<Work> {
        Program::try_parse_from(std::iter::once("phone").chain(line.split_whitespace()))?.args.work()
    }

    #[test]
    fn many_phones_have_consecutive_ports_and_users() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "hush\n").expect("written");
        let line = format!(
            "--listen 127.0.0.1:16001 --count 3 --register sip:1001@localhost:5060 --secret-file {}",
            secret.display()
        );
        let work = work(&line).expect("understood");
        let lines: Vec<_> = work
            .config
            .lines
            .iter()
            .map(|line| {
                let register = line.register.as_ref().expect("registers");
                assert_eq!((register.secret.as_str(), &register.user), ("hush", &line.user));
                assert_eq!(register.registrar, format!("sip:{}", register.domain));
                (line.listen.port(), line.user.clone())
            })
            .collect();
        let expect = [(16_001, "1001"), (16_002, "1002"), (16_003, "1003")].map(|(port, user)| (port, user.to_owned()));
        assert_eq!(lines, expect);
        assert!(work.calls.is_none());
    }

    #[test]
    fn a_call_has_its_plan() {
        let work = work("--call sip:4001001000@127.0.0.1 --transport tcp --from 13800138000 --dtmf 2 --dtmf-after 1.5 --tone 440 --hangup-after 2-3 --calls 20 --rate 50 --concurrent 5").expect("understood");
        let load = work.calls.expect("calls");
        assert_eq!(load.plan.to, "sip:4001001000@127.0.0.1:5060;transport=tcp");
        assert_eq!((load.calls, load.every, load.concurrent), (20, Duration::from_millis(20), 5));
        assert_eq!(load.plan.script.digits, Some((Duration::from_millis(1_500), "2".into())));
        assert!(matches!(load.plan.script.sound, Sound::Samples(_)));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let check = |line: &str, expect: &str| {
            let error = work(line).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(expect), "{line}: {error}");
        };
        check("--call 4001001000", "write sip:NUMBER@HOST:PORT");
        check("--register sip:1001@127.0.0.1", "--register needs --secret-file");
        check("--count 0", "--count is 1 to");
        check("--listen 127.0.0.1:65535 --count 2", "beyond the last port");
        check("--hangup-after soon", "--hangup-after: `soon` is no time");
        check("--rate 0", "--rate is above 0");
        check("--play /nowhere.wav", "/nowhere.wav can not be read");
        check("--tone 10", "10 is not in 50..3900");
        check("--manual --answer-after 5", "cannot be used with");
    }
}
