//! Bytes to messages and back: framing, line folding, compact names, limits, and the typed headers that must be read
//! where rsip's own parser refuses. A parsed message is rsip's headers; everything in front of them is here.

mod build;
mod framer;
mod glance;
mod headers;
pub mod limits;
mod message;
mod method;
mod names;
mod text;
mod uri;

pub use framer::{Frame, FrameError, Framer, PONG};
pub use glance::{Glance, claimed_user, glance, is_registered, no_room};

pub(crate) use build::{Builder, address, canonical, host_text, reason};
pub(crate) use headers::{NameAddr, Via};
pub(crate) use message::{Malformed, Message, Start, next_cseq};
pub(crate) use method::{Method, is_token, name_of};
pub(crate) use names::value as header_value;
pub(crate) use text::{clean, quote, split, unquote};
pub(crate) use uri::{SIP_PORT, Uri, UriError, escape_user, param, unescape};
