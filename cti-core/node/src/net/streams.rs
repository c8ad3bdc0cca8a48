//! SIP over streams, which are TCP, TLS and websockets: connections in and out, each with its own bounded write queue.
//!
//! **A peer that does not read stops nobody**: what is written to it waits in its own queue, and when that is full the
//! connection is cut. Connections that idle, trickle, never finish a handshake or come in too great a number are closed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cti_sip::wire::{Frame, Framer, PONG};
use cti_sip::{ConnectionId, Flow, Transport};
use cti_switch::Input;
use dashmap::DashMap;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::inbox::{Inbox, Taken};
use super::tls::Tls;
use super::websocket;

/// Connections at once, in and out together.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Connections at once from one address.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 512;
/// Messages and bytes that wait to be written to one connection; more, and it is cut.
pub const WRITE_QUEUE_MESSAGES_MAX: usize = 256;
pub const WRITE_QUEUE_BYTES_MAX: usize = 1 << 20;
/// One write that makes no progress for so long cuts the connection.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// A connection that begins or continues a message must finish it within this time.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(10);
/// A connection without traffic is closed: longer than the longest registration that we grant.
const IDLE_TIME_MAX: Duration = Duration::from_secs(3_700);
/// TLS and the websocket's handshake together, from a peer that has connected.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// An outbound connection has to be up by then (RFC 3261 timer B is 32 s; the phone's owner waits).
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 16_384;
const LISTEN_BACKLOG: u32 = 1_024;

/// All stream connections. Cheap to clone.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    next: AtomicU64,
    open: DashMap<ConnectionId, Open>,
    /// The connection that a message without one goes to.
    outbound: DashMap<(Transport, SocketAddr), ConnectionId>,
    sources: DashMap<IpAddr, usize>,
    tls: Option<Tls>,
    inbox: Inbox,
    runtime: Handle,
    stop: CancellationToken,
}

struct Open {
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    cut: CancellationToken,
}

/// Binds a listener. One of IPv6 leaves IPv4 to a listener of its own.
pub fn bind(listen: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(listen),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if listen.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&listen.into())?;
    socket.listen(LISTEN_BACKLOG as i32)?;
    Ok(socket.into())
}

