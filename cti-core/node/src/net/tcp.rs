//! SIP over TCP: connections in and out, each with its own bounded write queue.
//!
//! **A peer that does not read stops nobody**: what is written to it waits in its own queue, and when that is full the
//! connection is cut. Connections that idle, trickle or come in too great a number are closed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cti_sip::wire::{Frame, Framer, PONG};
use cti_sip::{ConnectionId, Flow, Transport};
use cti_switch::Input;
use dashmap::DashMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;

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
/// An outbound connection has to be up by then (RFC 3261 timer B is 32 s; the phone's owner waits).
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 16_384;
const LISTEN_BACKLOG: u32 = 1_024;

/// All stream connections. Cheap to clone.
#[derive(Clone)]
pub struct Tcp(Arc<Inner>);

struct Inner {
    next: AtomicU64,
    open: DashMap<ConnectionId, Open>,
    /// The connection that a message without one goes to, by its remote address.
    outbound: DashMap<SocketAddr, ConnectionId>,
    sources: DashMap<IpAddr, usize>,
    inbox: Inbox,
    runtime: Handle,
    stop: CancellationToken,
}

struct Open {
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    cut: CancellationToken,
}

/// Binds a listener.
pub fn bind(listen: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(listen),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&listen.into())?;
    socket.listen(LISTEN_BACKLOG as i32)?;
    Ok(socket.into())
}

impl Tcp {
    /// Connections live on the runtime that this is called in.
    pub fn new(inbox: Inbox, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            next: AtomicU64::new(1),
            open: DashMap::new(),
            outbound: DashMap::new(),
            sources: DashMap::new(),
            inbox,
            runtime: Handle::current(),
            stop,
        }))
    }

    /// Takes connections until `stop`.
    pub async fn listen(self, listener: std::net::TcpListener) -> io::Result<()> {
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
                Ok((stream, remote)) => self.accepted(stream, local, remote),
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
            None => self.0.outbound.get(&flow.remote).map(|id| *id),
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

    fn accepted(&self, stream: TcpStream, local: SocketAddr, remote: SocketAddr) {
        if !self.enter(remote.ip()) {
            tracing::debug!("a connection beyond the limits is closed");
            return;
        }
        let id = self.number();
        let flow = Flow { transport: Transport::Tcp, local, remote, connection: Some(id) };
        let (open, queue) = Open::new();
        let connection =
            Connection { tcp: self.clone(), id, flow, queue, waiting: open.waiting.clone(), cut: open.cut.clone() };
        self.0.open.insert(id, open);
        self.0.runtime.spawn(connection.run(stream));
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
        let flow_open = Flow { connection: Some(id), ..flow };
        let connection = Connection {
            tcp: self.clone(),
            id,
            flow: flow_open,
            queue,
            waiting: open.waiting.clone(),
            cut: open.cut.clone(),
        };
        self.0.open.insert(id, open);
        self.0.outbound.insert(flow.remote, id);
        let tcp = self.clone();
        self.0.runtime.spawn(async move {
            match timeout(CONNECT_TIME_MAX, open_stream(flow.remote)).await {
                Ok(Ok(stream)) => connection.run(stream).await,
                Ok(Err(_)) | Err(_) => {
                    tcp.leave(id, flow.remote);
                    tcp.0.inbox.send(Input::SipTransportFailed(flow)).await;
                }
            }
        });
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

    fn leave(&self, id: ConnectionId, remote: SocketAddr) {
        self.0.open.remove(&id);
        self.0.outbound.remove_if(&remote, |_, outbound| *outbound == id);
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

async fn open_stream(remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.connect(remote).await
}

struct Connection {
    tcp: Tcp,
    id: ConnectionId,
    flow: Flow,
    queue: mpsc::Receiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    cut: CancellationToken,
}

impl Connection {
    async fn run(mut self, stream: TcpStream) {
        // Without it a small message waits for the acknowledgement of the one before.
        let _small_messages_leave_at_once = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let inbox = self.tcp.0.inbox.clone();
        let pong = self.tcp.0.open.get(&self.id).map(|open| open.queue.clone());
        let reason = tokio::select! {
            reason = read(reader, self.flow, &inbox, pong) => reason,
            reason = write(writer, &mut self.queue, &self.waiting) => reason,
            () = self.cut.cancelled() => "it did not read what was written to it",
            () = self.tcp.0.stop.cancelled() => "the program ends",
        };
        tracing::debug!(sip.connection = self.id.0, reason, "a SIP connection closed");
        self.tcp.leave(self.id, self.flow.remote);
        inbox.send(Input::SipConnectionClosed(self.id)).await;
    }
}

async fn read(mut reader: OwnedReadHalf, flow: Flow, inbox: &Inbox, pong: Option<mpsc::Sender<Bytes>>) -> &'static str {
    let mut framer = Framer::new();
    let mut buffer = vec![0u8; READ_BYTES];
    let mut wait = MESSAGE_TIME_MAX;
    loop {
        let read = match timeout(wait, reader.read(&mut buffer)).await {
            Err(_) => return "it was idle, or a message did not end",
            Ok(Err(_)) => return "it broke",
            Ok(Ok(0)) => return "the peer closed it",
            Ok(Ok(read)) => read,
        };
        framer.push(&buffer[..read]);
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(bytes))) => {
                    if !inbox.message(flow, bytes).await {
                        return "the program ends";
                    }
                }
                // A ping whose answer finds the queue full is answered with the next one.
                Ok(Some(Frame::Ping)) => drop(pong.as_ref().map(|queue| queue.try_send(Bytes::from_static(PONG)))),
                Ok(None) => break,
                Err(_) => return "its bytes are no SIP",
            }
        }
        wait = if framer.is_between_messages() { IDLE_TIME_MAX } else { MESSAGE_TIME_MAX };
    }
}

