//! HTTP API, sign-in, the desk's websocket and the web application.
//!
//! **Call [`build`] once within a tokio runtime, hand the [`Hub`] to whoever carries out the switch's effects, and [`serve`]
//! the router.** The gateway reads the records and the published state; it asks the switch for nothing but to carry out a
//! desk's command, and the switch waits for nothing here.
//!
//! | effect of the switch | call |
//! |---|---|
//! | `Effect::Desk` | [`Hub::deliver`] |
//! | `Effect::Offer` | [`Hub::offer`] |
//! | `Effect::Reply` | [`Hub::reply`] |
//! | `Effect::CallbackAnswer` | [`Hub::callback_answer`] |

mod api;
mod assets;
mod audio;
pub mod auth;
mod bans;
mod headers;
mod hub;
mod listen;
mod problem;
pub mod protocol;
#[cfg(test)]
mod tests;
pub mod typescript;
mod ws;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use cti_base::Timestamp;
use cti_switch::Input;
use cti_switch::config::Role;
use cti_switch::live::{Alarm, Live};
use tokio::sync::mpsc;
use zongji_sql::Store;

pub use audio::{AudioAnswer, BrowserAudio};
pub use bans::{Ban, Bans};
pub use hub::{Hub, LiveWatch, Observers, View};
pub use listen::serve;
pub use problem::Problem;

/// What the server and the web application call their build.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// What the node gives the gateway.
pub struct GatewayConfig {
    pub store: Store,
    /// The switch's inbox: commands, presence and shown offers go there.
    pub inbox: mpsc::Sender<Input>,
    /// Every tenant's current state, as published.
    pub live: LiveWatch,
    /// The folder that recordings' paths in the database are below.
    pub recordings_root: PathBuf,
    /// Whether browsers reach the server by HTTPS: the cookie is then `__Host-` and Secure.
    pub tls: bool,
    /// Whether the node can take calls: `/readyz`.
    pub ready: Arc<AtomicBool>,
    pub observers: Observers,
    /// Who is kept out at the edge of SIP.
    pub bans: Bans,
    pub audio: BrowserAudio,
}

/// What every handler sees.
pub(crate) struct App {
    store: Store,
    hub: Hub,
    auth: auth::Auth,
    recordings_root: PathBuf,
    ready: Arc<AtomicBool>,
    bans: Bans,
}

impl App {
    /// The tenant's state at this moment as its user may see it: an agent only their own calls.
    pub(crate) fn live_of(&self, who: &auth::SignedIn) -> Option<Live> {
        let mut live = self.hub.live(&who.tenant)?;
        if who.role == Role::Agent {
            live.calls.retain(|call| call.agent.as_ref().is_some_and(|agent| agent.as_str() == who.user));
        }
        if matches!(who.role, Role::Agent | Role::Qa) {
            live.trunks.clear();
        }
        live.alarms.extend(self.records_alarm());
        Some(live)
    }

    fn records_alarm(&self) -> Option<Alarm> {
        let since_ms = self.store.away_since_ms()?;
        let message = "The records' database does not answer. Calls go on, pops come from memory, history catches up.";
        Some(Alarm { code: "records".into(), message: message.into(), since_ms })
    }
}

/// The desks' hub and the HTTP service. Must be called within a tokio runtime.
pub fn build(config: GatewayConfig) -> (Hub, Router) {
    let hub = Hub::new(config.inbox, config.live, config.observers, config.audio);
    let app = Arc::new(App {
        store: config.store,
        hub: hub.clone(),
        auth: auth::Auth::new(config.tls),
        recordings_root: config.recordings_root,
        ready: config.ready,
        bans: config.bans,
    });
    tokio::spawn(sweep(Arc::downgrade(&app), zongji_sql::now()));
    let router = Router::new()
        .merge(api::routes(&app))
        .route("/ws", axum::routing::any(ws::handler))
        .route("/healthz", axum::routing::get(api::healthz::handler))
        .route("/readyz", axum::routing::get(api::readyz::handler))
        .fallback(assets::handler)
        .method_not_allowed_fallback(api::method_not_allowed)
        .layer(axum::middleware::from_fn(headers::secure))
        .with_state(app);
    (hub, router)
}

/// Removes sessions and kept answers that are over, as long as the gateway lives.
async fn sweep(app: Weak<App>, start: Timestamp) {
    const EVERY: Duration = Duration::from_secs(600);
    let Some(store) = app.upgrade().map(|app| app.store.clone()) else { return };
    store.until_ready().await;
    // What an earlier process did not finish it did not do, and may be sent again at once.
    if let Err(error) = zongji_sql::idempotency::abandon_before(&store, start).await {
        tracing::warn!(http.error = %error, "writes that a crash interrupted may be repeated only after a minute");
    }
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(app) = app.upgrade() else { return };
        let now = zongji_sql::now();
        let swept =
            (zongji_sql::sessions::sweep(&app.store, now).await, zongji_sql::idempotency::sweep(&app.store, now).await);
        if let (Err(error), _) | (_, Err(error)) = swept {
            tracing::warn!(session.error = %error, "what is over can not be removed; it is tried again");
        }
    }
}

/// UTC milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
