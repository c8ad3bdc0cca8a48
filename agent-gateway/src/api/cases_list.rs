use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use zongji_sql::cases::{self, Case, CaseFilter};
use zongji_sql::{Listing, Page};

use super::endpoint::{AFTER, Access, Answer, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/cases",
    access: Access::SignedIn,
    summary: "Cases, newest first",
    query: &[
        ("customer_id", "of this customer"),
        ("call_id", "logged during this call"),
        ("kind", "inquiry, complaint, repair, follow_up or rescue"),
        ("status", "open, in_progress, resolved or closed"),
        ("agent", "the agent's name"),
        ("q", "part of the title, or the number"),
        AFTER,
        LIMIT,
    ],
    body: None,
    answer: (200, Answer::List("Case")),
    problems: &[400, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(filter): Asked<CaseFilter>,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing<Case>>, Problem> {
    Ok(Json(cases::list(&app.store, &who.tenant, &filter, &page).await?))
}
