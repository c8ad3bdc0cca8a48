use std::time::Duration;

use cti_base::{RecordingId, Rng, Timestamp};
use cti_media::Recorded;
use cti_switch::desk::Direction;
use cti_switch::{CallRecord, Fact, FactRecord, Outcome};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zongji_sql::cases::{self, CaseKind, CaseNew};
use zongji_sql::idempotency::{self, Begun, Key};
use zongji_sql::projector;

use super::server::{Server, answer, call_id, tenant};

#[tokio::test]
async fn a_customer_is_made_found_changed_and_kept_within_the_tenant() {
    let server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let new = json!({ "name": "李雷", "company": "Acme", "contacts": [{ "kind": "phone", "value": "13800138000" }] });
    let (status, customer) = client.post("customers", new).await;
    assert_eq!(status, StatusCode::CREATED, "{customer}");
    assert_eq!(customer["contacts"][0]["value"], "+8613800138000");
    let path = format!("customers/{}", customer["id"].as_str().expect("an id"));
    let (_, found) = client.get("customers?q=138001380").await;
    assert_eq!(found["items"][0]["id"], customer["id"]);

    let (status, changed) = client.patch(&path, json!({ "version": 1, "risk": "high", "company": null })).await;
    assert_eq!((status, &changed["risk"], &changed["company"]), (StatusCode::OK, &json!("high"), &Value::Null));
    let (status, problem) = client.patch(&path, json!({ "version": 1, "risk": "low" })).await;
    assert_eq!((status, &problem["current"]["version"]), (StatusCode::CONFLICT, &changed["version"]));
    assert_eq!(problem["current"]["risk"], "high");

    let product = json!({ "customer_id": customer["id"], "model": "D12", "serial": "SN1" });
    let (status, product) = client.post("products", product).await;
    assert_eq!(status, StatusCode::CREATED, "{product}");
    let contact = json!({ "customer_id": customer["id"], "kind": "email", "value": "a@b.example" });
    let (status, contact) = client.post("contacts", contact).await;
    assert_eq!(status, StatusCode::CREATED, "{contact}");
    let contact_path = format!("contacts/{}", contact["id"].as_str().expect("an id"));
    let (status, contact) = client.patch(&contact_path, json!({ "version": 1, "label": "work" })).await;
    assert_eq!((status, &contact["label"]), (StatusCode::OK, &json!("work")));

    let stranger = server.client("other", "admin").await;
    assert_eq!(stranger.get(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(stranger.patch(&path, json!({ "version": 2, "risk": "low" })).await.0, StatusCode::NOT_FOUND);
    assert_eq!(stranger.delete(&contact_path).await.0, StatusCode::NOT_FOUND);
    let theirs = json!({ "kind": "inquiry", "title": "x", "customer_id": customer["id"] });
    let (status, problem) = stranger.post("cases", theirs).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("customer_id")));

    assert_eq!(client.delete(&contact_path).await.0, StatusCode::NO_CONTENT);
    assert_eq!(client.delete(&contact_path).await.0, StatusCode::NOT_FOUND);
    let (_, customer) = client.get(&path).await;
    assert_eq!(customer["contacts"].as_array().map(Vec::len), Some(1));
    assert_eq!(customer["products"][0]["serial"], "SN1");
    let (_, audit) = server.client("acme", "admin").await.get("audit").await;
    let actions: Vec<&str> =
        audit["items"].as_array().expect("a list").iter().filter_map(|e| e["action"].as_str()).collect();
    for action in ["customer.create", "customer.update", "contact.remove", "session.create"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
}

#[tokio::test]
async fn a_case_is_logged_by_its_kinds_rules_and_remembers_what_changed() {
    let server = Server::start().await;
    let client = server.client("acme", "agent").await;
    for missing in [json!({ "callback_number": "13800138000" }), json!({ "place": "G2 km 100" })] {
        let mut rescue = json!({ "kind": "rescue", "title": "Broken down" });
        rescue.as_object_mut().expect("an object").extend(missing.as_object().expect("an object").clone());
        let (status, problem) = client.post("cases", rescue).await;
        let field = if missing.get("place").is_some() { "callback_number" } else { "place" };
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)));
    }
    let rescue =
        json!({ "kind": "rescue", "title": "Broken down", "place": "G2 km 100", "callback_number": "13800138000" });
    let (status, case) = client.post("cases", rescue).await;
    assert_eq!((status, &case["agent"], &case["number"]), (StatusCode::CREATED, &json!("agent"), &json!(1)));
    let path = format!("cases/{}", case["id"].as_str().expect("an id"));
    let (status, problem) = client.patch(&path, json!({ "version": 1, "place": null })).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("place")));
    let (status, _) = client.patch(&path, json!({ "version": 1, "status": "resolved" })).await;
    assert_eq!(status, StatusCode::OK);
    let (status, problem) = client.patch(&path, json!({ "version": 1, "status": "closed" })).await;
    assert_eq!((status, &problem["current"]["status"]), (StatusCode::CONFLICT, &json!("resolved")));
    let (status, _) = client.post(&format!("{path}/events"), json!({ "text": "called back" })).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, events) = client.get(&format!("{path}/events")).await;
    let kinds: Vec<&Value> = events["items"].as_array().expect("a list").iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["note", "changed", "created"]);
    assert_eq!(events["items"][1]["changes"]["status"], json!(["open", "resolved"]));
}

