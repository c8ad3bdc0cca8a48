use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::config::Role;
use serde::Serialize;
use zongji_sql::users;
use zongji_sql::{Listing, Page};

use super::endpoint::{ADMIN, AFTER, Answer, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/users",
    access: ADMIN,
    summary: "The people who sign in, by name",
    query: &[AFTER, LIMIT],
    body: None,
    answer: (200, Answer::List("User")),
    problems: &[400, 422],
};

/// A user without the hashes.
#[derive(Serialize)]
pub struct User {
    name: String,
    display: String,
    role: Role,
    /// Whether they can sign in to the desktop at all.
    has_password: bool,
    disabled: bool,
    version: u64,
    created_ms: u64,
    updated_ms: u64,
}

impl From<users::User> for User {
    fn from(user: users::User) -> Self {
        Self {
            name: user.name,
            display: user.display,
            role: user.role,
            has_password: user.password_hash.is_some(),
            disabled: user.disabled,
            version: user.version,
            created_ms: user.created_ms,
            updated_ms: user.updated_ms,
        }
    }
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing<User>>, Problem> {
    let Listing { items, next } = users::list(&app.store, &who.tenant, &page).await?;
    Ok(Json(Listing { items: items.into_iter().map(User::from).collect(), next }))
}
