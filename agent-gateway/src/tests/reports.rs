use std::collections::BTreeMap;
use std::sync::Arc;

use cti_base::{CallId, OfferId, Pii, Rng, Timestamp};
use cti_switch::desk::{AgentState, Direction};
use cti_switch::live::{AgentLive, Live};
use cti_switch::trace::{Destination, TraceEntry};
use cti_switch::{Fact, FactRecord, OfferEnd, QueueLeave, StateSpan};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use zongji_sql::projector;

use super::server::Server;

const MINUTE_MS: u64 = 60_000;
const QUARTER_MS: u64 = 15 * MINUTE_MS;

fn call() -> CallId {
    CallId::new(Timestamp::from_millis(1), &mut Rng::from_number(4))
}

/// Tells the records of facts at these UTC milliseconds.
async fn tell(server: &Server, tenant: &str, facts: Vec<(u64, Fact)>) {
    let facts: Vec<FactRecord> =
        (1..).zip(facts).map(|(seq, (ms, fact))| FactRecord { seq, at: Timestamp::from_millis(ms), fact }).collect();
    projector::apply(&server.store, tenant, &facts).await.expect("projected");
}

/// An hour ago, at a quarter of an hour.
fn then_ms() -> u64 {
    let ms = crate::now_ms() - 60 * MINUTE_MS;
    ms - ms % QUARTER_MS
}

/// A caller waits 25 s in `repair`, is passed on to `general`, and is answered after 10 s.
async fn a_call(server: &Server) -> u64 {
    let (start, call, tenant) = (then_ms(), call(), || "acme".into());
    let offer = OfferId::new(Timestamp::from_millis(1), &mut Rng::from_number(5));
    let (passed, answered) = (start + 25_000, start + 35_000);
    let left = |queue: &str, entered_ms, how| {
        let (queue, target_ms, short_ms) = (queue.into(), 20_000, 5_000);
        Fact::QueueLeft { tenant: tenant(), call, queue, entered_ms, how, target_ms, short_ms }
    };
    let queued = |queue: &str, from: Option<&str>| {
        let (queue, from) = (queue.into(), from.map(Into::into));
        Fact::Queued { tenant: tenant(), call, queue, priority: 0, from }
    };
    let state = |state, was, since_ms| {
        let was = Some(StateSpan { state: was, reason: None, since_ms });
        Fact::AgentState { tenant: tenant(), agent: "agent".into(), state, reason: None, was }
    };
    let to = || Destination::Queue("general".into());
    let overflowed =
        TraceEntry::Overflowed { queue: "repair".into(), why: "after_s".into(), to: to(), waited_ms: 25_000 };
    let (from, direction) = (Pii::new("+8613800138000".to_owned()), Direction::Inbound);
    let facts = vec![
        (start, Fact::CallStarted { tenant: tenant(), call, direction, trunk: None, from, to: "1".into() }),
        (start, queued("repair", None)),
        (passed, left("repair", start, QueueLeave::Overflowed { why: "after_s".into(), to: to() })),
        (passed, Fact::Traced { tenant: tenant(), call, place: 0, entry: Box::new(overflowed) }),
        (passed, queued("general", Some("repair"))),
        (passed, state(AgentState::Offered, AgentState::Ready, start - MINUTE_MS)),
        (passed, Fact::Offered { tenant: tenant(), call, offer, agent: "agent".into() }),
        (
            answered,
            Fact::OfferEnded {
                tenant: tenant(),
                call,
                offer,
                agent: "agent".into(),
                how: OfferEnd::Accepted,
                offered_ms: Some(passed),
            },
        ),
        (answered, left("general", passed, QueueLeave::Answered { agent: "agent".into() })),
        (answered, state(AgentState::Talking, AgentState::Offered, passed)),
    ];
    tell(server, "acme", facts).await;
    start
}

fn row<'a>(report: &'a Value, name: &str, value: &str) -> &'a Value {
    let items = report["items"].as_array().expect("items");
    items.iter().find(|item| item[name] == json!(value)).unwrap_or_else(|| panic!("no {value} in {report}"))
}

