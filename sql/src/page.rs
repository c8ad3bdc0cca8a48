use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Rows in one answer, at most (contract.md, "HTTP").
pub const LIMIT_MAX: u32 = 1_000;
pub const LIMIT_DEFAULT: u32 = 100;

/// Which part of a list: after the item that `after` names (the `next` of the answer before), newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Page {
    #[serde(default)]
    pub after: Option<String>,
    /// 1 to `LIMIT_MAX`; `LIMIT_DEFAULT` where not given.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Page {
    pub fn limit(limit: u32) -> Self {
        Self { after: None, limit: Some(limit) }
    }

    /// Rows to ask for: one more than wanted, to know whether there is a next page.
    pub(crate) fn rows(&self) -> Result<i64> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::Invalid { field: "limit", detail: format!("must be 1 to {LIMIT_MAX}") });
        }
        Ok(i64::from(limit) + 1)
    }
}

/// A page of a list; `next` goes into `after` for the following one and is null on the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ts_rs::TS)]
pub struct Listing<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl<T> Listing<T> {
    /// From up to `rows` rows, the last of which only tells that there are more.
    pub(crate) fn of(mut items: Vec<T>, rows: i64, cursor: impl Fn(&T) -> String) -> Self {
        let wanted = usize::try_from(rows - 1).unwrap_or(0);
        let more = items.len() > wanted;
        items.truncate(wanted);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

/// The start of a list in descending order of ids: greater than every UUID in every collation.
pub(crate) const AFTER_NOTHING: &str = "g";
