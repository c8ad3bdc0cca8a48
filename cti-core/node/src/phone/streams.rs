//! The TCP connections of all lines.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use cti_sip::wire::{Frame, Framer, PONG};
use cti_sip::{ConnectionId, Flow, Packet, Transport};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::{LINES_MAX, Line};

/// Connections of one phone.
const CONNECTIONS_MAX: usize = 2_048;
/// Bytes that wait for a peer that does not read; beyond it the connection is closed.
const OUT_BYTES_MAX: usize = 256 * 1024;
/// Bytes read from one connection before the others have their turn.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Connections' tokens come after the waker's and the lines'.
const TOKEN_BASE: usize = LINES_MAX + 1;

#[derive(Default)]
pub(crate) struct Streams {
    open: BTreeMap<u64, Stream>,
    last: u64,
}

struct Stream {
    line: Line,
    tcp: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    framer: Framer,
    out: Vec<u8>,
    connected: bool,
}

/// What a connection's readiness came to.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) packets: Vec<Packet>,
    /// The connection is closed: it failed where nothing was ever sent on it, else the peer went.
    pub(crate) closed: Option<Closed>,
    /// There may be more to read though no event will say so.
    pub(crate) again: bool,
}

pub(crate) struct Closed {
    pub(crate) flow: Flow,
    pub(crate) connection: ConnectionId,
    pub(crate) unsent: bool,
}

impl Streams {
    pub(crate) fn accept(
        &mut self,
        registry: &Registry,
        line: Line,
        local: SocketAddr,
        tcp: TcpStream,
        remote: SocketAddr,
    ) {
        if self.open.len() < CONNECTIONS_MAX {
            // A connection that can not be watched is dropped, which closes it.
            let _ = self.add(registry, line, local, tcp, remote, true);
        }
    }

    /// Sends on the flow's connection, on another to the same peer, or on a new one.
    pub(crate) fn send(&mut self, registry: &Registry, line: Line, flow: Flow, bytes: &Bytes) -> io::Result<()> {
        let named = flow.connection.map(|connection| connection.0).filter(|id| self.open.contains_key(id));
        let same_peer = || self.open.iter().find(|(_, s)| s.line == line && s.remote == flow.remote).map(|(id, _)| *id);
        let id = match named.or_else(same_peer) {
            Some(id) => id,
            None if self.open.len() >= CONNECTIONS_MAX => return Err(io::Error::other("too many connections")),
            None => {
                let tcp = TcpStream::connect(flow.remote)?;
                self.add(registry, line, flow.local, tcp, flow.remote, false)?
            }
        };
        let Some(stream) = self.open.get_mut(&id) else { return Err(io::ErrorKind::NotConnected.into()) };
        if stream.out.len() + bytes.len() > OUT_BYTES_MAX {
            self.open.remove(&id);
            return Err(io::Error::other("the peer does not read"));
        }
        stream.out.extend_from_slice(bytes);
        if stream.connected { stream.flush() } else { Ok(()) }
    }

    /// Which line a token's connection belongs to.
    pub(crate) fn line_of(&self, token: Token) -> Option<Line> {
        self.open.get(&id_of(token)?).map(|stream| stream.line)
    }

    /// Carries on with a connection that is ready.
    pub(crate) fn ready(&mut self, token: Token) -> Progress {
        let mut progress = Progress::default();
        let Some(id) = id_of(token) else { return progress };
        let Some(stream) = self.open.get_mut(&id) else { return progress };
        if let Err(error) = stream.carry_on(id, &mut progress) {
            tracing::debug!(remote = %stream.remote, %error, "a connection of the phone closed");
            let unsent = !stream.out.is_empty();
            progress.closed = Some(Closed { flow: stream.flow(id), connection: ConnectionId(id), unsent });
            self.open.remove(&id);
        }
        progress
    }

    fn add(
        &mut self,
        registry: &Registry,
        line: Line,
        local: SocketAddr,
        mut tcp: TcpStream,
        remote: SocketAddr,
        connected: bool,
    ) -> io::Result<u64> {
        self.last += 1;
        let id = self.last;
        registry.register(&mut tcp, Token(TOKEN_BASE + id as usize), Interest::READABLE | Interest::WRITABLE)?;
        let stream = Stream { line, tcp, local, remote, framer: Framer::new(), out: Vec::new(), connected };
        self.open.insert(id, stream);
        Ok(id)
    }
}

fn id_of(token: Token) -> Option<u64> {
    token.0.checked_sub(TOKEN_BASE).map(|id| id as u64)
}

impl Stream {
    fn flow(&self, id: u64) -> Flow {
        Flow { transport: Transport::Tcp, local: self.local, remote: self.remote, connection: Some(ConnectionId(id)) }
    }

    fn carry_on(&mut self, id: u64, progress: &mut Progress) -> io::Result<()> {
        if !self.connected {
            if let Some(error) = self.tcp.take_error()? {
                return Err(error);
            }
            match self.tcp.peer_addr() {
                Ok(_) => self.connected = true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
            self.tcp.set_nodelay(true)?;
        }
        self.flush()?;
        let mut buffer = [0u8; 8_192];
        let mut total = 0;
        loop {
            if total > READ_BYTES_MAX {
                progress.again = true;
                return Ok(());
            }
            match self.tcp.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    total += read;
                    self.framer.push(&buffer[..read]);
                    self.cut(id, progress)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn cut(&mut self, id: u64, progress: &mut Progress) -> io::Result<()> {
        while let Some(frame) = self.framer.next().map_err(io::Error::other)? {
            match frame {
                Frame::Message(bytes) => progress.packets.push(Packet { flow: self.flow(id), bytes }),
                Frame::Ping => {
                    self.out.extend_from_slice(PONG);
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.tcp.write(&self.out) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
