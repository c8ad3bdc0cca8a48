//! A caller leaves a message; a desk has it as work, and hears it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::answered::the_call;
use crate::server::{PASSWORD, Ports, Server, machine};
use crate::sipp::Sipp;
use crate::sound::{Recording, power, share, tone};

/// A queue's `silence_s` where it says none.
const SILENCE_MS: u64 = 5_000;

/// One queue, whose agent is not at their desk.
fn tenant(phone: u16) -> String {
    format!(
        r#"[tenant]
id = "acme"
name = "Acme Diesel"

[[trunk]]
name = "carrier"
hosts = ["127.0.0.1"]

[[number]]
did = "4001001000"
trunk = "carrier"
route = {{ queue = "repair" }}

[[queue]]
name = "repair"
overflow = {{ no_staff = true, to = {{ voicemail = true }} }}

[[agent]]
name = "1001"
password_file = "password"
queues = ["repair"]
phone = {{ kind = "contact", uri = "sip:1001@127.0.0.1:{phone}" }}
"#
    )
}

async fn change(server: &Server, id: &str, patch: Value) -> Result<Value> {
    let path = server.url(&format!("/api/v1/voicemails/{id}"));
    let answer = server.http.patch(path).header("cookie", &server.admin).json(&patch).send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "{patch}: {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_the_desks_work_and_has_the_callers_voice() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(32);
    let mut server = Server::start(ports, &tenant(ports.free), &[("password", PASSWORD)]).await?;
    let dir = server.dir.path();
    // The prompt and the beep take 9 of the 20 seconds for which the caller says their tone; silence then ends the message.
    let waiter = include_str!("sipp/waiter.xml").replace("TONE,-1,8", "TONE,2,8");
    let to = format!("127.0.0.1:{}", ports.sip);
    let args = [to.as_str(), "-s", "4001001000", "-key", "caller", "13800138000", "-m", "1"].map(str::to_owned);
    let mut sipp = Sipp::spawn(dir, "caller", ports.free + 20, &waiter, &tone(dir, 440)?, &args)?;
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(60)))?;
    let call = the_call(&server, Duration::from_secs(2)).await?;
    ensure!(call["outcome"] == "voicemail" && call["cause"] == "no_staff" && call["agent"].is_null(), "{call:#}");
    let id = call["id"].as_str().context("id")?;
    let sealed = |call: &Value| call["recording"]["state"] == "sealed";
    server.until(&format!("/api/v1/calls/{id}"), Duration::from_secs(3), sealed).await?;

    server.sign_in("acme", "1001").await?;
    let waiting = "/api/v1/voicemails?state=waiting&queue=repair";
    let one = |list: &Value| list["items"].as_array().is_some_and(|items| items.len() == 1);
    let list = server.until(waiting, Duration::from_secs(3), one).await?;
    let message = &list["items"][0];
    ensure!(message["number"] == "+8613800138000" && message["id"] == call["id"], "{list:#}");
    ensure!(message["from_ms"] == 0 && message["version"] == 1, "{list:#}");
    let length_ms = message["length_ms"].as_u64().context("length_ms")?;
    ensure!((8_000..13_000).contains(&length_ms), "{list:#}");

    let taken = change(&server, id, json!({"version": 1, "state": "taken"})).await?;
    ensure!(taken["agent"] == "1001" && taken["state"] == "taken", "{taken:#}");
    let recording = Recording::read(&server.get_bytes(&format!("/api/v1/calls/{id}/recording")).await?)?;
    let silence_ms = recording.ms().saturating_sub(length_ms);
    ensure!(silence_ms.abs_diff(SILENCE_MS) <= 100, "{silence_ms} ms of silence after {length_ms} ms");
    let said = &recording.left[..8 * length_ms as usize];
    let heard = share(said, 440.0);
    ensure!(power(said) > 1e6 && heard > 0.95, "{heard} of the left is the caller's tone");
    ensure!(power(&recording.right) == 0.0, "nobody is on the right: {}", power(&recording.right));

    let done = change(&server, id, json!({"version": 2, "state": "done", "note": "rang them"})).await?;
    ensure!(done["state"] == "done" && done["note"] == "rang them", "{done:#}");
    ensure!(!one(&server.get(waiting).await?), "done, and still waiting");
    server.until_idle().await?;
    Ok(())
}
