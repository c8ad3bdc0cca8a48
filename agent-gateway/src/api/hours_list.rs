use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::config::HoursDecl;
use zongji_sql::Listing;

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::list::{doc, whole};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/hours",
    access: Access::SignedIn,
    summary: "The opening hours that the tenant declares",
    query: &[],
    body: None,
    answer: (200, Answer::List("HoursDecl")),
    problems: &[],
};

pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Result<Json<Listing<HoursDecl>>, Problem> {
    Ok(whole(doc(&app.store, &who.tenant).await?.map(|doc| doc.hours).unwrap_or_default()))
}
