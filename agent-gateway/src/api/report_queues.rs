use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use cti_base::QueueName;
use cti_switch::figures::{CallFigures, Levels, QueueFigures};
use serde::Serialize;
use zongji_sql::figures::{self, Part};

use super::endpoint::{Answer, Endpoint, Method, REPORTS};
use super::extract::Asked;
use super::report::{self, FORMAT, FROM, Form, INTERVAL, Interval, TO};
use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

pub const ENDPOINT: Endpoint = Endpoint {
    method: Method::Get,
    path: "/api/v1/reports/queues",
    access: REPORTS,
    summary: "Figures of the queues by interval, and of all calls; a call counts where it entered the queue",
    query: &[FROM, TO, INTERVAL, FORMAT],
    body: None,
    answer: (200, Answer::One("QueueReport")),
    problems: &[400],
};

#[derive(Serialize, ts_rs::TS)]
pub struct QueueReport {
    /// Whole intervals, UTC milliseconds; the end is not included.
    #[ts(type = "number")]
    pub from_ms: u64,
    #[ts(type = "number")]
    pub to_ms: u64,
    #[ts(type = "\"15m\" | \"1h\" | \"1d\"")]
    pub interval: Interval,
    /// By interval, then by queue. Where nothing happened there is no row.
    pub items: Vec<QueueRow>,
    pub calls: Vec<CallsRow>,
}

/// Offered = answered + abandoned + overflowed_out + moved + ended + waiting. Lengths are milliseconds.
#[derive(Serialize, ts_rs::TS)]
pub struct QueueRow {
    #[ts(type = "number")]
    pub start_ms: u64,
    #[ts(type = "number")]
    pub end_ms: u64,
    pub queue: QueueName,
    #[ts(type = "number")]
    pub offered: u64,
    #[ts(type = "number")]
    pub overflowed_in: u64,
    #[ts(type = "number")]
    pub answered: u64,
    #[ts(type = "number")]
    pub abandoned: u64,
    #[ts(type = "number")]
    pub abandoned_waiting: u64,
    #[ts(type = "number")]
    pub abandoned_ringing: u64,
    #[ts(type = "number")]
    pub abandoned_short: u64,
    #[ts(type = "number")]
    pub overflowed_out: u64,
    #[ts(type = "number")]
    pub moved: u64,
    #[ts(type = "number")]
    pub ended: u64,
    #[ts(type = "number")]
    pub waiting: u64,
    #[ts(type = "number")]
    pub answered_in_time: u64,
    #[ts(type = "number")]
    pub abandoned_in_time: u64,
    pub service_levels: Levels,
    #[ts(type = "number | null")]
    pub asa_ms: Option<u64>,
    #[ts(type = "number | null")]
    pub aht_ms: Option<u64>,
    #[ts(type = "number")]
    pub wait_max_ms: u64,
    #[ts(type = "number")]
    pub wait_answered_ms: u64,
    #[ts(type = "number")]
    pub wait_abandoned_ms: u64,
    #[ts(type = "number")]
    pub handled: u64,
    #[ts(type = "number")]
    pub talk_ms: u64,
    #[ts(type = "number")]
    pub hold_ms: u64,
    #[ts(type = "number")]
    pub wrapup_ms: u64,
}

const COLUMNS: [&str; 29] = [
    "start_ms",
    "end_ms",
    "queue",
    "offered",
    "overflowed_in",
    "answered",
    "abandoned",
    "abandoned_waiting",
    "abandoned_ringing",
    "abandoned_short",
    "overflowed_out",
    "moved",
    "ended",
    "waiting",
    "answered_in_time",
    "abandoned_in_time",
    "service_levels/of_answered",
    "service_levels/of_offered",
    "service_levels/abandons_excluded",
    "service_levels/abandons_included",
    "asa_ms",
    "aht_ms",
    "wait_max_ms",
    "wait_answered_ms",
    "wait_abandoned_ms",
    "handled",
    "talk_ms",
    "hold_ms",
    "wrapup_ms",
];

