//! What tests of the switch share: tenants from text.

use std::collections::BTreeMap;

use crate::config::{Tenant, TenantDoc};

/// A tenant from its file's content written as JSON; panics with the errors where it is none.
pub fn tenant_from(json: &str) -> Tenant {
    let doc: TenantDoc = serde_json::from_str(json).expect("a tenant's document");
    let digests = BTreeMap::new();
    match Tenant::compile(doc, digests, None) {
        Ok(tenant) => tenant,
        Err(errors) => panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}
