//! SIP over websocket (RFC 7118), for peers that come to us: each websocket message is one SIP message.

use bytes::Bytes;
use cti_sip::wire::limits::MESSAGE_LEN_MAX;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// RFC 7118 4.1: the subprotocol that both sides must name.
const SUBPROTOCOL: &str = "sip";

/// The server's side of the handshake. A client that does not offer the subprotocol `sip` gets 400.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<WebSocketStream<S>, Error> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_LEN_MAX))
        .max_frame_size(Some(MESSAGE_LEN_MAX))
        .read_buffer_size(16 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MESSAGE_LEN_MAX);
    accept_hdr_async_with_config(stream, choose, Some(config)).await
}

#[expect(clippy::result_large_err, reason = "the library's callback has this shape")]
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if offered.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(SUBPROTOCOL)) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        return Ok(response);
    }
    let mut refused = ErrorResponse::new(Some("this websocket speaks the subprotocol `sip`".into()));
    *refused.status_mut() = StatusCode::BAD_REQUEST;
    Err(refused)
}

/// A SIP message as one websocket message: text where it is UTF-8 (RFC 7118 5).
pub fn message(bytes: &Bytes) -> Message {
    match std::str::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(_) => Message::binary(bytes.clone()),
    }
}
