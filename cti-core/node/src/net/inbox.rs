//! The way into the switch: two bounded queues, one for SIP messages and one for everything else.
//!
//! SIP over UDP may be dropped when there is too much of it: its sender repeats. Everything else waits for its place.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cti_sip::wire::no_room;
use cti_sip::{Flow, Packet};
use cti_switch::Input;
use tokio::sync::{mpsc, oneshot};

use super::guard::{Guard, Verdict};
use crate::metrics::Metrics;

/// SIP messages that wait for the switch: at 2,000 a second, two seconds' worth.
pub const SIP_QUEUE_MAX: usize = 4_096;
/// With so many before it the switch is behind: new calls get 503, so that those that are there go on.
pub const SIP_QUEUE_BEHIND: usize = 512;
/// When a caller who got that may come again, seconds.
const RETRY_AFTER_S: u64 = 5;
/// All other inputs that wait for the switch.
pub const INPUT_QUEUE_MAX: usize = 16_384;

// At the start every tenant waits here before the switch takes its first input.
const _: () = assert!(INPUT_QUEUE_MAX > cti_switch::limits::TENANTS_MAX);

/// The senders' side, cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    sip: mpsc::Sender<Input>,
    other: mpsc::Sender<Input>,
    pauses: mpsc::Sender<Pause>,
    metrics: Metrics,
    guard: Guard,
}

/// What the guard did with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// Turned away, or there is nothing to do about it.
    Dropped,
    /// This goes back to its sender.
    Answered(Bytes),
    /// The stream that it came by is to be closed.
    Close,
}

/// Asks the switch to stand still between two inputs, with everything that has come taken in and on disk. It goes on when the
/// other end of `go_on` is dropped.
pub struct Pause {
    pub still: oneshot::Sender<()>,
    pub go_on: oneshot::Receiver<()>,
}

/// The switch's side.
pub struct Outlet {
    pub sip: mpsc::Receiver<Input>,
    pub other: mpsc::Receiver<Input>,
    pub pauses: mpsc::Receiver<Pause>,
}

/// Both ends.
pub fn inbox(metrics: Metrics, guard: Guard) -> (Inbox, Outlet) {
    let (sip, sip_out) = mpsc::channel(SIP_QUEUE_MAX);
    let (other, other_out) = mpsc::channel(INPUT_QUEUE_MAX);
    let (pauses, pauses_out) = mpsc::channel(1);
    (Inbox { sip, other, pauses, metrics, guard }, Outlet { sip: sip_out, other: other_out, pauses: pauses_out })
}

impl Inbox {
    /// A datagram: counted, and dropped where its sender has no right to more or the queue is full.
    pub fn datagram(&self, flow: Flow, bytes: &[u8]) -> Taken {
        self.metrics.sip_message(true, bytes);
        match self.check(flow, bytes) {
            Verdict::Pass => {
                let bytes = Bytes::copy_from_slice(bytes);
                if self.sip.try_send(Input::Sip(Packet { flow, bytes })).is_err() {
                    self.metrics.inputs_dropped_total.with_label_values(&["sip"]).inc();
                }
                Taken::Yes
            }
            Verdict::Ignore | Verdict::TooFast | Verdict::Banned => Taken::Dropped,
            Verdict::NoRoom => self.refused(flow, &Bytes::copy_from_slice(bytes)),
        }
    }

    /// A message of a stream: it waits, and the stream with it, until its sender may send it and there is room.
    pub async fn message(&self, flow: Flow, bytes: Bytes) -> Taken {
        /// How soon a stream that is too fast is asked for again.
        const TOO_FAST_PAUSE: Duration = Duration::from_millis(50);
        self.metrics.sip_message(true, &bytes);
        loop {
            match self.check(flow, &bytes) {
                Verdict::Pass => {
                    let sent = self.sip.send(Input::Sip(Packet { flow, bytes })).await;
                    return if sent.is_ok() { Taken::Yes } else { Taken::Close };
                }
                Verdict::TooFast => tokio::time::sleep(TOO_FAST_PAUSE).await,
                Verdict::Ignore => return Taken::Dropped,
                Verdict::Banned => return Taken::Close,
                Verdict::NoRoom => return self.refused(flow, &bytes),
            }
        }
    }

    /// Whether a source may connect.
    pub fn may_connect(&self, source: IpAddr) -> bool {
        self.guard.may_connect(Instant::now(), source)
    }

    fn check(&self, flow: Flow, bytes: &[u8]) -> Verdict {
        let behind = SIP_QUEUE_MAX - self.sip.capacity() >= SIP_QUEUE_BEHIND;
        let verdict = self.guard.check(Instant::now(), flow.remote.ip(), bytes, behind);
        let reason = match verdict {
            Verdict::Pass | Verdict::Ignore => return verdict,
            Verdict::TooFast => "too_fast",
            Verdict::Banned => "banned",
            Verdict::NoRoom => "overload",
        };
        self.metrics.sip_rejected_total.with_label_values(&[reason]).inc();
        verdict
    }

    fn refused(&self, flow: Flow, bytes: &Bytes) -> Taken {
        no_room(bytes, flow.remote, RETRY_AFTER_S).map_or(Taken::Dropped, Taken::Answered)
    }

    /// Anything else, waiting for its place. False when the switch is gone.
    pub async fn send(&self, input: Input) -> bool {
        self.other.send(input).await.is_ok()
    }

    /// Anything else from a thread of its own, which waits for its place. False when the switch is gone.
    pub fn send_blocking(&self, input: Input) -> bool {
        self.other.blocking_send(input).is_ok()
    }

    /// Anything else from a thread that must not wait and can try again: given back where the queue is full. What the switch
    /// is no longer there for counts as taken.
    pub fn offer(&self, input: Input) -> Result<(), Input> {
        match self.other.try_send(input) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(input)) => Err(input),
        }
    }

    /// Anything else from a thread that must not wait; counted and logged where it is lost.
    pub fn try_send(&self, input: Input) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.other.try_send(input) {
            self.metrics.inputs_dropped_total.with_label_values(&["other"]).inc();
            tracing::error!(limit = INPUT_QUEUE_MAX, "the switch's input queue is full: an input is lost");
        }
    }

    /// Has the switch stand still. False when it is gone.
    pub async fn pause(&self, pause: Pause) -> bool {
        self.pauses.send(pause).await.is_ok()
    }

    /// The sender that the gateway is given.
    pub fn other(&self) -> mpsc::Sender<Input> {
        self.other.clone()
    }
}
