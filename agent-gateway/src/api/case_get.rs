use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use zongji_sql::cases::{self, Case};

use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/cases/{id}",
    access: Access::SignedIn,
    summary: "One case",
    query: &[],
    body: None,
    answer: (200, Answer::One("Case")),
    problems: &[404],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<Case>, Problem> {
    let case = cases::get(&app.store, &who.tenant, &id).await?;
    case.map(Json).ok_or_else(|| Problem::missing("case"))
}
