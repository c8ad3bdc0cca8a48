//! baresip calls with G.722 and with Opus and nothing else; the agent's phone speaks G.711. Both are heard and recorded.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answered::{MENU, contact_agent, tenant, the_call};
use crate::registered::Baresip;
use crate::server::{Ports, Server, machine, program};
use crate::sound::{Recording, heard_but_for};

const CALLER_HZ: u32 = 600;
const AGENT_HZ: u32 = 1_000;

async fn is_heard_both_ways(ports: Ports, codec: &str, told: &str) -> Result<()> {
    let agent = contact_agent("1001", ports.free, "");
    let server = Server::start(ports, &tenant(&agent), &[("main.toml", MENU)]).await?;
    let mut phone = Command::new(program())
        .args(["phone", "--listen", &format!("127.0.0.1:{}", ports.free), "--tone", &AGENT_HZ.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let account = format!("<sip:13800138000@127.0.0.1>;regint=0;audio_codecs={codec}");
    let dial = format!("/dial sip:4001001001@127.0.0.1:{}", ports.sip);
    let caller = Baresip::start_as(server.dir.path(), ports.free + 20, &account, CALLER_HZ, &["-e", &dial])?;
    let talks = |live: &Value| live["calls"][0]["state"] == "talking";
    server.until("/api/v1/live", Duration::from_secs(10), talks).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let pid = caller.0.id().to_string();
    ensure!(Command::new("kill").args(["-INT", &pid]).status()?.success(), "baresip can not be ended");
    let call = the_call(&server, Duration::from_secs(10)).await?;
    let _ = phone.kill();
    let _ = phone.wait();
    let path = format!("/api/v1/calls/{}", call["id"].as_str().context("an id")?);
    let call = server.until(&path, Duration::from_secs(3), |call| call["recording"]["state"] == "sealed").await?;
    let codec_of = |role: &str| {
        let legs = call["legs"].as_array().into_iter().flatten();
        legs.filter(|leg| leg["role"] == role).map(|leg| leg["codec"].clone()).next().unwrap_or_default()
    };
    ensure!(codec_of("customer") == told && codec_of("agent") == "pcma", "{call:#}");
    let recording = Recording::read(&server.get_bytes(&format!("{path}/recording")).await?)?;
    heard_but_for(&recording, [f64::from(CALLER_HZ), f64::from(AGENT_HZ)], &[], 600)?;
    let heard = kept(&server.path("baresip"))?;
    let with_tone = heard.chunks_exact(800).filter(|window| crate::sound::share(window, f64::from(AGENT_HZ)) > 0.5);
    ensure!(with_tone.count() >= 35, "the agent is heard for 3.5 of 5 seconds");
    Ok(())
}

/// What the caller's telephone kept of what it heard, at 8,000 Hz: by the codec's own rate and channels.
fn kept(folder: &Path) -> Result<Vec<i16>> {
    let files = std::fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    let file = files.iter().find(|file| file.to_string_lossy().ends_with("-dec.wav"));
    let mut wav = hound::WavReader::open(file.with_context(|| format!("what was heard: {files:?}"))?)?;
    let spec = wav.spec();
    let step = spec.sample_rate as usize / 8_000 * usize::from(spec.channels);
    Ok(wav.samples::<i16>().step_by(step).collect::<Result<Vec<_>, _>>()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_g722_is_heard_and_hears() -> Result<()> {
    let _machine = machine().await;
    is_heard_both_ways(Ports::block(26), "G722/16000/1", "g722").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_opus_is_heard_and_hears() -> Result<()> {
    let _machine = machine().await;
    is_heard_both_ways(Ports::block(27), "opus/48000/2", "opus").await
}
