use std::collections::BTreeSet;

use reqwest::{Method as Http, StatusCode};
use serde_json::{Value, json};

use super::server::{Server, answer};
use crate::api::{ALL, Access, Method};

fn http(method: Method) -> Http {
    match method {
        Method::Get => Http::GET,
        Method::Post => Http::POST,
        Method::Patch => Http::PATCH,
        Method::Delete => Http::DELETE,
    }
}

/// Every endpoint × nobody, every role, and the installation's administrator.
#[tokio::test]
async fn every_endpoint_lets_in_exactly_those_it_says() {
    let mut server = Server::start().await;
    // Some ask the switch.
    super::engine::run_switch(&mut server);
    let mut people = vec![("nobody", server.stranger())];
    for role in ["agent", "supervisor", "qa", "admin"] {
        people.push((role, server.client("acme", role).await));
    }
    people.push(("root", server.client("system", "root").await));
    let mut checked = 0;
    for endpoint in ALL.iter().filter(|endpoint| endpoint.path != "/api/v1/session") {
        let path = endpoint.path.replace("{id}", "00000000-0000-7000-8000-000000000000").replace("{name}", "nobody");
        for (name, client) in &people {
            // An empty body is refused by whatever lets it come that far.
            let (status, _) = answer(client.request(http(endpoint.method), &path).json(&json!({}))).await;
            let expect = match (endpoint.access, *name) {
                (Access::Anyone, _) => None,
                (_, "nobody") => Some(StatusCode::UNAUTHORIZED),
                (Access::SignedIn, _) => None,
                (Access::System, "root") => None,
                (Access::System, _) => Some(StatusCode::FORBIDDEN),
                (Access::Roles(roles), name) => {
                    let name = if name == "root" { "admin" } else { name };
                    let allowed = roles.iter().any(|role| format!("{role:?}").to_ascii_lowercase() == name);
                    (!allowed).then_some(StatusCode::FORBIDDEN)
                }
            };
            let refusal = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status).then_some(status);
            assert_eq!(refusal, expect, "{:?} {path} as {name}: {status}", endpoint.method);
            assert!(!status.is_server_error(), "{:?} {path} as {name}: {status}", endpoint.method);
            checked += 1;
        }
    }
    assert_eq!(checked, (ALL.len() - 3) * 6);
}

/// What only some may do, said here once more by hand, so that a slip in a description does not pass.
#[tokio::test]
async fn an_agent_is_kept_from_what_is_not_theirs() {
    let server = Server::start().await;
    let (agent, qa) = (server.client("acme", "agent").await, server.client("acme", "qa").await);
    for path in ["users", "audit", "trunks", "numbers", "scripts", "tenants"] {
        assert_eq!(agent.get(path).await.0, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(qa.get(path).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(qa.post("customers", json!({ "name": "A" })).await.0, StatusCode::FORBIDDEN);
    assert_eq!(server.client("acme", "admin").await.get("tenants").await.0, StatusCode::FORBIDDEN);
    let (status, tenants) = server.client("system", "root").await.get("tenants").await;
    assert_eq!((status, tenants["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(3)));
}

#[tokio::test]
async fn the_openapi_document_is_true_to_the_routes() {
    let server = Server::start().await;
    let admin = server.client("acme", "admin").await;
    let (status, document) = server.stranger().get("openapi.json").await;
    assert_eq!((status, &document["openapi"]), (StatusCode::OK, &json!("3.1.0")));
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            described.insert((path.clone(), method.clone()));
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            for reference in references(operation) {
                let pointer = reference.trim_start_matches('#');
                assert!(document.pointer(pointer).is_some(), "{method} {path}: {reference} leads nowhere");
            }
        }
    }
    let declared: BTreeSet<_> =
        ALL.iter().map(|endpoint| (endpoint.path.to_owned(), endpoint.method.word().to_owned())).collect();
    assert_eq!(described, declared);
    // The router agrees: exactly the described methods are taken.
    for path in document["paths"].as_object().expect("paths").keys() {
        for method in ["get", "post", "patch", "delete", "put"] {
            let url = path.replace("{id}", "none").replace("{name}", "none");
            let method_name = Http::from_bytes(method.to_ascii_uppercase().as_bytes()).expect("a method");
            let request = admin.request(method_name, &url).header("origin", "http://foreign.example");
            let (status, _) = answer(request.json(&json!({}))).await;
            let taken = status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(taken, described.contains(&(path.clone(), method.to_owned())), "{method} {path}: {status}");
        }
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(reference)) => vec![reference.clone()],
                (_, value) => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
