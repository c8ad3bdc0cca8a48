use reqwest::{Method, StatusCode, header};
use serde_json::json;

use super::server::{PASSWORD, Server, answer};

#[tokio::test]
async fn the_right_password_gives_a_cookie_and_signing_out_ends_it() {
    let server = Server::start().await;
    let signed_in = server.stranger().sign_in("acme", "agent", PASSWORD).await;
    assert_eq!(signed_in.status(), StatusCode::NO_CONTENT);
    let cookie = signed_in.headers()[header::SET_COOKIE].to_str().expect("text");
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(pair.strip_prefix("zongji_session=").map(str::len), Some(64), "256 random bits as hex");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");

    let client = server.client("acme", "agent").await;
    let (status, session) = client.get("session").await;
    assert_eq!((status, &session["user"], &session["role"]), (StatusCode::OK, &json!("agent"), &json!("agent")));
    assert_eq!(client.delete("session").await.0, StatusCode::NO_CONTENT);
    let (status, problem) = client.get("session").await;
    assert_eq!((status, &problem["type"]), (StatusCode::UNAUTHORIZED, &json!("urn:zongji:problem:not_signed_in")));
    assert_eq!(client.delete("session").await.0, StatusCode::NO_CONTENT, "signing out twice is no error");
}

#[tokio::test]
async fn under_tls_the_cookie_is_bound_to_the_host() {
    let server = Server::start_with(true).await;
    let signed_in = server.stranger().sign_in("acme", "agent", PASSWORD).await;
    let cookie = signed_in.headers()[header::SET_COOKIE].to_str().expect("text");
    assert!(cookie.starts_with("__Host-zongji_session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    assert_eq!(server.client("acme", "agent").await.get("me").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_password_an_unknown_user_and_an_unknown_tenant_look_alike() {
    let server = Server::start().await;
    let client = server.stranger();
    let mut answers = Vec::new();
    for (tenant, user) in [("acme", "agent"), ("acme", "nobody"), ("nowhere", "agent")] {
        let answer = client.sign_in(tenant, user, "wrong").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().get(header::SET_COOKIE).is_none());
        answers.push(answer.text().await.expect("text"));
    }
    assert!(answers.iter().all(|one| *one == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let server = Server::start().await;
    let client = server.stranger();
    for _ in 0..6 {
        assert_eq!(client.sign_in("acme", "agent", "wrong").await.status(), StatusCode::UNAUTHORIZED);
    }
    let refused = client.sign_in("acme", "agent", PASSWORD).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "even the right one waits");
    let wait: u64 = refused.headers()[header::RETRY_AFTER].to_str().expect("text").parse().expect("seconds");
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(client.sign_in("acme", "bob", PASSWORD).await.status(), StatusCode::NO_CONTENT, "another user does not");
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    assert_eq!(client.sign_in("acme", "agent", PASSWORD).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_program_signs_in_by_its_token() {
    let server = Server::start().await;
    let token = server.token("acme", "supervisor").await;
    let client = server.stranger();
    let with = |token: &str| client.request(Method::GET, "me").bearer_auth(token);
    let (status, me) = answer(with(&token)).await;
    assert_eq!((status, &me["user"]["name"]), (StatusCode::OK, &json!("supervisor")));
    assert_eq!(answer(with("0000")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_foreign_origin_may_not_write() {
    let server = Server::start().await;
    let client = server.client("acme", "agent").await;
    let write = |origin: &str| {
        let request = client.request(Method::POST, "customers").json(&json!({ "name": "A" }));
        answer(request.header(header::ORIGIN, origin))
    };
    assert_eq!(write("http://evil.example").await.0, StatusCode::FORBIDDEN);
    assert_eq!(write("null").await.0, StatusCode::FORBIDDEN);
    assert_eq!(write(&format!("http://{}", server.address)).await.0, StatusCode::CREATED);
    assert_eq!(client.post("customers", json!({ "name": "B" })).await.0, StatusCode::CREATED, "a program names none");
    let (_, list) = client.get("customers").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "the refused ones did nothing");
    let refused = client.socket_with(|headers| {
        headers.insert("origin", "http://evil.example".parse().expect("text"));
    });
    assert!(refused.await.is_err(), "nor open a websocket");
}

#[tokio::test]
async fn a_disabled_user_and_one_with_a_new_password_are_signed_out_everywhere() {
    let server = Server::start().await;
    let (admin, agent) = (server.client("acme", "admin").await, server.client("acme", "agent").await);
    let (mut desk, _, _) = agent.desk(json!({ "proto": 1, "build": "t" })).await;
    let (status, user) = admin.patch("users/agent", json!({ "password": "another horse" })).await;
    assert_eq!((status, &user["name"]), (StatusCode::OK, &json!("agent")));
    assert!(user.get("password_hash").is_none());
    assert_eq!(desk.closed().await, Some(4001));
    assert_eq!(agent.get("me").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(server.stranger().sign_in("acme", "agent", "another horse").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(admin.patch("users/agent", json!({ "disabled": true })).await.0, StatusCode::OK);
    let refused = server.stranger().sign_in("acme", "agent", "another horse").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let (status, problem) = admin.patch("users/admin", json!({ "disabled": true })).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("disabled")));
}
