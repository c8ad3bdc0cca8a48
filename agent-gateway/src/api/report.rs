//! What reports have in common: which stretch of time, how it is divided, and CSV.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use cti_base::{TenantId, Timestamp};
use cti_switch::figures::{INTERVAL_MS, interval_of};
use cti_switch::hours;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zongji_sql::Store;
use zongji_sql::figures::Span;

use super::calls_csv::{cell, plain};
use super::calls_list::Format;
use super::endpoint::Parameter;
use super::list::doc;
use crate::problem::Problem;

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

pub const FROM: Parameter =
    ("from", "UTC milliseconds, rounded down to where an interval begins; today's midnight where not given");
pub const TO: Parameter = ("to", "UTC milliseconds, not included, rounded up; now where not given");
pub const INTERVAL: Parameter =
    ("interval", "15m (up to 31 days; the default), 1h (of UTC; up to 92 days) or 1d (the tenant's days; up to 366)");
pub const FORMAT: Parameter = ("format", "csv, as with Accept: text/csv");

/// A report's question.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Form {
    #[serde(default)]
    from: Option<u64>,
    #[serde(default)]
    to: Option<u64>,
    #[serde(default)]
    interval: Interval,
    #[serde(default)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interval {
    #[default]
    #[serde(rename = "15m")]
    Quarter,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "1d")]
    Day,
}

/// The stretch that is reported on, in whole intervals.
pub struct Stretch {
    pub from_ms: u64,
    pub to_ms: u64,
    pub interval: Interval,
    /// What is asked of the records, one after the other: the whole at once, or day by day.
    pub spans: Vec<Span>,
}

impl Form {
    pub async fn read(self, store: &Store, tenant: &TenantId) -> Result<Stretch, Problem> {
        let timezone = doc(store, tenant).await?.map_or_else(|| "UTC".to_owned(), |doc| doc.tenant.timezone);
        let now_ms = crate::now_ms();
        let day = |at_ms: u64| {
            let day = hours::day_in(Timestamp::from_millis(at_ms), &timezone);
            day.ok_or_else(|| Problem::internal(&"the tenant's time zone is unknown"))
        };
        let from_ms = match self.from {
            Some(from_ms) => from_ms,
            None => day(now_ms)?.0,
        };
        let to_ms = self.to.unwrap_or(now_ms);
        let (longest_ms, part_ms) = match self.interval {
            Interval::Quarter => (31 * DAY_MS, INTERVAL_MS),
            Interval::Hour => (92 * DAY_MS, HOUR_MS),
            Interval::Day => (366 * DAY_MS, DAY_MS),
        };
        if from_ms >= to_ms {
            return Err(bad("to", "must be later than `from`"));
        }
        if to_ms - from_ms > longest_ms || to_ms > now_ms + longest_ms {
            return Err(bad("to", "is too far from `from` for this interval, or from now: ask in pieces"));
        }
        let part = |from_ms, to_ms| Span { from_ms, to_ms, part_ms: Some(part_ms) };
        let spans = match self.interval {
            Interval::Quarter | Interval::Hour => {
                vec![part(from_ms - from_ms % part_ms, to_ms.next_multiple_of(part_ms))]
            }
            Interval::Day => {
                let mut spans = Vec::new();
                let (mut from_ms, mut next_ms) = day(from_ms)?;
                // A day that did not go on would never end.
                while from_ms < to_ms && from_ms < next_ms {
                    spans.push(Span { from_ms, to_ms: next_ms, part_ms: None });
                    (from_ms, next_ms) = day(next_ms)?;
                }
                spans
            }
        };
        let (first, last) = (spans.first().map_or(from_ms, |s| s.from_ms), spans.last().map_or(to_ms, |s| s.to_ms));
        Ok(Stretch { from_ms: first, to_ms: last, interval: self.interval, spans })
    }

    pub fn wants_csv(self, headers: &HeaderMap) -> bool {
        let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        self.format == Some(Format::Csv) || (self.format.is_none() && accepts.starts_with("text/csv"))
    }
}

impl Stretch {
    /// The end of the part that begins so.
    pub fn end_of(&self, start_ms: u64) -> u64 {
        match self.interval {
            Interval::Quarter => start_ms + INTERVAL_MS,
            Interval::Hour => start_ms + HOUR_MS,
            Interval::Day => self.spans.iter().find(|span| span.from_ms == start_ms).map_or(start_ms, |s| s.to_ms),
        }
    }

    /// The begin of the part that this quarter of an hour is in, if it is asked for.
    pub fn part_of(&self, quarter_ms: u64) -> Option<u64> {
        let at_ms = interval_of(quarter_ms);
        let span = self.spans.iter().find(|span| (span.from_ms..span.to_ms).contains(&at_ms))?;
        Some(span.part_ms.map_or(span.from_ms, |part_ms| at_ms - at_ms % part_ms))
    }
}

fn bad(field: &str, detail: &str) -> Problem {
    Problem::new(axum::http::StatusCode::BAD_REQUEST, "bad_parameter", detail).field(field)
}

/// Rows as CSV (RFC 4180): a column is a field, or a field within one as `service_levels/of_offered`.
pub fn csv<T: Serialize>(name: &str, columns: &[&str], rows: &[T]) -> Result<Response, Problem> {
    let mut text = columns.join(",").replace('/', "_");
    text.push_str("\r\n");
    for row in rows {
        let json = serde_json::to_value(row).map_err(|e| Problem::internal(&e))?;
        let value = |column: &&str| json.pointer(&format!("/{column}")).map(named).unwrap_or_default();
        let cells: Vec<String> = columns.iter().map(|column| cell(&value(column))).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    let kind = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
    ];
    Ok((kind, text).into_response())
}

/// `{"meal": 60000}` is `meal=60000`.
fn named(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" ")
        }
        value => plain(value),
    }
}
