use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::App;
use crate::problem::Problem;

/// `GET /readyz`: whether the node can take calls.
pub async fn handler(State(app): State<Arc<App>>) -> Response {
    if app.ready.load(Ordering::Relaxed) {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let detail = "this node takes no calls: it is starting or draining";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).retry_after(1).into_response()
}
