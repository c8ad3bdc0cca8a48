//! The desk in Chromium: an agent takes a call, logs it, and finds it again.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::answered::{MENU, tenant};
use crate::server::{PASSWORD, Ports, Server, machine, program};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

/// The agent's telephone: answers when the desk says so.
struct Phone(Child);

impl Phone {
    fn start(port: u16) -> Result<Self> {
        let listen = format!("127.0.0.1:{port}");
        let child = Command::new(program())
            .args(["phone", "--listen", &listen, "--manual", "--tone", "1000"])
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
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent-gateway/web");
    ensure!(
        web.join("dist/index.html").exists() && web.join("node_modules/playwright-core").exists(),
        "the web application is not built: run `npm ci && npm run build` in agent-gateway/web, then build again (make test does)"
    );
    let ports = Ports::block(9);
    let agent = format!(
        "[[agent]]\nname = \"1001\"\ndisplay = \"王芳\"\npassword_file = \"password\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"contact\", uri = \"sip:1001@127.0.0.1:{}\" }}\n",
        ports.free
    );
    let server = Server::start(ports, &tenant(&agent), &[("main.toml", MENU), ("password", PASSWORD)]).await?;
    let dir = server.dir.path();
    let _phone = Phone::start(ports.free)?;
    let tone = tone(dir, 440)?;
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 240_000,
        calls: 1,
        rate: 1,
        tone: &tone,
        tcp: false,
    };
    let _caller = Sipp::caller(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    let output = tokio::task::block_in_place(|| {
        Command::new("node")
            .arg("e2e/desk.mjs")
            .current_dir(&web)
            .env("ZONGJI_URL", server.url(""))
            .env("ZONGJI_TENANT", "acme")
            .env("ZONGJI_USER", "1001")
            .env("ZONGJI_PASSWORD", PASSWORD)
            .output()
            .context("node is not to be had")
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    ensure!(output.status.success(), "{text}\n{}\n{}", String::from_utf8_lossy(&output.stderr), server.log());
    Ok(())
}
