use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::Callback;
use zongji_sql::callbacks::{self, CallbackFilter};
use zongji_sql::{Listing, Page};

use super::endpoint::{AFTER, Answer, DESK_AND_QA, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/callbacks",
    access: DESK_AND_QA,
    summary: "Callbacks, newest first, as soon as the journal's facts are in the records",
    query: &[
        ("state", "waiting, reserved, dialing, done, failed or cancelled"),
        ("queue", "the queue's name"),
        ("agent", "those that one agent owns"),
        ("customer_id", "of this customer"),
        ("number", "part of the number"),
        AFTER,
        LIMIT,
    ],
    body: None,
    answer: (200, Answer::List("Callback")),
    problems: &[400, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(filter): Asked<CallbackFilter>,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing<Callback>>, Problem> {
    Ok(Json(callbacks::list(&app.store, &who.tenant, &filter, &page).await?))
}
