use axum::Json;
use cti_base::{Country, TenantId};
use cti_switch::config::TenantDoc;
use serde::Serialize;
use zongji_sql::{Change, Listing, Store, tenants};

use crate::App;
use crate::auth::SignedIn;
use crate::problem::Problem;

/// A list that has one page: as many as the tenant's file declares.
pub fn whole<T>(items: Vec<T>) -> Json<Listing<T>> {
    Json(Listing { items, next: None })
}

/// The tenant's file as applied; `None` for a tenant that takes no calls.
pub async fn doc(store: &Store, tenant: &TenantId) -> Result<Option<TenantDoc>, Problem> {
    Ok(tenants::get(store, tenant).await?.and_then(|tenant| tenant.doc))
}

/// By whose manner the tenant's numbers are read.
pub async fn country(store: &Store, tenant: &TenantId) -> Result<Country, Problem> {
    let declared = doc(store, tenant).await?.and_then(|doc| Country::parse(&doc.tenant.country));
    declared.or_else(|| Country::parse("CN")).ok_or_else(|| Problem::internal(&"the tenant's country is unknown"))
}

/// An update's record, 404 or 409.
pub fn changed<T: Serialize>(change: Change<T>, what: &str) -> Result<T, Problem> {
    match change {
        Change::Done(record) => Ok(record),
        Change::Conflict(current) => Err(Problem::conflict(&current)),
        Change::Missing => Err(Problem::missing(what)),
    }
}

/// Notes who did what.
pub async fn audit(app: &App, who: &SignedIn, action: &str, object: &str) -> Result<(), Problem> {
    let detail = serde_json::json!({ "program": who.is_program });
    let now = zongji_sql::now();
    Ok(zongji_sql::audit::add(&app.store, &who.tenant, &who.user, action, object, &detail, now).await?)
}
