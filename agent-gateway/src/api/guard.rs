//! What stands in front of every handler of the API: known parameters, our own Origin, who asks and whether they may, the
//! same write only once, and an end to waiting.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use zongji_sql::idempotency::{self, Begun, Key};

use super::BODY_BYTES_MAX;
use super::endpoint::{Access, Endpoint, Method};
use crate::App;
use crate::auth::{SignedIn, check_origin};
use crate::problem::Problem;

/// A handler that has not answered within this is given up: 503.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an answer that are kept for an Idempotency-Key.
const KEPT_BYTES_MAX: usize = 256 * 1024;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The request's `Idempotency-Key`, where it has one.
#[derive(Clone)]
pub struct RequestKey(String);

impl RequestKey {
    /// For a write that keeps its answer in its own transaction.
    pub fn of<'a>(key: &'a Option<Extension<Self>>, who: &'a SignedIn) -> Option<Key<'a>> {
        key.as_ref().map(|Extension(Self(key))| Key { user: &who.user, key })
    }
}

#[derive(Clone)]
pub struct Guard {
    pub app: Arc<App>,
    pub endpoint: &'static Endpoint,
}

pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, admit(guard, request, next)).await {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => {
            let detail = "this took too long: try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_slow", detail).retry_after(5).into_response()
        }
    }
}

async fn admit(guard: Guard, mut request: Request, next: Next) -> Result<Response, Problem> {
    let Guard { app, endpoint } = guard;
    if endpoint.method != Method::Get {
        check_origin(request.headers(), request.uri())?;
    }
    if endpoint.access != Access::Anyone {
        let who = app.auth.identify(&app.store, request.headers()).await?.ok_or_else(Problem::not_signed_in)?;
        if !endpoint.access.allows(&who) {
            return Err(Problem::forbidden(&format!("this needs {}", endpoint.access.words())));
        }
        request.extensions_mut().insert(who);
    }
    check_parameters(endpoint, request.uri().query().unwrap_or_default())?;
    let who = request.extensions().get::<SignedIn>().cloned();
    match (endpoint.method, request.headers().get(IDEMPOTENCY_KEY).cloned(), who) {
        (Method::Post, Some(key), Some(who)) => once(&app, &who, &key, request, next).await,
        (_, _, _) => Ok(next.run(request).await),
    }
}

/// A parameter that is misspelt would otherwise silently ask for everything.
fn check_parameters(endpoint: &Endpoint, query: &str) -> Result<(), Problem> {
    for name in query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair)) {
        if !endpoint.query.iter().any(|(known, _)| *known == name) {
            let known: Vec<&str> = endpoint.query.iter().map(|(name, _)| *name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let name: String = name.chars().take(40).collect();
            let detail = format!("there is no parameter `{name}` here; there are: {known}");
            return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown_parameter", detail).field(name));
        }
    }
    Ok(())
}

/// Carries a write out once, however often it comes with the same key.
async fn once(app: &App, who: &SignedIn, key: &HeaderValue, request: Request, next: Next) -> Result<Response, Problem> {
    let invalid = || Problem::invalid("Idempotency-Key", "must be 1 to 255 visible ASCII characters");
    let key = key.to_str().map_err(|_| invalid())?.to_owned();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    })?;
    let mut hash = Sha256::new();
    hash.update(parts.method.as_str());
    hash.update([0]);
    hash.update(parts.uri.path());
    hash.update([0]);
    hash.update(&body);
    let fingerprint = hex::encode(hash.finalize());
    let (store, tenant, user) = (&app.store, &who.tenant, who.user.as_str());
    match idempotency::begin(store, tenant, user, &key, &fingerprint, zongji_sql::now()).await? {
        Begun::Fresh => {}
        Begun::Done { status, body } => return Ok(again(status, body)),
        Begun::Running => {
            let detail = "the first request with this key is not finished: try again";
            return Err(Problem::new(StatusCode::CONFLICT, "still_running", detail).retry_after(1));
        }
        Begun::OtherRequest => {
            let detail = "this key was used for another request: make a new one";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", detail).field("Idempotency-Key"));
        }
    }
    // A caller who goes away must not leave a write done and its key open: from here on it runs to its end.
    let (store, tenant, user) = (app.store.clone(), who.tenant.clone(), who.user.clone());
    let mut request = Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(RequestKey(key.clone()));
    let running = tokio::spawn(async move {
        let (parts, body) = next.run(request).await.into_parts();
        let Ok(body) = to_bytes(body, KEPT_BYTES_MAX).await else {
            return Problem::internal(&"an answer is longer than an Idempotency-Key can keep").into_response();
        };
        let kept = match (parts.status.is_server_error(), std::str::from_utf8(&body)) {
            (false, Ok(text)) => {
                let status = parts.status.as_u16();
                idempotency::finish(&store, &tenant, &user, &key, status, text, zongji_sql::now()).await
            }
            (true, _) | (_, Err(_)) => idempotency::abandon(&store, &tenant, &user, &key).await,
        };
        if let Err(error) = kept {
            tracing::warn!(http.error = %error, "the answer of an Idempotency-Key can not be kept");
        }
        Response::from_parts(parts, Body::from(body))
    });
    running.await.map_err(|error| Problem::internal(&error))
}

/// The answer of the first time.
fn again(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
