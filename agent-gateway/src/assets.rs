//! The web application, embedded at build time from `web/dist` (build.rs makes the folder where there is none).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

/// Hashed assets: their name changes with their content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const REVALIDATE: &str = "no-cache";

/// Any path that no route has: a file of the application, or its index for the application's own routes.
pub async fn handler(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if path == "/api" || path.starts_with("/api/") || path == "/ws" || path.starts_with("/ws/") {
        return Problem::missing("address: see /api/v1/openapi.json").into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        let detail = "only GET and HEAD are answered here";
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).into_response();
    }
    let name = path.trim_start_matches('/');
    if let Some(file) = Dist::get(name).filter(|_| !name.is_empty() && !name.starts_with('.') && !name.ends_with(".br"))
    {
        let cache = if name.starts_with("assets/") { IMMUTABLE } else { REVALIDATE };
        return send(name, file, cache, &headers);
    }
    // A missing file is missing; a path without an extension is a page of the application.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) {
        return Problem::missing("file").into_response();
    }
    match Dist::get("index.html") {
        Some(index) => send("index.html", index, REVALIDATE, &headers),
        None => not_built().into_response(),
    }
}

fn send(name: &str, file: EmbeddedFile, cache: &'static str, headers: &HeaderMap) -> Response {
    let tag = hex::encode(file.metadata.sha256_hash());
    let tag = format!("\"{}\"", &tag[..32]);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let mut response =
        if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            body(name, file, headers)
        };
    let answer = response.headers_mut();
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    answer.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        answer.insert(header::ETAG, tag);
    }
    response
}

/// The brotli form beside it where there is one and the client takes it.
fn body(name: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let brotli = if takes_brotli(headers) { Dist::get(&format!("{name}.br")) } else { None };
    let is_brotli = brotli.is_some();
    let mut response = Body::from(brotli.unwrap_or(file).data).into_response();
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let text = matches!(guess.type_(), mime_guess::mime::TEXT) || guess.subtype() == "javascript";
    let kind = if text { format!("{}; charset=utf-8", guess.essence_str()) } else { guess.essence_str().to_owned() };
    let kind = HeaderValue::try_from(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if is_brotli {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}

fn takes_brotli(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_brotli = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("br"));
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
        is_brotli && !refused
    })
}

fn not_built() -> Response {
    let text = "The web application is not in this build. Build it, then the server:\n\n\
                \x20   cd agent-gateway/web && npm ci && npm run build\n\
                \x20   cargo build\n\n\
                or run `make run`. The API works without it: /api/v1/openapi.json.\n";
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (StatusCode::OK, kind, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_application_never_answers_for_the_api() {
        let status = async |method: Method, path: &'static str| {
            handler(method, Uri::from_static(path), HeaderMap::new()).await.status()
        };
        assert_eq!(status(Method::GET, "/").await, StatusCode::OK);
        assert_eq!(status(Method::GET, "/history").await, StatusCode::OK);
        assert_eq!(status(Method::POST, "/history").await, StatusCode::METHOD_NOT_ALLOWED);
        for path in ["/api", "/api/v1/nothing", "/ws/x", "/assets/none.js", "/.vite/manifest.json"] {
            assert_eq!(status(Method::GET, path).await, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn brotli_goes_to_those_who_take_it() {
        let takes = |value: &'static str| {
            takes_brotli(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(takes("gzip, deflate, br") && takes("br;q=0.5"));
        assert!(!takes("gzip") && !takes("br;q=0"));
    }
}
