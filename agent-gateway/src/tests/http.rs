use std::sync::atomic::Ordering;

use cti_switch::desk::{CallState, Direction};
use cti_switch::live::{CallLive, Live};
use reqwest::{Method, StatusCode, header};
use serde_json::json;

use super::server::{Client, Server, answer, call_id};

#[tokio::test]
async fn probes_say_whether_the_node_lives_and_takes_calls() {
    let server = Server::start().await;
    let client = server.stranger();
    assert_eq!(client.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(client.get("/readyz").await.0, StatusCode::OK);
    server.ready.store(false, Ordering::Relaxed);
    assert_eq!(client.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    server.store.close().await;
    assert_eq!(client.get("/healthz").await.0, StatusCode::OK, "it never asks the database");
}

#[tokio::test]
async fn without_its_records_the_server_says_so_and_a_desk_stays() {
    let server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let (mut desk, _, _) = client.desk(json!({ "proto": 1, "build": "t" })).await;
    server.store.close().await;
    let answer = client.request(Method::GET, "customers").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    let unknown = Client { cookie: Some("zongji_session=0123".into()), ..server.stranger() };
    assert_eq!(unknown.socket().await.closed().await, Some(1001), "come again, not: you are signed out");
    let draft = json!({ "call_id": call_id(1), "kind": "inquiry", "fields": {} });
    desk.send(json!({ "id": "1", "t": "draft.save", "d": draft })).await;
    let nack = desk.receive().await;
    assert_eq!((&nack["d"]["code"], &nack["d"]["retryable"]), (&json!("busy"), &json!(true)));
    desk.send(json!({ "id": "2", "t": "sub", "d": { "topic": "live" } })).await;
    assert_eq!(desk.receive().await["t"], "ack", "the desk goes on");
    drop(desk);
    client.desk(json!({ "proto": 1, "build": "t" })).await;
    let signed_out = client.request(Method::DELETE, "session").send().await.expect("an answer");
    assert_eq!(signed_out.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.socket().await.closed().await, Some(1001), "who signed out is not let in from memory");
}

#[tokio::test]
async fn a_connection_that_never_finishes_its_headers_is_closed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    let mut slow = tokio::net::TcpStream::connect(&server.address).await.expect("connected");
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.expect("sent");
    let began = std::time::Instant::now();
    let limit = crate::listen::HEADERS_WITHIN;
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(limit * 2, slow.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "it is still open");
    assert!(began.elapsed() >= limit - std::time::Duration::from_secs(1), "closed too early");
    assert_eq!(server.stranger().get("/healthz").await.0, StatusCode::OK);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let server = Server::start().await;
    for path in ["/", "/healthz", "/api/v1/me", "/api/v1/openapi.json"] {
        let answer = server.stranger().request(Method::GET, path).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(header("content-security-policy").contains("script-src 'self';"), "{path}");
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
    }
    let me = server.stranger().request(Method::GET, "me").send().await.expect("an answer");
    assert_eq!(me.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(me.headers()[header::CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_with_its_field() {
    let server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let check = |(status, problem): (StatusCode, serde_json::Value), expect: u16, word: &str, field: Option<&str>| {
        assert_eq!(status.as_u16(), expect, "{problem}");
        assert_eq!(problem["type"], format!("urn:zongji:problem:{word}"), "{problem}");
        assert_eq!(problem["status"], expect);
        assert_eq!(problem["field"].as_str(), field, "{problem}");
    };
    check(client.get("nothing").await, 404, "not_found", None);
    check(client.get("customers?pgae=1").await, 400, "unknown_parameter", Some("pgae"));
    check(client.get("customers?limit=x").await, 400, "bad_parameter", Some("limit"));
    check(client.get("customers?limit=5000").await, 422, "invalid", Some("limit"));
    check(client.post("cases", json!({ "title": "x" })).await, 422, "invalid", Some("kind"));
    check(client.post("cases", json!({ "kind": "fly", "title": "x" })).await, 422, "invalid", Some("kind"));
    check(client.post("customers", json!({ "name": "x", "colour": 1 })).await, 422, "invalid", Some("colour"));
    let contact = json!({ "customer_id": "x", "kind": "phone", "value": "13800138000", "colour": 1 });
    check(client.post("contacts", contact).await, 422, "invalid", Some("colour"));
    check(client.post("products", json!({ "model": "x", "serial": "y" })).await, 422, "invalid", Some("customer_id"));
    check(client.patch("session", json!({})).await, 405, "method_not_allowed", None);
    let text = client.request(Method::POST, "customers").header(header::CONTENT_TYPE, "application/json");
    check(answer(text.body("{")).await, 400, "bad_json", None);
    check(answer(client.request(Method::POST, "customers").body("name=x")).await, 415, "not_json", None);
    let long = json!({ "name": "x".repeat(2 * 1024 * 1024) });
    check(client.post("customers", long.clone()).await, 413, "too_large", None);
    let keyed = client.request(Method::POST, "customers").header("idempotency-key", "k").json(&long);
    check(answer(keyed).await, 413, "too_large", None);
}

#[tokio::test]
async fn live_and_declarations_are_the_tenants_own() {
    let server = Server::start().await;
    let call = |number, agent: &str| CallLive {
        id: call_id(number),
        state: CallState::Talking,
        direction: Direction::Inbound,
        from: "+8613800138000".into(),
        to: "4001001000".into(),
        queue: None,
        agent: Some(agent.into()),
        node: None,
        started_ms: 1,
        since_ms: 1,
    };
    server.publish("acme", Live { at_ms: 7, calls: vec![call(1, "agent"), call(2, "bob")], ..Live::default() });
    let calls = async |tenant: &str, user: &str| {
        let (_, live) = server.client(tenant, user).await.get("live").await;
        live["calls"].as_array().map(Vec::len)
    };
    assert_eq!(calls("acme", "supervisor").await, Some(2));
    assert_eq!(calls("acme", "agent").await, Some(1), "an agent sees their own");
    assert_eq!(calls("other", "supervisor").await, Some(0));

    let admin = server.client("acme", "admin").await;
    for (path, count) in [("agents", 2), ("queues", 2), ("numbers", 1), ("trunks", 1), ("hours", 1), ("scripts", 1)] {
        let (status, list) = admin.get(path).await;
        assert_eq!((status, list["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(count)), "{path}");
        assert!(!list.to_string().contains("secret"), "{path}: {list}");
    }
    let (_, me) = server.client("acme", "agent").await.get("me").await;
    assert_eq!(me["tenant"]["timezone"], "Asia/Shanghai");
    assert_eq!(me["queues"], json!(["repair"]));
    assert_eq!(me["case_kinds"], json!(["inquiry", "complaint", "repair", "follow_up", "rescue"]));
    assert_eq!(me["break_reasons"][0], "rest");
}
