//! Callbacks over the API, with the true switch behind it.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::engine::run_switch;
use super::server::{Server, answer};

#[tokio::test]
async fn a_callback_is_scheduled_once_and_cancelled_by_who_may() {
    let mut server = Server::start().await;
    run_switch(&mut server);
    let agent = server.client("acme", "agent").await;
    let due = zongji_sql::now().as_millis() + 3_600_000;
    let asked = json!({ "number": "138 0013 8000", "queue": "repair", "due_ms": due });
    let with_key = || agent.request(Method::POST, "callbacks").header("idempotency-key", "one").json(&asked);
    let (status, made) = answer(with_key()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(
        (&made["number"], &made["state"], &made["source"]),
        (&json!("+8613800138000"), &json!("waiting"), &json!("agent"))
    );
    assert_eq!((&made["due_ms"], &made["attempts"]), (&json!(due), &json!(0)));
    assert_eq!(answer(with_key()).await, (StatusCode::CREATED, made.clone()), "the same request again");

    let (status, problem) = agent.post("callbacks", asked.clone()).await;
    assert_eq!((status, &problem["type"]), (StatusCode::CONFLICT, &json!("urn:zongji:problem:duplicate")));
    assert_eq!(problem["current"], made);

    let mut refused = Vec::new();
    for (field, value) in [("number", "110"), ("number", "+49 30 901820"), ("queue", "none"), ("customer_id", "none")] {
        let mut bad = asked.clone();
        bad[field] = json!(value);
        let (status, problem) = agent.post("callbacks", bad).await;
        assert_eq!(problem["field"], field, "{problem}");
        refused.push(status);
    }
    assert_eq!(refused, [StatusCode::UNPROCESSABLE_ENTITY; 4]);
    let foreign = json!({ "number": "13800138001", "agent": "bob" });
    assert_eq!(agent.post("callbacks", foreign.clone()).await.0, StatusCode::FORBIDDEN);
    let (status, theirs) = server.client("acme", "supervisor").await.post("callbacks", foreign).await;
    assert_eq!(
        (status, &theirs["queue"], &theirs["source"]),
        (StatusCode::CREATED, &json!("general"), &json!("scheduled"))
    );

    let path = format!("callbacks/{}", made["id"].as_str().expect("an id"));
    assert_eq!(server.client("other", "admin").await.delete(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.client("acme", "qa").await.delete(&path).await.0, StatusCode::FORBIDDEN);
    assert_eq!(agent.delete(&path).await.0, StatusCode::NO_CONTENT);
    assert_eq!(agent.delete(&path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(agent.post("callbacks", asked).await.0, StatusCode::CREATED, "the number waits no more");
}
