use std::collections::HashMap;

use cti_base::{Pii, TenantId};
use cti_switch::desk::CallerRecords;

/// Answers that are remembered, some kilobytes each.
pub const REMEMBERED_MAX: usize = 10_000;

/// A tenant and a number of theirs.
pub type Key = (TenantId, Pii<String>);

/// The last answers of the records. Those that were not needed for the longest go first: when the young half is full, it
/// becomes the old one, and the old one goes.
#[derive(Default)]
pub struct Memory {
    young: HashMap<Key, CallerRecords>,
    old: HashMap<Key, CallerRecords>,
}

impl Memory {
    pub fn put(&mut self, key: Key, records: CallerRecords) {
        self.old.remove(&key);
        self.enter(key, records);
    }

    /// The last answer; being asked for keeps it.
    pub fn find(&mut self, key: &Key) -> Option<CallerRecords> {
        if let Some(records) = self.young.get(key) {
            return Some(records.clone());
        }
        let records = self.old.remove(key)?;
        self.enter(key.clone(), records.clone());
        Some(records)
    }

    fn enter(&mut self, key: Key, records: CallerRecords) {
        if self.young.len() >= REMEMBERED_MAX / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        ("acme".into(), Pii::new(n.to_string()))
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes_within_the_limit() {
        let mut memory = Memory::default();
        for n in 0..3 * REMEMBERED_MAX {
            memory.put(key(n), CallerRecords::default());
            assert!(memory.find(&key(0)).is_some(), "asked for after {n}");
            assert!(memory.young.len() + memory.old.len() <= REMEMBERED_MAX);
        }
        assert!(memory.find(&key(1)).is_none());
        assert!(memory.find(&key(3 * REMEMBERED_MAX - 1)).is_some());
    }

    #[test]
    fn tenants_do_not_see_each_others() {
        let mut memory = Memory::default();
        memory.put(key(1), CallerRecords::default());
        assert!(memory.find(&("other".into(), Pii::new("1".into()))).is_none());
    }
}
