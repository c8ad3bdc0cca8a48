//! Who is kept out for wrong credentials: a user from a source, and a source as a whole.
//!
//! Only credentials that were wrong are counted; the challenge before them never is. It makes no difference whether the user
//! exists.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use agent_gateway::Ban;
use cti_base::Timestamp;

/// Wrong credentials for one user from one source before both are kept out.
pub const USER_FAILURES_MAX: u32 = 5;
/// Wrong credentials from one source, whoever for.
pub const SOURCE_FAILURES_MAX: u32 = 20;
/// Failures longer apart than this are no guessing.
const WINDOW: Duration = Duration::from_secs(600);
/// The first ban; each further one is twice as long.
const BAN_FIRST: Duration = Duration::from_secs(60);
const BAN_MAX: Duration = Duration::from_secs(3_600);
/// Earlier bans are forgotten after this without a failure.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Users and sources with failures that are remembered; more, and the one that was quiet longest makes room.
const ENTRIES_MAX: usize = 8_192;
/// Of a user's name so much is kept, bytes.
const NAME_LEN_MAX: usize = 64;

type Key = (IpAddr, Option<String>);

struct Entry {
    number: u64,
    failures: u32,
    bans: u32,
    last: Instant,
    /// From and to.
    banned: Option<(Instant, Instant)>,
}

/// Failures and bans, bounded.
#[derive(Default)]
pub struct Bans {
    entries: BTreeMap<Key, Entry>,
    counter: u64,
}

impl Bans {
    /// Whether anything from there failed of late: all that most messages ever cost.
    pub fn knows(&self, source: IpAddr) -> bool {
        self.entries.range((source, None)..).next().is_some_and(|((found, _), _)| *found == source)
    }

    pub fn is_banned(&self, now: Instant, source: IpAddr, user: Option<&str>) -> bool {
        let entry = self.entries.get(&(source, user.map(short)));
        entry.and_then(|entry| entry.banned).is_some_and(|(_, until)| now < until)
    }

    /// Counts wrong credentials for the user there and for the whole source.
    pub fn failed(&mut self, now: Instant, source: IpAddr, user: &str) {
        self.count(now, (source, Some(short(user))), USER_FAILURES_MAX);
        self.count(now, (source, None), SOURCE_FAILURES_MAX);
    }

    pub fn list(&self, now: Instant, utc: Timestamp) -> Vec<Ban> {
        let ms = |at: Instant| {
            let since = now.saturating_duration_since(at).as_millis() as u64;
            let until = at.saturating_duration_since(now).as_millis() as u64;
            (utc.as_micros() / 1_000).saturating_add(until).saturating_sub(since)
        };
        let ban = |((source, user), entry): (&Key, &Entry)| {
            let (from, until) = entry.banned.filter(|(_, until)| now < *until)?;
            Some(Ban {
                id: entry.number.to_string(),
                source: source.to_string(),
                user: user.clone(),
                failures: entry.failures,
                since_ms: ms(from),
                until_ms: ms(until),
            })
        };
        let mut bans: Vec<Ban> = self.entries.iter().filter_map(ban).collect();
        bans.sort_by_key(|ban| ban.since_ms);
        bans
    }

    pub fn lift(&mut self, id: &str) -> bool {
        let is_it = |entry: &Entry| entry.banned.is_some() && entry.number.to_string() == id;
        let found = self.entries.iter().find(|(_, entry)| is_it(entry)).map(|(key, _)| key.clone());
        found.is_some_and(|key| self.entries.remove(&key).is_some())
    }

    fn count(&mut self, now: Instant, key: Key, failures_max: u32) {
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            let quietest = self.entries.iter().min_by_key(|(_, entry)| (entry.banned, entry.last));
            if let Some(quietest) = quietest.map(|(key, _)| key.clone()) {
                self.entries.remove(&quietest);
            }
        }
        self.counter += 1;
        let number = self.counter;
        let entry = self.entries.entry(key).or_insert(Entry { number, failures: 0, bans: 0, last: now, banned: None });
        let quiet = now.saturating_duration_since(entry.last);
        if quiet > FORGET_AFTER {
            entry.bans = 0;
        }
        // What was counted before a ban is paid for.
        let served = entry.banned.take_if(|(_, until)| now >= *until).is_some();
        if quiet > WINDOW || served {
            entry.failures = 0;
        }
        entry.last = now;
        entry.failures += 1;
        if entry.failures >= failures_max && entry.banned.is_none() {
            let length = BAN_FIRST.saturating_mul(1 << entry.bans.min(16)).min(BAN_MAX);
            entry.banned = Some((now, now + length));
            entry.bans += 1;
            tracing::warn!(failures = entry.failures, seconds = length.as_secs(), "kept out for wrong SIP credentials");
        }
    }
}

fn short(user: &str) -> String {
    let mut end = user.len().min(NAME_LEN_MAX);
    while !user.is_char_boundary(end) {
        end -= 1;
    }
    user[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn fail(bans: &mut Bans, now: Instant, times: u32) {
        (0..times).for_each(|_| bans.failed(now, SOURCE, "1001"));
    }

    #[test]
    fn a_ban_ends_by_itself_and_the_next_is_twice_as_long() {
        let mut bans = Bans::default();
        let start = Instant::now();
        fail(&mut bans, start, USER_FAILURES_MAX - 1);
        assert!(!bans.is_banned(start, SOURCE, Some("1001")));
        fail(&mut bans, start, 1);
        let banned = |bans: &Bans, at: Instant| bans.is_banned(at, SOURCE, Some("1001"));
        assert!(banned(&bans, start + BAN_FIRST / 2) && !banned(&bans, start + BAN_FIRST));
        let again = start + BAN_FIRST;
        fail(&mut bans, again, USER_FAILURES_MAX - 1);
        assert!(!banned(&bans, again), "a fresh count after it");
        fail(&mut bans, again, 1);
        assert!(banned(&bans, again + BAN_FIRST) && !banned(&bans, again + BAN_FIRST * 2));
    }

    #[test]
    fn failures_far_apart_are_no_guessing() {
        let mut bans = Bans::default();
        let start = Instant::now();
        for n in 0..USER_FAILURES_MAX * 2 {
            let now = start + (WINDOW + Duration::from_secs(1)) * n;
            fail(&mut bans, now, 1);
            assert!(!bans.is_banned(now, SOURCE, Some("1001")));
        }
    }

    #[test]
    fn a_source_is_kept_out_whole_after_its_own_limit_and_the_map_is_bounded() {
        let mut bans = Bans::default();
        let now = Instant::now();
        for n in 0..SOURCE_FAILURES_MAX {
            assert!(!bans.is_banned(now, SOURCE, None));
            bans.failed(now, SOURCE, &format!("user{n}"));
        }
        assert!(bans.is_banned(now, SOURCE, None));
        for n in 0..ENTRIES_MAX as u32 {
            bans.failed(now, IpAddr::V4((n + 1).into()), "x");
        }
        assert!(bans.entries.len() <= ENTRIES_MAX);
        assert!(bans.is_banned(now, SOURCE, None), "who is kept out makes room last");
    }
}
