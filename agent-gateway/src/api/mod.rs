//! `/api/v1`: one endpoint, one file, each with its description ([`Endpoint`]) beside its handler. The guard in front of a
//! handler reads that description, and so do the OpenAPI document and the tests: nothing is said twice.

mod endpoint;
mod extract;
mod guard;
mod list;

pub mod healthz;
pub mod readyz;

mod live_get;
mod me_get;
mod session_create;
mod session_end;
mod session_get;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::App;
use crate::problem::Problem;
use endpoint::Endpoint;

pub use me_get::Me;
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

endpoints![session_create, session_get, session_end, me_get, live_get];

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
