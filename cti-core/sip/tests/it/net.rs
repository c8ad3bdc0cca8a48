//! Endpoints joined by a network of the test's making.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cti_base::{Rng, Timestamp};
use cti_sip::{ConnectionId, DigestPolicy, Endpoint, EndpointConfig, Event, Flow, InviteRequest, Packet, Transport};

/// How a network treats datagrams, in parts of a thousand.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub delay_ms_max: u64,
}

pub struct Net {
    pub now: Timestamp,
    pub ends: Vec<(SocketAddr, Endpoint)>,
    pub configs: Vec<EndpointConfig>,
    /// After every step each end is written down, and what is read back takes its place: every test is one of that too.
    pub restoring: bool,
    pub events: Vec<Vec<Event>>,
    /// Every message that was sent, as text.
    pub log: Vec<(SocketAddr, SocketAddr, String)>,
    /// Ends whose process is gone: what comes for them is lost, and streams to them can not be opened.
    gone: BTreeSet<usize>,
    /// How often each end's process began. A new one opens new connections.
    runs: Vec<u64>,
    flying: BTreeMap<(Timestamp, u64), (usize, Packet)>,
    /// Packets for addresses that no endpoint has.
    pub outside: Vec<(SocketAddr, Bytes)>,
    faults: Faults,
    rng: Rng,
    counter: u64,
}

pub fn config(address: SocketAddr) -> EndpointConfig {
    EndpointConfig {
        listeners: vec![(Transport::Udp, address), (Transport::Tcp, address)],
        advertised: None,
        local_ip: address.ip(),
        local_ip6: None,
        digest: DigestPolicy::Md5,
        realm: "zongji".into(),
        user_agent: "Zongji".into(),
        sessions_max: 1_000,
        transactions_max: 10_000,
        registrations_max: 100,
    }
}

pub fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + index as u8], 5060))
}

pub fn written(end: &Endpoint) -> Vec<u8> {
    rmp_serde::to_vec_named(end).expect("an endpoint is written down")
}

/// What is read back of an endpoint that was written down; to be written as the same bytes.
pub fn read_back(config: &EndpointConfig, end: &Endpoint) -> Endpoint {
    let bytes = written(end);
    let state = rmp_serde::from_slice(&bytes).expect("what was written reads");
    let restored = Endpoint::restore(config.clone(), state);
    assert!(written(&restored) == bytes, "{} bytes are others when written again", bytes.len());
    restored
}

pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

impl Net {
    pub fn new(count: usize, faults: Faults, seed: u64) -> Self {
        let ends = (0..count)
            .map(|index| {
                let rng = Rng::from_number(seed * 100 + index as u64);
                (address(index), Endpoint::new(config(address(index)), rng))
            })
            .collect();
        Self {
            now: START,
            ends,
            configs: (0..count).map(|index| config(address(index))).collect(),
            restoring: true,
            events: (0..count).map(|_| Vec::new()).collect(),
            log: Vec::new(),
            gone: BTreeSet::new(),
            runs: vec![0; count],
            flying: BTreeMap::new(),
            outside: Vec::new(),
            faults,
            rng: Rng::from_number(seed ^ 0x5eed),
            counter: 0,
        }
    }

    /// Puts another endpoint in the place of one.
    pub fn replace(&mut self, index: usize, config: EndpointConfig, seed: u64) {
        self.ends[index].1 = Endpoint::new(config.clone(), Rng::from_number(seed));
        self.configs[index] = config;
    }

    /// The end's process dies with what is on its way to it, and another takes up its state after `down`.
    pub fn restart(&mut self, index: usize, down: Duration) {
        let (last, until) = (self.now, self.now + down);
        self.gone.insert(index);
        self.flying.retain(|_, (to, _)| *to != index);
        for other in (0..self.ends.len()).filter(|other| *other != index) {
            let connection = self.connection(index, other);
            self.ends[other].1.connection_closed(last, connection);
        }
        self.run_until(until);
        self.gone.remove(&index);
        self.runs[index] += 1;
        self.ends[index].1 = read_back(&self.configs[index], &self.ends[index].1);
        self.ends[index].1.restarted(self.now, last);
        self.ends[index].1.handle_deadline(self.now);
        self.collect();
    }

    /// An INVITE from one end to another.
    pub fn request(&self, from: usize, to: usize, transport: &str) -> InviteRequest {
        let target = self.ends[from].1.target_of(&format!("sip:1001@{}{transport}", address(to))).expect("a target");
        InviteRequest {
            target,
            from_display: Some("王芳".into()),
            from_user: "13800138000".into(),
            offer: Bytes::from_static(b"v=0 offer"),
            headers: vec![("X-Zongji-Call".into(), "c1".into())],
            credentials: None,
        }
    }