impl Streams {
    /// Connections live on the runtime that this is called in. Without `tls` none is taken or opened over TLS.
    pub fn new(inbox: Inbox, tls: Option<Tls>, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            next: AtomicU64::new(1),
            open: DashMap::new(),
            outbound: DashMap::new(),
            sources: DashMap::new(),
            tls,
            inbox,
            runtime: Handle::current(),
            stop,
        }))
    }

    /// Takes connections of one transport until `stop`.
    pub async fn listen(self, transport: Transport, listener: std::net::TcpListener) -> io::Result<()> {
        /// After an error of `accept` (no file left, say) new connections wait so long.
        const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
        let local = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.0.stop.cancelled() => return Ok(()),
            };
            match accepted {
                Ok((stream, remote)) => self.accepted(transport, stream, local, remote),
                Err(error) => {
                    tracing::warn!(%error, sip.local = %local, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Hands one message to its connection, opening one where there is none. Never waits: what fails is reported to the
    /// switch as `SipTransportFailed` or `SipConnectionClosed`.
    pub fn send(&self, flow: Flow, bytes: Bytes) {
        let id = match flow.connection {
            Some(id) => Some(id),
            None => self.0.outbound.get(&(flow.transport, flow.remote)).map(|id| *id),
        };
        let Some(id) = id else {
            self.connect(flow, bytes);
            return;
        };
        let Some(open) = self.0.open.get(&id) else {
            self.0.inbox.try_send(Input::SipTransportFailed(flow));
            return;
        };
        open.put(bytes);
    }

    pub fn connections(&self) -> usize {
        self.0.open.len()
    }

    fn accepted(&self, transport: Transport, stream: TcpStream, local: SocketAddr, remote: SocketAddr) {
        if !self.0.inbox.may_connect(remote.ip()) || !self.enter(remote.ip()) {
            tracing::debug!("a connection beyond the limits, or of someone kept out, is closed");
            return;
        }
        let id = self.number();
        let flow = Flow { transport, local, remote, connection: Some(id) };
        let (open, queue) = Open::new();
        let connection = self.connection(id, flow, queue, &open);
        self.0.open.insert(id, open);
        self.0.runtime.spawn(connection.serve(stream));
    }

    fn connect(&self, flow: Flow, first: Bytes) {
        if !self.enter(flow.remote.ip()) {
            tracing::warn!(limit = CONNECTIONS_MAX, "no outbound SIP connection: too many are open");
            self.0.inbox.try_send(Input::SipTransportFailed(flow));
            return;
        }
        let id = self.number();
        let (open, queue) = Open::new();
        open.put(first);
        let connection = self.connection(id, Flow { connection: Some(id), ..flow }, queue, &open);
        self.0.open.insert(id, open);
        self.0.outbound.insert((flow.transport, flow.remote), id);
        self.0.runtime.spawn(connection.call(flow));
    }

    fn connection(&self, id: ConnectionId, flow: Flow, queue: mpsc::Receiver<Bytes>, open: &Open) -> Connection {
        let pong = open.queue.clone();
        let link = Link { flow, inbox: self.0.inbox.clone(), pong, told: AtomicBool::new(false) };
        Connection { streams: self.clone(), id, link, queue, waiting: open.waiting.clone(), cut: open.cut.clone() }
    }

    fn number(&self) -> ConnectionId {
        ConnectionId(self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a connection in, if both limits allow it.
    fn enter(&self, source: IpAddr) -> bool {
        if self.0.open.len() >= CONNECTIONS_MAX {
            return false;
        }
        let mut count = self.0.sources.entry(source).or_insert(0);
        let allowed = *count < CONNECTIONS_PER_SOURCE_MAX;
        *count += usize::from(allowed);
        allowed
    }

    fn leave(&self, id: ConnectionId, flow: Flow) {
        let remote = flow.remote;
        self.0.open.remove(&id);
        self.0.outbound.remove_if(&(flow.transport, remote), |_, outbound| *outbound == id);
        if let Some(mut count) = self.0.sources.get_mut(&remote.ip()) {
            *count = count.saturating_sub(1);
        }
        self.0.sources.remove_if(&remote.ip(), |_, count| *count == 0);
    }
}

impl Open {
    fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (queue, out) = mpsc::channel(WRITE_QUEUE_MESSAGES_MAX);
        (Self { queue, waiting: Arc::default(), cut: CancellationToken::new() }, out)
    }

    /// Queues one message; a queue over its limit cuts the connection.
    fn put(&self, bytes: Bytes) {
        let length = bytes.len();
        let waiting = self.waiting.fetch_add(length, Ordering::Relaxed) + length;
        if waiting > WRITE_QUEUE_BYTES_MAX || self.queue.try_send(bytes).is_err() {
            self.cut.cancel();
        }
    }
}

/// One connection from its first byte to its last.
struct Connection {
    streams: Streams,
    id: ConnectionId,
    link: Link,
    queue: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    cut: CancellationToken,
}

/// The way of what is read.
struct Link {
    flow: Flow,
    inbox: Inbox,
    /// The connection's own queue, for answers to pings.
    pong: mpsc::Sender<Bytes>,
    /// The switch was given a message of this connection, and so knows it.
    told: AtomicBool,
}

/// Why a connection ended.
type Reason = &'static str;

const BROKE: Reason = "it broke";
const CLOSED: Reason = "the peer closed it";
const DEAF: Reason = "it did not read what was written to it";
const IDLE: Reason = "it was idle, or a message did not end";
const NO_HANDSHAKE: Reason = "its handshake came to nothing";
const NOT_WANTED: Reason = "its sender is kept out, or the program ends";
const PROGRAM_ENDS: Reason = "the program ends";
const REFUSED: Reason = "it could not be opened";

impl Connection {
    /// A peer has connected.
    async fn serve(mut self, stream: TcpStream) {
        small_messages_leave_at_once(&stream);
        let (transport, tls) = (self.link.flow.transport, self.streams.0.tls.clone());
        let secure = async |stream| match &tls {
            Some(tls) => tls.acceptor().accept(stream).await.ok(),
            None => None,
        };
        let reason = match transport {
            Transport::Udp | Transport::Tcp => self.run_bytes(stream).await,
            Transport::Tls => match timeout(HANDSHAKE_TIME_MAX, secure(stream)).await {
                Ok(Some(stream)) => self.run_bytes(stream).await,
                Ok(None) | Err(_) => NO_HANDSHAKE,
            },
            Transport::Ws => match timeout(HANDSHAKE_TIME_MAX, websocket::accept(stream)).await {
                Ok(Ok(stream)) => self.run_messages(stream).await,
                Ok(Err(_)) | Err(_) => NO_HANDSHAKE,
            },
            Transport::Wss => {
                let both = async { websocket::accept(secure(stream).await?).await.ok() };
                match timeout(HANDSHAKE_TIME_MAX, both).await {
                    Ok(Some(stream)) => self.run_messages(stream).await,
                    Ok(None) | Err(_) => NO_HANDSHAKE,
                }
            }
        };
        self.end(reason).await;
    }

    /// We connect. `asked` is the flow as the switch named it.
    async fn call(mut self, asked: Flow) {
        let tls = self.streams.0.tls.clone();
        let connector = tls.as_ref().and_then(Tls::connector);
        let tcp = async { timeout(CONNECT_TIME_MAX, open_stream(asked.remote)).await.ok()?.ok() };
        let reason = match (asked.transport, connector) {
            (Transport::Tcp, _) => match tcp.await {
                Some(stream) => self.run_bytes(stream).await,
                None => REFUSED,
            },
            (Transport::Tls, Some(connector)) => {
                let name = ServerName::IpAddress(asked.remote.ip().to_canonical().into());
                let both = async { connector.connect(name, tcp.await?).await.ok() };
                match timeout(CONNECT_TIME_MAX, both).await {
                    Ok(Some(stream)) => self.run_bytes(stream).await,
                    Ok(None) | Err(_) => REFUSED,
                }
            }
            // Browsers are reached by the connections that they opened; and who is at the other end of TLS must be known.
            (Transport::Udp | Transport::Tls | Transport::Ws | Transport::Wss, _) => REFUSED,
        };
        if reason == REFUSED {
            self.streams.leave(self.id, asked);
            self.link.inbox.send(Input::SipTransportFailed(asked)).await;
        } else {
            self.link.told.store(true, Ordering::Relaxed);
            self.end(reason).await;
        }
    }

    async fn run_bytes(&mut self, stream: impl AsyncRead + AsyncWrite) -> Reason {
        let (reader, writer) = tokio::io::split(stream);
        tokio::select! {
            reason = self.link.read_bytes(reader) => reason,
            reason = write_bytes(writer, &mut self.queue, &self.waiting) => reason,
            () = self.cut.cancelled() => DEAF,
            () = self.streams.0.stop.cancelled() => PROGRAM_ENDS,
        }
    }

    async fn run_messages<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: WebSocketStream<S>) -> Reason {
        let (writer, reader) = stream.split();
        tokio::select! {
            reason = self.link.read_messages(reader) => reason,
            reason = write_messages(writer, &mut self.queue, &self.waiting) => reason,
            () = self.cut.cancelled() => DEAF,
            () = self.streams.0.stop.cancelled() => PROGRAM_ENDS,
        }
    }

    async fn end(self, reason: Reason) {
        tracing::debug!(sip.connection = self.id.0, reason, "a SIP connection closed");
        self.streams.leave(self.id, self.link.flow);
        if self.link.told.load(Ordering::Relaxed) {
            self.link.inbox.send(Input::SipConnectionClosed(self.id)).await;
        }
    }
}

impl Link {
    /// Gives the switch a message. False when the connection is to be closed.
    async fn give(&self, bytes: Bytes) -> bool {
        match self.inbox.message(self.flow, bytes).await {
            Taken::Yes => self.told.store(true, Ordering::Relaxed),
            Taken::Dropped => {}
            // Where the queue is full the caller asks again.
            Taken::Answered(answer) => drop(self.pong.try_send(answer)),
            Taken::Close => return false,
        }
        true
    }

    /// A ping whose answer finds the queue full is answered with the next one.
    fn answer_ping(&self) {
        let _full = self.pong.try_send(Bytes::from_static(PONG));
    }

    async fn read_bytes(&self, mut reader: impl AsyncRead + Unpin) -> Reason {
        let mut framer = Framer::new();
        let mut buffer = vec![0u8; READ_BYTES];
        let mut wait = MESSAGE_TIME_MAX;
        loop {
            let read = match timeout(wait, reader.read(&mut buffer)).await {
                Err(_) => return IDLE,
                Ok(Err(_)) => return BROKE,
                Ok(Ok(0)) => return CLOSED,
                Ok(Ok(read)) => read,
            };
            framer.push(&buffer[..read]);
            loop {
                match framer.next() {
                    Ok(Some(Frame::Message(bytes))) => {
                        if !self.give(bytes).await {
                            return NOT_WANTED;
                        }
                    }
                    Ok(Some(Frame::Ping)) => self.answer_ping(),
                    Ok(None) => break,
                    Err(_) => return "its bytes are no SIP",
                }
            }
            wait = if framer.is_between_messages() { IDLE_TIME_MAX } else { MESSAGE_TIME_MAX };
        }
    }

    async fn read_messages<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut reader: SplitStream<WebSocketStream<S>>,
    ) -> Reason {
        let mut wait = MESSAGE_TIME_MAX;
        loop {
            let bytes: Bytes = match timeout(wait, reader.next()).await {
                Err(_) => return IDLE,
                Ok(None) => return CLOSED,
                Ok(Some(Err(_))) => return BROKE,
                Ok(Some(Ok(Message::Text(text)))) => text.into(),
                Ok(Some(Ok(Message::Binary(bytes)))) => bytes,
                Ok(Some(Ok(Message::Close(_)))) => return CLOSED,
                // The library answers pings itself.
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => continue,
            };
            wait = IDLE_TIME_MAX;
            if bytes.iter().all(u8::is_ascii_whitespace) {
                if bytes.starts_with(b"\r\n\r\n") {
                    self.answer_ping();
                }
            } else if !self.give(bytes).await {
                return NOT_WANTED;
            }
        }
    }
}

fn small_messages_leave_at_once(stream: &TcpStream) {
    // Without it a small message waits for the acknowledgement of the one before.
    let _slower = stream.set_nodelay(true);
}

async fn open_stream(remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let stream = socket.connect(remote).await?;
    small_messages_leave_at_once(&stream);
    Ok(stream)
}

async fn write_bytes(
    mut writer: impl AsyncWrite + Unpin,
    queue: &mut mpsc::Receiver<Bytes>,
    waiting: &AtomicUsize,
) -> Reason {
    while let Some(bytes) = queue.recv().await {
        let written = timeout(WRITE_TIME_MAX, async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => was_written(waiting, bytes.len()),
            Ok(Err(_)) => return BROKE,
            Err(_) => return DEAF,
        }
    }
    BROKE
}

async fn write_messages<S: AsyncRead + AsyncWrite + Unpin>(
    mut writer: SplitSink<WebSocketStream<S>, Message>,
    queue: &mut mpsc::Receiver<Bytes>,
    waiting: &AtomicUsize,
) -> Reason {
    while let Some(bytes) = queue.recv().await {
        match timeout(WRITE_TIME_MAX, writer.send(websocket::message(&bytes))).await {
            Ok(Ok(())) => was_written(waiting, bytes.len()),
            Ok(Err(_)) => return BROKE,
            Err(_) => return DEAF,
        }
    }
    BROKE
}

fn was_written(waiting: &AtomicUsize, length: usize) {
    // The answer to a ping was never counted in.
    let _before = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(sum.saturating_sub(length)));
}

#[cfg(test)]
#[path = "tests/streams.rs"]
mod tests;
