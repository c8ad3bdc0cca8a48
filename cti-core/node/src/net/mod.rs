//! SIP's sockets: datagrams and streams in and out.

pub mod guard;
pub mod inbox;
pub mod streams;
pub mod tls;
pub mod udp;
mod websocket;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address of this machine that a peer elsewhere would see: what the route to the world leaves from. No packet is
/// sent. Loopback where there is no route.
pub fn outward_ip() -> IpAddr {
    /// Any address that is not ours; a documentation address of RFC 5737 that no route treats apart.
    const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    let found = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    });
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// The same of IPv6: `None` where there is no route.
pub fn outward_ip6() -> Option<Ipv6Addr> {
    /// A documentation address of RFC 3849.
    const ELSEWHERE: (Ipv6Addr, u16) = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9);
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

/// The address that stands in messages: the first listener's own, or where that is a wildcard this machine's.
pub fn local_ip(listeners: &[SocketAddr]) -> IpAddr {
    match listeners.first() {
        Some(listener) if !listener.ip().is_unspecified() => listener.ip(),
        Some(_) | None => outward_ip(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_address_stands_for_itself_and_a_wildcard_for_the_machines() {
        let bound = [SocketAddr::from(([127, 0, 0, 1], 5060))];
        assert_eq!(local_ip(&bound), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let wildcard = [SocketAddr::from(([0, 0, 0, 0], 5060))];
        assert!(!local_ip(&wildcard).is_unspecified());
    }
}
