use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use zongji_sql::{Listing, tenants};

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::list::whole;
use crate::App;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/tenants",
    access: Access::System,
    summary: "The tenants of this installation",
    query: &[],
    body: None,
    answer: (200, Answer::List("Tenant")),
    problems: &[],
};

#[derive(Serialize)]
pub struct Tenant {
    id: String,
    name: String,
    /// Whether a tenant's file is applied: without one it takes no calls.
    declared: bool,
    version: u64,
    created_ms: u64,
    updated_ms: u64,
}

pub async fn handler(State(app): State<Arc<App>>) -> Result<Json<Listing<Tenant>>, Problem> {
    let tenants = tenants::list(&app.store).await?.into_iter().map(|tenant| Tenant {
        id: tenant.id.as_str().to_owned(),
        name: tenant.name,
        declared: tenant.doc.is_some(),
        version: tenant.version,
        created_ms: tenant.created_ms,
        updated_ms: tenant.updated_ms,
    });
    Ok(whole(tenants.collect()))
}
