//! A caller presses a key, hangs up, and is called back through the carrier when an agent is there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::answered::{check_recording, contact_agent, the_call};
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

/// One queue in which key 1 asks for a callback; calls go out to the carrier's own port.
fn tenant(carrier: u16, agents: &str) -> String {
    format!(
        r#"[tenant]
id = "acme"
name = "Acme Diesel"
outbound = {{ prefixes = ["+86"], deny = ["+8610"] }}

[[trunk]]
name = "carrier"
hosts = ["127.0.0.1:{carrier}", "127.0.0.1"]

[[number]]
did = "4001001000"
trunk = "carrier"
route = {{ queue = "repair" }}

[[queue]]
name = "repair"
record = true
wrapup_s = 1
keys = {{ 1 = {{ callback = true }} }}
callback = {{ dial_timeout_s = 20, attempts = 3, retry_after_s = 5 }}

{agents}
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_callback_is_called_back_and_recorded() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(12);
    let carrier = ports.free + 30;
    let server = Server::start(ports, &tenant(carrier, ""), &[]).await?;
    let dir = server.dir.path();
    let caller = Caller {
        did: "4001001000",
        number: "13800138000",
        digit: Some(('1', 2_000)),
        hangup_ms: 0,
        calls: 1,
        rate: 1,
        tone: &tone(dir, 440)?,
        tcp: false,
    };
    let mut sipp = Sipp::waiters(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(40)))?;
    let asked = the_call(&server, Duration::from_secs(2)).await?;
    ensure!(asked["outcome"] == "callback" && asked["direction"] == "inbound", "{asked:#}");
    let waits = |list: &serde_json::Value| list["items"][0]["state"] == "waiting";
    let list = server.until("/api/v1/callbacks", Duration::from_secs(2), waits).await?;
    let callback = &list["items"][0];
    ensure!(callback["number"] == "+8613800138000" && callback["request_call"] == asked["id"], "{list:#}");

    // Now there is somebody to call back, and somebody who answers: a second later, 5 seconds long.
    let _phone = Sipp::phone(dir, "phone", ports.free, 300, &tone(dir, 1_000)?, false)?;
    let _customer = Sipp::short_phone(dir, "customer", carrier, 5_000, &tone(dir, 440)?)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::write(dir.join("tenant.toml"), tenant(carrier, &contact_agent("1001", ports.free, "")))?;
    server.run(&["apply", "tenant.toml"])?;
    let calls = server
        .until("/api/v1/calls", Duration::from_secs(20), |list| list["items"].as_array().is_some_and(|l| l.len() == 2))
        .await?;
    let call = calls["items"].as_array().context("a list")?.iter().find(|call| call["direction"] == "outbound");
    let call = call.context("an outbound call")?;
    ensure!(call["outcome"] == "answered" && call["agent"] == "1001" && call["queue"] == "repair", "{call:#}");
    ensure!(call["from"] == "4001001000" && call["to"] == "+8613800138000", "{call:#}");
    check_recording(&server, call).await?;
    let done = |list: &serde_json::Value| list["items"][0]["state"] == "done";
    let list = server.until("/api/v1/callbacks", Duration::from_secs(2), done).await?;
    let callback = &list["items"][0];
    ensure!(callback["attempts"] == 1 && callback["call_id"] == call["id"], "{list:#}");
    server.until_idle().await?;
    Ok(())
}
