//! Callbacks that are asked for from outside, and the end of any.

use std::collections::BTreeMap;

use cti_base::{CallId, CallbackId, Pii, TenantId, Timestamp};

use super::{Callback, CallbackAsk, CallbackNew, CallbackRefusal, CallbackState, Past, Pending, Step};
use crate::effect::Effect;
use crate::engine::Engine;
use crate::fact::Fact;
use crate::input::CommandId;
use crate::limits::{CALLBACK_AHEAD_MAX, CALLBACK_LIFE_MAX, CALLBACKS_MAX};
use crate::outbound::{self, Refused};
use crate::timer::{CallbackTimer, Timer};

impl Engine {
    pub(crate) fn callback_asked(&mut self, now: Timestamp, tenant: &TenantId, id: CommandId, ask: CallbackAsk) {
        let result = match ask {
            CallbackAsk::Schedule(new) => self.schedule_callback(now, tenant, *new),
            CallbackAsk::Cancel(callback) => self.cancel_callback(now, tenant, callback),
        };
        self.effect(Effect::CallbackAnswer { id, result: Box::new(result) });
    }

    fn schedule_callback(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        new: CallbackNew,
    ) -> Result<Callback, CallbackRefusal> {
        let CallbackNew { number, queue, agent, due_ms, customer_id, contact_id, source } = new;
        let state = self.tenants.get(tenant).ok_or(CallbackRefusal::NoQueue)?;
        let doc = &state.tenant.doc;
        let decl = match &agent {
            Some(name) => {
                let found = doc.agent.iter().find(|decl| decl.name == *name);
                Some(found.ok_or(CallbackRefusal::NoAgent)?)
            }
            None => None,
        };
        let queue = queue.or_else(|| decl.and_then(|decl| decl.queues.first().cloned()));
        let queue = queue.filter(|name| doc.queue.iter().any(|queue| queue.name == *name));
        let queue = queue.ok_or(CallbackRefusal::NoQueue)?;
        let number = outbound::permit(&doc.tenant.outbound, state.tenant.country, number.expose());
        let number = number.map_err(|refused| match refused {
            Refused::NoNumber => CallbackRefusal::NoNumber,
            Refused::Short | Refused::NotAllowed => CallbackRefusal::NotAllowed,
        })?;
        let due = Timestamp::from_millis(due_ms.unwrap_or_default()).max(now);
        if due.since(now) > CALLBACK_AHEAD_MAX {
            return Err(CallbackRefusal::TooLate);
        }
        if let Some(known) = self.callbacks.of_number(tenant, &queue, number.as_str()) {
            return Err(CallbackRefusal::Duplicate(Box::new(known.view.clone())));
        }
        let locale = doc.tenant.locale.clone();
        self.orders += 1;
        let pending = Pending {
            view: Callback {
                id: CallbackId::new(now, &mut self.rng),
                tenant: tenant.clone(),
                queue,
                agent,
                number: Pii::new(number.as_str().to_owned()),
                customer_id,
                contact_id,
                source,
                state: CallbackState::Waiting,
                requested_ms: now.as_millis(),
                due_ms: due.as_millis(),
                place_ms: due.as_millis(),
                attempts: 0,
                last_cause: None,
                request_call: None,
                call_id: None,
            },
            step: Step::Later,
            call: CallId::new(now, &mut self.rng),
            since: due,
            entered: due,
            order: self.orders,
            priority: 0,
            requires: BTreeMap::new(),
            value: None,
            did: None,
            locale,
            vars: BTreeMap::new(),
            started: None,
            past: Past::default(),
        };
        self.keep_callback(now, due, pending)
    }

    /// Takes a callback in.
    pub(crate) fn keep_callback(
        &mut self,
        now: Timestamp,
        due: Timestamp,
        pending: Pending,
    ) -> Result<Callback, CallbackRefusal> {
        let view = pending.view.clone();
        if self.callbacks.count_of(&view.tenant) >= CALLBACKS_MAX {
            return Err(CallbackRefusal::TooMany);
        }
        self.callbacks.insert(pending);
        self.fact(Fact::CallbackRequested { callback: Box::new(view.clone()) });
        self.timers.set(Timer::Callback(view.id, CallbackTimer::Over), due.max(now) + CALLBACK_LIFE_MAX);
        self.timers.set(Timer::Callback(view.id, CallbackTimer::Due), due);
        self.changed();
        Ok(view)
    }

    fn cancel_callback(
        &mut self,
        now: Timestamp,
        tenant: &TenantId,
        id: CallbackId,
    ) -> Result<Callback, CallbackRefusal> {
        let known = self.callbacks.get(id).filter(|pending| pending.view.tenant == *tenant);
        let Some(pending) = known else { return Err(CallbackRefusal::NotFound) };
        if pending.step == Step::Trying {
            return Err(CallbackRefusal::Running(Box::new(pending.view.clone())));
        }
        let ended = self.end_callback(now, id, CallbackState::Cancelled, "cancelled");
        ended.ok_or(CallbackRefusal::NotFound)
    }

    /// The callback is over.
    pub(crate) fn end_callback(
        &mut self,
        now: Timestamp,
        id: CallbackId,
        state: CallbackState,
        cause: &str,
    ) -> Option<Callback> {
        let mut pending = self.callbacks.remove(id)?;
        for kind in [CallbackTimer::Due, CallbackTimer::Over] {
            self.timers.cancel(&Timer::Callback(id, kind));
        }
        pending.view.state = state;
        pending.view.last_cause = Some(cause.to_owned());
        let view = pending.view.clone();
        self.fact(Fact::CallbackEnded { callback: Box::new(view.clone()) });
        if pending.step != Step::Trying {
            self.end_virtual_call(now, pending, cause);
        }
        self.changed();
        Some(view)
    }

    pub(crate) fn callback_timer(&mut self, now: Timestamp, id: CallbackId, kind: CallbackTimer) {
        match kind {
            CallbackTimer::Due => self.line_up(now, id),
            CallbackTimer::Over => {
                if self.callbacks.get(id).is_some_and(|pending| pending.step != Step::Trying) {
                    self.end_callback(now, id, CallbackState::Failed, "expired");
                }
            }
        }
    }

    /// What the tenant no longer declares: callbacks of a queue that is gone are over, those of an agent who is gone are
    /// their queue's.
    pub(crate) fn declare_callbacks(&mut self, now: Timestamp, tenant: &TenantId) {
        let Some(doc) = self.tenants.get(tenant).map(|state| &state.tenant.doc) else { return };
        let of_tenant = self.callbacks.iter().map(|pending| &pending.view).filter(|view| view.tenant == *tenant);
        let (mut queue_gone, mut agent_gone) = (Vec::new(), Vec::new());
        for view in of_tenant {
            let has_queue = doc.queue.iter().any(|decl| decl.name == view.queue);
            let lacks_agent = view.agent.as_ref().is_some_and(|name| doc.agent.iter().all(|decl| decl.name != *name));
            if !has_queue {
                queue_gone.push(view.id);
            } else if lacks_agent {
                agent_gone.push(view.id);
            }
        }
        for id in agent_gone {
            let Some(pending) = self.callbacks.get_mut(id) else { continue };
            pending.view.agent = None;
            let callback = Box::new(pending.view.clone());
            self.fact(Fact::CallbackRequested { callback });
        }
        for id in queue_gone {
            if self.callbacks.get(id).is_some_and(|pending| pending.step != Step::Trying) {
                self.end_callback(now, id, CallbackState::Failed, "queue_removed");
            }
        }
    }
}
