//! Who is calling: the switch's question to the records, never in a call's path.
//!
//! What the records said last of a number is remembered. Records that do not answer in time cost the agent nothing but the
//! newest: the pop is painted from memory, and says so; what they say later still comes.

mod memory;
mod waiting;

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cti_base::{CallId, Country, E164, Pii, TenantId};
use cti_switch::Input;
use cti_switch::desk::CallerRecords;
use dashmap::DashMap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use zongji_sql::{Store, callers};

use crate::net::inbox::Inbox;
use memory::Memory;
use waiting::{Due, Waiting};

/// Questions at once; beyond them the answer is "not known" at once.
pub const LOOKUPS_MAX: usize = 256;
/// A question without an answer by then is answered with "not known".
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(2);
/// Where the answer is remembered, the records have so long: an offer waits for 30 ms (`RECORDS_WAIT`).
const IN_TIME: Duration = Duration::from_millis(20);

/// Asks the records: SQLite on its own thread, PostgreSQL on the main runtime. Cheap to clone.
#[derive(Clone)]
pub struct LookUps {
    store: Store,
    countries: Arc<DashMap<TenantId, Country>>,
    memory: Arc<Mutex<Memory>>,
    /// What SQLite's thread was asked.
    waiting: Arc<Mutex<Waiting>>,
    places: Arc<Semaphore>,
    inbox: Inbox,
    runtime: Handle,
}

impl LookUps {
    /// Questions run on the runtime that this is called in.
    pub fn new(store: Store, inbox: Inbox) -> Self {
        let places = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let runtime = Handle::current();
        Self {
            store,
            countries: Arc::default(),
            memory: Arc::default(),
            waiting: Arc::default(),
            places,
            inbox,
            runtime,
        }
    }

    /// How a tenant's numbers are read. Until then nobody is asked for it.
    pub fn declare(&self, tenant: TenantId, country: Country) {
        self.countries.insert(tenant, country);
    }

    /// Asks for one number that nobody has, so that the tables of numbering plans and the database's statements are made ready
    /// now and not in the first caller's time.
    pub async fn warm(&self, tenant: &TenantId, country: Country) {
        const NOBODY: &str = "10000000000";
        let _no_number = E164::parse(NOBODY, country);
        if let Err(error) = callers::by_number(&self.store, tenant, country, NOBODY).await {
            tracing::warn!(%error, %tenant, "the records could not be asked who calls");
        }
    }

