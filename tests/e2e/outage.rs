//! The records' database goes away in the middle of calls: no call fails, and history is whole afterwards.
//!
//! `ZONGJI_OUTAGE_S=60` is the long run; without it the database is away for 8 seconds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};
use zongji_tests::postgres;

use crate::answered::{MENU, contact_agent, tenant};
use crate::desk::Desk;
use crate::server::{PASSWORD, Ports, Server, machine};
use crate::sipp::{Caller, Place, Sipp};
use crate::sound::tone;

const CALLS_PER_S: u32 = 20;
/// Before the outage and after it calls come as well.
const BESIDE_S: u32 = 5;
const TALK_MS: u32 = 1_500;
const NUMBER: &str = "13800138000";
/// Each call keeps an agent for talk and wrap-up, 2.5 s.
const AGENTS: u32 = 80;

fn outage() -> Duration {
    let seconds = std::env::var("ZONGJI_OUTAGE_S").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_the_database_file_is_locked() -> Result<()> {
    let _machine = machine().await;
    calls_while_away(14, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_postgresql_is_stopped() -> Result<()> {
    let _machine = machine().await;
    let mut postgres = tokio::task::block_in_place(postgres::start);
    calls_while_away(15, Some(&mut postgres)).await
}

async fn calls_while_away(block: u16, mut postgres: Option<&mut postgres::Server>) -> Result<()> {
    let ports = Ports { rtp: 27_000, rtp_len: 1_000, ..Ports::block(block) };
    let agents = (0..AGENTS).map(|n| contact_agent(&(1_000 + n).to_string(), ports.free, "")).collect::<String>();
    let database = postgres.as_ref().map(|postgres| postgres.fresh_database());
    let tenant = tenant(&agents).replace("record = true", "record = false");
    let server = Server::start_on(ports, database.as_deref(), &tenant, &[("main.toml", MENU)]).await?;
    let dir = server.dir.path();
    let tone = tone(dir, 440)?;
    let _phones = Sipp::phone(dir, "phones", Place { sip: ports.free, media: 28_500 }, 0, &tone, false)?;
    let calls = CALLS_PER_S * (outage().as_secs() as u32 + 2 * BESIDE_S);
    let caller = Caller {
        did: "4001001001",
        number: NUMBER,
        digit: None,
        hangup_ms: TALK_MS,
        calls,
        rate: CALLS_PER_S,
        tone: &tone,
        tcp: false,
    };
    let place = Place { sip: ports.free + 1, media: 30_000 };
    let mut callers = Sipp::caller(dir, "callers", place, ports.sip, &caller)?;
    tokio::time::sleep(Duration::from_secs(u64::from(BESIDE_S))).await;
    match &mut postgres {
        Some(postgres) => {
            tokio::task::block_in_place(|| postgres.stop());
            tokio::time::sleep(outage()).await;
            tokio::task::block_in_place(|| postgres.start_again());
        }
        None => {
            let file = server.path("data/zongji.db");
            let mut other = SqliteConnectOptions::new().filename(file).connect().await?;
            other.execute("BEGIN EXCLUSIVE").await?;
            tokio::time::sleep(outage()).await;
            other.execute("ROLLBACK").await?;
        }
    }
    tokio::task::block_in_place(|| callers.finish(Duration::from_secs(60)))?;
    server.until_idle().await?;
    let idle = Instant::now();
    let rows = server.all_calls(calls as usize).await?;
    println!("{} of {calls} rows {:?} after the last call", rows.len(), idle.elapsed());
    let ids: BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    ensure!(rows.len() == calls as usize && ids.len() == rows.len(), "{} rows of {calls} calls", rows.len());
    ensure!(rows.iter().all(|row| row["outcome"] == "answered"), "every call was answered");
    // Answered when they came in, callers stay for so long, however long the agent's phone rings on a busy machine.
    let lasted =
        |row: &serde_json::Value| Some(row["wait_ms"].as_u64()? + row["talk_ms"].as_u64().filter(|ms| *ms > 0)?);
    let is_short = |row: &&serde_json::Value| lasted(row).is_none_or(|ms| ms < u64::from(TALK_MS) - 200);
    let short: Vec<_> = rows.iter().filter(is_short).collect();
    ensure!(short.is_empty(), "every call lasted and talked: {short:#?}");
    Ok(())
}

/// Whether the database answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Records {
    There,
    Away,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_goes_on_without_the_records_and_says_so() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(16);
    let mut postgres = tokio::task::block_in_place(postgres::start);
    let agent = format!(
        "[[agent]]\nname = \"1001\"\npassword_file = \"password\"\nskills = {{ repair = 5 }}\nqueues = [\"repair\"]\nphone = {{ kind = \"contact\", uri = \"sip:1001@127.0.0.1:{}\" }}\n",
        ports.free
    );
    let files = [("main.toml", MENU), ("password", PASSWORD)];
    let server = Server::start_on(ports, Some(&postgres.fresh_database()), &tenant(&agent), &files).await?;
    let customer = json!({"name": "李师傅", "contacts": [{"kind": "phone", "value": NUMBER}]});
    let made = server.http.post(server.url("/api/v1/customers")).header("cookie", &server.admin).json(&customer);
    ensure!(made.send().await?.status().is_success(), "a customer");
    let tone = tone(server.dir.path(), 440)?;
    let _phone = Sipp::phone(server.dir.path(), "phone", Place::from(ports.free), 300, &tone, false)?;
    let mut desk = Desk::connect(&server, "acme", "1001").await?;
    let ack = desk.command("agent.set_state", json!({"state": "ready"})).await?;
    ensure!(ack["t"] == "ack", "{ack}");
    let pop = pop_of_a_call(&server, &mut desk, "before", Records::There).await?;
    ensure!(pop["records_known"] == true && pop["candidates"][0]["name"] == "李师傅", "{pop:#}");

    tokio::task::block_in_place(|| postgres.stop());
    // Whoever asks first finds out.
    let refused = server.http.get(server.url("/api/v1/calls")).header("cookie", &server.admin).send().await?;
    ensure!(refused.status() == 503 && refused.headers().contains_key("retry-after"), "{}", refused.status());
    let pop = pop_of_a_call(&server, &mut desk, "during", Records::Away).await?;
    ensure!(pop["records_known"] == false && pop["candidates"][0]["name"] == "李师傅", "{pop:#}");
    let alarms = |live: &Value| live["alarms"].as_array().cloned().unwrap_or_default();
    let live = server.get("/api/v1/live").await?;
    ensure!(alarms(&live).iter().any(|alarm| alarm["code"] == "records"), "{live:#}");
    let ready = server.http.get(server.url("/readyz")).send().await?;
    ensure!(ready.status() == 200 && ready.text().await?.contains("has not answered"), "readyz tells");
    ensure!(server.metric("zongji_records_away_seconds", "").await? > 0.0, "the outage is measured");

    tokio::task::block_in_place(|| postgres.start_again());
    let live = server.until("/api/v1/live", Duration::from_secs(20), |live| alarms(live).is_empty()).await?;
    ensure!(live["agents"][0]["state"] == "ready", "{live:#}");
    let pop = pop_of_a_call(&server, &mut desk, "after", Records::There).await?;
    ensure!(pop["records_known"] == true && pop["candidates"][0]["name"] == "李师傅", "{pop:#}");
    ensure!(server.all_calls(3).await?.len() == 3, "history is whole");
    Ok(())
}

/// Rings the agent through and waits for the end of the wrap-up; the pop that the desk was given. Records that are there, but slow on a
/// busy machine, complete it while it rings.
async fn pop_of_a_call(server: &Server, desk: &mut Desk, name: &str, records: Records) -> Result<Value> {
    let dir = server.dir.path();
    let tone = tone(dir, 440)?;
    let caller = Caller {
        did: "4001001001",
        number: NUMBER,
        digit: None,
        hangup_ms: TALK_MS,
        calls: 1,
        rate: 1,
        tone: &tone,
        tcp: false,
    };
    let mut sipp = Sipp::caller(dir, name, Place::from(server.ports.free + 20), server.ports.sip, &caller)?;
    let mut pop = desk.until("offer.created").await?["d"]["pop"].take();
    if records == Records::There && pop["records_known"] == false {
        pop = desk.until("pop").await?["d"]["pop"].take();
    }
    tokio::task::block_in_place(|| sipp.finish(Duration::from_secs(20)))?;
    server.until("/api/v1/live", Duration::from_secs(10), |live| live["agents"][0]["state"] == "ready").await?;
    Ok(pop)
}
