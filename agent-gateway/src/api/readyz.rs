use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::App;
use crate::problem::Problem;

/// `GET /readyz`: whether the node can take calls. It can without the records, and then says what is missing.
pub async fn handler(State(app): State<Arc<App>>) -> Response {
    if app.ready.load(Ordering::Relaxed) {
        let text = match app.store.away() {
            None => "ready\n".to_owned(),
            Some(away) => {
                format!("ready, without the records: their database has not answered for {} s\n", away.as_secs())
            }
        };
        return (StatusCode::OK, text).into_response();
    }
    let detail = "this node takes no calls: it is starting or draining";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).retry_after(1).into_response()
}
