use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Poll, Token};

use super::Listen;
use crate::media_worker::bind_voice;

/// One of our addresses: all browsers' packets of it.
pub struct Listening {
    pub socket: UdpSocket,
    /// As it stands in our candidates, and as the packets' destination is told to ICE.
    pub told: SocketAddr,
}

impl Listening {
    pub fn bind(poll: &Poll, token: Token, listen: Listen) -> io::Result<Self> {
        let mut socket = bind_voice(listen.bind)?;
        let local = socket.local_addr()?;
        poll.registry().register(&mut socket, token, Interest::READABLE)?;
        let told = SocketAddr::new(listen.told.unwrap_or(local.ip()), local.port());
        Ok(Self { socket, told })
    }
}
