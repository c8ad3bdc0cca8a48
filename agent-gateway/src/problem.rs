use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use ts_rs::TS;

/// Every error of the API: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
pub struct Problem {
    /// `urn:zongji:problem:WORD`; the word is stable.
    #[serde(rename = "type")]
    pub kind: String,
    #[ts(type = "string")]
    pub title: &'static str,
    pub status: u16,
    /// What is wrong and what to do.
    pub detail: String,
    /// The field or parameter at fault, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub field: Option<String>,
    /// With 409: the record as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "unknown")]
    pub current: Option<Box<serde_json::Value>>,
    /// With 429 and 503: seconds, also in `Retry-After`.
    #[serde(skip)]
    #[ts(skip)]
    pub retry_after_s: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, word: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:zongji:problem:{word}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            current: None,
            retry_after_s: None,
        }
    }

    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 422: the request is well-formed, a value in it is not.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail).field(field)
    }

    /// 404. What belongs to another tenant is not found either.
    pub fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    pub fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub fn not_signed_in() -> Self {
        let detail = "sign in with POST /api/v1/session, or send Authorization: Bearer TOKEN";
        Self::new(StatusCode::UNAUTHORIZED, "not_signed_in", detail)
    }

    /// 409 with the record as it is now.
    pub fn conflict<T: Serialize>(current: &T) -> Self {
        let detail = "someone changed it meanwhile: look at `current` and send its version";
        let mut problem = Self::new(StatusCode::CONFLICT, "conflict", detail).field("version");
        problem.current = serde_json::to_value(current).ok().map(Box::new);
        problem
    }

    /// 500, told apart in the log only.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(http.error = %error, "request failed");
        let detail = "the server failed at this; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl From<zongji_sql::Error> for Problem {
    fn from(error: zongji_sql::Error) -> Self {
        if let zongji_sql::Error::Invalid { field, detail } = &error {
            return Self::invalid(field, detail.clone());
        }
        if error.is_transient() {
            tracing::warn!(http.error = %error, "the records can not be asked");
            let detail = "the records can not be asked right now: try again";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "records_unavailable", detail).retry_after(1);
        }
        Self::internal(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"zongji\""));
        }
        response
    }
}
