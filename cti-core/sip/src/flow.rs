use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    /// Websocket (RFC 7118).
    Ws,
    /// Websocket over TLS. A URI says `ws` for both; only the Via tells them apart.
    Wss,
}

/// A stream connection as the shell numbers it; never used again within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Where a message came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    pub transport: Transport,
    /// Our socket. For a datagram its bound address; for a stream the listener's (or, outbound, an unspecified port).
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// The stream connection, where one is open. `None` on an outbound stream asks the shell to open one to `remote`.
    pub connection: Option<ConnectionId>,
}

/// One whole message as it came in: a datagram, or one message cut from a stream by `wire::Framer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    pub flow: Flow,
    pub bytes: Bytes,
}

/// One whole message to send. A stream that can not be opened or written is reported by `Endpoint::transport_failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmit {
    pub flow: Flow,
    pub bytes: Bytes,
}
