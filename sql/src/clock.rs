use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use cti_base::Timestamp;

use crate::error::{Error, Result};

/// The wall clock, for callers that have none of their own.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A new record's id: UUIDv7 (RFC 9562, 5.7), so that ids sort by time, and those of one millisecond by the order in which
/// they were asked for (6.2, method 1: a 12-bit counter).
pub fn new_id(now: Timestamp) -> Result<String> {
    static LAST: Mutex<(u64, u16)> = Mutex::new((0, 0));
    const COUNTER_MAX: u16 = 0xfff;
    let mut random = [0u8; 10];
    getrandom::fill(&mut random)
        .map_err(|e| Error::Invalid { field: "id", detail: format!("the system gave no randomness: {e}") })?;
    let ms = now.as_millis();
    let counter = {
        let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = if last.0 == ms { (ms, (last.1 + 1) & COUNTER_MAX) } else { (ms, 0) };
        last.1
    };
    random[..2].copy_from_slice(&counter.to_be_bytes());
    Ok(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_millisecond_sort_as_they_were_made() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let ids: Vec<String> = (0..1_000).map(|_| new_id(now).expect("an id")).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(ids, sorted);
        assert!(ids[0] < new_id(Timestamp::from_millis(1_700_000_000_001)).expect("an id"));
    }
}
