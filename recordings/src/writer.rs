use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use cti_base::{CallId, RecordingId, TenantId, Timestamp};
use cti_media::{Gap, MediaEvent};

use crate::recorder::{Command, Shared};
use crate::seal::{self, Sealed, repair};
use crate::store::{StoreConfig, StoreError, path_of, resolve};
use crate::wav::Wav;
use crate::{ErrorReason, FRAME_BYTES, SAMPLE_RATE_HZ, peaks};

/// Files open at once.
pub const RECORDINGS_MAX: usize = 4_096;
/// 24 hours; a WAV header's 32-bit sizes would reach 37.
pub const RECORDING_FRAMES_MAX: u64 = 24 * 3_600 * SAMPLE_RATE_HZ as u64;
/// The longest silence that stands for the time in which the program was down. Calls are taken up after less; a clock that was
/// set must not fill the disk.
pub const RESUME_GAP_MAX: Duration = Duration::from_secs(600);
/// What waits for its digest or to be told. The rest waits with the writer: at most a few entries a recording.
const CLOSING_QUEUE_MAX: usize = 4_096;
/// How far a file's header may lag behind its audio.
const HEADER_EVERY: Duration = Duration::from_secs(1);
const FRAMES_PER_MS: u64 = SAMPLE_RATE_HZ as u64 / 1_000;

pub(crate) type Open = fn(&Path) -> io::Result<File>;

/// A new file, not readable by others; the folders above it are made.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path)
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

struct OpenFile {
    /// Below the root.
    path: String,
    file: PathBuf,
    wav: Wav,
    header_at: Instant,
}

/// For the thread that may take its time.
enum Closing {
    Tell(MediaEvent),
    Seal(Finished),
}

struct Finished {
    recording: RecordingId,
    path: String,
    file: PathBuf,
    /// Its end is not as the writer left it.
    broken_off: bool,
    /// Why it ends before its call did. Counted already.
    incomplete: Option<String>,
}

pub(crate) struct Writer {
    store: StoreConfig,
    shared: Arc<Shared>,
    open: Open,
    recordings: BTreeMap<RecordingId, OpenFile>,
    closing: VecDeque<Closing>,
}

impl Writer {
    pub(crate) fn new(store: StoreConfig, shared: Arc<Shared>, open: Open) -> Self {
        Self { store, shared, open, recordings: BTreeMap::new(), closing: VecDeque::new() }
    }

    pub(crate) fn run(mut self, inbox: &Receiver<Command>, events: impl Fn(MediaEvent) + Send + 'static) {
        let (closer, closing) = sync_channel::<Closing>(CLOSING_QUEUE_MAX);
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("recording-seal".into()).spawn(move || {
            for one in closing {
                events(match one {
                    Closing::Tell(event) => event,
                    Closing::Seal(finished) => seal_one(&shared, finished),
                });
            }
        });
        let mut header_next = Instant::now() + HEADER_EVERY;
        loop {
            let wait = header_next.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => {
                    for (recording, open) in std::mem::take(&mut self.recordings) {
                        self.finish(recording, open);
                    }
                    break;
                }
                Ok(Command::Leave) => {
                    self.leave();
                    break;
                }
                Ok(command) => self.handle(command),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= header_next {
                header_next = self.update_headers();
            }
            self.hand_over(&closer);
        }
        for one in self.closing {
            if closer.send(one).is_err() {
                break;
            }
        }
        drop(closer);
        if !thread.is_ok_and(|thread| thread.join().is_ok()) {
            tracing::error!("the recorder's sealing thread ended by a panic, or never ran");
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Begin { recording, tenant, call, started } => {
                if let Some((path, file)) = self.place(recording, &tenant, call, started) {
                    self.begin(recording, path, file);
                }
            }
            Command::Resume { recording, tenant, call, started, frame } => {
                if let Some((path, file)) = self.place(recording, &tenant, call, started) {
                    self.resume(recording, path, file, frame);
                }
            }
            Command::Seal { recording, tenant, call, started } => {
                if let Some(open) = self.recordings.remove(&recording) {
                    self.finish(recording, open);
                } else if let Some((path, file)) = self.file_of(recording, &tenant, call, started) {
                    let finished = Finished { recording, path, file, broken_off: true, incomplete: None };
                    self.closing.push_back(Closing::Seal(finished));
                }
            }
            Command::Write { recording, silence, samples } => {
                self.shared.audio_queued.fetch_sub(1, Ordering::Relaxed);
                self.write(recording, silence, &samples);
            }
            Command::Stop { recording, silence } => {
                self.write(recording, silence, &[]);
                if let Some(open) = self.recordings.remove(&recording) {
                    self.finish(recording, open);
                }
            }
            Command::Close | Command::Leave => {}
        }
    }

