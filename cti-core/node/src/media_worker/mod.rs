//! The media workers: RTP sockets, relay, the 20 ms clock, the recorder's feed.
//!
//! Each worker is one thread with one poll loop that owns its legs' sockets; a call's legs are all on the worker that its id
//! chooses. There is no task, timer or allocation per leg and packet. The rules of a leg are in [`cti_media::leg`]; here is
//! what touches sockets and the clock. **Send commands; news comes by the `events` callback, from the workers' threads.**

mod counters;
mod play;
mod prompts;
mod recording;
mod socket;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use cti_base::CallId;
use cti_media::{MediaCommand, MediaEvent};
use mio::{Poll, Waker};
use recordings::Recorder;

pub use counters::MediaCounters;
pub use prompts::{PromptLibrary, PromptLibraryError};

use worker::{WAKER, Worker};

/// Commands that wait for one worker.
pub const COMMANDS_MAX: usize = 65_536;
/// Legs of one worker.
pub const LEGS_MAX: usize = 16_384;

#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// The address that RTP and RTCP are bound on.
    pub ip: IpAddr,
    /// Threads; 0 is one a core.
    pub workers: usize,
    /// How long a talking leg may send nothing before `MediaEvent::Silent`.
    pub rtp_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    #[error("the media worker has {COMMANDS_MAX} commands waiting and takes no more")]
    Full,
    #[error("the media worker has stopped")]
    Stopped,
}

/// The running workers. Dropping it stops them: sockets are closed, open recordings are sealed.
pub struct MediaWorkers {
    lanes: Vec<Lane>,
    counters: Arc<MediaCounters>,
}

struct Lane {
    commands: SyncSender<Message>,
    waker: Waker,
    /// Whether a wake-up is under way, so that a burst of commands costs one.
    woken: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Command(MediaCommand),
    Stop,
}

impl MediaWorkers {
    /// Starts the threads. `events` is called from them and should not block.
    pub fn start(
        config: MediaConfig,
        prompts: Arc<PromptLibrary>,
        recorder: Recorder,
        events: impl Fn(MediaEvent) + Send + Clone + 'static,
    ) -> io::Result<Self> {
        let count = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let counters = Arc::new(MediaCounters::default());
        let mut workers = Self { lanes: Vec::with_capacity(count), counters: Arc::clone(&counters) };
        for number in 0..count {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            let woken = Arc::new(AtomicBool::new(false));
            let (commands, inbox) = sync_channel(COMMANDS_MAX);
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(io::Error::other)?;
            let worker = Worker::new(
                config.clone(),
                poll,
                (inbox, Arc::clone(&woken)),
                Arc::clone(&prompts),
                recorder.clone(),
                events.clone(),
                Arc::clone(&counters),
                cti_base::Rng::from_seed(seed),
            );
            let thread = std::thread::Builder::new().name(format!("media-{number}")).spawn(move || worker.run())?;
            workers.lanes.push(Lane { commands, waker, woken, thread: Some(thread) });
        }
        Ok(workers)
    }

    /// Hands a command to the worker of this call. Never blocks.
    pub fn send(&self, call: CallId, command: MediaCommand) -> Result<(), MediaError> {
        let lane = &self.lanes[(call.as_u128() % self.lanes.len() as u128) as usize];
        lane.send(Message::Command(command)).inspect_err(|_| self.counters.command_lost())
    }

    pub fn counters(&self) -> Arc<MediaCounters> {
        Arc::clone(&self.counters)
    }
}

impl Drop for MediaWorkers {
    fn drop(&mut self) {
        for lane in &mut self.lanes {
            // A lane too full to hear it ends when its sender is gone.
            let stopping = lane.send(Message::Stop).is_ok();
            if let Some(thread) = lane.thread.take()
                && stopping
                && thread.join().is_err()
            {
                tracing::error!("a media worker ended by a panic");
            }
        }
    }
}

impl Lane {
    fn send(&self, message: Message) -> Result<(), MediaError> {
        self.commands.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => MediaError::Full,
            TrySendError::Disconnected(_) => MediaError::Stopped,
        })?;
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a media worker can not be woken");
        }
        Ok(())
    }
}
