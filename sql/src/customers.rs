//! Customers, with the contacts they are reached by and the products they own.

use cti_base::{Country, TenantId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use crate::LINE_LEN_MAX;
use crate::clock::new_id;
use crate::contacts::{self, Contact, ContactNew};
use crate::error::{Change, Result, check_line, check_long, check_text, vanished};
use crate::page::{AFTER_NOTHING, Listing, Page};
use crate::products::{self, Product, ProductNew};
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::{Store, Tx};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Customer {
    pub id: String,
    pub name: String,
    pub company: Option<String>,
    /// The installation's own word, e.g. `gold`.
    pub value_class: Option<String>,
    pub risk: Option<String>,
    pub locale: Option<String>,
    pub notes: Option<String>,
    pub contacts: Vec<Contact>,
    pub products: Vec<Product>,
    #[ts(type = "number")]
    pub version: u64,
    #[ts(type = "number")]
    pub created_ms: u64,
    #[ts(type = "number")]
    pub updated_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
pub struct CustomerNew {
    pub name: String,
    #[serde(default)]
    pub company: Option<String>,
    #[serde(default)]
    pub value_class: Option<String>,
    #[serde(default)]
    pub risk: Option<String>,
    #[serde(default)]
    pub locale: Option<String>,
    #[serde(default)]
    pub notes: Option<String>,
    #[serde(default)]
    pub contacts: Vec<ContactNew>,
    #[serde(default)]
    pub products: Vec<ProductNew>,
}

/// What changes: a field that is absent stays, `null` clears it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerPatch {
    pub version: u64,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "clearable")]
    pub company: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub value_class: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub risk: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub locale: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub notes: Option<Option<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CustomerFilter {
    /// Part of a name, company, number or address, or a serial number.
    #[serde(default)]
    pub q: Option<String>,
}

/// Contacts or products of one customer.
pub const PARTS_MAX: usize = 200;

macro_rules! columns {
    () => {
        "id, name, company, value_class, risk, locale, notes, version, created_ms, updated_ms"
    };
}

statements! {
    LIST = concat!("SELECT ", columns!(), " FROM customers WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    SEARCH = concat!(
        "SELECT ", columns!(), " FROM customers c WHERE tenant = $1 AND id < $2 AND (\
         lower(c.name) LIKE $4 ESCAPE '!' OR lower(c.company) LIKE $4 ESCAPE '!' \
         OR c.id IN (SELECT k.customer_id FROM contacts k WHERE k.tenant = $1 AND (lower(k.value) LIKE $4 ESCAPE '!' \
         OR (CAST($5 AS TEXT) IS NOT NULL AND k.digits LIKE $5))) \
         OR c.id IN (SELECT p.customer_id FROM products p WHERE p.tenant = $1 AND lower(p.serial) LIKE $4 ESCAPE '!')) \
         ORDER BY id DESC LIMIT $3");
    GET = concat!("SELECT ", columns!(), " FROM customers WHERE tenant = $1 AND id = $2");
    ADD = concat!(
        "INSERT INTO customers (tenant, ", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $9)");
    CHANGE = concat!(
        "UPDATE customers SET name = $4, company = $5, value_class = $6, risk = $7, locale = $8, notes = $9, \
         version = version + 1, updated_ms = $10 WHERE tenant = $1 AND id = $2 AND version = $3 \
         RETURNING ", columns!());
    COUNT = "SELECT COUNT(*) AS n FROM customers WHERE tenant = $1";
}

/// Newest first, each with contacts and products.
pub async fn list(store: &Store, tenant: &TenantId, filter: &CustomerFilter, page: &Page) -> Result<Listing<Customer>> {
    let rows = page.rows()?;
    let after = page.after.as_deref().unwrap_or(AFTER_NOTHING);
    let found = match filter.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        None => store.all(&LIST, args![tenant, after, rows]).await?,
        Some(q) => {
            check_text("q", q, LINE_LEN_MAX, false)?;
            let digits: String = q.chars().filter(char::is_ascii_digit).collect();
            let digits = (digits.len() >= DIGITS_SEARCHED_MIN).then(|| format!("%{digits}%"));
            store.all(&SEARCH, args![tenant, after, rows, like_part(q), digits]).await?
        }
    };
    let customers: Vec<Customer> = found.into_iter().map(Customer::try_from).collect::<Result<_>>()?;
    let mut listing = Listing::of(customers, rows, |c| c.id.clone());
    for customer in &mut listing.items {
        fill(store, tenant, customer).await?;
    }
    Ok(listing)
}

