use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cti_switch::live::Live;

use super::endpoint::{Access, Answer, Endpoint, Method};
use crate::App;
use crate::auth::SignedIn;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/live",
    access: Access::SignedIn,
    summary: "The tenant's current state: queues, agents, calls, alarms; an agent sees only their own calls",
    query: &[],
    body: None,
    answer: (200, Answer::One("Live")),
    problems: &[],
};

/// A tenant that the switch does not run has an empty state.
pub async fn handler(State(app): State<Arc<App>>, who: SignedIn) -> Json<Live> {
    Json(app.live_of(&who).unwrap_or_else(|| Live { at_ms: crate::now_ms(), ..Live::default() }))
}
