use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use zongji_sql::products::{self, Product, ProductNew};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::{Body, of_customer};
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

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<Product>), Problem> {
    let (customer_id, new): (String, ProductNew) = of_customer(body)?;
    let now = zongji_sql::now();
    let made = products::create(&app.store, &who.tenant, &customer_id, &new, now).await?;
    let made = made.ok_or_else(|| Problem::invalid("customer_id", "there is no such customer"))?;
    audit(&app, &who, "product.create", &format!("product/{}", made.id)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}
