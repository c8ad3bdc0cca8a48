//! What a customer is reached by. Numbers are kept in E.164 where they are telephone numbers, and found by their last digits.

use cti_base::{Country, E164, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::LINE_LEN_MAX;
use crate::clock::new_id;
use crate::customers::clearable;
use crate::error::{Change, Result, check_line, check_text, vanished};
use crate::row::{Row, word};
use crate::statement::{args, statements};
use crate::store::{Store, Tx};

/// Digits at a number's end by which it is found where its whole is written otherwise; the fewest that may match.
pub const TAIL_DIGITS: usize = 7;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    #[default]
    Phone,
    Email,
    Wechat,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct Contact {
    pub id: String,
    pub customer_id: String,
    pub kind: ContactKind,
    /// E.164 for a telephone number; as written for what is none.
    pub value: String,
    pub label: Option<String>,
    #[ts(type = "number")]
    pub version: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
pub struct ContactNew {
    #[serde(default)]
    pub kind: ContactKind,
    pub value: String,
    #[serde(default)]
    pub label: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactPatch {
    pub version: u64,
    #[serde(default)]
    pub kind: Option<ContactKind>,
    #[serde(default)]
    pub value: Option<String>,
    #[serde(default, deserialize_with = "clearable")]
    pub label: Option<Option<String>>,
}

macro_rules! columns {
    () => {
        "id, customer_id, kind, value, label, version"
    };
}

statements! {
    OF_CUSTOMER = concat!(
        "SELECT ", columns!(), " FROM contacts WHERE tenant = $1 AND customer_id = $2 ORDER BY id LIMIT 200");
    GET = concat!("SELECT ", columns!(), " FROM contacts WHERE tenant = $1 AND id = $2");
    /// Nothing is added to a customer of another tenant.
    ADD = concat!(
        "INSERT INTO contacts (tenant, ", columns!(), ", digits, tail) \
         SELECT c.tenant, $3, c.id, $4, $5, $6, 1, $7, $8 FROM customers c WHERE c.tenant = $1 AND c.id = $2 \
         RETURNING ", columns!());
    CHANGE = concat!(
        "UPDATE contacts SET kind = $4, value = $5, label = $6, digits = $7, tail = $8, version = version + 1 \
         WHERE tenant = $1 AND id = $2 AND version = $3 RETURNING ", columns!());
    REMOVE = "DELETE FROM contacts WHERE tenant = $1 AND id = $2";
}

pub async fn of_customer(store: &Store, tenant: &TenantId, customer: &str) -> Result<Vec<Contact>> {
    store.all(&OF_CUSTOMER, args![tenant, customer]).await?.into_iter().map(Contact::try_from).collect()
}

pub async fn get(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Contact>> {
    store.one(&GET, args![tenant, id]).await?.map(Contact::try_from).transpose()
}

/// `None` where there is no such customer.
pub async fn create(
    store: &Store,
    tenant: &TenantId,
    country: Country,
    customer: &str,
    new: &ContactNew,
    now: Timestamp,
) -> Result<Option<Contact>> {
    let mut tx = store.begin().await?;
    let contact = insert(&mut tx, tenant, country, customer, new, now).await?;
    tx.commit().await?;
    Ok(contact)
}

pub async fn update(
    store: &Store,
    tenant: &TenantId,
    country: Country,
    id: &str,
    patch: &ContactPatch,
) -> Result<Change<Contact>> {
    let mut tx = store.begin().await?;
    let Some(row) = tx.one(&GET, args![tenant, id]).await? else { return Ok(Change::Missing) };
    let before = Contact::try_from(row)?;
    if before.version != patch.version {
        return Ok(Change::Conflict(before));
    }
    let patch = patch.clone();
    let kind = patch.kind.unwrap_or(before.kind);
    let value = patch.value.unwrap_or_else(|| before.value.clone());
    let label = patch.label.unwrap_or_else(|| before.label.clone());
    let stored = Stored::of(kind, &value, country)?;
    check_line("label", label.as_deref())?;
    let row = tx
        .one(&CHANGE, args![tenant, id, before.version, word(&kind)?, stored.value, label, stored.digits, stored.tail])
        .await?;
    let done = row.map(Contact::try_from).transpose()?;
    tx.commit().await?;
    match done {
        Some(contact) => Ok(Change::Done(contact)),
        None => Ok(get(store, tenant, id).await?.map_or(Change::Missing, Change::Conflict)),
    }
}

/// True if there was such a contact.
pub async fn remove(store: &Store, tenant: &TenantId, id: &str) -> Result<bool> {
    store.run(&REMOVE, args![tenant, id]).await.map(|rows| rows > 0)
}

pub(crate) async fn add(
    tx: &mut Tx,
    tenant: &TenantId,
    country: Country,
    customer: &str,
    new: &ContactNew,
    now: Timestamp,
) -> Result<()> {
    insert(tx, tenant, country, customer, new, now).await?.map(|_| ()).ok_or_else(|| vanished("customers", customer))
}

async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    country: Country,
    customer: &str,
    new: &ContactNew,
    now: Timestamp,
) -> Result<Option<Contact>> {
    let stored = Stored::of(new.kind, &new.value, country)?;
    check_line("label", new.label.as_deref())?;
    let args =
        args![tenant, customer, new_id(now)?, word(&new.kind)?, stored.value, &new.label, stored.digits, stored.tail];
    tx.one(&ADD, args).await?.map(Contact::try_from).transpose()
}

/// A contact's value as its columns hold it.
struct Stored {
    value: String,
    digits: Option<String>,
    tail: Option<String>,
}

impl Stored {
    fn of(kind: ContactKind, value: &str, country: Country) -> Result<Self> {
        check_text("value", value, LINE_LEN_MAX, false)?;
        match kind {
            ContactKind::Phone => {
                let value = normalise(value, country);
                let digits = digits_of(&value);
                let tail = tail_of(&digits).to_owned();
                Ok(Self { value, digits: Some(digits), tail: Some(tail) })
            }
            ContactKind::Email | ContactKind::Wechat | ContactKind::Other => {
                Ok(Self { value: value.trim().to_owned(), digits: None, tail: None })
            }
        }
    }
}

/// E.164 where `text` is a telephone number, else as written.
pub(crate) fn normalise(text: &str, country: Country) -> String {
    let text = text.trim();
    E164::parse(text, country).map_or_else(|| text.to_owned(), |number| number.as_str().to_owned())
}

pub(crate) fn digits_of(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The last `TAIL_DIGITS` of a number's digits, or all where there are fewer.
pub(crate) fn tail_of(digits: &str) -> &str {
    &digits[digits.len().saturating_sub(TAIL_DIGITS)..]
}

impl TryFrom<Row> for Contact {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("contacts", "id");
        Ok(Self {
            id: r.text("id")?,
            customer_id: r.text("customer_id")?,
            kind: r.word("kind")?,
            value: r.text("value")?,
            label: r.opt_text("label")?,
            version: r.int("version")?,
        })
    }
}