async fn write(mut writer: OwnedWriteHalf, queue: &mut mpsc::Receiver<Bytes>, waiting: &AtomicUsize) -> &'static str {
    while let Some(bytes) = queue.recv().await {
        match timeout(WRITE_TIME_MAX, writer.write_all(&bytes)).await {
            Ok(Ok(())) => {
                let length = bytes.len();
                // The answer to a ping was never counted in.
                let _before =
                    waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(sum.saturating_sub(length)));
            }
            Ok(Err(_)) => return "it broke",
            Err(_) => return "it did not read what was written to it",
        }
    }
    "nothing can be written any more"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::net::inbox::{Outlet, inbox};

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

    struct Bench {
        tcp: Tcp,
        outlet: Outlet,
        address: SocketAddr,
        _stops: tokio_util::sync::DropGuard,
    }

    fn bench() -> Bench {
        let (inbox, outlet) = inbox(Metrics::new().expect("names are valid"));
        let stop = CancellationToken::new();
        let tcp = Tcp::new(inbox, stop.clone());
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(tcp.clone().listen(listener));
        Bench { tcp, outlet, address, _stops: stop.drop_guard() }
    }

    impl Bench {
        async fn next_sip(&mut self) -> cti_sip::Packet {
            match timeout(Duration::from_secs(5), self.outlet.sip.recv()).await.expect("in time") {
                Some(Input::Sip(packet)) => packet,
                other => panic!("{other:?}"),
            }
        }

        async fn next_other(&mut self) -> Input {
            timeout(Duration::from_secs(5), self.outlet.other.recv()).await.expect("in time").expect("open")
        }
    }

    #[tokio::test]
    async fn messages_come_in_whole_and_answers_go_back_on_the_same_connection() {
        let mut bench = bench();
        let mut peer = TcpStream::connect(bench.address).await.expect("connected");
        peer.write_all(&[OPTIONS, b"\r\n\r\n", &OPTIONS[..10]].concat()).await.expect("written");
        let packet = bench.next_sip().await;
        assert_eq!(packet.bytes, OPTIONS);
        peer.write_all(&OPTIONS[10..]).await.expect("written");
        assert_eq!(bench.next_sip().await.bytes, OPTIONS);
        bench.tcp.send(packet.flow, Bytes::from_static(b"answer"));
        let mut got = [0u8; 8];
        peer.read_exact(&mut got).await.expect("an answer");
        assert_eq!(&got, b"\r\nanswer");
        drop(peer);
        assert!(
            matches!(bench.next_other().await, Input::SipConnectionClosed(id) if Some(id) == packet.flow.connection)
        );
        assert_eq!(bench.tcp.connections(), 0);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_cut_and_another_goes_on() {
        let mut bench = bench();
        let mut deaf = TcpStream::connect(bench.address).await.expect("connected");
        deaf.write_all(OPTIONS).await.expect("written");
        let to_deaf = bench.next_sip().await.flow;
        let mut other = TcpStream::connect(bench.address).await.expect("connected");
        other.write_all(OPTIONS).await.expect("written");
        let to_other = bench.next_sip().await.flow;
        let large = Bytes::from(vec![b'x'; 60_000]);
        for _ in 0..1_000 {
            bench.tcp.send(to_deaf, large.clone());
            tokio::task::yield_now().await;
            if bench.tcp.connections() == 1 {
                break;
            }
        }
        assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(id) if Some(id) == to_deaf.connection));
        bench.tcp.send(to_other, Bytes::from_static(b"ok"));
        let mut got = [0u8; 2];
        other.read_exact(&mut got).await.expect("an answer");
        assert_eq!(&got, b"ok");
    }

    #[tokio::test]
    async fn an_outbound_connection_is_opened_once_and_a_refused_one_is_told() {
        let mut bench = bench();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let remote = listener.local_addr().expect("an address");
        let flow = Flow { transport: Transport::Tcp, local: bench.address, remote, connection: None };
        bench.tcp.send(flow, Bytes::from_static(b"one"));
        bench.tcp.send(flow, Bytes::from_static(b"two"));
        let (mut peer, _) = listener.accept().await.expect("accepted");
        let mut got = [0u8; 6];
        peer.read_exact(&mut got).await.expect("both");
        assert_eq!(&got, b"onetwo");
        drop((peer, listener));
        assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(_)));
        bench.tcp.send(flow, Bytes::from_static(b"three"));
        assert!(matches!(bench.next_other().await, Input::SipTransportFailed(failed) if failed == flow));
    }

    #[tokio::test]
    async fn bytes_that_are_no_sip_close_the_connection() {
        let mut bench = bench();
        let mut peer = TcpStream::connect(bench.address).await.expect("connected");
        peer.write_all(b"INVITE sip:a@b SIP/2.0\r\nContent-Length: much\r\n\r\n").await.expect("written");
        assert!(matches!(bench.next_other().await, Input::SipConnectionClosed(_)));
    }
}
