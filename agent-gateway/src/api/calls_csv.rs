//! Call history as CSV (RFC 4180), for spreadsheets and programs.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use cti_base::TenantId;
use serde_json::Value;
use zongji_sql::calls::{self, Call, CallFilter};
use zongji_sql::{LIMIT_MAX, Page, Store};

use crate::problem::Problem;

/// Rows in one answer where no limit is given.
const ROWS_MAX: usize = 10_000;

const COLUMNS: [&str; 24] = [
    "id",
    "direction",
    "outcome",
    "cause",
    "from",
    "to",
    "trunk",
    "ivr_path",
    "queue",
    "agent",
    "customer_id",
    "case_ids",
    "started_ms",
    "queued_ms",
    "offered_ms",
    "answered_ms",
    "ended_ms",
    "wait_ms",
    "ring_ms",
    "talk_ms",
    "hold_ms",
    "wrapup_ms",
    "recording",
    "disposition",
];

/// One page where a limit is given, else all up to `ROWS_MAX`; `Zongji-Next` is the `after` of what did not fit.
pub async fn answer(store: &Store, tenant: &TenantId, filter: &CallFilter, page: Page) -> Result<Response, Problem> {
    let whole = page.limit.is_none();
    let mut page = Page { limit: page.limit.or(Some(LIMIT_MAX)), ..page };
    let mut text = COLUMNS.join(",");
    text.push_str("\r\n");
    let mut rows = 0;
    let next = loop {
        let listing = calls::list(store, tenant, filter, &page).await?;
        rows += listing.items.len();
        for call in &listing.items {
            write_row(&mut text, call)?;
        }
        match listing.next {
            Some(next) if whole && rows < ROWS_MAX => page.after = Some(next),
            next => break next,
        }
    };
    let kind = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"calls.csv\""),
    ];
    let mut response = (kind, text).into_response();
    if let Some(next) = next.and_then(|next| next.parse().ok()) {
        response.headers_mut().insert("zongji-next", next);
    }
    Ok(response)
}

fn write_row(text: &mut String, call: &Call) -> Result<(), Problem> {
    let json = serde_json::to_value(call).map_err(|e| Problem::internal(&e))?;
    for (place, column) in COLUMNS.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let value = if *column == "recording" { &json["recording"]["state"] } else { &json[*column] };
        text.push_str(&cell(&plain(value)));
    }
    text.push_str("\r\n");
    Ok(())
}

pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// Quoted where it must be. A text that a spreadsheet would run as a formula gets an apostrophe; a number with its `+` stays.
pub fn cell(text: &str) -> String {
    let is_number = text.strip_prefix(['+', '-']).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let text = if risky { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        let check = |text: &str, expect: &str| assert_eq!(cell(text), expect);
        check("answered", "answered");
        check("a,b \"c\"", "\"a,b \"\"c\"\"\"");
        check("+8613800138000", "+8613800138000");
        check("=1+1", "'=1+1");
        check("+cmd|x", "'+cmd|x");
        check("@x", "'@x");
    }
}
