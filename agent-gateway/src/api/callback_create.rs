use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cti_base::{AgentName, Pii, QueueName};
use cti_switch::config::Role;
use cti_switch::{Callback, CallbackAsk, CallbackNew, CallbackRefusal, CallbackSource};
use serde::Deserialize;
use zongji_sql::customers;

use super::endpoint::{Answer, DESK, Endpoint, Method};
use super::extract::Body;
use super::list::audit;
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Post,
    path: "/api/v1/callbacks",
    access: DESK,
    summary: "Schedules a callback for a queue or an agent; one number waits once in a queue: 409 has the one that does",
    query: &[],
    body: Some("CallbackRequest"),
    answer: (201, Answer::One("Callback")),
    problems: &[400, 409, 413, 422],
};

/// Whom to call back, by whom, and when.
#[derive(Clone, Debug, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
pub struct CallbackRequest {
    pub number: String,
    /// At least one of queue and agent; without a queue the first that the agent serves.
    #[serde(default)]
    #[ts(optional)]
    pub queue: Option<String>,
    #[serde(default)]
    #[ts(optional)]
    pub agent: Option<String>,
    /// UTC milliseconds; at once where it is not given.
    #[serde(default)]
    #[ts(optional, type = "number")]
    pub due_ms: Option<u64>,
    #[serde(default)]
    #[ts(optional)]
    pub customer_id: Option<String>,
    #[serde(default)]
    #[ts(optional)]
    pub contact_id: Option<String>,
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Body(asked): Body<CallbackRequest>,
) -> Result<(StatusCode, Json<Callback>), Problem> {
    let is_agent = who.role == Role::Agent;
    if is_agent && asked.agent.as_deref().is_some_and(|agent| agent != who.user) {
        return Err(Problem::forbidden("an agent promises callbacks for themselves or for a queue"));
    }
    if let Some(id) = &asked.customer_id
        && customers::get(&app.store, &who.tenant, id).await?.is_none()
    {
        return Err(Problem::invalid("customer_id", "there is no such customer"));
    }
    let new = CallbackNew {
        number: Pii::new(asked.number),
        queue: asked.queue.map(QueueName::from),
        agent: asked.agent.map(AgentName::from),
        due_ms: asked.due_ms,
        customer_id: asked.customer_id,
        contact_id: asked.contact_id,
        source: if is_agent { CallbackSource::Agent } else { CallbackSource::Scheduled },
    };
    let answer = app.hub.ask_callback(&who.tenant, CallbackAsk::Schedule(Box::new(new))).await?;
    let callback = answer.map_err(refused)?;
    audit(&app, &who, "callback.create", &format!("callback/{}", callback.id)).await?;
    Ok((StatusCode::CREATED, Json(callback)))
}

/// The switch's refusal in words.
pub fn refused(refusal: CallbackRefusal) -> Problem {
    match refusal {
        CallbackRefusal::NoQueue => Problem::invalid("queue", "there is no such queue, or the agent serves none"),
        CallbackRefusal::NoAgent => Problem::invalid("agent", "there is no such agent"),
        CallbackRefusal::NoNumber => Problem::invalid("number", "is no telephone number"),
        CallbackRefusal::NotAllowed => {
            let detail = "may not be dialled: `[tenant] outbound` of the tenant's file names the beginnings that may";
            Problem::invalid("number", detail)
        }
        CallbackRefusal::TooLate => Problem::invalid("due_ms", "is more than 90 days away"),
        CallbackRefusal::TooMany => {
            let detail = "the tenant has as many callbacks as there may be: try again when some are done";
            Problem::new(StatusCode::CONFLICT, "too_many", detail)
        }
        CallbackRefusal::Duplicate(known) => {
            standing(&known, "duplicate", "this number waits for this queue's callback already: see `current`")
        }
        CallbackRefusal::Running(known) => standing(&known, "running", "it is being dialled: see `current`"),
        CallbackRefusal::NotFound => Problem::missing("callback that waits"),
    }
}

fn standing(known: &Callback, word: &str, detail: &str) -> Problem {
    let mut problem = Problem::new(StatusCode::CONFLICT, word, detail);
    problem.current = serde_json::to_value(known).ok().map(Box::new);
    problem
}
