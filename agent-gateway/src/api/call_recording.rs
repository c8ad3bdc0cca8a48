use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cti_base::CallId;
use recordings::playback;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;
use zongji_sql::recordings::{Recording, RecordingState};

use super::call_get::{of_tenant, visible};
use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/calls/{id}/recording",
    access: Access::SignedIn,
    summary: "The recording as stereo WAV, customer left, agent right; Range is answered. Supervisors, QA and administrators, and the call's own agent; a voicemail's everybody at a desk. Audited",
    query: &[("id", "which recording of the call; the first where not given")],
    body: None,
    answer: (200, Answer::Bytes("audio/wav")),
    problems: &[404, 409, 416],
};

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 * 1024;

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    super::extract::Asked(which): super::extract::Asked<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (recording, file) = find(&app, &who, &id, which.id.as_deref()).await?;
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).map(String::from);
    let if_range = headers.get(header::IF_RANGE).and_then(|tag| tag.to_str().ok());
    let tag = recording.sha256.as_ref().map(|digest| format!("\"{digest}\""));
    // A part of another version is no part of this one (RFC 9110, 13.1.5).
    let range = range.filter(|_| if_range.is_none() || if_range == tag.as_deref());
    let begins = range.as_deref().is_none_or(|range| range.starts_with("bytes=0-"));
    let opened = tokio::task::spawn_blocking(move || playback::open(&file, range.as_deref())).await;
    let opened = opened.map_err(|e| Problem::internal(&e))?.map_err(|e| Problem::internal(&e))?;
    let opened = opened.ok_or_else(|| Problem::missing("recording: its file is gone"))?;
    if begins {
        let detail = serde_json::json!({ "recording": recording.id });
        let object = format!("call/{id}");
        let now = zongji_sql::now();
        zongji_sql::audit::add(&app.store, &who.tenant, &who.user, "recording.play", &object, &detail, now).await?;
    }
    let status = StatusCode::from_u16(opened.status).map_err(|e| Problem::internal(&e))?;
    let (length, content_range) = (opened.content_length, opened.content_range.clone());
    let mut response = match status {
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let detail = "the recording is shorter than the range asked for";
            Problem::new(status, "range_not_satisfiable", detail).into_response()
        }
        _ => {
            let (file, length) = opened.into_file();
            let bytes = tokio::fs::File::from_std(file).take(length);
            Body::from_stream(ReaderStream::with_capacity(bytes, CHUNK_BYTES)).into_response()
        }
    };
    *response.status_mut() = status;
    let answer = response.headers_mut();
    if status != StatusCode::RANGE_NOT_SATISFIABLE {
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"));
        answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    for (name, value) in [(header::CONTENT_RANGE, content_range), (header::ETAG, tag)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            answer.insert(name, value);
        }
    }
    Ok(response)
}

#[derive(serde::Deserialize)]
pub struct Which {
    #[serde(default)]
    pub id: Option<String>,
}

/// The recording and its file.
pub async fn find(app: &App, who: &SignedIn, call: &str, which: Option<&str>) -> Result<(Recording, PathBuf), Problem> {
    // A message is the whole queue's: everyone who may have the work may hear it. A talk that came before it is not.
    let message = zongji_sql::voicemails::get(&app.store, &who.tenant, call).await?;
    let call = match (message, of_tenant(app, who, call).await?) {
        (Some(_), found) if found.agent.is_none() => found,
        (Some(_) | None, _) => visible(app, who, call).await?,
    };
    let call_id = CallId::parse(&call.id).ok_or_else(|| Problem::missing("call"))?;
    let all = zongji_sql::recordings::of_call(&app.store, &who.tenant, &call_id).await?;
    let wanted = which.map(String::from).or_else(|| call.recording.map(|recording| recording.id));
    let recording = all.into_iter().find(|recording| Some(&recording.id) == wanted.as_ref());
    let recording = recording.ok_or_else(|| Problem::missing("recording"))?;
    let not_there = |detail: &str| Err(Problem::new(StatusCode::CONFLICT, "not_recorded", detail));
    let path = match (recording.state, &recording.path) {
        (RecordingState::Sealed | RecordingState::Incomplete, Some(path)) => path.clone(),
        (RecordingState::Recording, _) => return not_there("the call is still recorded: try again when it has ended"),
        (RecordingState::Failed | RecordingState::Sealed | RecordingState::Incomplete, _) => {
            return not_there("the recording failed");
        }
    };
    let file = recordings::resolve(&app.recordings_root, &path).map_err(|e| Problem::internal(&e))?;
    Ok((recording, file))
}
