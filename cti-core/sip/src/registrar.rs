//! The registrar for our phones (RFC 3261 10.3): accounts, their contacts, and the flows these came by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cti_base::{Pii, Timestamp};
use rsip::headers::Header;
use serde::{Deserialize, Serialize};

use crate::digest::{Credentials, Nonces, Verdict};
use crate::reply;
use crate::stack::{Stack, Timer};
use crate::timer::TimerKey;
use crate::wire::{Builder, Message, NameAddr, Uri};
use crate::{Account, ConnectionId, Event, Flow, RejectReason, Target, Transport};

pub const EXPIRES_MIN_S: u32 = 60;
pub const EXPIRES_MAX_S: u32 = 3_600;
/// Phones of one account; the one that came first makes room.
pub const CONTACTS_MAX: usize = 8;

#[derive(Serialize, Deserialize)]
struct Binding {
    /// Orders the contacts of an account by their last REGISTER.
    number: u64,
    key: String,
    uri: String,
    flow: Flow,
    expires: Timestamp,
    call_id: String,
    cseq: u32,
    #[serde(skip)]
    timer: Option<TimerKey>,
}

type Name = (String, String);

#[derive(Default, Serialize, Deserialize)]
struct Aor {
    bindings: Vec<Binding>,
}

#[derive(Serialize, Deserialize)]
pub struct Registrar {
    /// By tenant and user.
    accounts: BTreeMap<Name, Account>,
    #[serde(skip)]
    tenants_of: BTreeMap<String, BTreeSet<String>>,
    aors: BTreeMap<Name, Aor>,
    /// Whose a binding is, for its timer.
    #[serde(skip)]
    owners: BTreeMap<u64, Name>,
    /// Who registered by a websocket.
    #[serde(skip)]
    websockets: BTreeMap<ConnectionId, Name>,
    nonces: Nonces,
}

/// What a REGISTER asks of one contact.
struct Wanted {
    key: String,
    uri: String,
    expires_s: u32,
}

impl Registrar {
    pub fn new(stack: &mut Stack) -> Self {
        Self {
            accounts: BTreeMap::new(),
            tenants_of: BTreeMap::new(),
            aors: BTreeMap::new(),
            owners: BTreeMap::new(),
            websockets: BTreeMap::new(),
            nonces: Nonces::new(&mut stack.rng),
        }
    }

    /// Tenant and user who registered by this websocket.
    pub fn owner_of(&self, connection: ConnectionId) -> Option<&(String, String)> {
        self.websockets.get(&connection)
    }

    /// Makes anew what follows from the state.
    pub fn restored(&mut self) {
        for (tenant, user) in self.accounts.keys() {
            self.tenants_of.entry(user.clone()).or_default().insert(tenant.clone());
        }
        let numbers = |(name, aor): (&Name, &Aor)| {
            aor.bindings.iter().map(|binding| (binding.number, name.clone())).collect::<Vec<_>>()
        };
        self.owners = self.aors.iter().flat_map(numbers).collect();
        let websockets = |(name, aor): (&Name, &Aor)| {
            aor.bindings.iter().filter_map(|b| Some((websocket(&b.flow)?, name.clone()))).collect::<Vec<_>>()
        };
        self.websockets = self.aors.iter().flat_map(websockets).collect();
    }

    /// The place of a binding's timer.
    pub fn timer_slot(&mut self, number: u64) -> Option<&mut Option<TimerKey>> {
        let aor = self.aors.get_mut(self.owners.get(&number)?)?;
        aor.bindings.iter_mut().find(|binding| binding.number == number).map(|binding| &mut binding.timer)
    }

    /// Tells the stack the flow of each contact.
    pub fn name_flows(&self, stack: &mut Stack) {
        let bindings = self.aors.values().flat_map(|aor| &aor.bindings);
        stack.registered = bindings.map(|binding| (place_of(&binding.uri), binding.flow)).collect();
    }

    /// No connection of the old process is one of this.
    pub fn restarted(&mut self, stack: &mut Stack) {
        for binding in self.aors.values_mut().flat_map(|aor| &mut aor.bindings) {
            binding.flow.connection = None;
        }
        self.websockets.clear();
        self.name_flows(stack);
    }

