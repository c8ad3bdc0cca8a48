use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use cti_switch::config::Role;
use zongji_sql::voicemails::{self, Voicemail, VoicemailPatch, VoicemailState};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::{audit, changed};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Patch,
    path: "/api/v1/voicemails/{id}",
    access: DESK,
    summary: "Takes a message, gives it back or finishes it; version must be the current one. An agent leaves others' alone. \
              Audited",
    query: &[],
    body: Some("VoicemailPatch"),
    answer: (200, Answer::One("Voicemail")),
    problems: &[400, 403, 404, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Path(id): Path<String>,
    Body(patch): Body<VoicemailPatch>,
) -> Result<Json<Voicemail>, Problem> {
    let missing = || Problem::missing("voicemail");
    let before = voicemails::get(&app.store, &who.tenant, &id).await?.ok_or_else(missing)?;
    let is_others = before.state == VoicemailState::Taken && before.agent.as_deref() != Some(&who.user);
    // Who comes too late is told so rather than that it is not theirs.
    if who.role == Role::Agent && is_others && before.version == patch.version {
        return Err(Problem::forbidden("a colleague has taken this message: they or a supervisor give it back"));
    }
    let change = voicemails::update(&app.store, &who.tenant, &id, &who.user, &patch, zongji_sql::now()).await?;
    let voicemail = changed(change, "voicemail")?;
    let action = match patch.state {
        VoicemailState::Waiting => "voicemail.give_back",
        VoicemailState::Taken => "voicemail.take",
        VoicemailState::Done => "voicemail.done",
    };
    audit(&app, &who, action, &format!("call/{id}")).await?;
    Ok(Json(voicemail))
}
