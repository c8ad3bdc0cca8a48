//! Call control and supervision over real sockets: everyone says a tone of their own, and what each has heard is measured.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::answered::the_call;
use crate::desk::Desk;
use crate::server::{PASSWORD, Ports, Server, machine, program};
use crate::sound::{Recording, mono, share};

// Between the notes of the music on hold.
const CALLER: f64 = 455.0;
const FIRST: f64 = 762.0;
const SECOND: f64 = 1_141.0;
/// The outside number's, or the supervisor's.
const THIRD: f64 = 1_614.0;
const ALL: [f64; 4] = [CALLER, FIRST, SECOND, THIRD];
/// How long everyone talks in each state, and what is left out at both of its ends.
const STAGE: Duration = Duration::from_millis(2_400);
const EDGE: Duration = Duration::from_millis(700);

/// Queues `repair` (1001) and `general` (1002), a supervisor 1003, and a carrier that takes calls on its own port.
fn tenant(ports: Ports) -> String {
    let agent = |n: u16, more: &str| {
        format!(
            "[[agent]]\nname = \"{0}\"\npassword_file = \"password\"\nalways_ready = true\n\
             phone = {{ kind = \"contact\", uri = \"sip:{0}@127.0.0.1:{1}\" }}\n{more}\n",
            1_000 + n,
            ports.free + n
        )
    };
    let queue = |name: &str| format!("[[queue]]\nname = \"{name}\"\nrecord = true\nwrapup_s = 1\n");
    format!(
        "[tenant]\nid = \"acme\"\nname = \"Acme Diesel\"\noutbound = {{ prefixes = [\"+86\"] }}\n\
         [[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.1:{}\", \"127.0.0.1\"]\n\
         [[number]]\ndid = \"4001001000\"\ntrunk = \"carrier\"\nroute = {{ queue = \"repair\" }}\n\
         {}{}{}{}{}",
        ports.free + 4,
        queue("repair"),
        queue("general"),
        agent(1, "queues = [\"repair\"]"),
        agent(2, "queues = [\"general\"]"),
        agent(3, "queues = []\nrole = \"supervisor\""),
    )
}

/// A phone of the program's own, that keeps what it hears of its first call.
struct Phone {
    child: Child,
    file: std::path::PathBuf,
}

