//! The media workers: RTP sockets, relay, the 20 ms clock, the recorder's feed.
//!
//! Each worker is one thread with one poll loop that owns its legs' sockets; a call's legs are all on the worker that its id
//! chooses. There is no task, timer or allocation per leg and packet. The rules of a leg are in [`cti_media::leg`]; here is
//! what touches sockets and the clock. **Send commands; news comes by the `events` callback, from the workers' threads.**
//! Neither way loses anything: a full worker is waited for, and news that the callback gives back are told again.

mod counters;
mod keys;
mod news;
mod play;
mod prompts;
mod recording;
mod room;
mod secure;
mod socket;
#[cfg(test)]
mod tests;
mod watch;
mod way;
mod worker;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cti_base::{CallId, LegId};
use cti_media::{MediaCommand, MediaEvent};
use mio::{Poll, Waker};
use recordings::Recorder;

pub use counters::MediaCounters;
pub use prompts::{PromptLibrary, PromptLibraryError};
pub(crate) use socket::bind as bind_voice;

use crate::browsers::{Browsers, Ear};
use worker::{WAKER, Worker};

/// Commands that wait for one worker: a restart brings some five for each leg, and what is more waits with its sender.
pub const COMMANDS_MAX: usize = 32_768;
/// How long a full worker is waited for: it has stopped working then.
const FULL_WAIT: Duration = Duration::from_secs(2);
/// How often a full worker is looked at.
const FULL_POLL: Duration = Duration::from_millis(1);
/// Packets of browsers that wait for one worker; what is more is lost, as in a socket.
const AUDIO_MAX: usize = 4_096;
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
    /// Where the legs of browsers lead; without it they are silent.
    pub browsers: Option<Browsers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    #[error("the media worker has had {COMMANDS_MAX} commands waiting for {} s and takes no more", FULL_WAIT.as_secs())]
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
    bell: Bell,
    /// A command was handed over and the bell not rung for it.
    unrung: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

/// Wakes a worker, once for a burst.
#[derive(Clone)]
struct Bell {
    waker: Arc<Waker>,
    woken: Arc<AtomicBool>,
}

/// What comes to a worker otherwise than by its sockets.
struct Inbox {
    commands: Receiver<Message>,
    audio: Receiver<(LegId, Vec<u8>)>,
    woken: Arc<AtomicBool>,
}

/// The browsers' side of a worker's inbox.
struct AudioIn {
    audio: SyncSender<(LegId, Vec<u8>)>,
    bell: Bell,
}

impl AudioIn {
    fn ear(&self) -> Ear {
        let (audio, bell) = (self.audio.clone(), self.bell.clone());
        Arc::new(move |leg, packet| {
            let taken = audio.try_send((leg, packet)).is_ok();
            bell.ring();
            taken
        })
    }
}

enum Message {
    Command(MediaCommand),
    Stop,
    Leave,
}

impl MediaWorkers {
    /// Starts the threads. `events` is called from them and must not block: what it has no room for it gives back.
    pub fn start(
        config: MediaConfig,
        prompts: Arc<PromptLibrary>,
        recorder: Recorder,
        events: impl Fn(MediaEvent) -> Result<(), MediaEvent> + Send + Clone + 'static,
    ) -> io::Result<Self> {
        let count = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let counters = Arc::new(MediaCounters::default());
        let mut workers = Self { lanes: Vec::with_capacity(count), counters: Arc::clone(&counters) };
        for number in 0..count {
            let poll = Poll::new()?;
            let woken = Arc::new(AtomicBool::new(false));
            let bell = Bell { waker: Arc::new(Waker::new(poll.registry(), WAKER)?), woken: Arc::clone(&woken) };
            let (commands, commands_out) = sync_channel(COMMANDS_MAX);
            let (audio, audio_out) = sync_channel(AUDIO_MAX);
            let inbox = Inbox { commands: commands_out, audio: audio_out, woken };
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(io::Error::other)?;
            let worker = Worker::new(
                config.clone(),
                poll,
                (inbox, AudioIn { audio, bell: bell.clone() }),
                Arc::clone(&prompts),
                recorder.clone(),
                events.clone(),
                Arc::clone(&counters),
                cti_base::Rng::from_seed(seed),
            );
            let thread = std::thread::Builder::new().name(format!("media-{number}")).spawn(move || worker.run())?;
            workers.lanes.push(Lane { commands, bell, unrung: AtomicBool::new(false), thread: Some(thread) });
        }
        Ok(workers)
    }

    /// Hands a command to the worker of this call. Where it has too many waiting, this waits until it has taken some.
    pub fn send(&self, call: CallId, command: MediaCommand) -> Result<(), MediaError> {
        let sent = self.hand(call, command);
        self.ring();
        sent
    }

    /// The same of several commands, which the workers look at no later than [`MediaWorkers::ring`]: to wake a thread costs
    /// more than most commands.
    pub fn hand(&self, call: CallId, command: MediaCommand) -> Result<(), MediaError> {
        let lane = &self.lanes[(call.as_u128() % self.lanes.len() as u128) as usize];
        lane.hand(Message::Command(command)).inspect_err(|_| self.counters.command_lost())
    }

    /// Wakes the workers that were handed something.
    pub fn ring(&self) {
        for lane in &self.lanes {
            if lane.unrung.swap(false, Ordering::Relaxed) {
                lane.bell.ring();
            }
        }
    }

    pub fn counters(&self) -> Arc<MediaCounters> {
        Arc::clone(&self.counters)
    }

    /// Ends the workers for a process that goes on with their legs: what was recorded up to now is given to the recorder, but
    /// no recording is ended. Let the recorder `leave` then.
    pub fn leave(mut self) {
        self.end(|| Message::Leave);
    }

    fn end(&mut self, how: impl Fn() -> Message) {
        for lane in &mut self.lanes {
            // A lane too full to hear it ends when its sender is gone.
            let ending = lane.send(how()).is_ok();
            if let Some(thread) = lane.thread.take()
                && ending
                && thread.join().is_err()
            {
                tracing::error!("a media worker ended by a panic");
            }
        }
    }
}

impl Drop for MediaWorkers {
    fn drop(&mut self) {
        self.end(|| Message::Stop);
    }
}

impl Lane {
    fn send(&self, message: Message) -> Result<(), MediaError> {
        self.hand(message)?;
        self.bell.ring();
        Ok(())
    }

    fn hand(&self, mut message: Message) -> Result<(), MediaError> {
        let mut until = None;
        loop {
            message = match self.commands.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return Err(MediaError::Stopped),
                Err(TrySendError::Full(message)) => message,
            };
            self.bell.ring();
            let now = Instant::now();
            if now > *until.get_or_insert(now + FULL_WAIT) {
                return Err(MediaError::Full);
            }
            std::thread::park_timeout(FULL_POLL);
        }
        self.unrung.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Bell {
    fn ring(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a media worker can not be woken");
        }
    }
}
