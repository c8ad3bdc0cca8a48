use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use cti_base::LegId;
use mio::{Events, Poll, Token};

use super::device::{self, Device, Said};
use super::socket::Listening;
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
/// A browser that was connected and is not heard for so long has no use.
const LOST_MAX: Duration = Duration::from_secs(30);

pub(super) struct Run<E> {
    poll: Poll,
    inbox: Receiver<Command>,
    woken: Arc<AtomicBool>,
    events: E,
    listening: Vec<Listening>,
    browsers: BTreeMap<Who, Browser>,
    by_ufrag: BTreeMap<String, Who>,
    by_source: BTreeMap<SocketAddr, Who>,
    legs: BTreeMap<LegId, Who>,
    /// What a leg hears, by the browser that it is tied to. An agent's browser speaks to one leg at a time.
    ears: BTreeMap<Who, (LegId, Ear)>,
    look_at: Instant,
    said: Vec<Said>,
    datagram: Box<[u8; DATAGRAM_LEN_MAX]>,
}

struct Browser {
    device: Device,
    up: bool,
    /// It is away only for having said nothing.
    quiet: bool,
    heard_at: Instant,
    /// Since when it is as it is.
    since: Instant,
    sources: Vec<SocketAddr>,
}

impl<E: Fn(BrowserEvent)> Run<E> {
    pub fn new(
        poll: Poll,
        listen: &[Listen],
        inbox: Receiver<Command>,
        woken: Arc<AtomicBool>,
        events: E,
    ) -> io::Result<Self> {
        let mut listening: Vec<Listening> = Vec::new();
        for (index, listen) in listen.iter().enumerate() {
            let mut listen = *listen;
            // All addresses have one port, which is any free one where the first has any.
            if let Some(first) = listening.first().filter(|_| listen.bind.port() == 0) {
                listen.bind.set_port(first.told.port());
            }
            listening.push(Listening::bind(&poll, Token(index + 1), listen)?);
        }
        Ok(Self {
            poll,
            inbox,
            woken,
            events,
            listening,
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
        self.listening.first().map_or(0, |listening| listening.told.port())
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
            for index in 0..self.listening.len() {
                unread |= self.read(index);
            }
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
            browser.device.end(&self.listening);
        }
    }

    fn wait(&self) -> Option<Duration> {
        // Set: packets or orders are left over from the last turn.
        if self.woken.load(Ordering::Acquire) {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let due = self.browsers.values().map(|browser| browser.device.due).min()?;
        Some(device::until(now, due.min(self.look_at.max(now))).min(LOOK_EVERY))
    }

    /// Reads a socket until it is empty or the others must have their turn, which is told.
    fn read(&mut self, index: usize) -> bool {
        for _ in 0..DRAIN_MAX {
            let listening = &self.listening[index];
            match listening.socket.recv_from(&mut self.datagram[..]) {
                Ok((len, from)) => self.packet(index, len, from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => tracing::debug!(%error, "a browsers' socket reports an error"),
            }
        }
        true
    }

    fn packet(&mut self, index: usize, len: usize, from: SocketAddr) {
        let datagram = &self.datagram[..len];
        let who = match self.by_source.get(&from) {
            Some(who) => who.clone(),
            None => {
                // Strangers are told by their first words: one look-up, whoever floods the port.
                let Some(who) = stun::local_ufrag(datagram).and_then(|ufrag| self.by_ufrag.get(ufrag)) else { return };
                let who = who.clone();
                let Some(browser) = self.browsers.get_mut(&who) else { return };
                if browser.sources.len() == SOURCES_MAX {
                    self.by_source.remove(&browser.sources.remove(0));
                }
                browser.sources.push(from);
                self.by_source.insert(from, who.clone());
                who
            }
        };
        let (now, to) = (Instant::now(), self.listening[index].told);
        let Some(browser) = self.browsers.get_mut(&who) else { return };
        let mut said = std::mem::take(&mut self.said);
        let lives = browser.device.receive(now, from, to, datagram, &self.listening, &mut said);
        self.hear(&who, said, lives);
    }

    fn take_commands(&mut self) -> ControlFlow<()> {
        for _ in 0..COMMANDS_TURN_MAX {
            match self.inbox.try_recv() {
                Ok(Command::Offer { who, sdp, reply }) => self.offer(who, &sdp, reply),
                Ok(Command::Close { who }) => self.drop_browser(&who),
                Ok(Command::Attach { who, leg, ear }) => self.attach(who, leg, ear),
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
        if self.browsers.len() >= BROWSERS_MAX && !self.browsers.contains_key(&who) {
            return reply(Err(OfferError::TooMany));
        }
        let told: Vec<SocketAddr> = self.listening.iter().map(|listening| listening.told).collect();
        let mut numbers = [0; 8];
        if let Err(error) = getrandom::fill(&mut numbers) {
            return reply(Err(OfferError::Refused(error.to_string())));
        }
        let [a, b, c, d, e, f, g, h] = numbers;
        let numbers = [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])];
        let now = Instant::now();
        match Device::accept(now, sdp, &told, numbers) {
            Ok((device, answer)) => {
                self.drop_browser(&who);
                self.by_ufrag.insert(device.ufrag.clone(), who.clone());
                self.browsers.insert(
                    who,
                    Browser { device, up: false, quiet: false, heard_at: now, since: now, sources: Vec::new() },
                );
                reply(Ok(answer));
            }
            Err(reason) => reply(Err(OfferError::Refused(reason))),
        }
    }

    fn attach(&mut self, who: Who, leg: LegId, ear: Ear) {
        if let Some((earlier, _)) = self.ears.insert(who.clone(), (leg, ear)) {
            self.legs.remove(&earlier);
        }
        if let Some(browser) = self.browsers.get_mut(&who) {
            browser.heard_at = Instant::now();
        }
        self.legs.insert(leg, who);
    }

    fn detach(&mut self, leg: LegId) {
        if let Some(who) = self.legs.remove(&leg) {
            self.ears.remove(&who);
        }
    }

    fn send(&mut self, leg: LegId, mut packet: Vec<u8>) {
        let Some(who) = self.legs.get(&leg) else { return };
        let Some(browser) = self.browsers.get_mut(who) else { return };
        let who = who.clone();
        let mut said = std::mem::take(&mut self.said);
        let lives = browser.device.send(Instant::now(), clock::now(), &mut packet, &self.listening, &mut said);
        self.hear(&who, said, lives);
    }

    /// Timeouts that are due, and browsers that do not come (back).
    fn look_after(&mut self) {
        let now = Instant::now();
        let is_due = |browser: &Browser| browser.device.due <= now;
        let due: Vec<Who> =
            self.browsers.iter().filter(|(_, browser)| is_due(browser)).map(|(who, _)| who.clone()).collect();
        for who in due {
            let Some(browser) = self.browsers.get_mut(&who) else { continue };
            let mut said = std::mem::take(&mut self.said);
            let lives = browser.device.timeout(now, &self.listening, &mut said);
            self.hear(&who, said, lives);
        }
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            let gone = |browser: &Browser| {
                let patience = if browser.sources.is_empty() { CONNECT_MAX } else { LOST_MAX };
                !browser.up && now.duration_since(browser.since) > patience
            };
            let gone: Vec<Who> =
                self.browsers.iter().filter(|(_, browser)| gone(browser)).map(|(who, _)| who.clone()).collect();
            for who in gone {
                self.drop_browser(&who);
            }
            self.miss_quiet(now);
        }
    }

    fn miss_quiet(&mut self, now: Instant) {
        let is_quiet = |who: &&Who| {
            let browser = self.browsers.get(*who);
            browser.is_some_and(|browser| browser.up && now.duration_since(browser.heard_at) > QUIET_MAX)
        };
        let quiet: Vec<Who> = self.ears.keys().filter(is_quiet).cloned().collect();
        for who in quiet {
            self.tell(&who, false);
            if let Some(browser) = self.browsers.get_mut(&who) {
                browser.quiet = true;
            }
        }
    }

    fn heard(&mut self, who: &Who, packet: Vec<u8>) {
        if let Some(browser) = self.browsers.get_mut(who) {
            browser.heard_at = Instant::now();
            if std::mem::take(&mut browser.quiet) {
                self.tell(who, true);
            }
        }
        if let Some((leg, ear)) = self.ears.get(who) {
            // A worker with no room loses it, as a socket would.
            let _ = ear(*leg, packet);
        }
    }

    /// What a step of this browser brought.
    fn hear(&mut self, who: &Who, mut said: Vec<Said>, lives: bool) {
        for said in said.drain(..) {
            match said {
                Said::Up => self.tell(who, true),
                Said::Down => self.tell(who, false),
                Said::Audio(packet) => self.heard(who, packet),
            }
        }
        self.said = said;
        if !lives {
            self.drop_browser(who);
        }
    }

    fn tell(&mut self, who: &Who, up: bool) {
        let Some(browser) = self.browsers.get_mut(who).filter(|browser| browser.up != up) else { return };
        browser.up = up;
        browser.quiet = false;
        browser.heard_at = Instant::now();
        browser.since = Instant::now();
        (self.events)(if up { BrowserEvent::Up(who.clone()) } else { BrowserEvent::Down(who.clone()) });
    }

    fn drop_browser(&mut self, who: &Who) {
        self.tell(who, false);
        let Some(mut browser) = self.browsers.remove(who) else { return };
        self.by_ufrag.remove(&browser.device.ufrag);
        for source in &browser.sources {
            self.by_source.remove(source);
        }
        browser.device.end(&self.listening);
    }
}
