//! Products that customers own, by model and serial number.

use cti_base::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::LINE_LEN_MAX;
use crate::clock::new_id;
use crate::customers::clearable;
use crate::error::{Change, Result, check_text, vanished};
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::{Store, Tx};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct Product {
    pub id: String,
    pub customer_id: String,
    pub model: String,
    pub serial: String,
    /// `2024-05-31`
    pub purchased_on: Option<String>,
    /// `2026-05-31`
    pub warranty_until: Option<String>,
    #[ts(type = "number")]
    pub version: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(deny_unknown_fields)]
pub struct ProductNew {
    pub model: String,
    pub serial: String,
    #[serde(default)]
    pub purchased_on: Option<String>,
    #[serde(default)]
    pub warranty_until: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductPatch {
    pub version: u64,
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub serial: Option<String>,
    #[serde(default, deserialize_with = "clearable")]
    pub purchased_on: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    pub warranty_until: Option<Option<String>>,
}

macro_rules! columns {
    () => {
        "id, customer_id, model, serial, purchased_on, warranty_until, version"
    };
}

statements! {
    OF_CUSTOMER = concat!(
        "SELECT ", columns!(), " FROM products WHERE tenant = $1 AND customer_id = $2 ORDER BY id LIMIT 200");
    GET = concat!("SELECT ", columns!(), " FROM products WHERE tenant = $1 AND id = $2");
    BY_SERIAL = concat!(
        "SELECT ", columns!(), " FROM products WHERE tenant = $1 AND serial = $2 ORDER BY id LIMIT 20");
    /// Nothing is added to a customer of another tenant.
    ADD = concat!(
        "INSERT INTO products (tenant, ", columns!(), ") SELECT c.tenant, $3, c.id, $4, $5, $6, $7, 1 \
         FROM customers c WHERE c.tenant = $1 AND c.id = $2 RETURNING ", columns!());
    CHANGE = concat!(
        "UPDATE products SET model = $4, serial = $5, purchased_on = $6, warranty_until = $7, version = version + 1 \
         WHERE tenant = $1 AND id = $2 AND version = $3 RETURNING ", columns!());
    REMOVE = "DELETE FROM products WHERE tenant = $1 AND id = $2";
}

pub async fn of_customer(store: &Store, tenant: &TenantId, customer: &str) -> Result<Vec<Product>> {
    store.all(&OF_CUSTOMER, args![tenant, customer]).await?.into_iter().map(Product::try_from).collect()
}

pub async fn get(store: &Store, tenant: &TenantId, id: &str) -> Result<Option<Product>> {
    store.one(&GET, args![tenant, id]).await?.map(Product::try_from).transpose()
}

pub async fn by_serial(store: &Store, tenant: &TenantId, serial: &str) -> Result<Vec<Product>> {
    store.all(&BY_SERIAL, args![tenant, serial]).await?.into_iter().map(Product::try_from).collect()
}

/// `None` where there is no such customer.
pub async fn create(
    store: &Store,
    tenant: &TenantId,
    customer: &str,
    new: &ProductNew,
    now: Timestamp,
) -> Result<Option<Product>> {
    let mut tx = store.begin().await?;
    let product = insert(&mut tx, tenant, customer, new, now).await?;
    tx.commit().await?;
    Ok(product)
}

pub async fn update(store: &Store, tenant: &TenantId, id: &str, patch: &ProductPatch) -> Result<Change<Product>> {
    let mut tx = store.begin().await?;
    let Some(row) = tx.one(&GET, args![tenant, id]).await? else { return Ok(Change::Missing) };
    let before = Product::try_from(row)?;
    if before.version != patch.version {
        return Ok(Change::Conflict(before));
    }
    let patch = patch.clone();
    let after = ProductNew {
        model: patch.model.unwrap_or(before.model),
        serial: patch.serial.unwrap_or(before.serial),
        purchased_on: patch.purchased_on.unwrap_or(before.purchased_on),
        warranty_until: patch.warranty_until.unwrap_or(before.warranty_until),
    };
    check(&after)?;
    let args = args![tenant, id, before.version, after.model, after.serial, after.purchased_on, after.warranty_until];
    let done = tx.one(&CHANGE, args).await?.map(Product::try_from).transpose()?;
    tx.commit().await?;
    match done {
        Some(product) => Ok(Change::Done(product)),
        None => Ok(get(store, tenant, id).await?.map_or(Change::Missing, Change::Conflict)),
    }
}

/// True if there was such a product.
pub async fn remove(store: &Store, tenant: &TenantId, id: &str) -> Result<bool> {
    store.run(&REMOVE, args![tenant, id]).await.map(|rows| rows > 0)
}

pub(crate) async fn add(
    tx: &mut Tx,
    tenant: &TenantId,
    customer: &str,
    new: &ProductNew,
    now: Timestamp,
) -> Result<()> {
    insert(tx, tenant, customer, new, now).await?.map(|_| ()).ok_or_else(|| vanished("customers", customer))
}

async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    customer: &str,
    new: &ProductNew,
    now: Timestamp,
) -> Result<Option<Product>> {
    check(new)?;
    let args = args![tenant, customer, new_id(now)?, &new.model, &new.serial, &new.purchased_on, &new.warranty_until];
    tx.one(&ADD, args).await?.map(Product::try_from).transpose()
}

fn check(product: &ProductNew) -> Result<()> {
    check_text("model", &product.model, LINE_LEN_MAX, false)?;
    check_text("serial", &product.serial, LINE_LEN_MAX, false)?;
    check_date("purchased_on", product.purchased_on.as_deref())?;
    check_date("warranty_until", product.warranty_until.as_deref())
}

/// `YYYY-MM-DD`
fn check_date(field: &'static str, text: Option<&str>) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u32>().ok());
    let shaped = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let day_max = |year: u32, month: u32| match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let good = shaped
        && matches!((part(0..4), part(5..7), part(8..10)), (Some(y), Some(m @ 1..=12), Some(d))
            if d >= 1 && d <= day_max(y, m));
    if good { Ok(()) } else { Err(crate::Error::Invalid { field, detail: "must be a date as 2026-05-31".into() }) }
}

impl TryFrom<Row> for Product {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("products", "id");
        Ok(Self {
            id: r.text("id")?,
            customer_id: r.text("customer_id")?,
            model: r.text("model")?,
            serial: r.text("serial")?,
            purchased_on: r.opt_text("purchased_on")?,
            warranty_until: r.opt_text("warranty_until")?,
            version: r.int("version")?,
        })
    }
}
