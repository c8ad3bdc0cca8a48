use std::sync::Arc;

use cti_base::CallId;
use cti_switch::desk::{Nack, NackCode};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use zongji_sql::{Change, drafts};

use crate::App;
use crate::auth::SignedIn;
use crate::hub::{DRAFTS_MAX, Desk, busy};
use crate::protocol::Draft;

/// Drafts of one socket waiting for the records.
pub const WAITING_MAX: usize = 32;
/// Bytes of a kind's name.
const KIND_LEN_MAX: usize = 40;

/// One `draft.save`.
pub struct Save {
    pub id: String,
    pub expect_rev: Option<u32>,
    pub call_id: CallId,
    pub kind: String,
    pub fields: Map<String, Value>,
}

/// The agent's drafts, where this desk does not have them yet; records that can not be asked are asked again by the next tab.
pub async fn load(app: &App, desk: &Desk, who: &SignedIn) -> Option<Vec<Draft>> {
    if desk.lock().drafts_loaded {
        return None;
    }
    match drafts::of_user(&app.store, &who.tenant, &who.user).await {
        Ok(found) => Some(found.into_iter().take(DRAFTS_MAX).collect()),
        Err(error) => {
            tracing::warn!(draft.error = %error, "drafts can not be read");
            None
        }
    }
}

/// Saves one after the other until the socket is done: a slow database delays drafts, never a hang-up.
pub async fn run(app: Arc<App>, who: SignedIn, desk: Arc<Desk>, mut saves: mpsc::Receiver<Save>) {
    while let Some(Save { id, expect_rev, call_id, kind, fields }) = saves.recv().await {
        if kind.is_empty() || kind.len() > KIND_LEN_MAX {
            let message = format!("a draft's kind has 1 to {KIND_LEN_MAX} bytes");
            app.hub.answer(&desk, &id, Err(Nack { code: NackCode::BadFrame, message, retryable: false }));
            continue;
        }
        let key = drafts::DraftKey { user: &who.user, call: &call_id, kind: &kind };
        let rev = expect_rev.map(u64::from);
        let saved = drafts::save(&app.store, &who.tenant, key, &fields, rev, zongji_sql::now()).await;
        let result = match saved {
            Ok(Change::Done(draft)) => {
                app.hub.draft_saved(&desk.tenant, &desk.agent, draft);
                Ok(())
            }
            Ok(Change::Conflict(draft)) => {
                let message = format!("the draft is at revision {}: another tab or computer saved it", draft.rev);
                app.hub.draft_saved(&desk.tenant, &desk.agent, draft);
                Err(Nack { code: NackCode::Conflict, message, retryable: false })
            }
            Ok(Change::Missing) => Err(busy("the draft was removed while it was saved: try again")),
            Err(zongji_sql::Error::Invalid { field, detail }) => {
                Err(Nack { code: NackCode::BadFrame, message: format!("{field}: {detail}"), retryable: false })
            }
            Err(error) => {
                tracing::warn!(draft.error = %error, "a draft can not be saved");
                Err(busy("the records can not be written right now: try again"))
            }
        };
        app.hub.answer(&desk, &id, result);
    }
}
