//! The callbacks that are not over.

use std::collections::BTreeMap;
use std::time::Duration;

use cti_base::{CallId, CallbackId, QueueName, TenantId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Callback, CallbackState};
use crate::call::Tally;
use crate::fact::{LegRecord, SegmentRecord};

/// One callback with what its calls need.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub view: Callback,
    pub step: Step,
    /// The call that it becomes; one for all attempts.
    pub call: CallId,
    /// The place in the line: since when the customer waits, since when in this queue, and who came first within a
    /// microsecond.
    pub since: Timestamp,
    pub entered: Timestamp,
    pub order: u64,
    /// The script's, as the caller entered the queue.
    pub priority: i32,
    pub requires: BTreeMap<String, u8>,
    /// The class that the caller was worth.
    #[serde(default)]
    pub value: Option<String>,
    /// The number that the customer had dialled.
    pub did: Option<String>,
    pub locale: String,
    pub vars: BTreeMap<String, String>,
    /// When its call first stood in the line: the call's start. `None` before.
    pub started: Option<Timestamp>,
    /// What its call has been through between two attempts.
    pub past: Past,
}

/// What a call's record will tell of the attempts before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Past {
    /// The stretch of waiting that is going on began then.
    pub waiting_since: Timestamp,
    pub offered: Option<Timestamp>,
    pub ring: Duration,
    pub segments: Vec<SegmentRecord>,
    pub legs: Vec<LegRecord>,
    pub tally: Tally,
    /// The one dialled through last.
    pub trunk: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// For its time.
    Later,
    /// In the line.
    InLine,
    /// Its call is under way.
    Trying,
}

/// All of them, found by id, by call, and by who is called for which queue.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    all: BTreeMap<CallbackId, Pending>,
    by_call: BTreeMap<CallId, CallbackId>,
    by_number: BTreeMap<(TenantId, QueueName, String), CallbackId>,
}

impl Callbacks {
    pub(crate) fn insert(&mut self, pending: Pending) {
        let id = pending.view.id;
        self.by_call.insert(pending.call, id);
        self.by_number.insert(number_key(&pending.view), id);
        self.all.insert(id, pending);
    }

    pub(crate) fn remove(&mut self, id: CallbackId) -> Option<Pending> {
        let pending = self.all.remove(&id)?;
        self.by_call.remove(&pending.call);
        self.by_number.remove(&number_key(&pending.view));
        Some(pending)
    }

    /// Neither call, tenant, queue nor number is to be changed through it.
    pub(crate) fn get_mut(&mut self, id: CallbackId) -> Option<&mut Pending> {
        self.all.get_mut(&id)
    }

    pub(crate) fn get(&self, id: CallbackId) -> Option<&Pending> {
        self.all.get(&id)
    }

    /// The callback whose call it is.
    pub(crate) fn of_call(&self, call: CallId) -> Option<&Pending> {
        self.all.get(self.by_call.get(&call)?)
    }

    /// The one that this number waits for in this queue.
    pub(crate) fn of_number(&self, tenant: &TenantId, queue: &QueueName, number: &str) -> Option<&Pending> {
        self.all.get(self.by_number.get(&(tenant.clone(), queue.clone(), number.to_owned()))?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.all.values()
    }

    pub(crate) fn count_of(&self, tenant: &TenantId) -> usize {
        self.iter().filter(|pending| pending.view.tenant == *tenant).count()
    }

    /// What must hold of each, by itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.by_call.len() != self.all.len() || self.by_number.len() != self.all.len() {
            return Err(format!("{} callbacks, but others are found", self.all.len()));
        }
        for Pending { view, step, call, .. } in self.all.values() {
            let agree = match step {
                Step::Later | Step::InLine => view.state == CallbackState::Waiting,
                Step::Trying => matches!(view.state, CallbackState::Reserved | CallbackState::Dialing),
            };
            let known = view.call_id.is_none_or(|id| id == *call);
            if !agree || !known {
                return Err(format!("callback {} is {:?} in {step:?}", view.id, view.state));
            }
        }
        Ok(())
    }
}

fn number_key(view: &Callback) -> (TenantId, QueueName, String) {
    (view.tenant.clone(), view.queue.clone(), view.number.expose().clone())
}

impl Serialize for Callbacks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.all.values())
    }
}

impl<'de> Deserialize<'de> for Callbacks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut callbacks = Self::default();
        for pending in Vec::<Pending>::deserialize(deserializer)? {
            callbacks.insert(pending);
        }
        Ok(callbacks)
    }
}
