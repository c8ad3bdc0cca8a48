use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cti_base::RecordingId;
use cti_media::MediaEvent;
use hound::{SampleFormat, WavSpec, WavWriter};

use crate::recorder::{Command, Shared};
use crate::seal::{self, repair};
use crate::store::{StoreConfig, path_of, resolve};
use crate::{CHANNELS, ErrorReason, FRAME_BYTES, SAMPLE_RATE_HZ};

/// Files open at once.
pub const RECORDINGS_MAX: usize = 4_096;
/// 24 hours; a WAV header's 32-bit sizes would reach 37.
pub const RECORDING_FRAMES_MAX: u64 = 24 * 3_600 * SAMPLE_RATE_HZ as u64;
/// Finished files that wait for their digest; beyond it the writer makes them itself.
const SEAL_QUEUE_MAX: usize = 4_096;
/// How far a file's header and end may lag behind the call.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Holds the audio between two flushes, so that a file is written to once a second: 32,000 bytes and some room.
const BUFFER_BYTES: usize = 40_960;
/// Longest run of silence that is built in memory at once.
const SILENCE_SAMPLES_MAX: u64 = 16_384;

pub(crate) type Open = fn(&Path) -> io::Result<File>;
type Events = Arc<Mutex<dyn Fn(MediaEvent) + Send>>;

/// A new file, not readable by others; the folders above it are made.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o640).open(path)
}

struct OpenFile {
    /// Below the root.
    path: String,
    file: PathBuf,
    wav: WavWriter<BufWriter<File>>,
    frames: u64,
    flush_at: Instant,
    dirty: bool,
}

struct Finished {
    recording: RecordingId,
    path: String,
    file: PathBuf,
}

pub(crate) struct Writer {
    store: StoreConfig,
    shared: Arc<Shared>,
    events: Events,
    open: Open,
    recordings: BTreeMap<RecordingId, OpenFile>,
}

impl Writer {
    pub(crate) fn new(
        store: StoreConfig,
        shared: Arc<Shared>,
        events: Arc<Mutex<impl Fn(MediaEvent) + Send + 'static>>,
        open: Open,
    ) -> Self {
        Self { store, shared, events, open, recordings: BTreeMap::new() }
    }

