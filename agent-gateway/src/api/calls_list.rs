use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use cti_switch::config::Role;
use serde::Deserialize;
use zongji_sql::Page;
use zongji_sql::calls::{self, CallFilter};

use super::calls_csv;
use super::endpoint::{AFTER, Access, Answer, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/calls",
    access: Access::SignedIn,
    summary: "Call history, newest first",
    query: &[
        ("from_ms", "started at or after, UTC milliseconds"),
        ("to_ms", "started before, UTC milliseconds"),
        ("outcome", "one of contract.md's outcomes"),
        ("queue", "the queue's name"),
        ("agent", "the agent's name; an agent sees their own calls whatever they ask"),
        ("number", "part of either number"),
        ("customer_id", "the customer's id"),
        ("format", "csv, as with Accept: text/csv: without `limit` all calls, up to 10,000"),
        AFTER,
        LIMIT,
    ],
    body: None,
    answer: (200, Answer::List("Call")),
    problems: &[400, 422],
};

#[derive(Deserialize)]
pub struct Form {
    #[serde(default)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Json,
    Csv,
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(mut filter): Asked<CallFilter>,
    Asked(page): Asked<Page>,
    Asked(form): Asked<Form>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if who.role == Role::Agent {
        filter.agent = Some(who.user.clone());
    }
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    match form.format {
        Some(Format::Csv) => calls_csv::answer(&app.store, &who.tenant, &filter, page).await,
        None if accepts.starts_with("text/csv") => calls_csv::answer(&app.store, &who.tenant, &filter, page).await,
        Some(Format::Json) | None => {
            Ok(Json(calls::list(&app.store, &who.tenant, &filter, &page).await?).into_response())
        }
    }
}