    /// Where a recording that is to be opened has its file; `None` where it may not be opened.
    fn place(
        &mut self,
        recording: RecordingId,
        tenant: &TenantId,
        call: CallId,
        started: Timestamp,
    ) -> Option<(String, PathBuf)> {
        if self.recordings.contains_key(&recording) {
            self.shared.counters.error(ErrorReason::Unknown);
            tracing::warn!(%recording, "a recording that runs was begun again");
            return None;
        }
        if self.recordings.len() >= RECORDINGS_MAX {
            let reason = format!("{RECORDINGS_MAX} recordings run already");
            self.fail(recording, ErrorReason::Limit, reason);
            return None;
        }
        self.file_of(recording, tenant, call, started)
    }

    fn file_of(
        &mut self,
        recording: RecordingId,
        tenant: &TenantId,
        call: CallId,
        started: Timestamp,
    ) -> Option<(String, PathBuf)> {
        self.shared.claims.claim(recording);
        let root = &self.store.root;
        let place = path_of(tenant, call, recording, started)
            .and_then(|path| resolve(root, &path).map(|file| (path, file)))
            .map_err(|error: StoreError| self.fail(recording, ErrorReason::Open, error.to_string()));
        place.ok()
    }

    fn begin(&mut self, recording: RecordingId, path: String, file: PathBuf) {
        match self.create(&file) {
            Ok(wav) => self.insert(recording, path, file, wav),
            Err(error) => self.fail_to_open(recording, &path, &error),
        }
    }

    fn create(&self, file: &Path) -> io::Result<Wav> {
        let opened = (self.open)(file)?;
        Wav::begin(opened).inspect_err(|_| {
            // Made by us, and without a header it is no recording.
            let _ = fs::remove_file(file);
        })
    }

