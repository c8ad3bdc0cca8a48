//! The one task that owns the engine: inputs in, effects carried out in order, deadlines kept, the live state published.
//!
//! It runs on a thread of its own with a runtime of its own, in which SIP's datagrams are read too: between a datagram and
//! the engine there is no other thread. It never awaits anything but its queues and its deadline.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_gateway::Hub;
use cti_base::TenantId;
use cti_media::MediaEvent;
use cti_sip::{Transmit, Transport};
use cti_switch::desk::Direction;
use cti_switch::live::Live;
use cti_switch::{CallRecord, Effect, Engine, Fact, Input, Measure, Outcome};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::journal::Appender;
use crate::lookup::LookUps;
use crate::media_worker::MediaWorkers;
use crate::metrics::Metrics;
use crate::net::inbox::{Inbox, Outlet};
use crate::net::tcp::Tcp;
use crate::net::udp::{Bound, Udp};

/// The live state is published at most this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Turns taken for what is left when the task is stopped.
const LAST_TURNS_MAX: usize = 256;
/// Inputs of each queue that are taken in one turn, before datagrams are read and deadlines looked at again.
const TURN_INPUTS_MAX: usize = 64;

/// Whoever carries out an effect that is not the switch's own.
pub struct Hands {
    pub tcp: Tcp,
    pub media: MediaWorkers,
    pub hub: Hub,
    pub lookups: LookUps,
    pub journal: Appender,
    pub metrics: Metrics,
}

/// What the task publishes: the live state, and whether no call is left.
pub struct Published {
    pub live: watch::Sender<Arc<BTreeMap<TenantId, Arc<Live>>>>,
    pub idle: watch::Sender<bool>,
}

struct Task {
    engine: Engine,
    udp: Vec<Udp>,
    hands: Hands,
    outlet: Outlet,
    /// What carrying out an effect came to, for the engine.
    echoes: VecDeque<Input>,
    published: Published,
    published_version: Option<u64>,
    publish_from: Instant,
    stop: CancellationToken,
}

/// Starts the thread. It ends on `stop`; should it end otherwise, it cancels `stop` itself, so that all ends with it.
pub fn spawn(
    engine: Engine,
    sockets: Vec<Bound>,
    inbox: Inbox,
    outlet: Outlet,
    hands: Hands,
    published: Published,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("switch".into()).spawn(move || {
        let _ends_all = stop.clone().drop_guard();
        runtime.block_on(async move {
            let mut udp = Vec::new();
            for bound in sockets {
                match Udp::new(bound) {
                    Ok(socket) => {
                        tokio::spawn(socket.clone().read(inbox.clone(), hands.metrics.clone()));
                        udp.push(socket);
                    }
                    Err(error) => {
                        tracing::error!(%error, "a SIP socket can not be read");
                        return;
                    }
                }
            }
            let task = Task {
                engine,
                udp,
                hands,
                outlet,
                echoes: VecDeque::new(),
                published,
                published_version: None,
                publish_from: Instant::now(),
                stop,
            };
            task.run().await;
        });
    })
}

impl Task {
    async fn run(mut self) {
        self.until_stopped().await;
        // What came in before the end is still taken in, so that its facts are kept.
        for _ in 0..LAST_TURNS_MAX {
            if !self.turn() {
                return;
            }
        }
    }

