use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

/// Expedited forwarding (RFC 3246) in the upper six bits of the traffic class: what networks expect of voice.
const TRAFFIC_CLASS_VOICE: u32 = 46 << 2;

/// A leg's RTP and RTCP.
pub(super) struct Sockets {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
}

impl Sockets {
    /// On a port and the next.
    pub fn bind(ip: IpAddr, rtp_port: u16) -> io::Result<Self> {
        let rtcp_port = rtp_port.checked_add(1).ok_or_else(|| io::Error::other("no port follows 65535 for RTCP"))?;
        Ok(Self { rtp: bind(SocketAddr::new(ip, rtp_port))?, rtcp: bind(SocketAddr::new(ip, rtcp_port))? })
    }
}

/// A UDP socket marked as voice's.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Without the mark voice still flows.
    let marked = match address {
        SocketAddr::V4(_) => socket.set_tos_v4(TRAFFIC_CLASS_VOICE),
        SocketAddr::V6(_) => socket.set_tclass_v6(TRAFFIC_CLASS_VOICE),
    };
    if let Err(error) = marked {
        tracing::debug!(%address, %error, "the traffic class of voice is not to be had");
    }
    let bound = socket.bind(&address.into());
    bound.map_err(|error| io::Error::new(error.kind(), format!("{address} can not be bound: {error}")))?;
    Ok(UdpSocket::from_std(socket.into()))
}
