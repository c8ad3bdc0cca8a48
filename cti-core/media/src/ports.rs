//! Which RTP port a new leg gets: even ports (RTP; RTCP on the next, RFC 3550 11) of one range, the longest free first.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use cti_base::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a freed port rests, so that late packets of its last call do not reach the next one.
pub const PORT_REST: Duration = Duration::from_millis(500);

/// A bounded pool of even ports. Taking and giving back cost O(log n); no port is given out twice at once.
///
/// It serialises with everything that decides which port comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortPool {
    /// The first even port of the range, and how many there are.
    first: u16,
    count: u16,
    /// The ports that may be taken, in this order.
    free: VecDeque<u16>,
    /// Freed ports and when their rest ends, which is their order too.
    resting: VecDeque<(Timestamp, u16)>,
    /// Those given out; of an earlier range too, after `fit`.
    used: BTreeSet<u16>,
}

impl PortPool {
    /// All even ports of `range` whose odd neighbour lies in it too. A range without such a pair makes an empty pool.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let (first, count) = pairs(&range);
        let free = (0..count).map(|index| first + 2 * index).collect();
        Self { first, count, free, resting: VecDeque::new(), used: BTreeSet::new() }
    }

    /// The even port that has been free the longest, or `None` while all are in use or resting. `now` never goes back.
    pub fn take(&mut self, now: Timestamp) -> Option<u16> {
        self.end_rests(now);
        let port = self.free.pop_front()?;
        self.used.insert(port);
        Some(port)
    }

    /// Takes one given port; `false` where it is in use or not of this pool.
    pub fn reserve(&mut self, port: u16) -> bool {
        if !self.is_of_range(port) || !self.used.insert(port) {
            return false;
        }
        self.free.retain(|free| *free != port);
        self.resting.retain(|(_, resting)| *resting != port);
        true
    }

    /// Gives a port back; it may be taken again after [`PORT_REST`]. `false` where it was not in use: nothing happens.
    pub fn give_back(&mut self, port: u16, now: Timestamp) -> bool {
        self.end_rests(now);
        if !self.used.remove(&port) {
            return false;
        }
        if self.is_of_range(port) {
            self.resting.push_back((now + PORT_REST, port));
        }
        true
    }

    /// Undoes a `take` whose port was never bound: it need not rest and is the next to be taken.
    pub fn put_back(&mut self, port: u16) {
        if self.used.remove(&port) && self.is_of_range(port) {
            self.free.push_front(port);
        }
    }

    /// The pool of another range from here on. Ports in use stay so, wherever they lie; those of an earlier range are not
    /// given out again.
    pub fn fit(&mut self, range: RangeInclusive<u16>) {
        let (first, count) = pairs(&range);
        if (first, count) == (self.first, self.count) {
            return;
        }
        let old: BTreeSet<u16> = self.free.iter().copied().chain(self.resting.iter().map(|(_, port)| *port)).collect();
        (self.first, self.count) = (first, count);
        let last = u32::from(first) + 2 * u32::from(count);
        let is_of_range = |port: u16| port >= first && u32::from(port) < last;
        self.free.retain(|port| is_of_range(*port));
        self.resting.retain(|(_, port)| is_of_range(*port));
        // Never used ones come first: they have been free the longest.
        for port in (0..count).rev().map(|index| first + 2 * index) {
            if !old.contains(&port) && !self.used.contains(&port) {
                self.free.push_front(port);
            }
        }
    }

    /// How many legs the pool can hold at once.
    pub fn capacity(&self) -> usize {
        usize::from(self.count)
    }

    pub fn in_use(&self) -> usize {
        self.used.len()
    }

    fn end_rests(&mut self, now: Timestamp) {
        while let Some((_, port)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.free.push_back(port);
        }
    }

    fn is_of_range(&self, port: u16) -> bool {
        let Some(offset) = port.checked_sub(self.first) else { return false };
        offset % 2 == 0 && offset / 2 < self.count
    }
}

