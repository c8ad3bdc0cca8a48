//! The desk in Chromium: an agent takes a call, logs it, and finds it again; the server crashes under the agent's hands; a
//! supervisor's board.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::answered::{MENU, tenant};
use crate::server::{PASSWORD, Ports, Server, machine, program};
use crate::sipp::{Caller, Sipp};
use crate::sound::{mono, share, tone};

/// Who has the agent's telephone answer.
#[derive(Clone, Copy)]
enum Answers {
    Desk,
    /// Its agent needs no desk.
    Itself,
    /// There is none: the agent talks by the browser.
    Browser,
}

/// The agent's telephone.
pub struct Phone(pub Child);

impl Phone {
    fn start(port: u16, by: Answers) -> Result<Self> {
        let listen = format!("127.0.0.1:{port}");
        let manual: &[&str] = match by {
            Answers::Desk => &["--manual"],
            Answers::Itself | Answers::Browser => &[],
        };
        let child = Command::new(program())
            .args(["phone", "--listen", &listen, "--tone", "1000"])
            .args(manual)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    /// A caller who says a tone, and keeps what is heard until hung up on.
    pub fn call(port: u16, to: u16, number: &str, heard: &Path) -> Result<Self> {
        let (listen, to) = (format!("127.0.0.1:{port}"), format!("sip:{number}@127.0.0.1:{to}"));
        let child = Command::new(program())
            .args(["phone", "--listen", &listen, "--call", &to, "--from", "13800138000", "--calls", "1"])
            .args(["--tone", &CALLER_HZ.to_string(), "--save"])
            .arg(heard)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_a_call_in_chromium_logs_it_and_plays_it() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(9, Answers::Desk).await?;
    bench.ring(1)?;
    tokio::task::block_in_place(|| bench.walk("desk.mjs", "1001"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_hardly_notices_that_the_server_was_killed() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(14, Answers::Desk).await?;
    bench.ring(2)?;
    tokio::task::block_in_place(|| bench.walk("crash.mjs", "1001"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_sees_queues_agents_calls_and_what_goes_wrong() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(15, Answers::Itself).await?;
    // Nothing can be recorded any more; of two callers one talks, and one waits.
    let store = bench.server.path("data/recordings");
    if store.exists() {
        std::fs::remove_dir_all(&store)?;
    }
    std::fs::write(&store, "no folder")?;
    bench.ring(2)?;
    tokio::task::block_in_place(|| bench.walk("board.mjs", "admin"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_the_centre_sees_its_callbacks_and_its_figures() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(26, Answers::Itself).await?;
    bench.ring(2)?;
    tokio::task::block_in_place(|| bench.walk("reports.mjs", "admin"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_takes_a_message_listens_and_finishes_it() -> Result<()> {
    let _machine = machine().await;
    let bench = &mut Bench::start(33, Answers::Desk).await?;
    bench.leave_messages()?;
    tokio::task::block_in_place(|| bench.walk("voicemails.mjs", "1001"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_asks_a_colleague_and_leaves_the_caller_to_them() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(25, Answers::Desk).await?;
    bench.ring(1)?;
    tokio::task::block_in_place(|| bench.walk("calls.mjs", "1001"))
}

/// The agent's voice.
pub const AGENT_HZ: u32 = 1_000;
/// The caller's.
const CALLER_HZ: u32 = 440;

/// An agent of the browser through a call's whole life: both hear each other's tone, whatever is done to page and server.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_talks_by_the_browser_through_reload_tabs_and_a_crash() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(18, Answers::Browser).await?;
    let capture = bench.server.path("microphone.wav");
    microphone(&capture)?;
    bench.capture = Some(capture);
    let (heard, to) = (bench.server.path("heard.wav"), bench.server.ports.sip);
    let mut caller = Phone::call(bench.server.ports.free + 30, to, "4001001001", &heard)?;
    tokio::task::block_in_place(|| bench.walk("audio.mjs", "1001"))?;
    let ended = caller.0.wait()?;
    ensure!(ended.success(), "the caller ended with {ended}");
    let heard = mono(&std::fs::read(&heard)?)?;
    let gaps = without_tone(&heard, f64::from(AGENT_HZ));
    println!("what the caller heard: {} s, without the agent for {gaps:?} ms", heard.len() / 8_000);
    // At most the reload, the mute of 1.5 s, the other tab and the crash; another microphone is none.
    ensure!(gaps.len() <= 4 && gaps.iter().all(|gap| *gap <= 4_000), "the agent was not heard for {gaps:?} ms");
    Ok(())
}

/// Two seconds of the agent's tone, as Chromium plays it again and again.
pub fn microphone(path: &Path) -> Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec)?;
    for n in 0..96_000 {
        let angle = f64::from(n) * f64::from(AGENT_HZ) * std::f64::consts::TAU / 48_000.0;
        file.write_sample((angle.sin() * 9_000.0) as i16)?;
    }
    Ok(file.finalize()?)
}

/// The stretches of at least 500 ms without the tone between its first and its last sound, in ms.
pub fn without_tone(lane: &[i16], hz: f64) -> Vec<usize> {
    const WINDOW: usize = 800;
    let has: Vec<bool> = lane.chunks_exact(WINDOW).map(|window| share(window, hz) > 0.5).collect();
    let (Some(first), Some(last)) = (has.iter().position(|has| *has), has.iter().rposition(|has| *has)) else {
        return vec![lane.len() / 8];
    };
    let runs = has[first..=last].chunk_by(|a, b| a == b).filter(|run| !run[0]);
    runs.map(|run| run.len() * 100).filter(|ms| *ms >= 500).collect()
}

/// The web application's folder, which is built.
pub fn web() -> Result<PathBuf> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent-gateway/web");
    ensure!(
        web.join("dist/index.html").exists() && web.join("node_modules/playwright-core").exists(),
        "the web application is not built: run `npm ci && npm run build` in agent-gateway/web, then build again (make test does)"
    );
    Ok(web)
}

/// Walks a script, and has done what its lines ask for. `ZONGJI_SHOTS=DIR` has it take pictures.
pub fn walk(
    web: &Path,
    script: &str,
    env: &[(&str, String)],
    mut asked: impl FnMut(&str) -> Option<Result<()>>,
) -> Result<()> {
    let mut command = Command::new("node");
    command.arg(format!("e2e/{script}")).current_dir(web).envs(env.iter().map(|(name, value)| (name, value)));
    if let Some(shots) = std::env::var_os("ZONGJI_SHOTS") {
        command.arg("screenshots").arg(shots);
    }
    let mut node = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("node is not to be had")?;
    let (mut answers, lines) = (node.stdin.take().context("stdin")?, node.stdout.take().context("stdout")?);
    let mut text = String::new();
    for line in BufReader::new(lines).lines() {
        let line = line?;
        match asked(&line) {
            None => {
                println!("{line}");
                text += &line;
                text.push('\n');
            }
            Some(Ok(())) => writeln!(answers, "done")?,
            Some(Err(error)) => {
                let _ = node.kill();
                let _ = node.wait();
                bail!("{line}: {error}\n{text}");
            }
        }
    }
    let status = node.wait()?;
    ensure!(status.success(), "{text}");
    Ok(())
}

/// A server, the agent 1001 with a telephone or a browser, a colleague whose telephone answers by itself, and callers.
struct Bench {
    server: Server,
    web: PathBuf,
    _phone: Option<Phone>,
    _colleague: Phone,
    caller: Option<Sipp>,
    /// What stands for the browser's microphone.
    capture: Option<PathBuf>,
}

impl Bench {
    async fn start(block: u16, by: Answers) -> Result<Self> {
        let web = web()?;
        let ports = Ports::block(block);
        let always_ready = matches!(by, Answers::Itself);
        let phone = match by {
            Answers::Desk | Answers::Itself => {
                format!("kind = \"contact\", uri = \"sip:1001@127.0.0.1:{}\"", ports.free)
            }
            Answers::Browser => "kind = \"webrtc\"".to_owned(),
        };
        let agent = format!(
            "[[agent]]\nname = \"1001\"\ndisplay = \"王芳\"\npassword_file = \"password\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ {phone} }}\nalways_ready = {always_ready}\n\
             [[agent]]\nname = \"1002\"\ndisplay = \"李强\"\nqueues = [\"general\"]\nphone = {{ kind = \"contact\", uri = \"sip:1002@127.0.0.1:{}\" }}\nalways_ready = true\n",
            ports.free + 1
        );
        // Time to look at wrap-up on a busy machine.
        let tenant = tenant(&agent).replace("wrapup_s = 1", "wrapup_s = 30");
        let tenant = tenant.replacen("[tenant]\n", "[tenant]\noutbound = { prefixes = [\"+86\"] }\n", 1);
        let tenant = tenant.replace(
            "name = \"rescue\"",
            "name = \"rescue\"\noverflow = { no_staff = true, to = { voicemail = true } }",
        ) + "[[number]]\ndid = \"4001001002\"\ntrunk = \"carrier\"\nroute = { queue = \"rescue\" }\n";
        let server = Server::start(ports, &tenant, &[("main.toml", MENU), ("password", PASSWORD)]).await?;
        let phone = match by {
            Answers::Desk | Answers::Itself => Some(Phone::start(ports.free, by)?),
            Answers::Browser => None,
        };
        let colleague = Phone::start(ports.free + 1, Answers::Itself)?;
        Ok(Self { server, web, _phone: phone, _colleague: colleague, caller: None, capture: None })
    }

    /// So many call, and stay until they are hung up on.
    fn ring(&mut self, calls: u32) -> Result<()> {
        let (dir, ports) = (self.server.dir.path(), self.server.ports);
        let tone = tone(dir, 440)?;
        let caller = Caller {
            did: "4001001001",
            number: "13800138000",
            digit: None,
            hangup_ms: 600_000,
            calls,
            rate: 1,
            tone: &tone,
            tcp: false,
        };
        self.caller = Some(Sipp::caller(dir, "caller", ports.free + 20, ports.sip, &caller)?);
        Ok(())
    }

    /// Two say a tone to `rescue`, in which nobody is, and hang up.
    fn leave_messages(&self) -> Result<()> {
        let (dir, ports) = (self.server.dir.path(), self.server.ports);
        for number in ["13800138000", "01062781234"] {
            // The prompt and the tone take nine seconds.
            let caller = Caller {
                did: "4001001002",
                number,
                digit: None,
                hangup_ms: 14_000,
                calls: 1,
                rate: 1,
                tone: &tone(dir, 440)?,
                tcp: false,
            };
            let mut sipp = Sipp::caller(dir, number, ports.free + 20, ports.sip, &caller)?;
            tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(40)))?;
        }
        Ok(())
    }

    /// Walks a script as `user`, and does to the server what it asks for.
    fn walk(&mut self, script: &str, user: &str) -> Result<()> {
        let mut env = vec![
            ("ZONGJI_URL", self.server.url("")),
            ("ZONGJI_TENANT", "acme".to_owned()),
            ("ZONGJI_USER", user.to_owned()),
            ("ZONGJI_PASSWORD", PASSWORD.to_owned()),
        ];
        env.extend(self.capture.as_ref().map(|capture| ("ZONGJI_CAPTURE", capture.display().to_string())));
        let web = self.web.clone();
        walk(&web, script, &env, |line| self.asked(line)).with_context(|| self.server.log())
    }

    /// What the script asks for, where the line is no check of its.
    fn asked(&mut self, line: &str) -> Option<Result<()>> {
        match line {
            "kill" => Some(self.server.kill()),
            "start" => Some(self.server.start_again()),
            _ => None,
        }
    }
}
