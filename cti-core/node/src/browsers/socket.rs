use std::io;
use std::net::SocketAddr;

use mio::net::UdpSocket;
use mio::{Interest, Poll, Token};
use str0m::net::{Protocol, Transmit};

use super::Listen;
use super::tcp::Streams;
use crate::media_worker::bind_voice;

/// Our addresses, for datagrams and for streams.
pub struct Net {
    pub datagrams: Vec<Listening>,
    pub streams: Streams,
}

/// One of our addresses: all browsers' packets of it.
pub struct Listening {
    pub socket: UdpSocket,
    /// As it stands in our candidates, and as the packets' destination is told to ICE.
    pub told: SocketAddr,
}

impl Net {
    /// Tokens from `first` up are its own.
    pub fn bind(poll: &Poll, first: usize, listen: &[Listen]) -> io::Result<Self> {
        let mut datagrams: Vec<Listening> = Vec::new();
        let mut streams = Streams::new(first + listen.len());
        for (index, listen) in listen.iter().enumerate() {
            let mut listen = *listen;
            // All addresses have one port, which is any free one where the first has any.
            if let Some(first) = datagrams.first().filter(|_| listen.bind.port() == 0) {
                listen.bind.set_port(first.told.port());
            }
            let bound = Listening::bind(poll, Token(first + index), listen)?;
            listen.bind.set_port(bound.told.port());
            if let Err(error) = streams.listen(poll, listen.bind, bound.told) {
                tracing::warn!(%error, address = %listen.bind, "browsers can not fall back to TCP here");
            }
            datagrams.push(bound);
        }
        Ok(Self { datagrams, streams })
    }

    /// What browsers are told, by datagrams.
    pub fn told(&self) -> Vec<SocketAddr> {
        self.datagrams.iter().map(|listening| listening.told).collect()
    }

    pub fn send(&mut self, transmit: &Transmit) {
        if transmit.proto == Protocol::Tcp {
            return self.streams.send(transmit.destination, &transmit.contents);
        }
        let socket = self.datagrams.iter().find(|socket| socket.told == transmit.source);
        let sent = socket.map(|socket| socket.socket.send_to(&transmit.contents, transmit.destination));
        if let Some(Err(error)) = sent {
            tracing::trace!(%error, to = %transmit.destination, "a packet to a browser can not be sent");
        }
    }
}

impl Listening {
    fn bind(poll: &Poll, token: Token, listen: Listen) -> io::Result<Self> {
        let mut socket = bind_voice(listen.bind)?;
        let local = socket.local_addr()?;
        poll.registry().register(&mut socket, token, Interest::READABLE)?;
        let told = SocketAddr::new(listen.told.unwrap_or(local.ip()), local.port());
        Ok(Self { socket, told })
    }
}