#[tokio::test]
async fn the_queues_are_reported_by_interval_and_as_csv() {
    let server = Server::start().await;
    let start = a_call(&server).await;
    let qa = server.client("acme", "qa").await;
    let asked = format!("from={start}&to={}", start + 1);
    let (status, report) = qa.get(&format!("reports/queues?{asked}")).await;
    assert_eq!(
        (status, &report["from_ms"], &report["to_ms"]),
        (StatusCode::OK, &json!(start), &json!(start + QUARTER_MS))
    );
    let repair = row(&report, "queue", "repair");
    for (name, value) in
        [("offered", 1), ("overflowed_out", 1), ("answered", 0), ("waiting", 0), ("wait_max_ms", 25_000)]
    {
        assert_eq!(repair[name], json!(value), "{name}: {repair}");
    }
    let general = row(&report, "queue", "general");
    for (name, value) in
        [("offered", 1), ("overflowed_in", 1), ("answered", 1), ("answered_in_time", 1), ("asa_ms", 10_000)]
    {
        assert_eq!(general[name], json!(value), "{name}: {general}");
    }
    assert_eq!(general["service_levels"]["of_offered"], json!(1.0));
    assert_eq!(repair["service_levels"]["of_answered"], Value::Null, "unknown is not 0");
    assert_eq!((&report["calls"][0]["calls"], &report["calls"][0]["open"]), (&json!(1), &json!(1)));

    // A day is the tenant's own, and its sum.
    let (_, day) = qa.get(&format!("reports/queues?{asked}&interval=1d")).await;
    let (from_ms, to_ms) = cti_switch::hours::day_in(Timestamp::from_millis(start), "Asia/Shanghai").expect("a zone");
    let general = row(&day, "queue", "general");
    assert_eq!((&general["start_ms"], &general["end_ms"]), (&json!(from_ms), &json!(to_ms)));
    assert_eq!(general["answered"], json!(1));

    let request = qa.request(Method::GET, &format!("reports/queues?{asked}")).header(header::ACCEPT, "text/csv");
    let text = request.send().await.expect("an answer").text().await.expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("start_ms,end_ms,queue,offered,overflowed_in,answered,abandoned,"), "{text}");
    assert!(lines[0].contains("service_levels_of_offered"), "{text}");
    assert_eq!(lines.len(), 3);
    assert!(lines[1].starts_with(&format!("{start},{},general,1,1,1,0,", start + QUARTER_MS)), "{text}");

    let (_, nothing) = server.client("other", "admin").await.get(&format!("reports/queues?{asked}")).await;
    assert_eq!((&nothing["items"], &nothing["calls"]), (&json!([]), &json!([])), "another tenant's");
    for bad in ["from=2&to=1", "from=1&to=99999999999", "interval=2h", "from=yesterday", "queue=repair"] {
        assert_eq!(qa.get(&format!("reports/queues?{bad}")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(server.client("acme", "agent").await.get("reports/queues").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_agents_report_has_the_state_that_goes_on() {
    let server = Server::start().await;
    let start = a_call(&server).await;
    let now_ms = start + 2 * MINUTE_MS;
    let agent = AgentLive {
        name: "agent".into(),
        display: "Agent".into(),
        state: AgentState::Talking,
        reason: None,
        since_ms: start + 35_000,
        call_id: None,
        connection: "desk".into(),
        media: cti_switch::desk::MediaHealth::Ok,
        browser: false,
    };
    let live = Live { at_ms: now_ms, agents: vec![agent], ..Live::default() };
    server.live.send_replace(Arc::new(BTreeMap::from([("acme".into(), Arc::new(live))])));
    let supervisor = server.client("acme", "supervisor").await;
    let (status, report) = supervisor.get(&format!("reports/agents?from={start}&to={}", start + QUARTER_MS)).await;
    assert_eq!(status, StatusCode::OK);
    let agent = row(&report, "agent", "agent");
    // It went on since: up to the end of the quarter.
    let talking_ms = QUARTER_MS - 35_000;
    for (name, value) in [
        ("offers", 1),
        ("answered", 1),
        ("ring_ms", 10_000),
        ("ready_ms", 25_000),
        ("offered_ms", 10_000),
        ("talking_ms", talking_ms),
        ("staffed_ms", QUARTER_MS),
    ] {
        assert_eq!(agent[name], json!(value), "{name}: {agent}");
    }
    let occupancy = agent["occupancy"].as_f64().expect("known");
    assert!((occupancy - talking_ms as f64 / QUARTER_MS as f64).abs() < 1e-6, "{occupancy}");
}

#[tokio::test]
async fn a_trace_is_told_in_the_readers_language() {
    let server = Server::start().await;
    a_call(&server).await;
    let path = format!("calls/{}/trace", call());
    let supervisor = server.client("acme", "supervisor").await;
    let mut told = Vec::new();
    for language in ["zh-CN,zh;q=0.9", "en-US,en;q=0.9"] {
        let request = supervisor.request(Method::GET, &path).header(header::ACCEPT_LANGUAGE, language);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        let item = &answer["items"][0];
        assert_eq!(
            (&item["kind"], &item["why"], &item["to"]["queue"]),
            (&json!("overflowed"), &json!("after_s"), &json!("general"))
        );
        told.push(item["text"].as_str().expect("text").to_owned());
    }
    assert_eq!(told[0], "在 repair 等待 25 秒后离开：已到溢出时间，转到队列 general。");
    assert_eq!(told[1], "Left repair after 25 s: the queue's time to pass on was over; went on to queue general.");
    for (tenant, user) in [("acme", "agent"), ("other", "admin")] {
        assert_eq!(server.client(tenant, user).await.get(&path).await.0, StatusCode::NOT_FOUND, "{tenant} {user}");
    }
}
