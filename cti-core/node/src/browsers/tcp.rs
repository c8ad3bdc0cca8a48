//! ICE over TCP (RFC 6544), for browsers whose network lets no datagrams through: they connect, and each packet has its length
//! before it (RFC 4571). What does not fit a stream is lost, as a datagram would be.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Poll, Registry, Token};

/// Streams at once, and of one address.
const STREAMS_MAX: usize = 1_024;
const STREAMS_OF_ONE_MAX: usize = 64;
/// Bytes that wait for a browser to take them: half a second of sound.
const OUT_MAX: usize = 16 * 1024;
/// Bytes of one stream in a row, before others have their turn.
const READ_MAX: usize = 64 * 1024;
/// Browsers ask for consent every 5 s (RFC 7675); a stream that says nothing for longer, or never anything of use, is cut.
const QUIET_MAX: Duration = Duration::from_secs(30);
const LEN_BYTES: usize = 2;

/// Our addresses for streams, and the streams that are open.
pub struct Streams {
    /// With their tokens, and our addresses as their candidates have them.
    listeners: Vec<(TcpListener, usize, SocketAddr)>,
    /// By token, which is never used again.
    open: BTreeMap<usize, Stream>,
    by_peer: BTreeMap<SocketAddr, usize>,
    next: usize,
}

struct Stream {
    socket: TcpStream,
    peer: SocketAddr,
    /// Ours, as its candidate has it.
    told: SocketAddr,
    into: Vec<u8>,
    out: Vec<u8>,
    /// When it was opened, or something of use came.
    heard_at: Instant,
}

/// What came by one stream.
pub struct Came {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub packets: Vec<Vec<u8>>,
    /// There may be more.
    pub unread: bool,
}

impl Streams {
    /// Tokens from `first` up are its own.
    pub fn new(first: usize) -> Self {
        Self { listeners: Vec::new(), open: BTreeMap::new(), by_peer: BTreeMap::new(), next: first }
    }

    /// Listens beside a socket for datagrams on `bind`, which browsers are told as `told`.
    pub fn listen(&mut self, poll: &Poll, bind: SocketAddr, told: SocketAddr) -> io::Result<()> {
        let mut listener = TcpListener::bind(bind)?;
        let token = self.next;
        poll.registry().register(&mut listener, Token(token), Interest::READABLE)?;
        self.next += 1;
        self.listeners.push((listener, token, told));
        Ok(())
    }

