//! The desk in Chromium: an agent takes a call, logs it, and finds it again; the server crashes under the agent's hands; a
//! supervisor's board.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::answered::{MENU, tenant};
use crate::server::{PASSWORD, Ports, Server, machine, program};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

/// Who has the agent's telephone answer.
#[derive(Clone, Copy)]
enum Answers {
    Desk,
    /// Its agent needs no desk.
    Itself,
}

/// The agent's telephone.
struct Phone(Child);

impl Phone {
    fn start(port: u16, by: Answers) -> Result<Self> {
        let listen = format!("127.0.0.1:{port}");
        let manual: &[&str] = match by {
            Answers::Desk => &["--manual"],
            Answers::Itself => &[],
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

/// A server, the agent 1001 with a telephone, and callers.
struct Bench {
    server: Server,
    web: PathBuf,
    _phone: Phone,
    caller: Option<Sipp>,
}

impl Bench {
    async fn start(block: u16, by: Answers) -> Result<Self> {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent-gateway/web");
        ensure!(
            web.join("dist/index.html").exists() && web.join("node_modules/playwright-core").exists(),
            "the web application is not built: run `npm ci && npm run build` in agent-gateway/web, then build again (make test does)"
        );
        let ports = Ports::block(block);
        let always_ready = matches!(by, Answers::Itself);
        let agent = format!(
            "[[agent]]\nname = \"1001\"\ndisplay = \"王芳\"\npassword_file = \"password\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"contact\", uri = \"sip:1001@127.0.0.1:{}\" }}\nalways_ready = {always_ready}\n",
            ports.free
        );
        // Time to look at wrap-up on a busy machine.
        let tenant = tenant(&agent).replace("wrapup_s = 1", "wrapup_s = 30");
        let server = Server::start(ports, &tenant, &[("main.toml", MENU), ("password", PASSWORD)]).await?;
        let phone = Phone::start(ports.free, by)?;
        Ok(Self { server, web, _phone: phone, caller: None })
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

    /// Walks a script as `user`, and does to the server what it asks for. `ZONGJI_SHOTS=DIR` has it take pictures.
    fn walk(&mut self, script: &str, user: &str) -> Result<()> {
        let mut command = Command::new("node");
        command.arg(format!("e2e/{script}")).current_dir(&self.web);
        if let Some(shots) = std::env::var_os("ZONGJI_SHOTS") {
            command.arg("screenshots").arg(shots);
        }
        let mut node = command
            .env("ZONGJI_URL", self.server.url(""))
            .env("ZONGJI_TENANT", "acme")
            .env("ZONGJI_USER", user)
            .env("ZONGJI_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node is not to be had")?;
        let (mut answers, lines) = (node.stdin.take().context("stdin")?, node.stdout.take().context("stdout")?);
        let mut text = String::new();
        for line in BufReader::new(lines).lines() {
            let line = line?;
            match self.asked(&line) {
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
        ensure!(status.success(), "{text}\n{}", self.server.log());
        Ok(())
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
