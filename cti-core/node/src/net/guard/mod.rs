//! What stands before the switch's inbox: who sends too much, who guesses secrets, and what is refused while there is no room.
//!
//! It is the shell's, not the engine's: what is turned away here is no input, so it costs no journal and no replay. A restart forgets
//! it; whoever guesses then begins anew with the few tries that everyone has. Whom a tenant's file names by address, trunks
//! above all, has limits of its own in the switch (`max_calls`, `max_cps`); **strangers' limits never hold for them**. A source is an IPv4 address or the first 64
//! bits of an IPv6 one.

mod bans;
mod rate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agent_gateway::Ban;
use cti_base::TenantId;
use cti_sip::wire::{Glance, claimed_user, glance};

use bans::Bans;
use rate::Rates;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It is nothing: a keep-alive.
    Ignore,
    /// Its source sends too much. A datagram is dropped; a stream is made to wait.
    TooFast,
    /// Its source, or the user that it claims to be, is kept out.
    Banned,
    /// A new call while the switch is behind: 503.
    NoRoom,
}

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Guard(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    named: BTreeMap<TenantId, BTreeSet<IpAddr>>,
    /// All of them.
    all_named: BTreeSet<IpAddr>,
    rates: Rates,
    bans: Bans,
}

impl Guard {
    /// Whom a tenant's file names by address: trunks, and phones that never register.
    pub fn set_named(&self, tenant: TenantId, addresses: BTreeSet<IpAddr>) {
        self.with(|state| {
            state.named.insert(tenant, addresses);
            state.all_named = state.named.values().flatten().copied().collect();
        });
    }

    /// Whether a message may go to the switch. `behind`: the switch has more before it than it can do soon.
    pub fn check(&self, now: Instant, source: IpAddr, bytes: &[u8], behind: bool) -> Verdict {
        let seen = glance(bytes);
        if seen == Glance::Blank {
            return Verdict::Ignore;
        }
        let source = source.to_canonical();
        self.with(|state| {
            let is_named = state.all_named.contains(&source);
            let place = place_of(source);
            if state.bans.knows(place) {
                let user = || claimed_user(bytes);
                if (!is_named && state.bans.is_banned(now, place, None))
                    || user().is_some_and(|user| state.bans.is_banned(now, place, Some(&user)))
                {
                    return Verdict::Banned;
                }
            }
            if !is_named && !state.rates.take(now, place, seen) {
                return Verdict::TooFast;
            }
            if behind && seen == Glance::Call { Verdict::NoRoom } else { Verdict::Pass }
        })
    }

    /// Whether a source may connect.
    pub fn may_connect(&self, now: Instant, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.with(|state| state.all_named.contains(&source) || !state.bans.is_banned(now, place_of(source), None))
    }

    /// A phone has registered from there: no stranger any more.
    pub fn registered(&self, source: IpAddr) {
        self.with(|state| state.rates.know(Instant::now(), place_of(source.to_canonical())));
    }

    /// Wrong credentials came from there.
    pub fn failed(&self, source: IpAddr, user: &str) {
        self.failed_at(Instant::now(), source, user);
    }

    fn failed_at(&self, now: Instant, source: IpAddr, user: &str) {
        self.with(|state| state.bans.failed(now, place_of(source.to_canonical()), user));
    }

    /// Who is kept out, the latest last.
    pub fn list(&self) -> Vec<Ban> {
        self.with(|state| state.bans.list(Instant::now(), crate::clock::now()))
    }

    /// Lets in again; false where there is no such ban.
    pub fn lift(&self, id: &str) -> bool {
        self.with(|state| state.bans.lift(id))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One source: an address, or the network that one subscriber of IPv6 has.
fn place_of(source: IpAddr) -> IpAddr {
    const NETWORK: u128 = !0 << 64;
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & NETWORK).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CALL: &[u8] = b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n";
    const BYE: &[u8] = b"BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=1\r\n\r\n";

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn register(user: &str) -> Vec<u8> {
        format!(
            "REGISTER sip:b SIP/2.0\r\nTo: <sip:{user}@b>\r\nAuthorization: Digest username=\"{user}\", realm=\"zongji\", \
             nonce=\"n\", uri=\"sip:b\", response=\"r\"\r\n\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn a_strangers_flood_is_turned_away_and_a_trunks_is_not() {
        let guard = Guard::default();
        guard.set_named(TenantId::from("acme".to_owned()), BTreeSet::from([ip(1)]));
        let start = Instant::now();
        let passed = |source: IpAddr| {
            let at = |n: u64| start + Duration::from_micros(200 * n);
            (0..50_000).filter(|n| guard.check(at(*n), source, CALL, false) == Verdict::Pass).count()
        };
        assert_eq!(passed(ip(1)), 50_000);
        let strangers = passed(ip(2));
        assert!(strangers <= 200 + 10 * 20, "{strangers} of 5,000 a second for 10 s");
    }

    #[test]
    fn while_the_switch_is_behind_new_calls_get_503_and_others_go_on() {
        let guard = Guard::default();
        guard.set_named(TenantId::from("acme".to_owned()), BTreeSet::from([ip(1)]));
        let now = Instant::now();
        assert_eq!(guard.check(now, ip(1), CALL, true), Verdict::NoRoom);
        assert_eq!(guard.check(now, ip(1), BYE, true), Verdict::Pass);
        assert_eq!(guard.check(now, ip(1), CALL, false), Verdict::Pass);
        assert_eq!(guard.check(now, ip(1), b"\r\n\r\n", false), Verdict::Ignore);
    }

    #[test]
    fn who_guesses_is_kept_out_and_the_colleague_behind_the_same_address_is_not() {
        let guard = Guard::default();
        let now = Instant::now();
        for _ in 0..bans::USER_FAILURES_MAX {
            assert_eq!(guard.check(now, ip(3), &register("1001"), false), Verdict::Pass);
            guard.failed_at(now, ip(3), "1001");
        }
        assert_eq!(guard.check(now, ip(3), &register("1001"), false), Verdict::Banned);
        assert_eq!(guard.check(now, ip(3), &register("1002"), false), Verdict::Pass);
        assert_eq!(guard.check(now, ip(4), &register("1001"), false), Verdict::Pass);
        let bans = guard.list();
        assert_eq!((bans.len(), bans[0].user.as_deref(), bans[0].source.as_str()), (1, Some("1001"), "192.0.2.3"));
        assert!(guard.lift(&bans[0].id) && !guard.lift(&bans[0].id));
        assert_eq!(guard.check(now, ip(3), &register("1001"), false), Verdict::Pass);
    }

    #[test]
    fn a_source_that_tries_many_users_is_kept_out_whole_but_for_a_trunks_calls() {
        let guard = Guard::default();
        guard.set_named(TenantId::from("acme".to_owned()), BTreeSet::from([ip(5)]));
        let now = Instant::now();
        for source in [ip(5), ip(6)] {
            for n in 0..bans::SOURCE_FAILURES_MAX {
                guard.failed_at(now, source, &format!("user{n}"));
            }
        }
        assert_eq!(guard.check(now, ip(6), CALL, false), Verdict::Banned);
        assert!(!guard.may_connect(now, ip(6)));
        assert_eq!(guard.check(now, ip(5), CALL, false), Verdict::Pass);
        assert!(guard.may_connect(now, ip(5)));
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_source() {
        let place = |text: &str| place_of(text.parse().expect("an address"));
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:1"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
    }
}
