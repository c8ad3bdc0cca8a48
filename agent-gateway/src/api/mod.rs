//! `/api/v1`: one endpoint, one file, each with its description ([`Endpoint`]) beside its handler. The guard in front of a
//! handler reads that description, and so do the OpenAPI document and the tests: nothing is said twice.

mod endpoint;
mod extract;
mod guard;
mod list;

pub mod healthz;
pub mod readyz;

mod agents_list;
mod audit_list;
mod ban_lift;
mod bans_list;
mod call_get;
mod call_peaks;
mod call_recording;
mod call_trace;
mod callback_create;
mod callback_remove;
mod callbacks_list;
mod calls_csv;
mod calls_list;
mod case_create;
mod case_events_list;
mod case_get;
mod case_note;
mod case_update;
mod cases_list;
mod contact_create;
mod contact_remove;
mod contact_update;
mod customer_create;
mod customer_get;
mod customer_update;
mod customers_list;
mod drafts_list;
mod hours_list;
mod live_get;
mod me_get;
mod numbers_list;
mod openapi;
mod product_create;
mod product_remove;
mod product_update;
mod queues_list;
mod report;
mod report_agents;
mod report_queues;
mod scripts_list;
mod session_create;
mod session_end;
mod session_get;
mod tenants_list;
mod trace_text;
mod trunks_list;
mod user_create;
mod user_update;
mod users_list;
mod voicemail_update;
mod voicemails_list;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::App;
use crate::problem::Problem;
use endpoint::Endpoint;
#[cfg(test)]
pub use endpoint::{Access, Method};

pub use call_trace::Trace;
pub use callback_create::CallbackRequest;
pub use me_get::Me;
pub use report_agents::AgentReport;
pub use report_queues::QueueReport;
pub use session_create::SignIn;
pub use session_get::Session;

/// A request's body may have this many bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

macro_rules! endpoints {
    ($($module:ident),* $(,)?) => {
        /// Every endpoint below `/api/v1`.
        pub const ALL: &[&Endpoint] = &[$(&$module::ENDPOINT),*];

        pub fn routes(app: &Arc<App>) -> Router<Arc<App>> {
            Router::new()
                $(.route($module::ENDPOINT.path, guarded(app, &$module::ENDPOINT, |filter| on(filter, $module::handler))))*
                .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        }
    };
}

endpoints![
    session_create,
    session_get,
    session_end,
    me_get,
    live_get,
    agents_list,
    queues_list,
    numbers_list,
    trunks_list,
    hours_list,
    scripts_list,
    calls_list,
    call_get,
    call_recording,
    call_peaks,
    call_trace,
    report_queues,
    report_agents,
    callbacks_list,
    callback_create,
    callback_remove,
    voicemails_list,
    voicemail_update,
    customers_list,
    customer_create,
    customer_get,
    customer_update,
    contact_create,
    contact_update,
    contact_remove,
    product_create,
    product_update,
    product_remove,
    cases_list,
    case_create,
    case_get,
    case_update,
    case_events_list,
    case_note,
    drafts_list,
    users_list,
    user_create,
    user_update,
    audit_list,
    bans_list,
    ban_lift,
    tenants_list,
    openapi,
];

fn guarded(
    app: &Arc<App>,
    endpoint: &'static Endpoint,
    route: impl FnOnce(MethodFilter) -> MethodRouter<Arc<App>>,
) -> MethodRouter<Arc<App>> {
    let state = guard::Guard { app: app.clone(), endpoint };
    route(endpoint.method.filter()).layer(from_fn_with_state(state, guard::check))
}

pub async fn method_not_allowed() -> Problem {
    let detail = "this address does not take that method: see /api/v1/openapi.json";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
