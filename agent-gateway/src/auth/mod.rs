//! Who is asking: the cookie's session or a program's token, and what their role may do.

mod known;
mod origin;
mod password;
mod throttle;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use cti_base::{TenantId, Timestamp};
use cti_switch::config::Role;
use zongji_sql::sessions::TokenHash;
use zongji_sql::{Store, sessions, tokens, users};

use crate::App;
use crate::problem::Problem;

pub use origin::{OriginChecked, check as check_origin};
pub use password::{PASSWORD_BYTES_MAX, PasswordError, hash_password, verify_password};

use known::Known;
use password::Verifier;
use throttle::Throttle;

/// A session ends this long after it was last used.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Being used is noted at most this often.
const TOUCH_EVERY_MS: u64 = 60_000;
/// A desk that comes while the server starts waits this long for the records.
const RECORDS_WAIT: Duration = Duration::from_secs(2);
const COOKIE: &str = "zongji_session";
/// Under TLS: the browser itself then insists on Secure, Path=/ and no Domain (RFC 6265bis, 4.1.3.2).
const COOKIE_TLS: &str = "__Host-zongji_session";

/// Someone signed in, or a program with their token.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub tenant: TenantId,
    pub user: String,
    pub display: String,
    pub role: Role,
    /// The hash of the token they came with; their websockets are known by it.
    pub session: Arc<TokenHash>,
    pub is_program: bool,
}

impl SignedIn {
    /// The installation's own administrator.
    pub fn is_system(&self) -> bool {
        self.tenant.as_str() == zongji_sql::tenants::SYSTEM && self.role == Role::Admin
    }
}

/// Handlers get whom the guard has let in.
impl FromRequestParts<Arc<App>> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::not_signed_in)
    }
}

/// For the websocket, whose refusal is a close code and not a status. An error: the records can not be asked.
pub struct MaybeSignedIn(pub Result<Option<SignedIn>, zongji_sql::Error>);

impl FromRequestParts<Arc<App>> for MaybeSignedIn {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        // Desks come back before the records are open again: they wait rather than try again later.
        let _ = tokio::time::timeout(RECORDS_WAIT, app.store.until_ready()).await;
        Ok(Self(app.auth.identify(&app.store, &parts.headers).await))
    }
}

/// Where a request came from; a server without that knowledge takes all for one.
pub struct Source(pub IpAddr);

impl FromRequestParts<Arc<App>> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip())))
    }
}

pub struct Auth {
    verifier: Verifier,
    throttle: Throttle,
    known: Known,
    tls: bool,
}

impl Auth {
    pub fn new(tls: bool) -> Self {
        Self { verifier: Verifier::new(), throttle: Throttle::default(), known: Known::default(), tls }
    }

