use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, Uri, header, request::Parts};

use crate::App;
use crate::problem::Problem;

/// A request that names no Origin (a program) or our own.
pub struct OriginChecked;

impl FromRequestParts<Arc<App>> for OriginChecked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        check(&parts.headers, &parts.uri).map(|()| Self)
    }
}

/// Refuses a foreign Origin (RFC 6454): its host and port must be those the request was sent to.
pub fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    let ours = match (origin.to_str().ok(), host) {
        (Some(origin), Some(host)) => is_same(origin, host),
        (None, _) | (_, None) => false,
    };
    match ours {
        true => Ok(()),
        false => {
            Err(Problem::forbidden("this Origin is not the server's own: open the web application from the server"))
        }
    }
}

fn is_same(origin: &str, host: &str) -> bool {
    let (scheme, authority) = match origin.split_once("://") {
        Some(parts) => parts,
        None => return false,
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_origin_passes() {
        let check =
            |origin: &str, host: &str, expect: bool| assert_eq!(is_same(origin, host), expect, "{origin} {host}");
        check("http://127.0.0.1:8080", "127.0.0.1:8080", true);
        check("https://desk.example", "desk.example", true);
        check("https://desk.example", "desk.example:443", true);
        check("https://Desk.example:443", "desk.example", true);
        check("http://desk.example", "desk.example:443", false);
        check("http://127.0.0.1:8081", "127.0.0.1:8080", false);
        check("http://evil.example", "127.0.0.1:8080", false);
        check("http://127.0.0.1:8080.evil.example", "127.0.0.1:8080", false);
        check("null", "127.0.0.1:8080", false);
        check("file://", "127.0.0.1:8080", false);
    }
}
