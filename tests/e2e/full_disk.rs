//! The recordings' disk is full: calls go on, everyone who should know does, and what was recorded is kept.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answered::{MENU, contact_agent, tenant};
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::{Recording, tone};

/// A file system of 8 MB over a folder; `None` where this user may not mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(folder);
        mount.status().is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Room that the recordings have beside what lies there already: eight seconds of two calls.
const ROOM_BYTES: usize = 512 * 1024;

/// Two agents at most talk at once, for so long.
fn callers(server: &Server, name: &str, calls: u32, talk_ms: u32) -> Result<Sipp> {
    let dir = server.dir.path();
    let (ports, tone) = (server.ports, tone(dir, 440)?);
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: talk_ms,
        calls,
        rate: 2,
        tone: &tone,
        tcp: false,
    };
    Sipp::caller(dir, name, ports.free + 20, ports.sip, &caller)
}

/// The newest recordings in history, once there are so many and none is still written.
async fn recordings(server: &Server, count: usize) -> Result<Vec<Value>> {
    let done = |call: &Value| !matches!(call["recording"]["state"].as_str(), None | Some("recording"));
    let is_done = |list: &Value| list["items"].as_array().is_some_and(|i| i.len() == count && i.iter().all(done));
    let list = server.until("/api/v1/calls", Duration::from_secs(10), is_done).await?;
    Ok(list["items"].as_array().context("items")?.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_recordings_and_no_call() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(13);
    let agents = contact_agent("1001", ports.free, "") + &contact_agent("1002", ports.free + 5, "");
    let server = Server::start(ports, &tenant(&agents), &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let store = dir.join("data/recordings");
    let Some(_disk) = SmallDisk::over(&store) else {
        println!("left out: mounting a small disk needs root");
        return Ok(());
    };
    let tone = tone(dir, 1_000)?;
    let _phones = [
        Sipp::phone(dir, "phone1", ports.free, 100, &tone, false)?,
        Sipp::phone(dir, "phone2", ports.free + 5, 100, &tone, false)?,
    ];
    tokio::time::sleep(Duration::from_millis(300)).await;
    let filler = store.join("filler");
    std::fs::write(&filler, vec![0; 8 * 1024 * 1024 - ROOM_BYTES])?;

    // One call that is over before the disk is full.
    tokio::task::block_in_place(|| callers(&server, "before", 1, 2_000)?.finish(Duration::from_secs(20)))?;
    let before = recordings(&server, 1).await?;
    ensure!(before[0]["recording"]["state"] == "sealed", "{before:#?}");
    server.until_idle().await?;

    let mut talking = callers(&server, "meanwhile", 2, 16_000)?;
    let told = |live: &Value| live["alarms"].as_array().is_some_and(|alarms| !alarms.is_empty());
    let live = server.until("/api/v1/live", Duration::from_secs(15), told).await?;
    ensure!(live["alarms"][0]["code"] == "recording_failed", "{live:#}");
    let message = live["alarms"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("disk is full") && message.contains("make room"), "what to do: {message}");
    ensure!(live["calls"].as_array().is_some_and(|calls| calls.len() == 2), "both calls go on: {live:#}");
    let packets = server.metric("zongji_rtp_packets_total", "").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Two calls of two legs, 50 packets a second each, in and out.
    let packets = server.metric("zongji_rtp_packets_total", "").await? - packets;
    ensure!(packets > 600.0, "only {packets} packets in 2 s");
    ensure!(server.metric("zongji_recording_errors_total", "disk_full").await? >= 1.0, "{}", server.metrics().await?);
    tokio::task::block_in_place(|| talking.finish(Duration::from_secs(30)))?;

    let calls = recordings(&server, 3).await?;
    for call in &calls[..2] {
        let recording = &call["recording"];
        ensure!(call["outcome"] == "answered" && recording["state"] == "incomplete", "{call:#}");
        ensure!(recording["reason"].as_str().is_some_and(|why| why.contains("disk is full")), "{recording}");
        let path = format!("/api/v1/calls/{}", call["id"].as_str().context("id")?);
        let sound = Recording::read(&server.get_bytes(&format!("{path}/recording")).await?)?;
        ensure!(recording["duration_ms"] == sound.ms() && sound.ms() > 1_000, "{recording}: {} ms", sound.ms());
        ensure!(call["talk_ms"].as_u64().is_some_and(|talked| talked > sound.ms() + 1_000), "{call:#}");
        // There was no room for the waveform: it is made when it is asked for.
        ensure!(server.get(&format!("{path}/peaks")).await?["duration_ms"] == sound.ms(), "{path}/peaks");
    }
    let figures: Value = serde_json::from_str(&server.run(&["recording", "verify", "--json"])?)?;
    ensure!(figures["intact"] == 3 && figures["incomplete"] == 2 && figures["unsealed"] == 0, "{figures:#}");

    // There is room again: nothing need be started anew.
    std::fs::remove_file(&filler)?;
    server.until_idle().await?;
    tokio::task::block_in_place(|| callers(&server, "after", 1, 2_000)?.finish(Duration::from_secs(20)))?;
    let after = recordings(&server, 4).await?;
    ensure!(after[0]["recording"]["state"] == "sealed", "{after:#?}");
    server.until_idle().await?;
    Ok(())
}
