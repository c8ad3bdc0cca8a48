use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::call_recording::{Which, find};
use super::endpoint::{Access, Answer, Endpoint, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/calls/{id}/peaks",
    access: Access::SignedIn,
    summary: "What the waveform is drawn from: least and greatest sample of each side in buckets",
    query: &[("id", "which recording of the call; the first where not given")],
    body: None,
    answer: (200, Answer::One("Peaks")),
    problems: &[404, 409],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let (_, file) = find(&app, &who, &id, which.id.as_deref()).await?;
    let read = tokio::task::spawn_blocking(move || recordings::peaks::read_or_make_json(&file)).await;
    let peaks = read.map_err(|e| Problem::internal(&e))?.map_err(|e| Problem::internal(&e))?;
    let peaks = peaks.ok_or_else(|| Problem::missing("recording: its file is gone"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], peaks).into_response())
}
