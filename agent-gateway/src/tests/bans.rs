use reqwest::{Method, StatusCode};
use serde_json::json;

use super::server::{Server, answer};

#[tokio::test]
async fn bans_are_seen_and_lifted_once_and_that_is_in_the_audit() {
    let server = Server::start().await;
    let root = server.client("system", "root").await;
    let (status, list) = root.get("bans").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        list["items"],
        json!([{ "id": "7", "source": "192.0.2.1", "user": "1001", "failures": 5, "since_ms": 1, "until_ms": 2 }])
    );
    assert_eq!(answer(root.request(Method::DELETE, "/api/v1/bans/8")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(answer(root.request(Method::DELETE, "/api/v1/bans/7")).await.0, StatusCode::NO_CONTENT);
    let (_, audit) = root.get("audit").await;
    assert_eq!((&audit["items"][0]["action"], &audit["items"][0]["object"]), (&json!("ban.lift"), &json!("ban/7")));
}
