use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::list::audit;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Delete,
    path: "/api/v1/bans/{id}",
    access: Access::System,
    summary: "Lets in again who was kept out",
    query: &[],
    body: None,
    answer: (204, Answer::Nothing),
    problems: &[404],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if !(app.bans.lift)(&id) {
        return Err(Problem::missing("ban"));
    }
    audit(&app, &who, "ban.lift", &format!("ban/{id}")).await?;
    Ok(StatusCode::NO_CONTENT)
}