/// All calls of the tenant by their start: calls = the outcomes together + those that go on.
#[derive(Serialize, ts_rs::TS)]
pub struct CallsRow {
    #[ts(type = "number")]
    pub start_ms: u64,
    #[ts(type = "number")]
    pub end_ms: u64,
    #[ts(type = "number")]
    pub calls: u64,
    #[ts(type = "number")]
    pub answered: u64,
    #[ts(type = "number")]
    pub abandoned_ivr: u64,
    #[ts(type = "number")]
    pub abandoned_queue: u64,
    #[ts(type = "number")]
    pub abandoned_ringing: u64,
    #[ts(type = "number")]
    pub overflowed: u64,
    #[ts(type = "number")]
    pub voicemail: u64,
    #[ts(type = "number")]
    pub callback: u64,
    #[ts(type = "number")]
    pub completed_ivr: u64,
    #[ts(type = "number")]
    pub failed: u64,
    /// Not over.
    #[ts(type = "number")]
    pub open: u64,
    #[ts(type = "number")]
    pub talk_ms: u64,
    #[ts(type = "number")]
    pub hold_ms: u64,
}

pub async fn handler(
    State(app): State<Arc<App>>,
    who: SignedIn,
    Asked(form): Asked<Form>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = form.read(&app.store, &who.tenant).await?;
    let (mut items, mut calls) = (Vec::new(), Vec::new());
    for span in &asked.spans {
        let queues = figures::queues(&app.store, &who.tenant, *span).await?;
        items.extend(queues.into_iter().map(|part| queue_row(asked.end_of(part.start_ms), part)));
        let all = figures::calls(&app.store, &who.tenant, *span).await?;
        calls.extend(all.into_iter().map(|part| calls_row(asked.end_of(part.start_ms), &part)));
    }
    if form.wants_csv(&headers) {
        return report::csv("queues", &COLUMNS, &items);
    }
    let (from_ms, to_ms, interval) = (asked.from_ms, asked.to_ms, asked.interval);
    Ok(Json(QueueReport { from_ms, to_ms, interval, items, calls }).into_response())
}

fn queue_row(end_ms: u64, Part { start_ms, name, figures: f }: Part<QueueName, QueueFigures>) -> QueueRow {
    QueueRow {
        start_ms,
        end_ms,
        queue: name,
        offered: f.offered,
        overflowed_in: f.overflowed_in,
        answered: f.answered,
        abandoned: f.abandoned(),
        abandoned_waiting: f.abandoned_waiting,
        abandoned_ringing: f.abandoned_ringing,
        abandoned_short: f.abandoned_short,
        overflowed_out: f.overflowed_out,
        moved: f.moved,
        ended: f.ended,
        waiting: f.waiting(),
        answered_in_time: f.answered_in_time,
        abandoned_in_time: f.abandoned_in_time,
        service_levels: f.levels(),
        asa_ms: f.asa_ms(),
        aht_ms: f.aht_ms(),
        wait_max_ms: f.wait_max_ms,
        wait_answered_ms: f.wait_answered_ms,
        wait_abandoned_ms: f.wait_abandoned_ms,
        handled: f.handled,
        talk_ms: f.talk_ms,
        hold_ms: f.hold_ms,
        wrapup_ms: f.wrapup_ms,
    }
}

fn calls_row(end_ms: u64, Part { start_ms, name: (), figures: f }: &Part<(), CallFigures>) -> CallsRow {
    CallsRow {
        start_ms: *start_ms,
        end_ms,
        calls: f.calls,
        answered: f.answered,
        abandoned_ivr: f.abandoned_ivr,
        abandoned_queue: f.abandoned_queue,
        abandoned_ringing: f.abandoned_ringing,
        overflowed: f.overflowed,
        voicemail: f.voicemail,
        callback: f.callback,
        completed_ivr: f.completed_ivr,
        failed: f.failed,
        open: f.calls.saturating_sub(f.ended),
        talk_ms: f.talk_ms,
        hold_ms: f.hold_ms,
    }
}
