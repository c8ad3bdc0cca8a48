//! What relaying costs: 100 calls of two legs, 50 packets a second each way, without and with recording.
//!
//! `cargo run --release -p zongji-benches -- relay`. The figure is the CPU time of the media worker's thread alone (Linux,
//! `/proc/self/task/*/schedstat`), divided by the packets it received; each is sent on. The phones run in the main thread.
//! Beside it stands the floor of the same machine at the same moment: a thread that only receives each packet and sends it on
//! as it is, from one blocking socket, without a poll loop, a lookup or a header.
//!
//! On two shared cores at a load of 5 (2026-11-22): floor 6.5-6.8, relay 9.2-9.3, recorded 10.0-10.2 us a packet; 100 calls
//! took 9.2 % of a core, recorded 10.1 %, none lost by us.
//! Peers: Asterisk 22.10.1 took 31-36 % of a core for 100 calls and 84-93 % recorded, queue and signalling included; a relay of one
//! tokio task a leg took 8.6 us a packet where send and receive took 4.2 us.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{fs, io};

use cti_base::{CallId, LegId, RecordingId, Rng, TenantId};
use cti_media::rtp::{self, HEADER_LEN};
use cti_media::{Codec, Direction, Law, LegMedia, MediaCommand, MediaEvent};
use recordings::{Recorder, StoreConfig};
use zongji::clock;
use zongji::media_worker::{MediaConfig, MediaWorkers, PromptLibrary};

const CALLS: u16 = 100;
const SECONDS: u64 = 10;
const PORTS_FROM: u16 = 15_400;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs all cases and prints a line for each.
pub fn relay() -> Result<(), Box<dyn Error>> {
    let (packets, cpu) = floor()?;
    println!("relay floor packets={packets} us_per_packet={:.2}", cpu.as_secs_f64() * 1e6 / packets as f64);
    for recorded in [false, true] {
        let figures = run(recorded)?;
        let (packets, lost, cpu) = (figures.packets, figures.lost, figures.cpu);
        println!(
            "relay calls={CALLS} recorded={recorded} packets={packets} lost_by_us={lost} received_by_phones={} cpu_s={:.3} us_per_packet={:.2} percent_of_a_core={:.1}",
            figures.received,
            cpu.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / packets as f64,
            cpu.as_secs_f64() * 100.0 / SECONDS as f64,
        );
    }
    Ok(())
}

struct Figures {
    packets: u64,
    lost: u64,
    received: u64,
    cpu: Duration,
}

struct Phone {
    socket: UdpSocket,
    to: SocketAddr,
    packet: [u8; HEADER_LEN + 160],
    received: u64,
}

fn run(recorded: bool) -> Result<Figures, Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let (sender, events) = channel();
    let (recorder, recorder_thread) = Recorder::start(StoreConfig { root: root.path().to_path_buf() }, |_| {})?;
    let config = MediaConfig { ip: LOOPBACK, workers: 1, rtp_timeout: Duration::from_secs(120), browsers: None };
    let workers = MediaWorkers::start(config, Arc::new(PromptLibrary::default()), recorder.clone(), move |event| {
        // Nobody hears it any more when the case is over.
        let _over = sender.send(event);
        Ok(())
    })?;
    let mut rng = Rng::from_number(7);
    let mut phones = Vec::new();
    let mut legs = Vec::new();
    for index in 0..CALLS {
        let call = CallId::new(clock::now(), &mut rng);
        let port = PORTS_FROM + 4 * index;
        let pair = [port, port + 2].map(|port| (port, LegId::new(clock::now(), &mut rng)));
        for (rtp_port, leg) in pair {
            let phone = Phone::new(rtp_port)?;
            workers.send(call, MediaCommand::Open { leg, call, rtp_port })?;
            workers.send(call, MediaCommand::Connect { leg, media: phone.media()? })?;
            phones.push(phone);
            legs.push((call, leg));
        }
        let [(_, a), (_, b)] = pair;
        workers.send(call, MediaCommand::join(a, b))?;
        if recorded {
            let recording = RecordingId::new(clock::now(), &mut rng);
            let (tenant, started) = (TenantId::from("bench"), clock::now());
            workers.send(call, MediaCommand::Record { recording, call, tenant, started })?;
            for from in MediaCommand::record_from(recording, vec![a], vec![b]) {
                workers.send(call, from)?;
            }
        }
    }
    // Commands of all calls went to the one worker in order: the last is carried out when this is answered.
    let (nobody, nobodys_call) = (LegId::new(clock::now(), &mut rng), CallId::new(clock::now(), &mut rng));
    workers.send(nobodys_call, MediaCommand::Close { leg: nobody })?;
    events.recv_timeout(Duration::from_secs(5))?;
    let worker = task_named("media-0")?;
    let before = cpu_of(worker)?;
    let begun = Instant::now();
    for round in 0..50 * SECONDS as u32 {
        let due = begun + Duration::from_millis(20) * round;
        // Wait by receiving: nothing is sent to this socket.
        phones[0].wait_until(due)?;
        for phone in &mut phones {
            phone.speak(round)?;
            phone.listen();
        }
    }
    phones[0].wait_until(Instant::now() + Duration::from_millis(200))?;
    phones.iter_mut().for_each(Phone::listen);
    let cpu = cpu_of(worker)?.saturating_sub(before);
    for (call, leg) in &legs {
        workers.send(*call, MediaCommand::Close { leg: *leg })?;
    }
    let mut closed = 0;
    while closed < legs.len() {
        if matches!(events.recv_timeout(Duration::from_secs(5))?, MediaEvent::Closed { .. }) {
            closed += 1;
        }
    }
    let counters = workers.counters();
    drop(workers);
    recorder.close()?;
    recorder_thread.join();
    Ok(Figures {
        packets: counters.packets_in(),
        lost: counters.lost(),
        received: phones.iter().map(|phone| phone.received).sum(),
        cpu,
    })
}

