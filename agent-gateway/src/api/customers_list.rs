use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use zongji_sql::customers::{self, Customer, CustomerFilter};
use zongji_sql::{Listing, Page};

use super::endpoint::{AFTER, Access, Answer, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/customers",
    access: Access::SignedIn,
    summary: "Customers with contacts and products, newest first",
    query: &[("q", "part of a name, company, number or address, or a serial number"), AFTER, LIMIT],
    body: None,
    answer: (200, Answer::List("Customer")),
    problems: &[400, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(filter): Asked<CustomerFilter>,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing<Customer>>, Problem> {
    Ok(Json(customers::list(&app.store, &who.tenant, &filter, &page).await?))
}