    /// Carries everything that is sent, without moving time further than the network's own delay.
    pub fn settle(&mut self) {
        self.collect();
        while let Some((&(at, number), _)) = self.flying.first_key_value() {
            if at > self.now + Duration::from_millis(self.faults.delay_ms_max) {
                break;
            }
            self.deliver((at, number));
        }
    }

    /// Moves time to `until`, through every deadline and delivery on the way.
    pub fn run_until(&mut self, until: Timestamp) {
        self.collect();
        loop {
            let packet = self.flying.first_key_value().map(|(key, _)| *key);
            let alive = self.ends.iter().enumerate().filter(|(index, _)| !self.gone.contains(index));
            let deadline = alive.filter_map(|(_, (_, end))| end.poll_deadline()).min();
            match (packet, deadline) {
                (Some(key), deadline) if key.0 <= until && deadline.is_none_or(|deadline| key.0 <= deadline) => {
                    self.deliver(key);
                }
                (_, Some(deadline)) if deadline <= until => {
                    self.now = self.now.max(deadline);
                    for index in (0..self.ends.len()).filter(|index| !self.gone.contains(index)) {
                        self.ends[index].1.handle_deadline(self.now);
                    }
                    self.collect();
                }
                _ => break,
            }
        }
        self.now = self.now.max(until);
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Takes the events of one end.
    pub fn take(&mut self, index: usize) -> Vec<Event> {
        self.settle();
        std::mem::take(&mut self.events[index])
    }

    /// Hands one end a datagram from anywhere.
    pub fn inject(&mut self, index: usize, from: SocketAddr, text: &str) {
        self.inject_bytes(index, from, Bytes::copy_from_slice(text.as_bytes()));
    }

    pub fn inject_bytes(&mut self, index: usize, from: SocketAddr, bytes: Bytes) {
        let flow = Flow { transport: Transport::Udp, local: address(index), remote: from, connection: None };
        self.ends[index].1.handle_packet(self.now, Packet { flow, bytes });
        self.collect();
    }

    /// Texts of messages whose first line starts so.
    pub fn sent(&self, first: &str) -> Vec<&str> {
        self.log.iter().map(|(_, _, text)| text.as_str()).filter(|text| text.starts_with(first)).collect()
    }

    fn deliver(&mut self, key: (Timestamp, u64)) {
        let Some((index, packet)) = self.flying.remove(&key) else { return };
        self.now = self.now.max(key.0);
        self.ends[index].1.handle_packet(self.now, packet);
        self.collect();
    }

    /// One for each pair while both run, the same number on both sides.
    fn connection(&self, a: usize, b: usize) -> ConnectionId {
        let (low, high) = (a.min(b), a.max(b));
        ConnectionId((self.runs[low] * 1_000 + self.runs[high]) * 10_000 + (low * 100 + high) as u64)
    }

    fn collect(&mut self) {
        for index in 0..self.ends.len() {
            while let Some(transmit) = self.ends[index].1.poll_transmit() {
                self.fly(index, transmit.flow, transmit.bytes);
            }
            while let Some(event) = self.ends[index].1.poll_event() {
                self.events[index].push(event);
            }
            if self.restoring {
                self.ends[index].1 = read_back(&self.configs[index], &self.ends[index].1);
            }
        }
    }

    fn fly(&mut self, from: usize, flow: Flow, bytes: Bytes) {
        let source = self.ends[from].0;
        let reliable = flow.transport == Transport::Tcp;
        self.log.push((source, flow.remote, String::from_utf8_lossy(&bytes).into_owned()));
        let Some(to) = self.ends.iter().position(|(address, _)| *address == flow.remote) else {
            self.outside.push((flow.remote, bytes));
            return;
        };
        if reliable && self.gone.contains(&to) {
            self.ends[from].1.transport_failed(self.now, flow);
            return;
        }
        let copies = match () {
            () if self.gone.contains(&to) => 0,
            () if reliable => 1,
            () if self.rng.below(1_000) < self.faults.lost => 0,
            () if self.rng.below(1_000) < self.faults.doubled => 2,
            () => 1,
        };
        let connection = reliable.then(|| self.connection(from, to));
        let flow = Flow { transport: flow.transport, local: flow.remote, remote: source, connection };
        for _ in 0..copies {
            let delay = if reliable { 0 } else { self.rng.below(self.faults.delay_ms_max + 1) };
            self.counter += 1;
            let at = self.now + Duration::from_millis(delay);
            self.flying.insert((at, self.counter), (to, Packet { flow, bytes: bytes.clone() }));
        }
    }
}
