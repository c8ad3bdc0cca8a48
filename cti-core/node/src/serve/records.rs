//! The records' database at a start: waited for where nothing is known without it, brought up beside the calls where the journal
//! knows the tenants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use cti_base::TenantId;
use cti_switch::Input;
use cti_switch::config::Tenant;
use cti_switch::limits::TENANTS_MAX;
use zongji_sql::Store;

use crate::admin;
use crate::config::Setup;
use crate::lookup::LookUps;
use crate::net::guard::Guard;
use crate::net::inbox::Inbox;
use crate::wiring;

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The tenants of a switch, as it has them.
pub type Known = BTreeMap<TenantId, Arc<Tenant>>;

/// The records, and whom what they say is told to.
#[derive(Clone)]
pub struct Records {
    pub store: Store,
    pub inbox: Inbox,
    pub lookups: LookUps,
    pub guard: Guard,
    /// A first start makes and prints an administrator.
    pub first_password: bool,
}

impl Records {
    /// Brings the schema up to date and declares every tenant that the switch does not have as the records do.
    pub async fn once(&self, setup: &Setup, known: &Known) -> anyhow::Result<()> {
        self.store.migrate().await.with_context(|| {
            format!("the database {} can not be opened", wiring::without_password(&setup.database_url()))
        })?;
        if self.first_password
            && let Some((name, password)) = admin::first_administrator(&self.store).await.map_err(|e| anyhow!(e))?
        {
            println!("First start: sign in as tenant `system`, user `{name}`, password `{password}`.");
            println!("It is shown this once; change it with `zongji user passwd --tenant system --name {name}`.");
        }
        let tenants = admin::stored_tenants(&self.store).await.map_err(|error| anyhow!(error))?;
        if tenants.len() > TENANTS_MAX {
            bail!("the records hold {} tenants; one node serves at most {TENANTS_MAX}", tenants.len());
        }
        for tenant in tenants {
            if known.get(&tenant.doc.tenant.id).is_some_and(|known| is_same(known, &tenant)) {
                self.lookups.warm(&tenant.doc.tenant.id, tenant.country).await;
            } else {
                self.declare(tenant).await;
            }
        }
        Ok(())
    }

    /// Until it is done. Calls go on meanwhile.
    pub async fn until_done(&self, setup: &Setup, known: &Known) {
        let mut retry = RETRY_FIRST;
        let mut last = String::new();
        while let Err(error) = self.once(setup, known).await {
            let error = format!("{error:#}");
            if error != last {
                tracing::error!(
                    error,
                    "the records are not there: calls go on as the journal knows them; trying again"
                );
                last = error;
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
        if !last.is_empty() {
            tracing::info!("the records are there");
        }
    }

    /// A tenant is told to the switch, anew or changed.
    pub async fn declare(&self, tenant: Arc<Tenant>) {
        let (id, country) = (tenant.doc.tenant.id.clone(), tenant.country);
        self.lookups.declare(id.clone(), country);
        self.guard.set_named(id.clone(), tenant.named_addresses());
        self.lookups.warm(&id, country).await;
        self.inbox.send(Input::Declare(tenant)).await;
    }
}

/// Everything else of a tenant is made from these.
fn is_same(known: &Tenant, stored: &Tenant) -> bool {
    known.doc == stored.doc && known.digests == stored.digests
}