    pub fn is_listening(&self) -> bool {
        !self.listeners.is_empty()
    }

    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes in who has connected.
    fn accept(&mut self, registry: &Registry, index: usize) {
        loop {
            let (listener, _, told) = &self.listeners[index];
            let (socket, peer, told) = match listener.accept() {
                Ok((socket, peer)) => (socket, peer, *told),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "a browser's stream can not be accepted");
                    return;
                }
            };
            let of_one = self.open.values().filter(|stream| stream.peer.ip() == peer.ip()).count();
            if self.open.len() >= STREAMS_MAX || of_one >= STREAMS_OF_ONE_MAX {
                continue;
            }
            if let Err(error) = self.add(registry, socket, peer, told) {
                tracing::debug!(%error, "a browser's stream can not be read");
            }
        }
    }

    fn add(
        &mut self,
        registry: &Registry,
        mut socket: TcpStream,
        peer: SocketAddr,
        told: SocketAddr,
    ) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let token = self.next;
        registry.register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        self.next += 1;
        let (into, out, heard_at) = (Vec::new(), Vec::new(), Instant::now());
        self.open.insert(token, Stream { socket, peer, told, into, out, heard_at });
        self.by_peer.insert(peer, token);
        Ok(())
    }

    /// Something can be taken in, read or written at this token.
    pub fn turn(&mut self, registry: &Registry, token: usize) -> Option<Came> {
        if let Some(index) = self.listeners.iter().position(|(_, known, _)| *known == token) {
            self.accept(registry, index);
            return None;
        }
        let stream = self.open.get_mut(&token)?;
        let mut packets = Vec::new();
        let ended = stream.flush().and_then(|()| stream.read(&mut packets));
        let (from, to) = (stream.peer, stream.told);
        let unread = match ended {
            Ok(unread) => unread,
            Err(error) => {
                tracing::debug!(%error, peer = %from, "a browser's stream ends");
                self.close(registry, token);
                false
            }
        };
        Some(Came { from, to, packets, unread })
    }

    /// One packet to whoever connected from there.
    pub fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        let Some(stream) = self.by_peer.get(&to).and_then(|token| self.open.get_mut(token)) else { return };
        let Ok(len) = u16::try_from(packet.len()) else { return };
        if stream.out.len() + LEN_BYTES + packet.len() > OUT_MAX {
            return;
        }
        stream.out.extend(len.to_be_bytes());
        stream.out.extend(packet);
        if let Err(error) = stream.flush() {
            // Reading it ends it.
            tracing::trace!(%error, %to, "a packet to a browser can not be sent");
        }
    }

    /// What came from there was of use.
    pub fn heard(&mut self, from: SocketAddr) {
        if let Some(stream) = self.by_peer.get(&from).and_then(|token| self.open.get_mut(token)) {
            stream.heard_at = Instant::now();
        }
    }

    /// Whoever is there is nobody's browser.
    pub fn cut(&mut self, registry: &Registry, from: SocketAddr) {
        if let Some(token) = self.by_peer.get(&from).copied() {
            self.close(registry, token);
        }
    }

    /// Cuts the streams that say nothing.
    pub fn look_after(&mut self, registry: &Registry, now: Instant) {
        let is_quiet = |stream: &Stream| now.duration_since(stream.heard_at) > QUIET_MAX;
        let quiet: Vec<usize> =
            self.open.iter().filter(|(_, stream)| is_quiet(stream)).map(|(token, _)| *token).collect();
        for token in quiet {
            self.close(registry, token);
        }
    }

    fn close(&mut self, registry: &Registry, token: usize) {
        let Some(mut stream) = self.open.remove(&token) else { return };
        if self.by_peer.get(&stream.peer) == Some(&token) {
            self.by_peer.remove(&stream.peer);
        }
        if let Err(error) = registry.deregister(&mut stream.socket) {
            tracing::debug!(%error, "a browser's stream can not be deregistered");
        }
    }
}

impl Stream {
    /// Whether there may be more. The end of the stream is an error.
    fn read(&mut self, packets: &mut Vec<Vec<u8>>) -> io::Result<bool> {
        let mut space = [0; 4_096];
        let mut total = 0;
        while total < READ_MAX {
            match self.socket.read(&mut space) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    total += len;
                    self.into.extend(&space[..len]);
                    cut_packets(&mut self.into, packets);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.socket.write(&self.out) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => drop(self.out.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Takes the whole packets from the front; what is left has no more than one packet's length.
fn cut_packets(bytes: &mut Vec<u8>, packets: &mut Vec<Vec<u8>>) {
    let mut at = 0;
    while let Some(&[high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LEN_BYTES>()) {
        let (start, len) = (at + LEN_BYTES, usize::from(u16::from_be_bytes([high, low])));
        let Some(packet) = bytes.get(start..start + len) else { break };
        packets.push(packet.to_vec());
        at = start + len;
    }
    bytes.drain(..at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_from_a_stream_wherever_it_was_broken() {
        let whole = [&[0, 3, 1, 2, 3][..], &[0, 0], &[0, 1, 9]].concat();
        for cut in 0..=whole.len() {
            let (mut bytes, mut packets) = (Vec::new(), Vec::new());
            for part in [&whole[..cut], &whole[cut..]] {
                bytes.extend(part);
                cut_packets(&mut bytes, &mut packets);
            }
            assert_eq!((packets, bytes.len()), (vec![vec![1, 2, 3], vec![], vec![9]], 0), "broken at {cut}");
        }
    }
}