    /// Who registered by a websocket can be reached by no other way: with it the contact ends (RFC 7118 5.3).
    pub fn closed(&mut self, stack: &mut Stack, connection: ConnectionId) {
        let Some(name) = self.websockets.remove(&connection) else { return };
        self.drop_bindings(stack, &name, |binding| websocket(&binding.flow) == Some(connection));
        self.tell(stack, &name);
    }

    /// Contacts of all accounts.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    pub fn set_accounts(&mut self, stack: &mut Stack, tenant: &str, accounts: Vec<Account>) {
        let kept: BTreeSet<&str> = accounts.iter().map(|account| account.user.as_str()).collect();
        let gone: Vec<Name> = self
            .accounts
            .range((tenant.to_owned(), String::new())..)
            .take_while(|((owner, _), _)| owner == tenant)
            .filter(|((_, user), _)| !kept.contains(user.as_str()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.accounts.remove(&name);
            if let Some(tenants) = self.tenants_of.get_mut(&name.1) {
                tenants.remove(tenant);
                if tenants.is_empty() {
                    self.tenants_of.remove(&name.1);
                }
            }
            self.clear(stack, &name);
        }
        for account in accounts {
            self.tenants_of.entry(account.user.clone()).or_default().insert(tenant.to_owned());
            self.accounts
                .insert((tenant.to_owned(), account.user.clone()), Account { tenant: tenant.to_owned(), ..account });
        }
    }

    pub fn contacts_of(&self, stack: &Stack, tenant: &str, user: &str) -> Vec<Target> {
        let Some(aor) = self.aors.get(&(tenant.to_owned(), user.to_owned())) else { return Vec::new() };
        let mut newest: Vec<&Binding> = aor.bindings.iter().collect();
        newest.sort_by_key(|binding| std::cmp::Reverse(binding.number));
        newest.into_iter().map(|binding| Target { uri: binding.uri.clone(), flow: live_flow(stack, binding) }).collect()
    }

    /// A REGISTER: challenged, then its contacts kept.
    pub fn register(&mut self, stack: &mut Stack, now: Timestamp, flow: Flow, request: &Message) {
        let Ok(aor) = request.to.uri() else {
            return reply::refuse(stack, request, flow, 400, RejectReason::Malformed, |_, _| {});
        };
        let realm = stack.config.realm.clone();
        let credentials = request
            .headers
            .iter()
            .filter_map(|header| match header {
                Header::Authorization(_) => Credentials::parse(crate::wire::header_value(header)),
                _ => None,
            })
            .find(|credentials| credentials.is_for(&realm));
        let Some(credentials) = credentials else {
            return self.challenge(stack, now, flow, request, false);
        };
        let name = self.name_of(&aor.user(), &aor.host, &credentials.username);
        let account = name.as_ref().and_then(|name| self.accounts.get(name));
        let policy = stack.config.digest;
        match (self.nonces.check(now, policy, &credentials, "REGISTER", account), name) {
            (Verdict::Good, Some(name)) => self.update(stack, now, flow, request, name),
            (Verdict::Good, None) => self.challenge(stack, now, flow, request, false),
            (Verdict::Refused { stale }, _) => {
                if !stale {
                    let (user, source) = (Pii::new(credentials.username), flow.remote.ip().to_canonical());
                    stack.emit(Event::Unauthorized { user, source });
                }
                self.challenge(stack, now, flow, request, stale);
            }
        }
    }

    pub fn expire(&mut self, stack: &mut Stack, number: u64) {
        let Some(name) = self.owners.get(&number).cloned() else { return };
        self.drop_bindings(stack, &name, |binding| binding.number == number);
        self.tell(stack, &name);
    }

    fn challenge(&mut self, stack: &mut Stack, now: Timestamp, flow: Flow, request: &Message, stale: bool) {
        let (policy, realm) = (stack.config.digest, stack.config.realm.clone());
        let challenges = self.nonces.challenges(now, &mut stack.rng, policy, &realm, stale);
        reply::stateless(stack, request, flow, 401, |_, out| {
            for challenge in &challenges {
                out.line("WWW-Authenticate", challenge);
            }
        });
    }