    /// Verifies a password and makes a session; its token, for the cookie.
    pub async fn sign_in(
        &self,
        store: &Store,
        tenant: &str,
        user: &str,
        password: String,
        source: IpAddr,
    ) -> Result<String, Problem> {
        if let Some(wait) = self.throttle.wait(tenant, user, source, Instant::now()) {
            let detail = "too many wrong passwords: wait before the next";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", detail);
            return Err(problem.retry_after(wait.as_secs() + 1));
        }
        let tenant_id = TenantId::from(tenant);
        let known = users::get(store, &tenant_id, user).await?;
        let hash = known.filter(|user| !user.disabled).and_then(|user| user.password_hash);
        if !self.verifier.verify(password, hash).await? {
            self.throttle.wrong(tenant, user, source, Instant::now());
            let detail = "tenant, user or password is wrong";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong_password", detail));
        }
        self.throttle.right(tenant, user, source);
        let token = new_token()?;
        let now = zongji_sql::now();
        sessions::create(store, &tenant_id, user, &TokenHash::of(&token), SESSION_LIFE, now).await?;
        Ok(token)
    }

    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        Ok(self.verifier.hash(password).await?)
    }

    /// Who a request comes from, if from anyone. Whom the records knew a moment ago is known while they can not be asked.
    pub async fn identify(&self, store: &Store, headers: &HeaderMap) -> Result<Option<SignedIn>, zongji_sql::Error> {
        let (token, is_program) = match (bearer(headers), self.cookie(headers)) {
            (Some(token), _) => (token, true),
            (None, Some(token)) => (token, false),
            (None, None) => return Ok(None),
        };
        let hash = TokenHash::of(token);
        match self.ask(store, &hash, is_program).await {
            Ok(Some(who)) => {
                self.known.remember(&who, Instant::now());
                Ok(Some(who))
            }
            Ok(None) => {
                self.known.forget(&hash);
                Ok(None)
            }
            Err(error) if error.is_transient() => match self.known.recall(&hash, Instant::now()) {
                Some(who) if who.is_program == is_program => Ok(Some(who)),
                Some(_) | None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &self,
        store: &Store,
        hash: &TokenHash,
        is_program: bool,
    ) -> Result<Option<SignedIn>, zongji_sql::Error> {
        if is_program {
            let Some(found) = tokens::get(store, hash).await? else { return Ok(None) };
            return signed_in(store, found.tenant, found.user, hash.clone(), true).await;
        }
        let now = zongji_sql::now();
        let Some(session) = sessions::get(store, hash, now).await? else { return Ok(None) };
        self.touch(store, &session, hash, now);
        signed_in(store, session.tenant, session.user, hash.clone(), false).await
    }

    /// A session is over, whatever the records can be told of it.
    pub fn forget(&self, session: &TokenHash) {
        self.known.forget(session);
    }

    /// A user is signed out everywhere.
    pub fn forget_user(&self, tenant: &TenantId, user: &str) {
        self.known.forget_user(tenant, user);
    }

    /// Whether someone who was let in still is; being asked counts as being used.
    pub async fn still_signed_in(&self, store: &Store, who: &SignedIn) -> Result<bool, zongji_sql::Error> {
        let now = zongji_sql::now();
        let there = match who.is_program {
            true => tokens::get(store, &who.session).await?.is_some(),
            false => match sessions::get(store, &who.session, now).await? {
                Some(session) => {
                    self.touch(store, &session, &who.session, now);
                    true
                }
                None => false,
            },
        };
        let user = users::get(store, &who.tenant, &who.user).await?;
        let still = there && user.is_some_and(|user| !user.disabled && user.role == who.role);
        match still {
            true => self.known.remember(who, Instant::now()),
            false => self.known.forget(&who.session),
        }
        Ok(still)
    }

    /// The cookie that carries a token, or that ends it where there is none.
    pub fn set_cookie(&self, token: Option<&str>) -> HeaderValue {
        let (name, secure) = if self.tls { (COOKIE_TLS, "; Secure") } else { (COOKIE, "") };
        let end = if token.is_none() { "; Max-Age=0" } else { "" };
        let token = token.unwrap_or_default();
        let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{end}");
        HeaderValue::try_from(cookie).expect("a token is hex digits")
    }

    /// The session's token in the request's cookies (RFC 6265, 5.4).
    pub fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let wanted = if self.tls { COOKIE_TLS } else { COOKIE };
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// Notes that a session is used, beside the request: it waits for no write.
    fn touch(&self, store: &Store, session: &sessions::Session, hash: &TokenHash, now: Timestamp) {
        if now.as_millis() < session.seen_ms + TOUCH_EVERY_MS {
            return;
        }
        let (store, tenant, hash) = (store.clone(), session.tenant.clone(), hash.clone());
        tokio::spawn(async move {
            if let Err(error) = sessions::touch(&store, &tenant, &hash, SESSION_LIFE, now).await {
                tracing::warn!(session.error = %error, "a session's use can not be noted");
            }
        });
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        let text = error.to_string();
        match error {
            PasswordError::Length => Self::invalid("password", text),
            PasswordError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).retry_after(1),
            PasswordError::Hash(_) => Self::internal(&text),
        }
    }
}

/// 256 random bits as hex: a session's or a program's token.
pub fn new_token() -> Result<String, Problem> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Problem::internal(&e))?;
    Ok(hex::encode(bytes))
}

async fn signed_in(
    store: &Store,
    tenant: TenantId,
    name: String,
    session: TokenHash,
    is_program: bool,
) -> Result<Option<SignedIn>, zongji_sql::Error> {
    let Some(user) = users::get(store, &tenant, &name).await?.filter(|user| !user.disabled) else { return Ok(None) };
    let session = Arc::new(session);
    Ok(Some(SignedIn { tenant, user: user.name, display: user.display, role: user.role, session, is_program }))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
