use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use zongji_sql::products::{self, Product, ProductPatch};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::{audit, changed};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Patch,
    path: "/api/v1/products/{id}",
    access: DESK,
    summary: "Changes a product: absent fields stay, null clears; version must be the current one",
    query: &[],
    body: Some("ProductPatch"),
    answer: (200, Answer::One("Product")),
    problems: &[400, 404, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    Body(patch): Body<ProductPatch>,
) -> Result<Json<Product>, Problem> {
    let change = products::update(&app.store, &who.tenant, &id, &patch).await?;
    let product = changed(change, "product")?;
    audit(&app, &who, "product.update", &format!("product/{id}")).await?;
    Ok(Json(product))
}
