//! What `apply` and `user` do to the records: the same directly on the data and through a running server's control socket.

pub mod control;
mod diff;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent_gateway::auth::{hash_password, verify_password};
use cti_base::{AgentName, TenantId};
use cti_switch::config::{Phone, Role, Tenant, TenantDoc};
use serde::{Deserialize, Serialize};
use zongji_sql::sessions::TokenHash;
use zongji_sql::users::{User, UserPut};
use zongji_sql::{Page, Store, sessions, tenants, tokens, users};

pub use diff::{Change, Sign};

use crate::config::TenantFile;
use crate::{clock, data};

/// A tenant's file with what was read beside it, as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Package {
    /// Scripts' sources within.
    doc: TenantDoc,
    passwords: BTreeMap<AgentName, String>,
    /// HA1 (MD5, SHA-256) of phones that register.
    digests: BTreeMap<AgentName, (String, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    Apply {
        packages: Vec<Package>,
    },
    UserAdd {
        tenant: TenantId,
        name: String,
        display: Option<String>,
        role: Role,
        password: String,
    },
    UserPassword {
        tenant: TenantId,
        name: String,
        password: String,
    },
    UserList {
        tenant: TenantId,
    },
    UserToken {
        tenant: TenantId,
        name: String,
        label: String,
    },
    /// Which server answers here.
    Status,
    /// Become the program in this file, or in the own one as it is by now. Answered only where that fails.
    Upgrade {
        binary: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Answer {
    Applied {
        tenants: Vec<Applied>,
    },
    /// The user's name is stored.
    User {
        name: String,
    },
    Users {
        users: Vec<UserLine>,
    },
    /// Shown once; only its hash is kept.
    Token {
        token: String,
    },
    Status(Status),
}

/// A server, and how it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Another at each start.
    pub instance: String,
    pub version: String,
    pub pid: u32,
    /// Calls that it took up.
    pub taken_up: u64,
    /// From the last sign of life of the one before until it took calls.
    pub away_ms: u64,
    /// From the program's beginning until it took calls.
    pub start_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    pub tenant: TenantId,
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserLine {
    pub name: String,
    pub display: String,
    pub role: Role,
    pub can_sign_in: bool,
    pub disabled: bool,
}

/// A request's answer, and the tenants that the switch has to be told of.
pub struct Done {
    pub answer: Answer,
    pub declared: Vec<Arc<Tenant>>,
}

#[cfg(test)]
impl Package {
    /// A tenant whose phones do not register.
    pub fn new(doc: TenantDoc, passwords: BTreeMap<AgentName, String>) -> Self {
        Self { doc, passwords, digests: BTreeMap::new() }
    }
}

impl From<TenantFile> for Package {
    fn from(file: TenantFile) -> Self {
        Self { doc: file.tenant.doc, passwords: file.passwords, digests: file.tenant.digests }
    }
}

/// Carries out one request. An error tells what to do, and nothing has changed.
pub async fn carry_out(store: &Store, request: Request) -> Result<Done, String> {
    let answer = match request {
        Request::Apply { packages } => return apply_all(store, packages).await,
        Request::UserAdd { tenant, name, display, role, password } => {
            add_user(store, &tenant, name, display, role, password).await
        }
        Request::UserPassword { tenant, name, password } => change_password(store, &tenant, name, password).await,
        Request::UserList { tenant } => list_users(store, &tenant).await,
        Request::UserToken { tenant, name, label } => make_token(store, &tenant, &name, &label).await,
        Request::Status | Request::Upgrade { .. } => Err("no server runs on this data".into()),
    };
    Ok(Done { answer: answer?, declared: Vec::new() })
}

/// Every tenant of the records that takes calls, compiled, with its phones' digests.
pub async fn stored_tenants(store: &Store) -> Result<Vec<Arc<Tenant>>, String> {
    let mut compiled = Vec::new();
    for tenant in tenants::list(store).await.map_err(|error| error.to_string())? {
        let Some(doc) = tenant.doc else { continue };
        let people = all_users(store, &tenant.id).await?;
        compiled.push(Arc::new(compile(doc, digests_of(&people))?));
    }
    Ok(compiled)
}

/// Makes the administrator of tenant `system` where nobody can sign in there; its password, to be shown once.
pub async fn first_administrator(store: &Store) -> Result<Option<(String, String)>, String> {
    const NAME: &str = "admin";
    let system = TenantId::from(tenants::SYSTEM);
    let failed = |error: zongji_sql::Error| error.to_string();
    if users::anyone(store, &system).await.map_err(failed)? {
        return Ok(None);
    }
    tenants::ensure(store, &system, "System", clock::now()).await.map_err(failed)?;
    let password = data::random_password().map_err(|error| error.to_string())?;
    let put = UserPut {
        name: NAME.to_owned(),
        display: Some("Administrator".to_owned()),
        role: Role::Admin,
        password_hash: Some(hash(password.clone()).await?),
        sip_ha1: None,
    };
    users::put(store, &system, &put, clock::now()).await.map_err(failed)?;
    Ok(Some((NAME.to_owned(), password)))
}

async fn apply_all(store: &Store, packages: Vec<Package>) -> Result<Done, String> {
    let mut prepared = Vec::new();
    for package in packages {
        let tenant = compile(package.doc, package.digests)?;
        prepared.push((tenant, package.passwords));
    }
    let mut applied = Vec::new();
    let mut declared = Vec::new();
    for (tenant, passwords) in prepared {
        let id = tenant.doc.tenant.id.clone();
        let changes = apply_one(store, &tenant, passwords).await?;
        if !changes.is_empty() {
            declared.push(Arc::new(tenant));
        }
        applied.push(Applied { tenant: id, changes });
    }
    Ok(Done { answer: Answer::Applied { tenants: applied }, declared })
}

async fn apply_one(
    store: &Store,
    tenant: &Tenant,
    passwords: BTreeMap<AgentName, String>,
) -> Result<Vec<Change>, String> {
    let failed = |error: zongji_sql::Error| format!("tenant {}: {error}", tenant.doc.tenant.id);
    let id = &tenant.doc.tenant.id;
    let before = tenants::get(store, id).await.map_err(failed)?.and_then(|stored| stored.doc);
    let known: BTreeMap<String, User> =
        all_users(store, id).await?.into_iter().map(|user| (user.name.clone(), user)).collect();
    let mut changes = diff::diff(before.as_ref(), &tenant.doc);
    let mut people = Vec::new();
    for agent in &tenant.doc.agent {
        let user = known.get(agent.name.as_str());
        let password_hash = match passwords.get(&agent.name) {
            Some(password) => fresh_hash(password.clone(), user.and_then(|user| user.password_hash.clone())).await?,
            None => None,
        };
        let sip_ha1 = tenant.digests.get(&agent.name).cloned();
        let secret_changed = sip_ha1.is_some() && sip_ha1 != user.and_then(stored_ha1);
        if user.is_some() {
            diff::note(&mut changes, &agent.name, "password", password_hash.is_some());
            diff::note(&mut changes, &agent.name, "secret", secret_changed);
        }
        people.push(UserPut {
            name: agent.name.to_string(),
            display: Some(agent.display.clone().unwrap_or_else(|| agent.name.to_string())),
            role: agent.role,
            password_hash,
            sip_ha1,
        });
    }
    if changes.is_empty() {
        return Ok(changes);
    }
    tenants::apply(store, &tenant.doc, &people, clock::now()).await.map_err(failed)?;
    for (name, disabled) in comings_and_goings(before.as_ref(), &tenant.doc) {
        users::set_disabled(store, id, &name, disabled, clock::now()).await.map_err(failed)?;
        if disabled {
            sessions::end_all_of(store, id, &name).await.map_err(failed)?;
        }
    }
    Ok(changes)
}

/// Agents that left the file can not sign in any more; those that came back can again.
fn comings_and_goings(before: Option<&TenantDoc>, after: &TenantDoc) -> Vec<(String, bool)> {
    let Some(before) = before else { return Vec::new() };
    let gone = before.agent.iter().filter(|old| !after.agent.iter().any(|new| new.name == old.name));
    let come = after.agent.iter().filter(|new| !before.agent.iter().any(|old| old.name == new.name));
    let gone = gone.map(|agent| (agent.name.to_string(), true));
    gone.chain(come.map(|agent| (agent.name.to_string(), false))).collect()
}

async fn add_user(
    store: &Store,
    tenant: &TenantId,
    name: String,
    display: Option<String>,
    role: Role,
    password: String,
) -> Result<Answer, String> {
    let failed = |error: zongji_sql::Error| error.to_string();
    known_tenant(store, tenant).await?;
    if users::get(store, tenant, &name).await.map_err(failed)?.is_some() {
        return Err(format!(
            "user {name} of tenant {tenant} exists already: use `zongji user passwd` to change the password"
        ));
    }
    let password_hash = Some(hash(password).await?);
    let put = UserPut { name: name.clone(), display, role, password_hash, sip_ha1: None };
    users::put(store, tenant, &put, clock::now()).await.map_err(failed)?;
    Ok(Answer::User { name })
}

async fn change_password(store: &Store, tenant: &TenantId, name: String, password: String) -> Result<Answer, String> {
    let failed = |error: zongji_sql::Error| error.to_string();
    let hash = hash(password).await?;
    let changed = users::set_password(store, tenant, &name, &hash, clock::now()).await.map_err(failed)?;
    if changed.is_none() {
        return Err(nobody(tenant, &name));
    }
    sessions::end_all_of(store, tenant, &name).await.map_err(failed)?;
    Ok(Answer::User { name })
}

async fn list_users(store: &Store, tenant: &TenantId) -> Result<Answer, String> {
    known_tenant(store, tenant).await?;
    let line = |user: User| UserLine {
        name: user.name,
        display: user.display,
        role: user.role,
        can_sign_in: user.password_hash.is_some() && !user.disabled,
        disabled: user.disabled,
    };
    Ok(Answer::Users { users: all_users(store, tenant).await?.into_iter().map(line).collect() })
}

async fn make_token(store: &Store, tenant: &TenantId, name: &str, label: &str) -> Result<Answer, String> {
    let failed = |error: zongji_sql::Error| error.to_string();
    if users::get(store, tenant, name).await.map_err(failed)?.is_none() {
        return Err(nobody(tenant, name));
    }
    let mut bytes = [0u8; 32];
    data::random(&mut bytes).map_err(|error| error.to_string())?;
    let token = format!("zj_{}", hex::encode(bytes));
    tokens::put(store, tenant, name, label, &TokenHash::of(&token), clock::now()).await.map_err(failed)?;
    Ok(Answer::Token { token })
}

async fn known_tenant(store: &Store, tenant: &TenantId) -> Result<(), String> {
    let found = tenants::get(store, tenant).await.map_err(|error| error.to_string())?;
    if found.is_some() {
        return Ok(());
    }
    if tenant.as_str() == tenants::SYSTEM {
        let made = tenants::ensure(store, tenant, "System", clock::now()).await;
        return made.map(drop).map_err(|error| error.to_string());
    }
    Err(format!("there is no tenant {tenant}: declare it with `zongji apply FILE` first"))
}

fn nobody(tenant: &TenantId, name: &str) -> String {
    format!("tenant {tenant} has no user {name}: see `zongji user list --tenant {tenant}`")
}

fn compile(doc: TenantDoc, digests: BTreeMap<AgentName, (String, String)>) -> Result<Tenant, String> {
    let id = doc.tenant.id.clone();
    let registering: Vec<AgentName> = doc
        .agent
        .iter()
        .filter(|agent| matches!(agent.phone, Phone::Sip { .. }))
        .map(|agent| agent.name.clone())
        .collect();
    let digests = digests.into_iter().filter(|(name, _)| registering.contains(name)).collect();
    Tenant::compile(doc, digests, Some(&ivr_scripts::shipped::prompt_names())).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("tenant {id}: {}", lines.join("\n"))
    })
}

