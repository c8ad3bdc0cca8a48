use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::config::Role;
use cti_switch::live::AgentLive;
use serde::Serialize;
use zongji_sql::Listing;

use super::endpoint::{Access, Answer, Endpoint, Method};
use super::list::{doc, whole};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/agents",
    access: Access::SignedIn,
    summary: "The agents that the tenant declares, each with its current state",
    query: &[],
    body: None,
    answer: (200, Answer::List("Agent")),
    problems: &[],
};

/// An agent as declared, without the phone's address, and as live.
#[derive(Serialize)]
pub struct Agent {
    name: String,
    display: String,
    role: Role,
    skills: BTreeMap<String, u8>,
    queues: Vec<String>,
    /// `webrtc`, `sip` or `contact`.
    phone: &'static str,
    always_ready: bool,
    /// None where the switch does not run the tenant.
    live: Option<AgentLive>,
}

pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Result<Json<Listing<Agent>>, Problem> {
    use cti_switch::config::Phone;
    let live = app.hub.live(&who.tenant);
    let declared = doc(&app.store, &who.tenant).await?.map(|doc| doc.agent).unwrap_or_default();
    let agents = declared.into_iter().map(|agent| Agent {
        live: live.as_ref().and_then(|live| live.agents.iter().find(|one| one.name == agent.name).cloned()),
        display: agent.display.unwrap_or_else(|| agent.name.as_str().to_owned()),
        name: agent.name.as_str().to_owned(),
        role: agent.role,
        skills: agent.skills,
        queues: agent.queues.iter().map(|queue| queue.as_str().to_owned()).collect(),
        phone: match agent.phone {
            Phone::Webrtc {} => "webrtc",
            Phone::Sip { .. } => "sip",
            Phone::Contact { .. } => "contact",
        },
        always_ready: agent.always_ready,
    });
    Ok(whole(agents.collect()))
}
