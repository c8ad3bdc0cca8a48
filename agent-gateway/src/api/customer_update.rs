use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use zongji_sql::customers::{self, Customer, CustomerPatch};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::{audit, changed};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Patch,
    path: "/api/v1/customers/{id}",
    access: DESK,
    summary: "Changes a customer: absent fields stay, null clears; version must be the current one",
    query: &[],
    body: Some("CustomerPatch"),
    answer: (200, Answer::One("Customer")),
    problems: &[400, 404, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    Body(patch): Body<CustomerPatch>,
) -> Result<Json<Customer>, Problem> {
    let change = customers::update(&app.store, &who.tenant, &id, &patch, zongji_sql::now()).await?;
    let customer = changed(change, "customer")?;
    audit(&app, &who, "customer.update", &format!("customer/{id}")).await?;
    Ok(Json(customer))
}
