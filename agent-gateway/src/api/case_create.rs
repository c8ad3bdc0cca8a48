use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use cti_base::{AgentName, CallId};
use cti_switch::config::Role;
use zongji_sql::cases::{self, Case, CaseKind, CaseNew};
use zongji_sql::{customers, drafts, products};

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::guard::RequestKey;
use super::list::audit;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/cases",
    access: DESK,
    summary: "Logs a case; rescue needs place and callback_number. The draft of its call and kind is cleared",
    query: &[],
    body: Some("CaseNew"),
    answer: (201, Answer::One("Case")),
    problems: &[400, 409, 413, 422],
};

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    key: Option<Extension<RequestKey>>,
    Body(mut new): Body<CaseNew>,
) -> Result<(StatusCode, Json<Case>), Problem> {
    check_links(&app, &who, new.customer_id.as_deref(), new.product_id.as_deref(), new.call_id.as_deref()).await?;
    check_kind(new.kind, new.place.as_deref(), new.callback_number.as_deref())?;
    if new.agent.is_none() && who.role == Role::Agent {
        new.agent = Some(who.user.clone());
    }
    let key = RequestKey::of(&key, &who);
    let case = cases::create_once(&app.store, &who.tenant, &who.user, &new, key, zongji_sql::now()).await?;
    audit(&app, &who, "case.create", &format!("case/{}", case.id)).await?;
    if let Some(call) = case.call_id.as_deref().and_then(CallId::parse) {
        clear_draft(&app, &who, &call, &case).await;
    }
    Ok((StatusCode::CREATED, Json(case)))
}

/// Someone who is stranded must be found and reached: a rescue has a place and a number to call back.
pub fn check_kind(kind: CaseKind, place: Option<&str>, callback_number: Option<&str>) -> Result<(), Problem> {
    let needed = match kind {
        CaseKind::Rescue => [("place", place), ("callback_number", callback_number)],
        CaseKind::Inquiry | CaseKind::Complaint | CaseKind::Repair | CaseKind::FollowUp => return Ok(()),
    };
    match needed.into_iter().find(|(_, value)| value.is_none_or(|text| text.trim().is_empty())) {
        Some((field, _)) => Err(Problem::invalid(field, "a rescue needs it: where to go and whom to call back")),
        None => Ok(()),
    }
}

/// What a case names must be the tenant's own. A call may still be going on, so it has no record yet: its form is checked.
pub async fn check_links(
    app: &App,
    who: &SignedIn,
    customer: Option<&str>,
    product: Option<&str>,
    call: Option<&str>,
) -> Result<(), Problem> {
    if let Some(id) = customer
        && customers::get(&app.store, &who.tenant, id).await?.is_none()
    {
        return Err(Problem::invalid("customer_id", "there is no such customer"));
    }
    if let Some(id) = product
        && products::get(&app.store, &who.tenant, id).await?.is_none()
    {
        return Err(Problem::invalid("product_id", "there is no such product"));
    }
    if call.is_some_and(|id| CallId::parse(id).is_none()) {
        return Err(Problem::invalid("call_id", "must be a call's id"));
    }
    Ok(())
}

/// The case is logged whether or not its draft goes: one that stays is only offered again.
async fn clear_draft(app: &App, who: &SignedIn, call: &CallId, case: &Case) {
    let kind = serde_json::to_value(case.kind).ok().and_then(|kind| kind.as_str().map(String::from));
    let Some(kind) = kind else { return };
    match drafts::remove(&app.store, &who.tenant, &who.user, call, Some(&kind)).await {
        Ok(_) => {
            let agent = AgentName::from(who.user.as_str());
            app.hub.draft_cleared(&who.tenant, &agent, &call.to_string(), &kind);
        }
        Err(error) => tracing::warn!(draft.error = %error, "the draft of a logged case stays"),
    }
}
