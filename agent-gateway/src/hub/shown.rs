use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cti_base::OfferId;
use cti_switch::Input;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::Observers;

/// The phone rings at the latest this long after the offer, however slow the socket.
const SHOWN_WITHIN: Duration = Duration::from_millis(20);

/// The duty to tell the switch, once, that an offer's frame was handed over: when it is written, when the socket is gone, or when
/// it takes too long.
pub struct Shown(Arc<Duty>);

struct Duty {
    offer: OfferId,
    offered: Instant,
    done: AtomicBool,
    inbox: mpsc::Sender<Input>,
    runtime: Handle,
    observers: Observers,
}

impl Shown {
    pub fn new(offer: OfferId, inbox: mpsc::Sender<Input>, runtime: Handle, observers: Observers) -> Self {
        let done = AtomicBool::new(false);
        Self(Arc::new(Duty { offer, offered: Instant::now(), done, inbox, runtime, observers }))
    }

    /// Tells the switch anyway where the frame is not written in time.
    pub fn limit(&self) {
        let duty = self.0.clone();
        self.0.runtime.spawn(async move {
            tokio::time::sleep(SHOWN_WITHIN).await;
            duty.tell();
        });
    }

    /// The frame is on the socket.
    pub fn written(&self) {
        (self.0.observers.pop)(self.0.offered.elapsed());
        self.0.tell();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Duty {
    fn tell(&self) {
        if self.done.swap(true, Ordering::AcqRel) {
            return;
        }
        let input = Input::OfferShown { offer: self.offer };
        if let Err(mpsc::error::TrySendError::Full(input)) = self.inbox.try_send(input) {
            let inbox = self.inbox.clone();
            // At most one waits for each offer in the air; a closed inbox has no one to tell.
            self.runtime.spawn(async move { inbox.send(input).await });
        }
    }
}
