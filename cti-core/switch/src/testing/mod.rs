//! What tests of the switch share: tenants from text, scripted phones, and a world to move them in.

mod phone;
mod world;

pub use phone::{Phone, Plan, Seen};
pub use world::{START_MS, SWITCH, Settings, Tap, WorkerLeg, World, edge};

use std::collections::BTreeMap;

use crate::config::{AgentDecl, QueueDecl, Tenant, TenantDoc};

/// A tenant from its file's content written as JSON; panics with the errors where it is none.
pub fn tenant_from(json: &str) -> Tenant {
    let doc: TenantDoc = serde_json::from_str(json).expect("a tenant's document");
    let digests = BTreeMap::new();
    match Tenant::compile(doc, digests, None) {
        Ok(tenant) => tenant,
        Err(errors) => panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// A queue with every default.
pub fn queue_decl(name: &str) -> QueueDecl {
    QueueDecl::named(name.into())
}

/// An agent with a contact phone and every default.
pub fn agent_decl(name: &str) -> AgentDecl {
    let phone = serde_json::json!({ "kind": "contact", "uri": format!("sip:{name}@192.0.2.1:6001") });
    serde_json::from_value(serde_json::json!({ "name": name, "phone": phone })).expect("an agent's declaration")
}