#[tokio::test]
async fn a_write_with_a_key_is_done_once() {
    let server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let write = |key: &'static str, name: &'static str| {
        let request = client.request(Method::POST, "customers").header("idempotency-key", key);
        answer(request.json(&json!({ "name": name })))
    };
    let (status, first) = write("one", "A").await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(write("one", "A").await, (StatusCode::CREATED, first));
    assert_eq!(write("one", "B").await.0, StatusCode::UNPROCESSABLE_ENTITY, "the key of another request");
    let (status, refused) = write("two", "").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(write("two", "").await, (status, refused), "a refusal is an answer too");
    assert_eq!(client.get("customers").await.1["items"].as_array().map(Vec::len), Some(1));
    // Ten at once: one does it, the others get its answer or are told to wait.
    let all = futures_util::future::join_all((0..10).map(|_| write("three", "C"))).await;
    assert!(all.iter().all(|(status, _)| [StatusCode::CREATED, StatusCode::CONFLICT].contains(status)), "{all:?}");
    assert_eq!(client.get("customers").await.1["items"].as_array().map(Vec::len), Some(2));
}

/// Call 1 of `agent` with a recording, call 2 of `bob` without.
async fn with_calls(server: &Server) -> Vec<u8> {
    let record = |number: u64, agent: &str, recording| CallRecord {
        id: call_id(number),
        tenant: tenant(),
        direction: Direction::Inbound,
        outcome: Outcome::Answered,
        cause: "caller_hangup".into(),
        from: cti_base::Pii::new("+8613800138000".into()),
        to: "4001001000".into(),
        trunk: Some("carrier-a".into()),
        ivr_path: vec!["start".into(), "menu".into()],
        queue: Some("repair".into()),
        agent: Some(agent.into()),
        customer_id: None,
        started_ms: 1_000 * number,
        queued_ms: None,
        offered_ms: None,
        answered_ms: Some(1_000 * number + 500),
        ended_ms: 1_000 * number + 900,
        wait_ms: 0,
        ring_ms: 0,
        talk_ms: 400,
        hold_ms: 0,
        legs: vec![],
        segments: vec![],
        recording,
        disposition: None,
        vars: Default::default(),
    };
    let recording = RecordingId::new(Timestamp::from_millis(1), &mut Rng::from_number(9));
    let path = "acme/2026/11/22/one.wav".to_owned();
    let file = server.folder.path().join("recordings").join(&path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&file, &bytes).expect("written");
    std::fs::write(file.with_extension("peaks.json"), r#"{"bucket_ms":50}"#).expect("written");
    let recorded =
        Recorded { path, duration_ms: 400, channels: 2, bytes: 100_000, sha256: "ab".repeat(32), incomplete: None };
    let facts = [
        Fact::RecordingStarted { tenant: tenant(), call: call_id(1), recording },
        Fact::CallEnded { record: Box::new(record(1, "agent", Some(recording))) },
        Fact::RecordingEnded { tenant: tenant(), call: call_id(1), recording, result: Ok(recorded), gaps: Vec::new() },
        Fact::CallEnded { record: Box::new(record(2, "bob", None)) },
    ];
    let facts = facts.into_iter().zip(1..).map(|(fact, seq)| FactRecord { seq, at: Timestamp::from_millis(seq), fact });
    projector::apply(&server.store, "test", &facts.collect::<Vec<_>>()).await.expect("projected");
    bytes
}

#[tokio::test]
async fn history_is_filtered_paged_and_exported() {
    let server = Server::start().await;
    with_calls(&server).await;
    let admin = server.client("acme", "admin").await;
    let (_, all) = admin.get("calls").await;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(all["items"][0]["id"], json!(call_id(2).to_string()), "newest first");
    let (_, first) = admin.get("calls?limit=1").await;
    let next = first["next"].as_str().expect("a next page");
    let (_, second) = admin.get(&format!("calls?limit=1&after={next}")).await;
    assert_eq!((&second["items"][0]["id"], &second["next"]), (&all["items"][1]["id"], &Value::Null));
    let (_, filtered) = admin.get("calls?agent=bob&outcome=answered&from_ms=1500&number=138").await;
    assert_eq!(filtered["items"].as_array().map(Vec::len), Some(1));

    for (path, accept) in [("calls?format=csv", "*/*"), ("calls", "text/csv")] {
        let answer = admin.request(Method::GET, path).header(header::ACCEPT, accept).send().await.expect("an answer");
        assert!(answer.headers()[header::CONTENT_TYPE].to_str().expect("text").starts_with("text/csv"));
        let text = answer.text().await.expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("id,direction,outcome,cause,from,to"));
        assert!(
            lines[2].contains(",answered,caller_hangup,+8613800138000,4001001000,carrier-a,start menu,repair,agent,")
        );
    }
    let agent = server.client("acme", "agent").await;
    let (_, own) = agent.get("calls?agent=bob").await;
    assert_eq!(own["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(own["items"][0]["agent"], "agent", "an agent sees their own calls whatever they ask");
    assert_eq!(agent.get(&format!("calls/{}", call_id(2))).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        server.client("other", "admin").await.get(&format!("calls/{}", call_id(1))).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_recording_is_played_in_parts_by_those_who_may_and_audited() {
    let server = Server::start().await;
    let bytes = with_calls(&server).await;
    let qa = server.client("acme", "qa").await;
    let path = format!("calls/{}/recording", call_id(1));
    let play = async |range: Option<&str>| {
        let mut request = qa.request(Method::GET, &path);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let answer = request.send().await.expect("an answer");
        let range = answer.headers().get(header::CONTENT_RANGE).map(|v| v.to_str().expect("text").to_owned());
        (answer.status().as_u16(), range, answer.bytes().await.expect("a body").to_vec())
    };
    let whole = play(None).await;
    assert_eq!((whole.0, whole.2.len()), (200, 100_000));
    assert_eq!(whole.2, bytes);
    let part = play(Some("bytes=1000-1999")).await;
    assert_eq!((part.0, part.1.as_deref(), &part.2[..]), (206, Some("bytes 1000-1999/100000"), &bytes[1000..2000]));
    let tail = play(Some("bytes=-10")).await;
    assert_eq!((tail.0, &tail.2[..]), (206, &bytes[99_990..]));
    let beyond = play(Some("bytes=100000-")).await;
    assert_eq!((beyond.0, beyond.1.as_deref()), (416, Some("bytes */100000")));
    let head = qa.request(Method::HEAD, &path).send().await.expect("an answer");
    assert_eq!(
        (head.status(), &head.headers()[header::CONTENT_LENGTH]),
        (StatusCode::OK, &"100000".parse().expect("text"))
    );
    assert_eq!(head.headers()[header::CONTENT_TYPE], "audio/wav");
    assert_eq!(head.headers()[header::ACCEPT_RANGES], "bytes");

    let (status, peaks) = qa.get(&format!("calls/{}/peaks", call_id(1))).await;
    assert_eq!((status, &peaks["bucket_ms"]), (StatusCode::OK, &json!(50)));
    assert_eq!(qa.get(&format!("calls/{}/recording", call_id(2))).await.0, StatusCode::NOT_FOUND);
    let status = async |tenant: &str, user: &str| {
        let client = server.client(tenant, user).await;
        client.request(Method::GET, &path).send().await.expect("an answer").status()
    };
    assert_eq!(status("acme", "agent").await, StatusCode::OK, "the call's own agent");
    assert_eq!(status("acme", "bob").await, StatusCode::NOT_FOUND);
    assert_eq!(status("other", "qa").await, StatusCode::NOT_FOUND);
    let (_, audit) = server.client("acme", "admin").await.get("audit").await;
    let plays = audit["items"].as_array().expect("a list").iter().filter(|entry| entry["action"] == "recording.play");
    assert!(plays.clone().count() >= 2 && plays.clone().any(|entry| entry["actor"] == "agent"), "{audit}");
}

#[tokio::test]
async fn a_case_whose_answer_was_lost_in_a_crash_is_made_once() {
    let server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let path = "/api/v1/cases";
    let new = json!({ "kind": "inquiry", "title": "First service" });
    let send = || answer(client.request(Method::POST, path).header("idempotency-key", "k1").json(&new));
    // The process ended after the case was written and before anything else was.
    let body = serde_json::to_vec(&new).expect("JSON");
    let mut hash = Sha256::new();
    for part in [b"POST".as_slice(), &[0], path.as_bytes(), &[0], &body] {
        hash.update(part);
    }
    let (tenant, now) = (tenant(), zongji_sql::now());
    let begun = idempotency::begin(&server.store, &tenant, "agent", "k1", &hex::encode(hash.finalize()), now).await;
    assert_eq!(begun.expect("begun"), Begun::Fresh);
    let (status, running) = send().await;
    assert_eq!((status, &running["type"]), (StatusCode::CONFLICT, &json!("urn:zongji:problem:still_running")));
    let case = CaseNew::new(CaseKind::Inquiry, "First service");
    let key = Some(Key { user: "agent", key: "k1" });
    let made = cases::create_once(&server.store, &tenant, "agent", &case, key, now).await.expect("made");
    // The next process frees what was not done.
    let start = now + Duration::from_millis(1);
    idempotency::abandon_before(&server.store, start).await.expect("freed");
    let (status, again) = send().await;
    assert_eq!((status, &again["id"]), (StatusCode::CREATED, &json!(made.id)));
    assert_eq!(client.get("cases").await.1["items"].as_array().map(Vec::len), Some(1));

    let begun = idempotency::begin(&server.store, &tenant, "agent", "k2", "f", now).await.expect("begun");
    assert_eq!(begun, Begun::Fresh);
    idempotency::abandon_before(&server.store, now).await.expect("freed");
    let begun = idempotency::begin(&server.store, &tenant, "agent", "k2", "f", now).await.expect("begun");
    assert_eq!(begun, Begun::Running, "it came after the start");
    idempotency::abandon_before(&server.store, start).await.expect("freed");
    let (status, _) = answer(client.request(Method::POST, path).header("idempotency-key", "k2").json(&new)).await;
    assert_eq!(status, StatusCode::CREATED, "what was not done is done at once, not after a minute");
}
