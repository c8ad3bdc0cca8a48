//! Browsers' audio: WebRTC (str0m) on one UDP port for all browsers, between pages and the media workers.
//!
//! A page makes its `RTCPeerConnection` when its agent signs in, long before any call, and it lives on from call to call. So
//! it belongs to no call's worker: one thread owns every browser, and a call's leg is tied to one by `Attach`. What a browser
//! says comes to the leg as plain RTP, what the leg sends leaves by the browser; the worker treats both as any other leg's.
//! We are ICE-lite (RFC 8445 2.5) with the addresses that are configured; media is DTLS-SRTP (RFC 5764) with new keys for each
//! connection, so that no packet index is ever used again, whatever crashed in between.
//!
//! A phone in a page, which signals by SIP, has a connection for each call: the switch settled it by offer and answer, with the
//! addresses and the certificate of [`BrowsersThread::edge`], and [`Browsers::join`] opens this side of it.
//!
//! **[`Browsers::offer`] for each offer of a desk; the answer comes by `reply`. Whether an agent's browser is there comes by the
//! `events` callback.**

mod device;
mod run;
mod socket;
mod stun;
mod tcp;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use cti_base::{AgentName, LegId, TenantId};
use cti_media::LegMedia;
use cti_media::webrtc::Edge;
use mio::{Poll, Waker};

use run::{Run, WAKER};

/// Packets and orders that wait for the thread.
pub const COMMANDS_MAX: usize = 8_192;
/// Browsers that are connected or being connected.
pub const BROWSERS_MAX: usize = 4_096;
/// A page's offer for one audio stream has some 2 to 4 kB.
pub const OFFER_BYTES_MAX: usize = 16 * 1024;

/// Whose browser.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    pub tenant: TenantId,
    pub agent: AgentName,
}

/// An address that browsers' packets come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is bound; port 0 is any free one.
    pub bind: SocketAddr,
    /// What the browser is told, where that is another address (a NAT in front of us).
    pub told: Option<std::net::IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrowserEvent {
    /// The browser's audio is connected.
    Up(Who),
    /// It is not any more.
    Down(Who),
    /// The page at the end of this leg is gone for good.
    Gone(LegId),
}

/// Why an offer got no answer; for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    #[error("the offer can not be taken: {0}")]
    Refused(String),
    #[error("the server has {BROWSERS_MAX} browsers and takes no more")]
    TooMany,
    #[error("the thread of the browsers' audio has stopped or is too busy")]
    Away,
}

/// Called once with the answer's SDP.
pub type Reply = Box<dyn FnOnce(Result<String, OfferError>) + Send>;

/// Where a leg's worker takes packets of its browser: whole RTP packets. `false` where there is no room.
pub type Ear = Arc<dyn Fn(LegId, Vec<u8>) -> bool + Send + Sync>;

/// What the thread is told.
enum Command {
    Offer {
        who: Who,
        sdp: String,
        reply: Reply,
    },
    Close {
        who: Who,
    },
    Attach {
        who: Who,
        leg: LegId,
        ear: Ear,
    },
    Join {
        leg: LegId,
        media: Box<LegMedia>,
        ear: Ear,
    },
    Detach {
        leg: LegId,
    },
    /// RTP for the browser that this leg is tied to.
    Packet {
        leg: LegId,
        packet: Vec<u8>,
    },
    Stop,
}

/// The way to the thread. Cheap to clone.
#[derive(Clone)]
pub struct Browsers {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    /// Whether a wake-up is under way, so that a burst costs one.
    woken: Arc<AtomicBool>,
}

impl std::fmt::Debug for Browsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Browsers")
    }
}

/// The thread; dropping it closes every browser's connection.
pub struct BrowsersThread {
    browsers: Browsers,
    /// Of all addresses.
    pub port: u16,
    /// What the switch tells phones in pages.
    pub edge: Edge,
    thread: Option<JoinHandle<()>>,
}

impl Browsers {
    /// Binds and starts the thread. `events` is called from it and may wait.
    pub fn start(
        listen: &[Listen],
        events: impl Fn(BrowserEvent) + Send + 'static,
    ) -> io::Result<(Self, BrowsersThread)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (commands, inbox) = sync_channel(COMMANDS_MAX);
        let woken = Arc::new(AtomicBool::new(false));
        let run = Run::new(poll, listen, inbox, Arc::clone(&woken), events)?;
        let (port, edge) = (run.port(), run.edge());
        let thread = std::thread::Builder::new().name("browsers".into()).spawn(move || run.run())?;
        let browsers = Self { commands, waker, woken };
        Ok((browsers.clone(), BrowsersThread { browsers, port, edge, thread: Some(thread) }))
    }

    /// A page's offer: it takes the place of the agent's browser that was, whose connection ends.
    pub fn offer(&self, who: Who, sdp: String, reply: Reply) {
        if sdp.len() > OFFER_BYTES_MAX {
            return reply(Err(OfferError::Refused(format!("it has more than {OFFER_BYTES_MAX} bytes"))));
        }
        match self.commands.try_send(Command::Offer { who, sdp, reply }) {
            Ok(()) => self.wake(),
            Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) => {
                if let Command::Offer { reply, .. } = command {
                    reply(Err(OfferError::Away));
                }
            }
        }
    }

    /// The agent has signed out.
    pub fn close(&self, who: Who) {
        self.send(Command::Close { who });
    }

    /// From here on the agent's browser, whichever it is by then, is what the leg hears and is heard by.
    pub fn attach(&self, who: Who, leg: LegId, ear: Ear) {
        self.send(Command::Attach { who, leg, ear });
    }

    /// The leg's page as its descriptions settled it: one that is known already goes on, but for what has become different.
    pub fn join(&self, leg: LegId, media: LegMedia, ear: Ear) {
        self.send(Command::Join { leg, media: Box::new(media), ear });
    }

    /// The leg is over; a page that was its own is let go.
    pub fn detach(&self, leg: LegId) {
        self.send(Command::Detach { leg });
    }

    /// One RTP packet for the leg's browser; `false` where the thread has too many.
    pub fn packet(&self, leg: LegId, packet: &[u8]) -> bool {
        let taken = self.commands.try_send(Command::Packet { leg, packet: packet.to_vec() }).is_ok();
        self.wake();
        taken
    }

    /// Orders wait for their place: the thread itself waits for nobody who sends them.
    fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "the thread of the browsers' audio can not be woken");
        }
    }
}

impl Drop for BrowsersThread {
    fn drop(&mut self) {
        self.browsers.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the browsers' audio ended by a panic");
        }
    }
}
