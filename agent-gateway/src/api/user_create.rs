use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cti_switch::config::Role;
use serde::Deserialize;
use zongji_sql::users::{self, UserPut};

use super::endpoint::{ADMIN, Answer, Endpoint, Method};
use super::extract::Body;
use super::list::audit;
use super::users_list::User;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/users",
    access: ADMIN,
    summary: "Adds someone who signs in",
    query: &[],
    body: Some("UserNew"),
    answer: (201, Answer::One("User")),
    problems: &[400, 409, 413, 422],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    name: String,
    #[serde(default)]
    display: Option<String>,
    #[serde(default)]
    role: Role,
    password: String,
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<User>), Problem> {
    if let Some(user) = users::get(&app.store, &who.tenant, &new.name).await? {
        let mut problem = Problem::conflict(&User::from(user)).field("name");
        problem.detail = "this name is taken: choose another, or PATCH the user".into();
        return Err(problem);
    }
    let password_hash = Some(app.auth.hash(new.password).await?);
    let put = UserPut { name: new.name, display: new.display, role: new.role, password_hash, sip_ha1: None };
    let user = users::put(&app.store, &who.tenant, &put, zongji_sql::now()).await?;
    audit(&app, &who, "user.create", &format!("user/{}", user.name)).await?;
    Ok((StatusCode::CREATED, Json(User::from(user))))
}
