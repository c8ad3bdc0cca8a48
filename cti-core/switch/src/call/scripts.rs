//! The scripts that callers walk in, each kept once however many walk in it, as it was when they came in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cti_base::TenantId;
use ivr_scripts::Script;
use serde::{Deserialize, Serialize};

use crate::engine::TenantState;

/// A script that a caller is in, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ScriptId(u64);

#[derive(Debug, Default)]
pub(crate) struct Scripts {
    held: BTreeMap<ScriptId, Arc<Script>>,
    last: u64,
}

/// A held script as it is written down: one in force stands in its tenant's document already.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Saved {
    InForce { tenant: TenantId, ivr: String },
    Old(Arc<Script>),
}

impl Scripts {
    /// The number of `script`, which is new where nobody is in it yet. Scripts that are not of `in_use` are let go then.
    pub(crate) fn hold(&mut self, script: &Arc<Script>, in_use: impl FnOnce() -> BTreeSet<ScriptId>) -> ScriptId {
        if let Some((id, _)) = self.held.iter().find(|(_, held)| Arc::ptr_eq(held, script)) {
            return *id;
        }
        let in_use = in_use();
        self.held.retain(|id, _| in_use.contains(id));
        self.last += 1;
        let id = ScriptId(self.last);
        self.held.insert(id, Arc::clone(script));
        id
    }

    pub(crate) fn of(&self, id: ScriptId) -> Option<&Arc<Script>> {
        self.held.get(&id)
    }

    pub(crate) fn save(&self, tenants: &BTreeMap<TenantId, TenantState>) -> (u64, Vec<(ScriptId, Saved)>) {
        let in_force = |script: &Arc<Script>| {
            tenants.iter().find_map(|(id, state)| {
                let mut scripts = state.tenant.scripts.iter();
                let (ivr, _) = scripts.find(|(_, other)| Arc::ptr_eq(other, script))?;
                Some(Saved::InForce { tenant: id.clone(), ivr: ivr.clone() })
            })
        };
        let save = |(id, script): (&ScriptId, &Arc<Script>)| {
            (*id, in_force(script).unwrap_or_else(|| Saved::Old(Arc::clone(script))))
        };
        (self.last, self.held.iter().map(save).collect())
    }

    /// `None` where a script said to be in force is not.
    pub(crate) fn restore(
        (last, saved): (u64, Vec<(ScriptId, Saved)>),
        tenants: &BTreeMap<TenantId, TenantState>,
    ) -> Option<Self> {
        let mut held = BTreeMap::new();
        for (id, script) in saved {
            let script = match script {
                Saved::InForce { tenant, ivr } => Arc::clone(tenants.get(&tenant)?.tenant.scripts.get(&ivr)?),
                Saved::Old(script) => script,
            };
            held.insert(id, script);
        }
        Some(Self { held, last })
    }
}
