//! How much a source may send: a bucket of tokens each, and one for all strangers together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use cti_sip::wire::Glance;

/// Requests of a stranger that begin something: a second, and at once.
const STRANGER_OPENINGS: Limit = Limit { per_s: 20, at_once: 200 };
/// All other messages of a stranger.
const STRANGER_OTHERS: Limit = Limit { per_s: 100, at_once: 500 };
/// Messages of all strangers together: addresses are easily made up.
const STRANGERS: Limit = Limit { per_s: 500, at_once: 1_000 };
/// The same of a source from which a phone has registered; a whole office may stand behind it.
const KNOWN_OPENINGS: Limit = Limit { per_s: 100, at_once: 1_000 };
const KNOWN_OTHERS: Limit = Limit { per_s: 1_000, at_once: 5_000 };
/// Sources whose buckets are kept; those without one of their own share one while there are more.
const SOURCES_MAX: usize = 16_384;
/// A source of which nothing came for so long has full buckets anyway.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// The same of one from which a phone registered: longer than a registration lasts.
const FORGET_KNOWN_AFTER: Duration = Duration::from_secs(2 * 3_600);
/// How often what is over is looked for where there is no room.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Limit {
    per_s: u64,
    at_once: u64,
}

/// Tokens in millionths, and when they were last counted.
#[derive(Clone, Copy)]
struct Bucket {
    micros: u64,
    at: Instant,
}

struct Source {
    known: bool,
    openings: Bucket,
    others: Bucket,
    last: Instant,
}

/// Everything about rates.
#[derive(Default)]
pub struct Rates {
    sources: BTreeMap<IpAddr, Source>,
    /// Of whoever finds no place in `sources`.
    crowd: Option<Source>,
    strangers: Option<Bucket>,
    swept: Option<Instant>,
}

impl Bucket {
    const fn full(limit: Limit, at: Instant) -> Self {
        Self { micros: limit.at_once * 1_000_000, at }
    }

    fn take(&mut self, limit: Limit, now: Instant) -> bool {
        // A second earns `per_s` tokens, so a microsecond earns `per_s` millionths.
        let earned = u64::try_from(now.saturating_duration_since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.micros = self.micros.saturating_add(earned.saturating_mul(limit.per_s)).min(limit.at_once * 1_000_000);
        self.at = self.at.max(now);
        let enough = self.micros >= 1_000_000;
        if enough {
            self.micros -= 1_000_000;
        }
        enough
    }
}

impl Source {
    const fn new(known: bool, now: Instant) -> Self {
        let (openings, others) =
            if known { (KNOWN_OPENINGS, KNOWN_OTHERS) } else { (STRANGER_OPENINGS, STRANGER_OTHERS) };
        Self { known, openings: Bucket::full(openings, now), others: Bucket::full(others, now), last: now }
    }

    fn take(&mut self, now: Instant, seen: Glance) -> bool {
        self.last = now;
        match (seen, self.known) {
            (Glance::Call | Glance::Opening, false) => self.openings.take(STRANGER_OPENINGS, now),
            (Glance::Call | Glance::Opening, true) => self.openings.take(KNOWN_OPENINGS, now),
            (Glance::Within | Glance::Blank, false) => self.others.take(STRANGER_OTHERS, now),
            (Glance::Within | Glance::Blank, true) => self.others.take(KNOWN_OTHERS, now),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let after = if self.known { FORGET_KNOWN_AFTER } else { FORGET_AFTER };
        now.saturating_duration_since(self.last) > after
    }
}

impl Rates {
    /// Takes one token for a message; false where there is none.
    pub fn take(&mut self, now: Instant, place: IpAddr, seen: Glance) -> bool {
        self.make_room(now);
        let full = self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&place);
        let source = if full {
            self.crowd.get_or_insert_with(|| Source::new(false, now))
        } else {
            self.sources.entry(place).or_insert_with(|| Source::new(false, now))
        };
        let strangers = self.strangers.get_or_insert_with(|| Bucket::full(STRANGERS, now));
        source.take(now, seen) && (source.known || strangers.take(STRANGERS, now))
    }

    /// A phone has registered from there.
    pub fn know(&mut self, now: Instant, place: IpAddr) {
        if self.sources.len() >= SOURCES_MAX
            && !self.sources.contains_key(&place)
            && let Some(stranger) = self.sources.iter().find(|(_, source)| !source.known).map(|(place, _)| *place)
        {
            self.sources.remove(&stranger);
        }
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&place) {
            let source = self.sources.entry(place).or_insert_with(|| Source::new(true, now));
            if !source.known {
                *source = Source::new(true, now);
            }
            source.last = now;
        }
    }

    fn make_room(&mut self, now: Instant) {
        let due = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY);
        if self.sources.len() >= SOURCES_MAX && due {
            self.swept = Some(now);
            self.sources.retain(|_, source| !source.is_over(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn many_made_up_addresses_are_bounded_together_and_phones_are_heard_meanwhile() {
        let mut rates = Rates::default();
        let start = Instant::now();
        rates.know(start, ip(1));
        let (mut strangers, mut phone) = (0, 0);
        for n in 0..100_000u32 {
            let now = start + Duration::from_micros(100) * n;
            strangers += u32::from(rates.take(now, ip(1_000 + n), Glance::Call));
            if n % 1_000 == 0 {
                phone += u32::from(rates.take(now, ip(1), Glance::Opening));
            }
        }
        assert_eq!(phone, 100);
        assert!(strangers <= 1_000 + 10 * 500, "{strangers} in 10 s");
        assert!(rates.sources.len() <= SOURCES_MAX);
    }

    #[test]
    fn a_bucket_fills_again_with_time_and_never_beyond_its_size() {
        let limit = Limit { per_s: 10, at_once: 3 };
        let start = Instant::now();
        let mut bucket = Bucket::full(limit, start);
        let mut taken = |now: Instant| (0..10).filter(|_| bucket.take(limit, now)).count();
        assert_eq!(taken(start), 3);
        assert_eq!(taken(start + Duration::from_millis(99)), 0);
        assert_eq!(taken(start + Duration::from_millis(100)), 1);
        assert_eq!(taken(start + Duration::from_secs(3_600)), 3);
    }
}
