use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::config::QueueDecl;
use zongji_sql::Listing;

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::list::{doc, whole};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/queues",
    access: Access::SignedIn,
    summary: "The queues that the tenant declares",
    query: &[],
    body: None,
    answer: (200, Answer::List("QueueDecl")),
    problems: &[],
};

pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Result<Json<Listing<QueueDecl>>, Problem> {
    Ok(whole(doc(&app.store, &who.tenant).await?.map(|doc| doc.queue).unwrap_or_default()))
}
