use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use cti_base::CallbackId;
use cti_switch::CallbackAsk;

use super::callback_create::refused;
use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::list::audit;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Delete,
    path: "/api/v1/callbacks/{id}",
    access: DESK,
    summary: "Cancels a callback that waits; one that is being dialled is not: 409",
    query: &[],
    body: None,
    answer: (204, Answer::Nothing),
    problems: &[404, 409],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = CallbackId::parse(&id).ok_or_else(|| Problem::missing("callback that waits"))?;
    let answer = app.hub.ask_callback(&who.tenant, CallbackAsk::Cancel(id)).await?;
    answer.map_err(refused)?;
    audit(&app, &who, "callback.cancel", &format!("callback/{id}")).await?;
    Ok(StatusCode::NO_CONTENT)
}
