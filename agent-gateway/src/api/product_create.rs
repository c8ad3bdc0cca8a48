use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use zongji_sql::products::{self, Product, ProductNew};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::audit;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/products",
    access: DESK,
    summary: "Adds a product to a customer",
    query: &[],
    body: Some("ProductNew with customer_id"),
    answer: (201, Answer::One("Product")),
    problems: &[400, 409, 413, 422],
};

#[derive(Deserialize)]
pub struct New {
    customer_id: String,
    #[serde(flatten)]
    product: ProductNew,
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Product>), Problem> {
    let now = zongji_sql::now();
    let made = products::create(&app.store, &who.tenant, &new.customer_id, &new.product, now).await?;
    let made = made.ok_or_else(|| Problem::invalid("customer_id", "there is no such customer"))?;
    audit(&app, &who, "product.create", &format!("product/{}", made.id)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}
