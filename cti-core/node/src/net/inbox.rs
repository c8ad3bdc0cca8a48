//! The way into the switch: two bounded queues, one for SIP messages and one for everything else.
//!
//! SIP over UDP may be dropped when there is too much of it: its sender repeats. Everything else waits for its place.

use bytes::Bytes;
use cti_sip::{Flow, Packet};
use cti_switch::Input;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;

/// SIP messages that wait for the switch: at 2,000 a second, two seconds' worth.
pub const SIP_QUEUE_MAX: usize = 4_096;
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
pub fn inbox(metrics: Metrics) -> (Inbox, Outlet) {
    let (sip, sip_out) = mpsc::channel(SIP_QUEUE_MAX);
    let (other, other_out) = mpsc::channel(INPUT_QUEUE_MAX);
    let (pauses, pauses_out) = mpsc::channel(1);
    (Inbox { sip, other, pauses, metrics }, Outlet { sip: sip_out, other: other_out, pauses: pauses_out })
}

impl Inbox {
    /// A datagram: counted, and dropped where the queue is full.
    pub fn datagram(&self, flow: Flow, bytes: Bytes) {
        self.metrics.sip_message(true, &bytes);
        if self.sip.try_send(Input::Sip(Packet { flow, bytes })).is_err() {
            self.metrics.inputs_dropped_total.with_label_values(&["sip"]).inc();
        }
    }

    /// A message of a stream: it waits, and the stream with it. False when the switch is gone.
    pub async fn message(&self, flow: Flow, bytes: Bytes) -> bool {
        self.metrics.sip_message(true, &bytes);
        self.sip.send(Input::Sip(Packet { flow, bytes })).await.is_ok()
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