/// The first even port of a range and the number of pairs in it.
fn pairs(range: &RangeInclusive<u16>) -> (u16, u16) {
    let first = range.start().saturating_add(range.start() % 2);
    let count = (u32::from(*range.end()) + 1).saturating_sub(u32::from(first)) / 2;
    // 65,535 has no even successor: `saturating_add` leaves it odd.
    (first, if first.is_multiple_of(2) { count as u16 } else { 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn only_even_ports_with_their_neighbour_are_given() {
        let check = |range: RangeInclusive<u16>, expect: &[u16]| {
            let mut pool = PortPool::new(range.clone());
            let given: Vec<u16> = std::iter::from_fn(|| pool.take(START)).collect();
            assert_eq!(given, expect, "{range:?}");
            assert_eq!(pool.capacity(), expect.len(), "{range:?}");
        };
        check(15100..=15105, &[15100, 15102, 15104]);
        check(15101..=15106, &[15102, 15104]);
        check(15100..=15100, &[]);
        check(65533..=65535, &[65534]);
        check(65535..=65535, &[]);
        #[expect(clippy::reversed_empty_ranges, reason = "a range the wrong way round is what is tested")]
        check(15105..=15100, &[]);
    }

    #[test]
    fn a_freed_port_rests_and_comes_last() {
        let mut pool = PortPool::new(15100..=15103);
        assert_eq!(pool.take(START), Some(15100));
        assert!(pool.give_back(15100, START));
        assert_eq!(pool.take(START), Some(15102));
        assert_eq!(pool.take(START), None, "15100 still rests");
        assert_eq!(pool.take(START + PORT_REST), Some(15100));
        assert!(!pool.give_back(15101, START) && !pool.give_back(15104, START));
    }

    #[test]
    fn a_reserved_port_is_not_given_out() {
        let mut pool = PortPool::new(15100..=15103);
        assert!(pool.reserve(15100));
        assert!(!pool.reserve(15100));
        assert_eq!((pool.take(START), pool.take(START)), (Some(15102), None));
        assert!(!pool.reserve(15101) && !pool.reserve(14000));
    }

    #[test]
    fn a_port_that_was_not_bound_comes_next() {
        let mut pool = PortPool::new(15100..=15105);
        assert_eq!(pool.take(START), Some(15100));
        pool.put_back(15100);
        pool.put_back(15104);
        assert_eq!((pool.in_use(), pool.take(START), pool.take(START)), (0, Some(15100), Some(15102)));
    }

    #[test]
    fn another_range_keeps_what_is_in_use() {
        let mut pool = PortPool::new(15100..=15107);
        let later = START + PORT_REST;
        assert_eq!([pool.take(START), pool.take(START), pool.take(START)], [Some(15100), Some(15102), Some(15104)]);
        assert!(pool.give_back(15102, START));
        pool.fit(15102..=15109);
        assert_eq!((pool.capacity(), pool.in_use()), (4, 2));
        let given: Vec<u16> = std::iter::from_fn(|| pool.take(later)).collect();
        assert_eq!(given, [15108, 15106, 15102], "15104 is in use, 15100 is of the earlier range");
        assert!(pool.give_back(15100, later) && !pool.give_back(15100, later));
        assert_eq!(pool.take(later + PORT_REST), None);
    }

    proptest! {
        #[test]
        fn no_port_is_given_twice(steps in prop::collection::vec((0u8..4, 0u16..60, 0u64..400), 0..400)) {
            let mut pool = PortPool::new(15100..=15139);
            let mut held = BTreeSet::new();
            let mut now = START;
            for (what, which, wait_ms) in steps {
                now = now + Duration::from_millis(wait_ms);
                match what {
                    0 | 1 => {
                        if let Some(port) = pool.take(now) {
                            prop_assert!(port % 2 == 0 && (15100..15140).contains(&port));
                            prop_assert!(held.insert(port), "{port} is held already");
                        }
                    }
                    2 => prop_assert_eq!(pool.give_back(15098 + which, now), held.remove(&(15098 + which))),
                    _ => {
                        let port = 15098 + which;
                        let may = port % 2 == 0 && (15100..15140).contains(&port) && !held.contains(&port);
                        prop_assert_eq!(pool.reserve(port), may);
                        if may {
                            held.insert(port);
                        }
                    }
                }
                prop_assert_eq!(pool.in_use(), held.len());
            }
        }
    }
}
