//! Who is calling: the switch's question to the records, never in a call's path.

use std::sync::Arc;
use std::time::Duration;

use cti_base::{CallId, Country, E164, Pii, TenantId};
use cti_switch::Input;
use dashmap::DashMap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zongji_sql::{Store, callers};

use crate::net::inbox::Inbox;

/// Questions at once; beyond them the answer is "not known" at once.
pub const LOOKUPS_MAX: usize = 256;
/// A question without an answer by then is answered with "not known".
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(2);

/// Asks the records on the main runtime. Cheap to clone.
#[derive(Clone)]
pub struct LookUps {
    store: Store,
    countries: Arc<DashMap<TenantId, Country>>,
    places: Arc<Semaphore>,
    inbox: Inbox,
    runtime: Handle,
}

impl LookUps {
    /// Questions run on the runtime that this is called in.
    pub fn new(store: Store, inbox: Inbox) -> Self {
        let places = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { store, countries: Arc::default(), places, inbox, runtime: Handle::current() }
    }

    /// How a tenant's numbers are read. Asks for one number that nobody has, so that the tables of numbering plans and the
    /// database's statements are made ready now and not in the first caller's time.
    pub async fn declare(&self, tenant: TenantId, country: Country) {
        const NOBODY: &str = "10000000000";
        let _no_number = E164::parse(NOBODY, country);
        if let Err(error) = callers::by_number(&self.store, &tenant, country, NOBODY).await {
            tracing::warn!(%error, %tenant, "the records could not be asked who calls");
        }
        self.countries.insert(tenant, country);
    }

    /// Begins a question, whose answer comes as `Input::Caller`. False where there are too many already, or where the
    /// tenant is unknown: then no answer comes.
    pub fn start(&self, tenant: TenantId, call: CallId, number: Pii<String>) -> bool {
        let Some(country) = self.countries.get(&tenant).map(|country| *country) else { return false };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return false };
        let (store, inbox) = (self.store.clone(), self.inbox.clone());
        self.runtime.spawn(async move {
            let asked = timeout(LOOKUP_TIME_MAX, callers::by_number(&store, &tenant, country, number.expose())).await;
            let records = match asked {
                Ok(Ok(records)) => Some(Box::new(records)),
                Ok(Err(error)) => {
                    tracing::warn!(%error, call.id = %call, "the records could not be asked who calls");
                    None
                }
                Err(_) => {
                    tracing::warn!(call.id = %call, "the records did not answer in time who calls");
                    None
                }
            };
            drop(place);
            inbox.send(Input::Caller { call, records }).await;
        });
        true
    }
}
