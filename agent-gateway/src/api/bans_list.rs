use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use zongji_sql::Listing;

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::list::whole;
use crate::{App, Ban};

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/bans",
    access: Access::System,
    summary: "Who is kept out for wrong SIP credentials, the latest last",
    query: &[],
    body: None,
    answer: (200, Answer::List("Ban")),
    problems: &[],
};

pub async fn handler(State(app): State<Arc<App>>) -> Json<Listing<Ban>> {
    whole((app.bans.list)())
}
