use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::config::IvrDecl;
use zongji_sql::Listing;

use super::endpoint::{ADMIN_SUPERVISOR, Answer, Endpoint, Method};
use super::list::{doc, whole};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/scripts",
    access: ADMIN_SUPERVISOR,
    summary: "The IVR scripts that the tenant declares, with their text",
    query: &[],
    body: None,
    answer: (200, Answer::List("IvrDecl")),
    problems: &[],
};

pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Result<Json<Listing<IvrDecl>>, Problem> {
    Ok(whole(doc(&app.store, &who.tenant).await?.map(|doc| doc.ivr).unwrap_or_default()))
}
