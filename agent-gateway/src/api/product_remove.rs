use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use zongji_sql::products;

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::list::audit;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Delete,
    path: "/api/v1/products/{id}",
    access: DESK,
    summary: "Removes a product",
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
    if !products::remove(&app.store, &who.tenant, &id).await? {
        return Err(Problem::missing("product"));
    }
    audit(&app, &who, "product.remove", &format!("product/{id}")).await?;
    Ok(StatusCode::NO_CONTENT)
}
