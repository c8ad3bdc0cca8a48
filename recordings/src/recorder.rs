use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use std::{fs, io, thread};

use cti_base::{CallId, RecordingId, TenantId, Timestamp};
use cti_media::MediaEvent;

use crate::store::{StoreConfig, StoreError};
use crate::unclaimed::{self, Claims};
use crate::writer::{Open, Writer, create, is_full};
use crate::{Counters, ErrorReason};

/// Pieces of audio that wait for the writer: sixteen seconds of 200 recordings at five pieces a second, some 100 MB.
pub const AUDIO_QUEUE_MAX: usize = 16_384;
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
    Resume {
        recording: RecordingId,
        tenant: TenantId,
        call: CallId,
        started: Timestamp,
        /// The frame that the next piece begins at, counted from the start.
        frame: u64,
    },
    Seal {
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
    Leave,
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
    /// Recordings that were asked for since the start, while the search for those nobody asks for goes on.
    pub(crate) claims: Claims,
}

/// The handle: clone it freely. The thread ends, with every open recording sealed, after `close` or the last handle.
#[derive(Clone)]
pub struct Recorder {
    store: StoreConfig,
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
    /// Makes the root and starts the writer. `events` is called from one thread of its own, in order, and may block: no audio
    /// waits for it. Each recording begun, resumed or to be sealed ends with one `RecordingSealed` or `RecordingFailed`.
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
        match writable(&store.root) {
            // Calls must be taken with a full disk as well; each recording tells of it.
            Err(error) if is_full(&error) => {
                tracing::error!(root = %store.root.display(), "the recordings' disk is full")
            }
            probed => probed.map_err(|error| StoreError::io(&store.root, error))?,
        }
        let (commands, inbox) = sync_channel(AUDIO_QUEUE_MAX + CONTROL_QUEUE_MAX);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(store.clone(), Arc::clone(&shared), open);
        let thread = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || writer.run(&inbox, events))
            .map_err(|error| StoreError::io(&store.root, error))?;
        Ok((Self { store, commands, shared }, RecorderThread(thread)))
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

    /// Goes on with a recording of an earlier process: its file is repaired to its last whole frame, silence follows up to
    /// `frame` (counted from `started`), and what is written then stands behind it. `RecordingResumed` tells the gap. Without
    /// a file it begins anew, with silence from the start. The silence is at most [`RESUME_GAP_MAX`] long.
    ///
    /// [`RESUME_GAP_MAX`]: crate::RESUME_GAP_MAX
    pub fn resume(
        &self,
        recording: RecordingId,
        tenant: TenantId,
        call: CallId,
        started: Timestamp,
        frame: u64,
    ) -> Result<(), RecorderError> {
        self.send(Command::Resume { recording, tenant, call, started, frame })
    }

    /// Repairs and seals the file of a recording that an earlier process had ended, though it may be sealed already.
    pub fn seal(
        &self,
        recording: RecordingId,
        tenant: TenantId,
        call: CallId,
        started: Timestamp,
    ) -> Result<(), RecorderError> {
        self.send(Command::Seal { recording, tenant, call, started })
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

    /// Ends the thread and leaves every open recording as it is, whole and playable, for another process to resume. On `Full`
    /// try again.
    pub fn leave(&self) -> Result<(), RecorderError> {
        self.send(Command::Leave)
    }

    /// Looks once, on a thread of its own and after `wait`, for broken-off files of the last days that nobody has asked for by
    /// then: they are repaired, logged and counted, and never deleted.
    pub fn search_unclaimed(&self, wait: Duration) {
        self.shared.claims.begin();
        let (root, shared, since) = (self.store.root.clone(), Arc::clone(&self.shared), SystemTime::now());
        let spawned = thread::Builder::new().name("recording-search".into()).spawn(move || {
            thread::sleep(wait);
            unclaimed::search(&root, &shared, since);
            shared.claims.end();
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "broken-off recordings are not looked for");
            self.shared.claims.end();
        }
    }

    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
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
