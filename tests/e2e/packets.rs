//! What is on the wire, seen from beside: the gaps in the RTP that we send, and when peers sent none.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

/// AF_PACKET and, in network order, ETH_P_IP (Linux, packet(7)).
const AF_PACKET: i32 = 17;
const ETH_P_IP: i32 = 0x0008;
/// A pause in a stream that is longer than this is a gap: five packets.
const GAP_MIN: Duration = Duration::from_millis(100);
/// A peer's stream that is late by two packets has stood still.
const PEER_GAP_MIN: Duration = Duration::from_millis(60);
/// A stream that ends is not a gap.
const ENDED: Duration = Duration::from_secs(10);

/// Watches the loopback device (needs root).
pub struct Sniffer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Gaps>,
}

pub struct Gaps {
    /// Those of all streams of ours, in order of length.
    ours: Vec<Duration>,
    /// When a peer that was sending sent nothing, UTC milliseconds, in order of their ends.
    peers: Vec<Range<u64>>,
}

impl Gaps {
    pub fn p99(&self) -> Duration {
        self.ours.get((self.ours.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }

    pub fn longest(&self) -> Duration {
        self.ours.last().copied().unwrap_or_default()
    }

    /// Whether a peer stood still within this time, UTC milliseconds.
    pub fn has_still_peer(&self, time: &Range<u64>) -> bool {
        let first = self.peers.partition_point(|gap| gap.end <= time.start);
        self.peers[first..].iter().any(|gap| gap.start < time.end)
    }
}

impl Sniffer {
    /// UDP from and to these ports.
    pub fn start(ports: Range<u16>) -> Result<Self> {
        let socket = Socket::new(Domain::from(AF_PACKET), Type::RAW, Some(Protocol::from(ETH_P_IP)))
            .context("watching packets needs root (CAP_NET_RAW)")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        socket.set_recv_buffer_size(16 << 20)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || watch(socket, &ports, &stopped));
        Ok(Self { stop, thread })
    }

    pub fn finish(self) -> Result<Gaps> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().ok().context("the watching thread ended by a panic")
    }
}

fn watch(mut socket: Socket, ports: &Range<u16>, stop: &AtomicBool) -> Gaps {
    let mut last: BTreeMap<(u16, u16), Instant> = BTreeMap::new();
    let mut gaps = Gaps { ours: Vec::new(), peers: Vec::new() };
    let mut frame = [0; 256];
    // Even ports are RTP's.
    let is_ours = |port: u16| ports.contains(&port) && port.is_multiple_of(2);
    while !stop.load(Ordering::Acquire) {
        let Ok(len) = socket.read(&mut frame) else { continue };
        let Some(stream) = udp_ports(&frame[..len]) else { continue };
        if !is_ours(stream.0) && !is_ours(stream.1) {
            continue;
        }
        let now = Instant::now();
        let Some(before) = last.insert(stream, now) else { continue };
        let gap = now - before;
        if gap > ENDED {
            continue;
        }
        if is_ours(stream.0) {
            gaps.ours.extend((gap > GAP_MIN).then_some(gap));
        } else if gap > PEER_GAP_MIN {
            let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            gaps.peers.push(end - gap.as_millis() as u64..end);
        }
    }
    gaps.ours.sort_unstable();
    gaps
}

/// Source and destination port of an Ethernet frame with IPv4 and UDP.
fn udp_ports(frame: &[u8]) -> Option<(u16, u16)> {
    let ip = frame.get(14..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    if *ip.get(9)? != 17 {
        return None;
    }
    let udp = ip.get(header..header + 4)?;
    Some((u16::from_be_bytes([udp[0], udp[1]]), u16::from_be_bytes([udp[2], udp[3]])))
}
