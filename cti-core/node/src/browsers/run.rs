use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use cti_base::LegId;
use cti_media::LegMedia;
use cti_media::webrtc::{Edge, WebRtc};
use mio::{Events, Poll, Token};
use str0m::net::Protocol;

use super::device::{self, Device, Identity, Said, Told};
use super::socket::Net;
use super::{BROWSERS_MAX, BrowserEvent, Command, Ear, Listen, OfferError, Reply, Who, stun};
use crate::clock;

pub(super) const WAKER: Token = Token(0);
const DATAGRAM_LEN_MAX: usize = 2_048;
const EVENTS_MAX: usize = 64;
/// Datagrams of one socket in a row, before orders and timeouts have their turn.
const DRAIN_MAX: usize = 256;
/// Orders in a row.
const COMMANDS_TURN_MAX: usize = 1_024;
/// Addresses that one browser may send from at a time: it tries several while it connects.
const SOURCES_MAX: usize = 8;
/// A browser in a call sends all the time, muted as well: one that was not heard for so long is away, whatever ICE says, which
/// takes longer to notice.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Connected or not, a browser is looked after this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A page that took its answer and does not connect within this is gone.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// A phone's page, which after a restart of ours has to find its websocket first.
const RETURN_MAX: Duration = Duration::from_secs(60);
/// A browser that was connected and is not heard for so long has no use.
const LOST_MAX: Duration = Duration::from_secs(30);

pub(super) struct Run<E> {
    poll: Poll,
    inbox: Receiver<Command>,
    woken: Arc<AtomicBool>,
    events: E,
    identity: Identity,
    net: Net,
    /// Streams that had more to read than their turn.
    unread: Vec<usize>,
    browsers: BTreeMap<Key, Browser>,
    by_ufrag: BTreeMap<String, Key>,
    by_source: BTreeMap<Source, Key>,
    legs: BTreeMap<LegId, Key>,
    /// What a leg hears, by the browser that it is tied to. An agent's browser speaks to one leg at a time.
    ears: BTreeMap<Key, (LegId, Ear)>,
    look_at: Instant,
    said: Vec<Said>,
    datagram: Box<[u8; DATAGRAM_LEN_MAX]>,
}

/// Whose connection it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Desk(Who),
    /// A page's of this leg alone.
    Phone(LegId),
}

/// Where a browser's packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Datagrams(SocketAddr),
    Stream(SocketAddr),
}

struct Browser {
    device: Device,
    /// What settled a phone's.
    settled: Option<Box<WebRtc>>,
    up: bool,
    /// It is away only for having said nothing.
    quiet: bool,
    heard_at: Instant,
    /// Since when it is as it is.
    since: Instant,
    sources: Vec<Source>,
}

impl<E: Fn(BrowserEvent)> Run<E> {
    pub fn new(
        poll: Poll,
        listen: &[Listen],
        inbox: Receiver<Command>,
        woken: Arc<AtomicBool>,
        events: E,
    ) -> io::Result<Self> {
        let net = Net::bind(&poll, WAKER.0 + 1, listen)?;
        let identity = Identity::new().map_err(io::Error::other)?;
        Ok(Self {
            poll,
            inbox,
            woken,
            events,
            identity,
            net,
            unread: Vec::new(),
            browsers: BTreeMap::new(),
            by_ufrag: BTreeMap::new(),
            by_source: BTreeMap::new(),
            legs: BTreeMap::new(),
            ears: BTreeMap::new(),
            look_at: Instant::now(),
            said: Vec::new(),
            datagram: Box::new([0; DATAGRAM_LEN_MAX]),
        })
    }

    pub fn port(&self) -> u16 {
        self.net.datagrams.first().map_or(0, |listening| listening.told.port())
    }

    pub fn edge(&self) -> Edge {
        let Told { addresses, streams } = self.told();
        Edge { addresses, streams, fingerprint: self.identity.fingerprint.clone() }
    }

