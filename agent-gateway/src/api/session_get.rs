use axum::Json;
use serde::Serialize;
use ts_rs::TS;

use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::auth::SignedIn;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/session",
    access: Access::SignedIn,
    summary: "Who is signed in",
    query: &[],
    body: None,
    answer: (200, Answer::One("Session")),
    problems: &[],
};

#[derive(Serialize, TS)]
pub struct Session {
    pub tenant: String,
    pub user: String,
    pub display: String,
    pub role: cti_switch::config::Role,
}

pub async fn handler(who: SignedIn) -> Json<Session> {
    Json(Session { tenant: who.tenant.as_str().to_owned(), user: who.user, display: who.display, role: who.role })
}
