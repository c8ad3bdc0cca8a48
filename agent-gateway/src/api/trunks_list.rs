use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::config::TrunkDecl;
use zongji_sql::Listing;

use super::endpoint::{ADMIN_SUPERVISOR, Answer, Endpoint, Method};
use super::list::{doc, whole};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/trunks",
    access: ADMIN_SUPERVISOR,
    summary: "The trunks that the tenant declares",
    query: &[],
    body: None,
    answer: (200, Answer::List("TrunkDecl")),
    problems: &[],
};

pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Result<Json<Listing<TrunkDecl>>, Problem> {
    let mut trunks = doc(&app.store, &who.tenant).await?.map(|doc| doc.trunk).unwrap_or_default();
    for register in trunks.iter_mut().filter_map(|trunk| trunk.register.as_mut()) {
        register.secret = None;
    }
    Ok(whole(trunks))
}
