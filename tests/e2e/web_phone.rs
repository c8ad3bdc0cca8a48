//! A SIP phone in a page of Chromium (JsSIP), by websocket: it calls, is rung as an agent's phone, and outlives a crash.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answered::{MENU, tenant};
use crate::browser::{AGENT_HZ, Phone, microphone, walk, web, without_tone};
use crate::server::{PASSWORD, Ports, Server, machine, program};
use crate::sound::{mono, share};

const SECRET: &str = "s3cret-of-1001";
/// What the colleague says, whom the page calls.
const COLLEAGUE_HZ: u32 = 700;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_sip_phone_by_websocket_in_tls_calls_is_rung_holds_and_outlives_a_crash() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(30).await?;
    let socket = format!("wss://127.0.0.1:{}", bench.server.ports.wss);
    let by_caller = bench.server.path("caller.wav");
    let caller = bench.walk(&socket, &by_caller, false)?;
    let ended = caller.context("nobody called")?.0.wait()?;
    ensure!(ended.success(), "the caller ended with {ended}");
    bench.colleague_heard()?;
    let heard = mono(&std::fs::read(&by_caller)?)?;
    let gaps = without_tone(&heard, f64::from(AGENT_HZ));
    println!("what the caller heard: {} s, without the page for {gaps:?} ms", heard.len() / 8_000);
    // The hold, and the crash until the page has found the server again.
    ensure!(
        !gaps.is_empty() && gaps.len() <= 3 && gaps.iter().all(|gap| *gap <= 8_000),
        "the page was not heard for {gaps:?} ms"
    );
    bench.until_over().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_network_lets_no_datagrams_through_talks_by_tcp() -> Result<()> {
    let _machine = machine().await;
    let mut bench = Bench::start(31).await?;
    let socket = format!("ws://127.0.0.1:{}", bench.server.ports.ws);
    let by_caller = bench.server.path("caller.wav");
    bench.walk(&socket, &by_caller, true)?;
    bench.colleague_heard()?;
    bench.until_over().await
}

/// A server, the page's agent 1001, and a colleague whose telephone answers by itself.
struct Bench {
    server: Server,
    _colleague: Phone,
}

impl Bench {
    async fn start(block: u16) -> Result<Self> {
        let ports = Ports::block(block);
        let agents = format!(
            "[[agent]]\nname = \"1001\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"sip\", secret_file = \"secret\" }}\nalways_ready = true\n\
             [[agent]]\nname = \"1002\"\nqueues = [\"general\"]\nphone = {{ kind = \"contact\", uri = \"sip:1002@127.0.0.1:{}\" }}\nalways_ready = true\n",
            ports.free
        );
        let server = Server::start(ports, &tenant(&agents), &[("main.toml", MENU), ("secret", SECRET)]).await?;
        microphone(&server.path("microphone.wav"))?;
        let listen = format!("127.0.0.1:{}", ports.free);
        let colleague = Command::new(program())
            .args(["phone", "--listen", &listen, "--tone", &COLLEAGUE_HZ.to_string(), "--save"])
            .arg(server.path("colleague.wav"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { server, _colleague: Phone(colleague) })
    }

    /// Walks the page; who called it, where the walk asked for a caller.
    fn walk(&mut self, socket: &str, by_caller: &Path, no_udp: bool) -> Result<Option<Phone>> {
        let env = [
            ("ZONGJI_TENANT", "acme".to_owned()),
            ("ZONGJI_USER", "1001".to_owned()),
            ("ZONGJI_PASSWORD", PASSWORD.to_owned()),
            ("ZONGJI_SOCKET", socket.to_owned()),
            ("ZONGJI_SECRET", SECRET.to_owned()),
            ("ZONGJI_CAPTURE", self.server.path("microphone.wav").display().to_string()),
            ("ZONGJI_NO_UDP", u8::from(no_udp).to_string()),
        ];
        let (web, ports, mut caller) = (web()?, self.server.ports, None);
        let asked = |line: &str| match line {
            "ring" => Some(Phone::call(ports.free + 30, ports.sip, "4001001001", by_caller).map(|phone| {
                caller = Some(phone);
            })),
            "kill" => Some(self.server.kill()),
            "start" => Some(self.server.start_again()),
            _ => None,
        };
        let walked = tokio::task::block_in_place(|| walk(&web, "phone.mjs", &env, asked));
        walked.with_context(|| self.server.log())?;
        Ok(caller)
    }

    /// No call is left. The colleague may still write theirs up.
    async fn until_over(&self) -> Result<()> {
        let is_over = |live: &Value| live["calls"].as_array().is_some_and(Vec::is_empty);
        self.server.until("/api/v1/live", Duration::from_secs(10), is_over).await?;
        Ok(())
    }

    fn colleague_heard(&self) -> Result<()> {
        let heard = mono(&std::fs::read(self.server.path("colleague.wav"))?)?;
        let pure = share(&heard[heard.len() / 2..], f64::from(AGENT_HZ));
        ensure!(pure > 0.9, "the page's tone is {pure} of what the colleague heard");
        Ok(())
    }
}
