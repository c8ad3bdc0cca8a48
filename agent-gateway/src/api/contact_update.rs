use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use zongji_sql::contacts::{self, Contact, ContactPatch};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::{audit, changed, country};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Patch,
    path: "/api/v1/contacts/{id}",
    access: DESK,
    summary: "Changes a contact: absent fields stay, null clears; version must be the current one",
    query: &[],
    body: Some("ContactPatch"),
    answer: (200, Answer::One("Contact")),
    problems: &[400, 404, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    Body(patch): Body<ContactPatch>,
) -> Result<Json<Contact>, Problem> {
    let country = country(&app.store, &who.tenant).await?;
    let change = contacts::update(&app.store, &who.tenant, country, &id, &patch).await?;
    let contact = changed(change, "contact")?;
    audit(&app, &who, "contact.update", &format!("contact/{id}")).await?;
    Ok(Json(contact))
}
