use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Deserialize;
use zongji_sql::cases::{self, CaseEvent};

use super::endpoint::{Answer, DESK_AND_QA, Endpoint, Method};
use super::extract::Body;
use super::guard::RequestKey;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/cases/{id}/events",
    access: DESK_AND_QA,
    summary: "Adds a note to a case: {text}",
    query: &[],
    body: Some("Note"),
    answer: (201, Answer::One("CaseEvent")),
    problems: &[400, 404, 409, 413, 422],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    text: String,
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    key: Option<Extension<RequestKey>>,
    Path(id): Path<String>,
    Body(note): Body<Note>,
) -> Result<(StatusCode, Json<CaseEvent>), Problem> {
    let (key, now) = (RequestKey::of(&key, &who), zongji_sql::now());
    let event = cases::add_note_once(&app.store, &who.tenant, &id, &who.user, &note.text, key, now).await?;
    event.map(|event| (StatusCode::CREATED, Json(event))).ok_or_else(|| Problem::missing("case"))
}
