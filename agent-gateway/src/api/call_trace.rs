use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use cti_base::CallId;
use cti_switch::config::Role;
use cti_switch::trace::TraceEntry;
use serde::Serialize;
use zongji_sql::trace;

use super::call_get::visible;
use super::endpoint::{Access, Answer, Endpoint, Method};
use super::trace_text::{self, Tongue};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/calls/{id}/trace",
    access: Access::SignedIn,
    summary: "Why the call went where it went: every decision in its order, with a sentence in Accept-Language (zh, en); an \
              agent sees only their own calls",
    query: &[],
    body: None,
    answer: (200, Answer::One("Trace")),
    problems: &[404],
};

#[derive(Serialize, ts_rs::TS)]
pub struct Trace {
    pub items: Vec<TraceItem>,
}

/// One decision, or what came of one: `kind` and its fields.
#[derive(Serialize, ts_rs::TS)]
pub struct TraceItem {
    /// UTC milliseconds.
    #[ts(type = "number")]
    pub at_ms: u64,
    /// The same as a sentence.
    pub text: String,
    #[serde(flatten)]
    pub entry: TraceEntry,
}

/// A call that is not over is in nobody's history yet: those who see every call see its trace so far.
pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Trace>, Problem> {
    let call = CallId::parse(&id).ok_or_else(|| Problem::missing("call"))?;
    let found = visible(&app, &who, &id).await;
    if who.role == Role::Agent {
        found?;
    } else if let Err(problem) = found
        && trace::of_call(&app.store, &who.tenant, &call).await?.is_empty()
    {
        return Err(problem);
    }
    let accepts = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let tongue = Tongue::of(accepts.unwrap_or_default());
    let traced = trace::of_call(&app.store, &who.tenant, &call).await?;
    let item = |trace::Traced { at_ms, entry }| TraceItem { at_ms, text: trace_text::sentence(&entry, tongue), entry };
    Ok(Json(Trace { items: traced.into_iter().map(item).collect() }))
}
