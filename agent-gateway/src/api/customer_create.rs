use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use zongji_sql::customers::{self, Customer, CustomerNew};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::{audit, country};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/customers",
    access: DESK,
    summary: "Adds a customer with contacts and products",
    query: &[],
    body: Some("CustomerNew"),
    answer: (201, Answer::One("Customer")),
    problems: &[400, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Body(new): Body<CustomerNew>,
) -> Result<(StatusCode, Json<Customer>), Problem> {
    let country = country(&app.store, &who.tenant).await?;
    let customer = customers::create(&app.store, &who.tenant, country, &new, zongji_sql::now()).await?;
    audit(&app, &who, "customer.create", &format!("customer/{}", customer.id)).await?;
    Ok((StatusCode::CREATED, Json(customer)))
}
