//! baresip calls with SRTP and nothing else, keys by SDES; the agent's phone speaks plain RTP. A crash in the middle.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::answered::{MENU, contact_agent, tenant, the_call};
use crate::registered::Baresip;
use crate::server::{Ports, Server, machine, program};
use crate::sound::{Recording, gaps_of, heard_but_for};

const CALLER_HZ: u32 = 600;
const AGENT_HZ: u32 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_srtp_is_heard_and_hears_before_and_after_a_crash() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(19);
    let agent = contact_agent("1001", ports.free, "");
    let mut server = Server::start(ports, &tenant(&agent), &[("main.toml", MENU)]).await?;
    let mut phone = Command::new(program())
        .args(["phone", "--listen", &format!("127.0.0.1:{}", ports.free), "--tone", &AGENT_HZ.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let account = "<sip:13800138000@127.0.0.1>;regint=0;mediaenc=srtp-mand;audio_codecs=PCMA";
    let dial = format!("/dial sip:4001001001@127.0.0.1:{}", ports.sip);
    let caller = Baresip::start_as(server.dir.path(), ports.free + 20, account, CALLER_HZ, &["-e", &dial])?;
    let talks = |live: &serde_json::Value| live["calls"][0]["state"] == "talking";
    server.until("/api/v1/live", Duration::from_secs(10), talks).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.kill_and_start()?;
    server.wait_ready().await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let pid = caller.0.id().to_string();
    ensure!(Command::new("kill").args(["-INT", &pid]).status()?.success(), "baresip can not be ended");
    let call = the_call(&server, Duration::from_secs(10)).await?;
    let _ = phone.kill();
    let _ = phone.wait();
    ensure!(call["outcome"] == "answered" && call["agent"] == "1001", "{call:#}");
    let id = call["id"].as_str().context("an id")?;
    let path = format!("/api/v1/calls/{id}");
    let call = server.until(&path, Duration::from_secs(3), |call| call["recording"]["state"] == "sealed").await?;
    let recording = Recording::read(&server.get_bytes(&format!("{path}/recording")).await?)?;
    let gaps = gaps_of(&call["recording"])?;
    heard_but_for(&recording, [f64::from(CALLER_HZ), f64::from(AGENT_HZ)], &gaps, 400)?;
    // What the caller's telephone kept of it.
    let kept = std::fs::read_dir(server.path("baresip"))?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    let heard = kept.iter().find(|file| file.to_string_lossy().ends_with("-dec.wav"));
    let heard = crate::sound::mono(&std::fs::read(heard.with_context(|| format!("what was heard: {kept:?}"))?)?)?;
    let with_tone = heard.chunks_exact(800).filter(|window| crate::sound::share(window, f64::from(AGENT_HZ)) > 0.5);
    ensure!(with_tone.count() >= 60, "the agent is heard for 6 of 8 seconds");
    Ok(())
}