    /// Whose REGISTER this claims to be: the AOR's host names a tenant, else the digest's user does (`user@tenant`), else
    /// only one tenant has such a user. The digest's user and the AOR's must be the same one.
    fn name_of(&self, user: &str, host: &str, username: &str) -> Option<Name> {
        let (digest_user, digest_tenant) = match username.rsplit_once('@') {
            Some((user, tenant)) => (user, Some(tenant)),
            None => (username, None),
        };
        if digest_user != user {
            return None;
        }
        let of = |tenant: &str| (tenant.to_owned(), user.to_owned());
        let has = |name: &Name| self.accounts.contains_key(name);
        let by_host = Some(of(host)).filter(has);
        let by_digest = || digest_tenant.map(of).filter(has);
        let alone = || {
            let tenants = self.tenants_of.get(user).filter(|tenants| tenants.len() == 1 && digest_tenant.is_none())?;
            tenants.first().map(|tenant| of(tenant))
        };
        by_host
            .filter(|(tenant, _)| digest_tenant.is_none_or(|named| named == tenant))
            .or_else(by_digest)
            .or_else(alone)
    }

    fn update(&mut self, stack: &mut Stack, now: Timestamp, flow: Flow, request: &Message, name: Name) {
        let server = stack.start_server(request, flow, None);
        let answer = |stack: &mut Stack, code: u16, complete: &dyn Fn(&mut Builder)| {
            let tag = stack.rng.hex::<8>();
            let mut out = reply::start(stack, request, flow, code, Some(&tag));
            complete(&mut out);
            stack.respond(now, server, code, out.end());
        };
        let wanted = match wanted(request) {
            Ok(wanted) => wanted,
            Err(code) => {
                return answer(stack, code, &|out| {
                    if code == 423 {
                        out.number("Min-Expires", u64::from(EXPIRES_MIN_S));
                    }
                });
            }
        };
        let aor = self.aors.entry(name.clone()).or_default();
        let overtaken = |binding: &Binding| binding.call_id == request.call_id && binding.cseq >= request.cseq.number;
        let touched = |binding: &Binding| match &wanted {
            Some(contacts) => contacts.iter().any(|contact| contact.key == binding.key),
            None => true,
        };
        if aor.bindings.iter().any(|binding| touched(binding) && overtaken(binding)) {
            return answer(stack, 500, &|_| {});
        }
        let adds = wanted.iter().flatten().filter(|contact| contact.expires_s > 0).count();
        let replaced = aor.bindings.iter().filter(|binding| touched(binding)).count();
        let total = (self.owners.len() + adds).saturating_sub(replaced);
        if adds > CONTACTS_MAX || total > stack.config.registrations_max {
            stack.emit(Event::Rejected { reason: RejectReason::LimitReached });
            return answer(stack, 503, &|out| {
                out.number("Retry-After", RETRY_AFTER_S);
            });
        }
        let changed = wanted.as_ref().is_none_or(|contacts| !contacts.is_empty());
        self.drop_bindings(stack, &name, touched_by(&wanted));
        for contact in wanted.into_iter().flatten().filter(|contact| contact.expires_s > 0) {
            self.bind(stack, now, flow, request, &name, contact);
        }
        let lines = self.contact_lines(now, &name);
        answer(stack, 200, &|out| {
            for line in &lines {
                out.line("Contact", line);
            }
        });
        if changed {
            self.tell(stack, &name);
        }
    }

    fn bind(&mut self, stack: &mut Stack, now: Timestamp, flow: Flow, request: &Message, name: &Name, contact: Wanted) {
        let number = stack.next_number();
        let expires = now + Duration::from_secs(u64::from(contact.expires_s));
        let aor = self.aors.entry(name.clone()).or_default();
        if aor.bindings.len() >= CONTACTS_MAX {
            let mut oldest = aor.bindings.remove(0);
            stack.timers.cancel(&mut oldest.timer);
            forget_flow(stack, &oldest);
            self.owners.remove(&oldest.number);
        }
        stack.registered.insert(place_of(&contact.uri), flow);
        if let Some(connection) = websocket(&flow) {
            self.websockets.insert(connection, name.clone());
        }
        aor.bindings.push(Binding {
            number,
            key: contact.key,
            uri: contact.uri,
            flow,
            expires,
            call_id: request.call_id.clone(),
            cseq: request.cseq.number,
            timer: Some(stack.timers.arm(expires, Timer::Binding(number))),
        });
        self.owners.insert(number, name.clone());
    }

    fn contact_lines(&self, now: Timestamp, name: &Name) -> Vec<String> {
        let bindings = self.aors.get(name).map_or(&[][..], |aor| &aor.bindings);
        bindings
            .iter()
            .map(|binding| format!("<{}>;expires={}", binding.uri, binding.expires.since(now).as_secs()))
            .collect()
    }

