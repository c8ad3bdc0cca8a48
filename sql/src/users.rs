//! The people who sign in, and the phones that register as them.

use cti_base::{TenantId, Timestamp};
use cti_switch::config::Role;

use crate::error::{Result, check_text};
use crate::page::{Listing, Page};
use crate::row::{Row, word};
use crate::statement::{args, statements};
use crate::store::{Store, Tx};
use crate::{LINE_LEN_MAX, error};

#[derive(Clone, PartialEq)]
pub struct User {
    pub tenant: TenantId,
    /// What they sign in with; an agent's name in the tenant's file.
    pub name: String,
    pub display: String,
    pub role: Role,
    /// A PHC string (argon2id); without it nobody signs in as this user.
    pub password_hash: Option<String>,
    /// HA1 = H(user:realm:secret) in lower-case hex (RFC 7616 3.4.2), for a phone that registers.
    pub sip_ha1_md5: Option<String>,
    pub sip_ha1_sha256: Option<String>,
    pub disabled: bool,
    pub version: u64,
    pub created_ms: u64,
    pub updated_ms: u64,
}

/// A user as declared. `None` keeps what is stored.
#[derive(Clone, Default)]
pub struct UserPut {
    pub name: String,
    pub display: Option<String>,
    pub role: Role,
    pub password_hash: Option<String>,
    /// MD5 and SHA-256.
    pub sip_ha1: Option<(String, String)>,
}

macro_rules! columns {
    () => {
        "tenant, name, display, role, password_hash, sip_ha1_md5, sip_ha1_sha256, disabled, version, created_ms, updated_ms"
    };
}

statements! {
    LIST = concat!("SELECT ", columns!(), " FROM users WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3");
    GET = concat!("SELECT ", columns!(), " FROM users WHERE tenant = $1 AND name = $2");
    PUT = concat!(
        "INSERT INTO users (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9, $9) \
         ON CONFLICT (tenant, name) DO UPDATE SET display = excluded.display, role = excluded.role, \
         password_hash = excluded.password_hash, sip_ha1_md5 = excluded.sip_ha1_md5, \
         sip_ha1_sha256 = excluded.sip_ha1_sha256, disabled = excluded.disabled, version = users.version + 1, \
         updated_ms = excluded.updated_ms RETURNING ", columns!());
    ANY = "SELECT COUNT(*) AS n FROM users WHERE tenant = $1 AND password_hash IS NOT NULL AND disabled = 0";
}

/// By name, ascending; `after` is the last name of the page before.
pub async fn list(store: &Store, tenant: &TenantId, page: &Page) -> Result<Listing<User>> {
    let rows = page.rows()?;
    let found = store.all(&LIST, args![tenant, page.after.as_deref().unwrap_or(""), rows]).await?;
    let users: Vec<User> = found.into_iter().map(User::try_from).collect::<Result<_>>()?;
    Ok(Listing::of(users, rows, |u| u.name.clone()))
}

pub async fn get(store: &Store, tenant: &TenantId, name: &str) -> Result<Option<User>> {
    store.one(&GET, args![tenant, name]).await?.map(User::try_from).transpose()
}

/// Whether anyone can sign in at all: a first start makes an administrator of tenant `system` where not.
pub async fn anyone(store: &Store, tenant: &TenantId) -> Result<bool> {
    match store.one(&ANY, args![tenant]).await? {
        Some(row) => Ok(row.of("users", "n").int("n")? > 0),
        None => Ok(false),
    }
}

/// Makes the user or changes what `put` names. Nothing changed: the version stays.
pub async fn put(store: &Store, tenant: &TenantId, put: &UserPut, now: Timestamp) -> Result<User> {
    let mut tx = store.begin().await?;
    let user = put_in(&mut tx, tenant, put, now).await?;
    tx.commit().await?;
    Ok(user)
}

/// A new password for someone who exists; `None` where nobody has that name.
pub async fn set_password(
    store: &Store,
    tenant: &TenantId,
    name: &str,
    password_hash: &str,
    now: Timestamp,
) -> Result<Option<User>> {
    change(store, tenant, name, now, |user| user.password_hash = Some(password_hash.to_owned())).await
}

/// A disabled user neither signs in nor registers; their history stays.
pub async fn set_disabled(
    store: &Store,
    tenant: &TenantId,
    name: &str,
    disabled: bool,
    now: Timestamp,
) -> Result<Option<User>> {
    change(store, tenant, name, now, |user| user.disabled = disabled).await
}

pub(crate) async fn put_in(tx: &mut Tx, tenant: &TenantId, put: &UserPut, now: Timestamp) -> Result<User> {
    check_text("name", &put.name, LINE_LEN_MAX, false)?;
    check_text("display", put.display.as_deref().unwrap_or(""), LINE_LEN_MAX, true)?;
    let before = tx.one(&GET, args![tenant, &put.name]).await?.map(User::try_from).transpose()?;
    let mut user = before.clone().unwrap_or_else(|| User {
        tenant: tenant.clone(),
        name: put.name.clone(),
        display: put.name.clone(),
        role: put.role,
        password_hash: None,
        sip_ha1_md5: None,
        sip_ha1_sha256: None,
        disabled: false,
        version: 0,
        created_ms: now.as_millis(),
        updated_ms: now.as_millis(),
    });
    user.role = put.role;
    if let Some(display) = &put.display {
        user.display.clone_from(display);
    }
    if put.password_hash.is_some() {
        user.password_hash.clone_from(&put.password_hash);
    }
    if let Some((md5, sha256)) = &put.sip_ha1 {
        user.sip_ha1_md5 = Some(md5.clone());
        user.sip_ha1_sha256 = Some(sha256.clone());
    }
    if before.as_ref() == Some(&user) {
        return Ok(user);
    }
    write(tx, &user, now).await
}

async fn change(
    store: &Store,
    tenant: &TenantId,
    name: &str,
    now: Timestamp,
    edit: impl FnOnce(&mut User),
) -> Result<Option<User>> {
    let mut tx = store.begin().await?;
    let Some(row) = tx.one(&GET, args![tenant, name]).await? else { return Ok(None) };
    let mut user = User::try_from(row)?;
    edit(&mut user);
    let user = write(&mut tx, &user, now).await?;
    tx.commit().await?;
    Ok(Some(user))
}

async fn write(tx: &mut Tx, user: &User, now: Timestamp) -> Result<User> {
    let row = tx
        .one(
            &PUT,
            args![
                &user.tenant,
                &user.name,
                &user.display,
                word(&user.role)?,
                &user.password_hash,
                &user.sip_ha1_md5,
                &user.sip_ha1_sha256,
                user.disabled,
                now
            ],
        )
        .await?;
    row.map(User::try_from).transpose()?.ok_or_else(|| error::vanished("users", &user.name))
}

impl TryFrom<Row> for User {
    type Error = crate::Error;

    fn try_from(row: Row) -> Result<Self> {
        let r = row.of("users", "name");
        Ok(Self {
            tenant: r.text("tenant")?.into(),
            name: r.text("name")?,
            display: r.text("display")?,
            role: r.word("role")?,
            password_hash: r.opt_text("password_hash")?,
            sip_ha1_md5: r.opt_text("sip_ha1_md5")?,
            sip_ha1_sha256: r.opt_text("sip_ha1_sha256")?,
            disabled: r.flag("disabled")?,
            version: r.int("version")?,
            created_ms: r.int("created_ms")?,
            updated_ms: r.int("updated_ms")?,
        })
    }
}

impl std::fmt::Debug for User {
    /// Without the hashes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("tenant", &self.tenant)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("disabled", &self.disabled)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
