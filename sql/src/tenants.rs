//! Tenants, and the tenant file as it was last applied.

use cti_base::{TenantId, Timestamp};
use cti_switch::config::TenantDoc;

use crate::error::Result;
use crate::row::Row;
use crate::statement::{args, statements};
use crate::store::{Store, Tx};
use crate::users::{self, UserPut};

/// The installation's own tenant: its administrators manage the others. It takes no calls.
pub const SYSTEM: &str = "system";

#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    /// The file as applied, scripts' sources within; `None` for a tenant that takes no calls.
    pub doc: Option<TenantDoc>,
    /// +1 with each change of the file.
    pub version: u64,
    pub created_ms: u64,
    pub updated_ms: u64,
}

macro_rules! columns {
    () => {
        "id, name, doc, version, created_ms, updated_ms"
    };
}

statements! {
    LIST = concat!("SELECT ", columns!(), " FROM tenants ORDER BY id");
    GET = concat!("SELECT ", columns!(), " FROM tenants WHERE id = $1");
    PUT = concat!(
        "INSERT INTO tenants (", columns!(), ") VALUES ($1, $2, $3, 1, $4, $4) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, doc = excluded.doc, \
         version = tenants.version + 1, updated_ms = excluded.updated_ms \
         RETURNING ", columns!());
}

/// All tenants by id; there are as many as the installation has files.
pub async fn list(store: &Store) -> Result<Vec<Tenant>> {
    store.all(&LIST, vec![]).await?.into_iter().map(Tenant::try_from).collect()
}

pub async fn get(store: &Store, id: &TenantId) -> Result<Option<Tenant>> {
    store.one(&GET, args![id]).await?.map(Tenant::try_from).transpose()
}

/// Makes the tenant where it is missing, without a file.
pub async fn ensure(store: &Store, id: &TenantId, name: &str, now: Timestamp) -> Result<Tenant> {
    let mut tx = store.begin().await?;
    let tenant = match tx.one(&GET, args![id]).await? {
        Some(row) => Tenant::try_from(row)?,
        None => put(&mut tx, id, name, None, now).await?,
    };
    tx.commit().await?;
    Ok(tenant)
}

/// Stores a tenant's file and its people in one step. An unchanged file keeps its version; a person who is not in `people`
/// keeps their account (they may have been added by hand), people in it are made or changed.
pub async fn apply(store: &Store, doc: &TenantDoc, people: &[UserPut], now: Timestamp) -> Result<Tenant> {
    let id = &doc.tenant.id;
    let mut tx = store.begin().await?;
    let before = tx.one(&GET, args![id]).await?.map(Tenant::try_from).transpose()?;
    let tenant = match before {
        Some(before) if before.doc.as_ref() == Some(doc) => before,
        _ => put(&mut tx, id, &doc.tenant.name, Some(serde_json::to_string(doc)?), now).await?,
    };
    for person in people {
        users::put_in(&mut tx, id, person, now).await?;
    }
    tx.commit().await?;
    Ok(tenant)
}

async fn put(tx: &mut Tx, id: &TenantId, name: &str, doc: Option<String>, now: Timestamp) -> Result<Tenant> {
    let row = tx.one(&PUT, args![id, name, doc, now]).await?;
    row.map(Tenant::try_from).transpose()?.ok_or_else(|| crate::error::vanished("tenants", id))
}

impl TryFrom<Row> for Tenant {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("tenants", "id");
        Ok(Self {
            id: r.text("id")?.into(),
            name: r.text("name")?,
            doc: match r.opt_text("doc")? {
                None => None,
                Some(_) => Some(r.json("doc")?),
            },
            version: r.int("version")?,
            created_ms: r.int("created_ms")?,
            updated_ms: r.int("updated_ms")?,
        })
    }
}