impl Phone {
    fn start(dir: &Path, name: &str, hz: f64, args: &[String]) -> Result<Self> {
        let file = dir.join(format!("{name}.wav"));
        let child = Command::new(program())
            .arg("phone")
            .args(["--tone", &format!("{hz}"), "--save"])
            .arg(&file)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, file })
    }

    fn waiting(dir: &Path, name: &str, hz: f64, port: u16) -> Result<Self> {
        Self::start(dir, name, hz, &["--listen".to_owned(), format!("127.0.0.1:{port}")])
    }

    fn calling(dir: &Path, name: &str, hz: f64, sip: u16) -> Result<Self> {
        let uri = format!("sip:4001001000@127.0.0.1:{sip}");
        Self::start(dir, name, hz, &["--call".into(), uri, "--from".into(), "13800138000".into()])
    }

    /// What its call number `call` heard, once that call is over.
    async fn heard(&self, call: u32) -> Result<Vec<i16>> {
        let name = self.file.to_string_lossy();
        let path = if call == 1 { name.into_owned() } else { name.replace(".wav", &format!("-{call}.wav")) };
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            // Empty while it is being written.
            if let Ok(samples) = std::fs::read(&path).map_err(anyhow::Error::from).and_then(|bytes| mono(&bytes))
                && !samples.is_empty()
            {
                return Ok(samples);
            }
            ensure!(Instant::now() < until, "{path} is not written");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stretch in which everyone talked, by the clock.
#[derive(Clone, Copy)]
struct Stage(Instant, Instant);

async fn talk() -> Stage {
    let begun = Instant::now();
    tokio::time::sleep(STAGE).await;
    Stage(begun + EDGE, Instant::now() - EDGE)
}

/// The tones that were heard in a stage, of a call whose first packet came at `from`.
fn tones(samples: &[i16], from: Instant, Stage(begun, over): Stage) -> Vec<f64> {
    let at = |moment: Instant| (moment.saturating_duration_since(from).as_millis() as usize * 8).min(samples.len());
    let piece = &samples[at(begun)..at(over)];
    ALL.into_iter().filter(|hz| share(piece, *hz) > 0.15).collect()
}

/// How much of what was heard in a stage is this tone.
fn share_of(samples: &[i16], from: Instant, Stage(begun, over): Stage, hz: f64) -> f64 {
    let at = |moment: Instant| (moment.saturating_duration_since(from).as_millis() as usize * 8).min(samples.len());
    share(&samples[at(begun)..at(over)], hz)
}

async fn states(server: &Server) -> Result<Vec<String>> {
    let live = server.get("/api/v1/live").await?;
    let agents = live["agents"].as_array().context("agents")?;
    Ok(agents.iter().map(|agent| agent["state"].as_str().unwrap_or_default().to_owned()).collect())
}

async fn until_states(server: &Server, expect: [&str; 3]) -> Result<Instant> {
    let is = |live: &Value| {
        let agents = live["agents"].as_array();
        agents.is_some_and(|agents| agents.iter().map(|agent| agent["state"].as_str()).eq(expect.map(Some)))
    };
    server.until("/api/v1/live", Duration::from_secs(10), is).await?;
    Ok(Instant::now())
}

async fn does(desk: &mut Desk, t: &str, d: Value) -> Result<()> {
    let answer = desk.command(t, d).await?;
    ensure!(answer["t"] == "ack", "{t}: {answer}");
    Ok(())
}

async fn the_call_id(server: &Server) -> Result<Value> {
    let live = server.until("/api/v1/live", Duration::from_secs(5), |live| live["calls"][0]["id"].is_string()).await?;
    Ok(json!({ "call_id": live["calls"][0]["id"] }))
}

fn with(call: &Value, key: &str, value: Value) -> Value {
    let mut d = call.clone();
    d[key] = value;
    d
}

async fn recording(server: &Server, call: &Value) -> Result<Recording> {
    let path = format!("/api/v1/calls/{}", call["id"].as_str().context("id")?);
    server.until(&path, Duration::from_secs(3), |call| call["recording"]["state"] == "sealed").await?;
    Recording::read(&server.get_bytes(&format!("{path}/recording")).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn consult_swap_cancel_conference_and_complete_by_ear() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(22);
    let server = Server::start(ports, &tenant(ports), &[("password", PASSWORD)]).await?;
    let dir = server.dir.path();
    let first = Phone::waiting(dir, "first", FIRST, ports.free + 1)?;
    let second = Phone::waiting(dir, "second", SECOND, ports.free + 2)?;
    let outside = Phone::waiting(dir, "outside", THIRD, ports.free + 4)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let caller_from = Instant::now();
    let caller = Phone::calling(dir, "caller", CALLER, ports.sip)?;
    let first_from = until_states(&server, ["talking", "ready", "ready"]).await?;
    let call = the_call_id(&server).await?;
    let mut desk = Desk::connect(&server, "acme", "1001").await?;
    let plain = talk().await;

    let colleague = with(&call, "to", json!({"agent": "1002"}));
    does(&mut desk, "call.consult", colleague.clone()).await?;
    let second_from = until_states(&server, ["talking", "talking", "ready"]).await?;
    let aside = talk().await;
    does(&mut desk, "call.swap", call.clone()).await?;
    let swapped = talk().await;
    does(&mut desk, "call.cancel_consult", call.clone()).await?;
    until_states(&server, ["talking", "ready", "ready"]).await?;
    let again = talk().await;

    does(&mut desk, "call.consult", colleague).await?;
    let rejoined_from = until_states(&server, ["talking", "talking", "ready"]).await?;
    does(&mut desk, "call.conference", call.clone()).await?;
    does(&mut desk, "call.consult", with(&call, "to", json!({"number": "13900139000"}))).await?;
    let outside_from = Instant::now();
    let parties = |live: &Value| live["calls"][0]["state"] == "consulting";
    server.until("/api/v1/live", Duration::from_secs(5), parties).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    does(&mut desk, "call.conference", call.clone()).await?;
    let live = server.get("/api/v1/live").await?;
    ensure!(live["calls"][0]["state"] == "conference", "{live:#}");
    let four = talk().await;

    // The agent leaves the call to the colleague, who ends it for what is left: the number goes on with the caller.
    does(&mut desk, "call.complete", call.clone()).await?;
    let states_now = states(&server).await?;
    ensure!(states_now[0] == "wrapup" && states_now[1] == "talking", "{states_now:?}");
    let handed = talk().await;
    let mut other = Desk::connect(&server, "acme", "1002").await?;
    does(&mut other, "call.hangup", call.clone()).await?;
    let left = talk().await;
    drop(outside);
    caller_hangs_up(caller.child.id())?;

    let heard = caller.heard(1).await?;
    let check = |what: &str, heard: &[i16], from, stage, expect: &[f64]| {
        let tones = tones(heard, from, stage);
        ensure!(tones == expect, "{what} heard {tones:?}, not {expect:?}");
        Ok(())
    };
    check("the caller, in the plain talk,", &heard, caller_from, plain, &[FIRST])?;
    check("the caller, on hold,", &heard, caller_from, aside, &[])?;
    check("the caller, swapped to,", &heard, caller_from, swapped, &[FIRST])?;
    check("the caller, after the cancel,", &heard, caller_from, again, &[FIRST])?;
    check("the caller, of four,", &heard, caller_from, four, &[FIRST, SECOND, THIRD])?;
    check("the caller, handed on,", &heard, caller_from, handed, &[SECOND, THIRD])?;
    check("the caller, left to the number,", &heard, caller_from, left, &[THIRD])?;
    let heard = first.heard(1).await?;
    check("the agent, in the plain talk,", &heard, first_from, plain, &[CALLER])?;
    check("the agent, aside,", &heard, first_from, aside, &[SECOND])?;
    check("the agent, swapped,", &heard, first_from, swapped, &[CALLER])?;
    check("the agent, of four,", &heard, first_from, four, &[CALLER, SECOND, THIRD])?;
    let consulted = second.heard(1).await?;
    check("the colleague, aside,", &consulted, second_from, aside, &[FIRST])?;
    check("the colleague, swapped away from,", &consulted, second_from, swapped, &[])?;
    let joined = second.heard(2).await?;
    check("the colleague, of four,", &joined, rejoined_from, four, &[CALLER, FIRST, THIRD])?;
    check("the colleague, who has it,", &joined, rejoined_from, handed, &[CALLER, THIRD])?;
    let _ = outside_from;

    let row = the_call(&server, Duration::from_secs(5)).await?;
    ensure!(row["outcome"] == "answered" && row["agent"] == "1002", "{row:#}");
    let file = recording(&server, &row).await?;
    // One file for all of it, from the first answer to the end.
    let first_answered = row["answered_ms"].as_u64().context("answered_ms")?;
    let ended = row["ended_ms"].as_u64().context("ended_ms")?;
    ensure!(file.ms().abs_diff(ended - first_answered) <= 200, "{} ms of {}", file.ms(), ended - first_answered);
    check("the recording's left,", &file.left, first_from, four, &[CALLER])?;
    check("the recording's right, aside,", &file.right, first_from, aside, &[FIRST, SECOND])?;
    check("the recording's right, of four,", &file.right, first_from, four, &[FIRST, SECOND, THIRD])?;
    server.until_idle().await?;
    Ok(())
}

/// Asks the caller's program to hang up, as Ctrl+C does.
fn caller_hangs_up(pid: u32) -> Result<()> {
    Command::new("kill").args(["-INT", &pid.to_string()]).status()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_handed_to_another_queue_and_back() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(23);
    let server = Server::start(ports, &tenant(ports), &[("password", PASSWORD)]).await?;
    let dir = server.dir.path();
    let _first = Phone::waiting(dir, "first", FIRST, ports.free + 1)?;
    let _second = Phone::waiting(dir, "second", SECOND, ports.free + 2)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let from = Instant::now();
    let caller = Phone::calling(dir, "caller", CALLER, ports.sip)?;
    let answered = until_states(&server, ["talking", "ready", "ready"]).await?;
    let call = the_call_id(&server).await?;
    let (mut one, mut two) =
        (Desk::connect(&server, "acme", "1001").await?, Desk::connect(&server, "acme", "1002").await?);
    let before = talk().await;
    does(&mut one, "call.transfer", with(&call, "to", json!({"queue": "general"}))).await?;
    until_states(&server, ["ready", "talking", "ready"]).await?;
    let there = talk().await;
    does(&mut two, "call.transfer", with(&call, "to", json!({"queue": "repair"}))).await?;
    until_states(&server, ["talking", "ready", "ready"]).await?;
    let back = talk().await;
    does(&mut one, "call.hangup", call.clone()).await?;
    let heard = caller.heard(1).await?;
    for (what, stage, expect) in [("before", before, FIRST), ("there", there, SECOND), ("back", back, FIRST)] {
        let (tones, share) = (tones(&heard, from, stage), share_of(&heard, from, stage, expect));
        let (begun, over) = (stage.0 - from, stage.1 - from);
        ensure!(
            tones == [expect],
            "{what}, from {begun:?} to {over:?} of {} ms, the caller heard {tones:?}; {expect} is {share} of it",
            heard.len() / 8
        );
    }
    let row = the_call(&server, Duration::from_secs(5)).await?;
    ensure!(call["call_id"] == row["id"] && row["outcome"] == "answered", "the caller keeps the call: {row:#}");
    let file = recording(&server, &row).await?;
    for (stage, expect) in [(before, FIRST), (there, SECOND), (back, FIRST)] {
        let tones = [tones(&file.left, answered, stage), tones(&file.right, answered, stage)];
        ensure!(tones == [vec![CALLER], vec![expect]], "the recording has {tones:?}");
    }
    server.until_idle().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_hears_nothing_of_a_supervisor_who_listens_or_whispers() -> Result<()> {
    let _machine = machine().await;
    let ports = Ports::block(24);
    let server = Server::start(ports, &tenant(ports), &[("password", PASSWORD)]).await?;
    let dir = server.dir.path();
    let first = Phone::waiting(dir, "first", FIRST, ports.free + 1)?;
    let third = Phone::waiting(dir, "third", THIRD, ports.free + 3)?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let caller_from = Instant::now();
    let caller = Phone::calling(dir, "caller", CALLER, ports.sip)?;
    let first_from = until_states(&server, ["talking", "ready", "ready"]).await?;
    let call = the_call_id(&server).await?;
    let mut desk = Desk::connect(&server, "acme", "1003").await?;
    let mut agent = Desk::connect(&server, "acme", "1001").await?;
    let nack = agent.command("call.supervise", with(&call, "mode", json!("monitor"))).await?;
    ensure!(nack["t"] == "nack", "an agent is no supervisor: {nack}");
    does(&mut desk, "call.supervise", with(&call, "mode", json!("monitor"))).await?;
    let third_from = until_states(&server, ["talking", "ready", "talking"]).await?;
    let monitor = talk().await;
    does(&mut desk, "call.supervise", with(&call, "mode", json!("whisper"))).await?;
    let whisper = talk().await;
    does(&mut desk, "call.supervise", with(&call, "mode", json!("barge"))).await?;
    let barge = talk().await;
    does(&mut desk, "call.hangup", call.clone()).await?;
    until_states(&server, ["talking", "ready", "ready"]).await?;
    let after = talk().await;
    does(&mut agent, "call.hangup", call.clone()).await?;

    let heard = caller.heard(1).await?;
    for (what, stage) in [("monitor", monitor), ("whisper", whisper), ("after", after)] {
        ensure!(tones(&heard, caller_from, stage) == [FIRST], "{what}: {:?}", tones(&heard, caller_from, stage));
        let leaked = share_of(&heard, caller_from, stage, THIRD);
        ensure!(leaked < 1e-4, "{what}: {leaked} of what the caller heard is the supervisor's");
    }
    ensure!(tones(&heard, caller_from, barge) == [FIRST, THIRD], "barge: {:?}", tones(&heard, caller_from, barge));
    let heard = first.heard(1).await?;
    ensure!(tones(&heard, first_from, monitor) == [CALLER], "the agent, monitored");
    ensure!(tones(&heard, first_from, whisper) == [CALLER, THIRD], "the agent, whispered to");
    let heard = third.heard(1).await?;
    for stage in [monitor, whisper, barge] {
        ensure!(tones(&heard, third_from, stage) == [CALLER, FIRST], "the supervisor hears both");
    }
    let row = the_call(&server, Duration::from_secs(5)).await?;
    let file = recording(&server, &row).await?;
    ensure!(tones(&file.right, first_from, whisper) == [FIRST], "a whisper is not recorded");
    let audit = server
        .until("/api/v1/audit", Duration::from_secs(5), |audit| {
            let count = |action: &str| {
                let items = audit["items"].as_array();
                items.map_or(0, |items| items.iter().filter(|entry| entry["action"] == action).count())
            };
            count("call.supervise") == 3 && count("call.supervise_end") == 1
        })
        .await?;
    ensure!(audit["items"].as_array().is_some_and(|items| items.iter().any(|entry| entry["actor"] == "1003")));
    server.until_idle().await?;
    Ok(())
}
