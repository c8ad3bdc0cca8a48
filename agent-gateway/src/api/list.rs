use axum::Json;
use cti_base::{Country, TenantId};
use cti_switch::config::TenantDoc;
use zongji_sql::{Listing, Store, tenants};

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