    fn clear(&mut self, stack: &mut Stack, name: &Name) {
        if self.aors.contains_key(name) {
            self.drop_bindings(stack, name, |_| true);
            self.tell(stack, name);
        }
    }

    fn drop_bindings(&mut self, stack: &mut Stack, name: &Name, gone: impl Fn(&Binding) -> bool) {
        let Some(aor) = self.aors.get_mut(name) else { return };
        for binding in aor.bindings.iter_mut().filter(|binding| gone(binding)) {
            stack.timers.cancel(&mut binding.timer);
            forget_flow(stack, binding);
            self.owners.remove(&binding.number);
        }
        aor.bindings.retain(|binding| !gone(binding));
    }

    /// Tells how many contacts an account has now, and forgets an address of record without any.
    fn tell(&mut self, stack: &mut Stack, name: &Name) {
        let contacts = self.aors.get(name).map_or(0, |aor| aor.bindings.len());
        if contacts == 0 {
            self.aors.remove(name);
        }
        let (tenant, user) = name.clone();
        stack.emit(Event::Registered { tenant, user, contacts });
    }
}

const RETRY_AFTER_S: u64 = 30;

fn place_of(contact: &str) -> String {
    Uri::parse(contact).map(|uri| uri.place()).unwrap_or_default()
}

fn forget_flow(stack: &mut Stack, binding: &Binding) {
    let place = place_of(&binding.uri);
    if stack.registered.get(&place) == Some(&binding.flow) {
        stack.registered.remove(&place);
    }
}

fn websocket(flow: &Flow) -> Option<ConnectionId> {
    flow.connection.filter(|_| matches!(flow.transport, Transport::Ws | Transport::Wss))
}

fn touched_by(wanted: &Option<Vec<Wanted>>) -> impl Fn(&Binding) -> bool + '_ {
    move |binding| match wanted {
        Some(contacts) => contacts.iter().any(|contact| contact.key == binding.key),
        None => true,
    }
}

/// The stream that a phone registered by while it is open, else its contact's address, else where it last was.
fn live_flow(stack: &Stack, binding: &Binding) -> Flow {
    if binding.flow.transport == Transport::Udp || stack.is_open(&binding.flow) {
        return binding.flow;
    }
    let address = Uri::parse(&binding.uri).ok().and_then(|uri| uri.address());
    let reopened = address.and_then(|(transport, remote)| {
        let transport = transport.filter(|_| binding.flow.transport != Transport::Wss);
        stack.flow_to(transport.unwrap_or(binding.flow.transport), remote)
    });
    reopened.unwrap_or(Flow { connection: None, ..binding.flow })
}

/// The contacts of a REGISTER with their times; `None` for `*`, which takes all away. An error is the status.
fn wanted(request: &Message) -> Result<Option<Vec<Wanted>>, u16> {
    let seconds = |text: &str| text.trim().parse::<u64>().ok().map(|s| u32::try_from(s).unwrap_or(u32::MAX));
    let expires = request.first(|h| matches!(h, Header::Expires(_)));
    // A malformed Expires counts as absent (RFC 3261 10.3 leaves it to us; 20.19 has 3600).
    let default_s = expires.and_then(seconds).unwrap_or(EXPIRES_MAX_S);
    let values = request.list(|h| matches!(h, Header::Contact(_)));
    if values.contains(&"*") {
        return if values.len() == 1 && expires.and_then(seconds) == Some(0) { Ok(None) } else { Err(400) };
    }
    let mut contacts = Vec::with_capacity(values.len());
    for value in values {
        let contact = NameAddr::parse(value).ok_or(400u16)?;
        let uri = contact.uri().map_err(|_| 400u16)?;
        let expires_s = contact.param("expires").and_then(seconds).unwrap_or(default_s);
        if expires_s > 0 && expires_s < EXPIRES_MIN_S {
            return Err(423);
        }
        let expires_s = expires_s.min(EXPIRES_MAX_S);
        let wanted = Wanted { key: uri.key(), uri: contact.uri_text, expires_s };
        contacts.retain(|earlier: &Wanted| earlier.key != wanted.key);
        contacts.push(wanted);
    }
    Ok(Some(contacts))
}
