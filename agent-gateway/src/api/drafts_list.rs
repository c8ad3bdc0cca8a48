use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use zongji_sql::Listing;
use zongji_sql::drafts::{self, Draft};

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::list::whole;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/drafts",
    access: Access::SignedIn,
    summary: "One's own drafts, the newest 100",
    query: &[],
    body: None,
    answer: (200, Answer::List("Draft")),
    problems: &[],
};

pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Result<Json<Listing<Draft>>, Problem> {
    Ok(whole(drafts::of_user(&app.store, &who.tenant, &who.user).await?))
}