    async fn until_stopped(&mut self) {
        while !self.stop.is_cancelled() {
            let worked = self.turn();
            self.publish();
            if worked {
                tokio::task::yield_now().await;
                continue;
            }
            let wake = self.next_wake();
            let input = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                input = self.outlet.other.recv() => input,
                input = self.outlet.sip.recv() => input,
                () = tokio::time::sleep_until(wake.unwrap_or_else(far).into()), if wake.is_some() => continue,
            };
            match input {
                Some(input) => self.handle(input),
                None => return,
            }
        }
    }

    /// A deadline, then some of each queue: whatever floods one leaves the other its share. False when there was nothing.
    fn turn(&mut self) -> bool {
        let mut worked = false;
        if self.engine.poll_deadline().is_some_and(|at| at <= clock::now()) {
            self.handle(Input::Tick);
            worked = true;
        }
        for _ in 0..TURN_INPUTS_MAX {
            let Ok(input) = self.outlet.other.try_recv() else { break };
            self.handle(input);
            worked = true;
        }
        for _ in 0..TURN_INPUTS_MAX {
            let Ok(input) = self.outlet.sip.try_recv() else { break };
            self.handle(input);
            worked = true;
        }
        worked
    }

    fn handle(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next {
            if let Input::Media(event) = &input {
                self.measure_media(event);
            }
            self.engine.handle(clock::now(), input);
            while let Some(effect) = self.engine.poll_effect() {
                self.carry_out(effect);
            }
            next = self.echoes.pop_front();
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(transmit) => self.send(transmit),
            Effect::Media { call, command } => {
                if let Err(error) = self.hands.media.send(call, command) {
                    tracing::error!(%error, call.id = %call, "a media command is lost");
                }
            }
            Effect::LookUp { tenant, call, number } => {
                if !self.hands.lookups.start(tenant, call, number) {
                    self.echoes.push_back(Input::Caller { call, records: None });
                }
            }
            Effect::Offer { tenant, agent, offer } => self.hands.hub.offer(&tenant, &agent, offer),
            Effect::Desk { tenant, agent, event } => self.hands.hub.deliver(&tenant, &agent, event),
            Effect::Reply { id, result } => self.hands.hub.reply(id, result),
            Effect::Fact(fact) => {
                if let Fact::CallEnded { record } = &fact {
                    self.measure_call(record);
                }
                if let Err(error) = self.hands.journal.append(clock::now(), fact) {
                    tracing::error!(%error, "a fact is lost");
                }
            }
            Effect::Measure(measure) => self.measure(&measure),
        }
    }

    fn send(&mut self, transmit: Transmit) {
        self.hands.metrics.sip_message(false, &transmit.bytes);
        let flow = transmit.flow;
        match flow.transport {
            Transport::Udp => {
                let socket = self.udp.iter().find(|udp| udp.local() == flow.local).or(self.udp.first());
                let sent = socket.map(|udp| udp.send(flow.remote, &transmit.bytes));
                if !matches!(sent, Some(Ok(()))) {
                    self.echoes.push_back(Input::SipTransportFailed(flow));
                }
            }
            Transport::Tcp => self.hands.tcp.send(flow, transmit.bytes),
            // Neither is listened on, and a target that names one is refused by the endpoint; should one come, it fails.
            Transport::Tls | Transport::Ws => self.echoes.push_back(Input::SipTransportFailed(flow)),
        }
    }

    fn measure(&self, measure: &Measure) {
        let metrics = &self.hands.metrics;
        match measure {
            Measure::Setup { since } => metrics.setup_seconds.observe(clock::now().since(*since).as_secs_f64()),
            Measure::QueueWait { seconds } => metrics.queue_wait_seconds.observe(*seconds),
            Measure::SipRejected { reason } => metrics.sip_rejected_total.with_label_values(&[reason.as_str()]).inc(),
            Measure::CallRejected { reason } => metrics.sip_rejected_total.with_label_values(&[*reason]).inc(),
        }
    }

    fn measure_media(&self, event: &MediaEvent) {
        match event {
            MediaEvent::OpenFailed { reason, .. } => tracing::warn!(reason, "a leg's ports could not be bound"),
            MediaEvent::RecordingFailed { recording, reason } => {
                tracing::error!(recording.id = %recording, reason, "a recording failed");
            }
            MediaEvent::Digit { .. }
            | MediaEvent::Played { .. }
            | MediaEvent::Silent { .. }
            | MediaEvent::Closed { .. }
            | MediaEvent::RecordingResumed { .. }
            | MediaEvent::RecordingSealed { .. } => {}
        }
    }

    fn measure_call(&self, record: &CallRecord) {
        let labels = [record.tenant.as_str(), direction(record.direction), outcome(record.outcome)];
        self.hands.metrics.calls_total.with_label_values(&labels).inc();
        tracing::info!(
            call.id = %record.id,
            tenant = %record.tenant,
            outcome = outcome(record.outcome),
            cause = record.cause,
            wait_ms = record.wait_ms,
            talk_ms = record.talk_ms,
            "a call ended"
        );
    }

    /// Publishes what changed, when its time has come.
    fn publish(&mut self) {
        let is_idle = self.engine.is_idle();
        self.published.idle.send_if_modified(|idle| std::mem::replace(idle, is_idle) != is_idle);
        let version = self.engine.live_version();
        if self.published_version == Some(version) || Instant::now() < self.publish_from {
            return;
        }
        self.published_version = Some(version);
        self.publish_from = Instant::now() + PUBLISH_EVERY;
        let live = self.engine.live(clock::now()).into_iter().map(|(tenant, live)| (tenant, Arc::new(live))).collect();
        self.published.live.send_replace(Arc::new(live));
    }

    fn next_wake(&self) -> Option<Instant> {
        let unpublished = self.published_version != Some(self.engine.live_version());
        let publish = unpublished.then_some(self.publish_from);
        let deadline = self.engine.poll_deadline().map(clock::instant_of);
        [publish, deadline].into_iter().flatten().min()
    }
}

/// A time that is not waited for.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Internal => "internal",
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::AbandonedIvr => "abandoned_ivr",
        Outcome::AbandonedQueue => "abandoned_queue",
        Outcome::AbandonedRinging => "abandoned_ringing",
        Outcome::Overflowed => "overflowed",
        Outcome::Voicemail => "voicemail",
        Outcome::Callback => "callback",
        Outcome::Rejected => "rejected",
        Outcome::Failed => "failed",
        Outcome::Interrupted => "interrupted",
        Outcome::CompletedIvr => "completed_ivr",
        Outcome::NoAnswer => "no_answer",
        Outcome::Busy => "busy",
    }
}
