//! The one task that owns the engine: inputs in, effects carried out in order once their inputs are in the journal, deadlines
//! kept, the live state published.
//!
//! It runs on a thread of its own with a runtime of its own, in which SIP's datagrams are read too: between a datagram and
//! the engine there is no other thread. It never awaits anything but its queues and its deadline.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_gateway::Hub;
use cti_base::TenantId;
use cti_media::MediaEvent;
use cti_sip::wire::is_registered;
use cti_sip::{Transmit, Transport};
use cti_switch::desk::Direction;
use cti_switch::live::Live;
use cti_switch::{CallRecord, Effect, Engine, Fact, Input, Measure, Outcome};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::journal::Appender;
use crate::journal::hold::Hold;
use crate::lookup::LookUps;
use crate::media_worker::MediaWorkers;
use crate::metrics::Metrics;
use crate::net::guard::Guard;
use crate::net::inbox::{Inbox, Outlet, Pause};
use crate::net::streams::Streams;
use crate::net::udp::{Bound, Udp};

/// The live state is published at most this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Turns taken for what is left when the task is stopped.
const LAST_TURNS_MAX: usize = 256;
/// How long an end or a hand-over waits for the journal.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// What the program ends with when the switch panics.
const EXIT_PANIC: i32 = 1;
/// Inputs of each queue that are taken in one turn, before datagrams are read and deadlines looked at again.
const TURN_INPUTS_MAX: usize = 64;

/// Whoever carries out an effect that is not the switch's own.
pub struct Hands {
    pub streams: Streams,
    pub guard: Guard,
    pub media: MediaWorkers,
    pub hub: Hub,
    pub lookups: LookUps,
    pub metrics: Metrics,
}

/// An engine and the journal that it came from.
pub struct Origin {
    pub engine: Engine,
    pub journal: Appender,
    /// The engine is that of a process before this one.
    pub taken_up: bool,
}

/// How inputs come in: SIP over UDP is read on the task's own thread.
pub struct Ways {
    pub sockets: Vec<Bound>,
    pub inbox: Inbox,
    pub outlet: Outlet,
}

/// What the task publishes: the live state, and whether no call is left.
pub struct Published {
    pub live: watch::Sender<Arc<BTreeMap<TenantId, Arc<Live>>>>,
    pub idle: watch::Sender<bool>,
}

struct Task {
    engine: Engine,
    hold: Hold,
    udp: Vec<Udp>,
    hands: Hands,
    outlet: Outlet,
    /// What carrying out an effect came to, for the engine.
    echoes: VecDeque<Input>,
    published: Published,
    /// The engine's version, and whether the journal's alarm is on.
    published_version: Option<(u64, bool)>,
    publish_from: Instant,
    /// The engine is another process's.
    taken_up: bool,
    stop: CancellationToken,
}

/// Starts the thread. On `stop` it takes in what has come, writes a snapshot and ends; should it end otherwise, it cancels
/// `stop` itself, so that all ends with it.
pub fn spawn(
    origin: Origin,
    ways: Ways,
    hands: Hands,
    published: Published,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("switch".into()).spawn(move || {
        let _ends_all = stop.clone().drop_guard();
        let task = async move {
            let mut udp = Vec::new();
            for bound in ways.sockets {
                match Udp::new(bound) {
                    Ok(socket) => {
                        tokio::spawn(socket.clone().read(ways.inbox.clone(), hands.metrics.clone()));
                        udp.push(socket);
                    }
                    Err(error) => {
                        tracing::error!(%error, "a SIP socket can not be read");
                        return;
                    }
                }
            }
            let task = Task {
                engine: origin.engine,
                hold: Hold::new(origin.journal),
                udp,
                hands,
                outlet: ways.outlet,
                echoes: VecDeque::new(),
                published,
                published_version: None,
                publish_from: Instant::now(),
                taken_up: origin.taken_up,
                stop,
            };
            task.run().await;
        };
        // The input that did it is not in the journal, so that the next process goes on from before it: the sooner the better.
        if catch_unwind(AssertUnwindSafe(|| runtime.block_on(task))).is_err() {
            tracing::error!("the switch ended by a panic: the program ends, to be started again");
            std::process::exit(EXIT_PANIC);
        }
    })
}

