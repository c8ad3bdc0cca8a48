//! Messages over the API: taken once, left alone by others, heard by the whole desk.

use cti_base::{Pii, RecordingId, Rng, Timestamp};
use cti_switch::{Fact, FactRecord, VoicemailRecord};
use reqwest::StatusCode;
use serde_json::json;
use zongji_sql::projector;

use super::server::{Server, call_id, tenant};

#[tokio::test]
async fn a_message_is_taken_by_one_and_given_back_by_who_may() {
    let server = Server::start().await;
    let message = VoicemailRecord {
        call: call_id(1),
        tenant: tenant(),
        queue: "repair".into(),
        recording: RecordingId::new(Timestamp::from_millis(1), &mut Rng::from_number(9)),
        number: Pii::new("+8613800138000".into()),
        customer_id: None,
        received_ms: 5_000,
        from_ms: 0,
        length_ms: 4_000,
    };
    let fact = Fact::VoicemailLeft { voicemail: Box::new(message) };
    let record = FactRecord { seq: 1, at: Timestamp::from_millis(1), fact };
    projector::apply(&server.store, "test", &[record]).await.expect("projected");
    let (agent, bob) = (server.client("acme", "agent").await, server.client("acme", "bob").await);
    let (_, list) = agent.get("voicemails?state=waiting&queue=repair").await;
    assert_eq!((&list["items"][0]["number"], &list["items"][0]["version"]), (&json!("+8613800138000"), &json!(1)));
    let path = format!("voicemails/{}", call_id(1));
    let (status, taken) = agent.patch(&path, json!({ "version": 1, "state": "taken" })).await;
    assert_eq!((status, &taken["agent"], &taken["state"]), (StatusCode::OK, &json!("agent"), &json!("taken")));
    let (status, problem) = bob.patch(&path, json!({ "version": 1, "state": "taken" })).await;
    assert_eq!((status, &problem["current"]), (StatusCode::CONFLICT, &taken));
    assert_eq!(bob.patch(&path, json!({ "version": 2, "state": "done" })).await.0, StatusCode::FORBIDDEN);
    let supervisor = server.client("acme", "supervisor").await;
    let (status, back) = supervisor.patch(&path, json!({ "version": 2, "state": "waiting" })).await;
    assert_eq!((status, &back["agent"]), (StatusCode::OK, &json!(null)));
    let (status, done) = bob.patch(&path, json!({ "version": 3, "state": "done", "note": "rang them" })).await;
    assert_eq!((status, &done["agent"], &done["note"]), (StatusCode::OK, &json!("bob"), &json!("rang them")));
    assert_eq!(agent.get("voicemails?state=waiting").await.1["items"].as_array().map(Vec::len), Some(0));
    let stranger = server.client("other", "admin").await;
    assert_eq!(stranger.patch(&path, json!({ "version": 4, "state": "taken" })).await.0, StatusCode::NOT_FOUND);
    let (_, audit) = server.client("acme", "admin").await.get("audit").await;
    let actions: Vec<&str> =
        audit["items"].as_array().expect("a list").iter().filter_map(|e| e["action"].as_str()).collect();
    for action in ["voicemail.take", "voicemail.give_back", "voicemail.done"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
}
