use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use zongji_sql::cases::{self, CaseEvent};
use zongji_sql::{Listing, Page};

use super::endpoint::{AFTER, Access, Answer, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/cases/{id}/events",
    access: Access::SignedIn,
    summary: "What happened to a case, newest first",
    query: &[AFTER, LIMIT],
    body: None,
    answer: (200, Answer::List("CaseEvent")),
    problems: &[400, 404, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing<CaseEvent>>, Problem> {
    if cases::get(&app.store, &who.tenant, &id).await?.is_none() {
        return Err(Problem::missing("case"));
    }
    Ok(Json(cases::events(&app.store, &who.tenant, &id, &page).await?))
}
