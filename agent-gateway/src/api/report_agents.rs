use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use cti_base::{AgentName, QueueName, TenantId};
use cti_switch::desk::AgentState;
use cti_switch::figures::{AgentFigures, CallFigures, QueueFigures, Sink, in_state};
use cti_switch::live::Live;
use serde::Serialize;
use zongji_sql::figures::{self, AgentPart, Part};

use super::endpoint::{Answer, Endpoint, Method, REPORTS};
use super::extract::Asked;
use super::report::{self, FORMAT, FROM, Form, INTERVAL, Interval, TO};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/reports/agents",
    access: REPORTS,
    summary: "Figures of the agents by interval, with the state that each is in up to now",
    query: &[FROM, TO, INTERVAL, FORMAT],
    body: None,
    answer: (200, Answer::One("AgentReport")),
    problems: &[400],
};

#[derive(Serialize, ts_rs::TS)]
pub struct AgentReport {
    /// Whole intervals, UTC milliseconds; the end is not included.
    #[ts(type = "number")]
    pub from_ms: u64,
    #[ts(type = "number")]
    pub to_ms: u64,
    #[ts(type = "\"15m\" | \"1h\" | \"1d\"")]
    pub interval: Interval,
    /// By interval, then by agent: those who were on duty or were offered a call.
    pub items: Vec<AgentRow>,
}

/// Lengths are milliseconds. Staffed = ready + offered + talking + wrapup + break; talking = talk + hold; an offer counts in the
/// interval in which it was made, and offers = answered + rejected + missed + failed + withdrawn + ringing.
#[derive(Serialize, ts_rs::TS)]
pub struct AgentRow {
    #[ts(type = "number")]
    pub start_ms: u64,
    #[ts(type = "number")]
    pub end_ms: u64,
    pub agent: AgentName,
    #[ts(type = "number")]
    pub offers: u64,
    #[ts(type = "number")]
    pub answered: u64,
    #[ts(type = "number")]
    pub rejected: u64,
    #[ts(type = "number")]
    pub missed: u64,
    #[ts(type = "number")]
    pub failed: u64,
    #[ts(type = "number")]
    pub withdrawn: u64,
    #[ts(type = "number")]
    pub ring_ms: u64,
    #[ts(type = "number")]
    pub talk_ms: u64,
    #[ts(type = "number")]
    pub hold_ms: u64,
    #[ts(type = "number")]
    pub wrapup_ms: u64,
    #[ts(type = "number")]
    pub ready_ms: u64,
    #[ts(type = "number")]
    pub offered_ms: u64,
    #[ts(type = "number")]
    pub talking_ms: u64,
    #[ts(type = "number")]
    pub break_ms: u64,
    /// By reason; without one is `""`.
    #[ts(type = "Record<string, number>")]
    pub breaks: BTreeMap<String, u64>,
    #[ts(type = "number")]
    pub staffed_ms: u64,
    /// (Talking + wrap-up) / (staffed − break), 0 to 1.
    pub occupancy: Option<f32>,
}

const COLUMNS: [&str; 20] = [
    "start_ms",
    "end_ms",
    "agent",
    "offers",
    "answered",
    "rejected",
    "missed",
    "failed",
    "withdrawn",
    "ring_ms",
    "talk_ms",
    "hold_ms",
    "wrapup_ms",
    "ready_ms",
    "offered_ms",
    "talking_ms",
    "break_ms",
    "breaks",
    "staffed_ms",
    "occupancy",
];

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(form): Asked<Form>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = form.read(&app.store, &who.tenant).await?;
    let mut parts = BTreeMap::new();
    for span in &asked.spans {
        for Part { start_ms, name, figures } in figures::agents(&app.store, &who.tenant, *span).await? {
            parts.insert((start_ms, name), figures);
        }
    }
    if let Some(live) = app.hub.live(&who.tenant) {
        add_present(&who.tenant, &live, &mut Present { asked: &asked, parts: &mut parts });
    }
    let items: Vec<AgentRow> = parts
        .into_iter()
        .map(|((start_ms, agent), part)| row((start_ms, asked.end_of(start_ms)), agent, &part))
        .collect();
    if form.wants_csv(&headers) {
        return report::csv("agents", &COLUMNS, &items);
    }
    let (from_ms, to_ms, interval) = (asked.from_ms, asked.to_ms, asked.interval);
    Ok(Json(AgentReport { from_ms, to_ms, interval, items }).into_response())
}

/// A state is told of when it is over: those that go on are added up to now.
fn add_present(tenant: &TenantId, live: &Live, sink: &mut Present<'_>) {
    for agent in &live.agents {
        in_state(tenant, &agent.name, (agent.state, agent.reason.as_deref()), (agent.since_ms, live.at_ms), sink);
    }
}

struct Present<'a> {
    asked: &'a report::Stretch,
    parts: &'a mut BTreeMap<(u64, AgentName), AgentPart>,
}

impl Sink for Present<'_> {
    fn queue(&mut self, _: &TenantId, _: &QueueName, _: u64, _: &QueueFigures) {}
    fn agent(&mut self, _: &TenantId, _: &AgentName, _: u64, _: &AgentFigures) {}
    fn calls(&mut self, _: &TenantId, _: u64, _: &CallFigures) {}

    fn state(&mut self, _: &TenantId, agent: &AgentName, start_ms: u64, state: (AgentState, Option<&str>), ms: u64) {
        if let Some(part) = self.asked.part_of(start_ms) {
            self.parts.entry((part, agent.clone())).or_default().times.add(state, ms);
        }
    }
}

fn row((start_ms, end_ms): (u64, u64), agent: AgentName, AgentPart { figures: f, times }: &AgentPart) -> AgentRow {
    let talking_ms = times.of(AgentState::Talking);
    AgentRow {
        start_ms,
        end_ms,
        agent,
        offers: f.offers,
        answered: f.answered,
        rejected: f.rejected,
        missed: f.missed,
        failed: f.failed,
        withdrawn: f.withdrawn,
        ring_ms: f.ring_ms,
        // While a hold goes on it is counted as talk; once it is over, as hold.
        talk_ms: talking_ms.saturating_sub(f.hold_ms),
        hold_ms: f.hold_ms,
        wrapup_ms: times.of(AgentState::Wrapup),
        ready_ms: times.of(AgentState::Ready),
        offered_ms: times.of(AgentState::Offered),
        talking_ms,
        break_ms: times.of(AgentState::Break),
        breaks: times.breaks(),
        staffed_ms: times.staffed(),
        occupancy: times.occupancy(),
    }
}