    pub fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "the thread of the browsers' audio can not wait for its sockets");
                break;
            }
            let mut unread = false;
            for index in 0..self.net.datagrams.len() {
                unread |= self.read(index);
            }
            let mut streams = std::mem::take(&mut self.unread);
            streams
                .extend(events.iter().map(|event| event.token().0).filter(|token| *token > self.net.datagrams.len()));
            for token in streams {
                self.turn_stream(token);
            }
            unread |= !self.unread.is_empty();
            self.woken.store(false, Ordering::Release);
            if self.take_commands().is_break() {
                break;
            }
            if unread {
                // What is left over would not be told again.
                self.woken.store(true, Ordering::Release);
            }
            self.look_after();
        }
        for browser in self.browsers.values_mut() {
            browser.device.end(&mut self.net);
        }
    }

    fn wait(&self) -> Option<Duration> {
        // Set: packets or orders are left over from the last turn.
        if self.woken.load(Ordering::Acquire) {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let due = self.browsers.values().map(|browser| browser.device.due).min();
        let due = due.or_else(|| self.net.streams.is_open().then_some(now + LOOK_EVERY))?;
        Some(device::until(now, due.min(self.look_at.max(now))).min(LOOK_EVERY))
    }

    /// Reads a socket until it is empty or the others must have their turn, which is told.
    fn read(&mut self, index: usize) -> bool {
        for _ in 0..DRAIN_MAX {
            let listening = &self.net.datagrams[index];
            let to = listening.told;
            match listening.socket.recv_from(&mut self.datagram[..]) {
                Ok((len, from)) => drop(self.packet(Source::Datagrams(from), to, len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => tracing::debug!(%error, "a browsers' socket reports an error"),
            }
        }
        true
    }

    fn turn_stream(&mut self, token: usize) {
        let Some(came) = self.net.streams.turn(self.poll.registry(), token) else { return };
        for packet in came.packets {
            let Some(space) = self.datagram.get_mut(..packet.len()) else { continue };
            space.copy_from_slice(&packet);
            if self.packet(Source::Stream(came.from), came.to, packet.len()) {
                self.net.streams.heard(came.from);
            } else {
                return self.net.streams.cut(self.poll.registry(), came.from);
            }
        }
        if came.unread {
            self.unread.push(token);
        }
    }

    /// One packet; `false` where it is nobody's.
    fn packet(&mut self, source: Source, to: SocketAddr, len: usize) -> bool {
        let datagram = &self.datagram[..len];
        let key = match self.by_source.get(&source) {
            Some(key) => key.clone(),
            None => {
                // Strangers are told by their first words: one look-up, whoever floods the port.
                let known = stun::local_ufrag(datagram).and_then(|ufrag| self.by_ufrag.get(ufrag)).cloned();
                let Some(key) = known else { return false };
                let Some(browser) = self.browsers.get_mut(&key) else { return false };
                if browser.sources.len() == SOURCES_MAX {
                    self.by_source.remove(&browser.sources.remove(0));
                }
                browser.sources.push(source);
                self.by_source.insert(source, key.clone());
                key
            }
        };
        let (protocol, from) = match source {
            Source::Datagrams(from) => (Protocol::Udp, from),
            Source::Stream(from) => (Protocol::Tcp, from),
        };
        let Some(browser) = self.browsers.get_mut(&key) else { return false };
        let mut said = std::mem::take(&mut self.said);
        let lives = browser.device.receive(Instant::now(), (protocol, from, to), datagram, &mut self.net, &mut said);
        self.hear(&key, said, lives);
        true
    }

    fn take_commands(&mut self) -> ControlFlow<()> {
        for _ in 0..COMMANDS_TURN_MAX {
            match self.inbox.try_recv() {
                Ok(Command::Offer { who, sdp, reply }) => self.offer(who, &sdp, reply),
                Ok(Command::Close { who }) => self.drop_browser(&Key::Desk(who)),
                Ok(Command::Attach { who, leg, ear }) => self.attach(Key::Desk(who), leg, ear),
                Ok(Command::Join { leg, media, ear }) => self.join(leg, *media, ear),
                Ok(Command::Detach { leg }) => self.detach(leg),
                Ok(Command::Packet { leg, packet }) => self.send(leg, packet),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
        }
        self.woken.store(true, Ordering::Release);
        ControlFlow::Continue(())
    }

    fn offer(&mut self, who: Who, sdp: &str, reply: Reply) {
        let key = Key::Desk(who);
        if self.is_full(&key) {
            return reply(Err(OfferError::TooMany));
        }
        let now = Instant::now();
        let made = numbers().and_then(|numbers| Device::accept(now, sdp, &self.told(), numbers));
        match made {
            Ok((device, answer)) => {
                self.take_browser(key, Browser::new(now, device, None));
                reply(Ok(answer));
            }
            Err(reason) => reply(Err(OfferError::Refused(reason))),
        }
    }

    /// A phone's connection, at first or as it has become: the same page with new names for ICE, or another page, or the same
    /// to which nothing leads any more.
    fn join(&mut self, leg: LegId, media: LegMedia, ear: Ear) {
        let Some(settled) = media.webrtc.clone() else { return };
        let key = Key::Phone(leg);
        self.attach(key.clone(), leg, ear);
        if let Some(browser) = self.browsers.get_mut(&key) {
            let Some(known) = browser.settled.replace(settled.clone()) else { return };
            if known == settled {
                return;
            }
            if known.fingerprint == settled.fingerprint && browser.up {
                if known.ours.ice != settled.ours.ice || known.ice != settled.ice {
                    self.by_ufrag.remove(&browser.device.ufrag);
                    browser.device.rename(&settled);
                    self.by_ufrag.insert(browser.device.ufrag.clone(), key);
                }
                return;
            }
        }
        let now = Instant::now();
        let made = if self.is_full(&key) { Err("there are too many".to_owned()) } else { numbers() };
        let made = made.and_then(|[numbers, _]| Device::join(now, &media, &self.identity, &self.told(), numbers));
        match made {
            Ok(device) => self.take_browser(key, Browser::new(now, device, Some(settled))),
            Err(reason) => {
                tracing::warn!(leg.id = %leg, reason, "a page can not be connected with");
                self.drop_browser(&key);
                (self.events)(BrowserEvent::Gone(leg));
            }
        }
    }

    fn is_full(&self, key: &Key) -> bool {
        self.browsers.len() >= BROWSERS_MAX && !self.browsers.contains_key(key)
    }

    fn told(&self) -> Told {
        Told { addresses: self.net.told(), streams: self.net.streams.is_listening() }
    }

    /// It takes the place of the one before.
    fn take_browser(&mut self, key: Key, browser: Browser) {
        self.drop_browser(&key);
        self.by_ufrag.insert(browser.device.ufrag.clone(), key.clone());
        self.browsers.insert(key, browser);
    }

    fn attach(&mut self, key: Key, leg: LegId, ear: Ear) {
        if let Some((earlier, _)) = self.ears.insert(key.clone(), (leg, ear)) {
            self.legs.remove(&earlier);
        }
        if let Some(browser) = self.browsers.get_mut(&key) {
            browser.heard_at = Instant::now();
        }
        self.legs.insert(leg, key);
    }

    fn detach(&mut self, leg: LegId) {
        if let Some(key) = self.legs.remove(&leg) {
            self.ears.remove(&key);
            if matches!(key, Key::Phone(_)) {
                self.drop_browser(&key);
            }
        }
    }

    fn send(&mut self, leg: LegId, mut packet: Vec<u8>) {
        let Some(key) = self.legs.get(&leg) else { return };
        let Some(browser) = self.browsers.get_mut(key) else { return };
        let key = key.clone();
        let mut said = std::mem::take(&mut self.said);
        let lives = browser.device.send(Instant::now(), clock::now(), &mut packet, &mut self.net, &mut said);
        self.hear(&key, said, lives);
    }

    /// Timeouts that are due, and browsers that do not come (back).
    fn look_after(&mut self) {
        let now = Instant::now();
        let is_due = |browser: &Browser| browser.device.due <= now;
        let due: Vec<Key> =
            self.browsers.iter().filter(|(_, browser)| is_due(browser)).map(|(key, _)| key.clone()).collect();
        for key in due {
            let Some(browser) = self.browsers.get_mut(&key) else { continue };
            let mut said = std::mem::take(&mut self.said);
            let lives = browser.device.timeout(now, &mut self.net, &mut said);
            self.hear(&key, said, lives);
        }
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            let gone = |key: &Key, browser: &Browser| {
                let patience = match (key, browser.sources.is_empty()) {
                    (Key::Desk(_), true) => CONNECT_MAX,
                    (Key::Phone(_), true) => RETURN_MAX,
                    (Key::Desk(_) | Key::Phone(_), false) => LOST_MAX,
                };
                !browser.up && now.duration_since(browser.since) > patience
            };
            let gone: Vec<Key> =
                self.browsers.iter().filter(|(key, browser)| gone(key, browser)).map(|(key, _)| key.clone()).collect();
            for key in gone {
                self.lose_browser(&key);
            }
            self.miss_quiet(now);
            self.net.streams.look_after(self.poll.registry(), now);
        }
    }

    fn miss_quiet(&mut self, now: Instant) {
        // A phone's page need not say anything: it may hold, and its worker knows when it should.
        let is_quiet = |key: &&Key| {
            let browser = self.browsers.get(*key).filter(|_| matches!(key, Key::Desk(_)));
            browser.is_some_and(|browser| browser.up && now.duration_since(browser.heard_at) > QUIET_MAX)
        };
        let quiet: Vec<Key> = self.ears.keys().filter(is_quiet).cloned().collect();
        for key in quiet {
            self.tell(&key, false);
            if let Some(browser) = self.browsers.get_mut(&key) {
                browser.quiet = true;
            }
        }
    }

    fn heard(&mut self, key: &Key, packet: Vec<u8>) {
        if let Some(browser) = self.browsers.get_mut(key) {
            browser.heard_at = Instant::now();
            if std::mem::take(&mut browser.quiet) {
                self.tell(key, true);
            }
        }
        if let Some((leg, ear)) = self.ears.get(key) {
            // A worker with no room loses it, as a socket would.
            let _ = ear(*leg, packet);
        }
    }

    /// What a step of this browser brought.
    fn hear(&mut self, key: &Key, mut said: Vec<Said>, lives: bool) {
        for said in said.drain(..) {
            match said {
                Said::Up => self.tell(key, true),
                Said::Down => self.tell(key, false),
                Said::Audio(packet) => self.heard(key, packet),
            }
        }
        self.said = said;
        if !lives {
            self.lose_browser(key);
        }
    }

    fn tell(&mut self, key: &Key, up: bool) {
        let Some(browser) = self.browsers.get_mut(key).filter(|browser| browser.up != up) else { return };
        browser.up = up;
        browser.quiet = false;
        browser.heard_at = Instant::now();
        browser.since = Instant::now();
        if let Key::Desk(who) = key {
            (self.events)(if up { BrowserEvent::Up(who.clone()) } else { BrowserEvent::Down(who.clone()) });
        }
    }

    /// It went by itself: a desk connects anew, a phone's leg has nobody at its end.
    fn lose_browser(&mut self, key: &Key) {
        self.drop_browser(key);
        if let Key::Phone(leg) = key {
            (self.events)(BrowserEvent::Gone(*leg));
        }
    }

    fn drop_browser(&mut self, key: &Key) {
        self.tell(key, false);
        let Some(mut browser) = self.browsers.remove(key) else { return };
        self.by_ufrag.remove(&browser.device.ufrag);
        for source in &browser.sources {
            self.by_source.remove(source);
        }
        browser.device.end(&mut self.net);
    }
}

impl Browser {
    fn new(now: Instant, device: Device, settled: Option<Box<WebRtc>>) -> Self {
        Self { device, settled, up: false, quiet: false, heard_at: now, since: now, sources: Vec::new() }
    }
}

/// Two by chance.
fn numbers() -> Result<[u32; 2], String> {
    let mut numbers = [0; 8];
    getrandom::fill(&mut numbers).map_err(|error| error.to_string())?;
    let [a, b, c, d, e, f, g, h] = numbers;
    Ok([u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])])
}