impl Phone {
    fn new(leg_port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((LOOPBACK, 0))?;
        socket.set_nonblocking(true)?;
        let to = SocketAddr::new(LOOPBACK, leg_port);
        Ok(Self { socket, to, packet: [Law::Pcma.silence(); HEADER_LEN + 160], received: 0 })
    }

    fn media(&self) -> io::Result<LegMedia> {
        Ok(LegMedia {
            remote_rtp: Some(self.socket.local_addr()?),
            remote_rtcp: None,
            codec: Codec::Pcma,
            payload_type: 8,
            dtmf_payload_type: Some(101),
            direction: Direction::SendRecv,
            srtp: None,
            webrtc: None,
        })
    }

    fn speak(&mut self, round: u32) -> io::Result<()> {
        if let Some(header) = self.packet.first_chunk_mut() {
            rtp::write(header, round == 0, 8, round as u16, round * 160, u32::from(self.to.port()));
        }
        self.socket.send_to(&self.packet, self.to).map(drop)
    }

    fn listen(&mut self) {
        let mut datagram = [0; 400];
        while let Ok(len) = self.socket.recv(&mut datagram) {
            self.count(len);
        }
    }

    /// Sleeps, and counts what comes meanwhile.
    fn wait_until(&mut self, due: Instant) -> io::Result<()> {
        self.socket.set_nonblocking(false)?;
        let mut datagram = [0; 400];
        while let Some(wait) = due.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            self.socket.set_read_timeout(Some(wait))?;
            if let Ok(len) = self.socket.recv(&mut datagram) {
                self.count(len);
            }
        }
        self.socket.set_nonblocking(true)
    }

    /// Counts voice; reports for a neighbour's port come here as well.
    fn count(&mut self, len: usize) {
        self.received += u64::from(len == self.packet.len());
    }
}

/// As many packets through the barest of relays: packets and CPU time.
fn floor() -> Result<(u64, Duration), Box<dyn Error>> {
    const END: usize = 1;
    let packets = u64::from(CALLS) * 2 * 50 * SECONDS;
    let [phone, relay, sink] = [(); 3].map(|()| UdpSocket::bind((LOOPBACK, 0)));
    let (phone, relay, sink) = (phone?, relay?, sink?);
    let (from, to) = (relay.local_addr()?, sink.local_addr()?);
    let thread = std::thread::Builder::new().name("floor".to_owned()).spawn(move || -> io::Result<Duration> {
        let task = task_named("floor")?;
        let before = cpu_of(task)?;
        let mut datagram = [0; 400];
        loop {
            let (len, _) = relay.recv_from(&mut datagram)?;
            if len == END {
                return Ok(cpu_of(task)?.saturating_sub(before));
            }
            relay.send_to(&datagram[..len], to)?;
        }
    })?;
    let mut sink = Phone { socket: sink, to: from, packet: [0; HEADER_LEN + 160], received: 0 };
    let begun = Instant::now();
    for round in 0..50 * SECONDS as u32 {
        sink.wait_until(begun + Duration::from_millis(20) * round)?;
        for _ in 0..2 * CALLS {
            phone.send_to(&[0; HEADER_LEN + 160], from)?;
        }
    }
    phone.send_to(&[0; END], from)?;
    let cpu = thread.join().map_err(|_| "the floor's thread panicked")??;
    Ok((packets, cpu))
}

/// A thread of this process by its name.
fn task_named(name: &str) -> io::Result<u32> {
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("comm"))?.trim() == name {
            return entry.file_name().to_string_lossy().parse().map_err(io::Error::other);
        }
    }
    Err(io::Error::other(format!("no thread {name} in /proc/self/task")))
}

/// The first number of schedstat: nanoseconds on a CPU.
fn cpu_of(task: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/self/task/{task}/schedstat"))?;
    let nanos = text.split_ascii_whitespace().next().unwrap_or_default().parse().map_err(io::Error::other)?;
    Ok(Duration::from_nanos(nanos))
}