    fn resume(&mut self, recording: RecordingId, path: String, file: PathBuf, frame: u64) {
        let taken_up = match OpenOptions::new().read(true).write(true).open(&file) {
            Ok(opened) => Wav::take_up(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(&file).map(Some),
            Err(error) => Err(error),
        };
        let wav = match taken_up {
            Ok(Some(wav)) => wav,
            Ok(None) => {
                let reason = format!("{path} is there, but is no recording of this program");
                return self.fail(recording, ErrorReason::Open, reason);
            }
            Err(error) => return self.fail_to_open(recording, &path, &error),
        };
        let from = wav.frames();
        let gap_max = RESUME_GAP_MAX.as_millis() as u64 * FRAMES_PER_MS;
        // Behind a clock that was set back the recording goes on where it is.
        let silence = frame.saturating_sub(from).min(gap_max);
        self.insert(recording, path, file, wav);
        if self.write(recording, silence, &[]) {
            let gap = Gap { from_ms: from / FRAMES_PER_MS, to_ms: (from + silence) / FRAMES_PER_MS };
            tracing::info!(%recording, gap.from_ms, gap.to_ms, "a recording goes on");
            self.closing.push_back(Closing::Tell(MediaEvent::RecordingResumed { recording, gap }));
        }
    }

    fn insert(&mut self, recording: RecordingId, path: String, file: PathBuf, wav: Wav) {
        let header_at = Instant::now() + HEADER_EVERY;
        self.recordings.insert(recording, OpenFile { path, file, wav, header_at });
        self.shared.counters.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the recording still runs.
    fn write(&mut self, recording: RecordingId, silence: u64, samples: &[i16]) -> bool {
        let Some(open) = self.recordings.get_mut(&recording) else { return false };
        let before = open.wav.frames();
        if before + silence + samples.len() as u64 / 2 > RECORDING_FRAMES_MAX {
            let reason = "it is 24 hours long: the rest is not recorded".to_owned();
            self.give_up(recording, ErrorReason::Limit, reason);
            return false;
        }
        let written = open.wav.append_silence(silence).and_then(|()| open.wav.append(samples));
        let bytes = (open.wav.frames() - before) * FRAME_BYTES;
        self.shared.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(error) = &written {
            self.give_up_after(recording, error);
        }
        written.is_ok()
    }

    /// Brings the headers up to date and answers when this is due again.
    fn update_headers(&mut self) -> Instant {
        let now = Instant::now();
        let mut failed = Vec::new();
        let mut next = now + HEADER_EVERY;
        for (recording, open) in &mut self.recordings {
            if open.header_at <= now {
                open.header_at = now + HEADER_EVERY;
                if let Err(error) = open.wav.update_header() {
                    failed.push((*recording, error));
                }
            }
            next = next.min(open.header_at);
        }
        for (recording, error) in failed {
            self.give_up_after(recording, &error);
        }
        next
    }

    fn finish(&mut self, recording: RecordingId, open: OpenFile) {
        self.shared.counters.active.fetch_sub(1, Ordering::Relaxed);
        let OpenFile { path, file, mut wav, .. } = open;
        let incomplete = wav.update_header().err().map(|error| {
            let (reason, text) = told(&error, &path);
            self.shared.counters.error(reason);
            text
        });
        let broken_off = incomplete.is_some();
        self.closing.push_back(Closing::Seal(Finished { recording, path, file, broken_off, incomplete }));
    }

    fn leave(&mut self) {
        for (recording, mut open) in std::mem::take(&mut self.recordings) {
            self.shared.counters.active.fetch_sub(1, Ordering::Relaxed);
            if let Err(error) = open.wav.update_header() {
                tracing::warn!(%recording, %error, "a recording's header stays behind");
            }
        }
    }

    fn give_up_after(&mut self, recording: RecordingId, error: &io::Error) {
        let Some(open) = self.recordings.get(&recording) else { return };
        let (reason, text) = told(error, &open.path);
        self.give_up(recording, reason, text);
    }

    /// Ends one recording early: what its file has is made whole and sealed.
    fn give_up(&mut self, recording: RecordingId, reason: ErrorReason, text: String) {
        let Some(open) = self.recordings.remove(&recording) else { return };
        self.shared.counters.active.fetch_sub(1, Ordering::Relaxed);
        self.shared.counters.error(reason);
        tracing::error!(%recording, reason = reason.as_str(), "a recording ends early: {text}");
        let OpenFile { path, file, .. } = open;
        let finished = Finished { recording, path, file, broken_off: true, incomplete: Some(text) };
        self.closing.push_back(Closing::Seal(finished));
    }

    fn fail_to_open(&mut self, recording: RecordingId, path: &str, error: &io::Error) {
        let (reason, text) = told(error, path);
        self.fail(recording, if reason == ErrorReason::Write { ErrorReason::Open } else { reason }, text);
    }

    fn fail(&mut self, recording: RecordingId, reason: ErrorReason, text: String) {
        let event = failed(&self.shared, recording, reason, text);
        self.closing.push_back(Closing::Tell(event));
    }

    /// Gives the sealing thread what it has room for.
    fn hand_over(&mut self, closer: &SyncSender<Closing>) {
        while let Some(one) = self.closing.pop_front() {
            if let Err(TrySendError::Full(one) | TrySendError::Disconnected(one)) = closer.try_send(one) {
                self.closing.push_front(one);
                return;
            }
        }
    }
}

/// Why a file could not be written, and what to do about it.
fn told(error: &io::Error, path: &str) -> (ErrorReason, String) {
    if is_full(error) {
        let text = "the recordings' disk is full: make room on it, and new recordings begin by themselves";
        (ErrorReason::DiskFull, text.to_owned())
    } else {
        (ErrorReason::Write, format!("{path} can not be written ({error}): see to the recordings' disk"))
    }
}

/// The event says it all: whoever hears it logs it.
fn failed(shared: &Shared, recording: RecordingId, reason: ErrorReason, text: String) -> MediaEvent {
    shared.counters.error(reason);
    MediaEvent::RecordingFailed { recording, reason: text }
}

fn seal_one(shared: &Shared, one: Finished) -> MediaEvent {
    let Finished { recording, path, file: wav, broken_off, incomplete } = one;
    let repaired = if broken_off { repair(&wav).map(|_| ()) } else { Ok(()) };
    match (repaired.and_then(|()| seal::seal(&wav, &path)), incomplete) {
        // Nothing came of it: an empty file is no part of a recording.
        (Ok(Sealed { file, .. }), Some(reason)) if file.duration_ms == 0 => {
            for made in [peaks::path_beside(&wav), wav] {
                let _ = fs::remove_file(made);
            }
            MediaEvent::RecordingFailed { recording, reason }
        }
        (Ok(Sealed { mut file, peaks }), incomplete) => {
            if let Err(error) = peaks {
                shared.counters.error(ErrorReason::Peaks);
                tracing::warn!(%recording, %error, "a waveform could not be kept");
            }
            shared.counters.sealed.fetch_add(1, Ordering::Relaxed);
            file.incomplete = incomplete;
            MediaEvent::RecordingSealed { recording, file }
        }
        (Err(error), Some(reason)) => {
            tracing::error!(%recording, %error, "what was recorded before could not be sealed");
            MediaEvent::RecordingFailed { recording, reason }
        }
        (Err(error), None) => failed(shared, recording, ErrorReason::Seal, error.to_string()),
    }
}
