//! A waiting caller asks to be called back.

use cti_base::{CallId, CallbackId, Pii, Timestamp};

use super::Call;
use crate::callback::{Callback, CallbackSource, CallbackState, Past, Pending, Step};
use crate::engine::Engine;
use crate::fact::Outcome;
use crate::outbound;

/// The cause of a call whose caller is called back.
pub(crate) const CALLBACK: &str = "callback";

impl Engine {
    /// The caller hangs up and keeps their place: a callback of their number takes it. A number that can not be called
    /// back leaves them waiting.
    pub(crate) fn ask_for_callback(&mut self, now: Timestamp, id: CallId) {
        let callback = CallbackId::new(now, &mut self.rng);
        let new_call = CallId::new(now, &mut self.rng);
        let Some(call) = self.calls.get(&id) else { return };
        let Some(pending) = self.pending_of(now, call, callback, new_call) else {
            self.play_prompts(id, ["callback_refused"].into_iter());
            return;
        };
        let view = &pending.view;
        // Who asks a second time has their callback already, in its older place.
        let has_one = self.callbacks.of_number(&view.tenant, &view.queue, view.number.expose()).is_some();
        if !has_one {
            let Ok(callback) = self.keep_callback(now, now, pending) else {
                self.play_prompts(id, ["callback_refused"].into_iter());
                return;
            };
            // In the line before the caller is out of it: nobody goes between.
            self.line_up(now, callback.id);
        }
        self.count_end(id, Outcome::Callback);
        self.end_with_prompt(now, id, Outcome::Callback, CALLBACK, "callback_promised");
    }

    /// A callback in the caller's place.
    fn pending_of(&self, now: Timestamp, call: &Call, id: CallbackId, new_call: CallId) -> Option<Pending> {
        let waiting = call.waiting()?;
        let state = self.tenants.get(&call.tenant)?;
        let rules = &state.tenant.doc.tenant.outbound;
        let number = outbound::permit(rules, state.tenant.country, call.from.expose()).ok()?;
        Some(Pending {
            view: Callback {
                id,
                tenant: call.tenant.clone(),
                queue: waiting.queue.clone(),
                agent: waiting.wish.agent.clone(),
                number: Pii::new(number.as_str().to_owned()),
                customer_id: call.customer_id(),
                contact_id: None,
                source: CallbackSource::Keypad,
                state: CallbackState::Waiting,
                requested_ms: now.as_millis(),
                due_ms: now.as_millis(),
                place_ms: call.place().unwrap_or(now).as_millis(),
                attempts: 0,
                last_cause: None,
                request_call: Some(call.id),
                call_id: None,
            },
            step: Step::Later,
            call: new_call,
            since: call.place().unwrap_or(now),
            entered: waiting.entered,
            order: call.order,
            priority: waiting.wish.priority,
            requires: waiting.wish.requires.clone(),
            value: call.value_class(),
            did: Some(call.to.clone()),
            locale: call.locale.clone(),
            vars: call.vars.clone(),
            started: None,
            past: Past::default(),
        })
    }
}
