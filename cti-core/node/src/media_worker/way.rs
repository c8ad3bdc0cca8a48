use std::io::ErrorKind;
use std::net::SocketAddr;

use cti_base::LegId;
use mio::Registry;

use super::socket::Sockets;
use crate::browsers::Browsers;

/// How a leg's packets leave.
pub(super) enum Way {
    /// The ports are still another process's.
    None,
    Sockets(Sockets),
    /// By the browser that the leg is tied to; its RTCP is the browser's connection's own.
    Browser(Browsers),
}

pub(super) enum Sent {
    Out,
    Lost,
}

impl Way {
    pub fn send(&self, leg: LegId, packet: &[u8], to: SocketAddr) -> Sent {
        match self {
            Self::None => Sent::Lost,
            Self::Sockets(Sockets { rtp, .. }) => match rtp.send_to(packet, to) {
                Ok(_) => Sent::Out,
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        tracing::trace!(%to, %error, "a packet can not be sent");
                    }
                    Sent::Lost
                }
            },
            Self::Browser(browsers) => {
                if browsers.packet(leg, packet) {
                    Sent::Out
                } else {
                    Sent::Lost
                }
            }
        }
    }

    /// An RTCP packet; one that does not leave is made up for by the next.
    pub fn report(&self, report: &[u8], to: SocketAddr) {
        if let Self::Sockets(sockets) = self {
            let _ = sockets.rtcp.send_to(report, to);
        }
    }

    pub fn close(&mut self, leg: LegId, registry: &Registry) {
        match self {
            Self::None => {}
            Self::Sockets(sockets) => {
                for socket in [&mut sockets.rtp, &mut sockets.rtcp] {
                    if let Err(error) = registry.deregister(socket) {
                        tracing::warn!(%error, "a media socket can not be deregistered");
                    }
                }
            }
            Self::Browser(browsers) => browsers.detach(leg),
        }
    }
}
