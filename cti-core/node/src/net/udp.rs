//! SIP over UDP: one socket a listener, read in the switch's own thread so that a datagram waits for nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use cti_sip::{Flow, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::inbox::{Inbox, Taken};
use crate::metrics::Metrics;

/// Asked of the kernel for each socket, bytes; it may grant less.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// The largest datagram of UDP over IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams taken before the switch gets its turn.
const BURST_MAX: usize = 64;
/// Datagrams read for it, those included that are turned away at no cost.
const READS_MAX: usize = 1_024;

/// A bound socket, to be made tokio's on the thread that reads it.
pub struct Bound {
    socket: std::net::UdpSocket,
    pub local: SocketAddr,
}

/// Binds a listener with large buffers.
pub fn bind(listen: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel caps what it grants; a smaller buffer is no error.
    let _granted = (socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    if listen.is_ipv6() {
        // IPv4 is a listener of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&listen.into())?;
    let socket: std::net::UdpSocket = socket.into();
    let local = socket.local_addr()?;
    Ok(Bound { socket, local })
}

/// One socket, for reading and for sending.
#[derive(Clone)]
pub struct Udp {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
}

impl Udp {
    /// Must be called within the runtime that reads it.
    pub fn new(bound: Bound) -> io::Result<Self> {
        Ok(Self { socket: Arc::new(UdpSocket::from_std(bound.socket)?), local: bound.local })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends at once or not at all: a full socket drops it, as the network may, and its sender repeats.
    pub fn send(&self, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        match self.socket.try_send_to(bytes, remote) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.send_past_tokio(remote, bytes),
            Err(error) => Err(error),
        }
    }

    /// tokio takes a socket for unready until its next poll; the kernel knows better.
    fn send_past_tokio(&self, remote: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let sent = socket2::SockRef::from(&*self.socket).send_to(bytes, &remote.into());
        match sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Reads for ever; a burst at a time, then yields to the switch.
    pub async fn read(self, inbox: Inbox, metrics: Metrics) {
        let mut buffer = vec![0u8; DATAGRAM_BYTES_MAX];
        loop {
            if let Err(error) = self.socket.readable().await {
                tracing::error!(%error, sip.local = %self.local, "a SIP socket can not be read any more");
                return;
            }
            let mut taken = 0;
            for _ in 0..READS_MAX {
                if taken == BURST_MAX {
                    break;
                }
                match self.socket.try_recv_from(&mut buffer) {
                    Ok((length, remote)) => {
                        let flow = Flow { transport: Transport::Udp, local: self.local, remote, connection: None };
                        match inbox.datagram(flow, &buffer[..length]) {
                            Taken::Yes => taken += 1,
                            Taken::Dropped | Taken::Close => {}
                            // One that is lost is asked for again.
                            Taken::Answered(answer) => drop(self.send(remote, &answer)),
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP error of an earlier send is reported here; the socket lives.
                    Err(error) => {
                        metrics.inputs_dropped_total.with_label_values(&["socket_error"]).inc();
                        tracing::debug!(%error, sip.local = %self.local, "a SIP socket reported an error");
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }
}