    /// Begins a question, whose answer comes as `Input::Caller`. False where there are too many already, or where the
    /// tenant is unknown: then no answer comes.
    pub fn start(&self, tenant: TenantId, call: CallId, number: Pii<String>) -> bool {
        let Some(country) = self.countries.get(&tenant).map(|country| *country) else { return false };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return false };
        let key = (tenant, number);
        if self.ask_directly(call, &key) {
            return true;
        }
        let (tenant, number) = key;
        let this = self.clone();
        self.runtime.spawn(async move {
            this.answer(tenant, country, call, number).await;
            drop(place);
        });
        true
    }

    /// Answers to give without the records, which have not answered in their time. To be asked for again at `wake`.
    pub fn overdue(&self) -> Vec<Input> {
        let due = lock(&self.waiting).due(std::time::Instant::now());
        let input = |due: Due| match due {
            Due::FromMemory { call, key } => {
                self.remembered(&key).map(|records| Input::Caller { call, records: Some(Box::new(records)) })
            }
            Due::Unknown { call } => {
                tracing::warn!(call.id = %call, "the records did not answer in time who calls");
                Some(Input::Caller { call, records: None })
            }
        };
        due.into_iter().filter_map(input).collect()
    }

    /// When [`LookUps::overdue`] is to be called, if no answer comes before.
    pub fn wake(&self) -> Option<std::time::Instant> {
        lock(&self.waiting).wake()
    }

    /// False where the database is asked otherwise.
    fn ask_directly(&self, call: CallId, key: &memory::Key) -> bool {
        let is_remembered = lock(&self.memory).find(key).is_some();
        lock(&self.waiting).add(std::time::Instant::now(), call, is_remembered.then(|| key.clone()));
        let (memory, waiting, inbox) = (self.memory.clone(), self.waiting.clone(), self.inbox.clone());
        let of_answer = key.clone();
        let answer = move |said: zongji_sql::Result<CallerRecords>| {
            let key = of_answer;
            let was = lock(&waiting).remove(call);
            let records = match said {
                Ok(records) => {
                    lock(&memory).put(key, records.clone());
                    Some(records)
                }
                Err(error) => {
                    tracing::debug!(%error, call.id = %call, "the records could not be asked who calls");
                    let from_memory = |records| CallerRecords { from_memory: true, ..records };
                    if was.is_told() { None } else { lock(&memory).find(&key).map(from_memory) }
                }
            };
            // What was told from memory is not taken back.
            if !was.is_over() && (records.is_some() || !was.is_told()) {
                inbox.send_blocking(Input::Caller { call, records: records.map(Box::new) });
            }
        };
        let asked = callers::ask_number(&self.store, &key.0, key.1.expose(), answer);
        if !asked {
            lock(&self.waiting).remove(call);
        }
        asked
    }

    async fn answer(&self, tenant: TenantId, country: Country, call: CallId, number: Pii<String>) {
        let key = (tenant, number);
        let asked = Instant::now();
        let question = callers::by_number(&self.store, &key.0, country, key.1.expose());
        tokio::pin!(question);
        let remembered = self.remembered(&key);
        let time = if remembered.is_some() { IN_TIME } else { LOOKUP_TIME_MAX };
        let mut said = timeout_at(asked + time, &mut question).await;
        if said.is_err()
            && let Some(records) = remembered.clone()
        {
            self.tell(call, Some(records)).await;
            // They are only slow, it may be: what they say meanwhile is the desk's as soon as it is known.
            said = timeout_at(asked + LOOKUP_TIME_MAX, &mut question).await;
            if !matches!(said, Ok(Ok(_))) {
                return;
            }
        }
        let records = match said {
            Ok(Ok(records)) => {
                lock(&self.memory).put(key.clone(), records.clone());
                Some(records)
            }
            // The store tells of an outage, once.
            Ok(Err(error)) => {
                tracing::debug!(%error, call.id = %call, "the records could not be asked who calls");
                remembered
            }
            Err(_) => {
                tracing::warn!(call.id = %call, "the records did not answer in time who calls");
                None
            }
        };
        self.tell(call, records).await;
    }

    fn remembered(&self, key: &memory::Key) -> Option<CallerRecords> {
        lock(&self.memory).find(key).map(|records| CallerRecords { from_memory: true, ..records })
    }

    async fn tell(&self, call: CallId, records: Option<CallerRecords>) {
        self.inbox.send(Input::Caller { call, records: records.map(Box::new) }).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::net::guard::Guard;
    use crate::net::inbox::{Outlet, inbox};
    use cti_base::{Rng, Timestamp};
    use zongji_sql::customers;

    const NUMBER: &str = "+8613800138000";

    struct Bench {
        dir: tempfile::TempDir,
        lookups: LookUps,
        outlet: Outlet,
        calls: u64,
    }

    async fn bench() -> Bench {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::connect(&url(&dir)).await.expect("opened");
        let country = Country::parse("CN").expect("a country");
        let tenant = TenantId::from("acme");
        let new: customers::CustomerNew = serde_json::from_value(
            serde_json::json!({ "name": "Li", "contacts": [{"kind": "phone", "value": NUMBER}] }),
        )
        .expect("a customer");
        let now = Timestamp::from_millis(1_800_000_000_000);
        customers::create(&store, &tenant, country, &new, now).await.expect("made");
        let (inbox, outlet) = inbox(Metrics::new().expect("names are valid"), Guard::default());
        let lookups = LookUps::new(store, inbox);
        lookups.declare(tenant, country);
        Bench { dir, lookups, outlet, calls: 0 }
    }

    fn url(dir: &tempfile::TempDir) -> String {
        format!("sqlite:{}", dir.path().join("z.db").display())
    }

    impl Bench {
        /// Asks, and gives the names found and whether from memory; `None` where the records are not known.
        async fn ask(&mut self, number: &str) -> Option<(Vec<String>, bool)> {
            self.calls += 1;
            let call = CallId::new(Timestamp::from_millis(1), &mut Rng::from_number(self.calls));
            assert!(self.lookups.start("acme".into(), call, Pii::new(number.into())));
            let answer = tokio::time::timeout(Duration::from_secs(5), self.outlet.other.recv()).await;
            match answer.expect("in time").expect("open") {
                Input::Caller { call: of, records } if of == call => {
                    records.map(|r| (r.candidates.into_iter().map(|c| c.name).collect(), r.from_memory))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn records_that_are_away_are_answered_for_from_memory() {
        let mut bench = bench().await;
        assert_eq!(bench.ask(NUMBER).await, Some((vec!["Li".into()], false)));
        bench.lookups.store = Store::open_lazily(&url(&bench.dir)).expect("a URL");
        let began = Instant::now();
        assert_eq!(bench.ask(NUMBER).await, Some((vec!["Li".into()], true)));
        assert_eq!(bench.ask("+8613800138999").await, None, "never asked before");
        assert!(began.elapsed() < Duration::from_millis(500), "an outage costs no waiting: {:?}", began.elapsed());
        bench.lookups.store.migrate().await.expect("back");
        assert_eq!(bench.ask(NUMBER).await, Some((vec!["Li".into()], false)));
    }

    #[tokio::test]
    async fn a_tenant_that_is_not_declared_is_not_asked_for() {
        let bench = bench().await;
        let call = CallId::new(Timestamp::from_millis(1), &mut Rng::from_number(1));
        assert!(!bench.lookups.start("other".into(), call, Pii::new(NUMBER.into())));
    }
}
