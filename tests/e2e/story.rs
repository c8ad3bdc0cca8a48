//! "Why here?": the story of one call, as the API tells it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answered::{MENU, contact_agent, tenant, the_call};
use crate::bank::Bank;
use crate::server::{Ports, Server, machine};
use crate::sipp::{Caller, Sipp};
use crate::sound::tone;

/// Nobody has repair 3. After a second 2 is enough, and 1001 does not answer; after three nothing is asked for, and 1002 does
/// not answer either; after six the queue passes the caller on, and 1003 takes the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_relaxed_twice_and_overflowed_tells_its_story() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(15);
    let agent = |name: &str, skills: &str, queue: &str| {
        contact_agent(name, ports.free, "")
            .replace("{ repair = 5 }", skills)
            .replace("queues = [\"repair\"]", &format!("queues = [\"{queue}\"]"))
    };
    let agents = agent("1001", "{ repair = 2 }", "repair")
        + &agent("1002", "{ english = 1 }", "repair")
        + &agent("1003", "{ english = 1 }", "general");
    let rules = "wrapup_s = 1\nring_timeout_s = 1\nrelax = [{ after_s = 1, requires = { repair = 2 } }, { after_s = 3, drop = [\"repair\"] }]\n\
                 overflow = { after_s = 6, to = { queue = \"general\" } }";
    let text = tenant(&agents).replace("record = true\nwrapup_s = 1", rules);
    let server = Server::start(ports, &text, &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let bank = Bank::start(ports.free, Duration::from_millis(500))?;
    bank.answer("1003");
    let caller = Caller {
        did: "4001001001",
        number: "13800138000",
        digit: None,
        hangup_ms: 0,
        calls: 1,
        rate: 1,
        tone: &tone(dir, 440)?,
        tcp: false,
    };
    let mut waiter = Sipp::waiters(dir, "caller", ports.free + 20, ports.sip, &caller)?;
    tokio::task::block_in_place(|| waiter.finish(Duration::from_secs(30)))?;
    let call = the_call(&server, Duration::from_secs(5)).await?;
    ensure!(call["outcome"] == "answered" && call["agent"] == "1003", "{call:#}");

    let path = format!("/api/v1/calls/{}/trace", call["id"].as_str().context("id")?);
    let is_whole = |trace: &Value| kinds(trace).last().is_some_and(|kind| kind == "ended");
    let trace = server.until(&path, Duration::from_secs(3), is_whole).await?;
    let happened = kinds(&trace);
    let mut rest = happened.iter();
    for expected in [
        "entered repair",
        "relaxed 1",
        "offered 1001",
        "offer_ended 1001",
        "relaxed 2",
        "offered 1002",
        "offer_ended 1002",
        "overflowed repair",
        "entered general",
        "offered 1003",
        "answered 1003",
        "ended",
    ] {
        ensure!(rest.any(|kind| kind == expected), "`{expected}` is not in its place: {happened:#?}");
    }
    let times: Vec<u64> = items(&trace).iter().filter_map(|item| item["at_ms"].as_u64()).collect();
    ensure!(times.len() == happened.len() && times.is_sorted(), "{times:?}");

    for (language, words) in [("en", ["relaxed", "1001", "general"]), ("zh-CN", ["放宽", "1001", "general"])] {
        let asked =
            server.http.get(server.url(&path)).header("cookie", &server.admin).header("accept-language", language);
        let told: Value = serde_json::from_str(&asked.send().await?.text().await?)?;
        let story: Vec<&str> = items(&told).iter().filter_map(|item| item["text"].as_str()).collect();
        println!("{}", story.join("\n"));
        ensure!(story.len() == happened.len(), "every entry has a sentence: {told:#}");
        for word in words {
            ensure!(story.iter().any(|line| line.contains(word)), "`{word}` is not told: {story:#?}");
        }
    }
    Ok(())
}

fn items(trace: &Value) -> &[Value] {
    trace["items"].as_array().map_or(&[], Vec::as_slice)
}

/// Each entry by its kind and what it is about.
fn kinds(trace: &Value) -> Vec<String> {
    let about = |item: &Value| {
        let key = match item["kind"].as_str() {
            Some("entered" | "overflowed") => "queue",
            Some("relaxed") => "step",
            _ => "agent",
        };
        item[key].as_str().map(str::to_owned).or_else(|| item[key].as_u64().map(|step| step.to_string()))
    };
    let kind = |item: &Value| {
        [item["kind"].as_str().map(str::to_owned), about(item)].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    items(trace).iter().map(kind).collect()
}
