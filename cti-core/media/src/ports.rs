//! Which RTP port a new leg gets: even ports (RTP; RTCP on the next, RFC 3550 11) of one range, the longest free first.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use cti_base::Timestamp;

/// How long a freed port rests, so that late packets of its last call do not reach the next one.
pub const PORT_REST: Duration = Duration::from_millis(500);

/// A bounded pool of even ports. Taking, giving back and reserving cost O(log n); no port is given out twice at once.
#[derive(Clone, Debug)]
pub struct PortPool {
    /// The first even port of the range.
    first: u16,
    ports: Vec<State>,
    /// The free ports in the order they may be taken: by the end of their rest, then by when they came.
    free: BTreeSet<(Timestamp, u64, u16)>,
    order: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free { from: Timestamp, order: u64 },
    Used,
}

impl PortPool {
    /// All even ports of `range` whose odd neighbour lies in it too. A range without such a pair makes an empty pool.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let first = range.start().saturating_add(range.start() % 2);
        let pairs = (u32::from(*range.end()) + 1).saturating_sub(u32::from(first)) / 2;
        // 65,535 has no even successor: `saturating_add` leaves it odd.
        let pairs = if first.is_multiple_of(2) { pairs } else { 0 };
        let from = Timestamp::default();
        let mut pool = Self { first, ports: Vec::with_capacity(pairs as usize), free: BTreeSet::new(), order: 0 };
        for index in 0..pairs {
            let order = u64::from(index);
            pool.ports.push(State::Free { from, order });
            pool.free.insert((from, order, first + 2 * index as u16));
        }
        pool.order = u64::from(pairs);
        pool
    }

    /// The even port that has been free the longest, or `None` while all are in use or resting.
    pub fn take(&mut self, now: Timestamp) -> Option<u16> {
        let &(from, order, port) = self.free.first()?;
        if from > now {
            return None;
        }
        self.free.remove(&(from, order, port));
        let index = self.index(port)?;
        self.ports[index] = State::Used;
        Some(port)
    }

    /// Takes one given port, such as a recovered leg's; `false` where it is in use or not of this pool.
    pub fn reserve(&mut self, port: u16) -> bool {
        let Some(index) = self.index(port) else { return false };
        let State::Free { from, order } = self.ports[index] else { return false };
        self.free.remove(&(from, order, port));
        self.ports[index] = State::Used;
        true
    }

    /// Gives a port back; it may be taken again after [`PORT_REST`]. `false` where it was not in use: nothing happens.
    pub fn give_back(&mut self, port: u16, now: Timestamp) -> bool {
        let Some(index) = self.index(port) else { return false };
        if self.ports[index] != State::Used {
            return false;
        }
        let (from, order) = (now + PORT_REST, self.order);
        self.order += 1;
        self.ports[index] = State::Free { from, order };
        self.free.insert((from, order, port));
        true
    }

    /// How many legs the pool can hold at once.
    pub fn capacity(&self) -> usize {
        self.ports.len()
    }

    pub fn in_use(&self) -> usize {
        self.ports.len() - self.free.len()
    }

    fn index(&self, port: u16) -> Option<usize> {
        let offset = port.checked_sub(self.first)?;
        let index = usize::from(offset / 2);
        (offset % 2 == 0 && index < self.ports.len()).then_some(index)
    }
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
