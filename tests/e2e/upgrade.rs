//! The running server becomes another program in the middle of a call.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::answered::{MENU, contact_agent, tenant, the_call};
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Place, Sipp};
use crate::sound::tone;

const TALK_MS: u32 = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_program_takes_over_in_the_middle_of_a_call() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(17);
    let server = Server::start(ports, &tenant(&contact_agent("1001", ports.free, "")), &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let _phone = Sipp::phone(dir, "phone", Place::from(ports.free), 300, &tone(dir, 1_000)?, false)?;
    let tone = tone(dir, 440)?;
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: TALK_MS,
        calls: 1,
        rate: 1,
        tone: &tone,
        tcp: false,
    };
    let mut sipp = Sipp::caller(dir, "caller", Place::from(ports.free + 20), ports.sip, &caller)?;
    server.until("/api/v1/live", Duration::from_secs(10), |live| live["calls"][0]["state"] == "talking").await?;

    // What is no program of ours changes nothing.
    let refused = server.run(&["upgrade", "--binary", "/bin/true"]).expect_err("refused").to_string();
    ensure!(refused.contains("/bin/true is not zongji") && refused.contains("goes on"), "{refused}");

    let done: Value = serde_json::from_str(&server.run(&["upgrade", "--json"])?)?;
    ensure!(done["calls"] == 1 && done["pid"] == server.pid(), "{done}");
    ensure!(server.metric("zongji_calls_taken_up", "").await? == 1.0, "one call was taken up");
    let live = server.get("/api/v1/live").await?;
    ensure!(live["calls"][0]["state"] == "talking", "{live:#}");

    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(20)))?;
    let call = the_call(&server, Duration::from_secs(5)).await?;
    ensure!(call["outcome"] == "answered" && call["agent"] == "1001", "{call:#}");
    ensure!(call["talk_ms"].as_u64().is_some_and(|ms| ms.abs_diff(u64::from(TALK_MS)) < 1_000), "{call:#}");
    server.until_idle().await?;
    Ok(())
}
