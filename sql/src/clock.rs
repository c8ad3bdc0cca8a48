use std::time::{SystemTime, UNIX_EPOCH};

use cti_base::Timestamp;

use crate::error::{Error, Result};

/// The wall clock, for callers that have none of their own.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A new record's id: UUIDv7 (RFC 9562, 5.7), so that ids sort by time.
pub fn new_id(now: Timestamp) -> Result<String> {
    let mut random = [0u8; 10];
    getrandom::fill(&mut random)
        .map_err(|e| Error::Invalid { field: "id", detail: format!("the system gave no randomness: {e}") })?;
    Ok(uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random).into_uuid().to_string())
}
