use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use cti_base::AgentName;
use serde::Deserialize;
use zongji_sql::{sessions, users};

use super::endpoint::{ADMIN, Answer, Endpoint, Method};
use super::extract::Body;
use super::list::audit;
use super::users_list::User;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Patch,
    path: "/api/v1/users/{name}",
    access: ADMIN,
    summary: "Disables or enables someone, or gives them a new password: they are signed out everywhere",
    query: &[],
    body: Some("UserPatch"),
    answer: (200, Answer::One("User")),
    problems: &[400, 404, 409, 413, 422],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    #[serde(default)]
    disabled: Option<bool>,
    #[serde(default)]
    password: Option<String>,
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(name): Path<String>,
    Body(patch): Body<Patch>,
) -> Result<Json<User>, Problem> {
    if patch.disabled == Some(true) && name == who.user {
        return Err(Problem::invalid("disabled", "nobody disables themselves: another administrator must"));
    }
    let (store, tenant, now) = (&app.store, &who.tenant, zongji_sql::now());
    let mut user = users::get(store, tenant, &name).await?.ok_or_else(|| Problem::missing("user"))?;
    let gone = || Problem::missing("user");
    if let Some(password) = patch.password {
        let hash = app.auth.hash(password).await?;
        user = users::set_password(store, tenant, &name, &hash, now).await?.ok_or_else(gone)?;
        audit(&app, &who, "user.password", &format!("user/{name}")).await?;
        sign_out(&app, &who, &name).await?;
    }
    if let Some(disabled) = patch.disabled {
        user = users::set_disabled(store, tenant, &name, disabled, now).await?.ok_or_else(gone)?;
        let action = if disabled { "user.disable" } else { "user.enable" };
        audit(&app, &who, action, &format!("user/{name}")).await?;
        if disabled {
            sign_out(&app, &who, &name).await?;
        }
    }
    Ok(Json(User::from(user)))
}

async fn sign_out(app: &App, who: &SignedIn, name: &str) -> Result<(), Problem> {
    app.auth.forget_user(&who.tenant, name);
    sessions::end_all_of(&app.store, &who.tenant, name).await?;
    app.hub.sign_out(&who.tenant, &AgentName::from(name), None);
    Ok(())
}
