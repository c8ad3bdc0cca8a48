use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{fs, io, thread};

use cti_base::{CallId, RecordingId, TenantId, Timestamp};
use cti_media::MediaEvent;

use crate::store::{StoreConfig, StoreError};
use crate::writer::{Open, Writer, create};
use crate::{Counters, ErrorReason};

/// Pieces of audio that wait for the writer: some five seconds of 120 recordings at 20 ms a piece.
pub const AUDIO_QUEUE_MAX: usize = 32_768;
/// Beginnings and ends that wait for the writer, beside the audio, so that a slow disk never loses one first.
pub const CONTROL_QUEUE_MAX: usize = 8_192;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecorderError {
    /// Counted. Audio that met this becomes silence of the same length, so the sides stay aligned.
    #[error("the recorder's queue is full: the disk does not keep up")]
    Full,
    #[error("the recorder has stopped")]
    Stopped,
}

pub(crate) enum Command {
    Begin {
        recording: RecordingId,
        tenant: TenantId,
        call: CallId,
        started: Timestamp,
    },
    Write {
        recording: RecordingId,
        /// Frames of silence that come first, for audio that the full queue refused.
        silence: u64,
        samples: Vec<i16>,
    },
    Stop {
        recording: RecordingId,
        silence: u64,
    },
    Close,
}

/// What handles and writer share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) counters: Arc<Counters>,
    /// Pieces of audio in the queue.
    pub(crate) audio_queued: AtomicUsize,
    /// How many recordings stand in `owed`: the usual path reads only this.
    owing: AtomicU64,
    /// Frames refused since the last accepted piece. At most one entry a recording that ran into a full queue.
    owed: Mutex<BTreeMap<RecordingId, u64>>,
}

/// The handle: clone it freely. The thread ends, with every open recording sealed, after `close` or the last handle.
#[derive(Clone)]
pub struct Recorder {
    commands: SyncSender<Command>,
    shared: Arc<Shared>,
}

/// The writer's end, to be waited for at shutdown.
pub struct RecorderThread(JoinHandle<()>);

impl RecorderThread {
    /// Waits until every recording is sealed and its event is out.
    pub fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the recorder's thread ended by a panic");
        }
    }
}

impl Recorder {
    /// Makes the root and starts the writer. `events` is called from the writer's threads with `RecordingSealed` and
    /// `RecordingFailed`, one for each recording begun; it should not block.
    pub fn start(
        store: StoreConfig,
        events: impl Fn(MediaEvent) + Send + 'static,
    ) -> Result<(Self, RecorderThread), StoreError> {
        Self::start_with(store, events, create)
    }

    pub(crate) fn start_with(
        store: StoreConfig,
        events: impl Fn(MediaEvent) + Send + 'static,
        open: Open,
    ) -> Result<(Self, RecorderThread), StoreError> {
        writable(&store.root).map_err(|error| StoreError::io(&store.root, error))?;
        let (commands, inbox) = sync_channel(AUDIO_QUEUE_MAX + CONTROL_QUEUE_MAX);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(store.clone(), Arc::clone(&shared), Arc::new(Mutex::new(events)), open);
        let thread = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || writer.run(&inbox))
            .map_err(|error| StoreError::io(&store.root, error))?;
        Ok((Self { commands, shared }, RecorderThread(thread)))
    }

    /// Opens the recording's file. `started` names its day.
    pub fn begin(
        &self,
        recording: RecordingId,
        tenant: TenantId,
        call: CallId,
        started: Timestamp,
    ) -> Result<(), RecorderError> {
        self.send(Command::Begin { recording, tenant, call, started })
    }

    /// Adds audio: interleaved stereo, customer first, linear 16-bit at 8 kHz. Nothing is added to a recording that is not
    /// running (it failed, or never began).
    pub fn write(&self, recording: RecordingId, samples: Vec<i16>) -> Result<(), RecorderError> {
        let frames = samples.len() as u64 / 2;
        if self.shared.audio_queued.fetch_add(1, Ordering::Relaxed) >= AUDIO_QUEUE_MAX {
            self.shared.audio_queued.fetch_sub(1, Ordering::Relaxed);
            self.owe(recording, frames);
            self.shared.counters.error(ErrorReason::QueueFull);
            return Err(RecorderError::Full);
        }
        let silence = self.take_owed(recording);
        let sent = self.send(Command::Write { recording, silence, samples });
        if let Err(error) = sent {
            self.shared.audio_queued.fetch_sub(1, Ordering::Relaxed);
            if error == RecorderError::Full {
                self.owe(recording, silence + frames);
            }
        }
        sent
    }

    /// Ends the recording: `RecordingSealed` follows, soon. On `Full` try again.
    pub fn stop(&self, recording: RecordingId) -> Result<(), RecorderError> {
        let silence = self.take_owed(recording);
        let sent = self.send(Command::Stop { recording, silence });
        if sent == Err(RecorderError::Full) {
            self.owe(recording, silence);
        }
        sent
    }

    /// Seals everything and ends the thread, though other handles live on. On `Full` try again.
    pub fn close(&self) -> Result<(), RecorderError> {
        self.send(Command::Close)
    }

    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    fn send(&self, command: Command) -> Result<(), RecorderError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.shared.counters.error(ErrorReason::QueueFull);
                RecorderError::Full
            }
            TrySendError::Disconnected(_) => RecorderError::Stopped,
        })
    }

    fn owe(&self, recording: RecordingId, frames: u64) {
        if frames == 0 {
            return;
        }
        let mut owed = self.shared.owed.lock().unwrap_or_else(PoisonError::into_inner);
        *owed.entry(recording).or_insert(0) += frames;
        self.shared.owing.store(owed.len() as u64, Ordering::Release);
    }

    fn take_owed(&self, recording: RecordingId) -> u64 {
        if self.shared.owing.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let mut owed = self.shared.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = owed.remove(&recording).unwrap_or(0);
        self.shared.owing.store(owed.len() as u64, Ordering::Release);
        frames
    }
}

/// A root that can not be written is better known at start than at the first call.
fn writable(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let probe = root.join(".zongji-probe");
    fs::write(&probe, b"")?;
    fs::remove_file(&probe)
}
