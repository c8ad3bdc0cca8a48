//! Cases (inquiry, complaint, repair, follow-up, rescue) and the log of what was done to them.

use std::collections::BTreeMap;

use cti_base::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::LINE_LEN_MAX;
use crate::clock::new_id;
use crate::customers::{clearable, like_part};
use crate::error::{Change, Result, check_json, check_line, check_long, check_text, vanished};
use crate::idempotency::{self, Key};
use crate::page::{AFTER_NOTHING, Listing, Page};
use crate::row::{Row, word};
use crate::statement::{args, statements};
use crate::store::{Store, Tx};

/// The HTTP status that is kept with what was made.
const CREATED: u16 = 201;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum CaseKind {
    Inquiry,
    Complaint,
    Repair,
    FollowUp,
    Rescue,
}

impl CaseKind {
    pub const ALL: [Self; 5] = [Self::Inquiry, Self::Complaint, Self::Repair, Self::FollowUp, Self::Rescue];
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum CaseStatus {
    #[default]
    Open,
    InProgress,
    Resolved,
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum CasePriority {
    Low,
    #[default]
    Normal,
    High,
    Urgent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Case {
    pub id: String,
    /// Counted from 1 within the tenant.
    #[ts(type = "number")]
    pub number: u64,
    pub kind: CaseKind,
    pub status: CaseStatus,
    pub priority: CasePriority,
    pub title: String,
    pub description: Option<String>,
    pub customer_id: Option<String>,
    pub product_id: Option<String>,
    pub call_id: Option<String>,
    /// Where the caller stands, in words: rescues and repairs.
    pub place: Option<String>,
    pub callback_number: Option<String>,
    /// Whose case it is.
    pub agent: Option<String>,
    /// The tenant's own fields.
    #[ts(type = "Record<string, unknown>")]
    pub fields: Map<String, Value>,
    #[ts(type = "number")]
    pub version: u64,
    #[ts(type = "number")]
    pub created_ms: u64,
    #[ts(type = "number")]
    pub updated_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseNew {
    pub kind: CaseKind,
    pub title: String,
    #[serde(default)]
    pub status: CaseStatus,
    #[serde(default)]
    pub priority: CasePriority,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub customer_id: Option<String>,
    #[serde(default)]
    pub product_id: Option<String>,
    #[serde(default)]
    pub call_id: Option<String>,
    #[serde(default)]
    pub place: Option<String>,
    #[serde(default)]
    pub callback_number: Option<String>,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default)]
    pub fields: Map<String, Value>,
}

impl CaseNew {
    pub fn new(kind: CaseKind, title: &str) -> Self {
        Self {
            kind,
            title: title.to_owned(),
            status: CaseStatus::Open,
            priority: CasePriority::Normal,
            description: None,
            customer_id: None,
            product_id: None,
            call_id: None,
            place: None,
            callback_number: None,
            agent: None,
            fields: Map::new(),
        }
    }
}

/// What changes: a field that is absent stays, `null` clears it. `fields` replaces them all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CasePatch {
    pub version: u64,
    #[serde(default)]
    pub kind: Option<CaseKind>,
    #[serde(default)]
    pub status: Option<CaseStatus>,
    #[serde(default)]
    pub priority: Option<CasePriority>,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "clearable")]
    pub description: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub customer_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub product_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub call_id: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub place: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub callback_number: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub agent: Option<Option<String>>,
    #[serde(default)]
    pub fields: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum CaseEventKind {
    Created,
    Changed,
    Note,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct CaseEvent {
    pub id: String,
    pub case_id: String,
    #[ts(type = "number")]
    pub at_ms: u64,
    pub actor: String,
    pub kind: CaseEventKind,
    /// Field: old and new.
    #[ts(type = "Record<string, [unknown, unknown]>")]
    pub changes: BTreeMap<String, (Value, Value)>,
    pub text: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CaseFilter {
    #[serde(default)]
    pub customer_id: Option<String>,
    #[serde(default)]
    pub call_id: Option<String>,
    #[serde(default)]
    pub kind: Option<CaseKind>,
    #[serde(default)]
    pub status: Option<CaseStatus>,
    #[serde(default)]
    pub agent: Option<String>,
    /// Part of the title, or the number.
    #[serde(default)]
    pub q: Option<String>,
}

macro_rules! columns {
    () => {
        "id, number, kind, status, priority, title, description, customer_id, product_id, call_id, place, \
         callback_number, agent, fields, version, created_ms, updated_ms"
    };
}

macro_rules! list {
    ($by:literal) => {
        concat!(
            "SELECT ", columns!(), " FROM cases WHERE tenant = $1 AND id < $2 ", $by,
            " AND (CAST($4 AS TEXT) IS NULL OR kind = $4) AND (CAST($5 AS TEXT) IS NULL OR status = $5) \
             AND (CAST($6 AS TEXT) IS NULL OR agent = $6) AND (CAST($7 AS TEXT) IS NULL OR lower(title) LIKE $7 ESCAPE '!' \
             OR CAST(number AS TEXT) = $8) ORDER BY id DESC LIMIT $3"
        )
    };
}

statements! {
    LIST = list!("");
    LIST_CUSTOMER = list!("AND customer_id = $9");
    LIST_CALL = list!("AND call_id = $9");
    LIST_CUSTOMER_CALL = list!("AND customer_id = $9 AND call_id = $10");
    GET = concat!("SELECT ", columns!(), " FROM cases WHERE tenant = $1 AND id = $2");
    NUMBER = "INSERT INTO case_numbers (tenant, last) VALUES ($1, 1) ON CONFLICT (tenant) DO UPDATE SET \
              last = case_numbers.last + 1 RETURNING tenant, last";
    ADD = concat!(
        "INSERT INTO cases (tenant, ", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
         $14, $15, 1, $16, $16) RETURNING ", columns!());
    CHANGE = concat!(
        "UPDATE cases SET kind = $4, status = $5, priority = $6, title = $7, description = $8, customer_id = $9, \
         product_id = $10, call_id = $11, place = $12, callback_number = $13, agent = $14, fields = $15, \
         version = version + 1, updated_ms = $16 WHERE tenant = $1 AND id = $2 AND version = $3 RETURNING ", columns!());
    EVENTS = "SELECT id, case_id, at_ms, actor, kind, changes, text FROM case_events \
              WHERE tenant = $1 AND case_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4";
    EVENT_ADD = "INSERT INTO case_events (tenant, id, case_id, at_ms, actor, kind, changes, text) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id, case_id, at_ms, actor, kind, changes, text";
}

/// Newest first.
pub async fn list(store: &Store, tenant: &TenantId, filter: &CaseFilter, page: &Page) -> Result<Listing<Case>> {
    let rows = page.rows()?;
    let q = filter.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
    check_line("q", q)?;
    let mut args = args![
        tenant,
        page.after.as_deref().unwrap_or(AFTER_NOTHING),
        rows,
        filter.kind.map(|k| word(&k)).transpose()?,
        filter.status.map(|s| word(&s)).transpose()?,
        &filter.agent,
        q.map(like_part),
        q.map(|q| q.trim_start_matches('#')),
    ];
    let statement = match (&filter.customer_id, &filter.call_id) {
        (None, None) => &LIST,
        (Some(customer), None) => {
            args.push(customer.into());
            &LIST_CUSTOMER
        }
        (None, Some(call)) => {
            args.push(call.into());
            &LIST_CALL
        }
        (Some(customer), Some(call)) => {
            args.extend([customer.into(), call.into()]);
            &LIST_CUSTOMER_CALL
        }
    };
    let found = store.all(statement, args).await?;
    let cases: Vec<Case> = found.into_iter().map(Case::try_from).collect::<Result<_>>()?;
    Ok(Listing::of(cases, rows, |c| c.id.clone()))
}

pub async fn get(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Case>> {
    store.one(&GET, args![tenant, id]).await?.map(Case::try_from).transpose()
}

/// Gives the case the tenant's next number and begins its log.
pub async fn create(store: &Store, tenant: &TenantId, actor: &str, new: &CaseNew, now: Timestamp) -> Result<Case> {
    create_once(store, tenant, actor, new, None, now).await
}

/// As [`create`]; with the request's key, so that it is made once whatever stops the program.
pub async fn create_once(
    store: &Store,
    tenant: &TenantId,
    actor: &str,
    new: &CaseNew,
    key: Option<Key<'_>>,
    now: Timestamp,
) -> Result<Case> {
    check(new)?;
    let mut tx = store.begin().await?;
    let id = new_id(now)?;
    let row = tx.one(&NUMBER, args![tenant]).await?.ok_or_else(|| vanished("case_numbers", tenant))?;
    let number = row.of("case_numbers", "tenant").int("last")?;
    let row = tx
        .one(
            &ADD,
            args![
                tenant,
                &id,
                number,
                word(&new.kind)?,
                word(&new.status)?,
                word(&new.priority)?,
                &new.title,
                &new.description,
                &new.customer_id,
                &new.product_id,
                &new.call_id,
                &new.place,
                &new.callback_number,
                &new.agent,
                serde_json::to_string(&new.fields)?,
                now
            ],
        )
        .await?;
    let case = row.map(Case::try_from).transpose()?.ok_or_else(|| vanished("cases", &id))?;
    log(&mut tx, tenant, &id, actor, CaseEventKind::Created, &BTreeMap::new(), None, now).await?;
    idempotency::finish_in(&mut tx, tenant, key, CREATED, &case, now).await?;
    tx.commit().await?;
    Ok(case)
}

/// Changes what `patch` names and writes what changed to the log; nothing changed: the version stays.
pub async fn update(
    store: &Store,
    tenant: &TenantId,
    id: &str,
    actor: &str,
    patch: &CasePatch,
    now: Timestamp,
) -> Result<Change<Case>> {
    let mut tx = store.begin().await?;
    let Some(row) = tx.one(&GET, args![tenant, id]).await? else { return Ok(Change::Missing) };
    let before = Case::try_from(row)?;
    if before.version != patch.version {
        return Ok(Change::Conflict(before));
    }
    let after = patched(&before, patch.clone());
    check(&after)?;
    let changes = changes(&before, &after)?;
    if changes.is_empty() {
        return Ok(Change::Done(before));
    }
    let args = args![
        tenant,
        id,
        before.version,
        word(&after.kind)?,
        word(&after.status)?,
        word(&after.priority)?,
        after.title,
        after.description,
        after.customer_id,
        after.product_id,
        after.call_id,
        after.place,
        after.callback_number,
        after.agent,
        serde_json::to_string(&after.fields)?,
        now
    ];
    let Some(row) = tx.one(&CHANGE, args).await? else {
        drop(tx);
        return Ok(get(store, tenant, id).await?.map_or(Change::Missing, Change::Conflict));
    };
    let case = Case::try_from(row)?;
    log(&mut tx, tenant, id, actor, CaseEventKind::Changed, &changes, None, now).await?;
    tx.commit().await?;
    Ok(Change::Done(case))
}

/// Newest first.
pub async fn events(store: &Store, tenant: &TenantId, case: &str, page: &Page) -> Result<Listing<CaseEvent>> {
    let rows = page.rows()?;
    let after = page.after.as_deref().unwrap_or(AFTER_NOTHING);
    let found = store.all(&EVENTS, args![tenant, case, after, rows]).await?;
    let events: Vec<CaseEvent> = found.into_iter().map(CaseEvent::try_from).collect::<Result<_>>()?;
    Ok(Listing::of(events, rows, |e| e.id.clone()))
}

/// A note in the log; `None` where there is no such case.
pub async fn add_note(
    store: &Store,
    tenant: &TenantId,
    case: &str,
    actor: &str,
    text: &str,
    now: Timestamp,
) -> Result<Option<CaseEvent>> {
    add_note_once(store, tenant, case, actor, text, None, now).await
}

/// As [`add_note`]; with the request's key, so that it is made once whatever stops the program.
pub async fn add_note_once(
    store: &Store,
    tenant: &TenantId,
    case: &str,
    actor: &str,
    text: &str,
    key: Option<Key<'_>>,
    now: Timestamp,
) -> Result<Option<CaseEvent>> {
    check_text("text", text, crate::TEXT_LEN_MAX, false)?;
    let mut tx = store.begin().await?;
    if tx.one(&GET, args![tenant, case]).await?.is_none() {
        return Ok(None);
    }
    let event = log(&mut tx, tenant, case, actor, CaseEventKind::Note, &BTreeMap::new(), Some(text), now).await?;
    idempotency::finish_in(&mut tx, tenant, key, CREATED, &event, now).await?;
    tx.commit().await?;
    Ok(Some(event))
}

#[allow(clippy::too_many_arguments, reason = "one column each")]
async fn log(
    tx: &mut Tx,
    tenant: &TenantId,
    case: &str,
    actor: &str,
    kind: CaseEventKind,
    changes: &BTreeMap<String, (Value, Value)>,
    text: Option<&str>,
    now: Timestamp,
) -> Result<CaseEvent> {
    let id = new_id(now)?;
    let args = args![tenant, &id, case, now, actor, word(&kind)?, serde_json::to_string(changes)?, text];
    let row = tx.one(&EVENT_ADD, args).await?;
    row.map(CaseEvent::try_from).transpose()?.ok_or_else(|| vanished("case_events", &id))
}

fn patched(before: &Case, patch: CasePatch) -> CaseNew {
    let b = before.clone();
    CaseNew {
        kind: patch.kind.unwrap_or(b.kind),
        status: patch.status.unwrap_or(b.status),
        priority: patch.priority.unwrap_or(b.priority),
        title: patch.title.unwrap_or(b.title),
        description: patch.description.unwrap_or(b.description),
        customer_id: patch.customer_id.unwrap_or(b.customer_id),
        product_id: patch.product_id.unwrap_or(b.product_id),
        call_id: patch.call_id.unwrap_or(b.call_id),
        place: patch.place.unwrap_or(b.place),
        callback_number: patch.callback_number.unwrap_or(b.callback_number),
        agent: patch.agent.unwrap_or(b.agent),
        fields: patch.fields.unwrap_or(b.fields),
    }
}

fn changes(before: &Case, after: &CaseNew) -> Result<BTreeMap<String, (Value, Value)>> {
    let fields = [
        ("kind", serde_json::to_value(before.kind)?, serde_json::to_value(after.kind)?),
        ("status", serde_json::to_value(before.status)?, serde_json::to_value(after.status)?),
        ("priority", serde_json::to_value(before.priority)?, serde_json::to_value(after.priority)?),
        ("title", before.title.clone().into(), after.title.clone().into()),
        ("description", before.description.clone().into(), after.description.clone().into()),
        ("customer_id", before.customer_id.clone().into(), after.customer_id.clone().into()),
        ("product_id", before.product_id.clone().into(), after.product_id.clone().into()),
        ("call_id", before.call_id.clone().into(), after.call_id.clone().into()),
        ("place", before.place.clone().into(), after.place.clone().into()),
        ("callback_number", before.callback_number.clone().into(), after.callback_number.clone().into()),
        ("agent", before.agent.clone().into(), after.agent.clone().into()),
        ("fields", before.fields.clone().into(), after.fields.clone().into()),
    ];
    Ok(fields.into_iter().filter(|(_, old, new)| old != new).map(|(f, old, new)| (f.to_owned(), (old, new))).collect())
}

fn check(case: &CaseNew) -> Result<()> {
    check_text("title", &case.title, LINE_LEN_MAX, false)?;
    check_long("description", case.description.as_deref())?;
    check_line("customer_id", case.customer_id.as_deref())?;
    check_line("product_id", case.product_id.as_deref())?;
    check_line("call_id", case.call_id.as_deref())?;
    check_line("place", case.place.as_deref())?;
    check_line("callback_number", case.callback_number.as_deref())?;
    check_line("agent", case.agent.as_deref())?;
    check_json("fields", &serde_json::to_string(&case.fields)?)
}

impl TryFrom<Row> for Case {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("cases", "id");
        Ok(Self {
            id: r.text("id")?,
            number: r.int("number")?,
            kind: r.word("kind")?,
            status: r.word("status")?,
            priority: r.word("priority")?,
            title: r.text("title")?,
            description: r.opt_text("description")?,
            customer_id: r.opt_text("customer_id")?,
            product_id: r.opt_text("product_id")?,
            call_id: r.opt_text("call_id")?,
            place: r.opt_text("place")?,
            callback_number: r.opt_text("callback_number")?,
            agent: r.opt_text("agent")?,
            fields: r.json("fields")?,
            version: r.int("version")?,
            created_ms: r.int("created_ms")?,
            updated_ms: r.int("updated_ms")?,
        })
    }
}

impl TryFrom<Row> for CaseEvent {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("case_events", "id");
        Ok(Self {
            id: r.text("id")?,
            case_id: r.text("case_id")?,
            at_ms: r.int("at_ms")?,
            actor: r.text("actor")?,
            kind: r.word("kind")?,
            changes: r.json("changes")?,
            text: r.opt_text("text")?,
        })
    }
}
