use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use zongji_sql::audit::{self, AuditEntry};
use zongji_sql::{Listing, Page};

use super::endpoint::{ADMIN, AFTER, Answer, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/audit",
    access: ADMIN,
    summary: "Who did what, newest first",
    query: &[AFTER, LIMIT],
    body: None,
    answer: (200, Answer::List("AuditEntry")),
    problems: &[400, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing<AuditEntry>>, Problem> {
    Ok(Json(audit::list(&app.store, &who.tenant, &page).await?))
}
