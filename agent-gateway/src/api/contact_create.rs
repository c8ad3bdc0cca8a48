use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};
use zongji_sql::contacts::{self, Contact, ContactNew};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::{Body, of_customer};
use super::list::{audit, country};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/contacts",
    access: DESK,
    summary: "Adds a contact to a customer",
    query: &[],
    body: Some("ContactNew with customer_id"),
    answer: (201, Answer::One("Contact")),
    problems: &[400, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Body(body): Body<Map<String, Value>>,
) -> Result<(StatusCode, Json<Contact>), Problem> {
    let (customer_id, new): (String, ContactNew) = of_customer(body)?;
    let now = zongji_sql::now();
    let country = country(&app.store, &who.tenant).await?;
    let made = contacts::create(&app.store, &who.tenant, country, &customer_id, &new, now).await?;
    let made = made.ok_or_else(|| Problem::invalid("customer_id", "there is no such customer"))?;
    audit(&app, &who, "contact.create", &format!("contact/{}", made.id)).await?;
    Ok((StatusCode::CREATED, Json(made)))
}
