//! The main job: a caller, a menu, a queue, a phone, a recording, a row in history.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::{Recording, power, share, tone};

/// One menu (digit 2 is `repair`), one queue, and phones as given.
pub fn tenant(agents: &str) -> String {
    format!(
        r#"[tenant]
id = "acme"
name = "Acme Diesel"

[[trunk]]
name = "carrier"
hosts = ["127.0.0.1"]

[[ivr]]
name = "main"
file = "main.toml"

[[hours]]
name = "office"
open = ["Mon-Sun 00:00-24:00"]

[[number]]
did = "4001001000"
trunk = "carrier"
route = {{ ivr = "main" }}

[[number]]
did = "4001001001"
trunk = "carrier"
route = {{ queue = "repair" }}

[[queue]]
name = "repair"
record = true
wrapup_s = 1
requires = {{ repair = 3 }}

[[queue]]
name = "general"

[[queue]]
name = "rescue"

{agents}
"#
    )
}

pub const MENU: &str = include_str!("../../ivr-scripts/scripts/main.toml");

pub fn contact_agent(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[agent]]\nname = \"{name}\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"contact\", uri = \"sip:{name}@127.0.0.1:{port}{more}\" }}\nalways_ready = true\n"
    )
}

/// The one call in history, once it has ended.
pub async fn the_call(server: &Server, time: Duration) -> Result<Value> {
    let list = server
        .until("/api/v1/calls", time, |list| list["items"].as_array().is_some_and(|items| !items.is_empty()))
        .await?;
    let items = list["items"].as_array().context("items")?;
    ensure!(items.len() == 1, "one call, not {}: {list:#}", items.len());
    Ok(items[0].clone())
}

/// Asserts that the recording has the caller (440 Hz) only on the left and the agent (1000 Hz) only on the right.
pub async fn check_recording(server: &Server, call: &Value) -> Result<()> {
    let id = call["id"].as_str().context("id")?;
    let path = format!("/api/v1/calls/{id}");
    let call = server.until(&path, Duration::from_secs(3), |call| call["recording"]["state"] == "sealed").await?;
    let recording = Recording::read(&server.get_bytes(&format!("{path}/recording")).await?)?;
    let talk_ms = call["talk_ms"].as_u64().context("talk_ms")?;
    ensure!(recording.ms().abs_diff(talk_ms) <= 60, "{} ms recorded, {talk_ms} ms talked", recording.ms());
    let (left, right) = (&recording.left, &recording.right);
    ensure!(power(left) > 1e6 && power(right) > 1e6, "powers {} and {}", power(left), power(right));
    let shares = (share(left, 440.0), share(left, 1_000.0), share(right, 1_000.0), share(right, 440.0));
    ensure!(
        shares.0 > 0.95 && shares.1 < 0.001 && shares.2 > 0.95 && shares.3 < 0.001,
        "440 and 1000 Hz on the left, 1000 and 440 on the right: {shares:?}"
    );
    let peaks = server.get(&format!("{path}/peaks")).await?;
    ensure!(peaks.is_object(), "peaks: {peaks}");
    Ok(())
}

async fn a_call_goes_through(ports: Ports, tcp: bool) -> Result<()> {
    let more = if tcp { ";transport=tcp" } else { "" };
    let server =
        Server::start(ports, &tenant(&contact_agent("1001", ports.free, more)), &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let _phone = Sipp::phone(dir, "phone", ports.free, 300, &tone(dir, 1_000)?, tcp)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let caller = Caller {
        did: "4001001000",
        number: "13800138000",
        digit: Some(('2', 1_500)),
        hangup_ms: 12_000,
        calls: 1,
        rate: 1,
        tone: &tone(dir, 440)?,
        tcp,
    };
    let mut sipp = Sipp::caller(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(40)))?;
    let call = the_call(&server, Duration::from_secs(1)).await?;
    ensure!(call["outcome"] == "answered" && call["queue"] == "repair" && call["agent"] == "1001", "{call:#}");
    ensure!(call["ivr_path"].as_array().is_some_and(|path| path.len() >= 2), "its way through the menu: {call:#}");
    ensure!(call["from"] == "+8613800138000" && call["wait_ms"].as_u64().is_some_and(|ms| ms < 2_000), "{call:#}");
    ensure!(call["talk_ms"].as_u64().is_some_and(|ms| ms > 5_000), "{call:#}");
    check_recording(&server, &call).await?;
    server.until_idle().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_reaches_a_phone_through_the_menu_and_is_recorded() -> Result<()> {
    let _machine = machine().await;
    // As `zongji serve` listens without a configuration: on every address.
    a_call_goes_through(Ports { listen: "0.0.0.0", ..Ports::block(0) }, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_over_tcp() -> Result<()> {
    let _machine = machine().await;
    a_call_goes_through(Ports::block(1), true).await
}
