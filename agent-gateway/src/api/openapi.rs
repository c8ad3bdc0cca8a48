use axum::Json;
use serde_json::{Map, Value, json};

use super::ALL;
use super::endpoint::{Access, Answer, Endpoint, Method};

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/openapi.json",
    access: Access::Anyone,
    summary: "This document",
    query: &[],
    body: None,
    answer: (200, Answer::One("OpenApi")),
    problems: &[],
};

pub async fn handler() -> Json<Value> {
    Json(document())
}

/// OpenAPI 3.1, made from every endpoint's own description. The types' fields are those of the TypeScript types that the web
/// application uses; here they have their names.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas: Map<String, Value> = Map::new();
    for endpoint in ALL {
        for name in [endpoint.body, answered(endpoint.answer.1)].into_iter().flatten() {
            schemas.insert(key(name), json!({ "type": "object", "title": name }));
        }
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.word()] = operation(endpoint);
    }
    schemas.insert("Problem".into(), problem());
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Zongji", "version": crate::BUILD, "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "cookie": { "type": "apiKey", "in": "cookie", "name": "zongji_session" },
                "token": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    responses.insert(endpoint.answer.0.to_string(), success(endpoint.answer.1));
    let always: &[u16] = if endpoint.access == Access::Anyone { &[] } else { &[401, 403] };
    for status in endpoint.problems.iter().chain(always).chain(&[429, 500, 503]) {
        let content = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        let reason = axum::http::StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
        responses.insert(status.to_string(), json!({ "description": reason.unwrap_or("Error"), "content": content }));
    }
    let mut operation = json!({
        "summary": endpoint.summary,
        "description": format!("Allowed to {}.", endpoint.access.words()),
        "operationId": operation_id(endpoint),
        "parameters": parameters(endpoint),
        "responses": responses,
    });
    if let Some(body) = endpoint.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(body) } } });
    }
    if endpoint.access != Access::Anyone {
        operation["security"] = json!([{ "cookie": [] }, { "token": [] }]);
    }
    operation
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }));
    let in_query = endpoint
        .query
        .iter()
        .map(|(name, meaning)| json!({ "name": name, "in": "query", "description": meaning, "schema": text }));
    let mut all: Vec<Value> = in_path.chain(in_query).collect();
    if endpoint.method == Method::Post && endpoint.access != Access::Anyone {
        let meaning = "the same key within 24 hours: done once, the first answer again";
        all.push(json!({ "name": "Idempotency-Key", "in": "header", "description": meaning, "schema": text }));
    }
    all
}

fn success(answer: Answer) -> Value {
    match answer {
        Answer::Nothing => json!({ "description": "Done" }),
        Answer::One(name) => {
            json!({ "description": name, "content": { "application/json": { "schema": reference(name) } } })
        }
        Answer::List(name) => {
            let properties = json!({
                "items": { "type": "array", "items": reference(name) },
                "next": { "type": ["string", "null"] },
            });
            let schema = json!({ "type": "object", "required": ["items", "next"], "properties": properties });
            json!({ "description": format!("A page of {name}"), "content": { "application/json": { "schema": schema } } })
        }
        Answer::Bytes(kind) => json!({ "description": kind, "content": { kind: {} } }),
    }
}

fn answered(answer: Answer) -> Option<&'static str> {
    match answer {
        Answer::One(name) | Answer::List(name) => Some(name),
        Answer::Nothing | Answer::Bytes(_) => None,
    }
}

/// A schema's key has no spaces.
fn key(name: &str) -> String {
    name.split(' ').next().unwrap_or(name).to_owned()
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", key(name)) })
}

fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/api/v1/");
    let path: String = path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let parts = path.split('_').filter(|part| !part.is_empty());
    std::iter::once(endpoint.method.word()).chain(parts).collect::<Vec<_>>().join("_")
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "field": { "type": "string" },
            "current": {},
        },
    })
}