    pub(crate) fn run(mut self, inbox: &Receiver<Command>) {
        let (seals, finished) = sync_channel::<Finished>(SEAL_QUEUE_MAX);
        let (shared, events) = (Arc::clone(&self.shared), Arc::clone(&self.events));
        let sealer = thread::Builder::new().name("recording-seal".into()).spawn(move || {
            for one in finished {
                seal_one(&shared, &events, one);
            }
        });
        let mut flush_next = Instant::now() + FLUSH_EVERY;
        loop {
            let wait = flush_next.saturating_duration_since(Instant::now());
            match inbox.recv_timeout(wait) {
                Ok(Command::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => self.handle(command, &seals),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= flush_next {
                flush_next = self.flush_due();
            }
        }
        for (recording, open) in std::mem::take(&mut self.recordings) {
            self.finish(recording, open, &seals);
        }
        drop(seals);
        if let Ok(sealer) = sealer
            && sealer.join().is_err()
        {
            tracing::error!("the recorder's sealing thread ended by a panic");
        }
    }

    fn handle(&mut self, command: Command, seals: &SyncSender<Finished>) {
        match command {
            Command::Begin { recording, tenant, call, started } => {
                let path = match path_of(&tenant, call, recording, started) {
                    Ok(path) => path,
                    Err(error) => return self.fail(recording, ErrorReason::Open, error.to_string()),
                };
                self.begin(recording, path);
            }
            Command::Write { recording, silence, samples } => {
                self.shared.audio_queued.fetch_sub(1, Ordering::Relaxed);
                self.write(recording, silence, &samples);
            }
            Command::Stop { recording, silence } => {
                self.write(recording, silence, &[]);
                if let Some(open) = self.recordings.remove(&recording) {
                    self.finish(recording, open, seals);
                }
            }
            Command::Close => {}
        }
    }

    fn begin(&mut self, recording: RecordingId, path: String) {
        if self.recordings.contains_key(&recording) {
            self.shared.counters.error(ErrorReason::Unknown);
            tracing::warn!(%recording, "a recording that runs was begun again");
            return;
        }
        if self.recordings.len() >= RECORDINGS_MAX {
            let reason = format!("{RECORDINGS_MAX} recordings run already");
            return self.fail(recording, ErrorReason::Limit, reason);
        }
        match self.create(&path) {
            Ok(open) => {
                self.recordings.insert(recording, open);
                self.shared.counters.active.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.fail(recording, ErrorReason::Open, format!("{path}: {error}")),
        }
    }

    fn create(&self, path: &str) -> io::Result<OpenFile> {
        let file = resolve(&self.store.root, path).map_err(io::Error::other)?;
        let spec = WavSpec {
            channels: CHANNELS,
            sample_rate: SAMPLE_RATE_HZ,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let buffer = BufWriter::with_capacity(BUFFER_BYTES, (self.open)(&file)?);
        let mut wav = WavWriter::new(buffer, spec).map_err(io_error)?;
        wav.flush().map_err(io_error)?;
        let flush_at = Instant::now() + FLUSH_EVERY;
        Ok(OpenFile { path: path.to_owned(), file, wav, frames: 0, flush_at, dirty: false })
    }

    fn write(&mut self, recording: RecordingId, silence: u64, samples: &[i16]) {
        let Some(open) = self.recordings.get_mut(&recording) else { return };
        let samples = &samples[..samples.len() & !1];
        let frames = silence + samples.len() as u64 / 2;
        if frames == 0 {
            return;
        }
        if open.frames + frames > RECORDING_FRAMES_MAX {
            let reason = "it is 24 hours long: the rest is not recorded".to_owned();
            return self.give_up(recording, ErrorReason::Limit, reason);
        }
        let written = append_silence(&mut open.wav, silence).and_then(|()| append(&mut open.wav, samples));
        match written {
            Ok(()) => {
                open.frames += frames;
                open.dirty = true;
                self.shared.counters.bytes.fetch_add(frames * FRAME_BYTES, Ordering::Relaxed);
            }
            Err(error) => self.give_up(recording, ErrorReason::Write, error.to_string()),
        }
    }

    /// Brings the headers up to date and answers when this is due again.
    fn flush_due(&mut self) -> Instant {
        let now = Instant::now();
        let mut failed = Vec::new();
        let mut next = now + FLUSH_EVERY;
        for (recording, open) in &mut self.recordings {
            if open.flush_at <= now {
                open.flush_at = now + FLUSH_EVERY;
                if std::mem::take(&mut open.dirty)
                    && let Err(error) = open.wav.flush()
                {
                    failed.push((*recording, error.to_string()));
                }
            }
            next = next.min(open.flush_at);
        }
        for (recording, error) in failed {
            self.give_up(recording, ErrorReason::Write, error);
        }
        next
    }

    fn finish(&mut self, recording: RecordingId, open: OpenFile, seals: &SyncSender<Finished>) {
        self.shared.counters.active.fetch_sub(1, Ordering::Relaxed);
        let OpenFile { path, file, wav, .. } = open;
        if let Err(error) = wav.finalize() {
            repair_quietly(&file);
            return self.fail(recording, ErrorReason::Write, format!("{path}: {error}"));
        }
        match seals.try_send(Finished { recording, path, file }) {
            Ok(()) => {}
            Err(TrySendError::Full(one) | TrySendError::Disconnected(one)) => {
                seal_one(&self.shared, &self.events, one);
            }
        }
    }

    /// Stops one recording and keeps what its file has, playable.
    fn give_up(&mut self, recording: RecordingId, reason: ErrorReason, text: String) {
        let Some(open) = self.recordings.remove(&recording) else { return };
        self.shared.counters.active.fetch_sub(1, Ordering::Relaxed);
        let OpenFile { path, file, wav, .. } = open;
        drop(wav);
        repair_quietly(&file);
        self.fail(recording, reason, format!("{path}: {text}; what was written before is kept"));
    }

    fn fail(&self, recording: RecordingId, reason: ErrorReason, text: String) {
        fail(&self.shared, &self.events, recording, reason, text);
    }
}

fn fail(shared: &Shared, events: &Events, recording: RecordingId, reason: ErrorReason, text: String) {
    shared.counters.error(reason);
    tracing::error!(%recording, reason = reason.as_str(), "recording failed: {text}");
    emit(events, MediaEvent::RecordingFailed { recording, reason: text });
}

fn seal_one(shared: &Shared, events: &Events, one: Finished) {
    match seal::seal(&one.file, &one.path) {
        Ok(file) => {
            shared.counters.sealed.fetch_add(1, Ordering::Relaxed);
            emit(events, MediaEvent::RecordingSealed { recording: one.recording, file });
        }
        Err(error) => fail(shared, events, one.recording, ErrorReason::Seal, error.to_string()),
    }
}

fn emit(events: &Events, event: MediaEvent) {
    let events = events.lock().unwrap_or_else(PoisonError::into_inner);
    events(event);
}

fn append(wav: &mut WavWriter<BufWriter<File>>, samples: &[i16]) -> io::Result<()> {
    let mut block = wav.get_i16_writer(samples.len() as u32);
    for &sample in samples {
        block.write_sample(sample);
    }
    block.flush().map_err(io_error)
}

fn append_silence(wav: &mut WavWriter<BufWriter<File>>, frames: u64) -> io::Result<()> {
    let mut left = frames * u64::from(CHANNELS);
    while left > 0 {
        let run = left.min(SILENCE_SAMPLES_MAX);
        append(wav, &vec![0; run as usize])?;
        left -= run;
    }
    Ok(())
}

/// After an error the file's length and header are what the disk let through: cut it to whole frames and say so in the header.
fn repair_quietly(file: &Path) {
    if let Err(error) = repair(file) {
        tracing::warn!(file = %file.display(), %error, "a broken-off recording could not be made whole");
    }
}

fn io_error(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other => io::Error::other(other),
    }
}
