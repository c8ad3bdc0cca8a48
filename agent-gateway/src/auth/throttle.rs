use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords that cost nothing: of one user from one source ...
const FREE_PAIR: u32 = 5;
/// ... from one source, whoever it tries ...
const FREE_SOURCE: u32 = 50;
/// ... and of one user, wherever from, so that no stranger can keep someone out from elsewhere.
const FREE_USER: u32 = 200;
/// The wait doubles from this ...
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// ... up to this.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Forgotten after this long without a wrong password.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// Keys remembered; beyond it the one longest without a wrong password goes.
const KEYS_MAX: usize = 50_000;

/// Slows down whoever guesses passwords.
#[derive(Default)]
pub struct Throttle(Mutex<BTreeMap<Key, Tries>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Pair(String, String, IpAddr),
    Source(IpAddr),
    User(String, String),
}

#[derive(Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Instant,
    blocked_until: Instant,
}

impl Throttle {
    /// How long this sign-in has to wait before it may try.
    pub fn wait(&self, tenant: &str, user: &str, source: IpAddr, now: Instant) -> Option<Duration> {
        let tries = self.lock();
        let waits = keys(tenant, user, source).into_iter().filter_map(|(key, _)| tries.get(&key));
        waits.map(|tries| tries.blocked_until.saturating_duration_since(now)).max().filter(|wait| !wait.is_zero())
    }

    pub fn wrong(&self, tenant: &str, user: &str, source: IpAddr, now: Instant) {
        let mut all = self.lock();
        for (key, free) in keys(tenant, user, source) {
            let fresh = Tries { wrong: 0, last: now, blocked_until: now };
            let tries = all.entry(key).or_insert(fresh);
            if now.saturating_duration_since(tries.last) > FORGOTTEN_AFTER {
                *tries = fresh;
            }
            tries.wrong += 1;
            tries.last = now;
            if tries.wrong > free {
                let doublings = (tries.wrong - free - 1).min(16);
                tries.blocked_until = now + (WAIT_FIRST * 2u32.pow(doublings)).min(WAIT_MAX);
            }
        }
        if all.len() > KEYS_MAX {
            all.retain(|_, tries| now.saturating_duration_since(tries.last) <= FORGOTTEN_AFTER);
        }
        while all.len() > KEYS_MAX {
            let Some(oldest) = all.iter().min_by_key(|(_, tries)| tries.last).map(|(key, _)| key.clone()) else {
                break;
            };
            all.remove(&oldest);
        }
    }

    /// The right password: this user from this source starts anew. The source as a whole does not.
    pub fn right(&self, tenant: &str, user: &str, source: IpAddr) {
        self.lock().remove(&Key::Pair(tenant.to_owned(), user.to_owned(), source));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Tries>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(tenant: &str, user: &str, source: IpAddr) -> [(Key, u32); 3] {
    [
        (Key::Pair(tenant.to_owned(), user.to_owned(), source), FREE_PAIR),
        (Key::Source(source), FREE_SOURCE),
        (Key::User(tenant.to_owned(), user.to_owned()), FREE_USER),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn wrong_passwords_wait_longer_and_longer() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..FREE_PAIR {
            throttle.wrong("t", "u", HERE, now);
        }
        assert_eq!(throttle.wait("t", "u", HERE, now), None);
        throttle.wrong("t", "u", HERE, now);
        assert_eq!(throttle.wait("t", "u", HERE, now), Some(WAIT_FIRST));
        throttle.wrong("t", "u", HERE, now);
        assert_eq!(throttle.wait("t", "u", HERE, now), Some(WAIT_FIRST * 2));
        for _ in 0..20 {
            throttle.wrong("t", "u", HERE, now);
        }
        assert_eq!(throttle.wait("t", "u", HERE, now), Some(WAIT_MAX));
        assert_eq!(throttle.wait("t", "u", HERE, now + WAIT_MAX), None);
        assert_eq!(throttle.wait("t", "u", THERE, now), None, "the same user from elsewhere");
        assert_eq!(throttle.wait("t", "v", HERE, now), None, "another user from here");
        throttle.right("t", "u", HERE);
        assert_eq!(throttle.wait("t", "u", HERE, now), None);
    }

    #[test]
    fn a_source_that_tries_many_users_waits_for_all_of_them() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..=FREE_SOURCE {
            throttle.wrong("t", &n.to_string(), HERE, now);
        }
        assert!(throttle.wait("t", "one not tried", HERE, now).is_some());
        assert_eq!(throttle.wait("t", "one not tried", THERE, now), None);
    }

    #[test]
    fn keys_are_limited() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let full: BTreeMap<Key, Tries> = (0..KEYS_MAX as u32 + 10)
            .map(|n| (Key::Source(IpAddr::from(n.to_be_bytes())), Tries { wrong: 1, last: now, blocked_until: now }))
            .collect();
        *throttle.lock() = full;
        throttle.wrong("t", "u", HERE, now + FORGOTTEN_AFTER * 2);
        assert_eq!(throttle.lock().len(), 3, "all that were forgotten are gone");
    }
}
