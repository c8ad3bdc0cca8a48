use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Query, Request};
use axum::http::{StatusCode, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// A JSON body; what is wrong with it is a problem that names the field.
pub struct Body<T>(pub T);

/// The query's parameters, likewise.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refused(rejection)),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(bad_query(&rejection)),
        }
    }
}

/// A body that names the customer beside the fields of something of theirs.
pub fn of_customer<T: DeserializeOwned>(mut body: Map<String, Value>) -> Result<(String, T), Problem> {
    let customer_id = match body.remove("customer_id") {
        Some(Value::String(id)) => id,
        Some(_) | None => return Err(Problem::invalid("customer_id", "must be a customer's id")),
    };
    match serde_json::from_value(Value::Object(body)) {
        Ok(new) => Ok((customer_id, new)),
        Err(error) => Err(misfit(&error.to_string())),
    }
}

/// JSON that is not of the type asked for.
fn misfit(detail: &str) -> Problem {
    match field_of(detail) {
        Some(field) => Problem::invalid(&field, detail),
        None => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
    }
}

fn refused(rejection: JsonRejection) -> Problem {
    let text = rejection.body_text();
    match rejection {
        JsonRejection::JsonDataError(_) => {
            let detail = text.strip_prefix("Failed to deserialize the JSON body into the target type: ");
            misfit(detail.unwrap_or(&text))
        }
        JsonRejection::JsonSyntaxError(_) => Problem::new(StatusCode::BAD_REQUEST, "bad_json", text),
        JsonRejection::MissingJsonContentType(_) => {
            let detail = "send the body as JSON with Content-Type: application/json";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)
        }
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("a body has at most {} bytes", super::BODY_BYTES_MAX);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        other => Problem::new(other.status(), "bad_body", text),
    }
}

fn bad_query(rejection: &QueryRejection) -> Problem {
    let text = rejection.body_text();
    let detail = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned();
    let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", detail.clone());
    // serde names the parameter first: `limit: invalid digit found in string`.
    match detail.split_once(": ").filter(|(field, _)| field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) {
        Some((field, _)) => problem.field(field),
        None => problem,
    }
}

/// The field that serde's message names: the path before `: `, or the name in a missing or unknown field.
fn field_of(detail: &str) -> Option<String> {
    let backticked = || detail.split('`').nth(1).map(String::from);
    if detail.starts_with("missing field") || detail.starts_with("unknown field") {
        return backticked();
    }
    let (path, rest) = detail.split_once(": ")?;
    let is_path = !path.is_empty() && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.[]".contains(&b));
    if !is_path {
        return None;
    }
    // A missing field's path is its parent's, an unknown one's its own.
    match rest.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        Some(name) => Some(format!("{path}.{name}")),
        None => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_field() {
        let check = |detail: &str, expect: Option<&str>| assert_eq!(field_of(detail).as_deref(), expect, "{detail}");
        check("missing field `title` at line 1 column 2", Some("title"));
        check("unknown field `x`, expected one of `a`, `b`", Some("x"));
        check("x: unknown field `x`, expected `a`", Some("x"));
        check("kind: unknown variant `x`, expected `inquiry`", Some("kind"));
        check("contacts[0].kind: unknown variant `x`", Some("contacts[0].kind"));
        check("contacts[0]: missing field `value`", Some("contacts[0].value"));
        check("invalid type: string, expected struct", None);
    }
}