pub async fn get(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Customer>> {
    let Some(row) = store.one(&GET, args![tenant, id]).await? else { return Ok(None) };
    let mut customer = Customer::try_from(row)?;
    fill(store, tenant, &mut customer).await?;
    Ok(Some(customer))
}

pub async fn count(store: &Store, tenant: &TenantId) -> Result<u64> {
    match store.one(&COUNT, args![tenant]).await? {
        Some(row) => row.of("customers", "n").int("n"),
        None => Ok(0),
    }
}

/// With its contacts and products. `country` is the tenant's, by whose manner numbers are read.
pub async fn create(
    store: &Store,
    tenant: &TenantId,
    country: Country,
    new: &CustomerNew,
    now: Timestamp,
) -> Result<Customer> {
    let ids = create_many(store, tenant, country, std::slice::from_ref(new), now).await?;
    let id = ids.first().ok_or_else(|| vanished("customers", &new.name))?;
    get(store, tenant, id).await?.ok_or_else(|| vanished("customers", id))
}

/// All or none, in one transaction; their ids in order.
pub async fn create_many(
    store: &Store,
    tenant: &TenantId,
    country: Country,
    new: &[CustomerNew],
    now: Timestamp,
) -> Result<Vec<String>> {
    let mut tx = store.begin().await?;
    let mut ids = Vec::with_capacity(new.len());
    for customer in new {
        ids.push(add(&mut tx, tenant, country, customer, now).await?);
    }
    tx.commit().await?;
    Ok(ids)
}

pub async fn update(
    store: &Store,
    tenant: &TenantId,
    id: &str,
    patch: &CustomerPatch,
    now: Timestamp,
) -> Result<Change<Customer>> {
    let Some(before) = get(store, tenant, id).await? else { return Ok(Change::Missing) };
    if before.version != patch.version {
        return Ok(Change::Conflict(before));
    }
    let mut after = before.clone();
    let patch = patch.clone();
    after.name = patch.name.unwrap_or(after.name);
    after.company = patch.company.unwrap_or(after.company);
    after.value_class = patch.value_class.unwrap_or(after.value_class);
    after.risk = patch.risk.unwrap_or(after.risk);
    after.locale = patch.locale.unwrap_or(after.locale);
    after.notes = patch.notes.unwrap_or(after.notes);
    if after == before {
        return Ok(Change::Done(before));
    }
    check(&after.name, &[("company", &after.company), ("value_class", &after.value_class), ("risk", &after.risk)])?;
    check_line("locale", after.locale.as_deref())?;
    check_long("notes", after.notes.as_deref())?;
    let mut tx = store.begin().await?;
    let row = tx
        .one(
            &CHANGE,
            args![
                tenant,
                id,
                before.version,
                &after.name,
                &after.company,
                &after.value_class,
                &after.risk,
                &after.locale,
                &after.notes,
                now
            ],
        )
        .await?;
    let done = row.map(Customer::try_from).transpose()?;
    tx.commit().await?;
    match done {
        Some(mut customer) => {
            customer.contacts = before.contacts;
            customer.products = before.products;
            Ok(Change::Done(customer))
        }
        None => Ok(get(store, tenant, id).await?.map_or(Change::Missing, Change::Conflict)),
    }
}

async fn add(tx: &mut Tx, tenant: &TenantId, country: Country, new: &CustomerNew, now: Timestamp) -> Result<String> {
    check(&new.name, &[("company", &new.company), ("value_class", &new.value_class), ("risk", &new.risk)])?;
    check_line("locale", new.locale.as_deref())?;
    check_long("notes", new.notes.as_deref())?;
    for (field, parts) in [("contacts", new.contacts.len()), ("products", new.products.len())] {
        if parts > PARTS_MAX {
            return Err(crate::Error::Invalid { field, detail: format!("must be at most {PARTS_MAX}") });
        }
    }
    let id = new_id(now)?;
    tx.run(
        &ADD,
        args![tenant, &id, &new.name, &new.company, &new.value_class, &new.risk, &new.locale, &new.notes, now],
    )
    .await?;
    for contact in &new.contacts {
        contacts::add(tx, tenant, country, &id, contact, now).await?;
    }
    for product in &new.products {
        products::add(tx, tenant, &id, product, now).await?;
    }
    Ok(id)
}

fn check(name: &str, lines: &[(&'static str, &Option<String>)]) -> Result<()> {
    check_text("name", name, LINE_LEN_MAX, false)?;
    lines.iter().try_for_each(|(field, text)| check_line(field, text.as_deref()))
}

async fn fill(store: &Store, tenant: &TenantId, customer: &mut Customer) -> Result<()> {
    customer.contacts = contacts::of_customer(store, tenant, &customer.id).await?;
    customer.products = products::of_customer(store, tenant, &customer.id).await?;
    Ok(())
}

/// Fewer digits than this in a search are not looked for in numbers: nearly every number has them.
const DIGITS_SEARCHED_MIN: usize = 3;

/// `%part%` in lower case, for LIKE with `!` as its escape.
pub(crate) fn like_part(part: &str) -> String {
    let mut pattern = String::from("%");
    for c in part.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// A field of a patch: absent stays `None`, `null` is `Some(None)`.
pub(crate) fn clearable<'de, D, T>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

impl TryFrom<Row> for Customer {
    type Error = crate::Error;

    /// Without contacts and products.
    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("customers", "id");
        Ok(Self {
            id: r.text("id")?,
            name: r.text("name")?,
            company: r.opt_text("company")?,
            value_class: r.opt_text("value_class")?,
            risk: r.opt_text("risk")?,
            locale: r.opt_text("locale")?,
            notes: r.opt_text("notes")?,
            contacts: Vec::new(),
            products: Vec::new(),
            version: r.int("version")?,
            created_ms: r.int("created_ms")?,
            updated_ms: r.int("updated_ms")?,
        })
    }
}
