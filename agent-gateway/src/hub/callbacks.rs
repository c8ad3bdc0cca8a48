//! What the API asks of the switch about callbacks, and its answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::StatusCode;
use cti_base::TenantId;
use cti_switch::{Callback, CallbackAsk, CallbackRefusal, CommandId, Input};
use tokio::sync::oneshot;

use super::{Hub, INBOX_WAIT, PENDING_MAX};
use crate::problem::Problem;

/// The switch's answer.
pub(super) type Answer = Result<Callback, CallbackRefusal>;

/// How long the switch may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

impl Hub {
    /// Asks the switch and waits for its answer. What the switch did not take is a 503: it may be asked again.
    pub(crate) async fn ask_callback(&self, tenant: &TenantId, ask: CallbackAsk) -> Result<Answer, Problem> {
        let inner = &self.0;
        if inner.asked.len() >= PENDING_MAX {
            return Err(busy("too many questions wait for the switch: try again"));
        }
        let number = inner.next_id.fetch_add(1, Ordering::Relaxed);
        let Ok(Ok(place)) = tokio::time::timeout(INBOX_WAIT, inner.inbox.reserve()).await else {
            return Err(busy("the switch is busy: try again"));
        };
        let (tell, told) = oneshot::channel();
        inner.asked.insert(number, tell);
        place.send(Input::Callback { tenant: tenant.clone(), id: CommandId(number), ask });
        let answer = tokio::time::timeout(ANSWER_WAIT, told).await;
        inner.asked.remove(&number);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(busy("the switch has not answered: look whether it was done, and try again")),
        }
    }

    /// The switch's answer to `Input::Callback`.
    pub fn callback_answer(&self, id: CommandId, answer: Answer) {
        if let Some((_, tell)) = self.0.asked.remove(&id.0) {
            // Nobody may be waiting any more.
            let _late = tell.send(answer);
        }
    }
}

fn busy(detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
}