fn digests_of(people: &[User]) -> BTreeMap<AgentName, (String, String)> {
    let able = people.iter().filter(|user| !user.disabled);
    able.filter_map(|user| Some((AgentName::from(user.name.as_str()), stored_ha1(user)?))).collect()
}

fn stored_ha1(user: &User) -> Option<(String, String)> {
    Some((user.sip_ha1_md5.clone()?, user.sip_ha1_sha256.clone()?))
}

async fn all_users(store: &Store, tenant: &TenantId) -> Result<Vec<User>, String> {
    let mut found = Vec::new();
    let mut page = Page::limit(zongji_sql::LIMIT_MAX);
    loop {
        let listing = users::list(store, tenant, &page).await.map_err(|error| error.to_string())?;
        found.extend(listing.items);
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// The hash to store, or `None` where the stored one is this password's already.
async fn fresh_hash(password: String, stored: Option<String>) -> Result<Option<String>, String> {
    let work = move || match stored {
        Some(stored) if verify_password(&password, &stored) => Ok(None),
        Some(_) | None => hash_password(&password).map(Some),
    };
    off_thread(work).await?.map_err(|error| error.to_string())
}

async fn hash(password: String) -> Result<String, String> {
    off_thread(move || hash_password(&password)).await?.map_err(|error| error.to_string())
}

/// A password hash takes tens of milliseconds of a core: not on the runtime's threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("hashing a password was interrupted: {error}"))
}
