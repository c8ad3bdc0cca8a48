use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cti_base::AgentName;
use zongji_sql::sessions;

use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::App;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Delete,
    path: "/api/v1/session",
    access: Access::Anyone,
    summary: "Signs out: ends the session and its websockets; without one it does nothing",
    query: &[],
    body: None,
    answer: (204, Answer::Nothing),
    problems: &[],
};

pub async fn handler(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let who = app.auth.identify(&app.store, &headers).await?;
    if let Some(who) = who.filter(|who| !who.is_program) {
        // First what needs no records: they may be away.
        app.auth.forget(&who.session);
        app.hub.sign_out(&who.tenant, &AgentName::from(who.user.as_str()), Some(&who.session));
        sessions::end(&app.store, &who.session).await?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, app.auth.set_cookie(None))]).into_response())
}
