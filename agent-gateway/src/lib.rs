//! HTTP API, sign-in, the desk's websocket and the web application.

pub mod protocol;
pub mod typescript;
