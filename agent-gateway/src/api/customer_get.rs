use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use zongji_sql::customers::{self, Customer};

use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/customers/{id}",
    access: Access::SignedIn,
    summary: "One customer with contacts and products",
    query: &[],
    body: None,
    answer: (200, Answer::One("Customer")),
    problems: &[404],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<Customer>, Problem> {
    let customer = customers::get(&app.store, &who.tenant, &id).await?;
    customer.map(Json).ok_or_else(|| Problem::missing("customer"))
}