impl Task {
    async fn run(mut self) {
        self.take_up();
        self.until_stopped().await;
        // What came in before the end is still taken in, so that its facts are kept.
        self.take_in_the_rest();
        self.settle().await;
    }

    /// Before anything else comes in or falls due: the outside is made right for the calls that are there.
    fn take_up(&mut self) {
        if self.taken_up {
            self.handle(Input::Restarted);
        }
    }

    fn take_in_the_rest(&mut self) {
        for _ in 0..LAST_TURNS_MAX {
            if !self.turn() {
                return;
            }
        }
    }

    async fn stand_still(&mut self, pause: Pause) {
        self.take_in_the_rest();
        if self.settle().await && !self.hold.is_undurable() && pause.still.send(()).is_ok() {
            // An end without a word means the same.
            let _ = pause.go_on.await;
        }
    }

    async fn until_stopped(&mut self) {
        let mut durable = self.hold.durable();
        while !self.stop.is_cancelled() {
            let worked = self.turn();
            self.publish();
            if worked {
                tokio::task::yield_now().await;
                continue;
            }
            let room = self.hold.has_room();
            let wake = self.next_wake(room);
            let input = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Ok(()) = durable.changed() => continue,
                Some(pause) = self.outlet.pauses.recv() => {
                    self.stand_still(pause).await;
                    continue;
                }
                input = self.outlet.other.recv(), if room => input,
                input = self.outlet.sip.recv(), if room => input,
                () = tokio::time::sleep_until(wake.unwrap_or_else(far).into()), if wake.is_some() => continue,
            };
            match input {
                Some(input) => self.handle(input),
                None => return,
            }
        }
    }

    /// Everything on disk, with a snapshot, and its effects out. False where the journal does not take it in time.
    async fn settle(&mut self) -> bool {
        let mut durable = self.hold.durable();
        let until = tokio::time::Instant::now() + SETTLE_MAX;
        let mut closed = false;
        loop {
            self.hold.turn(&self.engine);
            self.carry_out_released();
            if self.hold.is_empty() {
                if closed {
                    return true;
                }
                closed = true;
                self.hold.close(&self.engine);
                continue;
            }
            // A group of which nothing goes out waits for the next: here until its time has come.
            let wake = self.hold.wake().map_or(until, |wake| until.min(wake.into()));
            let gone = matches!(tokio::time::timeout_at(wake, durable.changed()).await, Ok(Err(_)));
            if gone || tokio::time::Instant::now() >= until {
                tracing::error!(limit_s = SETTLE_MAX.as_secs(), "the journal did not take the last group in time");
                return false;
            }
        }
    }

    /// What is durable goes out; then a deadline, and some of each queue: whatever floods one leaves the other its share. False
    /// when there was nothing.
    fn turn(&mut self) -> bool {
        self.hold.turn(&self.engine);
        let mut worked = self.carry_out_released();
        self.echoes.extend(self.hands.lookups.overdue());
        for _ in 0..TURN_INPUTS_MAX {
            let Some(input) = self.next_echo() else { break };
            self.handle(input);
            worked = true;
        }
        if self.hold.has_room() && self.engine.poll_deadline().is_some_and(|at| at <= clock::now()) {
            self.handle(Input::Tick);
            worked = true;
        }
        for _ in 0..TURN_INPUTS_MAX {
            if !self.hold.has_room() {
                break;
            }
            let Ok(input) = self.outlet.other.try_recv() else { break };
            self.handle(input);
            worked = true;
        }
        for _ in 0..TURN_INPUTS_MAX {
            if !self.hold.has_room() {
                break;
            }
            let Ok(input) = self.outlet.sip.try_recv() else { break };
            self.handle(input);
            worked = true;
        }
        worked
    }

    fn next_echo(&mut self) -> Option<Input> {
        if self.hold.has_room() { self.echoes.pop_front() } else { None }
    }

    fn handle(&mut self, input: Input) {
        if let Input::Media(event) = &input {
            self.measure_media(event);
        }
        let now = clock::now();
        if self.engine.is_moot(now, &input) {
            return;
        }
        self.hold.input(now, &input);
        self.engine.handle(now, input);
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Fact(Fact::CallEnded { record }) = &effect {
                self.measure_call(record);
            }
            if let Some(effect) = self.hold.effect(now, effect) {
                self.carry_out(effect);
            }
        }
    }

    /// Whether there was any.
    fn carry_out_released(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.hold.released() {
            self.carry_out(effect);
            any = true;
        }
        self.hands.media.ring();
        any
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(transmit) => self.send(transmit),
            Effect::Media { call, command } => {
                if let Err(error) = self.hands.media.hand(call, command) {
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
            Effect::CallbackAnswer { id, result } => self.hands.hub.callback_answer(id, *result),
            // Facts are the journal's: none is released.
            Effect::Fact(_) => {}
            Effect::Measure(measure) => self.measure(&measure),
        }
    }

    fn send(&mut self, transmit: Transmit) {
        self.hands.metrics.sip_message(false, &transmit.bytes);
        let flow = transmit.flow;
        if is_registered(&transmit.bytes) {
            self.hands.guard.registered(flow.remote.ip());
        }
        match flow.transport {
            Transport::Udp => {
                let family = |udp: &&Udp| udp.local().is_ipv4() == flow.remote.is_ipv4();
                let named = self.udp.iter().find(|udp| udp.local() == flow.local);
                let socket = named.or_else(|| self.udp.iter().find(family));
                let sent = socket.map(|udp| udp.send(flow.remote, &transmit.bytes));
                if !matches!(sent, Some(Ok(()))) {
                    self.echoes.push_back(Input::SipTransportFailed(flow));
                }
            }
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                self.hands.streams.send(flow, transmit.bytes);
            }
        }
    }

    fn measure(&self, measure: &Measure) {
        let metrics = &self.hands.metrics;
        match measure {
            Measure::Setup { since } => metrics.setup_seconds.observe(clock::now().since(*since).as_secs_f64()),
            Measure::QueueWait { seconds } => metrics.queue_wait_seconds.observe(*seconds),
            Measure::EstimateError { estimator, seconds, naive_s } => {
                for (estimator, seconds) in [(*estimator, *seconds), ("naive", *naive_s)] {
                    metrics.wait_estimate_error_seconds.with_label_values(&[estimator]).observe(seconds);
                }
            }
            Measure::SipRejected { reason } => metrics.sip_rejected_total.with_label_values(&[reason.as_str()]).inc(),
            Measure::Unauthorized { user, source } => {
                metrics.sip_rejected_total.with_label_values(&["unauthorized"]).inc();
                self.hands.guard.failed(*source, user.expose());
            }
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
            | MediaEvent::Gone { .. }
            | MediaEvent::Quiet { .. }
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
        let is_idle = self.engine.is_idle() && self.hold.is_empty();
        self.published.idle.send_if_modified(|idle| std::mem::replace(idle, is_idle) != is_idle);
        let version = (self.engine.live_version(), self.hold.is_undurable());
        if self.published_version == Some(version) || Instant::now() < self.publish_from {
            return;
        }
        self.published_version = Some(version);
        self.publish_from = Instant::now() + PUBLISH_EVERY;
        let alarm = self.hold.alarm();
        let with_alarm = |(tenant, mut live): (TenantId, Live)| {
            live.alarms.extend(alarm.clone());
            (tenant, Arc::new(live))
        };
        let live = self.engine.live(clock::now()).into_iter().map(with_alarm).collect();
        self.published.live.send_replace(Arc::new(live));
    }

    /// Without `room` for an input no deadline is kept until the journal has caught up.
    fn next_wake(&self, room: bool) -> Option<Instant> {
        let version = (self.engine.live_version(), self.hold.is_undurable());
        let unpublished = self.published_version != Some(version);
        let publish = unpublished.then_some(self.publish_from);
        let deadline = self.engine.poll_deadline().filter(|_| room).map(clock::instant_of);
        [publish, deadline, self.hold.wake(), self.hands.lookups.wake()].into_iter().flatten().min()
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
