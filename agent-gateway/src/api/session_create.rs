use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cti_base::TenantId;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::extract::Body;
use crate::App;
use crate::auth::Source;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/session",
    access: Access::Anyone,
    summary: "Signs in: sets the cookie zongji_session",
    query: &[],
    body: Some("SignIn"),
    answer: (204, Answer::Nothing),
    problems: &[401, 422],
};

#[derive(Deserialize, Serialize, TS)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub tenant: String,
    pub user: String,
    pub password: String,
}

/// A name longer than this is nobody's.
const NAME_LEN_MAX: usize = 200;

pub async fn handler(
    State(app): State<Arc<App>>,
    Source(source): Source,
    Body(SignIn { tenant, user, password }): Body<SignIn>,
) -> Result<Response, Problem> {
    for (field, text) in [("tenant", &tenant), ("user", &user)] {
        if text.is_empty() || text.len() > NAME_LEN_MAX {
            return Err(Problem::invalid(field, format!("must have 1 to {NAME_LEN_MAX} bytes")));
        }
    }
    let token = app.auth.sign_in(&app.store, &tenant, &user, password, source).await?;
    let detail = serde_json::json!({ "source": source.to_string() });
    let tenant = TenantId::from(tenant);
    let object = format!("user/{user}");
    zongji_sql::audit::add(&app.store, &tenant, &user, "session.create", &object, &detail, zongji_sql::now()).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, app.auth.set_cookie(Some(&token)))]).into_response())
}
