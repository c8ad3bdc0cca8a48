use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use zongji_sql::cases::{self, Case, CasePatch};

use super::case_create::{check_kind, check_links};
use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::{audit, changed};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Patch,
    path: "/api/v1/cases/{id}",
    access: DESK,
    summary: "Changes a case: absent fields stay, null clears; version must be the current one. What changed is in its events",
    query: &[],
    body: Some("CasePatch"),
    answer: (200, Answer::One("Case")),
    problems: &[400, 404, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    Body(patch): Body<CasePatch>,
) -> Result<Json<Case>, Problem> {
    let link = |value: &Option<Option<String>>| value.clone().flatten();
    let (customer, product, call) = (link(&patch.customer_id), link(&patch.product_id), link(&patch.call_id));
    check_links(&app, &who, customer.as_deref(), product.as_deref(), call.as_deref()).await?;
    let before = cases::get(&app.store, &who.tenant, &id).await?.ok_or_else(|| Problem::missing("case"))?;
    let place = patch.place.clone().unwrap_or(before.place);
    let callback_number = patch.callback_number.clone().unwrap_or(before.callback_number);
    check_kind(patch.kind.unwrap_or(before.kind), place.as_deref(), callback_number.as_deref())?;
    let change = cases::update(&app.store, &who.tenant, &id, &who.user, &patch, zongji_sql::now()).await?;
    let case = changed(change, "case")?;
    audit(&app, &who, "case.update", &format!("case/{id}")).await?;
    Ok(Json(case))
}
