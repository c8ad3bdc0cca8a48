use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use zongji_sql::voicemails::{self, Voicemail, VoicemailFilter};
use zongji_sql::{Listing, Page};

use super::endpoint::{AFTER, Answer, DESK_AND_QA, Endpoint, LIMIT, Method};
use super::extract::Asked;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/voicemails",
    access: DESK_AND_QA,
    summary: "Messages that callers left, newest first; each is played as its call's recording, from `from_ms`",
    query: &[
        ("state", "waiting, taken or done"),
        ("queue", "the queue's name"),
        ("agent", "those that one agent has, or has dealt with"),
        ("number", "part of the number"),
        AFTER,
        LIMIT,
    ],
    body: None,
    answer: (200, Answer::List("Voicemail")),
    problems: &[400, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(filter): Asked<VoicemailFilter>,
    Asked(page): Asked<Page>,
) -> Result<Json<Listing<Voicemail>>, Problem> {
    Ok(Json(voicemails::list(&app.store, &who.tenant, &filter, &page).await?))
}
