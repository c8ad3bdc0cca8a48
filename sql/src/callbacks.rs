//! Callbacks as the switch's facts tell of them. They are asked for and cancelled at the switch, not here.

use cti_base::{CallId, CallbackId, Pii, TenantId};
use cti_switch::{Callback, CallbackState};
use serde::Deserialize;

use crate::contacts::digits_of;
use crate::error::{Error, Result, check_line};
use crate::page::{AFTER_NOTHING, Listing, Page};
use crate::projector::Rows;
use crate::row::{Reader, Row, word};
use crate::statement::{Arg, args, statements};
use crate::store::{Store, Tx};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CallbackFilter {
    #[serde(default)]
    pub state: Option<CallbackState>,
    #[serde(default)]
    pub queue: Option<String>,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default)]
    pub customer_id: Option<String>,
    /// Part of it, in any way of writing it.
    #[serde(default)]
    pub number: Option<String>,
}

macro_rules! columns {
    () => {
        "id, queue, agent, number, digits, customer_id, contact_id, source, state, requested_ms, due_ms, place_ms, attempts, \
         last_cause, request_call, call_id"
    };
}

macro_rules! list {
    ($by:literal) => {
        concat!(
            "SELECT tenant, ",
            columns!(),
            " FROM callbacks WHERE tenant = $1 AND id < $2 ",
            $by,
            " AND (CAST($4 AS TEXT) IS NULL OR state = $4) AND (CAST($5 AS TEXT) IS NULL OR queue = $5) \
             AND (CAST($6 AS TEXT) IS NULL OR agent = $6) AND (CAST($7 AS TEXT) IS NULL OR digits LIKE $7) \
             ORDER BY id DESC LIMIT $3"
        )
    };
}

statements! {
    LIST = list!("");
    LIST_CUSTOMER = list!("AND customer_id = $8");
    GET = concat!("SELECT tenant, ", columns!(), " FROM callbacks WHERE tenant = $1 AND id = $2");
    /// A callback that is over stays so: facts of one journal come in order, those of two may not.
    PUT = concat!(
        "INSERT INTO callbacks (tenant, ", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
         $14, $15, $16, $17) ON CONFLICT (tenant, id) DO UPDATE SET agent = excluded.agent, state = excluded.state, \
         due_ms = excluded.due_ms, attempts = excluded.attempts, last_cause = excluded.last_cause, \
         call_id = excluded.call_id WHERE callbacks.state NOT IN ('done', 'failed', 'cancelled')");
    /// Every projected row of every tenant: history is made anew from the journal.
    FORGET = "DELETE FROM callbacks";
}

/// Newest first.
pub async fn list(store: &Store, tenant: &TenantId, filter: &CallbackFilter, page: &Page) -> Result<Listing<Callback>> {
    let rows = page.rows()?;
    check_line("number", filter.number.as_deref())?;
    let number = filter.number.as_deref().map(digits_of);
    if number.as_deref() == Some("") && filter.number.as_deref().is_some_and(|n| !n.trim().is_empty()) {
        return Err(Error::Invalid { field: "number", detail: "must have digits".into() });
    }
    let mut args = args![
        tenant,
        page.after.as_deref().unwrap_or(AFTER_NOTHING),
        rows,
        filter.state.map(|state| word(&state)).transpose()?,
        &filter.queue,
        &filter.agent,
        number.filter(|n| !n.is_empty()).map(|n| format!("%{n}%")),
    ];
    let statement = match &filter.customer_id {
        None => &LIST,
        Some(customer) => {
            args.push(customer.into());
            &LIST_CUSTOMER
        }
    };
    let found = store.all(statement, args).await?;
    let callbacks: Vec<Callback> = found.into_iter().map(Callback::try_from).collect::<Result<_>>()?;
    Ok(Listing::of(callbacks, rows, |callback| callback.id.to_string()))
}

pub async fn get(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Callback>> {
    store.one(&GET, args![tenant, id]).await?.map(Callback::try_from).transpose()
}

/// The callback as a fact tells it.
pub(crate) fn put(rows: &mut Rows, callback: &Callback) -> Result<()> {
    let number = callback.number.expose();
    let mut args = args![&callback.tenant];
    args.push(Arg::from(callback.id.to_string()));
    args.extend(args![&callback.queue, callback.agent.as_ref(), number, digits_of(number)]);
    args.extend(args![&callback.customer_id, &callback.contact_id, word(&callback.source)?, word(&callback.state)?]);
    args.extend(args![callback.requested_ms, callback.due_ms, callback.place_ms, u64::from(callback.attempts)]);
    args.extend(args![&callback.last_cause, callback.request_call.as_ref(), callback.call_id.as_ref()]);
    rows.run(&PUT, args);
    Ok(())
}

pub(crate) async fn forget(tx: &mut Tx) -> Result<()> {
    tx.run(&FORGET, vec![]).await.map(|_| ())
}

fn call_of(r: Reader<'_>, column: &'static str) -> Result<Option<CallId>> {
    let text = r.opt_text(column)?;
    text.map(|id| CallId::parse(&id).ok_or_else(|| r.error(column, "is no id"))).transpose()
}

impl TryFrom<Row> for Callback {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("callbacks", "id");
        Ok(Self {
            id: CallbackId::parse(&r.text("id")?).ok_or_else(|| r.error("id", "is no id"))?,
            tenant: r.text("tenant")?.into(),
            queue: r.text("queue")?.into(),
            agent: r.opt_text("agent")?.map(Into::into),
            number: Pii::new(r.text("number")?),
            customer_id: r.opt_text("customer_id")?,
            contact_id: r.opt_text("contact_id")?,
            source: r.word("source")?,
            state: r.word("state")?,
            requested_ms: r.int("requested_ms")?,
            due_ms: r.int("due_ms")?,
            place_ms: r.int("place_ms")?,
            attempts: u32::try_from(r.int("attempts")?).map_err(|e| r.error("attempts", e))?,
            last_cause: r.opt_text("last_cause")?,
            request_call: call_of(r, "request_call")?,
            call_id: call_of(r, "call_id")?,
        })
    }
}
