use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use cti_base::CallId;
use cti_switch::config::Role;
use zongji_sql::calls::{self, Call};

use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/calls/{id}",
    access: Access::SignedIn,
    summary: "One call; an agent sees only their own",
    query: &[],
    body: None,
    answer: (200, Answer::One("Call")),
    problems: &[404],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<Call>, Problem> {
    Ok(Json(visible(&app, &who, &id).await?))
}

/// The call, if the tenant has it, whoever asks.
pub async fn of_tenant(app: &App, who: &SignedIn, id: &str) -> Result<Call, Problem> {
    let id = CallId::parse(id).ok_or_else(|| Problem::missing("call"))?;
    calls::get(&app.store, &who.tenant, &id).await?.ok_or_else(|| Problem::missing("call"))
}

/// The call, if it is there and this person may see it: an agent their own, the others every call of the tenant.
pub async fn visible(app: &App, who: &SignedIn, id: &str) -> Result<Call, Problem> {
    let call = of_tenant(app, who, id).await?;
    let own = call.agent.as_deref() == Some(&who.user)
        || call.legs.iter().any(|leg| leg.agent.as_deref() == Some(&who.user) && leg.answered_ms.is_some());
    match who.role {
        Role::Agent if !own => Err(Problem::missing("call")),
        Role::Agent | Role::Supervisor | Role::Qa | Role::Admin => Ok(call),
    }
}
